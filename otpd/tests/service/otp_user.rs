//! `/otp/enable`, `/otp/verify`, `/otp/deactivate`: a user's own OTP; and the budget that all doors share.

use serde_json::{Value, json};

use crate::answer::{Answer, shown, text};
use crate::call::together;
use crate::database::Engine;
use crate::device::{Device, own};
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    it_is_enabled_used_and_deactivated,
    one_at_a_time_is_made_here,
    at_once_one_of_them_is_made,
    every_authenticator_of_the_user_counts,
    who_has_none_is_told_so,
    a_number_is_padded_to_six_digits,
    a_faulty_code_counts_no_attempt,
    a_lock_is_an_answer,
    repeated_requests_get_their_first_answer,
    an_acceptance_is_not_repeated_once_the_device_is_gone,
    wrong_codes_count_together_at_all_doors,
    guesses_at_once_at_all_doors_never_exceed_the_budget,
    every_change_and_attempt_is_recorded,
}

const ENABLE: &str = "/otp/enable";
const VERIFY: &str = "/otp/verify";
const DEACTIVATE: &str = "/otp/deactivate";

async fn enable(server: &Server, user: Value) -> Answer {
    server.post(ENABLE, json!({ "user_id": user })).await
}

/// The authenticator of a user, made here.
async fn enabled(server: &Server, user: Value) -> Device {
    let mut made = enable(server, user).await.json(201);
    made["device_id"] = made["id"].clone();
    Device::from_registration(&made)
}

async fn verify(server: &Server, user: &str, code: &str) -> Answer {
    let body = json!({ "user_id": user, "otp_code": code });
    server.post(VERIFY, body).await
}

async fn deactivate(server: &Server, user: &str) -> Answer {
    server.post(DEACTIVATE, json!({ "user_id": user })).await
}

async fn it_is_enabled_used_and_deactivated(engine: Engine) {
    let server = Server::start(engine).await;
    let answer = enable(&server, json!(42)).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut made = answer.json(201);
    let id = text(&made, "id").to_owned();
    let random = id.strip_prefix("otp-").unwrap();
    assert!(
        data_encoding::BASE32_NOPAD
            .decode(random.as_bytes())
            .is_ok()
            && random.len() == 16
    );
    made["id"] = json!("[id]");
    let expected = json!({
        "id": "[id]", "user_id": 42, "secret": "[secret]",
        "provisioning_uri": "[provisioning_uri]", "is_active": true,
        "created_at": "[created_at]", "last_verified_at": null,
    });
    let key = text(&made, "secret").to_owned();
    let uri = text(&made, "provisioning_uri").to_owned();
    assert_eq!(shown(made), expected);
    let device = Device::from_registration(&json!({ "device_id": id, "provisioning_uri": uri }));
    assert_eq!(device.uri.secret.to_base32().as_str(), key);

    let right = device.code(&server);
    let body = json!({ "user_id": 42, "otp_code": right });
    let answer = server.post(VERIFY, body).await.json(200);
    assert_eq!(answer, json!({ "status": "verified" }));
    let again = verify(&server, "42", &right).await.json(200);
    assert_eq!(again, json!({ "status": "rejected" }));
    let seen = server.look(&id).await;
    assert_eq!(
        (&seen["user_id"], &seen["usage_count"]),
        (&json!(42), &json!(1))
    );

    for _ in 0..2 {
        let answer = deactivate(&server, "42").await.json(200);
        assert_eq!(answer, json!({ "status": "deactivated" }));
    }
    assert_eq!(server.look(&id).await["status"], "deactivated");
    let next = device.code_in(&server, 1);
    let gone = verify(&server, "42", &next).await;
    gone.problem(404, "no_active_device");
}

async fn one_at_a_time_is_made_here(engine: Engine) {
    let server = Server::start(engine).await;
    // A device of another door is no obstacle.
    server.device("phone", "alice").await;
    let first = enabled(&server, json!("Alice")).await;
    let second = enable(&server, json!("ALICE")).await;
    second.problem(409, "otp_enabled");
    deactivate(&server, "alice").await.json(200);
    let other = enabled(&server, json!("alice")).await;
    assert_ne!(first.id, other.id);
    assert_ne!(
        first.uri.secret.to_base32().as_str(),
        other.uri.secret.to_base32().as_str()
    );
    // Only the one that is in force is deactivated; the other door's stays.
    deactivate(&server, "alice").await.json(200);
    assert_eq!(server.look("phone").await["status"], "active");
    // One that was deactivated as a device makes room, too.
    let third = enabled(&server, json!("alice")).await;
    server.deactivate(&third.id).await.data(200);
    enable(&server, json!("alice")).await.json(201);
}

async fn at_once_one_of_them_is_made(engine: Engine) {
    let server = Server::start(engine).await;
    for user in ["alice", "bob"] {
        if user == "bob" {
            server.device("phone", user).await;
        }
        let body = json!({ "user_id": user });
        let answers = together((0..10).map(|_| server.post(ENABLE, body.clone()))).await;
        let mut made = 0;
        for answer in answers {
            match answer.status {
                201 => made += 1,
                409 => drop(answer.problem(409, "otp_enabled")),
                // Too much at once for one user: nothing was made.
                _ => drop(answer.problem(503, "busy")),
            }
        }
        assert_eq!(made, 1, "{user}");
    }
}

