//! Kept answers: what is repeated, what is refused, and when they end.

use domain::{DeviceName, Verdict};
use otp::Code;
use store::{Batch, Refusal, StoreError, Submission, Ticket};

use crate::enrolled::{Enrolled, enrol, is_accepted, ticket, verify};
use crate::proof;
use crate::world::World;

const LONG: i64 = 3_600_000;

fn with(mut submission: Submission, ticket: Ticket) -> Submission {
    submission.idempotency = Some(ticket);
    submission
}

async fn right(alice: &Enrolled, store: &store::Store) -> Submission {
    alice.submission(alice.code(store, 0).await)
}

pub async fn a_repeated_request_gets_the_first_answer(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let submission = || async { with(right(&alice, &store).await, ticket(1, 1, LONG)) };
    let (first, second) = (submission().await, submission().await);
    // Also when both are in one batch.
    let (one, other) = tokio::join!(store.attempt(first), store.attempt(second));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(is_accepted(&one) && is_accepted(&other));
    assert!(one.replayed != other.replayed);
    let third = store.attempt(submission().await).await.unwrap();
    assert!(is_accepted(&third) && third.replayed);
    assert_eq!(third.attempts_remaining, one.attempts_remaining);
    assert_eq!(proof::events(&world.database).await, 2);
    let kept = store
        .kept_answer(&[1; 32], third.at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.fingerprint, [1; 32]);
}

pub async fn a_key_used_with_another_request_is_refused(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let first = with(right(&alice, &store).await, ticket(1, 1, LONG));
    store.attempt(first).await.unwrap();
    let other = with(right(&alice, &store).await, ticket(1, 2, LONG));
    let refused = store.attempt(other).await;
    assert!(matches!(refused, Err(StoreError::IdempotencyReused)));
}

pub async fn a_kept_answer_is_confirmed_as_it_is(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let confirm = |answer: &[u8]| {
        let mut batch = Batch::new();
        batch.confirm_answer([1; 32], answer.to_vec());
        store.commit(batch)
    };
    let missing = |result| matches!(result, Err(StoreError::Refused(Refusal::Missing)));
    assert!(missing(confirm(b"first").await));
    let mut batch = Batch::new();
    let expires_at = now.plus_seconds(60);
    batch.keep_answer([1; 32], [2; 32], b"first".to_vec(), now, expires_at);
    store.commit(batch).await.unwrap();
    confirm(b"first").await.unwrap();
    assert!(missing(confirm(b"second").await));
    let kept = store.kept_answer(&[1; 32], now).await.unwrap().unwrap();
    assert_eq!(kept.answer, b"first");
}

pub async fn a_kept_answer_expires(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let code = alice.code(&store, 0).await;
    let first = with(alice.submission(code), ticket(1, 1, 20));
    assert!(is_accepted(&store.attempt(first).await.unwrap()));
    world.pass(&store, 30).await;
    let again = with(alice.submission(code), ticket(1, 2, LONG));
    let answer = store.attempt(again).await.unwrap();
    assert_eq!(
        (answer.verdict, answer.replayed),
        (Verdict::Rejected, false)
    );
}

pub async fn an_unknown_device_stays_unknown_for_the_same_request(world: World) {
    let store = world.store().await;
    let name = DeviceName::parse("phone").unwrap();
    let submission = || {
        let code = Code::parse("123456").unwrap();
        with(verify(&name, code), ticket(3, 3, LONG))
    };
    let answer = store.attempt(submission()).await.unwrap();
    assert_eq!((answer.verdict, answer.replayed), (Verdict::Unknown, false));
    enrol(&store, "alice", "phone").await;
    let answer = store.attempt(submission()).await.unwrap();
    assert_eq!((answer.verdict, answer.replayed), (Verdict::Unknown, true));
    assert_eq!(world.evaluations(), 0);
}

pub async fn an_acceptance_is_not_repeated_for_a_device_revoked_since(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let first = with(right(&alice, &store).await, ticket(1, 1, LONG));
    assert!(is_accepted(&store.attempt(first).await.unwrap()));
    let now = store.now().await.unwrap();
    store.commit(alice.deactivation(now)).await.unwrap();
    let again = with(right(&alice, &store).await, ticket(1, 1, LONG));
    let answer = store.attempt(again).await.unwrap();
    assert_eq!((answer.verdict, answer.replayed), (Verdict::Rejected, true));
}
