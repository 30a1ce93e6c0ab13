//! I-3 seen from the kernel: the answer to a verification leaves only after the log was synced to the disk.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::devices::wrong_code;
use crate::harness::surroundings::{length, until};
use crate::harness::{Database, Device, Engine, Node};

/// The calls that read requests, write answers and make files durable.
const CALLS: &str = "trace=read,recvfrom,readv,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync";

/// A system call of the traced server, at the moment that matters.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A verification was read from that socket.
    Request(String),
    /// A sync of the write-ahead log has come to its end.
    Synced,
    /// An answer begins to be written to that socket.
    Answer(String),
}

/// Reads a trace. With several threads a call may be told in two lines: where it began
/// and where it ended.
fn read_trace(text: &str) -> Vec<Seen> {
    let mut open: HashMap<&str, &str> = HashMap::new();
    let mut seen = Vec::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        let begun = open.get(pid).copied().unwrap_or_default();
        if let Some(begins) = call.strip_suffix("<unfinished ...>") {
            open.insert(pid, begins);
            seen.extend(answer(begins));
        } else if call.starts_with("<... ") {
            open.remove(pid);
            seen.extend(ended(begun, call));
        } else {
            seen.extend(answer(call));
            seen.extend(ended(call, call));
        }
    }
    seen
}

fn answer(call: &str) -> Option<Seen> {
    let writes = ["write(", "writev(", "sendto(", "sendmsg("];
    let is_write = writes.iter().any(|name| call.starts_with(name));
    (is_write && call.contains("HTTP/1.1 200")).then(|| Seen::Answer(file(call)))
}

fn ended(begun: &str, rest: &str) -> Option<Seen> {
    let is_sync = begun.starts_with("fdatasync(") || begun.starts_with("fsync(");
    if is_sync && file(begun).ends_with("-wal>") && rest.trim_end().ends_with("= 0") {
        return Some(Seen::Synced);
    }
    let reads = ["read(", "recvfrom(", "readv(", "recvmsg("];
    let is_read = reads.iter().any(|name| begun.starts_with(name));
    (is_read && rest.contains("POST /api/v1/otp/verify")).then(|| Seen::Request(file(begun)))
}

/// The first argument: a number and, by `strace -y`, what it stands for.
fn file(call: &str) -> String {
    let argument = call.split_once('(').map_or("", |(_, rest)| rest);
    let end = argument.find(", ").or_else(|| argument.rfind(')'));
    argument[..end.unwrap_or(argument.len())]
        .trim_end()
        .to_owned()
}

/// Between each verification and its answer lies the end of a sync; gives their number.
fn check_order(seen: &[Seen]) -> Result<usize, String> {
    let mut answered = 0;
    for (place, request) in seen.iter().enumerate() {
        let Seen::Request(socket) = request else {
            continue;
        };
        let after = &seen[place + 1..];
        let answer = Seen::Answer(socket.clone());
        let Some(end) = after.iter().position(|seen| *seen == answer) else {
            return Err(format!("no answer on {socket}: {after:?}"));
        };
        if !after[..end].contains(&Seen::Synced) {
            return Err(format!("an answer before the sync: {:?}", &after[..=end]));
        }
        answered += 1;
    }
    Ok(answered)
}

#[test]
fn i3_an_answer_waits_for_the_sync_of_the_log() {
    let database = Database::new(Engine::Sqlite);
    let trace = database.folder().join("trace");
    let words = strace(&trace);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let server = Node::new(&database).under(&words).start();
    let mut admin = server.admin();
    let device = Device::hotp(&mut admin, "d", "u");
    let wrong = wrong_code(&device);
    let rounds = length(5, 100);
    for round in 0..rounds {
        assert!(device.accepts(&mut admin, &device.code(round as u64)));
        assert!(!device.accepts(&mut admin, &wrong));
    }
    let pid = server.pid().to_string();
    drop(server);
    let is_end = |line: &str| {
        let number = line.split_whitespace().next();
        number == Some(&pid) && line.contains("+++ killed by SIGKILL")
    };
    let whole = until(Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&trace).expect("a trace");
        text.lines().any(is_end).then_some(text)
    });
    let seen = read_trace(&whole.expect("the end of the trace"));
    assert_eq!(check_order(&seen), Ok(2 * rounds));
}

fn strace(trace: &Path) -> Vec<String> {
    let found = Command::new("strace").arg("--version").output();
    assert!(
        found.is_ok(),
        "strace is missing: run `cargo xtask test`, which installs it"
    );
    let file = trace.display().to_string();
    // With -D the child of this test is the server, and strace ends with it.
    [
        "strace", "-D", "-f", "-y", "-s", "100", "-e", CALLS, "-o", &file,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn i3_the_reader_of_traces_finds_an_answer_before_its_sync() {
    let read = r#"7 recvfrom(9<socket:[1]>, "POST /api/v1/otp/verify HTTP"..., 8192) = 300"#;
    let sync = "8 fdatasync(5</x/otpd.db-wal>) = 0";
    let send = r#"7 sendto(9<socket:[1]>, "HTTP/1.1 200 OK\r\n"..., 400) = 400"#;
    let begins = "8 fdatasync(5</x/otpd.db-wal> <unfinished ...>";
    let ends = "8 <... fdatasync resumed>) = 0";
    let check = |lines: &[&str], holds: bool| {
        let seen = read_trace(&lines.join("\n"));
        assert_eq!(check_order(&seen) == Ok(1), holds, "{seen:?}");
    };
    check(&[read, sync, send], true);
    check(&[read, begins, ends, send], true);
    check(&[read, begins, send, ends], false);
    check(&[sync, read, send], false);
    check(&[read, send, sync], false);
    check(&[read, &sync.replace("= 0", "= -1 EIO"), send], false);
    check(&[read, &sync.replace("-wal", ""), send], false);
}
