//! Reads the files of the configuration: `.env`, TOML and secrets.

use std::io::ErrorKind;
use std::path::Path;

use zeroize::Zeroizing;

use super::names;
use super::problem::{Problems, Source};

/// The variables of the `.env` file in the folder, if there is one, in its order.
///
/// `$NAME` outside of single quotes is replaced by the variable of that name, of the
/// file or of the process: the usual rule for such files.
pub(super) fn dot_env(folder: &Path, problems: &mut Problems) -> Vec<(String, String)> {
    let path = folder.join(".env");
    // A folder of that name is somebody's Python environment.
    if path.is_dir() {
        return Vec::new();
    }
    let mut refuse = |found: String, expected: &str| {
        problems.add(".env", Source::File(path.clone()), found, expected);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                refuse(
                    format!("cannot be read ({error})"),
                    "a text file is expected",
                );
            }
            return Vec::new();
        }
    };
    let text = without_mark(&text);
    let mut variables = Vec::new();
    for item in dotenvy::Iter::new(text.as_bytes()) {
        match item {
            Ok(variable) => variables.push(variable),
            // The error's own text shows the line, and the line may hold a secret.
            Err(dotenvy::Error::LineParse(line, _)) => refuse(
                format!("has a fault in line {}", line_of(text, text.find(&line))),
                "NAME=VALUE is expected, the value in quotes when it holds spaces",
            ),
            Err(error) => refuse(
                format!("cannot be read ({error})"),
                "lines of NAME=VALUE are expected",
            ),
        }
    }
    variables
}

/// The table of the TOML file that `OTPD_CONFIG` names; `named_by` is where that stands.
pub(super) fn config(
    path: &Path,
    named_by: Source,
    problems: &mut Problems,
) -> Option<toml::Table> {
    let refuse = |fault: String, expected: &str| {
        let found = format!("names {}, which {fault}", path.display());
        problems.add(names::CONFIG_FILE, named_by, found, expected);
        None
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => {
            return refuse(
                format!("cannot be read ({error})"),
                "a TOML file is expected",
            );
        }
    };
    let text = without_mark(&text);
    match text.parse() {
        Ok(table) => Some(table),
        // Only the line's number: the error's own text shows the line.
        Err(error) => {
            let start = toml::de::Error::span(&error).map(|span| span.start);
            refuse(
                format!("is not TOML in line {}", line_of(text, start)),
                "a file in the form of otpd.default.toml is expected",
            )
        }
    }
}

/// The secret in a file, without the line ends after it. `key` and `source` are where
/// the file is named.
pub(super) fn secret(
    path: &Path,
    key: &str,
    source: &Source,
    problems: &mut Problems,
) -> Option<String> {
    let fault = match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => match text.trim_end_matches(['\r', '\n']) {
            "" => "is empty".to_owned(),
            secret => return Some(secret.to_owned()),
        },
        Err(error) => format!("cannot be read ({error})"),
    };
    problems.add(
        key,
        source.clone(),
        format!("names {}, which {fault}", path.display()),
        "a file that holds the secret is expected",
    );
    None
}

/// The text without a byte order mark.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The number of the line, from 1, in which the byte at `start` stands.
fn line_of(text: &str, start: Option<usize>) -> usize {
    let before = &text.as_bytes()[..start.unwrap_or(0).min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(name: &str, content: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        folder
    }

    #[test]
    fn dot_env_files() {
        fn check(content: &[u8], expected: &[(&str, &str)], faults: &[&str]) {
            let folder = folder_with(".env", content);
            let mut problems = Problems::default();
            let found = dot_env(folder.path(), &mut problems);
            let found: Vec<_> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
            assert_eq!(found, expected);
            let sentences: Vec<String> = problems.iter().map(|p| p.found.clone()).collect();
            assert_eq!(sentences, faults);
            assert!(!problems.to_string().contains("hunter2"), "{problems}");
        }
        check(b"", &[], &[]);
        check(
            b"# c\nexport PORT=1\nA='x $y z' # c\n\nB=\"two words\"\n",
            &[("PORT", "1"), ("A", "x $y z"), ("B", "two words")],
            &[],
        );
        check(b"\xef\xbb\xbfPORT=1\r\n", &[("PORT", "1")], &[]);
        check(
            b"A=1\n\nB=hunter2 x\nC=3\n",
            &[("A", "1"), ("C", "3")],
            &["has a fault in line 3"],
        );
        check(b"A=1\nhunter2\n", &[("A", "1")], &["has a fault in line 2"]);
        check(b"A='hunter2\n", &[], &["has a fault in line 1"]);
        check(
            b"\xff\n",
            &[],
            &["cannot be read (stream did not contain valid UTF-8)"],
        );
    }

    #[test]
    fn no_dot_env_or_a_folder_of_that_name_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        let mut problems = Problems::default();
        assert_eq!(dot_env(folder.path(), &mut problems), []);
        std::fs::create_dir(folder.path().join(".env")).unwrap();
        assert_eq!(dot_env(folder.path(), &mut problems), []);
        assert!(problems.is_empty(), "{problems}");
    }

    #[test]
    fn toml_faults_name_the_line_and_show_nothing_of_it() {
        let folder = folder_with("c.toml", b"debug = true\n[keys]\nmaster_secret = hunter2\n");
        let path = folder.path().join("c.toml");
        let mut problems = Problems::default();
        let named_by = Source::Env("OTPD_CONFIG".into());
        assert!(config(&path, named_by, &mut problems).is_none());
        let text = problems.to_string();
        assert!(text.contains("which is not TOML in line 3;"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn secrets_lose_only_the_line_ends_after_them() {
        fn check(content: &[u8], expected: Option<&str>) {
            let folder = folder_with("s", content);
            let mut problems = Problems::default();
            let source = Source::Env("X_FILE".into());
            let found = secret(&folder.path().join("s"), "x", &source, &mut problems);
            assert_eq!(found.as_deref(), expected);
            assert_eq!(problems.is_empty(), expected.is_some(), "{problems}");
        }
        check(b"secret", Some("secret"));
        check(b"secret\n", Some("secret"));
        check(b"secret\r\n", Some("secret"));
        check(b" two\nlines \n", Some(" two\nlines "));
        check(b"\n", None);
        check(b"", None);
        check(b"\xff", None);
    }
}
