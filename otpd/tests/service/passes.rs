//! Passes: the helpdesk makes one for someone who lost the phone.

use serde_json::{Value, json};

use crate::answer::{Answer, text};
use crate::assertions::{check, published};
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_pass_serves_as_often_as_it_says,
    a_pass_opens_a_lock,
    at_once_it_is_accepted_as_often_as_it_says,
    whom_nobody_knows_is_not_found,
    what_it_says_is_checked,
    a_repeated_request_gets_the_same_pass,
    a_pass_is_not_repeated_after_a_factor_has_gone,
    a_pass_of_somebody_without_a_factor_is_no_second_one,
    who_made_it_and_why_is_recorded,
}

const PATH: &str = "/api/v1/users/alice/pass";

async fn make(server: &Server, body: Value) -> Value {
    server.post(PATH, body).await.json(201)
}

async fn verify(server: &Server, pass: &Value) -> Answer {
    let body = json!({ "user_id": "alice", "code": text(pass, "pass") });
    server.post("/api/v1/recovery/verify", body).await
}

async fn a_pass_serves_as_often_as_it_says(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = "/api/v1/users/alice/recovery-codes";
    server.call("POST", codes).await.data(201);
    let body = json!({ "reason": "lost the phone", "uses": 2 });
    let answer = server.post(PATH, body).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let pass = answer.json(201);
    assert_eq!(pass.as_object().unwrap().len(), 3);
    assert_eq!((text(&pass, "pass").len(), &pass["uses"]), (14, &json!(2)));
    let expires = domain::Time::parse_rfc3339(text(&pass, "expires_at")).unwrap();
    let life = expires.since(server.now());
    assert!((86_390_000..=86_400_000).contains(&life), "{life}");
    for uses_left in [1, 0] {
        let answer = verify(&server, &pass).await.json(200);
        let expected = json!({
            "status": "verified", "method": "pass", "remaining": 10, "uses_left": uses_left,
        });
        assert_eq!(answer, expected);
    }
    let answer = verify(&server, &pass).await.json(200);
    assert_eq!(answer, json!({ "status": "rejected" }));
    // Another one does not end the first.
    let one = make(&server, json!({ "reason": "lost it again" })).await;
    let two = make(&server, json!({ "reason": "and again" })).await;
    for pass in [one, two] {
        assert_eq!(verify(&server, &pass).await.json(200)["status"], "verified");
    }
}

async fn a_pass_opens_a_lock(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 5).await;
    let pass = make(&server, json!({ "reason": "locked out" })).await;
    assert_eq!(verify(&server, &pass).await.json(200)["status"], "verified");
    assert!(server.accepts(&device, &device.code(&server)).await);
}

async fn at_once_it_is_accepted_as_often_as_it_says(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let pass = make(&server, json!({ "reason": "lost the phone", "uses": 3 })).await;
    let body = json!({ "user_id": "alice", "code": text(&pass, "pass") });
    let calls = (0..20).map(|_| server.post("/api/v1/recovery/verify", body.clone()));
    let answers = together(calls).await;
    let verified =
        |answer: &&Answer| answer.status == 200 && answer.json(200)["status"] == "verified";
    assert_eq!(answers.iter().filter(verified).count(), 3);
}

async fn whom_nobody_knows_is_not_found(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "reason": "lost the phone" });
    let answer = server.post(PATH, body.clone()).await;
    answer.problem(404, "user_not_found");
    // A pass is one user's.
    server.device("phone", "alice").await;
    server.device("token", "bob").await;
    let pass = server.post("/api/v1/users/bob/pass", body).await.json(201);
    assert_eq!(verify(&server, &pass).await.json(200)["status"], "rejected");
}

