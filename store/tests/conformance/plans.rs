//! The plans of what runs all the time: none reads a whole table, however large it is.

use crate::database::Database;
use crate::enrolled::enrol;
use crate::world::{World, until};

/// The lines of a plan. PostgreSQL reads a table as a whole as long as that is small, so
/// there it is told not to: then it does so only where no index serves.
async fn plan(database: &Database, sql: &str) -> Vec<String> {
    let sql = sql.replace("$1", "1").replace("$2", "2000");
    match database {
        Database::Sqlite(_) => {
            let rows = database.query(&format!("EXPLAIN QUERY PLAN {sql}")).await;
            rows.iter().map(|row| row[3].text().to_owned()).collect()
        }
        Database::Postgres(_) => {
            let client = database.connect().await;
            let avoid = "SET enable_seqscan = off";
            client.batch_execute(avoid).await.unwrap();
            let rows = client.query(&format!("EXPLAIN {sql}"), &[]).await;
            rows.unwrap().iter().map(|row| row.get(0)).collect()
        }
    }
}

pub async fn what_has_ended_is_found_by_an_index(world: World) {
    let store = world.store().await;
    let check = async |index: &str, sql: &str| {
        let plan = plan(&world.database, sql).await;
        let whole = |line: &String| line.starts_with("SCAN") || line.contains("Seq Scan");
        assert!(!plan.iter().any(whole), "{sql}\n{plan:#?}");
        assert!(
            plan.iter().any(|line| line.contains(index)),
            "{sql}\n{plan:#?}"
        );
    };
    for (index, sql) in store::sweeps() {
        check(index, sql).await;
    }
    store.close().await;
}

const LARGE: i64 = 5_000;
/// Tables that grow with the people and the years.
const GROWING: &str = "('device_hot', 'devices', 'events', 'guards', 'stats', 'users')";

/// How many rows and index entries of them were ever read, by sessions that are over.
async fn ever_read(database: &Database) -> i64 {
    until("the lanes have ended", async || {
        let lanes = "SELECT COUNT(1) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'otpd'";
        database.number(lanes).await == 0
    })
    .await;
    let sum = format!(
        "SELECT CAST((SELECT SUM(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN {GROWING})
           + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN {GROWING})
           AS BIGINT)"
    );
    database.number(&sum).await
}

/// The lanes' own statements with the lanes' own settings: the server counts what they read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_reads_a_few_rows_however_many_there_are_on_postgres() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    store.close().await;
    let (from, to) = (1_i64 << 50, (1_i64 << 50) + LARGE);
    for fill in [
        "users (id, name, created_at) SELECT i, 'user-' || i, 0",
        "guards (id, failures, days) SELECT i, 0, ''",
        "devices (id, user_id, name, owner, shown, kind, algorithm, digits, period, test,
           key_version, sealed, created_at)
         SELECT i, i, 'device-' || i, '', '\"\"', 'totp', 'SHA1', 6, 30, 0, 1, '', 0",
        "device_hot (id, next, used, drift_ms, replayed) SELECT i, 0, 0, 0, 0",
        "events (id, at, action, success, caller, request_id, detail, link, mac)
         SELECT i, 0, '', 0, '', '', '', '', ''",
        "stats (bucket, chain, accepted, rejected, locked, registered, deactivated)
         SELECT i, i, 0, 0, 0, 0, 0",
    ] {
        let fill = format!("INSERT INTO {fill} FROM generate_series({from}, {to}) AS s (i)");
        world.database.execute(&fill).await;
    }
    world.database.execute("ANALYZE").await;
    let before = ever_read(&world.database).await;
    let store = world.store().await;
    let wrong = alice.wrong_code(&store).await;
    for _ in 0..2 {
        alice.verify(&store, wrong).await.unwrap();
    }
    alice.spend(&store, 0).await;
    store.close().await;
    let read = ever_read(&world.database).await - before;
    assert!((1..LARGE / 10).contains(&read), "{read}");
}
