//! Every direct dependency is accounted for in `docs/dependencies.md`, and there are few.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::failure::{Failure, Rule};
use super::manifest;
use super::tree::Tree;

const LIST: &str = "docs/dependencies.md";
const CEILING: usize = 50;

static LISTED: Rule = Rule {
    why: "a dependency is code that nobody here has read; it has to earn its place",
    instead: "add a row to docs/dependencies.md that says what it saves us from writing, or write it",
};

static STALE: Rule = Rule {
    why: "a list that names what is not there is not believed where it is right",
    instead: "remove the row",
};

static FEW: Rule = Rule {
    why: "each further dependency makes an audit and an upgrade slower; 50 is what we are ready to follow",
    instead: "remove one that saves less than this one",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let manifests = manifest::read(tree);
    let own: BTreeSet<&str> = manifests.iter().map(|manifest| manifest.name).collect();
    let mut used: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for manifest in &manifests {
        for dependency in &manifest.dependencies {
            if !own.contains(dependency.package.as_str()) {
                used.entry(&dependency.package)
                    .or_insert((manifest.path, dependency.line));
            }
        }
    }
    let rows = rows(tree);
    let mut failures = Vec::new();
    for (package, (path, line)) in &used {
        if !rows.contains_key(package) {
            let what = format!("`{package}` has no row in {LIST}");
            failures.push(Failure::new(path, *line, what, &LISTED));
        }
    }
    let known = known(tree);
    for (package, line) in &rows {
        if !used.contains_key(package) && !known.contains(*package) {
            let what = format!("nothing depends on `{package}`");
            failures.push(Failure::new(LIST, *line, what, &STALE));
        }
    }
    if used.len() > CEILING {
        let what = format!("{} direct dependencies; the limit is {CEILING}", used.len());
        failures.push(Failure::new("Cargo.toml", 1, what, &FEW));
    }
    failures
}

/// The packages named in the first column of the list's tables, with their lines.
fn rows(tree: &Tree) -> BTreeMap<&str, usize> {
    let Some(list) = tree.file(LIST) else {
        return BTreeMap::new();
    };
    list.lines()
        .filter_map(|(number, line)| {
            let (name, reason) = line.strip_prefix("| `")?.split_once("` |")?;
            let said = reason.trim_matches([' ', '|']).split_whitespace().count() > 2;
            said.then_some((name, number))
        })
        .collect()
}

/// The packages the workspace offers to its crates, those for tests among them.
fn known(tree: &Tree) -> BTreeSet<String> {
    let table = tree
        .file("Cargo.toml")
        .and_then(|file| file.text.parse::<Table>().ok())
        .unwrap_or_default();
    let shared = table
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let names = shared.into_iter().flat_map(Table::keys).cloned();
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_list(list: &str, manifest: &str, places: &[&str]) {
        let shared = "[workspace.dependencies]\nfor-tests = \"1\"\n";
        let tree = Tree::of(&[
            ("Cargo.toml", shared),
            ("a/Cargo.toml", manifest),
            (LIST, list),
        ]);
        assert_places(&check(&tree), places);
    }

    #[test]
    fn every_dependency_has_a_row_with_a_reason() {
        let manifest = "[dependencies]\nb = \"1\"\na = { path = \"../a\" }\n";
        check_list("| `b` | parsing of dates |", manifest, &[]);
        check_list("| `b` | |", manifest, &["a/Cargo.toml:2"]);
        check_list("we use `b` for dates", manifest, &["a/Cargo.toml:2"]);
        check_list(
            "| `b` | parsing of dates |\n| `c` | nothing at all |",
            manifest,
            &["docs/dependencies.md:2"],
        );
        check_list(
            "| `b` | parsing of dates |\n| `for-tests` | made up input |",
            manifest,
            &[],
        );
    }

    #[test]
    fn there_are_50_at_most() {
        let names = |count: usize| (0..count).map(|index| format!("p{index}"));
        let list = |count| {
            let rows = names(count).map(|name| format!("| `{name}` | the third part |\n"));
            rows.collect::<String>()
        };
        let manifest = |count| {
            let entries = names(count).map(|name| format!("{name} = \"1\"\n"));
            format!("[dependencies]\n{}", entries.collect::<String>())
        };
        check_list(&list(50), &manifest(50), &[]);
        check_list(&list(51), &manifest(51), &["Cargo.toml:1"]);
    }
}
