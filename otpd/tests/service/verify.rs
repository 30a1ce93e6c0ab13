//! `POST /api/v1/otp/verify`: right, wrong, spent, early, late, and what a code may look like.

use otp::{Algorithm, Digits, Secret, hotp};
use serde_json::{Value, json};

use crate::answer::shown;
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_right_code_is_accepted_once,
    a_wrong_code_is_an_answer_and_no_error,
    an_integer_is_padded_to_the_length_of_the_device,
    what_is_no_code_is_refused_and_costs_nothing,
    a_refusal_comes_before_what_is_unknown_and_that_before_a_judgement,
    a_deactivated_device_accepts_nothing,
    a_user_is_one_whatever_the_spelling,
    one_code_twenty_times_at_once_is_accepted_once,
}

const VERIFY: &str = "/api/v1/otp/verify";

async fn a_right_code_is_accepted_once(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let answer = server.post(VERIFY, body.clone()).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
        {
          "data": {
            "assertion": null,
            "attempts_remaining": 5,
            "reason": null,
            "retry_after": null,
            "valid": true
          },
          "message": "OTP verification completed",
          "success": true
        }
        "#);
    }
    let again = server.post(VERIFY, body).await.data(200);
    assert_eq!(
        (&again["valid"], &again["reason"]),
        (&json!(false), &json!("rejected"))
    );
    let seen = server.look("phone").await;
    assert_eq!(seen["usage_count"], 1);
    assert_ne!(seen["last_used"], Value::Null);
}

async fn a_wrong_code_is_an_answer_and_no_error(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.wrong(&server) });
    let answer = server.post(VERIFY, body).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
        {
          "data": {
            "assertion": null,
            "attempts_remaining": 4,
            "reason": "rejected",
            "retry_after": null,
            "valid": false
          },
          "message": "OTP verification completed",
          "success": true
        }
        "#);
    }
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["usage_count"], &seen["failed_attempts"]),
        (&json!(0), &json!(1))
    );
    assert!(server.accepts(&device, &device.code(&server)).await);
    assert_eq!(
        server.look("phone").await["failed_attempts"],
        0,
        "a success clears the run"
    );
}

async fn an_integer_is_padded_to_the_length_of_the_device(engine: Engine) {
    let server = Server::start(engine).await;
    for digits in [6, 7, 8] {
        for zeros in ["", "0", "000"] {
            let id = format!("d{digits}-{}", zeros.len());
            let body = json!({
                "device_id": id, "user_id": "alice", "kind": "hotp", "digits": digits,
                "secret": secret_whose_first_code_begins(zeros, digits),
            });
            let device = server.device_with(body).await;
            let number: u64 = device.at(0).parse().unwrap();
            assert_eq!(number.to_string().len(), usize::from(digits) - zeros.len());
            let body = json!({ "device_id": id, "otp": number });
            assert_eq!(
                server.post(VERIFY, body).await.data(200)["valid"],
                true,
                "{id}"
            );
        }
        // One digit more than the device has.
        let body = json!({ "device_id": format!("d{digits}-0"), "otp": 10_u64.pow(digits.into()) });
        assert_eq!(server.post(VERIFY, body).await.faults(), ["/otp"]);
    }
}

/// A key whose HOTP code for counter 0 begins with these zeros and then no further one.
fn secret_whose_first_code_begins(zeros: &str, digits: u8) -> String {
    let digits = Digits::new(digits).unwrap();
    let fits = |secret: &Secret| {
        let code = hotp(secret, Algorithm::Sha1, digits, 0).to_text();
        code.strip_prefix(zeros)
            .is_some_and(|rest| !rest.starts_with('0'))
    };
    let secrets = (0_u64..).map(|number| Secret::from_bytes(number.to_be_bytes().repeat(3)));
    let mut fitting = secrets.filter(fits);
    fitting.next().unwrap().to_base32().to_string()
}

