//! Secrets in every form in which they could slip out, and the search for them.

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// A secret in one form.
struct Needle {
    what: String,
    bytes: Vec<u8>,
}

/// Everything that must not be found.
#[derive(Default)]
pub(crate) struct Needles(Vec<Needle>);

impl Needles {
    /// A secret that is a text, such as a code or a credential.
    pub(crate) fn text(&mut self, what: &str, text: &str) {
        self.bytes(what, text.as_bytes());
        self.add(what, "lower case", text.to_ascii_lowercase());
    }

    /// A device's key: its bytes, and the text in which it was shown.
    pub(crate) fn key(&mut self, what: &str, key: &[u8], base32: &str) {
        self.bytes(what, key);
        self.text(&format!("{what} (base32)"), base32);
        self.text(&format!("{what} (base64)"), &BASE64.encode(key));
    }

    fn bytes(&mut self, what: &str, bytes: &[u8]) {
        self.add(what, "as it is", bytes);
        self.add(what, "hex", HEXLOWER.encode(bytes));
        self.add(what, "upper-case hex", HEXUPPER.encode(bytes));
        // Inside a longer text the first characters depend on what stands before, so
        // only the plain beginning is looked for; the padding is cut off.
        self.add(what, "base64", BASE64.encode(bytes).trim_end_matches('='));
        self.add(what, "base64url", BASE64URL_NOPAD.encode(bytes));
        self.add(what, "base32", BASE32_NOPAD.encode(bytes));
        // As `{:?}` of a list of bytes.
        self.add(
            what,
            "numbers",
            format!("{bytes:?}").trim_matches(['[', ']']),
        );
    }

    fn add(&mut self, what: &str, form: &str, bytes: impl AsRef<[u8]>) {
        let needle = Needle {
            what: format!("{what}, {form}"),
            bytes: bytes.as_ref().to_vec(),
        };
        self.0.push(needle);
    }
}

/// Names every needle that stands in a haystack, with some text around it.
pub(crate) fn find(needles: &Needles, haystacks: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, hay) in haystacks {
        for needle in &needles.0 {
            if let Some(at) = position(hay, &needle.bytes) {
                let around = &hay[at.saturating_sub(80)..hay.len().min(at + 120)];
                let around = String::from_utf8_lossy(around);
                found.push(format!("{} in {place}: …{around}…", needle.what));
            }
        }
    }
    found
}

/// Where a text begins in another; quick enough for some megabytes times some hundred.
fn position(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|byte| byte == first) {
        let at = from + at;
        if hay[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[test]
fn i9_the_search_finds_each_form() {
    let mut needles = Needles::default();
    needles.key(
        "key",
        b"\x01\x02\xfe\xff0123456789",
        "AEBP57ZQGEZDGNBVGY3TQOI",
    );
    let check = |hay: &[u8], expected: bool| {
        let found = find(&needles, &[("hay".into(), hay.to_vec())]);
        assert_eq!(!found.is_empty(), expected, "{found:?}");
    };
    check(b"..\x01\x02\xfe\xff0123456789..", true);
    check(b"..0102feff30313233343536373839..", true);
    check(b"..0102FEFF30313233343536373839..", true);
    check(b"..AEBP57ZQGEZDGNBVGY3TQOI..", true);
    check(b"..aebp57zqgezdgnbvgy3tqoi..", true);
    check(b"..AQL+/zAxMjM0NTY3ODk=..", true);
    check(b"..AQL-_zAxMjM0NTY3ODk..", true);
    check(
        b"key: [1, 2, 254, 255, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57]",
        true,
    );
    check(b"..AEBP57ZQGEZDGNBVGY3TQO..", false);
    check(b"", false);
}
