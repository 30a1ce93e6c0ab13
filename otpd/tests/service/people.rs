//! People: listed, looked at, handed out, erased without a hole in the audit log.

use serde_json::json;

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    people_are_listed_newest_first_in_pages,
    a_person_is_shown_with_devices_and_never_a_secret,
    an_export_holds_everything_and_is_recorded,
    an_erased_person_is_gone_and_the_log_still_proves,
    a_name_used_again_is_another_person,
    no_kept_answer_outlives_an_erased_person,
    nobody_is_not_found,
}

async fn people_are_listed_newest_first_in_pages(engine: Engine) {
    let server = Server::start(engine).await;
    for name in ["alice", "bob", "carol"] {
        server.device(&format!("{name}-phone"), name).await;
    }
    let first = server.get("/api/v1/users?limit=2").await.json(200);
    assert_eq!(first["data"][0]["user_id"], "carol");
    assert_eq!(first["data"][1]["user_id"], "bob");
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/users?limit=2&cursor={cursor}");
    let second = server.get(&path).await.json(200);
    assert_eq!(second["data"][0]["user_id"], "alice");
    assert_eq!(second["next_cursor"], json!(null));
    let wrong = server.get("/api/v1/users?cursor=x").await;
    assert_eq!(wrong.faults(), ["?cursor"]);
}

async fn a_person_is_shown_with_devices_and_never_a_secret(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "Alice").await;
    server.fail(&device, 5).await;
    let answer = server.get("/api/v1/users/ALICE").await;
    let data = answer.data(200);
    assert_eq!(data["user_id"], "ALICE");
    assert_eq!(data["state"], "locked");
    assert_eq!(data["failed_attempts"], 5);
    assert_eq!(data["two_factor_enabled"], true);
    assert_eq!(data["methods"], json!(["otp"]));
    assert_eq!(data["devices"][0]["device_id"], "phone");
    assert!(data["locked_until"].is_string());
    let body = data.to_string();
    assert!(!body.contains("secret") && !body.contains("derived_key"));
}

async fn an_export_holds_everything_and_is_recorded(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    assert!(server.accepts(&device, &device.code(&server)).await);
    server.device("tablet", "bob").await;
    let answer = server.get("/api/v1/users/alice/export").await;
    let data = answer.data(200);
    assert_eq!(data["devices"].as_array().unwrap().len(), 1);
    let actions: Vec<&str> = data["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["OTP_VERIFICATION", "DEVICE_REGISTERED"]);
    assert_eq!(data["account"], json!(null));
    assert_eq!(data["mails"], json!([]));
    let told = server.get("/api/v1/audit?action=USER_EXPORTED").await;
    assert_eq!(told.json(200)["data"][0]["user_id"], "alice");
    server.request_code("dave@example.com").await.json(202);
    let path = "/api/v1/users/email:dave@example.com/export";
    let data = server.get(path).await.data(200);
    let mails = data["mails"].as_array().unwrap();
    assert_eq!(mails.len(), 1);
    assert_eq!(
        (&mails[0]["kind"], &mails[0]["tries"]),
        (&json!("code"), &json!(0))
    );
    assert_eq!(mails[0]["created_at"], mails[0]["next_try"]);
    assert_eq!(mails[0].as_object().unwrap().len(), 4);
}

async fn an_erased_person_is_gone_and_the_log_still_proves(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    assert!(server.accepts(&device, &device.code(&server)).await);
    let code = device.code_in(&server, 1);
    let answer = server.delete("/api/v1/users/alice").await;
    let data = answer.data(200);
    assert_eq!(data["erased"], true);
    assert_eq!(data["audit_records"], 2);
    server
        .get("/api/v1/users/alice")
        .await
        .problem(404, "user_not_found");
    server
        .get("/api/v1/devices/phone")
        .await
        .problem(404, "device_not_found");
    let body = json!({ "device_id": "phone", "otp": code });
    let late = server.post("/api/v1/otp/verify", body).await;
    late.problem(404, "device_not_found");
    let named = server.get("/api/v1/audit?user_id=alice").await.json(200);
    assert_eq!(named["data"], json!([]));
    let all = server.get("/api/v1/audit").await.json(200);
    assert!(!all.to_string().contains("alice"));
    let proved = server.post("/api/v1/audit/checkpoints", json!({})).await;
    assert_eq!(proved.status, 201, "the log proves");
    let again = server.delete("/api/v1/users/alice").await;
    again.problem(404, "user_not_found");
}

async fn a_name_used_again_is_another_person(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 5).await;
    server.delete("/api/v1/users/alice").await.data(200);
    let fresh = server.device("phone", "alice").await;
    assert_ne!(fresh.uri.secret.expose(), device.uri.secret.expose());
    assert!(server.accepts(&fresh, &fresh.code(&server)).await);
    let old = device.code_in(&server, 1);
    assert!(!server.accepts(&fresh, &old).await);
}

