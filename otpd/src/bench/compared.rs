//! Tests of a run that compares: against a bare handler, and with devices that were filled in before.

use super::bare::start_in_this_process;
use super::filled::Seed;
use super::request::device_id;
use super::stand_in::{Faults, KEY, StandIn, bench};
use super::workers::lock;

const SEED: &str = "0000ab01000102030405060708090a0b0c0d0e0f";

/// Gives the server so many devices, as `otpd bench-fill` makes them.
fn fill(server: &StandIn, count: u32) {
    let filled: Seed = SEED.parse().unwrap();
    for number in 0..count {
        let id = device_id("bench-0000ab01", number);
        let secret = filled.device(number).secret;
        lock(&server.devices).live.insert(id, (secret, 0));
    }
}

#[test]
fn a_bare_handler_is_driven_with_the_same_requests_and_spends_nothing() {
    let server = StandIn::start(Faults::default());
    let bare = start_in_this_process();
    let words = format!("--devices 8 --connections 2 --seconds 1 --bare http://{bare} --watch");
    let report = bench(&server, KEY, &words).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.verify.accepted, 24, "{report}");
    assert!(
        report.bare.is_some_and(|bare| bare.accepted > 24),
        "it goes on when all codes have been sent once"
    );
    assert!(report.ratios.bare.is_some_and(|ratio| ratio > 0.0));
    assert!(report.watched.is_some_and(|watched| watched.accepted > 0));
}

#[test]
fn what_is_compared_is_measured_in_turns() {
    let server = StandIn::start(Faults::default());
    fill(&server, 60_000);
    let words = format!("--devices 60000 --connections 1 --seconds 3 --filled {SEED}");
    let report = bench(&server, KEY, &words).unwrap();
    assert!(report.is_clean(), "{report}");
    let kinds = lock(&server.devices).turns.clone();
    // The clock is asked first; before the first turn all connections are tried.
    let verifications = kinds.iter().filter(|kind| **kind == "verify").count();
    assert_eq!(verifications, 6, "{kinds:?}");
    let mut between = kinds.split(|kind| *kind == "verify").skip(1).take(5);
    assert!(between.all(|kinds| kinds == ["livez"]), "{kinds:?}");
    let (livez, verify) = (report.livez.unwrap(), report.verify);
    assert!(
        livez.seconds > 2.5 && livez.seconds < 4.0,
        "{}",
        livez.seconds
    );
    assert!(
        verify.seconds > 2.5 && verify.seconds < 4.0,
        "{}",
        verify.seconds
    );
}

#[test]
fn filled_devices_are_used_as_they_are() {
    let server = StandIn::start(Faults::default());
    fill(&server, 10);
    let words = format!(
        "--devices 5 --connections 2 --seconds 15 --no-baseline --order random --filled {SEED} --stored 10"
    );
    let report = bench(&server, KEY, &words).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.devices, report.verify.accepted), (5, 15));
    let devices = lock(&server.devices);
    assert_eq!(
        (devices.registered, devices.deleted, devices.live.len()),
        (0, 0, 10)
    );
    let driven: Vec<_> = (0..10)
        .filter(|n| devices.live[&device_id("bench-0000ab01", *n)].1 > 0)
        .collect();
    assert_eq!(driven, [0, 2, 4, 6, 8], "spread over all");
}
