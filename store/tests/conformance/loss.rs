//! Lost connections: no attempt is judged twice, none is answered that was not committed, and the chain goes on.

use std::sync::Arc;
use std::time::Duration;

use domain::Verdict;
use store::{Answer, Batch, Store, StoreError};
use tokio::task::JoinHandle;

use crate::enrolled::{Enrolled, enrol, is_accepted};
use crate::held::{blocked, hold_hot_rows, until_it_waits_in_its_commit};
use crate::proof;
use crate::proxy::{Mode, Proxy};
use crate::world::{World, until};

/// The contract: 503 within this time.
const LIMIT: Duration = Duration::from_secs(2);

/// A user with a device, on a store whose connections can be cut.
async fn behind_a_proxy() -> (World, Proxy, Arc<Store>, Enrolled) {
    let world = World::postgres().await;
    let proxy = Proxy::to(&world.database.url()).await;
    let store = world.store_at(world.database.url_at(proxy.port)).await;
    let alice = enrol(&store, "alice", "phone").await;
    (world, proxy, store, alice)
}

fn submit(
    store: &Arc<Store>,
    alice: &Enrolled,
    code: otp::Code,
) -> JoinHandle<Result<Answer, StoreError>> {
    let (store, submission) = (Arc::clone(store), alice.submission(code));
    tokio::spawn(async move {
        let attempt = store.attempt(submission);
        tokio::time::timeout(LIMIT, attempt)
            .await
            .expect("an answer within the limit")
    })
}

fn is_unknown(answer: &Result<Answer, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ended_before_its_commit_leaves_nothing() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let code = alice.code(&store, 0).await;
    let holder = hold_hot_rows(&world.database).await;
    let waiting = submit(&store, &alice, code);
    until_it_waits_in_its_commit(&world.database).await;
    let ended = world
        .database
        .number(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await;
    assert_eq!(ended, 1);
    assert!(is_unknown(&waiting.await.unwrap()));
    holder.batch_execute("COMMIT").await.unwrap();
    let answer = alice.once_back(&store, code).await;
    assert!(is_accepted(&answer), "{answer:?}");
    assert_eq!(proof::events(&world.database).await, 2);
    assert_eq!(world.evaluations(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_stands() {
    let (world, proxy, store, alice) = behind_a_proxy().await;
    let code = alice.code(&store, 0).await;
    let holder = hold_hot_rows(&world.database).await;
    let waiting = submit(&store, &alice, code);
    until_it_waits_in_its_commit(&world.database).await;
    proxy.set(Mode::Swallow);
    holder.batch_execute("COMMIT").await.unwrap();
    until("it is committed", async || {
        world.database.number("SELECT used FROM device_hot").await == 1
    })
    .await;
    assert!(is_unknown(&waiting.await.unwrap()));
    proxy.set(Mode::Pass);
    let answer = alice.once_back(&store, code).await;
    assert_eq!(answer.verdict, Verdict::Rejected);
    // Registered, accepted without a witness, refused as spent.
    assert_eq!(proof::events(&world.database).await, 3);
    assert_eq!(world.evaluations(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_comes_back_waits_for_the_end_of_its_old_transaction() {
    let (world, proxy, store, alice) = behind_a_proxy().await;
    let code = alice.code(&store, 0).await;
    let holder = hold_hot_rows(&world.database).await;
    let waiting = submit(&store, &alice, code);
    until_it_waits_in_its_commit(&world.database).await;
    // The old server process has all it needs for its commit, and waits for us.
    proxy.set(Mode::Part);
    assert!(is_unknown(&waiting.await.unwrap()));
    proxy.set(Mode::Pass);
    until("the lane is back and waits for its head", async || {
        blocked(&world.database).await == 2
    })
    .await;
    holder.batch_execute("COMMIT").await.unwrap();
    let answer = alice.once_back(&store, code).await;
    assert_eq!(answer.verdict, Verdict::Rejected);
    assert_eq!(proof::events(&world.database).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_are_ended_are_replaced_before_they_are_needed() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let others = "FROM pg_stat_activity WHERE datname = current_database()
                  AND application_name = 'otpd' AND pid <> pg_backend_pid()";
    let pids = async || {
        world
            .database
            .number(&format!("SELECT COUNT(1) {others}"))
            .await
    };
    let before = world
        .database
        .number(&format!("SELECT CAST(MAX(pid) AS BIGINT) {others}"))
        .await;
    let end = format!("SELECT COUNT(pg_terminate_backend(pid)) {others}");
    assert!(world.database.number(&end).await >= 3);
    // Two lanes and the one for batches.
    let fresh = format!("SELECT COUNT(1) {others} AND state = 'idle' AND pid > {before}");
    until("three new connections", async || {
        world.database.number(&fresh).await >= 3 && pids().await >= 3
    })
    .await;
    let code = alice.code(&store, 0).await;
    assert!(is_accepted(&alice.once_back(&store, code).await));
    // An idle connection may still be learning its statements.
    until("batches are taken again", async || {
        store.commit(Batch::new()).await.is_ok()
    })
    .await;
    let now = store.now().await.unwrap();
    store.commit(alice.deactivation(now)).await.unwrap();
    assert_eq!(proof::events(&world.database).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_everybody_is_told_at_once() {
    let (world, proxy, store, alice) = behind_a_proxy().await;
    let code = alice.code(&store, 0).await;
    proxy.set(Mode::Cut);
    for _ in 0..20 {
        assert!(is_unknown(&submit(&store, &alice, code).await.unwrap()));
        let batch = alice.deactivation(domain::Time::from_millis(1));
        let refused = tokio::time::timeout(LIMIT, store.commit(batch))
            .await
            .unwrap();
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    }
    assert!(store.ping().await.is_err());
    proxy.set(Mode::Pass);
    assert!(is_accepted(&alice.once_back(&store, code).await));
    let now = store.now().await.unwrap();
    until("batches are taken again", async || {
        store.commit(alice.deactivation(now)).await.is_ok()
    })
    .await;
    assert_eq!(proof::events(&world.database).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answering_is_given_up_in_time() {
    let (world, proxy, store, alice) = behind_a_proxy().await;
    let code = alice.code(&store, 0).await;
    proxy.set(Mode::Swallow);
    // Each lane learns by one attempt.
    for _lane in 0..2 {
        assert!(is_unknown(&submit(&store, &alice, code).await.unwrap()));
    }
    // They know by now: the next one is not kept waiting.
    let next = tokio::time::timeout(Duration::from_millis(100), alice.verify(&store, code)).await;
    assert!(is_unknown(&next.unwrap()));
    proxy.set(Mode::Pass);
    assert!(is_accepted(&alice.once_back(&store, code).await));
    assert_eq!(proof::events(&world.database).await, 2);
}
