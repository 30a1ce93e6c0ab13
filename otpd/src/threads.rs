//! How many threads serve requests, so that the database on the same machine keeps its own.

use std::num::NonZero;
use std::thread::available_parallelism;

use crate::config::Settings;
use crate::wiring::store_settings;

/// The number that was set, or one that suits this machine.
#[must_use]
pub fn number(settings: &Settings) -> usize {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let beside = store_settings(settings).target.is_server_here();
    settings.server.threads.unwrap_or(suitable(cores, beside))
}

/// More threads than cores are left for them wake each other up and take turns, which costs more
/// than they bring.
fn suitable(cores: usize, beside_a_database_server: bool) -> usize {
    match beside_a_database_server {
        true => (cores / 2).max(1),
        false => cores,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_server_on_this_machine_keeps_half_of_the_cores() {
        assert_eq!(
            [1, 2, 3, 16].map(|cores| suitable(cores, false)),
            [1, 2, 3, 16]
        );
        assert_eq!(
            [1, 2, 3, 16].map(|cores| suitable(cores, true)),
            [1, 1, 1, 8]
        );
    }
}
