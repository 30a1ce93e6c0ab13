//! `Idempotency-Key`: the same request again gets the first answer, and nothing happens twice.

use serde_json::{Value, json};

use crate::answer::text;
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_registration_is_repeated_with_the_same_secret,
    a_verification_is_repeated_and_says_so,
    a_key_with_another_body_is_refused,
    a_key_counts_for_its_caller_and_its_path,
    not_found_and_conflict_are_answers_too,
    what_is_refused_is_not_kept,
    an_acceptance_is_not_repeated_once_the_device_is_gone,
    at_once_one_of_them_does_it,
    every_post_with_a_change_is_safe_to_repeat,
}

const REGISTER: &str = "/api/v1/devices/register";
const VERIFY: &str = "/api/v1/otp/verify";

fn phone(user: &str) -> Value {
    json!({ "device_id": "phone", "user_id": user })
}

async fn a_registration_is_repeated_with_the_same_secret(engine: Engine) {
    let server = Server::start(engine).await;
    let first = server.post(REGISTER, phone("alice")).once("k-1").await;
    first.data(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = server.post(REGISTER, phone("alice")).once("k-1").await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("cache-control"), Some("no-store"));
    let listed = server.get("/api/v1/devices").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    // Without the key it is another request.
    server
        .post(REGISTER, phone("alice"))
        .await
        .problem(409, "device_exists");
}

async fn a_verification_is_repeated_and_says_so(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let right = json!({ "device_id": "phone", "otp": device.code(&server) });
    let wrong = json!({ "device_id": "phone", "otp": device.wrong(&server) });
    for (key, body) in [("right", right), ("wrong", wrong)] {
        let mut first = server.post(VERIFY, body.clone()).once(key).await.data(200);
        assert_eq!(first["valid"], key == "right");
        assert_eq!(first.get("replayed"), None);
        let answer = server.post(VERIFY, body).once(key).await;
        assert_eq!(answer.header("idempotent-replayed"), Some("true"));
        let again = answer.data(200);
        first["replayed"] = json!(true);
        assert_eq!(again, first);
    }
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["usage_count"], &seen["failed_attempts"]),
        (&json!(1), &json!(1))
    );
}

async fn a_key_with_another_body_is_refused(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("token", "alice").await;
    server
        .post(REGISTER, phone("alice"))
        .once("k")
        .await
        .data(201);
    let other = server.post(REGISTER, phone("bob")).once("k").await;
    other.problem(422, "idempotency_key_reused");
    // The same in another spelling is another body: nobody has to guess what is equal.
    let spelled = format!(" {}", phone("alice"));
    let other = server.post_raw(REGISTER, spelled).once("k").await;
    other.problem(422, "idempotency_key_reused");
    let verify = |code: String| {
        let body = json!({ "device_id": "token", "otp": code });
        server.post(VERIFY, body).once("v")
    };
    verify(device.wrong(&server)).await.data(200);
    let other = verify(device.code(&server)).await;
    other.problem(422, "idempotency_key_reused");
    assert_eq!(
        server.look("token").await["usage_count"],
        0,
        "it was not judged"
    );
}

async fn a_key_counts_for_its_caller_and_its_path(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let (one, two) = (
        server.credential(&["admin"]).await,
        server.credential(&["admin"]).await,
    );
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let first = server.post(VERIFY, body.clone()).key(&one).once("k").await;
    assert_eq!(first.data(200)["valid"], true);
    let second = server.post(VERIFY, body.clone()).key(&two).once("k").await;
    assert_eq!(
        second.data(200)["valid"],
        false,
        "another caller, judged anew"
    );
    let other_path = server
        .post("/api/v1/otp/explain", body)
        .key(&one)
        .once("k")
        .await;
    assert_eq!(other_path.data(200)["finding"], "already_used");
    for id in ["a", "b"] {
        server.device(id, "bob").await;
        let path = format!("/api/v1/devices/{id}/deactivate");
        let answer = server.call("POST", &path).once("same").await;
        assert_eq!(answer.data(200)["device_id"], id);
    }
}

