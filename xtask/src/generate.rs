//! Writes the files that are made from the program itself; tests refuse them when they are stale.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// File, and the arguments that make the program print its content.
const FILES: [(&str, &[&str]); 3] = [
    ("docs/openapi.json", &["openapi"]),
    ("docs/errors.md", &["errors"]),
    ("store/schema.sql", &["migrate", "--print-schema"]),
];

/// Writes every generated file.
pub(crate) fn run(root: &Path) -> Result<bool> {
    for (file, arguments) in FILES {
        let output = Command::new("cargo")
            .args(["run", "--quiet", "--locked", "--package=otpd", "--"])
            .args(arguments)
            .current_dir(root)
            .output()
            .context("cargo cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "otpd {arguments:?}: {said}");
        let path = root.join(file);
        std::fs::write(&path, output.stdout).with_context(|| format!("cannot write {file}"))?;
        println!("wrote {file}");
    }
    Ok(true)
}
