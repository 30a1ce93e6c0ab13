//! `cargo xtask bench`: measures otpd over each database and writes what it found into docs/performance.md.

mod aims;
mod chart;
mod driver;
mod figures;
mod machine;
mod measure;
mod page;
mod parts;
mod scene;
mod soak;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::postgres::Postgres;
use crate::tools;
use figures::Figures;
use measure::{Bench, FULL, QUICK};
use parts::Part;
use scene::Kind;

/// `cargo xtask bench`
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// A short check that everything works; its figures are not written into docs/performance.md.
    #[arg(long)]
    quick: bool,
    /// Measure this otpd instead of building one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Measure this part alone (may be given several times) and keep the figures of the others, which
    /// must be of the same program on the same machine.
    #[arg(long, value_name = "PART", value_enum)]
    only: Vec<Part>,
    /// Minutes of full load over one database; 0 for none. 10 when left out, some seconds with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_440))]
    soak_minutes: Option<u32>,
    /// The figures of earlier calls: without --only, the page and the chart are written again from them
    /// and nothing is measured; with it, what is measured joins them.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Measures, keeps the figures in `target/bench`, and writes the page.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<bool> {
    let figures = match &args.from {
        Some(file) if args.only.is_empty() => {
            let measuring = args.quick || args.program.is_some() || args.soak_minutes.is_some();
            ensure!(!measuring, "--from without --only measures nothing");
            read(file)?
        }
        _ => measure(root, args)?,
    };
    let part = page::part(&figures);
    if figures.quick {
        println!("\n{part}");
        return Ok(true);
    }
    let file = root.join("docs/performance.md");
    let old = std::fs::read_to_string(&file).context("docs/performance.md cannot be read")?;
    std::fs::write(&file, page::exchange(&old, &part)?)?;
    std::fs::write(root.join("docs/performance.svg"), chart::svg(&figures))?;
    println!("wrote docs/performance.md and docs/performance.svg");
    Ok(true)
}

/// Measures part by part and keeps the figures after each, so that a later call can go on.
fn measure(root: &Path, args: &BenchArgs) -> Result<Figures> {
    let extent = if args.quick { &QUICK } else { &FULL };
    let minutes = args.soak_minutes.map(|minutes| minutes * 60);
    let soak_seconds = minutes.unwrap_or(extent.soak_seconds);
    let parts = parts::chosen(&args.only, soak_seconds)?;
    let (program, build) = match &args.program {
        Some(program) => (program.canonicalize()?, "a program that was given"),
        None => (built(root)?, "release build"),
    };
    tools::ensure_postgres()?;
    // A short check leaves the figures of a long measurement alone.
    let name = if args.quick { "quick" } else { "figures" };
    let kept = root.join(format!("target/bench/{name}.json"));
    let fresh = Figures {
        machine: machine::machine(&program, build),
        quick: args.quick,
        seconds: extent.seconds,
        ..Figures::default()
    };
    let figures = fresh.continued(earlier(args, &kept)?)?;
    let needs_postgres = parts.iter().any(|part| part.kind() != Kind::Sqlite);
    let settings = &figures.machine.postgres_settings;
    let server = needs_postgres.then(|| Postgres::start_on_disk(settings));
    let server = server.transpose()?;
    let mut bench = Bench {
        program: &program,
        server: server.as_ref(),
        extent,
        soak_seconds,
        databases: 0,
        figures,
    };
    for part in parts {
        bench.measure(part)?;
        bench.figures.sort();
        std::fs::create_dir_all(root.join("target/bench"))?;
        std::fs::write(&kept, serde_json::to_string_pretty(&bench.figures)?)?;
        println!("{part:?} kept in {}", kept.display());
    }
    Ok(bench.figures)
}

/// The figures that what is measured joins: none when everything is measured.
fn earlier(args: &BenchArgs, kept: &Path) -> Result<Option<Figures>> {
    if args.only.is_empty() {
        return Ok(None);
    }
    match &args.from {
        Some(file) => read(file).map(Some),
        None if kept.exists() => read(kept).map(Some),
        None => Ok(None),
    }
}

fn read(file: &Path) -> Result<Figures> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("no figures in {}", file.display()))
}

/// Builds the program as it is released and returns where it is.
fn built(root: &Path) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--package=otpd"])
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(folder.join("release/otpd"))
}
