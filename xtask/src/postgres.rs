//! A PostgreSQL server that lives in a temporary folder and dies with its owner.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::keeper::{Keeper, free_port};
use crate::tools;

/// How long a new server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the log says once a start has failed for good.
const HOPELESS: [&str; 3] = [
    "initdb failed",
    "database system is shut down",
    "FATAL:  could not",
];

/// A running server; dropping it stops the server and removes its folder.
pub(crate) struct Postgres {
    _keeper: Keeper,
    port: u16,
}

impl Postgres {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        Self::start_in(&place(), "")
    }

    /// The same with its data on a disk and with settings of its own, for whoever measures.
    pub(crate) fn start_on_disk(settings: &str) -> Result<Self> {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    fn start_in(place: &Path, settings: &str) -> Result<Self> {
        let programs = programs().context("PostgreSQL's server programs are not installed")?;
        let folder = tempfile::Builder::new()
            .prefix("otpd-postgres-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let account = account(folder.path())?;
        let port = free_port()?;
        let words = [
            programs.clone().into_os_string(),
            port.to_string().into(),
            settings.into(),
        ];
        let words = words.into_iter().chain(account.iter().map(OsString::from));
        let script = include_str!("postgres.sh");
        let mut keeper = Keeper::start("PostgreSQL", script, folder, words)?;
        let hopeless = |log: &str| HOPELESS.iter().any(|sign| log.contains(sign));
        keeper.wait_until(|| answers(&programs, port), hopeless, START_LIMIT)?;
        Ok(Self {
            _keeper: keeper,
            port,
        })
    }

    /// The address of the server, as its superuser, at its first database.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The same at another of its databases.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

/// Settings as docs/operations.md advises them for a server on a machine with that much memory.
pub(crate) fn sized(memory_gib: u64) -> String {
    let buffers = (memory_gib * 256).max(128);
    format!("-c shared_buffers={buffers}MB -c max_wal_size=8GB -c checkpoint_timeout=15min")
}

fn answers(programs: &Path, port: u16) -> Result<bool> {
    let status = Command::new(programs.join("pg_isready"))
        .args(["--quiet", "--host=127.0.0.1", "--timeout=1"])
        .arg(format!("--port={port}"))
        .status()
        .context("cannot run pg_isready")?;
    Ok(status.success())
}

/// The folder of a complete set of server programs, if this machine has one.
pub(crate) fn programs() -> Option<PathBuf> {
    let asked = tools::output("pg_config", &["--bindir"]).map(PathBuf::from);
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort_by_key(|folder| std::cmp::Reverse(major_version(folder)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    asked
        .into_iter()
        .chain(packaged)
        .chain(std::env::split_paths(&path))
        .find(|folder| {
            ["initdb", "postgres", "pg_isready"]
                .iter()
                .all(|program| folder.join(program).is_file())
        })
}

/// Memory that is enough for the databases of all tests, in KiB.
const ENOUGH_KIB: u64 = 4 * 1024 * 1024;

/// Memory where there is enough of it, unless `TMPDIR` names a place. A killed process
/// keeps what it wrote there as well as on a disk; and a disk that is busy with a build
/// makes a commit wait for seconds, which the server rightly answers with 503.
fn place() -> PathBuf {
    let chosen = std::env::var_os("TMPDIR").is_some();
    let free = || tools::output("df", &["-Pk", "/dev/shm"]).and_then(|text| free_kib(&text));
    if !chosen && free().is_some_and(|kib| kib > ENOUGH_KIB) {
        PathBuf::from("/dev/shm")
    } else {
        std::env::temp_dir()
    }
}

/// The fourth column of the second line of `df -Pk`.
fn free_kib(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// `…/16/bin` is 16; anything else sorts last.
fn major_version(programs: &Path) -> u32 {
    programs
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str()?.parse().ok())
        .unwrap_or(0)
}

/// The words that put a command under an account PostgreSQL accepts; it refuses to run as root.
fn account(folder: &Path) -> Result<Vec<String>> {
    if !tools::is_root() {
        return Ok(Vec::new());
    }
    let given = Command::new("chown")
        .arg("postgres:")
        .arg(folder)
        .status()
        .context("cannot run chown")?;
    if !given.success() {
        bail!("there is no account \"postgres\" to run the server under");
    }
    let words = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    Ok(words.map(String::from).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_from_df() {
        let check = |text: &str, kib| assert_eq!(free_kib(text), kib, "{text}");
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        check(
            &format!("{head}tmpfs 24684096 3096 24681000 1% /dev/shm"),
            Some(24_681_000),
        );
        check(head, None);
        check("", None);
    }

    #[test]
    fn newer_packages_come_first() {
        let check = |folder: &str, version| {
            assert_eq!(major_version(Path::new(folder)), version, "{folder}");
        };
        check("/usr/lib/postgresql/9/bin", 9);
        check("/usr/lib/postgresql/16/bin", 16);
        check("/usr/lib/postgresql/wal/bin", 0);
        check("/", 0);
    }
}
