//! Search terms of the audit: names are looked up by a keyed number and never stand in the index.

use crate::root::Root;

impl Root {
    /// The number under which events about `text` are found, for one `kind` of name ("user",
    /// "device"). The first 64 bits of an HMAC: two names may share one, so a search compares the
    /// events it finds.
    pub fn search_term(&self, kind: &str, text: &str) -> i64 {
        let mac = self
            .search_term
            .of_fields([kind.as_bytes(), text.as_bytes()]);
        let [a, b, c, d, e, f, g, h, ..] = mac;
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use crate::Root;
    use crate::random::counting::Counting;

    #[test]
    fn a_term_depends_on_kind_text_and_their_border() {
        let root = Root::generate(&Counting::new());
        let term = root.search_term("user", "dave");
        assert_eq!(term, root.search_term("user", "dave"));
        for (kind, text) in [("device", "dave"), ("user", "eve"), ("userd", "ave")] {
            assert_ne!(term, root.search_term(kind, text), "{kind} {text}");
        }
    }

    /// Frozen: with another value old events would no longer be found.
    #[test]
    fn term_is_frozen() {
        let term = Root::generate(&Counting::new()).search_term("user", "dave");
        assert_eq!(term, 3_777_618_873_960_876_305);
    }
}
