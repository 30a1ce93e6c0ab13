//! The contract as committed files: a change of the API shows as a change of these.

use std::path::PathBuf;

use serde_json::Value;

fn committed(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_default()
}

/// Equal, or the first line that differs and the command that brings the file up to date.
#[track_caller]
fn same(name: &str, now: &str) {
    let before = committed(name);
    if before == now {
        return;
    }
    let numbered = before.lines().zip(now.lines()).enumerate();
    let differing = numbered.clone().find(|(_, (before, now))| before != now);
    let (line, told) = match differing {
        Some((line, (before, now))) => (line + 1, format!("was: {before}\nis:  {now}")),
        None => (numbered.count() + 1, "one of them ends here".to_owned()),
    };
    panic!(
        "docs/{name} is not what the program says, first in line {line}:\n{told}\n\
         The API may grow, but never break. If the change is meant: cargo xtask generate"
    );
}

#[test]
fn the_document_is_the_committed_one() {
    let mut text = serde_json::to_string_pretty(&web::openapi()).unwrap();
    text.push('\n');
    same("openapi.json", &text);
}

#[test]
fn the_errors_are_the_committed_ones() {
    same("errors.md", &web::errors_markdown());
}

#[test]
fn every_error_of_the_document_is_in_the_table_and_the_other_way_round() {
    let document: Value = serde_json::to_value(web::openapi()).unwrap();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let table = web::errors_markdown();
    let codes = codes.as_array().expect("the codes of a problem");
    for code in codes {
        assert!(
            table.contains(&format!("`{}`", code.as_str().unwrap())),
            "{code}"
        );
    }
    let rows = table.lines().filter(|line| line.contains(" | `")).count();
    assert_eq!(rows, codes.len());
}
