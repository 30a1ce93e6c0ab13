//! A log to be tampered with, and what the proofs say of it afterwards.

use domain::checkpoint::{Checkpoint, hex};

use super::super::{Finding, verify_links_only};
use super::FindingKind::{BadMac, HeadMismatch};
use super::*;

/// A stopped server with three chains of 10, 13 and 4 events, and its last checkpoint.
pub(super) struct Sample {
    world: World,
    checkpoint: Checkpoint,
    names: Vec<String>,
}

impl Sample {
    pub(super) async fn new() -> Self {
        let mut world = World::new(1).await;
        let mut checkpoint = None;
        for (chain, count) in [(1, 10), (2, 13), (3, 4)] {
            if chain > 1 {
                world = world.restart().await;
            }
            for number in 0..count {
                world.wait(1000);
                world.record(verification(number, number % 2 == 0)).await;
            }
            checkpoint = Some(world.app.checkpoint().await.unwrap());
        }
        world.app.close().await;
        let names = {
            let connection = world.intruder();
            let mut query = connection
                .prepare("SELECT name FROM chains ORDER BY id")
                .unwrap();
            let names = query
                .query_map([], |row| row.get::<_, [u8; 16]>(0))
                .unwrap();
            names.map(|name| hex(&name.unwrap())).collect()
        };
        Self {
            world,
            checkpoint: checkpoint.unwrap(),
            names,
        }
    }

    /// A copy of the database, changed, and what the proofs say of it: with and without
    /// the exported checkpoint, and without keys but with the checkpoint.
    pub(super) async fn tamper(&self, change: impl FnOnce(&Connection)) -> [AuditReport; 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.db");
        std::fs::copy(self.world.path(), &path).unwrap();
        let connection = intruder(&path);
        change(&connection);
        connection.close().unwrap();
        let store = open(&path, Access::Read, &self.world.clock).await;
        let random = self.world.random.clone();
        let (room, _) = Room::open(&store, vec![secret()], random).await.unwrap();
        let exported = AuditOptions {
            checkpoint: Some(self.checkpoint.clone()),
            public_key: None,
        };
        let alone = AuditOptions::default();
        [
            verify(&store, &room, &exported).await.unwrap(),
            verify(&store, &room, &alone).await.unwrap(),
            verify_links_only(&store, &exported).await.unwrap().unwrap(),
        ]
    }

    /// Chain (from 1; 0 for none), kind and place of each finding.
    pub(super) fn places(&self, report: &AuditReport) -> Vec<(usize, FindingKind, i64)> {
        let number = |f: &Finding| {
            let name = f.chain.as_ref();
            name.map_or(0, |name| {
                self.names
                    .iter()
                    .position(|n| n == name)
                    .map_or(99, |p| p + 1)
            })
        };
        let place = |f: &Finding| (number(f), f.kind, f.seq.unwrap_or(-1));
        report.findings.iter().map(place).collect()
    }

    /// The intruder has no key and no other checkpoint than those in the database.
    #[track_caller]
    pub(super) fn check<'a>(
        &'a self,
        sql: &'a str,
        expected: &'a [(usize, FindingKind, i64)],
    ) -> impl Future<Output = ()> + 'a {
        let sql = sql.replace('#', "(1 << 40) | ");
        async move {
            let [full, alone, links] = self.tamper(|db| db.execute_batch(&sql).unwrap()).await;
            assert_eq!(self.places(&full), expected, "{sql}\n{full:#?}");
            assert!(
                !alone.holds(),
                "not found without the exported checkpoint: {sql}"
            );
            let by_mac = [BadMac, HeadMismatch];
            if !expected.iter().all(|(_, kind, _)| by_mac.contains(kind)) {
                assert!(!links.holds(), "not found without keys: {sql}");
            }
        }
    }
}
