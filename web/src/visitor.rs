//! A call that anybody may make: who it comes from, and the proofs it may carry.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use app::{App, Caller, Context, Source};
use axum::http::header::{COOKIE, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue};

use crate::accept::prefers;
use crate::address::names_a_relay;
use crate::allowed::{bearer, context};
use crate::front::Front;
use crate::qr::{PNG, SVG};
use crate::request_id::RequestId;
use crate::transport::Peer;

/// The cookie of a login that waits for its second factor.
pub(crate) const LOGIN_COOKIE: &str = "otpd_login";

/// A person or program without a credential of a service.
pub(crate) struct Visitor {
    pub(crate) front: Arc<Front>,
    pub(crate) context: Context,
    /// What limits count.
    pub(crate) source: Source,
    /// What came as `Authorization: Bearer`: a token of a person, never an API key.
    pub(crate) bearer: Option<String>,
    /// The login that the browser remembers.
    pub(crate) login: Option<String>,
    /// A picture is wanted as SVG.
    pub(crate) prefers_svg: bool,
    /// The visitor speaks plain HTTP to us over the loopback, without a proxy between:
    /// a `Secure` cookie would never come back.
    plain_loopback: bool,
}

impl Visitor {
    /// Whoever sent the request.
    pub(crate) fn of(front: &Arc<Front>, parts: &Parts, request_id: &RequestId) -> Self {
        let address = front.client(parts);
        let peer = parts.extensions.get::<Peer>();
        let plain = peer.filter(|peer| !peer.tls && peer.address.ip().is_loopback());
        let context = context(Arc::new(Caller::Public), address, parts, request_id);
        Self {
            context: Context {
                relayed: front.is_relayed(parts),
                ..context
            },
            source: Source::of(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            bearer: bearer(&parts.headers).map(str::to_owned),
            login: cookie(&parts.headers, LOGIN_COOKIE),
            prefers_svg: prefers(&parts.headers, SVG, PNG),
            plain_loopback: plain.is_some() && is_direct(parts),
            front: Arc::clone(front),
        }
    }

    /// The application.
    pub(crate) fn app(&self) -> &App {
        &self.front.app
    }

    /// The `Set-Cookie` that remembers a login for so many seconds; 0 forgets it.
    pub(crate) fn login_cookie(&self, value: &str, seconds: i64) -> Option<HeaderValue> {
        let secure = if self.plain_loopback { "" } else { "; Secure" };
        let text = format!(
            "{LOGIN_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        );
        HeaderValue::from_str(&text).ok()
    }
}

/// The value of a cookie (RFC 6265, section 4.2); the first of several of that name.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let texts = headers.get_all(COOKIE).iter();
    let texts = texts.filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (given, value) = pair.trim().split_once('=')?;
        (given == name).then(|| value.to_owned())
    })
}

/// The request came over the loopback and names it: whoever sits before us as a proxy
/// says so in a header or passes on the name that the world knows.
fn is_direct(parts: &Parts) -> bool {
    !names_a_relay(&parts.headers) && host(parts).is_some_and(is_loopback_name)
}

/// The host that the client asked for, without its port.
fn host(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get(HOST).and_then(|it| it.to_str().ok());
    let named = named.or_else(|| parts.uri.authority().map(Authority::as_str))?;
    match named.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => named.split(':').next(),
    }
}

/// A name that leads nowhere else (RFC 6761, section 6.3), or an address of that kind.
fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn plain_http_is_direct_only_by_a_loopback_name() {
        fn check(uri: &str, headers: &[(&str, &str)], expected: bool) {
            let mut request = Request::post(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(is_direct(&parts), expected, "{uri} {headers:?}");
        }
        for host in [
            "localhost",
            "LOCALHOST:8004",
            "app.localhost.",
            "127.0.0.1:8004",
            "127.8.9.10",
            "[::1]:8004",
        ] {
            check("/login", &[("host", host)], true);
        }
        check("http://localhost:8004/login", &[], true);
        for host in [
            "otp.example.com",
            "localhost.example.com",
            "notlocalhost",
            "10.0.0.1:8004",
            "[::2]",
            "",
        ] {
            check("/login", &[("host", host)], false);
        }
        check("/login", &[], false);
        for (name, value) in [
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "localhost"),
            ("via", "1.1 proxy"),
            ("x-real-ip", "192.0.2.1"),
        ] {
            check("/login", &[("host", "localhost"), (name, value)], false);
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        fn check(values: &[&str], expected: Option<&str>) {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(COOKIE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(cookie(&headers, "otpd_login").as_deref(), expected);
        }
        check(&[], None);
        check(&["otpd_login=a.b"], Some("a.b"));
        check(&["x=1; otpd_login=a=b; y=2"], Some("a=b"));
        check(&["x=1", "otpd_login=2"], Some("2"));
        check(&["xotpd_login=1"], None);
        check(&["otpd_login"], None);
    }
}
