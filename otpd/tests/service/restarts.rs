//! What a restart must not change, and what another master secret may.

use otpd::wiring;
use serde_json::{Value, json};

use crate::answer::text;
use crate::database::Engine;
use crate::harness::{ADMIN, MASTER, Server};
use crate::on_both_engines;

on_both_engines! {
    a_restart_forgets_nothing,
    the_master_secret_is_changed_and_devices_go_on_working,
    a_wrong_master_secret_opens_nothing,
}

const NEXT: &str = "the-next-master-secret-of-these-tests-01234";

async fn a_restart_forgets_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    let key = server.key(&["devices:read"]).await;
    let revoked = server.key(&["devices:read"]).await;
    let path = format!("/api/v1/keys/{}", text(&revoked, "id"));
    server.delete(&path).await.json(200);
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    let device = server.device_with(body).await;
    let locked = server.device("locked", "bob").await;
    let wrong = json!({ "device_id": "token", "otp": device.wrong(&server) });
    let first = server
        .post("/api/v1/otp/verify", wrong.clone())
        .once("k")
        .await;
    first.data(200);
    assert!(server.accepts(&device, &device.at(3)).await);
    server.fail(&locked, 5).await;
    let seen = server.get("/api/v1/devices").await.json(200);
    let events = server.get("/api/v1/audit").await.json(200);

    let server = server.restart(&[]).await.unwrap();
    let devices = server.get("/api/v1/devices");
    assert_eq!(devices.key(text(&key, "key")).await.json(200), seen);
    let devices = server.get("/api/v1/devices");
    devices
        .key(text(&revoked, "key"))
        .await
        .problem(401, "unauthenticated");
    assert!(
        !server.accepts(&device, &device.at(3)).await,
        "a spent code stays spent"
    );
    let data = server.verify(&locked, &locked.code(&server)).await;
    assert_eq!(data["reason"], "locked", "a lock stays");
    let again = server.post("/api/v1/otp/verify", wrong).once("k").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert!(
        server.accepts(&device, &device.at(4)).await,
        "keys can be opened"
    );
    let before = events["data"].as_array().unwrap();
    let after = server.get("/api/v1/audit?limit=200").await.json(200);
    let after = after["data"].as_array().unwrap();
    assert_eq!(
        after[after.len() - before.len()..],
        before[..],
        "the log goes on"
    );
}

async fn the_master_secret_is_changed_and_devices_go_on_working(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    let device = server.device_with(body).await;
    let place = server.end().await;
    let both = [("MASTER_SECRET", NEXT), ("MASTER_SECRET_PREVIOUS", MASTER)];
    // As `otpd migrate` does it.
    let (settings, around) = (place.settings(&both), place.surroundings(3));
    let opened = wiring::open_alone(&settings, &around).await.unwrap();
    let app = wiring::start(&settings, opened, &around).await.unwrap();
    assert!(app.reseal().await.unwrap() >= 1);
    assert_eq!(app.reseal().await.unwrap(), 0);
    app.close().await;
    drop(app);

    let server = Server::open(place, 4, &[("MASTER_SECRET", NEXT)])
        .await
        .unwrap();
    assert!(
        server.accepts(&device, &device.at(0)).await,
        "enrolled apps go on working"
    );
    let path = "/api/v1/audit?action=MASTER_SECRET_CHANGED";
    let events = server.get(path).await.json(200);
    let events = events["data"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["additional_data"], json!({ "version": 2 }));
    let refused = server.restart(&[]).await;
    assert!(refused.is_err(), "the old one alone opens nothing any more");
}

async fn a_wrong_master_secret_opens_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let place = server.end().await;
    let settings = place.settings(&[("MASTER_SECRET", NEXT)]);
    let refused = wiring::open(&settings, &place.surroundings(3)).await;
    let Err(error) = refused else {
        panic!("opened");
    };
    let sentence = error.to_string();
    assert!(
        sentence.contains("does not belong to this database"),
        "{sentence}"
    );
    assert!(!sentence.contains(NEXT) && !sentence.contains(MASTER));
    let server = Server::open(place, 4, &[]).await.unwrap();
    assert_eq!(
        server.look("phone").await["status"],
        "active",
        "no harm was done"
    );
}

#[tokio::test]
async fn a_shared_database_takes_a_new_master_secret_only_while_all_others_are_stopped() {
    let server = Server::start(Engine::Postgres).await;
    let both = [("MASTER_SECRET", NEXT), ("MASTER_SECRET_PREVIOUS", MASTER)];
    let Err(error) = server.restart(&both).await else {
        panic!("a node took it into use by itself");
    };
    assert!(error.to_string().contains("otpd migrate"), "{error}");
}

#[tokio::test]
async fn the_environment_key_may_change_and_the_old_one_dies() {
    let server = Server::start(Engine::Sqlite).await;
    server.get("/api/v1/keys").await.json(200);
    let other = "another-key-0123456789-0123456789-0123456789";
    let server = server.restart(&[("API_KEY", other)]).await.unwrap();
    let keys = |key: &str| server.get("/api/v1/keys").key(key).into_future();
    keys(ADMIN).await.problem(401, "unauthenticated");
    let listed = keys(other).await.json(200);
    assert_eq!(listed["data"][0]["id"], "env");
    assert_eq!(listed["next_cursor"], Value::Null);
}