async fn what_is_no_code_is_refused_and_costs_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let odd = [
        json!("12345"),
        json!("123456789"),
        json!("1234567"),
        json!("12345678"),
        json!(" 123456"),
        json!("123456 "),
        json!("123 456"),
        json!("12345a"),
        json!("-12345"),
        json!("+12345"),
        json!("1234.5"),
        json!("١٢٣٤٥٦"),
        json!("１２３４５６"),
        json!(""),
        json!(123_456.0),
        json!(12_345.6),
        json!(-123_456),
        json!(1_000_000),
        json!(1e5),
        json!(u64::MAX),
        json!(true),
        json!(["123456"]),
        json!({ "otp": "123456" }),
        Value::Null,
    ];
    for otp in odd {
        let answer = server
            .post(VERIFY, json!({ "device_id": "phone", "otp": otp }))
            .await;
        assert_eq!(answer.faults(), ["/otp"], "{otp}");
    }
    let answer = server.post(VERIFY, json!({ "device_id": "phone" })).await;
    assert_eq!(answer.faults(), ["/otp"]);
    // As text, since a parser of JSON may round: beyond 64 bits, and with an exponent.
    for number in ["1e2", "123456e0", "0.0", "-0", "99999999999999999999999"] {
        let text = format!(r#"{{"device_id":"phone","otp":{number}}}"#);
        assert_eq!(
            server.post_raw(VERIFY, text).await.faults(),
            ["/otp"],
            "{number}"
        );
    }
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
}

async fn a_refusal_comes_before_what_is_unknown_and_that_before_a_judgement(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    // 422 first: nobody learns with a broken request whether a device exists.
    let body = json!({ "device_id": "none", "otp": "12345" });
    assert_eq!(server.post(VERIFY, body).await.faults(), ["/otp"]);
    let body = json!({ "device_id": "no ne", "otp": "12345", "extra": 1 });
    assert_eq!(
        server.post(VERIFY, body).await.faults(),
        ["/device_id", "/extra", "/otp"]
    );
    let body = json!({ "device_id": "none", "otp": "123456" });
    server
        .post(VERIFY, body)
        .await
        .problem(404, "device_not_found");
    let body = json!({ "device_id": "Phone", "otp": "123456" });
    server
        .post(VERIFY, body)
        .await
        .problem(404, "device_not_found");
    // Also while locked: first the length, then the judgement.
    server.fail(&device, 5).await;
    let body = json!({ "device_id": "phone", "otp": "1234567" });
    assert_eq!(server.post(VERIFY, body).await.faults(), ["/otp"]);
}

async fn a_deactivated_device_accepts_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let answer = server.deactivate("phone").await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
        {
          "data": {
            "deactivated_at": "[deactivated_at]",
            "device_id": "phone",
            "is_active": false
          },
          "message": "Device deactivated successfully",
          "success": true
        }
        "#);
    }
    let right = server.verify(&device, &device.code(&server)).await;
    let wrong = server.verify(&device, &device.wrong(&server)).await;
    assert_eq!(right["reason"], "inactive");
    assert_eq!(right, wrong, "a right code is as dead as a wrong one");
    let again = server.deactivate("phone").await;
    assert_eq!(again.body, answer.body, "the same answer");
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["status"], &seen["is_active"]),
        (&json!("deactivated"), &json!(false))
    );
    assert_eq!(seen["failed_attempts"], 0);
    server
        .deactivate("none")
        .await
        .problem(404, "device_not_found");
    server
        .delete("/api/v1/devices/none")
        .await
        .problem(404, "device_not_found");
}

async fn a_user_is_one_whatever_the_spelling(engine: Engine) {
    let server = Server::start(engine).await;
    // Upper case, full width and the German sharp s: all fold to one name.
    let names = ["STRASSE", "straße", "ＳＴＲＡＳＳＥ"];
    let mut devices = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let device = server.device(&format!("d{number}"), name).await;
        assert_eq!(
            server.look(&device.id).await["user_id"],
            *name,
            "as it came"
        );
        devices.push(device);
    }
    let listed = server
        .get("/api/v1/devices?user_id=Strasse")
        .await
        .json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 3);
    // One guard behind all of them.
    for (number, device) in devices.iter().enumerate() {
        let data = server.verify(device, &device.wrong(&server)).await;
        assert_eq!(data["attempts_remaining"], 4 - number);
    }
    let other = server.device("other", "strase").await;
    let data = server.verify(&other, &other.wrong(&server)).await;
    assert_eq!(data["attempts_remaining"], 4, "another user");
}

async fn one_code_twenty_times_at_once_is_accepted_once(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let calls = (0..20).map(|_| server.post(VERIFY, body.clone()));
    let mut accepted = 0;
    for answer in together(calls).await {
        accepted += usize::from(answer.data(200)["valid"] == true);
    }
    assert_eq!(accepted, 1);
    let seen = server.look("phone").await;
    assert_eq!(seen["usage_count"], 1);
    assert_eq!(
        seen["failed_attempts"], 1,
        "the repetitions of one step count once"
    );
}

