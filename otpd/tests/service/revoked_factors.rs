//! What ends with a factor: sessions that it opened, enrolments that they began, answers that would be repeated.

use serde_json::json;

use crate::account::PASSWORD;
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_session_ends_with_any_factor_of_its_owner,
    no_session_outlives_the_factor_that_opened_it,
    two_logouts_at_once_are_one,
    a_factor_confirmed_by_a_caller_ends_other_sessions_too,
    an_enrolment_ends_with_the_session_that_began_it,
    a_password_alone_shows_no_second_factor_beside_one_in_force,
    an_issued_code_is_not_vouched_for_again_after_the_last_factor,
    nobody_signs_up_as_root,
}

async fn a_session_ends_with_any_factor_of_its_owner(engine: Engine) {
    let server = Server::start(engine).await;
    for end in ["deactivate", "delete"] {
        let person = server.person(&format!("alice-{end}")).await;
        let session = server.session(&person).await;
        assert!(server.is_active(&session).await);
        let path = format!("/api/v1/devices?user_id=alice-{end}");
        let devices = server.get(&path).await.json(200);
        let id = devices["data"][0]["device_id"].as_str().unwrap();
        match end {
            "delete" => drop(
                server
                    .delete(&format!("/api/v1/devices/{id}"))
                    .await
                    .data(200),
            ),
            _ => drop(server.deactivate(id).await.data(200)),
        }
        assert!(!server.is_active(&session).await, "{end}");
        let body = json!({ "password": PASSWORD });
        let planted = server.with_token("/enable-mfa", body, &session).await;
        planted.problem(401, "unauthenticated");
    }
}

/// The factor ends while the second step is on its way: whatever comes first, no session
/// is alive afterwards.
async fn no_session_outlives_the_factor_that_opened_it(engine: Engine) {
    let server = Server::start(engine).await;
    for round in 0..12 {
        let name = format!("alice-{round}");
        let person = server.person(&name).await;
        let devices = server.get(&format!("/api/v1/devices?user_id={name}")).await;
        let devices = devices.json(200);
        let id = devices["data"][0]["device_id"].as_str().unwrap().to_owned();
        let login = server.waiting(&name).await;
        let code = person.code(&server);
        let path = format!("/api/v1/devices/{id}/deactivate");
        let off = json!({ "username": name, "password": PASSWORD, "token": person.recovery[0] });
        let end = match round % 3 {
            0 => server.post(&path, json!({})),
            1 => server.public("/disable-mfa", off),
            _ => server.delete(&format!("/api/v1/users/{name}")),
        };
        let step = server.second_step(&name, &code, &login);
        let answers = together([step, end]).await;
        assert_eq!(answers[1].status, 200, "{}", answers[1].request);
        if answers[0].status == 200 {
            let session = answers[0].json(200)["access_token"].clone();
            assert!(
                !server.is_active(session.as_str().unwrap()).await,
                "{round}"
            );
        }
    }
}

async fn two_logouts_at_once_are_one(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let out = || server.post("/auth/logout", json!({})).key(&session);
    let answers = together((0..6).map(|_| out())).await;
    let done = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(done.count(), 1);
    let actions = server.actions("alice").await;
    let told = actions.iter().filter(|(action, _)| action == "LOGGED_OUT");
    assert_eq!(told.count(), 1);
}

async fn a_factor_confirmed_by_a_caller_ends_other_sessions_too(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let other = server.plain_session("alice").await;
    let session = server.plain_session("alice").await;
    let body = json!({ "password": PASSWORD });
    let enrolled = server.with_token("/enable-mfa", body, &session).await;
    let enrolled = enrolled.json(201);
    let device = Device::from_uri(enrolled["provisioning_uri"].as_str().unwrap());
    let devices = server.get("/api/v1/devices?user_id=alice").await.json(200);
    let id = devices["data"][0]["device_id"].as_str().unwrap();
    let path = format!("/api/v1/devices/{id}/confirm");
    let wrong = server.post(&path, json!({ "otp": "000000" })).await;
    assert_eq!(wrong.data(200)["valid"], false);
    assert!(server.is_active(&other).await);
    let body = json!({ "otp": device.code(&server) });
    let confirmed = server.post(&path, body).await;
    assert_eq!(confirmed.data(200)["valid"], true);
    assert!(server.is_active(&session).await);
    assert!(!server.is_active(&other).await);
    let token = enrolled["enrollment_token"].as_str().unwrap();
    let shown = server.with_token("/qrcode/alice", json!({}), token).await;
    shown.problem(409, "mfa_not_pending");
}

