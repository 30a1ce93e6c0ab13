//! Nothing is left for later: no reminders, no stubs, no tests that do not run.

use super::code::words;
use super::failure::{Failure, Rule};
use super::tree::{File, Tree};

/// Written in halves, so that this file does not break its own rule.
const REMINDERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

const MACROS: [&str; 2] = ["todo", "unimplemented"];

/// Code blocks in documentation that are never run.
const DEAD_EXAMPLE: &str = concat!("```", "ignore");

static REMINDER: Rule = Rule {
    why: "a reminder in the code is read by nobody and shipped to everybody",
    instead: "do it now, or write down outside the code what is missing and why it may be",
};

static STUB: Rule = Rule {
    why: "a stub is a crash that waits for its caller",
    instead: "write the function, or leave it out together with its callers",
};

static DEAD_TEST: Rule = Rule {
    why: "a test that does not run proves nothing and looks as if it did",
    instead: "make it run everywhere, or delete it",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in &tree.files {
        let vendored = file.path.split('/').any(|part| part == "vendor");
        // Prose may well speak of reminders.
        if vendored || file.path.ends_with(".md") {
            continue;
        }
        reminders(file, &mut failures);
        stubs(file, &mut failures);
        dead_tests(file, &mut failures);
    }
    failures
}

fn reminders(file: &File, failures: &mut Vec<Failure>) {
    for (number, line) in file.lines() {
        for word in REMINDERS {
            if words(line, word).next().is_some() {
                failures.push(Failure::new(&file.path, number, word, &REMINDER));
            }
        }
    }
}

fn stubs(file: &File, failures: &mut Vec<Failure>) {
    for name in MACROS {
        for at in file.code.words(name) {
            if file.code.masked[at + name.len()..].starts_with('!') {
                let line = file.code.line(at);
                failures.push(Failure::new(&file.path, line, format!("{name}!"), &STUB));
            }
        }
    }
}

fn dead_tests(file: &File, failures: &mut Vec<Failure>) {
    for (at, _) in file.code.masked.match_indices("#[ignore") {
        let line = file.code.line(at);
        failures.push(Failure::new(
            &file.path,
            line,
            "an ignored test",
            &DEAD_TEST,
        ));
    }
    if !file.path.ends_with(".rs") {
        return;
    }
    for (number, line) in file.lines() {
        if line.contains(DEAD_EXAMPLE) {
            let what = "an ignored example";
            failures.push(Failure::new(&file.path, number, what, &DEAD_TEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_file(path: &str, text: &str, places: &[&str]) {
        assert_places(&check(&Tree::of(&[(path, text)])), places);
    }

    #[test]
    fn reminders_are_found_in_comments_and_elsewhere() {
        for word in REMINDERS {
            check_file("a.rs", &format!("a\n// {word}: b"), &["a.rs:2"]);
            check_file("a.sql", &format!("-- {word}"), &["a.sql:1"]);
            check_file("a.rs", &format!("// {word}S and A{word}"), &[]);
            check_file("a.md", word, &[]);
            check_file("web/vendor/a.js", word, &[]);
        }
    }

    #[test]
    fn stubs_are_found_in_code_only() {
        check_file("a.rs", "fn a() { todo!() }", &["a.rs:1"]);
        check_file("a.rs", "fn a() {\n unimplemented!(\"b\") }", &["a.rs:2"]);
        check_file("a.rs", "// todo!()\nlet a = \"todo!()\";", &[]);
        check_file("a.rs", "let todo = 1; my_todo!();", &[]);
    }

    #[test]
    fn dead_tests_are_found() {
        check_file("a.rs", "#[test]\n#[ignore]\nfn a() {}", &["a.rs:2"]);
        check_file(
            "a.rs",
            "#[ignore = \"slow\"] fn a() {} // #[ignore]",
            &["a.rs:1"],
        );
        check_file("a.rs", &format!("/// {DEAD_EXAMPLE}"), &["a.rs:1"]);
        check_file("a.rs", "let a = \"#[ignore]\";", &[]);
    }
}
