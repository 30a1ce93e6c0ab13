//! `otpd audit`: prove the log, make a checkpoint.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use app::audit::{self, AuditOptions, AuditReport, Proof};
use domain::checkpoint::Checkpoint;

use crate::cli::AuditCommand;
use crate::config::settings::Settings;
use crate::wiring::{self, Surroundings, WiringError};

/// Runs a command; the exit code says whether the log holds.
///
/// # Errors
/// A sentence for whoever gave it.
pub async fn run(
    command: &AuditCommand,
    settings: &Settings,
    around: &Surroundings,
) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify {
            checkpoint,
            links_only,
        } => {
            let options = AuditOptions {
                checkpoint: checkpoint.as_deref().map(read).transpose()?,
                ..AuditOptions::default()
            };
            let report = verify(settings, around, &options, *links_only).await?;
            print(&report)?;
            Ok(ExitCode::from(u8::from(!report.holds())))
        }
        AuditCommand::Checkpoint => {
            checkpoint(settings, around).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(
    settings: &Settings,
    around: &Surroundings,
    options: &AuditOptions,
    links_only: bool,
) -> anyhow::Result<AuditReport> {
    if links_only {
        let store = wiring::open_store_for_reading(settings, around).await?;
        let report = audit::verify_links_only(&store, options).await?;
        return report.context("the database is empty: there is no log to prove");
    }
    let opened = wiring::open_for_reading(settings, around).await;
    let (store, room) = opened.map_err(|error| match error {
        WiringError::Store(_) | WiringError::NoDatabase(_) => error.into(),
        other => anyhow::Error::from(other)
            .context("the proof needs the master secret; without it there is --links-only"),
    })?;
    Ok(audit::verify(&store, &room, options).await?)
}

fn read(path: &Path) -> anyhow::Result<Checkpoint> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the checkpoint {} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no checkpoint", path.display()))
}

fn print(report: &AuditReport) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for finding in &report.findings {
        let kind = serde_json::to_value(finding.kind)?;
        let kind = kind.as_str().unwrap_or_default();
        let chain = finding.chain.as_deref().unwrap_or("-");
        let seq = finding.seq.map_or("-".to_owned(), |seq| seq.to_string());
        let event = finding.event.as_deref().unwrap_or("-");
        let text = &finding.text;
        writeln!(
            out,
            "FAULT {kind} chain={chain} seq={seq} event={event}: {text}"
        )?;
    }
    if report.more_findings > 0 {
        writeln!(out, "… and {} faults more", report.more_findings)?;
    }
    let checked = match report.proof {
        Proof::Full => "links, MACs and signatures",
        Proof::Links => "links and signatures (not the MACs)",
    };
    let verdict = if report.holds() {
        "The audit log holds"
    } else {
        "The audit log does NOT hold"
    };
    writeln!(
        out,
        "{verdict}: events {}, chains {}, checkpoints {}; checked {checked}.",
        report.events, report.chains, report.checkpoints
    )?;
    if let Some(id) = report.exported_checkpoint {
        writeln!(out, "Compared with the given checkpoint {id}.")?;
    }
    Ok(())
}

async fn checkpoint(settings: &Settings, around: &Surroundings) -> anyhow::Result<()> {
    let opened = wiring::open_existing(settings, around).await;
    let opened = opened.map_err(|error| {
        error.when_held(
        "no checkpoint can be made offline; a running server has POST /api/v1/audit/checkpoints",
    )
    })?;
    let app = wiring::start(settings, opened, around).await?;
    let result = app.checkpoint().await;
    app.close().await;
    let text = serde_json::to_string_pretty(&result?)?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
