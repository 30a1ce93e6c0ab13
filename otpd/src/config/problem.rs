//! What is wrong with the configuration and where each value came from, in sentences for people.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The embedded `otpd.default.toml`.
    Default,
    /// The TOML file that `OTPD_CONFIG` names.
    File(PathBuf),
    /// The `.env` file of the working folder, under this name.
    DotEnv(String),
    /// The process environment, under this name.
    Env(String),
    /// A file that holds one secret.
    SecretFile(PathBuf),
}

impl Source {
    /// The height of the layer; a secret's file counts as the lowest that can name one.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) | Self::SecretFile(_) => 1,
            Self::DotEnv(_) => 2,
            Self::Env(_) => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::DotEnv(name) => write!(f, "{name} in .env"),
            Self::Env(name) => write!(f, "{name} in the environment"),
            Self::SecretFile(path) => write!(f, "the secret file {}", path.display()),
        }
    }
}

/// One fault; its text never contains the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key (`server.port`), or the file or variable that could not be read.
    pub key: String,
    /// Where the faulty value came from.
    pub source: Source,
    /// What was found, as the words after the key: `is "abc"`.
    pub found: String,
    /// What is expected instead, as a clause: `a whole number is expected`.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            source,
            found,
            expected,
        } = self;
        write!(f, "`{key}` from {source} {found}; {expected}.")
    }
}

/// All faults of a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The faults in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a fault, unless the very same is listed already.
    pub(super) fn add(
        &mut self,
        key: impl Into<String>,
        source: Source,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let problem = Problem {
            key: key.into(),
            source,
            found: found.into(),
            expected: expected.into(),
        };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A found text for an error message: quoted, escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{:?}", format!("{start}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_one_sentence_that_names_key_source_found_and_expected() {
        fn check(source: Source, sentence: &str) {
            let mut problems = Problems::default();
            for _ in 0..2 {
                problems.add(
                    "server.port",
                    source.clone(),
                    "is \"x\"",
                    "a number is expected",
                );
            }
            assert_eq!(problems.to_string(), sentence, "and only once");
        }
        check(
            Source::File("/etc/otpd.toml".into()),
            "`server.port` from the file /etc/otpd.toml is \"x\"; a number is expected.",
        );
        check(
            Source::Env("PORT".into()),
            "`server.port` from PORT in the environment is \"x\"; a number is expected.",
        );
        check(
            Source::DotEnv("PORT".into()),
            "`server.port` from PORT in .env is \"x\"; a number is expected.",
        );
        check(
            Source::SecretFile("/run/s".into()),
            "`server.port` from the secret file /run/s is \"x\"; a number is expected.",
        );
        check(
            Source::Default,
            "`server.port` from the defaults is \"x\"; a number is expected.",
        );
    }

    #[test]
    fn long_and_strange_values_stay_on_one_line() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 63);
    }
}
