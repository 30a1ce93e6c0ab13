//! I-8: whatever is changed in the audit log with SQL is found and located, given the last exported checkpoint.

use std::path::PathBuf;
use std::process::Output;

use crate::harness::devices::wrong_codes;
use crate::harness::{Database, Device, Engine, Node, on_both};

/// The columns of an event, its id apart.
const COLUMNS: &str = "at, action, success, user_id, device_id, caller, request_id, detail, \
                       personal, personal_digest, salt, link, mac";

/// Event ids are the chain's number times this, plus the place.
const CHAIN: i64 = 1 << 40;

/// A log of several chains, at rest, with a checkpoint kept elsewhere.
struct Scene {
    database: Database,
    checkpoint: PathBuf,
    /// A chain in the middle of the history: its number and its name in hexadecimal.
    chain: i64,
    name: String,
    /// The number of its last event.
    last: i64,
    /// The newest chain's number.
    newest: i64,
}

impl Scene {
    fn new(engine: Engine) -> Self {
        let database = Database::new(engine);
        let node = Node::new(&database);
        for life in 0..3 {
            let server = node.start();
            let mut admin = server.admin();
            let device = Device::hotp(&mut admin, &format!("d{life}"), "u");
            for (round, wrong) in wrong_codes(&[&device], 8).iter().enumerate() {
                assert!(device.accepts(&mut admin, &device.code(round as u64)));
                assert!(!device.accepts(&mut admin, wrong));
            }
            assert!(server.stop().success());
        }
        let output = node.run(&["audit", "checkpoint"]);
        assert!(output.status.success(), "{output:?}");
        let checkpoint = database.folder().join("checkpoint.json");
        std::fs::write(&checkpoint, &output.stdout).expect("a file");
        // The chain of the second life's attempts.
        let chains = format!(
            "SELECT id / {CHAIN} AS chain, COUNT(*) AS n FROM events GROUP BY 1
             HAVING COUNT(*) >= 16 ORDER BY 1"
        );
        let chains = database.query(&chains);
        assert_eq!(chains.len(), 3, "{chains:?}");
        let chain: i64 = chains[1][0]
            .as_ref()
            .expect("a number")
            .parse()
            .expect("a number");
        let name = database.value(&format!("SELECT name FROM chains WHERE id = {chain}"));
        let last = format!("SELECT seq FROM chain_heads WHERE chain = {chain}");
        Self {
            last: database.number(&last),
            newest: database.number("SELECT MAX(chain) FROM chain_heads WHERE seq > 0"),
            name: name.trim_start_matches("\\x").to_owned(),
            chain,
            checkpoint,
            database,
        }
    }

    fn event(&self, place: i64) -> i64 {
        self.chain * CHAIN + place
    }

    fn range(&self, chain: i64, after: i64) -> String {
        format!(
            "id > {} AND id < {}",
            chain * CHAIN + after,
            (chain + 1) * CHAIN
        )
    }

    /// Gives the head row the place that an attacker wants to be the last one.
    fn move_head(&self, place: i64) -> String {
        let of = |column: &str| {
            let event = self.event(place);
            format!("(SELECT {column} FROM events WHERE id = {event})")
        };
        let (link, mac, chain) = (of("link"), of("mac"), self.chain);
        format!(
            "UPDATE chain_heads SET seq = {place}, link = {link}, mac = {mac} WHERE chain = {chain};"
        )
    }

    fn cut_tail(&self, keep: i64) -> String {
        format!("DELETE FROM events WHERE {};", self.range(self.chain, keep))
    }

    /// Makes room at a place and fills it with a copy of the event before.
    fn insert(&self, place: i64) -> String {
        let range = self.range(self.chain, place - 1);
        let (event, before) = (self.event(place), self.event(place - 1));
        format!(
            "UPDATE events SET id = -(id + 1) WHERE {range};
             UPDATE events SET id = -id WHERE id < 0;
             INSERT INTO events (id, {COLUMNS}) SELECT {event}, {COLUMNS} FROM events WHERE id = {before};"
        )
    }

    fn swap(&self, one: i64, other: i64) -> String {
        let (one, other) = (self.event(one), self.event(other));
        format!(
            "UPDATE events SET id = -1 WHERE id = {one};
             UPDATE events SET id = {one} WHERE id = {other};
             UPDATE events SET id = {other} WHERE id = -1;"
        )
    }

    fn delete_chain(&self, chain: i64) -> String {
        let range = self.range(chain, 0);
        format!(
            "DELETE FROM events WHERE {range};
             DELETE FROM chain_heads WHERE chain = {chain};
             DELETE FROM chains WHERE id = {chain};"
        )
    }
}

/// One way to tamper and what must be said about it.
struct Tampering {
    what: String,
    sql: String,
    /// Without the exported checkpoint this one is not to be seen.
    needs_checkpoint: bool,
    /// Words that stand in one line of the report.
    says: Vec<String>,
}

