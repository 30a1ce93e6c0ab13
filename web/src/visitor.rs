//! A call that anybody may make: who it comes from, and the proofs it may carry.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use app::{App, Caller, Context, Source};
use axum::http::header::{ACCEPT, COOKIE};
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
        let direct = peer.filter(|peer| !peer.tls && Some(peer.address.ip()) == address);
        Self {
            context: context(Arc::new(Caller::Public), address, parts, request_id),
            source: Source::of(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            bearer: bearer(&parts.headers).map(str::to_owned),
            login: cookie(&parts.headers, LOGIN_COOKIE),
            prefers_svg: prefers_svg(&parts.headers),
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

/// Whether `Accept` (RFC 9110, section 12.5.1) names SVG and wants it more than PNG;
/// ranges such as `image/*` are content with PNG.
fn prefers_svg(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(ACCEPT).iter();
    let texts = texts.filter_map(|value| value.to_str().ok());
    let ranges: Vec<(&str, f32)> = texts.flat_map(|it| it.split(',')).map(range).collect();
    let quality = |name: &str| {
        let mut found = ranges
            .iter()
            .filter(|(it, _)| it.eq_ignore_ascii_case(name));
        found.next().map_or(0.0, |(_, quality)| *quality)
    };
    quality("image/svg+xml") > quality("image/png")
}

/// A media range and how much it is wanted.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    let quality = quality.map_or(Some(1.0), |text| text.parse().ok());
    (name, quality.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svg_is_for_those_who_name_it() {
        fn check(accept: &str, expected: bool) {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(prefers_svg(&headers), expected, "{accept}");
        }
        check("image/svg+xml", true);
        check("image/png, image/svg+xml", false);
        check("image/png;q=0.5, image/SVG+xml; q=0.9", true);
        check("image/svg+xml;q=0", false);
        check("image/svg+xml;q=much", false);
        check("*/*", false);
        check("image/*", false);
        assert!(!prefers_svg(&HeaderMap::new()));
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
