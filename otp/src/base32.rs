//! Base32 (RFC 4648 section 6) as people copy keys: reading is lenient, writing is plain.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// Why a text is not a base32 key. It never repeats a character of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base32Error {
    /// There is no base32 character at all.
    #[error("the key is empty")]
    Empty,
    /// A character is none of A to Z and 2 to 7.
    #[error(
        "character {position} of the key is none of A to Z and 2 to 7 (0, 1, 8 and 9 do not occur)"
    )]
    Symbol {
        /// Which character of the text, counted from 1.
        position: usize,
    },
    /// No number of whole bytes is written with this many characters: one was lost or doubled.
    #[error("the key has a character too many or too few")]
    Length,
}

/// Reads base32 in upper or lower case, with or without padding, with spaces, line ends and
/// dashes anywhere.
///
/// The bits of the last character that do not fill a byte are dropped whatever they are, as
/// authenticator apps do: some services draw the characters of a key at random.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, Base32Error> {
    let unpadded = text.trim_end_matches(|c: char| c == '=' || c.is_ascii_whitespace());
    // Room for all: a vector that grows would leave unwiped copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(unpadded.len() * 5 / 8 + 1));
    // The low `pending` bits of `buffer` are read but not yet part of a byte.
    let mut buffer = Zeroizing::new(0_u32);
    let mut pending = 0;
    let mut symbols = 0_usize;
    for (index, character) in unpadded.chars().enumerate() {
        let value = match character {
            'A'..='Z' => character as u32 - 'A' as u32,
            'a'..='z' => character as u32 - 'a' as u32,
            '2'..='7' => character as u32 - '2' as u32 + 26,
            '-' => continue,
            _ if character.is_ascii_whitespace() => continue,
            _ => {
                let position = index + 1;
                return Err(Base32Error::Symbol { position });
            }
        };
        symbols += 1;
        // What overflows to the left has been taken out before.
        *buffer = *buffer << 5 | value;
        pending += 5;
        if pending >= 8 {
            pending -= 8;
            bytes.push((*buffer >> pending) as u8);
        }
    }
    match symbols % 8 {
        _ if symbols == 0 => Err(Base32Error::Empty),
        // RFC 4648 section 6: a last group of 1, 2, 3 or 4 bytes has 2, 4, 5 or 7 characters.
        1 | 3 | 6 => Err(Base32Error::Length),
        _ => Ok(bytes),
    }
}

/// Writes upper-case base32 without padding, in a text that is wiped when dropped.
pub(crate) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    // Room for all, as above.
    let mut text = Zeroizing::new(String::with_capacity(BASE32_NOPAD.encode_len(bytes.len())));
    BASE32_NOPAD.encode_append(bytes, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE32;
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&[u8], Base32Error>) {
        let decoded = decode(text);
        let actual = decoded.as_ref().map(|bytes| bytes.as_slice());
        assert_eq!(actual.map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn the_vectors_of_rfc_4648_section_10() {
        check("MY======", Ok(b"f"));
        check("MZXQ====", Ok(b"fo"));
        check("MZXW6===", Ok(b"foo"));
        check("MZXW6YQ=", Ok(b"foob"));
        check("MZXW6YTB", Ok(b"fooba"));
        check("MZXW6YTBOI======", Ok(b"foobar"));
        assert_eq!(encode(b"foobar").as_str(), "MZXW6YTBOI");
    }

    #[test]
    fn keys_are_read_as_people_copy_them() {
        check("mzxw6ytboi", Ok(b"foobar"));
        check("MzXw 6yTb oI", Ok(b"foobar"));
        check("mzxw-6ytb-oi", Ok(b"foobar"));
        check(" MZXW6YTBOI\r\n", Ok(b"foobar"));
        check("MZXW6YTBOI===", Ok(b"foobar"));
        check("MZXW6YTBOI= = =\n", Ok(b"foobar"));
        check("MZXW6YTBOJ", Ok(b"foobar")); // the last two bits fill no byte
    }

    #[test]
    fn other_texts_are_refused() {
        check("", Err(Base32Error::Empty));
        check(" - ", Err(Base32Error::Empty));
        check("========", Err(Base32Error::Empty));
        check("M", Err(Base32Error::Length));
        check("MZX", Err(Base32Error::Length));
        check("MZXW6Y", Err(Base32Error::Length));
        check("MZXW6YTBO", Err(Base32Error::Length));

        let symbol = |position| Err(Base32Error::Symbol { position });
        check("MZXW0", symbol(5));
        check("1ZXW", symbol(1));
        check("mz 8w", symbol(4));
        check("MZ=XW", symbol(3));
        check("MZ+W", symbol(3));
        check("MZXÄ", symbol(4));
        check("ſZXW", symbol(1)); // upper-cases to S outside ASCII
        check("MZ\u{a0}XW", symbol(3));
    }

    proptest! {
        #[test]
        fn bytes_read_back(bytes in prop::collection::vec(any::<u8>(), 1..100)) {
            let text = encode(&bytes);
            check(&text, Ok(&bytes));
            check(&text.to_ascii_lowercase(), Ok(&bytes));
            check(&BASE32.encode(&bytes), Ok(&bytes));
        }

        #[test]
        fn the_decoder_agrees_with_another(text in "[A-Z2-7]{0,40}") {
            // The other one is strict about the last bits, so it may refuse more, never less.
            if let Ok(bytes) = BASE32_NOPAD.decode(text.as_bytes()) && !bytes.is_empty() {
                check(&text, Ok(&bytes));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            if let Ok(bytes) = decode(&text) {
                check(&encode(&bytes), Ok(&bytes));
            }
        }
    }
}
