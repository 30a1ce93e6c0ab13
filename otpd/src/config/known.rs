//! The known settings and their types, as the embedded default file lists them.

use std::collections::{BTreeMap, BTreeSet};

/// The default file: defaults, documentation and sample at once.
pub const DEFAULTS: &str = include_str!("../../otpd.default.toml");

/// Settings that are secrets.
pub(super) const SECRETS: [&str; 4] = [
    "keys.master_secret",
    "keys.master_secret_previous",
    "callers.api_key",
    "jwt.secret_key",
];

/// Addresses that may hold a password: treated like secrets, but shown without it.
pub(super) const SECRET_URLS: [&str; 3] = ["database.url", "redis.url", "email.smtp_url"];

/// Whole numbers that the server may also find by itself ("auto").
const AUTOMATIC: [&str; 2] = ["server.threads", "server.leave_seconds"];

/// Tables whose names are free and whose fields are known whole numbers.
pub(super) struct Family {
    /// Under which section they stand.
    pub(super) section: &'static str,
    /// What one of them is called in a sentence.
    pub(super) member: &'static str,
    /// What each may hold.
    pub(super) fields: &'static [&'static str],
    /// The section that has what one of them leaves out.
    pub(super) fallback: &'static str,
}

/// `[policies.*]`
pub(super) static POLICIES: Family = Family {
    section: "policies",
    member: "a policy",
    fields: &[
        "digits",
        "period",
        "window",
        "lock_after",
        "disable_after",
        "disable_after_30_days",
    ],
    fallback: "codes",
};

/// `[email_levels.*]`
pub(super) static EMAIL_LEVELS: Family = Family {
    section: "email_levels",
    member: "a level of emailed codes",
    fields: &["code_seconds", "code_digits"],
    fallback: "email",
};

static FAMILIES: [&Family; 2] = [&POLICIES, &EMAIL_LEVELS];

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    /// A whole number, or "auto".
    Automatic,
    Flag,
    List,
    Secret,
    SecretUrl,
}

impl Kind {
    /// The type in words, as in "… is expected".
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Secret | Self::SecretUrl => "text is expected",
            Self::Whole => "a whole number is expected",
            Self::Automatic => "a whole number or \"auto\" is expected",
            Self::Flag => "true or false is expected",
            Self::List => "a list of texts is expected",
        }
    }
}

/// What a dotted key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Setting(Kind),
    /// The path of a file that holds this secret.
    FileOf {
        secret: String,
        kind: Kind,
    },
    Section,
    Unknown,
}

/// The known keys.
pub(super) struct Known {
    settings: BTreeMap<String, Kind>,
    sections: BTreeSet<String>,
}

impl Known {
    /// The keys of the embedded default file.
    pub(super) fn embedded() -> Self {
        let mut known = Self {
            settings: BTreeMap::new(),
            sections: FAMILIES.map(|family| family.section.to_owned()).into(),
        };
        for (name, value) in default_table() {
            match value {
                toml::Value::Table(section) => {
                    for (key, value) in section {
                        known.add(format!("{name}.{key}"), &value);
                    }
                    known.sections.insert(name);
                }
                value => known.add(name, &value),
            }
        }
        known
    }

    fn add(&mut self, key: String, default: &toml::Value) {
        let kind = if SECRETS.contains(&key.as_str()) {
            Kind::Secret
        } else if SECRET_URLS.contains(&key.as_str()) {
            Kind::SecretUrl
        } else if AUTOMATIC.contains(&key.as_str()) {
            Kind::Automatic
        } else {
            match default {
                toml::Value::Integer(_) => Kind::Whole,
                toml::Value::Boolean(_) => Kind::Flag,
                toml::Value::Array(_) => Kind::List,
                _ => Kind::Text,
            }
        };
        self.settings.insert(key, kind);
    }

    /// What the key stands for.
    pub(super) fn meaning(&self, key: &str) -> Meaning {
        if let Some(kind) = self.settings.get(key) {
            return Meaning::Setting(*kind);
        }
        if let Some(secret) = key.strip_suffix("_file")
            && let Some(kind @ (Kind::Secret | Kind::SecretUrl)) = self.settings.get(secret)
        {
            return Meaning::FileOf {
                secret: secret.to_owned(),
                kind: *kind,
            };
        }
        if self.sections.contains(key) {
            return Meaning::Section;
        }
        match member_of(key) {
            Some((_, _, None)) => Meaning::Section,
            Some((family, _, Some(field))) if family.fields.contains(&field) => {
                Meaning::Setting(Kind::Whole)
            }
            _ => Meaning::Unknown,
        }
    }

