//! `otpd audit`: prove the log, make a checkpoint.

use std::process::ExitCode;

use crate::cli::AuditCommand;
use crate::config::settings::Settings;
use crate::wiring::Surroundings;

/// Runs a command.
///
/// # Errors
/// A sentence for whoever gave it.
pub async fn run(
    command: &AuditCommand,
    settings: &Settings,
    around: &Surroundings,
) -> anyhow::Result<ExitCode> {
    let _ = (command, settings, around);
    anyhow::bail!("not yet")
}