async fn not_found_and_conflict_are_answers_too(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "phone", "otp": "123456" });
    let unknown = || server.post(VERIFY, body.clone()).once("v");
    let path = "/api/v1/devices/phone/deactivate";
    let gone = || server.call("POST", path).once("d");
    unknown().await.problem(404, "device_not_found");
    gone().await.problem(404, "device_not_found");
    server.device("phone", "alice").await;
    let conflict = || server.post(REGISTER, phone("alice")).once("r");
    conflict().await.problem(409, "device_exists");
    // The world has changed, the answers have not.
    for answer in [unknown().await, gone().await] {
        answer.problem(404, "device_not_found");
        assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    }
    server.delete("/api/v1/devices/phone").await.json(200);
    let answer = conflict().await;
    answer.problem(409, "device_exists");
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
}

async fn what_is_refused_is_not_kept(engine: Engine) {
    let server = Server::start(engine).await;
    let faulty = json!({ "device_id": "phone", "user_id": "alice", "digits": 5 });
    server.post(REGISTER, faulty).once("k").await.faults();
    let refused = server
        .post(REGISTER, phone("alice"))
        .once("k")
        .anonymous()
        .await;
    refused.problem(401, "unauthenticated");
    let narrow = server.credential(&["otp:verify"]).await;
    let refused = server
        .post(REGISTER, phone("alice"))
        .once("k")
        .key(&narrow)
        .await;
    refused.problem(403, "insufficient_scope");
    let good = server.post(REGISTER, phone("alice")).once("k").await;
    good.data(201);
    assert_eq!(good.header("idempotent-replayed"), None);
    // A code of the wrong length is found out only by the judge, and not kept either.
    let verify = |code: &str| {
        let body = json!({ "device_id": "phone", "otp": code });
        server.post(VERIFY, body).once("v")
    };
    assert_eq!(verify("1234567").await.faults(), ["/otp"]);
    verify("123456").await.data(200);
}

async fn an_acceptance_is_not_repeated_once_the_device_is_gone(engine: Engine) {
    let server = Server::start(engine).await;
    for end in ["deactivated", "removed", "made anew"] {
        let device = server.device("phone", "alice").await;
        let body = json!({ "device_id": "phone", "otp": device.code(&server) });
        let verify = || server.post(VERIFY, body.clone()).once(end);
        assert_eq!(verify().await.data(200)["valid"], true);
        match end {
            "removed" => drop(server.delete("/api/v1/devices/phone").await.json(200)),
            _ => drop(server.deactivate("phone").await.data(200)),
        }
        let data = verify().await.data(200);
        assert_eq!(data["valid"], false, "{end}");
        assert_eq!(data["reason"], "rejected", "{end}");
        assert_eq!(data["replayed"], true, "{end}");
    }
    // Another device under the same name brings no old answer back to life.
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let verify = || server.post(VERIFY, body.clone()).once("again");
    assert_eq!(verify().await.data(200)["valid"], true);
    server.deactivate("phone").await.data(200);
    server.device("phone", "alice").await;
    let data = verify().await.data(200);
    assert_eq!(
        (&data["valid"], &data["reason"]),
        (&json!(false), &json!("rejected"))
    );
}

async fn at_once_one_of_them_does_it(engine: Engine) {
    let server = Server::start(engine).await;
    let calls = (0..10).map(|_| server.post(REGISTER, phone("alice")).once("k"));
    let answers = together(calls).await;
    let made: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert!(!made.is_empty());
    for answer in &answers {
        if answer.status == 201 {
            assert_eq!(answer.body, made[0].body, "one secret");
        } else {
            answer.problem(409, "idempotency_key_running");
        }
    }
    let device = server.device("token", "bob").await;
    let body = json!({ "device_id": "token", "otp": device.code(&server) });
    let calls = (0..10).map(|_| server.post(VERIFY, body.clone()).once("v"));
    for answer in together(calls).await {
        // An attempt has its turn in the lane: nobody is turned away.
        assert_eq!(answer.data(200)["valid"], true);
    }
    assert_eq!(server.look("token").await["usage_count"], 1);
}

