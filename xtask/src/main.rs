//! The commands a developer and the build server run: checks, tests, and a throw-away database.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for developers speaks on the terminal"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "this tool times its own steps, waits for a server and reads its caller's environment; no rule of the product lives here"
)]

mod alerts;
mod bench;
mod generate;
mod keeper;
mod postgres;
mod redis;
mod summary;
mod test;
mod tidy;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Checks, tests and throw-away servers for otpd.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what the compiler does not: sizes, names, the walls between crates, documents.
    Tidy,
    /// Check and test everything; ends with "N passed, N failed".
    Test {
        /// Run only tests whose name contains this.
        filter: Option<String>,
    },
    /// Check the alert rules in deploy/prometheus with promtool, and run their tests.
    Alerts,
    /// Run the invariant tests at full length.
    Endurance,
    /// Write the files that are made from the program: API description, errors, schema.
    Generate,
    /// Measure otpd over each database and write docs/performance.md; takes an hour and a half.
    Bench(bench::BenchArgs),
    /// Run a throw-away PostgreSQL until Ctrl-C and print its address.
    Postgres,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the command found everything in order.
fn run(command: &Command) -> Result<bool> {
    let root = root()?;
    match command {
        Command::Tidy => tidy::run(&root),
        Command::Test { filter } => Ok(test::everything(&root, filter.as_deref())),
        Command::Alerts => {
            let path = tools::ensure(&root, false)?;
            alerts::check(&root, &path)?;
            Ok(true)
        }
        Command::Endurance => Ok(test::endurance(&root)),
        Command::Generate => generate::run(&root),
        Command::Bench(args) => bench::run(&root, args),
        Command::Postgres => {
            tools::ensure_postgres()?;
            let server = postgres::Postgres::start()?;
            println!("{}", server.url());
            println!("Ctrl-C stops it and removes its data.");
            loop {
                std::thread::park();
            }
        }
    }
}

/// The folder of the workspace: the parent of this crate's own.
fn root() -> Result<PathBuf> {
    let here = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let root = here.parent().context("xtask stands in no workspace")?;
    Ok(root.to_path_buf())
}
