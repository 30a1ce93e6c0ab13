//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::bench::{BareArgs, BenchArgs, FillArgs};

/// One-time passwords, done right, for everyone.
///
/// Without a command the server is started. Settings come from otpd.default.toml
/// (embedded), the file named by OTPD_CONFIG, .env and the environment;
/// `otpd doctor` shows all of them with their sources.
#[derive(Debug, Parser)]
#[command(name = "otpd", version, max_term_width = 100)]
pub struct Cli {
    /// What to do; `serve` unless given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server (the default).
    Serve,
    /// Make, list and revoke API keys without a running server.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make the root administrator anew without a running server.
    #[command(subcommand)]
    Root(RootCommand),
    /// Verify the audit log or make a checkpoint.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show the settings in force and check database, keys, clock and mail.
    Doctor,
    /// Bring the database to the version that this otpd needs.
    Migrate {
        /// Print the schema as SQLite has it, and change nothing.
        #[arg(long)]
        print_schema: bool,
    },
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// Print the table of error codes (Markdown).
    Errors,
    /// Print the current code of a secret, for trying things out.
    Code(SecretArgs),
    /// Draw the QR code of an otpauth URI in the terminal.
    Qr(SecretArgs),
    /// Measure a running server with devices of its own.
    Bench(BenchArgs),
    /// Serve the bare handler that `otpd bench --bare` compares with.
    #[command(hide = true)]
    BenchBare(BareArgs),
    /// Fill a database that is not in production with devices for `otpd bench --filled`, offline.
    #[command(hide = true)]
    BenchFill(FillArgs),
}

/// `otpd keys`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it, once.
    Make {
        /// A name for people.
        #[arg(long)]
        name: String,
        /// What it may do, separated by commas or spaces, such as `otp:verify,devices:write`.
        #[arg(long)]
        scopes: String,
        /// Days until it is refused; never when left out.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
        expires_in_days: Option<u32>,
    },
    /// List all keys, never their secrets.
    List,
    /// Take the next signing keys (of assertions and access tokens) into use now.
    RotateSigning,
    /// Revoke a key by its id.
    Revoke {
        /// The part between the underscores of the key, as `otpd keys list` shows it.
        id: String,
    },
}

/// `otpd root`
#[derive(Debug, Subcommand)]
pub enum RootCommand {
    /// Give root a new password, authenticator and recovery codes, and print them, once.
    ///
    /// The old ones and all of root's sessions end.
    Reset,
}

/// `otpd audit`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove the whole log; says where it was changed.
    Verify {
        /// A checkpoint exported earlier: also proves that nothing before it is gone.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Check the links alone, without the master secret.
        #[arg(long)]
        links_only: bool,
    },
    /// Make a signed checkpoint and print it; keep it somewhere else.
    Checkpoint,
}

/// Where a secret comes from.
#[derive(Debug, clap::Args)]
pub struct SecretArgs {
    /// A base32 secret, an otpauth URI, or the answer of a registration (JSON); read
    /// from standard input when left out or `-`.
    pub secret: Option<String>,
}
