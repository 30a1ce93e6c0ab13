//! Sessions: opened, ended, swept; and none without a factor where one is in force.

use std::sync::Arc;

use domain::{ChallengeId, ChallengeKind, Time, UserId};
use store::{Batch, NewChallenge, NewSession, Refusal, Store, StoreError};

use crate::accounts::sign_up;
use crate::enrolled::{enrol, enrol_pending};
use crate::world::{World, refused, until};

pub fn session(id: &str, user: UserId, now: Time) -> NewSession {
    NewSession {
        id: id.into(),
        user,
        amr: "pwd otp".into(),
        auth_time: now.plus_seconds(-1),
        created_at: now,
        expires_at: now.plus_seconds(600),
    }
}

pub async fn open(store: &Store, new: &NewSession) {
    let login = spent_login(store, new.user).await;
    open_after(store, new, login).await.unwrap();
}

/// A login of that user whose second factor was right: it is spent.
async fn spent_login(store: &Store, user: UserId) -> ChallengeId {
    let now = store.now().await.unwrap();
    let id = ChallengeId(store.new_id().await.unwrap());
    let mut batch = Batch::new();
    batch.make_challenge(&NewChallenge {
        id,
        user,
        kind: ChallengeKind::Login,
        hash: Some([7; 32]),
        context: "{}".into(),
        created_at: now,
        expires_at: now.plus_seconds(300),
        uses: 0,
    });
    store.commit(batch).await.unwrap();
    id
}

async fn open_after(
    store: &Store,
    new: &NewSession,
    login: ChallengeId,
) -> Result<Time, StoreError> {
    let mut batch = Batch::new();
    batch.open_session(new, login);
    store.commit(batch).await
}

/// Which sessions of a user have not been ended, by id.
async fn open_ones(store: &Store, user: UserId) -> Vec<String> {
    let sessions = store.sessions_of(user).await.unwrap();
    let open = sessions.into_iter().filter(|s| s.ended_at.is_none());
    let mut ids: Vec<String> = open.map(|s| s.id).collect();
    ids.sort();
    ids
}

pub async fn a_session_is_opened_found_and_ended(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let (alice, bob) = (sign_up(&store, "Alice").await, sign_up(&store, "bob").await);
    for (id, user) in [("a1", alice), ("a2", alice), ("a3", alice), ("b1", bob)] {
        open(&store, &session(id, user, now)).await;
    }
    let found = store.session("a1").await.unwrap().unwrap();
    assert_eq!((&found.id[..], found.user), ("a1", alice));
    let canonical = domain::UserName::parse("Alice").unwrap();
    assert_eq!(found.name, canonical.canonical());
    assert_eq!(found.amr, "pwd otp");
    assert_eq!(
        (found.auth_time, found.created_at, found.expires_at),
        (now.plus_seconds(-1), now, now.plus_seconds(600))
    );
    assert_eq!(found.ended_at, None);
    assert!(store.session("a4").await.unwrap().is_none());

    let end = async |seconds| {
        let mut batch = Batch::new();
        batch.require_session("a1", alice);
        batch.end_session("a1", alice, now.plus_seconds(seconds));
        store.commit(batch).await
    };
    end(1).await.unwrap();
    refused(end(2).await, Refusal::SessionOver);
    let found = store.session("a1").await.unwrap().unwrap();
    assert_eq!(found.ended_at, Some(now.plus_seconds(1)));

    let mut batch = Batch::new();
    batch.end_sessions(alice, Some("a2"), now.plus_seconds(3));
    store.commit(batch).await.unwrap();
    assert_eq!(open_ones(&store, alice).await, ["a2"]);
    let mut batch = Batch::new();
    batch.end_sessions(alice, None, now.plus_seconds(4));
    store.commit(batch).await.unwrap();
    assert!(open_ones(&store, alice).await.is_empty());
    let found = store.session("a1").await.unwrap().unwrap();
    assert_eq!(found.ended_at, Some(now.plus_seconds(1)));
    assert_eq!(open_ones(&store, bob).await, ["b1"]);
}

/// What ends the sessions of a user ends the logins out of which others would come.
pub async fn no_session_comes_of_a_login_that_was_ended(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let (alice, bob) = (sign_up(&store, "alice").await, sign_up(&store, "bob").await);
    for (id, except) in [("a1", None), ("a2", Some("other"))] {
        let (login, bobs) = (
            spent_login(&store, alice).await,
            spent_login(&store, bob).await,
        );
        let mut batch = Batch::new();
        batch.end_sessions(alice, except, now);
        store.commit(batch).await.unwrap();
        let opened = open_after(&store, &session(id, alice, now), login).await;
        refused(opened, Refusal::LoginOver);
        assert!(store.session(id).await.unwrap().is_none());
        // Another user's login opens nothing, and bob's lives.
        let opened = open_after(&store, &session(id, alice, now), bobs).await;
        refused(opened, Refusal::LoginOver);
        let bobs_own = session(&format!("b-{id}"), bob, now);
        open_after(&store, &bobs_own, bobs).await.unwrap();
    }
}

