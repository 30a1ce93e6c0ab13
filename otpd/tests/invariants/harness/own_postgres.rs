//! A PostgreSQL server of one test's own, that it may stop, freeze and start again.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::database::{simple_query, try_simple_query};
use super::keeper::{Frozen, Kept};
use super::surroundings::until;

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The server, running or not; dropping it stops it and removes its folder.
pub(crate) struct OwnPostgres {
    /// First, for it has to end before its folder goes.
    running: Option<Kept>,
    folder: TempDir,
    programs: PathBuf,
    /// The words that put a command under an account that PostgreSQL accepts.
    account: Vec<&'static str>,
    port: u16,
    /// `name=value`, given at each start.
    settings: Vec<String>,
}

impl OwnPostgres {
    /// Makes one and starts it.
    pub(crate) fn new() -> Self {
        let mut server = Self::made();
        server.start();
        server
    }

    /// Makes one and does not start it.
    pub(crate) fn made() -> Self {
        let server = Self::nothing();
        let mut initdb = server.command("initdb");
        initdb
            .args(["--pgdata=data", "--username=postgres", "--auth=trust"])
            .args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
        run(initdb);
        server
    }

    /// A standby of another one, started: it has everything once a commit there says so.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let mut standby = Self::nothing();
        let from = format!("host=127.0.0.1 port={} user=postgres", primary.port);
        let mut copy = standby.command("pg_basebackup");
        copy.args([
            "--pgdata=data",
            "--write-recovery-conf",
            "--wal-method=stream",
        ])
        .args(["--checkpoint=fast", "--no-sync", "--dbname", &from]);
        run(copy);
        standby.start();
        // Only now: a standby that becomes the primary must not wait for another one.
        let url = primary.url();
        simple_query(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'");
        simple_query(&url, "SELECT pg_reload_conf()");
        let synchronous = "SELECT pid FROM pg_stat_replication WHERE sync_state = 'sync'";
        let attached = until(START_LIMIT, || simple_query(&url, synchronous).pop());
        assert!(attached.is_some(), "the standby does not follow");
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        let promoted = simple_query(&self.url(), "SELECT pg_promote(true, 30)");
        assert_eq!(promoted, [[Some("t".to_owned())]]);
    }

    fn nothing() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("otpd-own-postgres-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(place())
            .expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            running: None,
            account: account(folder.path()),
            folder,
            programs: programs(),
            port: free.local_addr().expect("an address").port(),
            settings: Vec::new(),
        }
    }

    /// Settings of its own from the next start on, each `name=value`.
    pub(crate) fn set(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|text| (*text).to_owned()).collect();
    }

    /// Puts a file beside its data that nobody else may read, as it asks for of keys.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its rights");
        account(&path);
        path
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.account.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.current_dir(self.folder.path());
        command
    }

    /// Its address, as its superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&mut self) {
        let mut server = self.command("postgres");
        server
            .args(["-D", "data", "-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        // An immediate shutdown, without a checkpoint: as a crash would leave it.
        self.running = Some(Kept::start(&server, "QUIT"));
        let url = self.url();
        let answered = until(START_LIMIT, || try_simple_query(&url, "SELECT 1").ok());
        assert!(answered.is_some(), "no answer; its log:\n{}", self.log());
    }

    /// What it has written down so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops it as a crash would (`pg_ctl stop -m immediate`).
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// Stops the world for all of its processes: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) -> Frozen {
        self.running.as_ref().expect("a running server").freeze()
    }
}

/// Runs a program to its end.
fn run(mut program: Command) {
    let done = program.output().expect("PostgreSQL's programs run");
    assert!(done.status.success(), "{done:?}");
}

/// The folder of the newest set of server programs.
fn programs() -> PathBuf {
    let asked = Command::new("pg_config").arg("--bindir").output();
    let asked = asked.ok().filter(|output| output.status.success());
    let asked = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let packages = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut packaged: Vec<PathBuf> = packages
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name);
        let version = version.and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    let complete = |folder: &PathBuf| folder.join("initdb").is_file();
    let mut places = asked.into_iter().chain(packaged);
    let found = places.find(complete);
    found.expect("PostgreSQL's server programs: run `cargo xtask test`, which installs them")
}

/// Memory where there is enough of it: a server killed by its test keeps what it wrote
/// there as well as on a disk, and a disk that is busy with a build would look like the
/// outages that are tested here.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = Command::new("df").args(["-Pk", "/dev/shm"]).output();
    let free = free.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        let last = text.lines().nth(1)?.split_whitespace().nth(3)?;
        last.parse::<u64>().ok()
    });
    if free.is_some_and(|kib| kib > 2 * 1024 * 1024) {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// PostgreSQL refuses to run as root, so root gives the folder or file away.
fn account(folder: &Path) -> Vec<&'static str> {
    let user = Command::new("id").arg("-u").output().expect("id runs");
    if user.stdout.trim_ascii() != b"0" {
        return Vec::new();
    }
    let given = Command::new("chown").arg("postgres:").arg(folder).status();
    assert!(given.expect("chown runs").success());
    vec![
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ]
}
