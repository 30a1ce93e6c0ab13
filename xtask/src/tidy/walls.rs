//! The walls between the crates: what each may depend on, and what it must not know.

use super::failure::{Failure, Rule};
use super::manifest;
use super::tree::Tree;

/// Something a crate must not know, as the packages that would teach it.
struct Subject {
    packages: &'static [&'static str],
    rule: Rule,
}

static ASYNC: Subject = Subject {
    packages: &[
        "tokio",
        "tokio-util",
        "futures",
        "futures-util",
        "async-trait",
        "smol",
    ],
    rule: Rule {
        why: "this crate is pure: its functions wait for nothing, so they can be tested and audited as plain values",
        instead: "wait in `app` or `store` and hand the value in",
    },
};

static SQL: Subject = Subject {
    packages: &[
        "rusqlite",
        "libsqlite3-sys",
        "tokio-postgres",
        "postgres",
        "postgres-types",
        "deadpool-postgres",
        "tokio-postgres-rustls",
        "sqlx",
        "diesel",
        "redis",
    ],
    rule: Rule {
        why: "`store` alone knows databases, so that no rule of the product depends on an engine",
        instead: "add a method to `store` that is named after what the caller wants",
    },
};

static HTTP: Subject = Subject {
    packages: &[
        "axum",
        "axum-core",
        "axum-extra",
        "hyper",
        "hyper-util",
        "http",
        "http-body-util",
        "tower",
        "tower-http",
        "utoipa",
        "utoipa-axum",
        "utoipa-swagger-ui",
    ],
    rule: Rule {
        why: "`web` alone knows HTTP, so that another front can stand beside it",
        instead: "return a value or an error that knows no HTTP, and let `web` translate it",
    },
};

static RANDOMNESS: Subject = Subject {
    packages: &["rand", "rand_core", "getrandom", "fastrand", "uuid"],
    rule: Rule {
        why: "randomness is a value handed in: whoever draws it in the middle of a rule cannot be tested",
        instead: "take the random bytes as an argument; the binary draws them",
    },
};

static CLOCK: Subject = Subject {
    packages: &["time", "chrono", "quanta"],
    rule: Rule {
        why: "time is a value handed in: a rule that reads a clock cannot be tested and trusts the wrong machine",
        instead: "take the time as an argument; dates are read and written with `jiff`, whose clock clippy.toml bans",
    },
};

static DATES: Subject = Subject {
    packages: &["jiff"],
    rule: Rule {
        why: "inside this crate a time is a number; zones and spellings are for those who speak with people",
        instead: "take and return Unix times; `domain` turns them into dates",
    },
};

static SERDE: Subject = Subject {
    packages: &["serde", "serde_json", "toml"],
    rule: Rule {
        why: "`otp` is usable alone and audited by outsiders: it brings no format of ours along",
        instead: "give the type plain accessors and write the format in `domain` or `web`",
    },
};

static MAIL: Subject = Subject {
    packages: &["lettre"],
    rule: Rule {
        why: "`app` alone sends mail, after the commit that the mail speaks of",
        instead: "return what has to be told, and let `app` announce it",
    },
};

static COMMAND_LINE: Subject = Subject {
    packages: &["clap", "dotenvy", "tracing-subscriber"],
    rule: Rule {
        why: "`otpd` alone knows arguments, configuration files and the terminal",
        instead: "own a settings struct and let `otpd` fill it",
    },
};

static KEYS: Subject = Subject {
    packages: &["chacha20poly1305", "hkdf", "argon2", "hmac"],
    rule: Rule {
        why: "`vault` alone holds the keyring; it is small so that it can be audited",
        instead: "store what `vault` has sealed or signed; `app` hands it over",
    },
};

static GRAPH: Rule = Rule {
    why: "the dependency graph is the architecture: otp <- domain <- store <- app <- web <- otpd, and vault <- app",
    instead: "move the code to the crate that knows both sides, or pass a value or a function in",
};

static UNKNOWN: Rule = Rule {
    why: "a crate is defined by what it does not know",
    instead: "say in `xtask/src/tidy/walls.rs` and `ARCHITECTURE.md` what this one must not know",
};

/// What one crate may and must not depend on.
struct Room {
    name: &'static str,
    /// The crates of the workspace it may use.
    uses: &'static [&'static str],
    must_not_know: &'static [&'static Subject],
}

