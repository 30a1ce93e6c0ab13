//! The alert rules in `deploy/prometheus`, checked and tested with Prometheus' own tool.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

const FOLDER: &str = "deploy/prometheus";
const DASHBOARD: &str = "deploy/grafana/otpd.json";

/// Checks the rules and runs their tests; `path` is where the tool is looked for.
pub(crate) fn check(root: &Path, path: &OsStr) -> Result<()> {
    let folder = root.join(FOLDER);
    let (tests, rules): (Vec<String>, Vec<String>) = files(&folder)?
        .into_iter()
        .partition(|name| name.ends_with(".test.yml"));
    ensure!(!rules.is_empty(), "{FOLDER} has no rules");
    ensure!(!tests.is_empty(), "{FOLDER} has no tests of its rules");
    let untested = without_test(&texts(&folder, &rules)?, &texts(&folder, &tests)?);
    ensure!(untested.is_empty(), "{FOLDER}: no test of {untested:?}");
    promtool(&folder, path, &["check", "rules"], &rules)?;
    promtool(&folder, path, &["test", "rules"], &tests)?;
    let dashboard = std::fs::read_to_string(root.join(DASHBOARD))
        .with_context(|| format!("cannot read {DASHBOARD}"))?;
    let panels = panels_without_query(&dashboard)?;
    ensure!(panels.is_empty(), "{DASHBOARD}: no query in {panels:?}");
    Ok(())
}

fn promtool(folder: &Path, path: &OsStr, words: &[&str], files: &[String]) -> Result<()> {
    // `env` looks the program up in the PATH that it is given.
    let status = Command::new("env")
        .env("PATH", path)
        .arg("promtool")
        .args(words)
        .args(files)
        .current_dir(folder)
        .status()?;
    ensure!(status.success(), "promtool {}: {status}", words.join(" "));
    Ok(())
}

/// The YAML files of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yml") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The contents of files, one after the other.
fn texts(folder: &Path, names: &[String]) -> Result<String> {
    let mut all = String::new();
    for name in names {
        all += &std::fs::read_to_string(folder.join(name))?;
    }
    Ok(all)
}

/// The alerts that no test names both as it fires and as it does not.
fn without_test(rules: &str, tests: &str) -> Vec<String> {
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let fires = |alert: &str| {
        let named = format!("alertname: {alert}");
        tests.lines().any(|line| line.trim() == named)
    };
    let rests = |alert: &str| tests.contains(&format!("alertname: {alert}, exp_alerts: []}}"));
    alerts
        .filter(|alert| !fires(alert) || !rests(alert))
        .map(str::to_owned)
        .collect()
}

/// The titles of panels that would stay empty.
fn panels_without_query(dashboard: &str) -> Result<Vec<String>> {
    let dashboard: serde_json::Value = serde_json::from_str(dashboard)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    ensure!(!panels.is_empty(), "no panels");
    let empty = panels.iter().filter(|panel| {
        let targets = panel["targets"].as_array();
        let asks = |target: &serde_json::Value| {
            target["expr"].as_str().is_some_and(|expr| !expr.is_empty())
        };
        !targets.is_some_and(|targets| targets.iter().any(asks))
    });
    Ok(empty.map(|panel| panel["title"].to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_without_a_test_is_found() {
        let check = |tests: &str, untested: &[&str]| {
            assert_eq!(
                without_test("  - alert: OtpdA\n    expr: a > 1\n", tests),
                untested
            );
        };
        let rests = "- {eval_time: 2m, alertname: OtpdA, exp_alerts: []}\n";
        let fires = "- eval_time: 5m\n  alertname: OtpdA\n  exp_alerts:\n    - exp_labels: {}\n";
        check(&format!("{rests}{fires}"), &[]);
        check(rests, &["OtpdA"]);
        check(fires, &["OtpdA"]);
        check(&fires.replace("OtpdA", "OtpdAb"), &["OtpdA"]);
    }

    #[test]
    fn a_panel_without_a_query_is_found() {
        let check = |text: &str, empty: Option<usize>| {
            let found = panels_without_query(text).ok().map(|panels| panels.len());
            assert_eq!(found, empty, "{text}");
        };
        check(
            r#"{"panels":[{"title":"a","targets":[{"expr":"up"}]}]}"#,
            Some(0),
        );
        check(
            r#"{"panels":[{"title":"a","targets":[{"expr":""}]}]}"#,
            Some(1),
        );
        check(r#"{"panels":[{"title":"a"}]}"#, Some(1));
        check(r#"{"panels":[]}"#, None);
        check("{", None);
    }

    #[test]
    fn rules_and_their_tests_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let names = files(&root.join(FOLDER)).unwrap();
        assert!(names.contains(&"otpd.rules.yml".to_owned()), "{names:?}");
        assert!(
            names.contains(&"otpd.rules.test.yml".to_owned()),
            "{names:?}"
        );
    }
}
