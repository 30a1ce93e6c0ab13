//! Lays the sources of the configuration over each other, each value with its type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Inputs;
use super::files;
use super::known::{self, Family, Known, Meaning};
use super::names::{self, Spelling};
use super::problem::{Problems, Source};
use super::value::{Entry, Found};

/// All layers in one.
pub(super) struct Merged {
    /// By dotted key; every key of the default file is there.
    pub(super) entries: BTreeMap<String, Entry>,
    /// Section and name of each table in a family, also of those that set nothing.
    pub(super) members: BTreeSet<(&'static str, String)>,
    /// What is wrong so far.
    pub(super) problems: Problems,
}

/// Reads all layers. What is faulty becomes a problem and leaves the layer below in force.
pub(super) fn merge(inputs: &Inputs) -> Merged {
    let mut layers = Layers {
        known: Known::embedded(),
        folder: &inputs.working_folder,
        merged: Merged {
            entries: BTreeMap::new(),
            members: BTreeSet::new(),
            problems: Problems::default(),
        },
    };
    let dot_env = files::dot_env(layers.folder, &mut layers.merged.problems);
    layers.lay_table(known::default_table(), &Source::Default);
    let config =
        named_file(&inputs.env, Source::Env).or_else(|| named_file(&dot_env, Source::DotEnv));
    if let Some((file, named_by)) = config {
        let path = layers.folder.join(file);
        if let Some(table) = files::config(&path, named_by, &mut layers.merged.problems) {
            layers.lay_table(table, &Source::File(path));
        }
    }
    layers.lay_variables(&dot_env, Source::DotEnv);
    layers.lay_variables(&inputs.env, Source::Env);
    layers.merged
}

/// The configuration file that a layer names, and where it does.
fn named_file(
    variables: &[(String, String)],
    source: fn(String) -> Source,
) -> Option<(&str, Source)> {
    let (name, path) = variables
        .iter()
        .rfind(|(name, _)| name == names::CONFIG_FILE)?;
    (!path.is_empty()).then(|| (path.as_str(), source(name.clone())))
}

/// One value as a layer gives it.
struct Given {
    key: String,
    spelling: Spelling,
    found: Found,
    source: Source,
}

struct Layers<'a> {
    known: Known,
    folder: &'a Path,
    merged: Merged,
}

