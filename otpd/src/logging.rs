//! Logs: one line per event on standard error, JSON for machines, text for people.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;

use crate::config::settings::{Log, LogFormat};
use crate::system::SystemClock;

/// Starts logging. Libraries speak from `warn` on, otpd from the configured level.
pub fn start(log: &Log) {
    // The PostgreSQL driver would tell the parameters of statements at `debug`.
    let filter = EnvFilter::new(format!("warn,{}", ours(log.level)));
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(Utc);
    // Set twice only when a test starts two servers in one process.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_target(false).try_init()
    };
}

fn ours(level: tracing::Level) -> String {
    ["otpd", "web", "app", "store", "vault", "domain"]
        .map(|target| format!("{target}={level}"))
        .join(",")
}

/// RFC 3339 in UTC, like every other time of the product.
struct Utc;

impl FormatTime for Utc {
    fn format_time(
        &self,
        writer: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        write!(writer, "{}", store::Clock::now(&SystemClock))
    }
}
