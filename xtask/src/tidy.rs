//! Runs every check of the repository's own rules and prints what breaks them.

mod code;
mod dependencies;
mod failure;
mod layout;
mod links;
mod machine;
mod manifest;
mod metrics;
mod names;
mod size;
mod sql;
mod stubs;
mod tree;
mod walls;

use std::path::Path;

use anyhow::Result;

use failure::Failure;
use tree::Tree;

/// A rule: reads the whole repository and tells what breaks it.
type Check = fn(&Tree) -> Vec<Failure>;

const CHECKS: [Check; 10] = [
    size::check,
    names::check,
    stubs::check,
    walls::check,
    sql::check,
    dependencies::check,
    links::check,
    machine::check,
    metrics::check,
    layout::check,
];

/// Prints every breach under `root`; true if there is none.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let failures: Vec<Failure> = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    for failure in &failures {
        println!("{failure}");
    }
    println!(
        "{} files checked, {} faults",
        tree.files.len(),
        failures.len()
    );
    Ok(failures.is_empty())
}
