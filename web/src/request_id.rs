//! The id that every answer carries: the caller's own when it is fit for a log, else a new one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header, in both directions.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept.
const LONGEST: usize = 64;

/// Bytes of a new id: as many as make guessing and clashing idle.
const RANDOM: usize = 16;

/// The id of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    /// The id of a request with these headers; `random` fills a buffer when a new one is
    /// needed.
    pub(crate) fn of(headers: &HeaderMap, random: &(dyn Fn(&mut [u8]) + Send + Sync)) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_fit(given.as_bytes()) => Self(given.clone()),
            _ => Self::new(random),
        }
    }

    fn new(random: &(dyn Fn(&mut [u8]) + Send + Sync)) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; RANDOM];
        random(&mut bytes);
        let mut text = [0; 2 * RANDOM];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        // Hexadecimal digits are always a header value.
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id as text.
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_fit(id: &[u8]) -> bool {
    let fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_id_is_kept_and_any_other_replaced() {
        fn check(given: Option<&[u8]>, expected: &str) {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            }
            let id = RequestId::of(&headers, &|buffer: &mut [u8]| buffer.fill(0xa7));
            assert_eq!(id.text(), expected, "{given:?}");
        }
        let made = "a7".repeat(16);
        check(Some(b"abc.DEF_1-2"), "abc.DEF_1-2");
        check(Some("x".repeat(64).as_bytes()), &"x".repeat(64));
        check(Some("x".repeat(65).as_bytes()), &made);
        check(Some(b""), &made);
        check(Some(b"a b"), &made);
        check(Some(b"a\"b"), &made);
        check(Some("é".as_bytes()), &made);
        check(None, &made);
    }
}
