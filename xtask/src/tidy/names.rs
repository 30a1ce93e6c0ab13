//! Files are named after what they hold and begin by saying what they are for.

use super::failure::{Failure, Rule};
use super::tree::Tree;

const FORBIDDEN: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "types"];

static NAME: Rule = Rule {
    why: "a name that fits anything collects everything, and nobody finds it again",
    instead: "name the file after the thing in it (`guard`, `challenge`), or put each part beside its only user",
};

static FIRST_LINE: Rule = Rule {
    why: "the first line of a file tells a reader whether to read on",
    instead: "begin with `//! ` and one sentence that says what the file is for",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in tree.rust() {
        let stem = file.path.trim_end_matches(".rs");
        if let Some(part) = stem.split('/').find(|part| FORBIDDEN.contains(part)) {
            let what = format!("`{part}` says nothing");
            failures.push(Failure::new(&file.path, 1, what, &NAME));
        }
        let first = file.text.lines().next().unwrap_or_default();
        let sentence = first.strip_prefix("//! ").unwrap_or_default();
        if sentence.split_whitespace().count() < 3 {
            let what = "the first line is no `//!` sentence";
            failures.push(Failure::new(&file.path, 1, what, &FIRST_LINE));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_file(path: &str, text: &str, breaches: usize) {
        let places = vec![format!("{path}:1"); breaches];
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        assert_places(&check(&Tree::of(&[(path, text)])), &places);
    }

    #[test]
    fn names_say_something() {
        let sentence = "//! The rule of locks.\n";
        check_file("domain/src/guard.rs", sentence, 0);
        check_file("domain/src/utils.rs", sentence, 1);
        check_file("web/src/common/mod.rs", sentence, 1);
        check_file("web/src/types/page.rs", sentence, 1);
        check_file("web/src/uncommon.rs", sentence, 0);
        check_file("docs/common.md", "text", 0);
    }

    #[test]
    fn the_first_line_is_a_sentence() {
        check_file("a.rs", "//! What it is for.\nuse b;", 0);
        check_file("a.rs", "//! a", 1);
        check_file("a.rs", "// What it is for.", 1);
        check_file("a.rs", "\n//! What it is for.", 1);
        check_file("a.rs", "", 1);
    }
}
