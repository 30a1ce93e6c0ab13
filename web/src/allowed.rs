//! The right to make a call: the scope that it needs is the type of its first argument.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use app::{App, Caller, Context, Fault, Freshness, Repeatable, Source};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use domain::Scope;

use crate::accept::prefers;
use crate::front::Front;
use crate::request_id::RequestId;

/// The caller's name for an attempt, by which a repetition is known.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What fits the header, for the OpenAPI document.
pub(crate) const IDEMPOTENCY_KEY_PATTERN: &str = "^[!-~]([ -~]{0,62}[!-~])?$";

/// The longest `Idempotency-Key`.
const LONGEST_KEY: usize = 64;

/// What is kept of a `User-Agent`, in characters.
const LONGEST_AGENT: usize = 256;

/// What a call needs of its caller.
pub(crate) trait Need: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
    /// Whether somebody looks at the key again before anything is decided.
    const FRESHNESS: Freshness = Freshness::Now;
    /// Whether the answer depends on `Accept`; other calls do not spend time on it.
    const READS_ACCEPT: bool = false;
}

macro_rules! needs {
    ($($scope:ident),+) => {
        $(
            #[doc = concat!("The scope `", stringify!($scope), "`.")]
            pub(crate) struct $scope;
            impl Need for $scope {
                const SCOPE: Scope = Scope::$scope;
            }
        )+
    };
}

needs!(
    DevicesRead,
    DevicesWrite,
    UsersRead,
    UsersWrite,
    OtpVerify,
    CodesIssue,
    AuditRead,
    StatsRead,
    KeysWrite,
    Admin
);

/// The scope `MetricsRead`.
pub(crate) struct MetricsRead;

impl Need for MetricsRead {
    const SCOPE: Scope = Scope::MetricsRead;
    const READS_ACCEPT: bool = true;
}

/// The same scope for a call that goes through a lane, whose batch looks at the key
/// again: a remembered key will do, and no query is spent on it.
pub(crate) struct InBatch<N>(PhantomData<N>);

impl<N: Need> Need for InBatch<N> {
    const SCOPE: Scope = N::SCOPE;
    const FRESHNESS: Freshness = Freshness::CheckedInBatch;
}

/// A call whose caller has what `N` needs. There is no other way to come by one.
pub(crate) struct Allowed<N> {
    pub(crate) front: Arc<Front>,
    pub(crate) context: Context,
    /// Metrics are wanted in the newer of their two formats.
    pub(crate) prefers_open_metrics: bool,
    need: PhantomData<fn() -> N>,
}

impl<N: Need> Allowed<N> {
    /// Checks the credential, the scope and the limits, in this order.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden`, `RateLimited`, or that the key cannot be read.
    pub(crate) async fn check(
        front: &Arc<Front>,
        parts: &Parts,
        request_id: &RequestId,
    ) -> Result<Self, app::Error> {
        let address = front.client(parts);
        let source = Source::of(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let bearer = bearer(&parts.headers);
        let caller = front.app.identify(bearer, N::FRESHNESS, source).await?;
        caller.require(N::SCOPE)?;
        front.app.admit_caller(&caller).await?;
        Ok(Self {
            context: context(caller, address, parts, request_id),
            prefers_open_metrics: N::READS_ACCEPT
                && prefers(&parts.headers, "application/openmetrics-text", "text/plain"),
            front: Arc::clone(front),
            need: PhantomData,
        })
    }

    /// The application.
    pub(crate) fn app(&self) -> &App {
        &self.front.app
    }
}

pub(crate) fn context(
    caller: Arc<Caller>,
    address: Option<IpAddr>,
    parts: &Parts,
    request_id: &RequestId,
) -> Context {
    Context {
        caller,
        request_id: request_id.text().into(),
        ip_address: address.map(|address| address.to_string().into()),
        user_agent: user_agent(&parts.headers),
        relayed: false,
        repeatable: None,
    }
}

/// The credential: one header, one scheme, visible characters. Two headers are none, as
/// nobody can tell which one a proxy before us has looked at.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    let (scheme, credential) = only.to_str().ok()?.split_once(' ')?;
    let credential = credential.trim_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty();
    fits.then_some(credential)
}

