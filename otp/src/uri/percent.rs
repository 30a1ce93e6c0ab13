//! Percent-encoding (RFC 3986 section 2.1) for the names and parameters of an `otpauth:` URI.

use zeroize::Zeroizing;

use super::UriError;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text` with everything but RFC 3986's unreserved characters encoded.
pub(super) fn encode(text: &str, uri: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => {
                uri.push('%');
                uri.push(char::from(HEX[usize::from(byte >> 4)]));
                uri.push(char::from(HEX[usize::from(byte & 0xf)]));
            }
        }
    }
}

/// Decodes as a URI means it: a `+` is a plus.
pub(super) fn decode(raw: &str) -> Result<Zeroizing<String>, UriError> {
    decode_with(raw, b'+')
}

/// Decodes as an HTML form means it: a `+` is a space.
pub(super) fn decode_form(raw: &str) -> Result<Zeroizing<String>, UriError> {
    decode_with(raw, b' ')
}

/// The result may be a key, so it and what leads to it are wiped.
fn decode_with(raw: &str, plus: u8) -> Result<Zeroizing<String>, UriError> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            b'+' => plus,
            _ => byte,
        });
    }
    // Not `String::from_utf8`: its error would carry the bytes away unwiped.
    match std::str::from_utf8(&decoded) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(UriError::PercentEncoding),
    }
}

fn hex(digit: Option<u8>) -> Result<u8, UriError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(UriError::PercentEncoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoding_leaves_only_unreserved_characters() {
        let check = |text: &str, expected: &str| {
            let mut uri = String::new();
            encode(text, &mut uri);
            assert_eq!(uri, expected);
        };

        check("Az09-._~", "Az09-._~");
        check("ACME Co", "ACME%20Co");
        check("a+b@c.de", "a%2Bb%40c.de");
        check("50%:/?#&=", "50%25%3A%2F%3F%23%26%3D");
        check("Zoë", "Zo%C3%AB");
        check("\n\0", "%0A%00");
    }

    #[test]
    fn decoding_refuses_what_is_broken() {
        let check = |raw: &str, expected: Option<&str>| {
            let decoded = decode(raw).ok();
            assert_eq!(
                decoded.as_ref().map(|text| text.as_str()),
                expected,
                "{raw:?}"
            );
        };

        check("ACME%20Co", Some("ACME Co"));
        check("a+b", Some("a+b"));
        check("%c3%aB", Some("ë"));
        check("ë", Some("ë"));
        check("%2541", Some("%41")); // decoded once, not twice
        check("%", None);
        check("%4", None);
        check("%4g", None);
        check("%+4", None);
        check("%%41", None);
        check("%ff", None);
        check("%c3", None);
        assert_eq!(decode_form("a+b%2B").expect("sound").as_str(), "a b+");
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text in any::<String>()) {
            let mut uri = String::new();
            encode(&text, &mut uri);
            prop_assert!(uri.is_ascii() && uri.len() <= 3 * text.len());
            let (plain, form) = (decode(&uri).expect("sound"), decode_form(&uri).expect("sound"));
            prop_assert_eq!(plain.as_str(), &text);
            prop_assert_eq!(form.as_str(), &text);
        }
    }
}
