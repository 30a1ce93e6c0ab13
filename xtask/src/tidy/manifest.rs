//! The dependencies that each crate of the workspace declares.

use toml::{Table, Value};

use super::tree::{File, Tree};

/// One dependency outside tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The name of the package, whatever the crate calls it.
    pub(crate) package: String,
    /// The line of the manifest, from 1.
    pub(crate) line: usize,
}

/// A crate of the workspace.
pub(crate) struct Manifest<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) dependencies: Vec<Dependency>,
}

/// The crates at the top level; a manifest that cannot be read stops cargo, so it is passed over here.
pub(crate) fn read(tree: &Tree) -> Vec<Manifest<'_>> {
    let shared = tree
        .file("Cargo.toml")
        .and_then(|file| file.text.parse::<Table>().ok())
        .unwrap_or_default();
    let renamed = |name: &str| {
        let entry = shared.get("workspace")?.get("dependencies")?.get(name)?;
        Some(entry.get("package")?.as_str()?.to_string())
    };
    let mut manifests = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let Ok(table) = file.text.parse::<Table>() else {
            continue;
        };
        if !name.contains('/') {
            manifests.push(Manifest {
                name,
                path: &file.path,
                dependencies: declared(file, &table, &renamed),
            });
        }
    }
    manifests
}

fn declared(
    file: &File,
    table: &Table,
    renamed: &impl Fn(&str) -> Option<String>,
) -> Vec<Dependency> {
    let targets = table.get("target").and_then(Value::as_table);
    let sections = std::iter::once(table)
        .chain(
            targets
                .into_iter()
                .flat_map(Table::values)
                .filter_map(Value::as_table),
        )
        .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
        .flatten()
        .filter_map(Value::as_table);
    sections
        .flat_map(Table::iter)
        .map(|(name, value)| {
            let own = value.get("package").and_then(Value::as_str);
            let package = own.map(String::from).or_else(|| renamed(name));
            Dependency {
                package: package.unwrap_or_else(|| name.clone()),
                line: line_of(file, name),
            }
        })
        .collect()
}

fn line_of(file: &File, name: &str) -> usize {
    let is_entry = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"', '\'']))
    };
    file.lines()
        .find(|(_, line)| is_entry(line))
        .map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_apart_every_dependency_is_read() {
        let tree = Tree::of(&[
            (
                "Cargo.toml",
                "[workspace.dependencies]\nclock = { package = \"time\", version = \"1\" }",
            ),
            (
                "a/Cargo.toml",
                "[dependencies]\nb.workspace = true\nclock.workspace = true\nc = \"1\"\n\
                 [dev-dependencies]\nd = \"1\"\n[build-dependencies]\ne = \"1\"\n\
                 [target.'cfg(unix)'.dependencies]\nf = { package = \"g\", version = \"1\" }",
            ),
            ("a/fuzz/Cargo.toml", "[dependencies]\nh = \"1\""),
        ]);
        let manifests = read(&tree);
        let found: Vec<(&str, usize)> = manifests
            .iter()
            .flat_map(|manifest| &manifest.dependencies)
            .map(|dependency| (dependency.package.as_str(), dependency.line))
            .collect();
        let expected = [("b", 2), ("c", 4), ("time", 3), ("e", 8), ("g", 10)];
        assert_eq!(manifests.len(), 1);
        assert_eq!(manifests[0].name, "a");
        assert_eq!(found, expected);
    }
}
