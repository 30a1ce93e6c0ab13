//! I-8: whatever is changed in the audit log with SQL is found and located, given the last exported checkpoint.

mod scene;
mod tampering;

use std::process::Output;

use scene::{CHAIN, Scene};
use tampering::{Tampering, everything};

use crate::harness::{Client, Database, Device, Engine, Node, on_both};

fn verify(database: &Database, arguments: &[&str]) -> Output {
    let words = [&["audit", "verify"], arguments].concat();
    Node::new(database).run(&words)
}

fn check(scene: &Scene, tampering: &Tampering) {
    let copy = scene.database.copy();
    copy.query(&tampering.sql);
    let what = tampering.what.as_str();
    let file = scene.checkpoint.display().to_string();
    let with_checkpoint = ["--checkpoint", file.as_str()];
    let mut runs: Vec<&[&str]> = vec![&with_checkpoint];
    if !tampering.needs_checkpoint {
        runs.push(&[]);
    }
    for arguments in runs {
        let output = verify(&copy, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{what}: not found: {said}");
        let located = said.lines().any(|line| {
            tampering
                .says
                .iter()
                .all(|word| line.contains(word.as_str()))
        });
        assert!(
            located,
            "{what}: no line with {:?} in\n{said}{output:?}",
            tampering.says
        );
    }
}

fn tampered(engine: Engine) {
    let scene = Scene::new(engine);
    let file = scene.checkpoint.display().to_string();
    for arguments in [&[][..], &["--links-only"], &["--checkpoint", &file]] {
        let output = verify(&scene.database, arguments);
        assert!(output.status.success(), "untouched: {output:?}");
    }
    for tampering in everything(&scene) {
        check(&scene, &tampering);
    }
}

on_both!(tampered: i8_every_change_of_the_log_is_found_on_sqlite, i8_every_change_of_the_log_is_found_on_postgresql);

/// Links alone show edits to somebody who does not have the master secret.
#[test]
fn i8_links_alone_show_an_edit() {
    let scene = Scene::new(Engine::Sqlite);
    let event = scene.event(5);
    let copy = scene.database.copy();
    copy.query(&format!(
        "UPDATE events SET success = 1 - success WHERE id = {event}"
    ));
    let node = Node::new(&copy).without("MASTER_SECRET");
    let output = node.run(&["audit", "verify", "--links-only"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(&format!("event={event}")), "{said}");
}

/// Has the server export a checkpoint, and keeps it beside the database; its path.
pub(crate) fn export_checkpoint(admin: &mut Client, database: &Database) -> String {
    let exported = admin.post("/api/v1/audit/checkpoints", &serde_json::json!({}));
    assert!(exported.status < 300, "{}", exported.text());
    let exported = exported.json();
    let data = exported.get("data").unwrap_or(&exported);
    let file = database.folder().join("checkpoint.json");
    std::fs::write(&file, data.to_string()).expect("a file");
    file.display().to_string()
}

/// The newest chain's tail has no later chain to vouch for it: the checkpoint does.
fn newest_tail(engine: Engine) {
    let database = Database::new(engine);
    let node = Node::new(&database);
    let server = node.start();
    let mut admin = server.admin();
    let device = Device::hotp(&mut admin, "d", "u");
    for counter in 0..5 {
        assert!(device.accepts(&mut admin, &device.code(counter)));
    }
    let file = export_checkpoint(&mut admin, &database);
    drop(server);
    let chain = database.number(&format!(
        "SELECT id / {CHAIN} FROM events WHERE action = 'OTP_VERIFICATION' LIMIT 1"
    ));
    let head = database.number(&format!(
        "SELECT seq FROM chain_heads WHERE chain = {chain}"
    ));
    let keep = chain * CHAIN + head - 2;
    database.query(&format!(
        "UPDATE chain_heads SET seq = {},
           link = (SELECT link FROM events WHERE id = {keep}),
           mac = (SELECT mac FROM events WHERE id = {keep})
         WHERE chain = {chain};
         DELETE FROM events WHERE id > {keep} AND id < {};
         DELETE FROM checkpoints;",
        head - 2,
        (chain + 1) * CHAIN
    ));
    let output = verify(&database, &["--checkpoint", &file]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("cut_tail"), "{said}");
    assert!(said.contains(&format!("seq={} ", head - 1)), "{said}");
}

on_both!(newest_tail: i8_a_perfectly_cut_tail_is_found_by_the_checkpoint_on_sqlite, i8_a_perfectly_cut_tail_is_found_by_the_checkpoint_on_postgresql);
