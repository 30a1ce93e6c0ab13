//! `POST /api/v1/devices/{device_id}/resync` and learnt drift: devices whose clock or counter went astray.

use serde_json::{Value, json};

use crate::answer::{Answer, shown};
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_counter_far_ahead_is_found_by_two_codes_in_a_row,
    what_is_not_in_a_row_costs_one_guess,
    what_is_no_pair_of_codes_is_refused,
    a_lock_holds_here_too,
}

async fn resync(server: &Server, id: &str, otp: Value) -> Answer {
    let path = format!("/api/v1/devices/{id}/resync");
    server.post(&path, json!({ "otp": otp })).await
}

async fn counter_device(server: &Server) -> Device {
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    server.device_with(body).await
}

async fn a_counter_far_ahead_is_found_by_two_codes_in_a_row(engine: Engine) {
    let server = Server::start(engine).await;
    let device = counter_device(&server).await;
    assert!(!server.accepts(&device, &device.at(100)).await);
    let too_far = resync(&server, "token", json!([device.at(101), device.at(102)])).await;
    assert_eq!(too_far.data(200)["reason"], "rejected");
    let answer = resync(&server, "token", json!([device.at(100), device.at(101)])).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
        {
          "data": {
            "drift_seconds": 0,
            "reason": null,
            "resynchronised": true,
            "retry_after": null
          },
          "message": "Device resynchronised successfully",
          "success": true
        }
        "#);
    }
    assert!(
        !server.accepts(&device, &device.at(101)).await,
        "both are spent"
    );
    assert!(server.accepts(&device, &device.at(102)).await);
}

async fn what_is_not_in_a_row_costs_one_guess(engine: Engine) {
    let server = Server::start(engine).await;
    let device = counter_device(&server).await;
    let pairs = [(5, 7), (6, 5), (5, 5)];
    for (number, (first, second)) in pairs.into_iter().enumerate() {
        let data = resync(
            &server,
            "token",
            json!([device.at(first), device.at(second)]),
        )
        .await;
        let data = data.data(200);
        assert_eq!(
            (&data["resynchronised"], &data["reason"]),
            (&json!(false), &json!("rejected"))
        );
        assert_eq!(server.look("token").await["failed_attempts"], number + 1);
    }
    // Two codes in a row re-align, they do not clear the guesses.
    resync(&server, "token", json!([device.at(5), device.at(6)]))
        .await
        .data(200);
    assert_eq!(server.look("token").await["failed_attempts"], 3);
    assert!(!server.accepts(&device, &device.at(6)).await);
    // Backwards there is no way.
    let back = resync(&server, "token", json!([device.at(3), device.at(4)]))
        .await
        .data(200);
    assert_eq!(back["resynchronised"], false);
}

async fn what_is_no_pair_of_codes_is_refused(engine: Engine) {
    let server = Server::start(engine).await;
    counter_device(&server).await;
    for otp in [
        json!([]),
        json!(["123456"]),
        json!(["123456", "234567", "345678"]),
        json!("123456"),
        json!({ "first": "123456", "second": "234567" }),
        Value::Null,
    ] {
        assert_eq!(
            resync(&server, "token", otp.clone()).await.faults(),
            ["/otp"],
            "{otp}"
        );
    }
    for pair in [["12345", "x"], ["123456", "1234567"], ["1234567", "123456"]] {
        let answer = resync(&server, "token", json!(pair)).await;
        assert_eq!(answer.faults(), ["/otp"], "{pair:?}");
    }
    let answer = resync(&server, "none", json!(["123456", "234567"])).await;
    answer.problem(404, "device_not_found");
    assert_eq!(server.look("token").await["failed_attempts"], 0);
}

async fn a_lock_holds_here_too(engine: Engine) {
    let server = Server::start(engine).await;
    let device = counter_device(&server).await;
    server.fail(&device, 5).await;
    let data = resync(&server, "token", json!([device.at(0), device.at(1)]))
        .await
        .data(200);
    assert_eq!(
        (&data["resynchronised"], &data["reason"]),
        (&json!(false), &json!("locked"))
    );
    assert!(
        data["retry_after"]
            .as_i64()
            .is_some_and(|seconds| seconds > 0),
        "{data}"
    );
    server.deactivate("token").await.data(200);
    let data = resync(&server, "token", json!([device.at(0), device.at(1)]))
        .await
        .data(200);
    assert_eq!(data["reason"], "inactive");
}

#[tokio::test]
async fn a_clock_ten_steps_astray_is_found() {
    for (steps, found) in [
        (-11, false),
        (-10, true),
        (-3, true),
        (9, true),
        (10, false),
    ] {
        let server = Server::start(Engine::Sqlite).await;
        let device = server.device("phone", "alice").await;
        let codes = json!([
            device.code_in(&server, steps),
            device.code_in(&server, steps + 1)
        ]);
        let data = resync(&server, "phone", codes).await.data(200);
        assert_eq!(data["resynchronised"], found, "{steps}");
        if !found {
            continue;
        }
        // The second code tells where the device's clock is now.
        let drift = 30 * (steps + 1);
        assert_eq!(data["drift_seconds"], drift, "{steps}");
        assert_eq!(server.look("phone").await["drift_seconds"], drift);
        server.advance(60);
        let shifted = device.code_in(&server, drift / 30);
        assert!(
            server.accepts(&device, &shifted).await,
            "{steps}: the window has moved"
        );
    }
}

#[tokio::test]
async fn after_a_resynchronisation_the_codes_of_the_old_window_are_dead() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let codes = json!([device.code_in(&server, 5), device.code_in(&server, 6)]);
    resync(&server, "phone", codes).await.data(200);
    for steps in [-1, 0, 1, 5] {
        let code = device.code_in(&server, steps);
        let data = server.verify(&device, &code).await;
        assert_eq!(data["reason"], "rejected", "{steps}");
    }
    assert!(
        server.accepts(&device, &device.code_in(&server, 7)).await,
        "the next one"
    );
}

#[tokio::test]
async fn a_steady_drift_is_learnt_and_one_slow_person_is_not() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    assert!(server.accepts(&device, &device.code_in(&server, -1)).await);
    let drift = server.look("phone").await["drift_seconds"]
        .as_i64()
        .unwrap();
    assert!((-5..0).contains(&drift), "{drift}");
    server.advance(60);
    let late = device.code_in(&server, -2);
    assert!(
        !server.accepts(&device, &late).await,
        "one late code moves no window"
    );
    // A phone one step ahead, day after day, may then be two ahead.
    let ahead = server.device("ahead", "bob").await;
    for _ in 0..12 {
        assert!(server.accepts(&ahead, &ahead.code_in(&server, 1)).await);
        server.advance(86_400);
    }
    assert!(server.accepts(&ahead, &ahead.code_in(&server, 2)).await);
    server.advance(86_400);
    assert!(!server.accepts(&ahead, &ahead.code_in(&server, 4)).await);
    assert!(
        !server.accepts(&ahead, &ahead.code_in(&server, -1)).await,
        "the window moved"
    );
}
