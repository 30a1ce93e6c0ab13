//! The otpd program: reads the settings, runs the command, ends with an exit code that tells.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use otpd::cli::{Cli, Command, RootCommand};
use otpd::commands;
use otpd::config::{self, Inputs, Loaded};
use otpd::runtime;
use otpd::system::{SystemClock, SystemRandom};
use otpd::threads;
use otpd::wiring::Surroundings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command.unwrap_or(Command::Serve)) {
        Ok(code) => code,
        // Whoever reads our output has read enough: `otpd openapi | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence: what happened, with its causes behind it.
            let _ = writeln!(std::io::stderr(), "otpd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Bench(args) => return otpd::bench::run(args),
        Command::BenchBare(args) => otpd::bench::serve_bare(&args)?,
        Command::Code(args) => commands::secret::code(&args)?,
        Command::Qr(args) => commands::secret::qr(&args)?,
        Command::Openapi => {
            let text = serde_json::to_string_pretty(&web::openapi())?;
            writeln!(std::io::stdout(), "{text}")?;
        }
        Command::Errors => write!(std::io::stdout(), "{}", web::errors_markdown())?,
        Command::Migrate { print_schema: true } => {
            write!(std::io::stdout(), "{}", store::schema())?;
        }
        Command::Serve
        | Command::Keys(_)
        | Command::Root(_)
        | Command::Audit(_)
        | Command::Doctor
        | Command::BenchFill(_)
        | Command::Migrate { .. } => return with_settings(&command),
    }
    Ok(ExitCode::SUCCESS)
}

fn with_settings(command: &Command) -> anyhow::Result<ExitCode> {
    // Nothing has made a TLS configuration yet, so none can be there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let loaded = config::load(&Inputs::from_process()?)?;
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    otpd::logging::start(&loaded.settings.log);
    let runtime = runtime::start(threads::number(&loaded.settings))?;
    runtime.block_on(dispatch(command, &loaded, &around))
}

async fn dispatch(
    command: &Command,
    loaded: &Loaded,
    around: &Surroundings,
) -> anyhow::Result<ExitCode> {
    let settings = &loaded.settings;
    match command {
        Command::Keys(command) => commands::keys::run(command, settings, around).await?,
        Command::Root(RootCommand::Reset) => commands::root::reset(settings, around).await?,
        Command::Audit(command) => return commands::audit::run(command, settings, around).await,
        Command::Doctor => {
            let fine = commands::doctor::run(loaded, around).await?;
            return Ok(ExitCode::from(u8::from(!fine)));
        }
        Command::BenchFill(args) => otpd::bench::fill(args, settings, around).await?,
        Command::Migrate { .. } => commands::migrate::run(settings, around).await?,
        _ => commands::serve::run(settings, around).await?,
    }
    Ok(ExitCode::SUCCESS)
}
