//! Who the client is on the network: the socket's peer, or the hop that trusted proxies name.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether somebody between the client and us has left a trace: the headers of RFC 7239
/// and of RFC 9110, section 7.6.3, and what proxies set instead of them.
pub(crate) fn names_a_relay(headers: &HeaderMap) -> bool {
    let left = |name: &HeaderName| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    };
    headers.keys().any(left)
}

/// The networks whose machines may say for whom they ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<Network>);

#[derive(Clone, Copy, Debug)]
struct Network {
    bits: u128,
    mask: u128,
}

impl TrustedProxies {
    /// From addresses with the length of their network's prefix.
    pub(crate) fn new(networks: &[(IpAddr, u8)]) -> Self {
        let network = |(address, prefix): &(IpAddr, u8)| {
            let width = match address {
                IpAddr::V4(_) => u32::from(*prefix).min(32) + 96,
                IpAddr::V6(_) => u32::from(*prefix).min(128),
            };
            let mask = u128::MAX.checked_shl(128 - width).unwrap_or(0);
            Network {
                bits: bits(*address) & mask,
                mask,
            }
        };
        Self(networks.iter().map(network).collect())
    }

    /// Whether the address is in one of the networks.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0
            .iter()
            .any(|network| bits & network.mask == network.bits)
    }

    /// The client's address: the peer, unless it is trusted; then the right-most hop of
    /// `X-Forwarded-For` that is not. What stands left of that hop is the client's own
    /// word and is not believed; a hop that cannot be read ends the search at the last
    /// one that could.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        // From the last line to the first: proxies append.
        for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else {
                return client;
            };
            for hop in line.rsplit(',') {
                let Some(address) = parse_hop(hop.trim()) else {
                    return client;
                };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// IPv4 as the mapped part of IPv6, so that one comparison serves both.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address, also with a port or in brackets, as some proxies write it.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bracketed = hop.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let address = match bracketed {
        Some((address, port)) if port.is_empty() || is_port(port) => address,
        Some(_) => return None,
        None => match hop.split_once(':') {
            Some((address, _)) if is_port(&hop[address.len()..]) => address,
            _ => hop,
        },
    };
    address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = [("10.0.0.0", 8), ("::1", 128), ("192.168.1.7", 32)];
        let trusted: Vec<_> = trusted
            .map(|(address, prefix)| (address.parse().unwrap(), prefix))
            .into();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        let peer = peer.parse().unwrap();
        TrustedProxies::new(&trusted)
            .client(peer, &headers)
            .to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        assert_eq!(client("203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("11.0.0.1", &["1.1.1.1"]), "11.0.0.1");
        assert_eq!(client("192.168.1.8", &["1.1.1.1"]), "192.168.1.8");
        assert_eq!(client("::2", &["1.1.1.1"]), "::2");
    }

    #[test]
    fn a_trusted_peer_names_the_right_most_untrusted_hop() {
        fn check(lines: &[&str], expected: &str) {
            assert_eq!(client("10.1.2.3", lines), expected, "{lines:?}");
        }
        check(&[], "10.1.2.3");
        check(&["203.0.113.9"], "203.0.113.9");
        check(&["6.6.6.6, 203.0.113.9"], "203.0.113.9");
        check(&["6.6.6.6,203.0.113.9,10.9.9.9"], "203.0.113.9");
        check(&["6.6.6.6", "203.0.113.9, 10.9.9.9"], "203.0.113.9");
        check(&["203.0.113.9", "10.9.9.9"], "203.0.113.9");
        check(&["10.7.7.7, 10.9.9.9"], "10.7.7.7");
        check(&["203.0.113.9:4711"], "203.0.113.9");
        check(&["[2001:db8::5]:4711"], "2001:db8::5");
        check(&["[2001:db8::5]"], "2001:db8::5");
        check(&["2001:db8::5"], "2001:db8::5");
        check(&["::ffff:203.0.113.9"], "203.0.113.9");
        check(&["2001:db8::5, ::1"], "2001:db8::5");
    }

    #[test]
    fn an_unreadable_hop_leaves_the_last_trusted_one() {
        fn check(lines: &[&str], expected: &str) {
            assert_eq!(client("10.1.2.3", lines), expected, "{lines:?}");
        }
        check(&["unknown"], "10.1.2.3");
        check(&["203.0.113.9, unknown, 10.9.9.9"], "10.9.9.9");
        check(&["203.0.113.9,"], "10.1.2.3");
        check(&["é"], "10.1.2.3");
        check(&["[2001:db8::5"], "10.1.2.3");
        check(&["[2001:db8::5]x"], "10.1.2.3");
        check(&["203.0.113.9:port"], "10.1.2.3");
    }

    #[test]
    fn a_prefix_of_zero_trusts_everybody_of_the_family() {
        let all = TrustedProxies::new(&[("0.0.0.0".parse().unwrap(), 0)]);
        assert!(all.trusts("8.8.8.8".parse().unwrap()));
        assert!(!all.trusts("2001:db8::1".parse().unwrap()));
        let all = TrustedProxies::new(&[("::".parse().unwrap(), 0)]);
        assert!(all.trusts("2001:db8::1".parse().unwrap()));
    }
}
