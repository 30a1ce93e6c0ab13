//! A database that has forgotten what it confirmed: lanes say so, begin anew, and serve again by themselves.

use std::sync::Arc;

use store::{Batch, Store, StoreError};

use crate::database::Database;
use crate::enrolled::{enrol, is_accepted};
use crate::world::{World, until};

const OURS: &str = "FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'otpd' AND pid <> pg_backend_pid()";

/// What a standby has that lags.
async fn keep_a_copy(database: &Database) {
    database
        .execute("CREATE TABLE old_heads AS SELECT * FROM chain_heads")
        .await;
}

/// That standby is promoted: all connections end, and what came after the copy is gone.
async fn go_back(database: &Database) {
    database
        .execute(
            "UPDATE chain_heads h SET seq = o.seq, link = o.link, mac = o.mac, at = o.at
               FROM old_heads o WHERE o.chain = h.chain;
             DELETE FROM events e USING chain_heads h
               WHERE e.id >> 40 = h.chain AND (e.id & ((CAST(1 AS BIGINT) << 40) - 1)) > h.seq",
        )
        .await;
    cut(database).await;
}

async fn cut(database: &Database) {
    let end = format!("SELECT COUNT(pg_terminate_backend(pid)) {OURS}");
    assert!(database.number(&end).await >= 3);
}

async fn healthy(store: &Arc<Store>) {
    until("batches are taken and all is well", async || {
        store.commit(Batch::new()).await.is_ok() && store.ping().await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_events_are_gone_begins_a_chain_and_serves() {
    let world = World::postgres().await;
    let store = world.store().await;
    let people = [
        enrol(&store, "alice", "phone").await,
        enrol(&store, "bob", "phone-2").await,
        enrol(&store, "carol", "phone-3").await,
    ];
    keep_a_copy(&world.database).await;
    people[0].spend(&store, -1).await;
    let newest = "SELECT MAX(id) FROM chains";
    let before = world.database.number(newest).await;
    assert_eq!(store.broken_chains(), 0);
    let mut codes = Vec::new();
    for who in &people {
        codes.push(who.code(&store, 0).await);
    }
    go_back(&world.database).await;
    for (who, code) in people.iter().zip(codes) {
        assert!(is_accepted(&who.once_back(&store, code).await));
    }
    healthy(&store).await;
    // Only what is missing something is begun anew, and it says after which one.
    assert_eq!(store.broken_chains(), 1);
    assert_eq!(world.database.number(newest).await, before + 1);
    let named = "SELECT COUNT(1) FROM chains c JOIN chains b ON b.name = c.before_name
                 WHERE b.id = c.id - 1";
    assert_eq!(world.database.number(named).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lane_of_batches_begins_a_chain_too() {
    let world = World::postgres().await;
    let store = world.store().await;
    keep_a_copy(&world.database).await;
    let alice = enrol(&store, "alice", "phone").await;
    let now = store.now().await.unwrap();
    go_back(&world.database).await;
    healthy(&store).await;
    assert_eq!(store.broken_chains(), 1);
    store.commit(alice.deactivation(now)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_that_are_gone_altogether_are_replaced() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let code = alice.code(&store, 0).await;
    world
        .database
        .execute("DELETE FROM events; DELETE FROM chain_heads; DELETE FROM chains")
        .await;
    cut(&world.database).await;
    assert!(is_accepted(&alice.once_back(&store, code).await));
    healthy(&store).await;
    until("all three have begun anew", async || {
        store.broken_chains() == 3
    })
    .await;
}

/// Nothing tells the lane that it reaches another database: its head does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_somebody_else_moved_is_not_continued() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    world
        .database
        .execute("UPDATE chain_heads SET seq = seq + 1")
        .await;
    let code = alice.code(&store, 0).await;
    let refused = alice.verify(&store, code).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let now = store.now().await.unwrap();
    let refused = store.commit(alice.deactivation(now)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(world.evaluations(), 0);
    assert!(is_accepted(&alice.once_back(&store, code).await));
    healthy(&store).await;
    // The lane of batches, and one or both of those for attempts: while one begins a chain
    // the other is asked.
    assert!((2..=3).contains(&store.broken_chains()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_closed_lane_does_not_say_that_it_is_well() {
    let world = World::postgres().await;
    let store = world.store().await;
    store.ping().await.unwrap();
    let holder = world.database.connect().await;
    let hold = "BEGIN; SELECT seq FROM chain_heads ORDER BY chain LIMIT 1 FOR UPDATE";
    holder.batch_execute(hold).await.unwrap();
    cut(&world.database).await;
    until("the others serve", async || {
        store.commit(Batch::new()).await.is_ok()
    })
    .await;
    assert!(store.ping().await.is_err());
    holder.batch_execute("COMMIT").await.unwrap();
    until("all is well", async || store.ping().await.is_ok()).await;
}

/// A block of ids that the database gave out and then forgot is given out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_the_database_has_forgotten_are_not_used() {
    let world = World::postgres().await;
    let store = world.store().await;
    keep_a_copy(&world.database).await;
    enrol(&store, "alice", "phone").await;
    let before = store.new_id().await.unwrap();
    let forget = "UPDATE id_blocks SET next = next - 1000 WHERE kind <> 'chain'";
    world.database.execute(forget).await;
    go_back(&world.database).await;
    healthy(&store).await;
    let other = world.store().await;
    let theirs = other.new_id().await.unwrap();
    let ours = store.new_id().await.unwrap();
    assert!((theirs - ours).abs() >= 999, "{before} {theirs} {ours}");
}