fn tampering(what: &str, sql: String, says: &[&str]) -> Tampering {
    Tampering {
        what: what.to_owned(),
        sql,
        needs_checkpoint: false,
        says: says.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn with_checkpoint(what: &str, sql: String, says: &[&str]) -> Tampering {
    // Whoever hides something takes the checkpoints of the database along.
    Tampering {
        needs_checkpoint: true,
        ..tampering(what, format!("{sql} DELETE FROM checkpoints;"), says)
    }
}

/// Every column of an event, changed alone.
fn edits(scene: &Scene) -> Vec<Tampering> {
    let (event, other) = (scene.event(5), scene.event(8));
    let copied = |column| format!("{column} = (SELECT {column} FROM events WHERE id = {other})");
    let changes = [
        "at = at + 1".to_owned(),
        "action = 'DEVICE_DELETED'".to_owned(),
        "success = 1 - success".to_owned(),
        "user_id = user_id + 1".to_owned(),
        "user_id = NULL".to_owned(),
        "device_id = device_id + 1".to_owned(),
        "caller = 'key:somebody'".to_owned(),
        "request_id = 'another'".to_owned(),
        "detail = '{}'".to_owned(),
        "personal = '{}'".to_owned(),
        copied("salt"),
        copied("link"),
        copied("mac"),
    ];
    let place = format!("event={event}");
    changes
        .iter()
        .map(|change| {
            let sql = format!("UPDATE events SET {change} WHERE id = {event};");
            tampering(&format!("edit: {change}"), sql, &[&scene.name, &place])
        })
        .collect()
}

fn everything(scene: &Scene) -> Vec<Tampering> {
    let name = scene.name.as_str();
    let last = scene.last;
    let event = |place: i64| format!("event={}", scene.event(place));
    let seq = |place: i64| format!("seq={place} ");
    let delete = format!("DELETE FROM events WHERE id = {};", scene.event(6));
    let blank = format!(
        "UPDATE events SET personal = NULL, salt = NULL WHERE id = {};",
        scene.event(6)
    );
    let copy_last = format!(
        "INSERT INTO events (id, {COLUMNS}) SELECT id + 1, {COLUMNS} FROM events WHERE id = {};",
        scene.event(last)
    );
    let stray = format!(
        "INSERT INTO events (id, {COLUMNS}) SELECT {}, {COLUMNS} FROM events WHERE id = {};",
        99 * CHAIN + 1,
        scene.event(last)
    );
    let before = format!(
        "UPDATE chains SET before_seq = 1 WHERE id = {};",
        scene.chain
    );
    let no_head = format!("DELETE FROM chain_heads WHERE chain = {};", scene.chain);
    let cut_and_move = scene.cut_tail(7) + &scene.move_head(7);
    let mut all = edits(scene);
    all.extend([
        tampering("delete a row", delete, &[name, "missing", &seq(6)]),
        tampering("blank a person", blank, &[name, &event(6)]),
        tampering("insert in the middle", scene.insert(6), &[name, "inserted"]),
        tampering(
            "insert behind the end",
            copy_last,
            &[name, "inserted", &event(last + 1)],
        ),
        tampering("a row of no chain", stray, &["chain number 99"]),
        tampering(
            "swap two rows",
            scene.swap(4, 9),
            &[name, "reordered", &event(4)],
        ),
        tampering(
            "swap neighbours",
            scene.swap(6, 7),
            &[name, "reordered", &event(6)],
        ),
        tampering(
            "cut the tail",
            scene.cut_tail(7),
            &[name, "cut_tail", &seq(8)],
        ),
        tampering(
            "cut the last event",
            scene.cut_tail(last - 1),
            &[name, "cut_tail", &seq(last)],
        ),
        // A later chain names the end of this one.
        tampering(
            "cut the tail, move the head",
            cut_and_move,
            &[name, "cut_tail", &seq(8)],
        ),
        tampering(
            "delete a chain",
            scene.delete_chain(scene.chain),
            &[name, "vanished_chain"],
        ),
        tampering("rewrite a beginning", before, &[name]),
        tampering("delete a head row", no_head, &[name, "head_mismatch"]),
        tampering(
            "delete the checkpoints",
            "DELETE FROM checkpoints WHERE id = 1;".into(),
            &["bad_checkpoint"],
        ),
        with_checkpoint(
            "delete the newest chain",
            scene.delete_chain(scene.newest),
            &["vanished_chain"],
        ),
        with_checkpoint(
            "delete everything",
            "DELETE FROM events; DELETE FROM chain_heads; DELETE FROM chains;".into(),
            &[name, "vanished_chain"],
        ),
    ]);
    all
}

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
    let exported = admin.post("/api/v1/audit/checkpoints", &serde_json::json!({}));
    assert!(exported.status < 300, "{}", exported.text());
    let exported = exported.json();
    let data = exported.get("data").unwrap_or(&exported);
    let file = database.folder().join("checkpoint.json");
    std::fs::write(&file, data.to_string()).expect("a file");
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
    let output = verify(&database, &["--checkpoint", &file.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("cut_tail"), "{said}");
    assert!(said.contains(&format!("seq={} ", head - 1)), "{said}");
}

on_both!(newest_tail: i8_a_perfectly_cut_tail_is_found_by_the_checkpoint_on_sqlite, i8_a_perfectly_cut_tail_is_found_by_the_checkpoint_on_postgresql);