async fn nobody_is_not_found(engine: Engine) {
    let server = Server::start(engine).await;
    for path in ["/api/v1/users/nobody", "/api/v1/users/nobody/export"] {
        server.get(path).await.problem(404, "user_not_found");
    }
    let erased = server.delete("/api/v1/users/nobody").await;
    erased.problem(404, "user_not_found");
}

/// The name stands in no page, no log and no file any more; what is deleted is overwritten.
#[tokio::test]
async fn of_an_erased_person_no_byte_is_left() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("zaphodb").await;
    server.session(&person).await;
    let erased = server.delete("/api/v1/users/zaphodb").await;
    erased.json(200);
    assert!(!server.stored().holds("zaphodb"));
}

#[tokio::test]
async fn mails_to_an_erased_address_go_from_the_outbox() {
    let server = Server::start(Engine::Sqlite).await;
    let outbox = server.folder().join("otpd-data/outbox");
    let long = format!("{}@example.com", "d".repeat(60));
    for address in [
        "dave@example.com",
        "eve@example.com",
        &long,
        "ave@example.com",
    ] {
        server.request_code(address).await.json(202);
    }
    server.app.deliver_mails().await.unwrap();
    let mails = || std::fs::read_dir(&outbox).unwrap().count();
    assert_eq!(mails(), 4);
    for (address, left) in [("DAVE@example.com", 3), (long.as_str(), 2)] {
        let path = format!("/api/v1/users/email:{address}");
        server.delete(&path).await.json(200);
        assert_eq!(mails(), left, "{address}");
    }
    let left = server.mails().await;
    assert!(
        left.iter()
            .all(|mail| ["eve@example.com", "ave@example.com"].contains(&&*mail.to))
    );
}

/// Kept answers hold keys, codes and passes of the person: they go in the same commit.
async fn no_kept_answer_outlives_an_erased_person(engine: Engine) {
    let server = Server::start(engine).await;
    let enable = || {
        let body = json!({ "user_id": "alice" });
        server.post("/otp/enable", body).once("k")
    };
    let first = enable().await.json(201);
    assert_eq!(enable().await.json(201), first);
    let generate = || server.call("POST", "/generate?username=alice").once("k");
    let issued = generate().await.json(200);
    assert_eq!(generate().await.json(200), issued);
    let id = first["id"].as_str().unwrap();
    let path = format!("/api/v1/devices/{id}/deactivate");
    // The second answer is kept without a change.
    for key in ["k", "l"] {
        server.call("POST", &path).once(key).await.data(200);
    }
    server.delete("/api/v1/users/alice").await.data(200);
    generate().await.problem(404, "two_factor_not_enabled");
    for key in ["k", "l"] {
        let gone = server.call("POST", &path).once(key).await;
        gone.problem(404, "device_not_found");
    }
    let other = enable().await.json(201);
    assert_ne!(other["secret"], first["secret"]);
    assert_ne!(other["id"], first["id"]);
}