static ROOMS: [Room; 8] = [
    Room {
        name: "otp",
        uses: &[],
        must_not_know: &[
            &ASYNC,
            &SQL,
            &HTTP,
            &RANDOMNESS,
            &CLOCK,
            &DATES,
            &SERDE,
            &MAIL,
            &COMMAND_LINE,
        ],
    },
    Room {
        name: "domain",
        uses: &["otp"],
        must_not_know: &[
            &ASYNC,
            &SQL,
            &HTTP,
            &RANDOMNESS,
            &CLOCK,
            &MAIL,
            &COMMAND_LINE,
        ],
    },
    Room {
        name: "vault",
        uses: &["otp", "domain"],
        must_not_know: &[
            &ASYNC,
            &SQL,
            &HTTP,
            &RANDOMNESS,
            &CLOCK,
            &DATES,
            &MAIL,
            &COMMAND_LINE,
        ],
    },
    Room {
        name: "store",
        uses: &["otp", "domain"],
        must_not_know: &[
            &HTTP,
            &RANDOMNESS,
            &CLOCK,
            &DATES,
            &MAIL,
            &COMMAND_LINE,
            &KEYS,
        ],
    },
    Room {
        name: "app",
        uses: &["otp", "domain", "vault", "store"],
        must_not_know: &[&SQL, &HTTP, &RANDOMNESS, &COMMAND_LINE],
    },
    Room {
        name: "web",
        uses: &["domain", "app"],
        must_not_know: &[&SQL, &RANDOMNESS, &MAIL, &COMMAND_LINE, &KEYS],
    },
    Room {
        name: "otpd",
        uses: &["otp", "domain", "vault", "store", "app", "web"],
        must_not_know: &[&SQL, &MAIL],
    },
    Room {
        name: "xtask",
        uses: &[],
        must_not_know: &[],
    },
];

pub(crate) fn check(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for manifest in manifest::read(tree) {
        let Some(room) = ROOMS.iter().find(|room| room.name == manifest.name) else {
            let what = format!("no wall is drawn around `{}`", manifest.name);
            failures.push(Failure::new(manifest.path, 1, what, &UNKNOWN));
            continue;
        };
        for dependency in &manifest.dependencies {
            if let Some(rule) = breach(room, &dependency.package) {
                let what = format!("`{}` depends on `{}`", room.name, dependency.package);
                failures.push(Failure::new(manifest.path, dependency.line, what, rule));
            }
        }
    }
    failures
}

/// The rule that this dependency breaks.
fn breach(room: &Room, package: &str) -> Option<&'static Rule> {
    if ROOMS.iter().any(|other| other.name == package) {
        return (!room.uses.contains(&package)).then_some(&GRAPH);
    }
    let subject = room
        .must_not_know
        .iter()
        .find(|subject| subject.packages.contains(&package));
    subject.map(|subject| &subject.rule)
}

#[cfg(test)]
mod tests {
    use super::super::failure::assert_places;
    use super::*;

    fn check_edge(crate_name: &str, package: &str, allowed: bool) {
        let path = format!("{crate_name}/Cargo.toml");
        let text = format!("[dependencies]\n{package}.workspace = true\n");
        let place = format!("{path}:2");
        let places: &[&str] = if allowed { &[] } else { &[&place] };
        assert_places(&check(&Tree::of(&[(&path, &text)])), places);
    }

    #[test]
    fn inner_edges_follow_the_graph() {
        for (name, package) in [
            ("domain", "otp"),
            ("vault", "otp"),
            ("vault", "domain"),
            ("store", "otp"),
            ("store", "domain"),
            ("app", "store"),
            ("app", "vault"),
            ("web", "app"),
            ("web", "domain"),
            ("otpd", "web"),
        ] {
            check_edge(name, package, true);
            check_edge(package, name, false);
        }
        check_edge("web", "store", false);
        check_edge("web", "vault", false);
        check_edge("store", "vault", false);
        check_edge("xtask", "otp", false);
    }

    #[test]
    fn outer_edges_follow_what_a_crate_must_not_know() {
        for package in ["serde", "tokio", "rand", "getrandom", "jiff", "axum"] {
            check_edge("otp", package, false);
        }
        for package in ["tokio", "axum", "rusqlite", "getrandom", "rand"] {
            check_edge("domain", package, false);
        }
        for package in ["tokio", "rusqlite", "axum"] {
            check_edge("vault", package, false);
        }
        for package in ["axum", "lettre", "hkdf"] {
            check_edge("store", package, false);
        }
        for package in ["axum", "rusqlite", "tokio-postgres", "clap"] {
            check_edge("app", package, false);
        }
        for package in ["rusqlite", "tokio-postgres"] {
            check_edge("web", package, false);
            check_edge("otpd", package, false);
        }
        check_edge("domain", "chrono", false);
        check_edge("domain", "jiff", true);
        check_edge("domain", "serde", true);
        check_edge("store", "rusqlite", true);
        check_edge("app", "lettre", true);
        check_edge("otpd", "getrandom", true);
    }

    #[test]
    fn tests_may_use_what_they_like_and_a_new_crate_needs_walls() {
        let tests_only = "[dev-dependencies]\ntokio = \"1\"\n";
        assert_places(&check(&Tree::of(&[("otp/Cargo.toml", tests_only)])), &[]);
        assert_places(
            &check(&Tree::of(&[("radius/Cargo.toml", "[dependencies]\n")])),
            &["radius/Cargo.toml:1"],
        );
    }
}