impl Layers<'_> {
    fn lay_table(&mut self, table: toml::Table, source: &Source) {
        let mut layer = Vec::new();
        self.collect(None, table, source, &mut layer);
        self.lay(layer);
    }

    /// Lists the values of a table. Where a table is no section, it is listed like a
    /// value, and so refused, unless there are values in it that can be named instead.
    fn collect(
        &mut self,
        section: Option<&str>,
        table: toml::Table,
        source: &Source,
        layer: &mut Vec<Given>,
    ) {
        for (name, value) in table {
            let key = match section {
                Some(section) => format!("{section}.{name}"),
                None => name,
            };
            let meaning = self.known.meaning(&key);
            match value {
                toml::Value::Table(inner)
                    if meaning == Meaning::Section
                        || (meaning == Meaning::Unknown && !inner.is_empty()) =>
                {
                    if let (Some((family, name, None)), Meaning::Section) =
                        (known::member_of(&key), meaning)
                    {
                        self.name_member(family, name, source);
                    }
                    self.collect(Some(&key), inner, source, layer);
                }
                value => layer.push(Given {
                    key,
                    spelling: Spelling::Full,
                    found: Found::Toml(value),
                    source: source.clone(),
                }),
            }
        }
    }

    fn lay_variables(&mut self, variables: &[(String, String)], source: fn(String) -> Source) {
        let layer = variables
            .iter()
            .filter(|(name, value)| !names::is_service_link(name, value))
            .filter_map(|(name, value)| {
                let (key, spelling) = names::key_of(name, &self.known)?;
                Some(Given {
                    key,
                    spelling,
                    found: Found::Text(value.clone()),
                    source: source(name.clone()),
                })
            })
            .collect();
        self.lay(layer);
    }

    /// Puts one layer over those before it, short names first, so that full ones win.
    fn lay(&mut self, mut layer: Vec<Given>) {
        layer.sort_by_key(|given| given.spelling);
        for (index, given) in layer.iter().enumerate() {
            self.refuse_rival(given, &layer[..index]);
        }
        for given in layer {
            self.lay_one(given);
        }
    }

    /// Within a layer, a secret beside its file, or one name twice, leave open which of
    /// them is meant.
    fn refuse_rival(&mut self, given: &Given, earlier: &[Given]) {
        let setting = self.setting_of(&given.key);
        let rival = earlier.iter().find(|rival| {
            if rival.key == given.key {
                rival.spelling == given.spelling
            } else {
                self.setting_of(&rival.key) == setting
            }
        });
        if let Some(rival) = rival {
            let found = match (rival.key == given.key, rival.source == given.source) {
                (true, true) => "is given twice".to_owned(),
                (false, true) => "is given as a text and as a file".to_owned(),
                (_, false) => format!("is given by {} as well", rival.source),
            };
            self.merged.problems.add(
                setting,
                given.source.clone(),
                found,
                "only one of them is expected",
            );
        }
    }

    /// The setting that a key decides: the secret, where the key names its file.
    fn setting_of(&self, key: &str) -> String {
        match self.known.meaning(key) {
            Meaning::FileOf { secret, .. } => secret,
            _ => key.to_owned(),
        }
    }

    fn lay_one(&mut self, given: Given) {
        let Given {
            key, found, source, ..
        } = given;
        let (key, kind, found, source) = match self.known.meaning(&key) {
            Meaning::Setting(kind) => (key, kind, found, source),
            Meaning::FileOf { secret, kind } => {
                let Some((text, source)) = self.read_secret(&key, found, source) else {
                    return;
                };
                (secret, kind, Found::Text(text), source)
            }
            Meaning::Section => return self.refuse_value_for_section(key, source),
            Meaning::Unknown => return self.refuse_unknown(key, &found, source),
        };
        if let Some((family, name, Some(_))) = known::member_of(&key) {
            self.name_member(family, name, &source);
        }
        match found.into_kind(kind) {
            Ok(value) => {
                self.merged.entries.insert(key, Entry { value, source });
            }
            Err(words) => {
                self.merged
                    .problems
                    .add(key, source, words, kind.expected());
            }
        }
    }

    fn read_secret(&mut self, key: &str, file: Found, source: Source) -> Option<(String, Source)> {
        match file {
            Found::Text(file) | Found::Toml(toml::Value::String(file)) if !file.is_empty() => {
                let path = self.folder.join(file);
                files::secret(&path, key, &source, &mut self.merged.problems)
                    .map(|text| (text, Source::SecretFile(path)))
            }
            _ => {
                self.merged.problems.add(
                    key,
                    source,
                    "names no file",
                    "the path of a file that holds the secret is expected",
                );
                None
            }
        }
    }

    fn name_member(&mut self, family: &'static Family, name: &str, source: &Source) {
        let is_name = (1..=32).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        if is_name {
            let member = (family.section, name.to_owned());
            self.merged.members.insert(member);
        } else {
            self.merged.problems.add(
                format!("{}.{name}", family.section),
                source.clone(),
                format!("is not a name for {}", family.member),
                "1 to 32 of a-z, 0-9, - and _ are expected",
            );
        }
    }

    fn refuse_value_for_section(&mut self, key: String, source: Source) {
        let expected = format!("settings within the section [{key}] are expected");
        self.merged
            .problems
            .add(key, source, "is not a setting but a section", expected);
    }

    fn refuse_unknown(&mut self, key: String, found: &Found, source: Source) {
        let (what, nearest) = match found {
            Found::Toml(toml::Value::Table(_)) => ("section", self.known.nearest_section(&key)),
            Found::Toml(_) => ("setting", self.known.nearest(&key)),
            Found::Text(_) => {
                let nearest = self.known.nearest(&key);
                ("setting", nearest.as_deref().map(names::variable_for))
            }
        };
        let expected = match nearest {
            Some(nearest) => format!("the nearest known one is `{nearest}`"),
            None => "otpd.default.toml lists the known ones".to_owned(),
        };
        self.merged
            .problems
            .add(key, source, format!("is not a known {what}"), expected);
    }
}