#[tokio::test]
async fn the_window_is_one_step_on_either_side() {
    let server = Server::start(Engine::Sqlite).await;
    for (steps, accepted) in [
        (-3, false),
        (-2, false),
        (-1, true),
        (0, true),
        (1, true),
        (2, false),
    ] {
        let id = format!("d{}", steps + 3);
        let device = server.device(&id, &id).await;
        let code = device.code_in(&server, steps);
        assert_eq!(
            server.accepts(&device, &code).await,
            accepted,
            "{steps} steps away"
        );
    }
}

#[tokio::test]
async fn the_window_is_the_settings() {
    for (window, far) in [("0", 0), ("2", 2), ("4", 4)] {
        let server = Server::with(Engine::Sqlite, &[("OTP_WINDOW", window)]).await;
        let cases = [
            (-far - 1, false),
            (-far, true),
            (far, true),
            (far + 1, false),
        ];
        for (number, (steps, accepted)) in cases.into_iter().enumerate() {
            let id = format!("d{number}");
            let device = server.device(&id, &id).await;
            let code = device.code_in(&server, steps);
            let seen = server.accepts(&device, &code).await;
            assert_eq!(seen, accepted, "window {window}, {steps} steps away");
        }
    }
}

#[tokio::test]
async fn accepted_steps_only_increase() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let codes = [-1, 0, 1].map(|steps| device.code_in(&server, steps));
    assert!(server.accepts(&device, &codes[1]).await);
    assert!(!server.accepts(&device, &codes[0]).await, "an older one");
    assert!(!server.accepts(&device, &codes[1]).await, "the same");
    assert!(server.accepts(&device, &codes[2]).await, "a newer one");
    server.advance(30);
    assert!(
        !server.accepts(&device, &codes[2]).await,
        "now its own step, but spent"
    );
    server.advance(30);
    assert!(server.accepts(&device, &device.code(&server)).await);
}

#[tokio::test]
async fn a_code_dies_with_its_window() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    // Ten seconds into the step: it ends in 20, and its window 30 seconds later.
    let code = device.code(&server);
    server.advance(50);
    assert!(!server.accepts(&device, &code).await);
    let code = device.code(&server);
    server.advance(59);
    assert!(
        server.accepts(&device, &code).await,
        "the last second of the window"
    );
}

#[tokio::test]
async fn a_repeated_code_costs_one_guess_a_step() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let code = device.code(&server);
    assert!(server.accepts(&device, &code).await);
    for _ in 0..10 {
        let data = server.verify(&device, &code).await;
        assert_eq!(
            (&data["reason"], &data["attempts_remaining"]),
            (&json!("rejected"), &json!(4))
        );
    }
}

#[tokio::test]
async fn the_current_code_is_told_in_debug_mode_alone() {
    let path = "/api/v1/test/otp";
    let debug = Server::with(Engine::Sqlite, &[("DEBUG", "true")]).await;
    let body = json!({ "device_id": "t", "user_id": "alice", "test": true });
    let device = debug.device_with(body).await;
    let data = debug
        .post(path, json!({ "device_id": "t" }))
        .await
        .data(200);
    assert_eq!(data["otp"], device.code(&debug));
    assert_eq!(data["expires_in"], 20);
    assert!(debug.accepts(&device, &device.code(&debug)).await);
    debug.device("real", "alice").await;
    let refused = debug.post(path, json!({ "device_id": "real" })).await;
    refused.problem(409, "not_a_test_device");
    let unknown = debug.post(path, json!({ "device_id": "none" })).await;
    unknown.problem(404, "device_not_found");
    let unprivileged = debug
        .credential(&["otp:verify", "devices:read", "devices:write"])
        .await;
    let refused = debug
        .post(path, json!({ "device_id": "t" }))
        .key(&unprivileged)
        .await;
    refused.problem(403, "insufficient_scope");

    let production = [("DEBUG", "true"), ("ENVIRONMENT", "production")];
    for variables in [&[][..], &production[..]] {
        let server = Server::with(Engine::Sqlite, variables).await;
        let body = json!({ "device_id": "t", "user_id": "alice", "test": true });
        assert_eq!(server.register(body).await.faults(), ["/test"]);
        let answer = server.post(path, json!({ "device_id": "t" })).await;
        answer.problem(404, "not_found");
    }
}
