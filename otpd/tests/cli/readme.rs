//! The README: its commands work in the shell it has told the reader to prepare.

use std::process::{Command, Stdio};

use crate::process::{Process, otpd};

const README: &str = include_str!("../../../README.md");

/// The line that begins so.
fn line(beginning: &str) -> &'static str {
    let found = README.lines().find(|line| line.starts_with(beginning));
    found.unwrap_or_else(|| panic!("{beginning} in the README"))
}

/// The commands of this program that the text names, each once.
fn commands() -> Vec<&'static str> {
    let spans = README.split('`').skip(1).step_by(2);
    let mut commands: Vec<&str> = spans.filter(|span| span.starts_with("otpd ")).collect();
    commands.sort_unstable();
    commands.dedup();
    commands
}

#[test]
fn the_commands_run_in_the_shell_that_the_readme_prepares() {
    let exports = format!("{}\nexport OTPD_BENCH_KEY=x", line("export OTPD_KEY="));
    let folder = tempfile::tempdir().unwrap();
    let named = commands();
    let wanted = ["otpd doctor", "otpd keys make", "otpd root reset"];
    for command in wanted {
        assert!(named.iter().any(|c| c.starts_with(command)), "{command}");
    }
    let shell = otpd(folder.path());
    let program = shell.get_program().to_str().unwrap();
    for command in std::iter::once("otpd migrate").chain(named) {
        let run = command.replacen("otpd", program, 1);
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &format!("{exports}\n{run}")]);
        shell.env_clear().current_dir(folder.path());
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
    }
}

#[test]
fn the_server_starts_beside_the_variables_of_its_clients() {
    let variables = [("OTPD_KEY", "otpd_x_y"), ("OTPD_BENCH_KEY", "otpd_x_y")];
    let folder = tempfile::tempdir().unwrap();
    // As a shell that sources the file would have it.
    std::fs::write(folder.path().join(".env"), "OTPD_KEY=otpd_x_y\n").unwrap();
    let server = Process::start_in(folder, &variables);
    assert_eq!(server.get("/livez", None).0, 200);
}
