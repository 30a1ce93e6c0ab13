//! No file speaks of the machine it was written on.

use super::failure::{Failure, Rule};
use super::tree::Tree;

/// Written in halves, so that this file does not break its own rule.
const PLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

static RULE: Rule = Rule {
    why: "a path of one machine is wrong on every other",
    instead: "use a path relative to the repository, or ask the environment at run time",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in &tree.files {
        for (number, line) in file.lines() {
            for place in PLACES {
                if is_absolute(line, place) {
                    let what = format!("`{place}` is a folder of some machine");
                    failures.push(Failure::new(&file.path, number, what, &RULE));
                }
            }
        }
    }
    failures
}

/// Whether `place` stands in `line` as the beginning of a path and not in its middle.
fn is_absolute(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        let check_text = |text: &str, places: &[&str]| {
            assert_places(&check(&Tree::of(&[("a.txt", text)])), places);
        };
        for place in PLACES {
            check_text(&format!("\ncd {place}a"), &["a.txt:2"]);
            check_text(&format!("\"{place}a\""), &["a.txt:1"]);
            check_text(&format!("https://example.com{place}a ..{place}"), &[]);
        }
        check_text("/usr/bin/env", &[]);
    }
}