    /// Whether the key may be read from a file of its own.
    pub(super) fn is_secret(&self, key: &str) -> bool {
        matches!(self.settings.get(key), Some(Kind::Secret | Kind::SecretUrl))
    }

    /// The section that an unknown one may have been meant for.
    pub(super) fn nearest_section(&self, unknown: &str) -> Option<String> {
        let sections = self.sections.iter();
        let nearest = sections.min_by_key(|section| distance(unknown, section))?;
        is_near(unknown, nearest).then(|| nearest.clone())
    }

    /// The known key that an unknown one may have been meant for.
    pub(super) fn nearest(&self, unknown: &str) -> Option<String> {
        let mut candidates: Vec<String> = self.settings.keys().cloned().collect();
        candidates.extend(
            self.settings
                .keys()
                .filter(|key| self.is_secret(key))
                .map(|key| format!("{key}_file")),
        );
        if let Some((family, name, _)) = member_of(unknown) {
            let section = family.section;
            let fields = family.fields.iter();
            candidates.extend(fields.map(|field| format!("{section}.{name}.{field}")));
        }
        let candidates = candidates.into_iter();
        let nearest = candidates.min_by_key(|candidate| unlikeness(unknown, candidate))?;
        is_near(unknown, &nearest).then_some(nearest)
    }
}

/// The family, the table's name, and its field if one is named, of a key in a family.
pub(super) fn member_of(key: &str) -> Option<(&'static Family, &str, Option<&str>)> {
    let (section, rest) = key.split_once('.')?;
    let family = FAMILIES.iter().find(|family| family.section == section)?;
    match rest.split_once('.') {
        None => Some((family, rest, None)),
        Some((name, field)) => Some((family, name, Some(field))),
    }
}

/// The embedded defaults as a table.
pub(super) fn default_table() -> toml::Table {
    DEFAULTS
        .parse()
        .expect("the embedded defaults are TOML: the tests of this module parse them")
}

/// How much two keys differ. A right key in the wrong section (`port` for
/// `server.port`) is nearly right, so the last parts are compared as well.
fn unlikeness(unknown: &str, candidate: &str) -> usize {
    let whole = distance(unknown, candidate);
    let end = distance(last(unknown), last(candidate)) * 2 + 1;
    whole.min(end)
}

/// The part of a key after its section.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

/// Whether one may be a slip of the pen for the other: a guess that is far off sends
/// people the wrong way.
fn is_near(unknown: &str, candidate: &str) -> bool {
    let longer = |a: &str, b: &str| a.chars().count().max(b.chars().count());
    // Any two short words are two slips apart.
    let slips = if longer(unknown, candidate) >= 5 {
        2
    } else {
        1
    };
    let (own, other) = (last(unknown), last(candidate));
    distance(unknown, candidate) <= slips.max(longer(unknown, candidate) / 3)
        || distance(own, other) <= longer(own, other) / 3
}

