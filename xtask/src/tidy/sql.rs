//! SQL is written in `store` alone.

use super::failure::{Failure, Rule};
use super::tree::Tree;

/// Folders whose string literals may hold SQL; some tests break into the database on purpose.
const ALLOWED: [&str; 4] = ["store/", "otpd/tests/", "app/src/audit/tests", "xtask/"];

static RULE: Rule = Rule {
    why: "`store` alone knows SQL: there every statement is prepared at start and tested on both engines",
    instead: "add a method to `store` that is named after what the caller wants, and call it",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in tree.rust() {
        if ALLOWED.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        for literal in &file.code.literals {
            if is_sql(&literal.text) {
                let what = "SQL in a string literal";
                failures.push(Failure::new(&file.path, literal.line, what, &RULE));
            }
        }
    }
    failures
}

/// Keywords count in capitals only: in small letters they are English.
fn is_sql(text: &str) -> bool {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let pair = |first, second| words.windows(2).any(|pair| pair == [first, second]);
    let then = |first, second| {
        let at = words.iter().position(|&word| word == first);
        at.is_some_and(|at| words[at..].contains(&second))
    };
    let begins = |word| words.first() == Some(&word) && words.len() > 1;
    pair("INSERT", "INTO")
        || pair("DELETE", "FROM")
        || pair("FOR", "UPDATE")
        || then("SELECT", "FROM")
        || then("UPDATE", "SET")
        || begins("SELECT")
        || begins("PRAGMA")
        || ["CREATE", "ALTER", "DROP"]
            .iter()
            .any(|verb| pair(verb, "TABLE") || pair(verb, "INDEX"))
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    #[test]
    fn sql_is_told_from_english() {
        let check = |text, sql| assert_eq!(is_sql(text), sql, "{text}");
        check("SELECT 1", true);
        check("WITH a AS (SELECT b FROM c)", true);
        check("INSERT INTO a VALUES ($1)", true);
        check("INSERT\n  INTO a", true);
        check("UPDATE device SET step = $1", true);
        check("DELETE FROM device", true);
        check("CREATE TABLE a (b TEXT)", true);
        check("PRAGMA journal_mode", true);
        check("select one from the list", false);
        check("update the set", false);
        check("SELECT", false);
        check("SELECTED FROM", false);
        check("SET UPDATE", false);
        check("", false);
    }

    #[test]
    fn sql_is_allowed_in_its_rooms_only() {
        let check_in = |path: &str, places: &[&str]| {
            let source = "// SELECT a FROM b\nconst A: &str = r\"SELECT a FROM b\";";
            assert_places(&check(&Tree::of(&[(path, source)])), places);
        };
        check_in("store/src/a.rs", &[]);
        check_in("otpd/tests/a.rs", &[]);
        check_in("otpd/src/a.rs", &["otpd/src/a.rs:2"]);
        check_in("web/src/a.rs", &["web/src/a.rs:2"]);
        check_in("web/src/store/a.rs", &["web/src/store/a.rs:2"]);
    }
}
