//! The built binary as a child process: started, watched, stopped, killed.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::Client;
use super::surroundings::{now, until};
use super::{Database, Engine};

/// The credential of the environment.
pub(crate) const ADMIN_KEY: &str = "canary-admin-key-0123456789abcdefghij";

/// The master secret of every database made here.
pub(crate) const MASTER_SECRET: &str = "canary-master-secret-0123456789abcdefghij";

/// How long a debug build on a busy machine may take to say that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How often a server is started at most.
const STARTS: usize = 3;
/// What it says then: of one host of a database, or of each of several.
const DATABASE_AWAY: [&str; 2] = ["the database is not available", "no answer in time"];

/// How a process of the binary is started.
#[derive(Clone)]
pub(crate) struct Node {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Node {
    /// A node on that database, with a data folder of its own.
    pub(crate) fn new(database: &Database) -> Self {
        Self::named(database, "node")
    }

    /// One of several nodes on that database.
    pub(crate) fn named(database: &Database, name: &str) -> Self {
        let folder = database.folder().join(name);
        std::fs::create_dir_all(&folder).expect("a data folder");
        let data = folder.join("data");
        let node = Self {
            folder,
            variables: Vec::new(),
            wrapper: Vec::new(),
        };
        node.with("DATABASE_URL", &database.url())
            .with("OTPD_DATA_DIR", &data.display().to_string())
            .with("HOST", "127.0.0.1")
            .with("PORT", "0")
            .with("MASTER_SECRET", MASTER_SECRET)
            .with("API_KEY", ADMIN_KEY)
            .with("ENVIRONMENT", "development")
            .with("OTPD_LOG__FORMAT", "json")
    }

    /// Starts as many nodes on that database as a test of its engine runs.
    pub(crate) fn start_all(database: &Database, engine: Engine) -> Vec<Server> {
        Self::start_all_with(database, engine, |node| node)
    }

    /// The same, with what `set` sets at each.
    pub(crate) fn start_all_with(
        database: &Database,
        engine: Engine,
        set: impl Fn(Self) -> Self,
    ) -> Vec<Server> {
        let nodes = ["one", "two"].into_iter().take(engine.nodes());
        nodes
            .map(|name| set(Self::named(database, name)).start())
            .collect()
    }

    /// Sets a variable.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Starts the binary by way of another program.
    #[must_use]
    pub(crate) fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The command, with nothing of this process's environment but `PATH`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_otpd").to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(super::surroundings::variable("PATH").map(|path| ("PATH", path)))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Starts a server and waits until it says that it is ready. One that ends because its
    /// database did not answer in time, as on a machine that stands still, is started again,
    /// as whoever runs it would do.
    pub(crate) fn start(&self) -> Server {
        for _ in 1..STARTS {
            match self.try_start() {
                Ok(server) => return server,
                Err(said) if DATABASE_AWAY.iter().any(|sign| said.contains(sign)) => {}
                Err(said) => panic!("no start: {said}"),
            }
        }
        let server = self.try_start();
        server.unwrap_or_else(|said| panic!("no start in {STARTS} tries: {said}"))
    }

    /// The server, or what it said before it ended.
    fn try_start(&self) -> Result<Server, String> {
        let begun = now();
        let mut child = self
            .command(&[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stderr.take().expect("piped")),
            Box::new(child.stdout.take().expect("piped")),
        ];
        for stream in streams {
            let (output, sender) = (Arc::clone(&output), sender.clone());
            std::thread::spawn(move || collect(stream, &output, &sender));
        }
        drop(sender);
        let Ok(address) = receiver.recv_timeout(READY_LIMIT) else {
            let _ = child.kill();
            let _ = child.wait();
            let said = output.lock().expect("no panic in between").clone();
            return Err(String::from_utf8_lossy(&said).into_owned());
        };
        Ok(Server {
            child,
            address,
            output,
            ready_after: begun.elapsed(),
        })
    }
}

/// Keeps what the server says and tells the address once it is ready.
fn collect(stream: Box<dyn Read + Send>, output: &Mutex<Vec<u8>>, ready: &Sender<String>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line);
        if text.contains("otpd is ready")
            && let Some((_, rest)) = text.split_once("http://")
        {
            let end = rest.find(['"', ' ', '\n']).unwrap_or(rest.len());
            // Nobody waits any more once the test has given up.
            let _ = ready.send(rest[..end].to_owned());
        }
        output
            .lock()
            .expect("no panic in between")
            .append(&mut line);
    }
}

/// What is shown of a server's output when a test fails.
const LAST_LINES: usize = 30;

/// A running server; dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// `host:port`.
    pub address: String,
    output: Arc<Mutex<Vec<u8>>>,
    /// From the start of the process until it was ready.
    pub ready_after: Duration,
}

impl Server {
    /// A client with every right.
    pub(crate) fn admin(&self) -> Client {
        Client::new(&self.address, Some(ADMIN_KEY))
    }

    /// A client with that credential.
    pub(crate) fn client(&self, credential: &str) -> Client {
        Client::new(&self.address, Some(credential))
    }

    /// A client without a credential.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.address, None)
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said on standard output and standard error.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.output.lock().expect("no panic in between").clone()
    }

    /// The value of a metric, by its name with a space after it.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.admin().get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name}"))
    }

    /// Ends it in order (SIGTERM).
    pub(crate) fn stop(self) -> ExitStatus {
        signal("TERM", self.child.id());
        self.ended()
    }

    /// Waits for the end of a server that was told to stop.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let limit = Duration::from_secs(30);
        let ended = until(limit, || self.child.try_wait().expect("a child"));
        ended.unwrap_or_else(|| panic!("still running {limit:?} after SIGTERM"))
    }

    /// Ends it at once, in the middle of whatever it does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// Whether the process still lives.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|n| n.parse().ok()).expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let output = String::from_utf8_lossy(&output);
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("the server said at last:\n{}", last.join("\n"));
        }
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(name: &str, pid: u32) {
    assert!(try_signal(name, pid), "SIG{name} to {pid}");
}

/// Sends a signal to a process that may have ended; false if it has. The shell has the
/// command built in, so no program is needed for it.
pub(crate) fn try_signal(name: &str, pid: u32) -> bool {
    let sent = Command::new("sh")
        .args(["-c", "kill -\"$0\" \"$1\"", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    sent.expect("a shell").success()
}
