//! Tests of the configuration as a whole, in folders and environments of their own.

mod bounds;
mod layering;
mod refusals;
mod values;

use std::path::Path;

use super::{Inputs, Loaded, Problems, load};

/// A working folder with these files and an environment with these variables.
struct Setup {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Setup {
    fn new(env: &[(&str, &str)]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn file(self, name: &str, content: &str) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// With a configuration file that the environment names.
    fn toml(mut self, content: &str) -> Self {
        self.env
            .push(("OTPD_CONFIG".to_owned(), "otpd.toml".to_owned()));
        self.file("otpd.toml", content)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load(&Inputs {
            env: self.env.clone(),
            working_folder: self.path().to_owned(),
        })
    }

    #[track_caller]
    fn loaded(&self) -> Loaded {
        match self.load() {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// The problems, with the folder's path written as `DIR`.
    #[track_caller]
    fn refused(&self) -> Vec<String> {
        match self.load() {
            Ok(_) => panic!("nothing is refused"),
            Err(problems) => {
                let folder = self.path().display().to_string();
                problems
                    .to_string()
                    .lines()
                    .map(|line| line.replace(&folder, "DIR"))
                    .collect()
            }
        }
    }

    /// One setting as `value from source`, with the folder's path written as `DIR`.
    #[track_caller]
    fn shown(&self, key: &str) -> String {
        let loaded = self.loaded();
        let setting = &loaded.effective.values[key];
        let folder = self.path().display().to_string();
        format!("{} from {}", setting.value, setting.source).replace(&folder, "DIR")
    }
}

/// Checks a single variable against the part of the sentence after its source.
#[track_caller]
fn check_value(name: &str, value: &str, rest: &str) {
    let refused = Setup::new(&[(name, value)]).refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let end = format!("` from {name} in the environment {rest}.");
    assert!(refused[0].ends_with(&end), "{} / {end}", refused[0]);
}
