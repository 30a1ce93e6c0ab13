//! What every answer has, whatever was asked: headers, ids, the problem document, bounds of a request.

use serde_json::{Value, json};

use crate::answer::{Answer, shown};
use crate::database::Engine;
use crate::harness::Server;

const REGISTER: &str = "/api/v1/devices/register";

/// One answer of each kind that needs no luck.
async fn all_kinds(server: &Server) -> Vec<(&'static str, Answer)> {
    let device = json!({ "device_id": "phone", "user_id": "alice" });
    vec![
        ("200", server.get("/api/v1/devices").await),
        ("201", server.post(REGISTER, device.clone()).await),
        ("400", server.post_raw(REGISTER, "{").await),
        ("401", server.get("/api/v1/devices").anonymous().await),
        ("404 of a device", server.get("/api/v1/devices/none").await),
        ("404 of a path", server.get("/api/v1/nothing").await),
        ("404 outside", server.get("/nothing").anonymous().await),
        ("405", server.call("PUT", "/api/v1/devices").await),
        ("409", server.post(REGISTER, device).await),
        ("413", server.post_raw(REGISTER, vec![b' '; 16_385]).await),
        ("422", server.post(REGISTER, json!({})).await),
        ("health", server.get("/health").anonymous().await),
        ("metrics", server.get("/metrics").await),
        ("openapi", server.get("/openapi.json").anonymous().await),
        ("docs", server.get("/docs").anonymous().await),
    ]
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_neither_stored_nor_sniffed() {
    let server = Server::start(Engine::Sqlite).await;
    let mut ids = Vec::new();
    for (kind, answer) in all_kinds(&server).await {
        let id = answer
            .header("x-request-id")
            .unwrap_or_else(|| panic!("{kind}: no id"));
        assert!((16..=64).contains(&id.len()), "{kind}: {id}");
        ids.push(id.to_owned());
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{kind}"
        );
        if !["openapi", "docs"].contains(&kind) {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{kind}");
        }
        assert!(answer.header("content-type").is_some(), "{kind}");
        assert_eq!(answer.header("server"), None, "{kind}");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each request has its own");
}

#[tokio::test]
async fn a_fit_id_of_the_caller_is_kept_in_every_kind_of_answer() {
    let server = Server::start(Engine::Sqlite).await;
    let longest = "x".repeat(64);
    let calls = [
        server.get("/api/v1/devices"),
        server.get("/api/v1/devices/none"),
        server.get("/nothing").anonymous(),
        server.get("/api/v1/devices").anonymous(),
        server.call("PATCH", "/api/v1/devices"),
        server.post_raw(REGISTER, vec![b' '; 16_385]),
        server.post_raw(REGISTER, "{"),
        server.get("/health").anonymous(),
    ];
    for call in calls {
        let answer = call.header("x-request-id", &longest).await;
        assert_eq!(answer.header("x-request-id"), Some(longest.as_str()));
        if answer.status >= 400 {
            assert_eq!(answer.json(answer.status)["request_id"], longest);
        }
    }
    let too_long = "x".repeat(65);
    for unfit in ["", "a b", "a\"b", "a/b", "ä", "<script>", &too_long] {
        let answer = server.get("/health").header("x-request-id", unfit).await;
        assert_ne!(answer.header("x-request-id"), Some(unfit), "{unfit}");
    }
}

#[tokio::test]
async fn a_problem_has_its_members_and_under_the_api_those_of_old_clients_too() {
    let server = Server::start(Engine::Sqlite).await;
    let inside = server.get("/api/v1/nothing").await;
    insta::assert_json_snapshot!(shown(inside.problem(404, "not_found")), @r#"
    {
      "code": "not_found",
      "detail": "There is nothing at this path.",
      "message": "There is nothing at this path.",
      "request_id": "[request_id]",
      "status": 404,
      "success": false,
      "title": "Not found",
      "type": "urn:otpd:error:not_found"
    }
    "#);
    let outside = server.get("/nothing").await;
    insta::assert_json_snapshot!(shown(outside.problem(404, "not_found")), @r#"
    {
      "code": "not_found",
      "detail": "There is nothing at this path.",
      "request_id": "[request_id]",
      "status": 404,
      "title": "Not found",
      "type": "urn:otpd:error:not_found"
    }
    "#);
    for (kind, answer) in all_kinds(&server).await {
        if answer.status >= 400 && kind != "404 outside" {
            let body = answer.json(answer.status);
            assert_eq!(body["success"], false, "{kind}");
            assert_eq!(body["message"], body["detail"], "{kind}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start(Engine::Sqlite).await;
    let cases = [
        ("PUT", "/api/v1/devices", &["GET"][..]),
        ("POST", "/api/v1/devices/phone", &["GET", "DELETE"][..]),
        ("DELETE", "/api/v1/otp/verify", &["POST"][..]),
        ("GET", "/api/v1/otp/verify", &["POST"][..]),
        ("POST", "/health", &["GET"][..]),
    ];
    for (method, path, allowed) in cases {
        let answer = server.call(method, path).await;
        answer.problem(405, "method_not_allowed");
        let allow = answer.header("allow").unwrap_or_default();
        for name in allowed {
            assert!(
                allow.split(',').any(|word| word.trim() == *name),
                "{path}: {allow}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_has_its_bound() {
    let server = Server::start(Engine::Sqlite).await;
    let body = json!({ "device_id": "phone", "user_id": "alice" }).to_string();
    // Exactly 16 KiB, by white space before the object.
    let fitting = format!("{body:>16384}");
    assert_eq!(fitting.len(), 16_384);
    server.post_raw(REGISTER, fitting).await.data(201);
    let answer = server.post_raw(REGISTER, format!("{body:>16385}")).await;
    let problem = answer.problem(413, "body_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("16 KiB"));
    // Announced, but not sent.
    let call = server
        .post_raw(REGISTER, "")
        .header("content-length", "99999999");
    call.await.problem(413, "body_too_large");
}

#[tokio::test]
async fn json_has_its_depth() {
    let server = Server::start(Engine::Sqlite).await;
    let deep = format!("{{\"device_id\":{}", "[".repeat(15_000));
    server
        .post_raw(REGISTER, deep)
        .await
        .problem(400, "invalid_json");
    let closed = format!("{{\"device_id\":{}{}}}", "[".repeat(8000), "]".repeat(8000));
    let answer = server.post_raw(REGISTER, closed).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
}

#[tokio::test]
async fn a_flood_of_made_up_members_gets_a_short_answer() {
    let server = Server::start(Engine::Sqlite).await;
    let members: Vec<String> = (0..1300).map(|number| format!("\"m{number}\":1")).collect();
    let body = format!("{{{}}}", members.join(","));
    assert!(body.len() < 16_384);
    let answer = server.post_raw(REGISTER, body).await;
    assert!(answer.faults().len() <= 100);
}

#[tokio::test]
async fn a_call_that_takes_no_body_takes_an_empty_one() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let path = "/api/v1/devices/phone/deactivate";
    server.post_raw(path, "").await.data(200);
    server
        .post_raw(path, "")
        .without("content-type")
        .await
        .data(200);
    server.post_raw(path, "{}").await.data(200);
    assert_eq!(
        server.post(path, json!({ "reason": "x" })).await.faults(),
        ["/reason"]
    );
}

#[tokio::test]
async fn a_part_of_the_path_is_checked_like_a_member() {
    let server = Server::start(Engine::Sqlite).await;
    let long = "x".repeat(129);
    for id in ["a%20b", "%C3%A4", "%ff", "a%2Fb", &long] {
        let answer = server.get(&format!("/api/v1/devices/{id}")).await;
        assert_eq!(answer.faults(), ["{device_id}"], "{id}");
    }
    server.device("a.b_c:d@e-f", "alice").await;
    assert_eq!(
        server.look("a.b_c%3Ad%40e-f").await["device_id"],
        "a.b_c:d@e-f"
    );
}

#[tokio::test]
async fn causes_are_told_in_debug_mode_alone() {
    for (variables, told) in [
        (&[("DEBUG", "true")][..], true),
        (&[][..], false),
        (
            &[("DEBUG", "true"), ("ENVIRONMENT", "production")][..],
            false,
        ),
    ] {
        let server = Server::with(Engine::Sqlite, variables).await;
        server.device("phone", "alice").await;
        // Without its database a server can do nothing, and says why only to developers.
        server.app.close().await;
        let body = json!({ "device_id": "phone", "otp": "123456" });
        let answer = server.post("/api/v1/otp/verify", body).await;
        let problem = answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(problem.get("debug").is_some(), told, "{problem}");
    }
}

#[tokio::test]
async fn a_parameter_is_given_once() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get("/api/v1/devices?limit=5&limit=6").await;
    assert_eq!(answer.faults(), ["?limit"]);
    let listed = server.get("/api/v1/devices?").await.json(200);
    assert_eq!(listed, json!({ "data": [], "next_cursor": Value::Null }));
}
