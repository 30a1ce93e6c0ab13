//! What is measured: an otpd over a database of its own, alone or two of them, started and ended for each run.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::postgres::{self, Postgres};

/// How long a server may take until it is healthy: with a million devices, a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long the servers may take until they have done what the filling left to them.
const QUIET_LIMIT: Duration = Duration::from_secs(900);

/// A server is quiet when it has used at most so many ticks of 10 ms in each of so many seconds.
const QUIET: (u64, u32) = (3, 3);

/// Which arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    TwoNodes,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::TwoNodes];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::TwoNodes => "two nodes",
        }
    }

    fn nodes(self) -> usize {
        if self == Self::TwoNodes { 2 } else { 1 }
    }

    /// The words that bind a process to a core. With a database server beside, there is no core to spare.
    pub(crate) fn bound_to(self, core: usize) -> Vec<String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self == Self::Sqlite && cores > 1 {
            ["taskset", "-c", &core.to_string()]
                .map(String::from)
                .to_vec()
        } else {
            Vec::new()
        }
    }
}

/// A program that ends with its owner.
pub(crate) struct Running(Child);

impl Running {
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        resident(&status.unwrap_or_default())
    }

    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        ticks(&stat.unwrap_or_default())
    }

    fn descriptors(&self) -> Result<u64> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.0.id()))?;
        Ok(open.count() as u64)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line `VmRSS:` of `/proc/…/status`, in KiB.
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may hold spaces.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// A filled database and the servers over it.
pub(crate) struct Scene {
    pub(crate) kind: Kind,
    pub(crate) seed: String,
    pub(crate) stored: u32,
    pub(crate) key: String,
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    servers: Vec<Running>,
    pub(crate) urls: Vec<String>,
    /// The database's name, where a database server has it, and that server's address.
    name: String,
    server: Option<String>,
}

impl Scene {
    /// Makes a database, fills it with `stored` devices and starts the servers. `name` is one that no
    /// other database of this run has.
    pub(crate) fn set_up(
        program: &Path,
        kind: Kind,
        server: Option<&Postgres>,
        stored: u32,
        name: &str,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("otpd-bench-").tempdir()?;
        let data = folder.path().join("data").display().to_string();
        let key = format!("otpd_bench_{}", random_hex(20)?);
        let mut environment = vec![
            ("OTPD_DATA_DIR", data),
            ("MASTER_SECRET", random_hex(24)?),
            ("API_KEY", key.clone()),
            ("OTPD_LOG__LEVEL", "warn".to_owned()),
        ];
        if kind != Kind::Sqlite {
            let server = server.context("no PostgreSQL runs")?;
            psql(server, &format!("CREATE DATABASE {name}"))?;
            environment.push(("DATABASE_URL", server.url_of(name)));
        }
        let mut scene = Self {
            kind,
            seed: random_hex(20)?,
            stored,
            key,
            folder,
            environment,
            servers: Vec::new(),
            urls: Vec::new(),
            name: name.to_owned(),
            server: server.filter(|_| kind != Kind::Sqlite).map(Postgres::url),
        };
        scene.fill(program)?;
        for _ in 0..kind.nodes() {
            scene.start(program)?;
        }
        scene.wait_until_quiet()?;
        if let Some(server) = server.filter(|_| kind != Kind::Sqlite) {
            settle(server, name)?;
        }
        Ok(scene)
    }

    /// Ends the servers and starts them again over the same database.
    pub(crate) fn start_anew(&mut self, program: &Path) -> Result<()> {
        self.servers.clear();
        self.urls.clear();
        for _ in 0..self.kind.nodes() {
            self.start(program)?;
        }
        self.wait_until_quiet()
    }

    /// Waits until the servers do nothing of their own accord. They put the events of the filling into the
    /// search index first, on the core that the bare handler is measured on too; and what that adds to the
    /// database is no growth by verifications.
    fn wait_until_quiet(&self) -> Result<()> {
        let used = || -> u64 { self.servers.iter().map(Running::cpu_ticks).sum() };
        let start = Instant::now();
        let (most, times) = QUIET;
        let (mut before, mut quiet) = (used(), 0);
        while quiet < times {
            ensure!(
                start.elapsed() < QUIET_LIMIT,
                "the server does not get quiet"
            );
            std::thread::sleep(Duration::from_secs(1));
            let present = used();
            quiet = if present.saturating_sub(before) <= most * self.servers.len() as u64 {
                quiet + 1
            } else {
                0
            };
            before = present;
        }
        Ok(())
    }

