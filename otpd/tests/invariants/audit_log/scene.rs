//! A log of several chains, at rest, with a checkpoint kept elsewhere, and the SQL that tampers with it.

use std::path::PathBuf;

use crate::harness::devices::wrong_codes;
use crate::harness::{Database, Device, Engine, Node};

/// The columns of an event, its id apart.
pub(super) const COLUMNS: &str = "at, action, success, user_id, device_id, caller, request_id, detail, \
                       personal, personal_digest, salt, link, mac";

/// Event ids are the chain's number times this, plus the place.
pub(super) const CHAIN: i64 = 1 << 40;

/// A log of several chains, at rest, with a checkpoint kept elsewhere.
pub(super) struct Scene {
    pub(super) database: Database,
    pub(super) checkpoint: PathBuf,
    /// A chain in the middle of the history: its number and its name in hexadecimal.
    pub(super) chain: i64,
    pub(super) name: String,
    /// The number of its last event.
    pub(super) last: i64,
    /// The newest chain's number.
    pub(super) newest: i64,
}

impl Scene {
    pub(super) fn new(engine: Engine) -> Self {
        let database = Database::new(engine);
        // All attempts of one life in one chain.
        let node = Node::new(&database).with("OTPD_DATABASE__LANES", "1");
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

    pub(super) fn event(&self, place: i64) -> i64 {
        self.chain * CHAIN + place
    }

    pub(super) fn range(&self, chain: i64, after: i64) -> String {
        format!(
            "id > {} AND id < {}",
            chain * CHAIN + after,
            (chain + 1) * CHAIN
        )
    }

    /// Gives the head row the place that an attacker wants to be the last one.
    pub(super) fn move_head(&self, place: i64) -> String {
        let of = |column: &str| {
            let event = self.event(place);
            format!("(SELECT {column} FROM events WHERE id = {event})")
        };
        let (link, mac, chain) = (of("link"), of("mac"), self.chain);
        format!(
            "UPDATE chain_heads SET seq = {place}, link = {link}, mac = {mac} WHERE chain = {chain};"
        )
    }

    pub(super) fn cut_tail(&self, keep: i64) -> String {
        format!("DELETE FROM events WHERE {};", self.range(self.chain, keep))
    }

    /// Makes room at a place and fills it with a copy of the event before.
    pub(super) fn insert(&self, place: i64) -> String {
        let range = self.range(self.chain, place - 1);
        let (event, before) = (self.event(place), self.event(place - 1));
        format!(
            "UPDATE events SET id = -(id + 1) WHERE {range};
             UPDATE events SET id = -id WHERE id < 0;
             INSERT INTO events (id, {COLUMNS}) SELECT {event}, {COLUMNS} FROM events WHERE id = {before};"
        )
    }

    pub(super) fn swap(&self, one: i64, other: i64) -> String {
        let (one, other) = (self.event(one), self.event(other));
        format!(
            "UPDATE events SET id = -1 WHERE id = {one};
             UPDATE events SET id = {one} WHERE id = {other};
             UPDATE events SET id = {other} WHERE id = -1;"
        )
    }

    pub(super) fn delete_chain(&self, chain: i64) -> String {
        let range = self.range(chain, 0);
        format!(
            "DELETE FROM events WHERE {range};
             DELETE FROM chain_heads WHERE chain = {chain};
             DELETE FROM chains WHERE id = {chain};"
        )
    }
}