async fn every_post_with_a_change_is_safe_to_repeat(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({
        "device_id": "phone", "user_id": "alice", "kind": "hotp", "require_confirmation": true,
    });
    let device = server.device_with(body).await;
    let steps = [
        (
            "/api/v1/devices/phone/confirm",
            json!({ "otp": device.at(0) }),
        ),
        (
            "/api/v1/devices/phone/resync",
            json!({ "otp": [device.at(30), device.at(31)] }),
        ),
        (
            "/api/v1/otp/explain",
            json!({ "device_id": "phone", "otp": device.wrong(&server) }),
        ),
        (
            "/api/v1/users/alice/unlock",
            json!({ "reason": "she called" }),
        ),
        ("/api/v1/devices/phone/deactivate", json!({})),
        (
            "/api/v1/keys",
            json!({ "name": "x", "scopes": ["otp:verify"] }),
        ),
    ];
    for (path, body) in steps {
        let first = server.post(path, body.clone()).once("k").await;
        assert!(
            (200..300).contains(&first.status),
            "{path}: {}",
            first.text()
        );
        assert_eq!(first.header("idempotent-replayed"), None, "{path}");
        let again = server.post(path, body).once("k").await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
        assert_eq!(again.status, first.status, "{path}");
        let mut data = again.json(again.status)["data"].clone();
        if let Some(members) = data.as_object_mut() {
            members.remove("replayed");
        }
        assert_eq!(data, first.json(first.status)["data"], "{path}");
    }
    let keys = server.get("/api/v1/keys").await.json(200);
    assert_eq!(
        keys["data"].as_array().unwrap().len(),
        2,
        "that one and the environment's"
    );
}

#[tokio::test]
async fn answers_are_kept_as_long_as_the_contract_says() {
    let server = Server::start(Engine::Sqlite).await;
    let replayed = async |path: &str, body: &Value, key: &str| {
        let answer = server.post(path, body.clone()).once(key).await;
        answer.header("idempotent-replayed").is_some()
    };
    // A verification: 60 seconds.
    let device = server.device("token", "bob").await;
    let verify = json!({ "device_id": "token", "otp": device.wrong(&server) });
    assert!(!replayed(VERIFY, &verify, "k").await);
    server.advance(59);
    assert!(replayed(VERIFY, &verify, "k").await);
    server.advance(1);
    assert!(!replayed(VERIFY, &verify, "k").await);
    assert_eq!(server.look("token").await["failed_attempts"], 2);
    // An answer with a secret: 10 minutes. Then the request is a new one.
    server
        .post(REGISTER, phone("alice"))
        .once("k")
        .await
        .data(201);
    server.advance(599);
    assert!(replayed(REGISTER, &phone("alice"), "k").await);
    server.advance(1);
    let late = server.post(REGISTER, phone("alice")).once("k").await;
    late.problem(409, "device_exists");
    // Any other: 24 hours.
    let path = "/api/v1/devices/token/deactivate";
    let empty = json!({});
    assert!(!replayed(path, &empty, "k").await);
    server.advance(86_399);
    assert!(replayed(path, &empty, "k").await);
    server.advance(1);
    assert!(!replayed(path, &empty, "k").await);
}

#[tokio::test]
async fn a_key_has_its_form() {
    let server = Server::start(Engine::Sqlite).await;
    let long = "x".repeat(65);
    for key in ["", &long, "a\tb", "ä"] {
        let answer = server.post(REGISTER, phone("alice")).once(key).await;
        assert_eq!(answer.faults(), ["Idempotency-Key:"], "{key:?}");
    }
    let twice = server
        .post(REGISTER, phone("alice"))
        .once("a")
        .once("b")
        .await;
    assert_eq!(twice.faults(), ["Idempotency-Key:"]);
    let longest = "~".repeat(64);
    server
        .post(REGISTER, phone("alice"))
        .once(&longest)
        .await
        .data(201);
}

#[tokio::test]
async fn the_database_holds_no_kept_secret_in_the_open() {
    let server = Server::start(Engine::Sqlite).await;
    let key = "an-idempotency-key-to-be-found";
    let data = server
        .post(REGISTER, phone("alice"))
        .once(key)
        .await
        .data(201);
    server.app.close().await;
    let stored = server.stored();
    assert!(stored.holds("phone"), "the right files are searched");
    for secret in [text(&data, "secret"), text(&data, "derived_key"), key] {
        assert!(!stored.holds(secret), "{secret}");
    }
}
