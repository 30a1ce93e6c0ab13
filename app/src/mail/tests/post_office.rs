//! The Python side of these tests: `post_office.py`, started and asked.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mail/tests/post_office.py");
const MISSING: &str = "the mail server of the tests does not run; `cargo xtask test` provides \
                       it, or install python3 and `pip install aiosmtpd`";
/// Far more than it takes; a test that waits for nothing ends all the same.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail as Python reads it.
pub(super) struct Mail(Value);

impl Mail {
    fn parse(line: &str) -> Self {
        Self(serde_json::from_str(line).unwrap())
    }

    /// The mail in a file.
    pub(super) async fn read(path: &Path) -> Self {
        let command = Command::new("python3")
            .arg(SCRIPT)
            .arg("read")
            .arg(path)
            .output();
        let output = command.await.expect(MISSING);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self::parse(&String::from_utf8(output.stdout).unwrap())
    }

    pub(super) fn get(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// The names of all headers in order.
    pub(super) fn header_names(&self) -> Vec<&str> {
        let headers = self.0["headers"].as_array().unwrap();
        headers
            .iter()
            .map(|pair| pair[0].as_str().unwrap())
            .collect()
    }

    /// The one header of that name.
    pub(super) fn header(&self, name: &str) -> &str {
        let headers = self.0["headers"].as_array().unwrap();
        let mut found = headers.iter().filter(|pair| pair[0] == name);
        let header = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} twice");
        header[1].as_str().unwrap()
    }

    /// The type and the content of a part, its line ends made `\n`.
    pub(super) fn part(&self, index: usize) -> (&str, String) {
        let part = &self.0["parts"][index];
        let content = part[1].as_str().unwrap().replace("\r\n", "\n");
        (part[0].as_str().unwrap(), content)
    }

    pub(super) fn part_count(&self) -> usize {
        self.0["parts"].as_array().unwrap().len()
    }

    /// Fails when Python finds anything that is not as the standards have it.
    pub(super) fn assert_sound(&self) {
        assert_eq!(self.0["defects"], serde_json::json!([]));
        assert_eq!(self.0["header_defects"], serde_json::json!([]));
    }
}

/// A running mail server; it ends with this value.
pub(super) struct PostOffice {
    pub(super) port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl PostOffice {
    pub(super) async fn open(options: &[&str]) -> Self {
        let mut process = Command::new("python3")
            .arg(SCRIPT)
            .arg("serve")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let port = first.expect(MISSING).unwrap().expect(MISSING);
        Self {
            port: port.parse().expect(MISSING),
            lines,
            _process: process,
        }
    }

    /// The next mail that arrives.
    pub(super) async fn next(&mut self) -> Mail {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        Mail::parse(&line.expect("no mail arrives").unwrap().unwrap())
    }
}
