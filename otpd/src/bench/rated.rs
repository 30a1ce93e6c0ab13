//! Runs at a constant rate, against the stand-in: what is due is sent, and what is late is told.

use std::time::Duration;

use super::stand_in::{Faults, KEY, StandIn, bench};
use super::workers::lock;

#[test]
fn enough_devices_last_for_the_whole_time() {
    let server = StandIn::start(Faults {
        busy_registration: true,
        ..Faults::default()
    });
    let report = bench(
        &server,
        KEY,
        "--devices 100 --connections 4 --seconds 1 --warm 1 --rate 100 --no-baseline --no-cleanup",
    )
    .unwrap();
    let devices = lock(&server.devices);
    assert!(report.is_clean() && !report.exhausted, "{report}");
    assert_eq!(
        (report.verify.accepted, report.verify.unsent),
        (100, 0),
        "{report}"
    );
    assert_eq!(devices.refusals, 0);
    assert!(
        devices.accepted > report.verify.accepted,
        "the warm-up is not part of the result"
    );
    assert!(report.livez.is_none() && report.ratios.livez.is_none());
    assert_eq!(
        (report.devices, report.devices_left, devices.live.len()),
        (100, 100, 100)
    );
}

/// One connection, one request due every 100 ms for a second, and a server that takes longer.
#[test]
fn what_is_due_at_the_end_is_sent_unless_the_server_is_far_behind() {
    let behind = |slow| {
        let server = StandIn::start(Faults {
            slow: Duration::from_millis(slow),
            ..Faults::default()
        });
        let words = "--devices 10 --connections 1 --seconds 1 --rate 10 --no-baseline";
        let verify = bench(&server, KEY, words).unwrap().verify;
        assert_eq!(verify.accepted + verify.unsent, 10, "{slow}");
        let latency = &serde_json::to_value(&verify).unwrap()["latency_us"];
        assert!(
            latency["max"].as_u64() > Some(slow * 1_000 + 30_000),
            "counted from when it was due"
        );
        verify.unsent
    };
    assert_eq!(behind(105), 0);
    assert!(behind(300) > 2);
}
