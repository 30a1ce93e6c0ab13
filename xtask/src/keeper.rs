//! A small shell that owns a throw-away server and ends it, and its folder, with its own owner.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A running server; dropping it stops the server and removes its folder.
///
/// The shell waits at a pipe whose other end is held here, so the server also stops when
/// this process is interrupted, panics or is killed: the kernel closes the pipe in every case.
pub(crate) struct Keeper {
    /// What the server is called towards a person.
    server: &'static str,
    shell: Child,
    folder: TempDir,
}

impl Keeper {
    /// Hands a folder to a script that starts a server in it and keeps its log there. The
    /// script's arguments are the folder and `words`.
    pub(crate) fn start(
        server: &'static str,
        script: &str,
        folder: TempDir,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", script, "keeper"])
            .arg(folder.path())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to a whole process group; the server is stopped in order instead.
            .process_group(0)
            .spawn()
            .context("cannot start a shell")?;
        Ok(Self {
            server,
            shell,
            folder,
        })
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    /// It has ended, its log is `hopeless`, or the time is over.
    pub(crate) fn wait_until(
        &mut self,
        answers: impl Fn() -> Result<bool>,
        hopeless: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<()> {
        let start = Instant::now();
        while !answers()? {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let ended = self.shell.try_wait()?.is_some();
            if ended || hopeless(&log) || start.elapsed() > limit {
                bail!(
                    "{} did not start in {} (TMPDIR chooses another place); its log:\n{log}",
                    self.server,
                    self.folder.path().display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("the throw-away {} may still run: {error}", self.server);
        }
    }
}

/// A port of 127.0.0.1 that nobody has at the moment.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