    /// Resident memory of all servers, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.servers.iter().map(Running::resident_kib).sum()
    }

    /// Open files and connections of all servers.
    pub(crate) fn descriptors(&self) -> Result<u64> {
        self.servers.iter().map(Running::descriptors).sum()
    }

    /// Size of the database: its file and the log beside it, or what PostgreSQL says.
    pub(crate) fn stored_bytes(&self, server: Option<&Postgres>) -> Result<u64> {
        if self.kind == Kind::Sqlite {
            let data = self.folder.path().join("data");
            let size = |name: &str| std::fs::metadata(data.join(name)).map(|file| file.len());
            // A log is there from the first write on.
            return Ok(size("otpd.db")? + size("otpd.db-wal").unwrap_or(0));
        }
        let server = server.context("no PostgreSQL runs")?;
        let said = psql(server, &format!("SELECT pg_database_size('{}')", self.name))?;
        said.trim().parse().context("psql says no size")
    }

    /// How many verifications the servers have accepted since they were started, by their own count.
    pub(crate) fn verifications(&self) -> Result<u64> {
        let counts = self.urls.iter().map(|url| {
            let host = url.trim_start_matches("http://");
            let page = metrics(host, &self.key).context("cannot read /metrics")?;
            accepted(&page).context("/metrics has no count of verifications")
        });
        counts.sum()
    }

    fn fill(&self, program: &Path) -> Result<()> {
        let start = Instant::now();
        let status = self
            .command(&[], program)
            .arg("bench-fill")
            .args(["--devices", &self.stored.to_string(), "--seed", &self.seed])
            .status()?;
        ensure!(status.success(), "filling the database: {status}");
        println!(
            "{}: {} devices filled in within {:.1} s",
            self.kind.name(),
            self.stored,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn start(&mut self, program: &Path) -> Result<()> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = self
            .command(&self.kind.bound_to(0), program)
            .env("PORT", port.to_string())
            .spawn()
            .context("cannot start the server")?;
        self.servers.push(Running(child));
        let start = Instant::now();
        while !is_healthy(port) {
            let ended = match self.servers.last_mut() {
                Some(server) => server.0.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                bail!("the server ended at once: {status}");
            }
            ensure!(
                start.elapsed() < START_LIMIT,
                "the server does not get healthy"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.urls.push(format!("http://127.0.0.1:{port}"));
        Ok(())
    }

    /// The program with this scene's settings and nothing of the caller's own.
    fn command(&self, before: &[String], program: &Path) -> Command {
        let mut command = command(before, program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

/// A database of a soak has some GB, which the next one needs.
impl Drop for Scene {
    fn drop(&mut self) {
        self.servers.clear();
        if let Some(server) = &self.server {
            let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
            if let Err(error) = psql_at(server, &statement) {
                eprintln!("a database stays until the measurement ends: {error:#}");
            }
        }
    }
}

/// `program` behind the words that bind it to a core, if any.
pub(crate) fn command(before: &[String], program: &Path) -> Command {
    match before.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Starts the bare handler, bound like a server; returns it with its address.
pub(crate) fn bare_handler(program: &Path, kind: Kind) -> Result<(Running, String)> {
    let mut child = command(&kind.bound_to(0), program)
        .arg("bench-bare")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the bare handler")?;
    let output = child.stdout.take();
    let running = Running(child);
    let mut line = String::new();
    if let Some(output) = output {
        BufReader::new(output).read_line(&mut line)?;
    }
    let url = line.trim().strip_prefix("listening on ");
    let url = url.context("the bare handler did not start")?.to_owned();
    Ok((running, url))
}

/// Has PostgreSQL do what it would otherwise do at some time during the measurements, because
/// so many rows came at once: whoever loads a database does so, too.
fn settle(server: &Postgres, name: &str) -> Result<()> {
    psql_at(&server.url_of(name), "VACUUM (ANALYZE)")?;
    psql(server, "CHECKPOINT")?;
    Ok(())
}

/// Runs one statement as the superuser and returns what it says, bare of ornament.
pub(crate) fn psql(server: &Postgres, statement: &str) -> Result<String> {
    psql_at(&server.url(), statement)
}

fn psql_at(url: &str, statement: &str) -> Result<String> {
    let output = Command::new(program_of_postgres("psql")?)
        .args(["--quiet", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1"])
        .args(["--dbname", url, "-c", statement])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run psql")?;
    ensure!(output.status.success(), "psql: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// One of PostgreSQL's programs.
pub(crate) fn program_of_postgres(name: &str) -> Result<PathBuf> {
    let folder = postgres::programs().context("PostgreSQL is not installed")?;
    Ok(folder.join(name))
}

fn is_healthy(port: u16) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    asked().unwrap_or(false)
}

/// The metrics page of the server at `host`.
fn metrics(host: &str, key: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The count of accepted verifications on a metrics page.
fn accepted(page: &str) -> Option<u64> {
    let series = r#"otpd_verifications_total{result="accepted"} "#;
    let count = page.lines().find_map(|line| line.strip_prefix(series))?;
    count.trim().parse().ok()
}

/// Random bytes in hexadecimal.
fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_proc() {
        assert_eq!(
            resident("VmPeak:\t 9 kB\nVmRSS:\t   67584 kB\nX: 1"),
            67_584
        );
        assert_eq!(resident(""), 0);
    }

    #[test]
    fn processor_time_is_read_from_proc() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 9 9 9 9 123 45 9 9 20 0 1";
        assert_eq!(ticks(stat), 168);
        assert_eq!(ticks(""), 0);
    }

    #[test]
    fn the_count_is_read_from_the_metrics_page() {
        let page = "HTTP/1.1 200 OK\r\n\r\notpd_verifications_total{result=\"rejected\"} 3\n\
                    otpd_verifications_total{result=\"accepted\"} 119805\n";
        assert_eq!(accepted(page), Some(119_805));
        assert_eq!(accepted("HTTP/1.1 401 Unauthorized\r\n\r\n"), None);
    }

    #[test]
    fn random_text_has_two_digits_a_byte() {
        let (one, two) = (random_hex(20).unwrap(), random_hex(20).unwrap());
        assert_eq!(one.len(), 40);
        assert_ne!(one, two);
    }

    #[test]
    fn a_program_stands_behind_what_binds_it() {
        let bound = command(&["taskset".into(), "-c".into(), "0".into()], Path::new("p"));
        assert_eq!(format!("{bound:?}"), r#""taskset" "-c" "0" "p""#);
        assert_eq!(format!("{:?}", command(&[], Path::new("p"))), r#""p""#);
        assert!(Kind::Postgres.bound_to(0).is_empty());
    }
}
