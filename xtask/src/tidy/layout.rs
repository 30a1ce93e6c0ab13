//! The files that everybody relies on are where they belong.

use super::failure::{Failure, Rule};
use super::manifest;
use super::tree::Tree;

const RUN: &str = ".ci/run";
const MAP: &str = "ARCHITECTURE.md";

static BUILD_SERVER: Rule = Rule {
    why: "a build server starts this file and nothing else",
    instead: "keep it as a script with its executable bit: chmod +x .ci/run",
};

static NEWCOMER: Rule = Rule {
    why: "ARCHITECTURE.md is the first of the few files a newcomer reads; a crate missing there is not found",
    instead: "add a row that says what the crate knows and what it must not know, its name in backticks",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    match tree.file(RUN) {
        None => failures.push(Failure::new(RUN, 1, "it is missing", &BUILD_SERVER)),
        Some(file) if !file.executable => {
            failures.push(Failure::new(RUN, 1, "it is not executable", &BUILD_SERVER));
        }
        Some(_) => {}
    }
    let map = tree.file(MAP).map_or("", |file| file.text.as_str());
    for manifest in manifest::read(tree) {
        let name = manifest.name;
        if !map.contains(&format!("`{name}`")) {
            let what = format!("the crate `{name}` is not named");
            failures.push(Failure::new(MAP, 1, what, &NEWCOMER));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_tree(files: &[(&str, &str)], executable: bool, places: &[&str]) {
        let mut tree = Tree::of(files);
        for file in &mut tree.files {
            file.executable = executable;
        }
        assert_places(&check(&tree), places);
    }

    #[test]
    fn the_build_server_finds_its_script() {
        check_tree(&[(RUN, "")], true, &[]);
        check_tree(&[(RUN, "")], false, &[".ci/run:1"]);
        check_tree(&[], true, &[".ci/run:1"]);
    }

    #[test]
    fn the_map_names_every_crate() {
        let with_map = |map, places| {
            let files = [(RUN, ""), ("otp/Cargo.toml", ""), (MAP, map)];
            check_tree(&files, true, places);
        };
        with_map("| `otp` | codes |", &[]);
        with_map("otpd", &["ARCHITECTURE.md:1"]);
        with_map("`otpd`", &["ARCHITECTURE.md:1"]);
    }
}