pub async fn sessions_are_swept_when_their_time_is_over(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let alice = sign_up(&store, "alice").await;
    for (id, seconds) in [("a", 10), ("b", 20), ("c", 30)] {
        let expires_at = now.plus_seconds(seconds);
        let new = NewSession {
            expires_at,
            ..session(id, alice, now)
        };
        open(&store, &new).await;
    }
    let sweep = async |limit| {
        let end = now.plus_seconds(20);
        let gone = store.sweep_sessions(end, limit).await.unwrap();
        (gone, open_ones(&store, alice).await.join(" "))
    };
    assert_eq!(sweep(1).await, (1, "b c".to_owned()));
    assert_eq!(sweep(9).await, (1, "c".to_owned()));
    assert_eq!(sweep(9).await, (0, "c".to_owned()));
}

async fn open_without_factor(store: &Store, id: &str, user: UserId) -> Result<Time, StoreError> {
    let now = store.now().await.unwrap();
    let mut batch = Batch::new();
    batch.open_session_without_factor(&session(id, user, now));
    store.commit(batch).await
}

pub async fn no_session_without_a_factor_where_one_is_in_force(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let alice = sign_up(&store, "alice").await;
    let bob = enrol(&store, "bob", "bobs-phone").await;
    open_without_factor(&store, "a1", alice).await.unwrap();
    let phone = enrol_pending(&store, "alice", "phone", 600).await;
    open_without_factor(&store, "a2", alice).await.unwrap();
    phone.confirm(&store).await;
    let opened = open_without_factor(&store, "a3", alice).await;
    refused(opened, Refusal::FactorInForce);
    assert!(store.session("a3").await.unwrap().is_none());
    open(&store, &session("a4", alice, now)).await;
    store.commit(phone.deactivation(now)).await.unwrap();
    open_without_factor(&store, "a5", alice).await.unwrap();
    assert_eq!(open_ones(&store, alice).await, ["a1", "a2", "a4", "a5"]);
    let opened = open_without_factor(&store, "b1", bob.user).await;
    refused(opened, Refusal::FactorInForce);
    let opened = open_without_factor(&store, "c1", UserId(i64::MAX)).await;
    refused(opened, Refusal::UserGone);
}

/// Somebody else confirms the device while the session waits for the guard. On a machine
/// that stands still for long it gives up before: then nothing is opened, and it is tried
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_becomes_active_under_the_lock_is_seen_by_the_session_that_waited() {
    let world = World::postgres().await;
    let store = world.store().await;
    let other = world.database.connect().await;
    for round in 0..10 {
        let (name, id) = (format!("user-{round}"), format!("session-{round}"));
        let person = enrol_pending(&store, &name, &name, 600).await;
        let hold = "BEGIN; SELECT id FROM guards FOR NO KEY UPDATE";
        other.batch_execute(hold).await.unwrap();
        let waiting = tokio::spawn({
            let (store, id) = (Arc::clone(&store), id.clone());
            async move { open_without_factor(&store, &id, person.user).await }
        });
        until("the session has looked for the guard in vain", async || {
            let waits = "SELECT COUNT(1) FROM pg_stat_activity
                         WHERE datname = current_database() AND query = 'ROLLBACK'";
            let waits = other.query_one(waits, &[]).await.unwrap();
            waits.get::<_, i64>(0) > 0 || waiting.is_finished()
        })
        .await;
        let in_vain = waiting.is_finished();
        let end = "UPDATE devices SET pending_until = NULL; COMMIT";
        other.batch_execute(end).await.unwrap();
        let opened = waiting.await.unwrap();
        assert!(store.session(&id).await.unwrap().is_none(), "{opened:?}");
        match opened {
            Err(StoreError::Busy | StoreError::Unavailable(_)) => {}
            opened if in_vain => panic!("answered under the lock: {opened:?}"),
            opened => return refused(opened, Refusal::FactorInForce),
        }
    }
    panic!("no session has waited to the end");
}

/// Two nodes: at one the device is confirmed, at the other the session is opened. When
/// the session was refused, the device was in force; and once it is, none is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_a_confirmation_at_two_nodes_come_one_after_the_other() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    for round in 0..10 {
        let (user, device) = (format!("user-{round}"), format!("phone-{round}"));
        let person = enrol_pending(&nodes[0], &user, &device, 600).await;
        let opening = open_without_factor(&nodes[1], &user, person.user);
        let (_, opened) = tokio::join!(person.confirm(&nodes[0]), opening);
        if opened.is_err() {
            refused(opened, Refusal::FactorInForce);
        }
        let late = open_without_factor(&nodes[1], "late", person.user).await;
        refused(late, Refusal::FactorInForce);
    }
}