/// Logged out while the first code is on its way: the factor came first, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_is_not_confirmed_after_its_session_has_ended() {
    let server = Server::start(Engine::Sqlite).await;
    for round in 0..12 {
        let name = format!("alice-{round}");
        server.sign_up(&name, false).await;
        let session = server.plain_session(&name).await;
        let body = json!({ "password": PASSWORD });
        let enrolled = server.with_token("/enable-mfa", body, &session).await;
        let enrolled = enrolled.json(201);
        let device = Device::from_uri(enrolled["provisioning_uri"].as_str().unwrap());
        let token = enrolled["enrollment_token"].as_str().unwrap();
        let body = json!({ "token": device.code(&server) });
        let confirm = server.post("/enable-mfa/confirm", body).key(token);
        let out = server.post("/auth/logout", json!({})).key(&session);
        let answers = together([confirm, out]).await;
        assert_eq!(answers[1].status, 200);
        let actions = server.actions(&name).await;
        let place = |name: &str| actions.iter().position(|(action, _)| action == name);
        let out = place("LOGGED_OUT").unwrap();
        match place("DEVICE_CONFIRMED") {
            Some(confirmed) => assert!(confirmed > out, "{actions:?}"),
            None => drop(answers[0].problem(401, "unauthenticated")),
        }
    }
}

async fn an_enrolment_ends_with_the_session_that_began_it(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let body = json!({ "password": PASSWORD });
    let enrolled = server.with_token("/enable-mfa", body, &session).await;
    let enrolled = enrolled.json(201);
    let device = Device::from_uri(enrolled["provisioning_uri"].as_str().unwrap());
    let token = enrolled["enrollment_token"].as_str().unwrap();
    let out = server.with_token("/auth/logout", json!({}), &session).await;
    out.json(200);
    let devices = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(
        devices["data"],
        json!([]),
        "the pending device has gone with it"
    );
    let body = json!({ "token": device.code(&server) });
    let late = server.with_token("/enable-mfa/confirm", body, token).await;
    late.problem(401, "unauthenticated");
}

async fn a_password_alone_shows_no_second_factor_beside_one_in_force(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let session = server.session(&person).await;
    let body = json!({ "password": PASSWORD });
    let enrolled = server
        .with_token("/enable-mfa", body.clone(), &session)
        .await;
    let enrolled = enrolled.json(201);
    let by_password = server.public("/qrcode/alice", body).await;
    by_password.problem(409, "mfa_not_pending");
    let token = enrolled["enrollment_token"].as_str().unwrap();
    let by_token = server.with_token("/qrcode/alice", json!({}), token).await;
    assert_eq!(by_token.status, 200);
}

async fn an_issued_code_is_not_vouched_for_again_after_the_last_factor(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let issued = server.post("/generate?username=alice", json!({})).await;
    let body = json!({ "username": "alice", "otp_code": issued.json(200)["otp_code"] });
    let send = || server.post("/verify", body.clone()).once("k");
    assert_eq!(send().await.json(200)["success"], true);
    assert_eq!(send().await.json(200)["replayed"], true);
    server.deactivate("phone").await.data(200);
    let after = send().await;
    after.problem(401, "invalid_otp");
}

async fn nobody_signs_up_as_root(engine: Engine) {
    let server = Server::start(engine).await;
    for name in ["root", "ROOT"] {
        let body = json!({ "username": name, "password": PASSWORD, "enable_mfa": false });
        let answer = server.public("/signup", body).await;
        answer.problem(409, "user_exists");
    }
}
