//! Which of two kinds of answer a client wants more, by its `Accept` header.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Whether `Accept` (RFC 9110, section 12.5.1) names the media type and wants it more
/// than the usual one; ranges such as `image/*` are content with the usual one.
pub(crate) fn prefers(headers: &HeaderMap, wanted: &str, usual: &str) -> bool {
    let texts = headers.get_all(ACCEPT).iter();
    let texts = texts.filter_map(|value| value.to_str().ok());
    let ranges: Vec<(&str, f32)> = texts.flat_map(|it| it.split(',')).map(range).collect();
    // Of several versions of one type the most wanted one counts.
    let quality = |name: &str| {
        let found = ranges
            .iter()
            .filter(|(it, _)| it.eq_ignore_ascii_case(name));
        found.fold(0.0_f32, |most, (_, quality)| most.max(*quality))
    };
    quality(wanted) > quality(usual)
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
    use axum::http::HeaderValue;

    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        headers
    }

    #[test]
    fn svg_is_for_those_who_name_it() {
        fn check(accept: &str, expected: bool) {
            let prefers = prefers(&headers(accept), "image/svg+xml", "image/png");
            assert_eq!(prefers, expected, "{accept}");
        }
        check("image/svg+xml", true);
        check("image/png, image/svg+xml", false);
        check("image/png;q=0.5, image/SVG+xml; q=0.9", true);
        check("image/svg+xml;q=0", false);
        check("image/svg+xml;q=much", false);
        check("*/*", false);
        check("image/*", false);
        check("", false);
    }

    #[test]
    fn a_scraper_names_several_versions() {
        fn check(accept: &str, expected: bool) {
            let headers = headers(accept);
            let prefers = prefers(&headers, "application/openmetrics-text", "text/plain");
            assert_eq!(prefers, expected, "{accept}");
        }
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            true,
        );
        check(
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.1",
            false,
        );
        check("*/*", false);
    }
}
