//! The body of a request, whole, within its limit.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use crate::refusal::Refusal;
use crate::transport::is_body_timeout;

/// The longest body, in bytes.
const LONGEST: usize = 16 * 1024;

/// Reads the whole body. One that arrived in one piece, as almost all do, is not copied.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
    if announced(headers).is_some_and(|length| length > LONGEST as u64) {
        return Err(Refusal::TooLarge);
    }
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are of no use to us.
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if first.len().max(joined.len()) + data.len() > LONGEST {
            return Err(Refusal::TooLarge);
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.into()
    })
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn broken(error: axum::Error) -> Refusal {
    if is_body_timeout(&error) {
        Refusal::TooSlow
    } else {
        Refusal::NotJson("The body broke off.".into())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures_util::stream;

    use super::*;

    async fn read_pieces(pieces: Vec<Vec<u8>>) -> Result<Bytes, Refusal> {
        let pieces = pieces.into_iter().map(Ok::<_, std::convert::Infallible>);
        read(&HeaderMap::new(), Body::from_stream(stream::iter(pieces))).await
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        assert_eq!(read_pieces(vec![]).await.unwrap(), "");
        assert_eq!(
            read_pieces(vec![b"ab".into(), b"c".into()]).await.unwrap(),
            "abc"
        );
        let half = vec![b'x'; LONGEST / 2];
        let full = read_pieces(vec![half.clone(), half.clone()]).await;
        assert_eq!(full.unwrap().len(), LONGEST);
        let more = read_pieces(vec![half.clone(), half, b"y".into()]).await;
        assert!(matches!(more, Err(Refusal::TooLarge)));
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_it_comes() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("16385"));
        let refused = read(&headers, Body::empty()).await;
        assert!(matches!(refused, Err(Refusal::TooLarge)));
    }
}
