//! Runs a transcript: the commands after `$ ` in one shell, and under each what it must say.
//!
//! In the expected output `<word>` stands for something that differs from run to run
//! (see [`placeholder`]) and `...` on a line of its own for any number of lines. `[n]`
//! on the last line is an exit code other than 0. Lines before the first command, and
//! after an empty line those that begin with `# `, are for the reader.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::otpd;

/// Told to the shell before the first command.
///
/// `start` runs the server until the transcript ends or `stop` is called, and sets `URL`.
const PRELUDE: &str = r#"
exec 2>&1
start() {
    : >server.log
    PORT=0 otpd "$@" >server.out 2>>server.log &
    SERVER=$!
    while ! grep -q '"otpd is ready"' server.log; do
        kill -0 $SERVER 2>/dev/null || { echo "the server ended:"; cat server.log; return 1; }
        sleep 0.02
    done
    URL=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' server.log)
}
stop() {
    kill -TERM $SERVER && wait $SERVER
}
trap 'kill -9 $SERVER 2>/dev/null' EXIT
"#;

/// Between the output of one command and that of the next.
const MARK: &str = "=-=-= exit code";

/// Long enough for any machine.
const LIMIT_SECONDS: &str = "120";

/// A command with what it must say.
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    code: i32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/transcripts")
}

/// The names of all transcripts.
pub(crate) fn files() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.map(stem).collect()
}

/// Runs the transcript of that name in a new folder.
#[track_caller]
pub(crate) fn check(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let steps = read(&text);
    assert!(!steps.is_empty(), "{name}: no command");
    let outputs = run(&steps);
    for (number, step) in steps.iter().enumerate() {
        let place = format!("{name}.txt:{}: $ {}", step.line, step.command);
        let (said, code) = outputs
            .get(number)
            .unwrap_or_else(|| panic!("{place}: it never ended"));
        let expected = step.expected.join("\n");
        let lines: Vec<&str> = said.lines().collect();
        let expected_lines: Vec<&str> = step.expected.iter().map(String::as_str).collect();
        if !fits(&expected_lines, &lines) || *code != step.code {
            panic!(
                "{place}\n--- expected [{}]\n{expected}\n--- said [{code}]\n{said}",
                step.code
            );
        }
    }
}

fn read(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut remark = true;
    for (number, line) in text.lines().enumerate() {
        let after_gap = text
            .lines()
            .nth(number.wrapping_sub(1))
            .is_none_or(str::is_empty);
        if let Some(command) = line.strip_prefix("$ ") {
            remark = false;
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                expected: Vec::new(),
                code: 0,
            });
        } else if remark || (after_gap && line.starts_with("# ")) {
            remark = true;
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(line.to_owned());
        }
    }
    for step in &mut steps {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
        let code = |line: &String| line.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        if let Some(code) = step.expected.last().and_then(code) {
            step.code = code;
            step.expected.pop();
        }
    }
    steps
}

/// What each command said, without empty lines at its end, and its exit code.
fn run(steps: &[Step]) -> Vec<(String, i32)> {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_otpd"));
    let mut script = PRELUDE.to_owned();
    script.push_str(&format!(
        "PATH='{}':$PATH\n",
        program.parent().unwrap().display()
    ));
    for step in steps {
        script.push_str(&format!("{}\nprintf '\\n{MARK} %d\\n' $?\n", step.command));
    }
    let shell = otpd(folder.path());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT_SECONDS, "sh", "-c", &script]);
    command.env_clear().current_dir(folder.path());
    for (name, value) in shell.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut outputs = Vec::new();
    let mut rest: &str = &text;
    while let Some((said, after)) = rest.split_once(&format!("\n{MARK} ")) {
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        let said = said
            .trim_end()
            .replace(&folder.path().display().to_string(), "<folder>");
        outputs.push((said, code.parse().unwrap()));
        rest = after;
    }
    outputs
}

/// Whether the lines said are the lines expected.
fn fits(expected: &[&str], said: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return said.is_empty();
    };
    if *first == "..." {
        return (0..=said.len()).any(|skipped| fits(rest, &said[skipped..]));
    }
    match said.split_first() {
        Some((line, others)) => line_fits(first, line) && fits(rest, others),
        None => false,
    }
}

fn line_fits(expected: &str, said: &str) -> bool {
    let Some((before, name, after)) = next_placeholder(expected) else {
        return expected.trim_end() == said.trim_end();
    };
    let Some(rest) = said.strip_prefix(before) else {
        return false;
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.filter(|end| placeholder(name, &rest[..*end]) == Some(true))
        .any(|end| line_fits(after, &rest[end..]))
}

fn next_placeholder(expected: &str) -> Option<(&str, &str, &str)> {
    for (open, _) in expected.match_indices('<') {
        let Some((name, after)) = expected[open + 1..].split_once('>') else {
            continue;
        };
        if placeholder(name, "").is_some() {
            return Some((&expected[..open], name, after));
        }
    }
    None
}

/// Whether a text is what the placeholder stands for; `None` when there is no such one.
fn placeholder(name: &str, text: &str) -> Option<bool> {
    let all = |fits: fn(char) -> bool| !text.is_empty() && text.chars().all(fits);
    Some(match name {
        "id" => all(|c| c.is_ascii_alphanumeric()),
        "key" => {
            let parts: Vec<&str> = text.splitn(3, '_').collect();
            parts.len() == 3 && parts[0] == "otpd" && parts[2].len() > 40
        }
        "number" => all(|c| c.is_ascii_digit()),
        "hex" => all(|c| c.is_ascii_hexdigit()),
        "time" => all(|c| c.is_ascii_digit() || "TZ:.-".contains(c)) && text.contains('T'),
        "version" => all(|c| c.is_ascii_digit() || c == '.'),
        "spaces" => text.chars().all(|c| c == ' '),
        "text" => !text.is_empty(),
        _ => return None,
    })
}

#[test]
fn lines_are_compared_with_their_placeholders() {
    fn check(expected: &str, said: &str, same: bool) {
        assert_eq!(line_fits(expected, said), same, "{expected} / {said}");
    }
    check("a", "a", true);
    check("a", "b", false);
    check("<id> is", "Ab3 is", true);
    check("<id> is", "A-3 is", false);
    check("otpd <version>", "otpd 0.1.0", true);
    check("<not one of ours>", "<not one of ours>", true);
    check(
        "at <time>, <number> ms",
        "at 2027-01-15T08:00:10.5Z, 12 ms",
        true,
    );
    check("<folder>/a", "<folder>/a", true);
    let gaps = |expected: &[&str], said: &[&str]| fits(expected, said);
    assert!(gaps(&["a", "...", "z"], &["a", "b", "c", "z"]));
    assert!(gaps(&["a", "...", "z"], &["a", "z"]));
    assert!(!gaps(&["a", "...", "z"], &["a", "b"]));
    assert!(!gaps(&["a"], &["a", "b"]));
}