fn user_agent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    let end = text.char_indices().nth(LONGEST_AGENT);
    let text = end.map_or(&*text, |(end, _)| &text[..end]);
    (!text.is_empty()).then(|| text.into())
}

/// The `Idempotency-Key` with what it stands for, if there is one.
///
/// # Errors
/// The fault of one that cannot be used.
pub(crate) fn repeatable(parts: &Parts, body: &[u8]) -> Result<Option<Repeatable>, Fault> {
    let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = values.next() else {
        return Ok(None);
    };
    let printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let fits = (1..=LONGEST_KEY).contains(&key.len()) && key.as_bytes().iter().all(printable);
    match key.to_str() {
        Ok(header) if fits && values.next().is_none() => Ok(Some(Repeatable {
            header: header.to_owned(),
            route: format!("{} {}", parts.method, parts.uri.path()),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: body.to_vec(),
        })),
        _ => Err(Fault::new(
            "Idempotency-Key:",
            "Must be one header of 1 to 64 printable ASCII characters.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn parts(name: HeaderName, values: &[&[u8]]) -> Parts {
        let (mut parts, ()) = Request::post("/api/v1/x").body(()).unwrap().into_parts();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            parts.headers.append(name.clone(), value);
        }
        parts
    }

    #[test]
    fn a_credential_is_one_bearer_header() {
        fn check(values: &[&[u8]], expected: Option<&str>) {
            let parts = parts(AUTHORIZATION, values);
            assert_eq!(bearer(&parts.headers), expected, "{values:?}");
        }
        check(&[], None);
        check(&[b"Bearer abc"], Some("abc"));
        check(&[b"bearer abc"], Some("abc"));
        check(&[b"BEARER  abc "], Some("abc"));
        check(&[b"Bearer"], None);
        check(&[b"Bearer "], None);
        check(&[b"Basic abc"], None);
        check(&[b"Bearer\tabc"], None);
        check(&[b"Bearer abc", b"Bearer abc"], None);
        check(&["Bearer é".as_bytes()], None);
    }

    #[test]
    fn an_idempotency_key_is_short_and_printable() {
        fn check(values: &[&[u8]], expected: Result<Option<&str>, ()>) {
            let parts = parts(IDEMPOTENCY_KEY, values);
            let read = repeatable(&parts, b"{}");
            let read = read
                .as_ref()
                .map(|found| found.as_ref().map(|it| it.header.as_str()));
            assert_eq!(read.map_err(|_| ()), expected, "{values:?}");
        }
        check(&[], Ok(None));
        check(&[b"a"], Ok(Some("a")));
        check(&["k".repeat(64).as_bytes()], Ok(Some(&"k".repeat(64))));
        check(&["k".repeat(65).as_bytes()], Err(()));
        check(&[b""], Err(()));
        check(&["é".as_bytes()], Err(()));
        check(&[b"a\tb"], Err(()));
        check(&[b"a", b"a"], Err(()));
    }

    #[test]
    fn a_repetition_is_known_by_method_path_and_body() {
        let found = repeatable(&parts(IDEMPOTENCY_KEY, &[b"a"]), b"{}");
        let found = found.unwrap().unwrap();
        assert_eq!(found.route, "POST /api/v1/x");
        assert_eq!(found.body, b"{}");
    }

    #[test]
    fn a_user_agent_is_cut_at_a_character() {
        let long = "é".repeat(300);
        let parts = parts(USER_AGENT, &[long.as_bytes()]);
        assert_eq!(user_agent(&parts.headers).unwrap().chars().count(), 256);
    }
}
