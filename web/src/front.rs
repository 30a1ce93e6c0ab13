//! What all requests share, and what all answers carry.

use std::net::IpAddr;
use std::sync::Arc;

use app::App;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response};

use crate::address::{TrustedProxies, names_a_relay};
use crate::refusal::{Refusal, Telling};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::transport::{Peer, TransportStats};

/// Fills a buffer with random bytes.
pub(crate) type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What this crate may be told by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Error answers name their causes and the documentation is served; the first never
    /// in production.
    pub debug: bool,
    /// The stricter rules hold.
    pub production: bool,
    /// Networks whose machines are believed when they say for whom they ask: an address
    /// and the length of its prefix in bits.
    pub trusted_proxies: Vec<(IpAddr, u8)>,
}

impl Settings {
    /// Whether `/docs` and `/openapi.json` are served.
    pub(crate) fn serves_docs(&self) -> bool {
        self.debug || !self.production
    }
}

/// What all requests share.
pub(crate) struct Front {
    pub(crate) app: Arc<App>,
    pub(crate) stats: Arc<TransportStats>,
    names_causes: bool,
    proxies: TrustedProxies,
    random: Random,
}

impl Front {
    pub(crate) fn new(
        app: Arc<App>,
        settings: &Settings,
        stats: Arc<TransportStats>,
        random: Random,
    ) -> Self {
        Self {
            app,
            stats,
            names_causes: settings.debug && !settings.production,
            proxies: TrustedProxies::new(&settings.trusted_proxies),
            random,
        }
    }

    /// The id of a request.
    pub(crate) fn request_id(&self, headers: &HeaderMap) -> RequestId {
        RequestId::of(headers, self.random.as_ref())
    }

    /// The client's address; `None` for a request that did not come through a socket.
    pub(crate) fn client(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<Peer>()?;
        Some(self.proxies.client(peer.address.ip(), &parts.headers))
    }

    /// Whether the request was passed on by somebody who is not believed: then its address
    /// is that of many.
    pub(crate) fn is_relayed(&self, parts: &Parts) -> bool {
        let peer = parts.extensions.get::<Peer>();
        let believed = peer.is_some_and(|peer| self.proxies.trusts(peer.address.ip()));
        !believed && names_a_relay(&parts.headers)
    }

    /// Gives every answer what every answer has.
    pub(crate) fn finish(
        &self,
        request_id: &RequestId,
        path_has_envelope: bool,
        result: Result<Response<Body>, Refusal>,
    ) -> Response<Body> {
        let mut response = result.unwrap_or_else(|refusal| {
            refusal.answer(&Telling {
                request_id: request_id.text(),
                envelope: path_has_envelope,
                debug: self.names_causes,
            })
        });
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, request_id.0.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(CACHE_CONTROL).or_insert(no_store);
        response
    }
}

/// Whether errors at this path have the members that its old clients look for.
pub(crate) fn has_envelope(path: &str) -> bool {
    path.strip_prefix("/api/v1")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_has_envelopes() {
        fn check(path: &str, expected: bool) {
            assert_eq!(has_envelope(path), expected, "{path}");
        }
        check("/api/v1/otp/verify", true);
        check("/api/v1", true);
        check("/api/v10/x", false);
        check("/health", false);
        check("/otp/verify", false);
    }
}
