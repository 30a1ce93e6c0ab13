//! Tests of a run that compares: against a bare handler, and with devices that were filled in before.

use super::bare::start_in_this_process;
use super::filled::Seed;
use super::request::device_id;
use super::stand_in::{Faults, KEY, StandIn, bench};
use super::workers::lock;

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
fn filled_devices_are_used_as_they_are() {
    let server = StandIn::start(Faults::default());
    let seed = "0000ab01000102030405060708090a0b0c0d0e0f";
    let filled: Seed = seed.parse().unwrap();
    for number in 0..10 {
        let id = device_id("bench-0000ab01", number);
        let secret = filled.device(number).secret;
        lock(&server.devices).live.insert(id, (secret, 0));
    }
    let words = format!(
        "--devices 5 --connections 2 --seconds 15 --no-baseline --order random --filled {seed} --stored 10"
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
