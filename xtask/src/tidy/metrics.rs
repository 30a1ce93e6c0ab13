//! Alerts and dashboards speak only of metrics that the server has.

use std::collections::BTreeSet;

use super::failure::{Failure, Rule};
use super::tree::Tree;

const LIST: &str = "docs/metrics.md";
const FOLDER: &str = "deploy/";
const PREFIX: &str = "otpd_";

static RULE: Rule = Rule {
    why: "an alert over a metric that does not exist never fires, and nobody notices",
    instead: "use a name of docs/metrics.md; a histogram's series end in _bucket, _sum and _count",
};

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let list = tree.file(LIST).map_or("", |file| file.text.as_str());
    let known = known(list);
    let mut failures = Vec::new();
    for file in &tree.files {
        if !file.path.starts_with(FOLDER) {
            continue;
        }
        for (number, line) in file.lines() {
            for name in names(line) {
                if !known.contains(name) {
                    let what = format!("`{name}` is not in {LIST}");
                    failures.push(Failure::new(&file.path, number, what, &RULE));
                }
            }
        }
    }
    failures
}

/// Every series of the table in the list.
fn known(list: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for line in list.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(name), Some(kind)) = (cells.next(), cells.next()) else {
            continue;
        };
        let name = name.trim_matches('`');
        if !name.starts_with(PREFIX) {
            continue;
        }
        if kind == "histogram" {
            known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
        } else {
            known.insert(name.to_owned());
        }
    }
    known
}

/// The metrics that a line names. `otpd:…` is a recorded series, not a metric.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_line(line: &str, places: &[&str]) {
        let list = "| name | type |\n|---|---|\n| `otpd_a_total` | counter | |\n| `otpd_b` | histogram | |\nsee otpd_c\n";
        let tree = Tree::of(&[(LIST, list), ("deploy/rules.yml", line)]);
        assert_places(&check(&tree), places);
    }

    #[test]
    fn only_listed_series_are_named() {
        check_line("expr: rate(otpd_a_total[5m]) > 0", &[]);
        check_line(
            "sum by (le) (otpd_b_bucket) / otpd_b_count - otpd_b_sum",
            &[],
        );
        check_line("record: otpd:a:rate5m", &[]);
        check_line("up{job=\"otpd\"}", &[]);
        check_line("otpd_b", &["deploy/rules.yml:1"]);
        check_line("otpd_a", &["deploy/rules.yml:1"]);
        check_line("x\ny otpd_c", &["deploy/rules.yml:2"]);
    }
}
