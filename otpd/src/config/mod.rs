//! Reads the configuration: defaults, a TOML file, `.env` and the environment, later ones winning.
//!
//! [`load`] is a function of its [`Inputs`]; only [`Inputs::from_process`] looks at the
//! real environment, and nothing ever writes to it. Every fault is found in one run
//! and told in a sentence of its own ([`Problems`]).

mod build;
mod checks;
mod database_url;
mod effective;
mod email;
mod files;
mod known;
mod layers;
mod names;
mod network;
mod problem;
mod reader;
mod secret;
pub mod settings;
mod smtp_url;
mod value;

use std::path::PathBuf;

pub use database_url::DatabaseUrl;
pub use effective::{Effective, Setting};
pub use known::DEFAULTS;
pub use network::Network;
pub use problem::{Problem, Problems, Source};
pub use secret::SecretText;
pub use settings::Settings;
pub use smtp_url::SmtpUrl;

/// What the configuration is read from.
pub struct Inputs {
    /// The environment variables. Those that are no settings are ignored.
    pub env: Vec<(String, String)>,
    /// Where `.env` lies and where relative paths begin.
    pub working_folder: PathBuf,
}

impl Inputs {
    /// The variables and the working folder of this process.
    ///
    /// # Errors
    /// When the working folder is gone, or a variable that is ours is not UTF-8.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the real environment is read"
    )]
    pub fn from_process() -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let known = known::Known::embedded();
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => env.push((name, value)),
                // Replacing what is not text would change a secret unnoticed.
                Err(_) if name == names::CONFIG_FILE || names::key_of(&name, &known).is_some() => {
                    let source = Source::Env(name.clone());
                    problems.add(name, source, "is not text", "UTF-8 is expected");
                }
                Err(_) => {}
            }
        }
        let working_folder = std::env::current_dir().unwrap_or_else(|error| {
            problems.add(
                "data_dir",
                Source::Default,
                format!("cannot be placed, since the working folder cannot be read ({error})"),
                "a folder that exists is expected",
            );
            PathBuf::new()
        });
        if problems.is_empty() {
            Ok(Self {
                env,
                working_folder,
            })
        } else {
            Err(problems)
        }
    }
}

/// A configuration without faults.
pub struct Loaded {
    /// The typed settings, secrets included.
    pub settings: Settings,
    /// Every setting as text with its source, secrets masked.
    pub effective: Effective,
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// All faults at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let merged = layers::merge(inputs);
    let effective = Effective::of(&merged.entries);
    let settings = build::settings(merged, &inputs.working_folder)?;
    Ok(Loaded {
        settings,
        effective,
    })
}

#[cfg(test)]
mod tests;