/// The Levenshtein distance: inserted, removed and replaced characters.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_are_settings_and_the_sections_are_as_documented() {
        let known = Known::embedded();
        for key in SECRETS.iter().chain(&SECRET_URLS) {
            assert!(known.is_secret(key), "{key}");
        }
        let sections: Vec<&str> = known.sections.iter().map(String::as_str).collect();
        assert_eq!(
            sections,
            [
                "accounts",
                "audit",
                "callers",
                "codes",
                "database",
                "email",
                "email_levels",
                "jwt",
                "keys",
                "limits",
                "log",
                "policies",
                "redis",
                "server",
                "stats",
                "tokens"
            ]
        );
    }

    #[test]
    fn every_setting_has_a_comment_above_it() {
        let mut explained = false;
        for line in DEFAULTS.lines() {
            let line = line.trim();
            explained = match line {
                "" => false,
                _ if line.starts_with('#') => true,
                _ if line.starts_with('[') => false,
                // tls_key stands under the comment of tls_certificate.
                _ => {
                    assert!(explained, "without a comment: {line}");
                    true
                }
            };
        }
    }

    #[test]
    fn the_samples_in_the_comments_use_every_field_of_their_family() {
        for family in FAMILIES {
            let head = format!("#[{}.", family.section);
            let sample: String = DEFAULTS
                .lines()
                .skip_while(|line| !line.starts_with(&head))
                .take_while(|line| line.starts_with('#'))
                .map(|line| format!("{}\n", line.trim_start_matches('#')))
                .collect();
            let table: toml::Table = sample.parse().unwrap();
            let member = table[family.section]["high"].as_table().unwrap();
            let mut fields: Vec<&str> = member.keys().map(String::as_str).collect();
            let mut expected = family.fields.to_vec();
            fields.sort_unstable();
            expected.sort_unstable();
            assert_eq!(fields, expected);
        }
    }

    #[test]
    fn what_a_member_leaves_out_is_in_the_fallback() {
        let known = Known::embedded();
        for family in FAMILIES {
            for field in family.fields {
                let key = format!("{}.{field}", family.fallback);
                assert_eq!(known.meaning(&key), Meaning::Setting(Kind::Whole), "{key}");
            }
        }
    }

    #[test]
    fn keys_have_the_type_of_their_default() {
        fn check(key: &str, meaning: Meaning) {
            assert_eq!(Known::embedded().meaning(key), meaning, "{key}");
        }
        check("server.host", Meaning::Setting(Kind::Text));
        check("server.port", Meaning::Setting(Kind::Whole));
        check("server.trusted_proxies", Meaning::Setting(Kind::List));
        check("debug", Meaning::Setting(Kind::Flag));
        check("jwt.secret_key", Meaning::Setting(Kind::Secret));
        check("redis.url", Meaning::Setting(Kind::SecretUrl));
        let file = Meaning::FileOf {
            secret: "redis.url".into(),
            kind: Kind::SecretUrl,
        };
        check("redis.url_file", file);
        check("server.host_file", Meaning::Unknown);
        check("server", Meaning::Section);
        check("policies", Meaning::Section);
        check("policies.high", Meaning::Section);
        check("policies.high.digits", Meaning::Setting(Kind::Whole));
        check("policies.high.issuer", Meaning::Unknown);
        check("policies.high.digits.x", Meaning::Unknown);
        check("email.smtp_url", Meaning::Setting(Kind::SecretUrl));
        check("email_levels", Meaning::Section);
        check("email_levels.high", Meaning::Section);
        let seconds = "email_levels.high.code_seconds";
        check(seconds, Meaning::Setting(Kind::Whole));
        check("email_levels.high.digits", Meaning::Unknown);
        check("server.port.x", Meaning::Unknown);
    }

    #[test]
    fn the_nearest_known_key_is_found() {
        fn check(unknown: &str, nearest: &str) {
            let found = Known::embedded().nearest(unknown);
            assert_eq!(found.as_deref(), Some(nearest), "{unknown}");
        }
        check("sever.port", "server.port");
        check("server.prot", "server.port");
        check("port", "server.port");
        check("database.host", "server.host");
        check("datadir", "data_dir");
        check("server.data_dir", "data_dir");
        check("keys.mastersecret", "keys.master_secret");
        check("master_secret_file", "keys.master_secret_file");
        check("codes.lockafter", "codes.lock_after");
        check("policies.high.lockafter", "policies.high.lock_after");
        check("email_levels.x.seconds", "email_levels.x.code_seconds");
        check("emial.from", "email.from");
        check("loglevel", "log.level");
    }

    #[test]
    fn what_is_near_nothing_has_no_nearest_key() {
        let known = Known::embedded();
        for unknown in ["foo", "potr", "secret", "x.y.z", "", ".", "color"] {
            assert_eq!(known.nearest(unknown), None, "{unknown}");
            assert_eq!(known.nearest_section(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_nearest_section_is_found() {
        let known = Known::embedded();
        assert_eq!(known.nearest_section("sever").as_deref(), Some("server"));
        assert_eq!(
            known.nearest_section("policie").as_deref(),
            Some("policies")
        );
    }

    #[test]
    fn distances() {
        fn check(a: &str, b: &str, expected: usize) {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
        check("", "", 0);
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("port", "prot", 2);
        check("é", "e", 1);
    }
}