async fn what_it_says_is_checked(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let long = "x".repeat(501);
    for reason in [json!(null), json!(""), json!("a\nb"), json!(5), json!(long)] {
        let answer = server.post(PATH, json!({ "reason": reason })).await;
        assert_eq!(answer.faults(), ["/reason"], "{reason}");
    }
    for life in [
        json!(59),
        json!(604_801),
        json!("60"),
        json!(60.5),
        json!(-1),
    ] {
        let body = json!({ "reason": "lost", "expires_in": life });
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.faults(), ["/expires_in"], "{life}");
    }
    for uses in [json!(0), json!(11), json!(1.0), json!(true)] {
        let answer = server
            .post(PATH, json!({ "reason": "lost", "uses": uses }))
            .await;
        assert_eq!(answer.faults(), ["/uses"], "{uses}");
    }
    let answer = server.post(PATH, json!({ "use": 1 })).await;
    assert_eq!(answer.faults(), ["/reason", "/use"]);
    for (life, uses) in [(60, 1), (604_800, 10)] {
        let body = json!({ "reason": "lost", "expires_in": life, "uses": uses });
        assert_eq!(make(&server, body).await["uses"], uses);
    }
}

async fn a_repeated_request_gets_the_same_pass(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let body = json!({ "reason": "lost the phone" });
    let first = server.post(PATH, body.clone()).once("k").await;
    first.json(201);
    let again = server.post(PATH, body).once("k").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
}

async fn who_made_it_and_why_is_recorded(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let key = server.key(&["users:write"]).await;
    let body = json!({ "reason": "lost the phone", "expires_in": 600, "uses": 2 });
    let call = server.post(PATH, body).key(text(&key, "key"));
    let pass = call.await.json(201);
    let audit = server.get("/api/v1/audit?action=PASS_CREATED").await;
    assert!(!audit.text().contains(text(&pass, "pass")));
    let event = audit.json(200)["data"][0].clone();
    assert_eq!(event["user_id"], "alice");
    assert_eq!(event["caller"], format!("key:{}", text(&key, "id")));
    let told = &event["additional_data"];
    assert_eq!(told["reason"], "lost the phone");
    assert_eq!(
        (&told["expires_in"], &told["uses"]),
        (&json!(600), &json!(2))
    );
}

#[tokio::test]
async fn a_pass_ends_at_its_time() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let body = json!({ "reason": "lost the phone", "expires_in": 60, "uses": 2 });
    let pass = make(&server, body).await;
    server.advance(59);
    assert_eq!(verify(&server, &pass).await.json(200)["status"], "verified");
    server.advance(1);
    assert_eq!(verify(&server, &pass).await.json(200)["status"], "rejected");
}

/// The answer with its assertion to a request that is always the same one.
async fn repeated(server: &Server, pass: &Value) -> Value {
    let body = json!({
        "user_id": "alice", "code": text(pass, "pass"), "assertion": { "audience": "shop" },
    });
    let call = server.post("/api/v1/recovery/verify", body);
    call.once("k").await.json(200)
}

async fn a_pass_is_not_repeated_after_a_factor_has_gone(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    server.device("tablet", "alice").await;
    let pass = make(&server, json!({ "reason": "lost the phone" })).await;
    let first = repeated(&server, &pass).await;
    let again = repeated(&server, &pass).await;
    assert_eq!(
        (&first["status"], &again["replayed"]),
        (&json!("verified"), &json!(true))
    );
    // One that has come since changes nothing.
    server.device("watch", "alice").await;
    assert_eq!(repeated(&server, &pass).await["status"], "verified");
    server.deactivate("phone").await.data(200);
    let after = repeated(&server, &pass).await;
    assert_eq!(after, json!({ "status": "rejected", "replayed": true }));
}

async fn a_pass_of_somebody_without_a_factor_is_no_second_one(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    server.deactivate("phone").await.data(200);
    let pass = make(&server, json!({ "reason": "lost the phone" })).await;
    for _ in 0..2 {
        let answer = repeated(&server, &pass).await;
        let (_, claims) = check(text(&answer, "assertion"), &published(&server).await);
        assert_eq!(claims["amr"], json!(["pass"]));
        assert_eq!(claims["acr"], "urn:otpd:acr:pass");
    }
    server.device("tablet", "alice").await;
    let pass = make(&server, json!({ "reason": "lost it again" })).await;
    let body = json!({
        "user_id": "alice", "code": text(&pass, "pass"), "assertion": { "audience": "shop" },
    });
    let answer = server.post("/api/v1/recovery/verify", body).await.json(200);
    let (_, claims) = check(text(&answer, "assertion"), &published(&server).await);
    assert_eq!(claims["amr"], json!(["pass"]));
    assert_eq!(claims["acr"], "urn:otpd:acr:2fa");
}
