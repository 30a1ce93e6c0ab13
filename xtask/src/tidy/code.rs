//! Reads Rust source just far enough to tell code from comments and string literals.

use std::ops::Range;

/// A string literal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// What stands between the quotes, escapes untouched.
    pub(crate) text: String,
}

/// Rust source with its comments and literals told apart.
#[derive(Debug, Default)]
pub(crate) struct Code {
    /// The source in ASCII, byte for byte in its place: comments are blanks, the contents of literals and
    /// everything beyond ASCII are `~`, line ends stay.
    pub(crate) masked: String,
    pub(crate) literals: Vec<Literal>,
}

impl Code {
    pub(crate) fn read(text: &str) -> Self {
        let mut reader = Reader {
            source: text.as_bytes(),
            at: 0,
            masked: Vec::with_capacity(text.len()),
            literals: Vec::new(),
        };
        while reader.at < reader.source.len() {
            reader.step();
        }
        Self {
            // Only ASCII is ever pushed.
            masked: String::from_utf8_lossy(&reader.masked).into_owned(),
            literals: reader.literals,
        }
    }

    /// The line, from 1, that the byte at `offset` stands on.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line_of(self.masked.as_bytes(), offset)
    }

    /// How many lines among these bytes hold more than blanks and comments.
    pub(crate) fn code_lines(&self, bytes: Range<usize>) -> usize {
        self.masked[bytes]
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }

    /// Where `word` stands with no letter, digit or `_` right before or after it.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.masked, word)
    }

    /// The end of the group that opens at `open` with `(`, `[` or `{`: the byte after its closing mate.
    pub(crate) fn group_end(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (index, byte) in self.masked.bytes().enumerate().skip(open) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// Where `word` stands in `text` with no letter, digit or `_` right before or after it.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = at.checked_sub(1).is_some_and(|index| is_word(bytes[index]));
            let after = bytes.get(at + word.len()).copied().is_some_and(is_word);
            !before && !after
        })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn line_of(bytes: &[u8], offset: usize) -> usize {
    let before = &bytes[..offset.min(bytes.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

struct Reader<'a> {
    source: &'a [u8],
    at: usize,
    masked: Vec<u8>,
    literals: Vec<Literal>,
}

impl Reader<'_> {
    /// Takes one token, or one byte where tokens do not matter.
    fn step(&mut self) {
        let rest = &self.source[self.at..];
        if rest.starts_with(b"//") {
            let length = rest.iter().position(|&byte| byte == b'\n');
            self.mask(length.unwrap_or(rest.len()), b' ');
        } else if rest.starts_with(b"/*") {
            self.mask(block_comment(rest), b' ');
        } else if rest[0] == b'"' {
            self.quoted();
        } else if rest[0] == b'\'' {
            self.character_or_lifetime();
        } else if is_word(rest[0]) {
            self.word();
        } else {
            self.copy(1);
        }
    }

    fn copy(&mut self, length: usize) {
        for &byte in &self.source[self.at..self.at + length] {
            self.masked.push(if byte.is_ascii() { byte } else { b'~' });
        }
        self.at += length;
    }

    /// Replaces the next bytes, white space apart.
    fn mask(&mut self, length: usize, by: u8) {
        for &byte in &self.source[self.at..self.at + length] {
            let blank = byte.is_ascii_whitespace();
            self.masked.push(if blank { byte } else { by });
        }
        self.at += length;
    }

    /// The contents of a literal, with what closes it.
    fn literal(&mut self, length: usize, closing: usize) {
        let content = &self.source[self.at..self.at + length];
        self.literals.push(Literal {
            line: line_of(self.source, self.at),
            text: String::from_utf8_lossy(content).into_owned(),
        });
        self.mask(length, b'~');
        self.copy(closing.min(self.source.len() - self.at));
    }

    fn quoted(&mut self) {
        self.copy(1);
        let length = until_quote(&self.source[self.at..], b'"');
        self.literal(length, 1);
    }

    fn character_or_lifetime(&mut self) {
        self.copy(1);
        let rest = &self.source[self.at..];
        let Some(&first) = rest.first() else { return };
        // The width of one UTF-8 character by its first byte.
        let width = match first {
            0xF0.. => 4,
            0xE0.. => 3,
            0xC0.. => 2,
            _ => 1,
        };
        if first == b'\\' {
            let length = until_quote(rest, b'\'');
            self.mask(length, b'~');
        } else if rest.get(width) == Some(&b'\'') {
            self.mask(width, b'~');
        } else {
            return;
        }
        self.copy(usize::from(self.at < self.source.len()));
    }

    /// An identifier, keyword or number; or the prefix of a literal and the literal.
    fn word(&mut self) {
        let rest = &self.source[self.at..];
        let length = rest.iter().take_while(|&&byte| is_word(byte)).count();
        let raw = matches!(&rest[..length], b"r" | b"br" | b"cr");
        if !raw {
            self.copy(length);
            return;
        }
        let marks = rest[length..]
            .iter()
            .take_while(|&&byte| byte == b'#')
            .count();
        if rest.get(length + marks) == Some(&b'"') {
            self.copy(length + marks + 1);
            let mut closing = vec![b'"'];
            closing.resize(1 + marks, b'#');
            let rest = &self.source[self.at..];
            let found = rest.windows(closing.len()).position(|part| part == closing);
            self.literal(found.unwrap_or(rest.len()), closing.len());
        } else if marks == 1 {
            // A raw identifier: `r#fn` is no keyword.
            let name = rest[length + 1..].iter().take_while(|&&byte| is_word(byte));
            let name = name.count();
            self.mask(length + 1 + name, b'~');
        } else {
            self.copy(length);
        }
    }
}

/// How many bytes come before the quote that ends a literal; a backslash shields the byte after it.
fn until_quote(rest: &[u8], quote: u8) -> usize {
    let mut index = 0;
    while index < rest.len() && rest[index] != quote {
        index += if rest[index] == b'\\' { 2 } else { 1 };
    }
    index.min(rest.len())
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while index < rest.len() {
        if rest[index..].starts_with(b"/*") {
            depth += 1;
            index += 2;
        } else if rest[index..].starts_with(b"*/") {
            depth -= 1;
            index += 2;
        } else {
            index += 1;
        }
        if depth == 0 {
            break;
        }
    }
    index.min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, masked: &str, literals: &[(usize, &str)]) {
        let code = Code::read(source);
        assert_eq!(code.masked, masked, "{source}");
        assert_eq!(code.masked.len(), source.len(), "{source}");
        let found: Vec<(usize, &str)> = code
            .literals
            .iter()
            .map(|literal| (literal.line, literal.text.as_str()))
            .collect();
        assert_eq!(found, literals, "{source}");
    }

    #[test]
    fn comments_become_blanks() {
        check("a // b\nc", "a     \nc", &[]);
        check("/* a /* b */ \n c */d", "             \n     d", &[]);
        check("/* open", "       ", &[]);
        check("a / b", "a / b", &[]);
    }

    #[test]
    fn literals_are_hidden_and_kept() {
        check(r#"x("a{b")"#, r#"x("~~~")"#, &[(1, "a{b")]);
        check(r#""a\"b" c"#, r#""~~~~" c"#, &[(1, r#"a\"b"#)]);
        check("\"a\n b\"", "\"~\n ~\"", &[(1, "a\n b")]);
        check("\n\"é\"", "\n\"~~\"", &[(2, "é")]);
        check("b\"x\" c\"y\"", "b\"~\" c\"~\"", &[(1, "x"), (1, "y")]);
        check("\"// no\" a", "\"~~ ~~\" a", &[(1, "// no")]);
        check("\"open", "\"~~~~", &[(1, "open")]);
        check("\"open\\", "\"~~~~~", &[(1, "open\\")]);
    }

    #[test]
    fn raw_literals_end_with_their_own_marks() {
        check(r##"r#"a"b"# c"##, r##"r#"~~~"# c"##, &[(1, r#"a"b"#)]);
        check(r#"br"\" c"#, r#"br"~" c"#, &[(1, r"\")]);
        check("r#fn x", "~~~~ x", &[]);
        check("bar\"x\"", "bar\"~\"", &[(1, "x")]);
        check("r##\"open", "r##\"~~~~", &[(1, "open")]);
    }

    #[test]
    fn characters_are_no_lifetimes() {
        check("'{' 'a", "'~' 'a", &[]);
        check("&'a str", "&'a str", &[]);
        check(r"'\'' '\u{7d}' {", r"'~~' '~~~~~~' {", &[]);
        check("'é' '\"' x", "'~~' '~' x", &[]);
        check("b'{'", "b'~'", &[]);
        check("'", "'", &[]);
    }

    #[test]
    fn words_stand_alone() {
        let check = |text, found: &[usize]| {
            assert_eq!(words(text, "fn").collect::<Vec<_>>(), found, "{text}");
        };
        check("fn", &[0]);
        check("a fn b fn", &[2, 7]);
        check("fnord Fn _fn fn_ 1fn", &[]);
    }

    #[test]
    fn groups_nest() {
        let check = |text, end| assert_eq!(Code::read(text).group_end(0), end, "{text}");
        check("{ (a) [b] {c} } d", Some(15));
        check("{ \"}\" }", Some(7));
        check("{ a", None);
    }
}
