//! How many threads serve requests, so that the database on the same machine keeps its own.

use std::num::NonZero;
use std::thread::available_parallelism;

use crate::config::Settings;
use crate::wiring::store_settings;

/// The number that was set, or one that suits this machine.
#[must_use]
pub fn number(settings: &Settings) -> usize {
    chosen(settings, &Cores::of_this_machine())
}

/// What to know where the number follows from a guess about the machine.
#[must_use]
pub fn note(settings: &Settings) -> Option<String> {
    let cores = Cores::of_this_machine();
    let number = chosen(settings, &cores);
    (settings.server.threads.is_none() && number < cores.ours).then(|| {
        format!(
            "server.threads is {number} of {} cores, since PostgreSQL seems to be on this machine: \
             set it if that is only a proxy or a pooler",
            cores.ours
        )
    })
}

/// Processor cores.
struct Cores {
    /// Those that this program may use.
    ours: usize,
    /// All of the machine, if that is known.
    all: Option<usize>,
}

impl Cores {
    fn of_this_machine() -> Self {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
        Self {
            ours: available_parallelism().map_or(1, NonZero::get),
            all: online.ok().and_then(|list| how_many(&list)),
        }
    }

    /// Whoever gave the program a part of the machine has left the rest to others.
    fn are_only_a_part(&self) -> bool {
        self.all.is_some_and(|all| self.ours < all)
    }
}

/// More threads than cores are left for them wake each other up and take turns, which costs more
/// than they bring.
fn chosen(settings: &Settings, cores: &Cores) -> usize {
    let shared = || store_settings(settings).target.is_server_here() && !cores.are_only_a_part();
    match settings.server.threads {
        Some(threads) => threads,
        None if shared() => (cores.ours / 2).max(1),
        None => cores.ours,
    }
}

/// The length of a list as Linux writes it: `0-3,6`.
fn how_many(list: &str) -> Option<usize> {
    let parts = list.trim().split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    });
    parts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load};

    #[test]
    fn a_database_server_on_this_machine_keeps_half_of_the_cores() {
        fn check(variables: &[(&str, &str)], expected: [usize; 5]) {
            let env = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            let inputs = Inputs {
                env: env.collect(),
                working_folder: "/".into(),
            };
            let settings = load(&inputs)
                .unwrap_or_else(|faults| panic!("{faults}"))
                .settings;
            let cases = [
                (1, None),
                (2, Some(2)),
                (3, None),
                (16, Some(16)),
                (4, Some(8)),
            ];
            let found = cases.map(|(ours, all)| chosen(&settings, &Cores { ours, all }));
            assert_eq!(found, expected, "{variables:?}");
        }
        let database = |url| ("DATABASE_URL", url);
        check(&[], [1, 2, 3, 16, 4]);
        check(&[database("postgres://u@db.example/d")], [1, 2, 3, 16, 4]);
        // Of four of eight cores the database needs none.
        check(&[database("postgres://u@127.0.0.1/d")], [1, 1, 1, 8, 4]);
        check(
            &[
                ("OTPD_SERVER__THREADS", "5"),
                database("postgres://u@127.0.0.1/d"),
            ],
            [5; 5],
        );
    }

    #[test]
    fn cores_are_counted_as_linux_lists_them() {
        assert_eq!(how_many("0-1\n"), Some(2));
        assert_eq!(how_many("0\n"), Some(1));
        assert_eq!(how_many("0-3,6,8-9"), Some(7));
        for strange in ["", "a", "3-1", "1-"] {
            assert_eq!(how_many(strange), None, "{strange}");
        }
    }
}