async fn every_authenticator_of_the_user_counts(engine: Engine) {
    let server = Server::start(engine).await;
    let phone = server.device("phone", "alice").await;
    let own = enabled(&server, json!("alice")).await;
    for device in [&phone, &own] {
        let code = device.code(&server);
        let answer = verify(&server, "Alice", &code).await.json(200);
        assert_eq!(answer["status"], "verified", "{}", device.id);
        // Spent here is spent there.
        assert!(!server.accepts(device, &code).await, "{}", device.id);
    }
    let pending = json!({ "device_id": "new", "user_id": "alice", "require_confirmation": true });
    let pending = server.device_with(pending).await;
    let code = pending.code(&server);
    let answer = verify(&server, "alice", &code).await.json(200);
    assert_eq!(
        answer["status"], "rejected",
        "it waits for its confirmation"
    );
}

async fn who_has_none_is_told_so(engine: Engine) {
    let server = Server::start(engine).await;
    let unknown = verify(&server, "nobody", "123456").await;
    unknown.problem(404, "no_active_device");
    let unknown = deactivate(&server, "nobody").await;
    unknown.problem(404, "no_active_device");
    server.device("phone", "alice").await;
    // She has a device, but none that was made here.
    let none = deactivate(&server, "alice").await;
    none.problem(404, "no_active_device");
    server.deactivate("phone").await.data(200);
    let none = verify(&server, "alice", "123456").await;
    none.problem(404, "no_active_device");
}

async fn a_number_is_padded_to_six_digits(engine: Engine) {
    let server = Server::start(engine).await;
    let secrets = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let secret = secrets
        .chars()
        .map(|last| format!("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ{last}"))
        .find(|secret| (0..10).any(|n| own(secret).at(n).starts_with('0')))
        .unwrap();
    let body = json!({ "device_id": "t", "user_id": "alice", "kind": "hotp", "secret": secret });
    let device = server.device_with(body).await;
    let code = (0..10)
        .map(|n| device.at(n))
        .find(|code| code.starts_with('0'))
        .unwrap();
    let body = json!({ "user_id": "alice", "otp_code": code.parse::<u32>().unwrap() });
    let answer = server.post(VERIFY, body).await.json(200);
    assert_eq!(answer["status"], "verified");
}

async fn a_faulty_code_counts_no_attempt(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("alice")).await;
    let faulty = [
        json!("12345"),
        json!("123456789"),
        json!(" 12345"),
        json!("12345a"),
        json!(1_000_000),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(null),
    ];
    for code in faulty {
        let body = json!({ "user_id": "alice", "otp_code": code });
        let answer = server.post(VERIFY, body).await;
        assert_eq!(answer.faults(), ["/otp_code"], "{code}");
    }
    let answer = server
        .post(VERIFY, json!({ "user_id": " ", "code": 1 }))
        .await;
    assert_eq!(answer.faults(), ["/code", "/otp_code", "/user_id"]);
    for path in [ENABLE, DEACTIVATE] {
        let answer = server.post(path, json!({ "user_id": 1.5, "x": 1 })).await;
        assert_eq!(answer.faults(), ["/user_id", "/x"], "{path}");
    }
    assert_eq!(server.look(&device.id).await["failed_attempts"], 0);
    // Well formed, but of a length that no device of hers has: a wrong guess.
    let answer = verify(&server, "alice", "12345678").await.json(200);
    assert_eq!(answer["status"], "rejected");
    assert_eq!(server.look(&device.id).await["failed_attempts"], 1);
}

async fn a_lock_is_an_answer(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("alice")).await;
    for wrong in device.wrong_codes(&server).take(5) {
        let answer = verify(&server, "alice", &wrong).await.json(200);
        assert_eq!(answer, json!({ "status": "rejected" }));
    }
    for code in [device.code(&server), device.wrong(&server)] {
        let answer = verify(&server, "alice", &code).await.json(200);
        assert_eq!(answer["status"], "locked");
        let wait = answer["retry_after"].as_i64().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
    }
}

async fn repeated_requests_get_their_first_answer(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "user_id": "alice" });
    let first = server.post(ENABLE, body.clone()).once("k").await;
    let again = server.post(ENABLE, body.clone()).once("k").await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let conflict = || server.post(ENABLE, body.clone()).once("c").into_future();
    conflict().await.problem(409, "otp_enabled");

    let mut made = first.json(201);
    made["device_id"] = made["id"].clone();
    let device = Device::from_registration(&made);
    for code in [device.code(&server), device.wrong(&server)] {
        let body = json!({ "user_id": "alice", "otp_code": code });
        let mut first = server
            .post(VERIFY, body.clone())
            .once(&code)
            .await
            .json(200);
        let again = server.post(VERIFY, body).once(&code).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        first["replayed"] = json!(true);
        assert_eq!(again.json(200), first);
    }
    assert_eq!(server.look(&device.id).await["failed_attempts"], 1);

    let ended = server.post(DEACTIVATE, body.clone()).once("d").await;
    ended.json(200);
    conflict().await.problem(409, "otp_enabled");
    let anew = enabled(&server, json!("alice")).await;
    let again = server.post(DEACTIVATE, body).once("d").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, ended.body);
    assert_eq!(server.look(&anew.id).await["status"], "active");
    let unknown = || {
        let body = json!({ "user_id": "bob", "otp_code": "123456" });
        server.post(VERIFY, body).once("u").into_future()
    };
    unknown().await.problem(404, "no_active_device");
    enabled(&server, json!("bob")).await;
    let kept = unknown().await;
    kept.problem(404, "no_active_device");
    assert_eq!(kept.header("idempotent-replayed"), Some("true"));
}

