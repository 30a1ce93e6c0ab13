//! A small shell that owns a server of one test's own, so that the server ends when the test does, in whatever way.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::server::{signal, try_signal};

/// Runs a server until standard input is closed, which the kernel does when the test ends
/// in any way, then sends it a signal, and wakes it in case it is frozen.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
signal=$1
shift
"$@" >>log 2>&1 & server=$!
echo "$server"
read -r _
kill -"$signal" "$server"; kill -CONT "$server" 2>/dev/null
wait "$server"
"#;

/// A running server; dropping it sends the signal and waits until the server has ended.
pub(crate) struct Kept {
    keeper: Child,
    pid: u32,
}

impl Kept {
    /// Starts a server in the folder that the command names, where its log will be, and
    /// ends it with a signal.
    pub(crate) fn start(server: &Command, signal: &str) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", SCRIPT, "sh", signal])
            .arg(server.get_program())
            .args(server.get_args())
            .current_dir(server.get_current_dir().expect("a folder for its log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let said = keeper.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("a line");
        let pid = line.trim().parse().expect("a process number");
        Self { keeper, pid }
    }

    /// Stops the world for all of its processes: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) -> Frozen {
        signal("STOP", self.pid);
        // The parent first, so that no child is born in between.
        let children = children(self.pid);
        for pid in &children {
            signal("STOP", *pid);
        }
        Frozen {
            server: self.pid,
            children,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A frozen server; dropping it lets the server go on.
pub(crate) struct Frozen {
    server: u32,
    children: Vec<u32>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in self.children.iter().chain([&self.server]) {
            // One that has ended meanwhile needs no signal.
            try_signal("CONT", *pid);
        }
    }
}

/// The processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let parent_of = |child: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        // The second field is a name in parentheses and may hold anything.
        let rest = stat.rsplit_once(')')?.1;
        rest.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|child| parent_of(*child) == Some(pid)).collect()
}
