//! An address or a network, as in the list of trusted proxies.

use std::fmt;
use std::net::IpAddr;

use super::problem::quoted;

/// A network; a single address is one with the longest prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address: all bits after the prefix are zero.
    pub address: IpAddr,
    /// Leading bits that its addresses share: at most 32 (IPv4) or 128 (IPv6).
    pub prefix: u8,
}

impl Network {
    /// Reads `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`.
    ///
    /// # Errors
    /// What was found and what is expected.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let refused = || {
            (
                format!("holds {}", quoted(text)),
                "addresses (192.0.2.1) and networks (10.0.0.0/8) are expected".to_owned(),
            )
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // Only digits: `parse` alone would let `+8` pass.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| refused())?
            }
            Some(_) => return Err(refused()),
            None => longest,
        };
        if prefix > longest {
            return Err(refused());
        }
        let network = Self {
            address: first_address(address, prefix),
            prefix,
        };
        // Whom 10.0.0.1/8 means is unclear, and this list decides who is believed.
        if network.address != address {
            return Err((
                format!("holds {}, an address and a network in one", quoted(text)),
                format!("{network} or {address} is expected"),
            ));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address with all bits after the prefix cleared.
fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        fn check(text: &str, expected: &str) {
            assert_eq!(Network::parse(text).unwrap().to_string(), expected);
        }
        check("192.0.2.1", "192.0.2.1/32");
        check("10.0.0.0/8", "10.0.0.0/8");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("::1", "::1/128");
        check("2001:db8::/32", "2001:db8::/32");
        check("::/0", "::/0");
    }

    #[test]
    fn what_is_neither_is_refused() {
        fn check(text: &str, words: &str) {
            let (found, expected) = Network::parse(text).unwrap_err();
            let all = format!("{found}; {expected}");
            assert!(all.contains(words), "{all}");
        }
        for text in [
            "",
            "*",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "/8",
        ] {
            check(text, &format!("holds {text:?}; addresses"));
        }
        check("10.0.0.1/8", "10.0.0.0/8 or 10.0.0.1 is expected");
    }
}