async fn an_acceptance_is_not_repeated_once_the_device_is_gone(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("alice")).await;
    let body = json!({ "user_id": "alice", "otp_code": device.code(&server) });
    let call = || server.post(VERIFY, body.clone()).once("k").into_future();
    assert_eq!(call().await.json(200)["status"], "verified");
    deactivate(&server, "alice").await.json(200);
    let expected = json!({ "status": "rejected", "replayed": true });
    assert_eq!(call().await.json(200), expected);
}

/// A guess at one of the doors: 0 to 3.
async fn guess(server: &Server, door: usize, device: &Device, wrong: &str) -> Answer {
    match door {
        0 => verify(server, "alice", wrong).await,
        1 => {
            let body = json!({ "username": "alice", "otp_code": wrong });
            server.post("/verify", body).await
        }
        2 => {
            let body = json!({ "device_id": device.id, "otp": wrong });
            server.post("/api/v1/otp/verify", body).await
        }
        _ => {
            let body = json!({ "user_id": "alice", "code": format!("0000-0000-0000-{wrong:.4}") });
            server.post("/api/v1/recovery/verify", body).await
        }
    }
}

async fn wrong_codes_count_together_at_all_doors(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("alice")).await;
    let wrong: Vec<String> = device.wrong_codes(&server).take(5).collect();
    for (door, wrong) in [0, 1, 2, 3, 1].into_iter().zip(&wrong) {
        let open = server.look(&device.id).await["locked_until"].is_null();
        assert!(open, "before the fifth");
        guess(&server, door, &device, wrong).await;
    }
    let seen = server.look(&device.id).await;
    assert_eq!(seen["failed_attempts"], 5);
    assert!(!seen["locked_until"].is_null());
    let code = device.code(&server);
    let answer = guess(&server, 0, &device, &code).await.json(200);
    assert_eq!(answer["status"], "locked");
    guess(&server, 1, &device, &code)
        .await
        .problem(429, "locked");
    let data = guess(&server, 2, &device, &code).await.data(200);
    assert_eq!(data["reason"], "locked");
    // Recovery is the way out: it is still judged.
    let answer = guess(&server, 3, &device, "1111").await.json(200);
    assert_eq!(answer["status"], "rejected");
}

async fn guesses_at_once_at_all_doors_never_exceed_the_budget(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("alice")).await;
    let mut calls = Vec::new();
    for (number, wrong) in device.wrong_codes(&server).take(30).enumerate() {
        let body = json!({ "user_id": "alice", "otp_code": wrong });
        calls.push(match number % 3 {
            0 => server.post(VERIFY, body),
            1 => {
                let body = json!({ "username": "alice", "otp_code": wrong });
                server.post("/verify", body)
            }
            _ => {
                let body = json!({ "device_id": device.id, "otp": wrong });
                server.post("/api/v1/otp/verify", body)
            }
        });
    }
    let mut evaluated = 0;
    for answer in together(calls).await {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let rejected = body["status"] == "rejected"
            || body["code"] == "invalid_otp"
            || body["data"]["reason"] == "rejected";
        evaluated += usize::from(rejected);
    }
    assert_eq!(evaluated, 5);
    assert_eq!(server.look(&device.id).await["failed_attempts"], 5);
}

async fn every_change_and_attempt_is_recorded(engine: Engine) {
    let server = Server::start(engine).await;
    let device = enabled(&server, json!("Alice")).await;
    verify(&server, "alice", &device.code(&server))
        .await
        .json(200);
    verify(&server, "alice", &device.wrong(&server))
        .await
        .json(200);
    deactivate(&server, "alice").await.json(200);
    deactivate(&server, "alice").await.json(200);
    let audit = server.get("/api/v1/audit?user_id=alice").await.json(200);
    let events = audit["data"].as_array().unwrap();
    let told = |event: &Value| {
        let device = event["device_id"].as_str().unwrap_or("none").to_owned();
        format!("{} {} {device}", text(event, "action"), event["success"])
    };
    let told: Vec<String> = events.iter().map(told).collect();
    let id = &device.id;
    let expected = [
        format!("DEVICE_DEACTIVATED true {id}"),
        "OTP_VERIFICATION false none".to_owned(),
        format!("OTP_VERIFICATION true {id}"),
        format!("DEVICE_REGISTERED true {id}"),
    ];
    assert_eq!(told, expected);
}
