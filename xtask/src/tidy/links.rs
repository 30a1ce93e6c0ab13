//! Links in Markdown lead to files that are there.

use super::failure::{Failure, Rule};
use super::tree::{File, Tree};

static RULE: Rule = Rule {
    why: "a reader who meets one dead link stops trusting the others",
    instead: "point it, relative to its own file, at a file of the repository",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in targets(file) {
            let there = resolve(&file.path, target).is_some_and(|path| tree.holds(&path));
            if !there {
                let what = format!("no file `{target}`");
                failures.push(Failure::new(&file.path, line, what, &RULE));
            }
        }
    }
    failures
}

/// The local targets of all links outside code, without anchors.
fn targets(file: &File) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        // Every other part between backticks is code.
        for part in line.split('`').step_by(2) {
            let inline = part.split("](").skip(1);
            let inline = inline.filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(inline.map(|target| (number, target)));
        }
        // A link whose text is code: [`name`](target).
        for rest in line.split("`](").skip(1) {
            let target = rest.split([')', ' ']).next();
            found.extend(target.map(|target| (number, target)));
        }
        if let Some(("", rest)) = line.split_once('[')
            && let Some((_, target)) = rest.split_once("]: ")
        {
            found.push((number, target.trim()));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .map(|(line, target)| (line, target.split('#').next().unwrap_or_default()))
        .filter(|(_, target)| !target.is_empty() && !is_elsewhere(target))
        .collect()
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:") || target.starts_with('<')
}

/// The path from the root that a link in the file at `from` means; nothing if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_text(text: &str, places: &[&str]) {
        let tree = Tree::of(&[("README.md", ""), ("docs/a.md", text), ("docs/b.md", "")]);
        assert_places(&check(&tree), places);
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        check_text(
            "[b](b.md) [c](../README.md) [d](../docs/) [e](./b.md#x)",
            &[],
        );
        check_text("[`b`](b.md) ![p](b.md \"title\") [here](#anchor)", &[]);
        check_text("\n[b](none.md)", &["docs/a.md:2"]);
        check_text("[`b`](none.md)", &["docs/a.md:1"]);
        check_text("[b](/docs/b.md)", &["docs/a.md:1"]);
        check_text("[b](../../docs/b.md)", &["docs/a.md:1"]);
        check_text("[b]: none.md", &["docs/a.md:1"]);
        check_text("[b]: b.md", &[]);
    }

    #[test]
    fn other_places_and_code_are_passed_over() {
        check_text("[a](https://example.com/x) [b](mailto:a@example.com)", &[]);
        check_text("```\n[a](none.md)\n```", &[]);
        check_text("`[a](none.md)`", &[]);
    }
}
