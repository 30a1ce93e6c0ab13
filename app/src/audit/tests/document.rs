//! The page for people lists every action, as the code has them.

use domain::Action;

#[test]
fn the_document_lists_every_action_with_its_meaning() {
    let page = include_str!("../../../../docs/audit.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let row = |action: &Action| format!("| `{action}` | {} |", action.meaning());
    let expected: Vec<String> = Action::ALL.iter().map(row).collect();
    assert_eq!(
        rows,
        expected,
        "put these rows into docs/audit.md:\n{}",
        expected.join("\n")
    );
}
