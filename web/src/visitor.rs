//! A call that anybody may make: who it comes from, and the proofs it may carry.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use app::{App, Caller, Context, Source};
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};

use crate::allowed::{bearer, context};
use crate::front::Front;
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
    /// The visitor speaks plain HTTP to us over the loopback, without a proxy between:
    /// a `Secure` cookie would never come back.
    plain_loopback: bool,
}

impl Visitor {
    /// Whoever sent the request.
    pub(crate) fn of(front: &Arc<Front>, parts: &Parts, request_id: &RequestId) -> Self {
        let address = front.client(parts);
        let peer = parts.extensions.get::<Peer>();
        let direct = peer.filter(|peer| !peer.tls && Some(peer.address.ip()) == address);
        Self {
            context: context(Arc::new(Caller::Public), address, parts, request_id),
            source: Source::of(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            bearer: bearer(&parts.headers).map(str::to_owned),
            login: cookie(&parts.headers, LOGIN_COOKIE),
            plain_loopback: direct.is_some_and(|peer| peer.address.ip().is_loopback()),
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

#[cfg(test)]
mod tests {
    use super::*;

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
