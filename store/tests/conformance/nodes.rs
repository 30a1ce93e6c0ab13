//! Several nodes and lanes on one PostgreSQL: who holds a user's guard decides.

use std::sync::Arc;
use std::time::Duration;

use domain::{Action, DeviceName, Verdict};
use otp::Code;
use store::{Batch, StoreError, StoredKey};

use crate::enrolled::{all_at_once, enrol, event, how_many, is_accepted, ticket, verify};
use crate::proof;
use crate::world::{World, until};

const HOLD: &str = "BEGIN; SELECT id FROM guards FOR UPDATE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_at_two_nodes_is_accepted_once() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    let alice = enrol(&nodes[0], "alice", "phone").await;
    let code = alice.code(&nodes[0], 0).await;
    let work = (0..50).map(|place| (Arc::clone(&nodes[place % 2]), alice.submission(code)));
    let answers = all_at_once(work).await;
    let accepted = answers.iter().flatten().filter(|a| is_accepted(a)).count();
    assert_eq!((accepted, answers.iter().flatten().count()), (1, 50));
    let guard = nodes[1].guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard.failures, 1);
    assert_eq!(proof::events(&world.database).await, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_all_devices_by_two_nodes_share_one_budget() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    let mut devices = Vec::new();
    for number in 0..8 {
        devices.push(enrol(&nodes[0], "alice", &format!("phone-{number}")).await);
    }
    let wrong = devices[0].wrong_code(&nodes[0]).await;
    let work = (0..200).map(|place| {
        let device = &devices[place % 8];
        (Arc::clone(&nodes[place / 8 % 2]), device.submission(wrong))
    });
    let answers = all_at_once(work).await;
    assert_eq!(world.evaluations(), 5);
    assert_eq!(how_many(&answers, &Verdict::Rejected), 5);
    assert_eq!(how_many(&answers, &Verdict::Locked), 195);
    assert_eq!(proof::events(&world.database).await, 208);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_under_the_lock_is_seen_by_the_batch_that_waited() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let other = world.database.connect().await;
    other.batch_execute(HOLD).await.unwrap();
    let code = alice.code(&store, 0).await;
    let waiting = tokio::spawn({
        let (store, submission) = (Arc::clone(&store), alice.submission(code));
        async move { store.attempt(submission).await }
    });
    // Long enough for many batches to find the user locked.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    let end = "UPDATE devices SET deactivated_at = 1; COMMIT";
    other.batch_execute(end).await.unwrap();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.verdict, Verdict::Inactive);
    assert_eq!(world.evaluations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_held_for_long_is_busy_and_nobody_else_waits() {
    let world = World::postgres().await;
    // Both are in its batches.
    let store = world.store_of_one_lane().await;
    let alice = enrol(&store, "alice", "phone").await;
    let other = world.database.connect().await;
    other.batch_execute(HOLD).await.unwrap();
    let bob = enrol(&store, "bob", "phone-2").await;
    let code = alice.code(&store, 0).await;
    let waiting = tokio::spawn({
        let (store, submission) = (Arc::clone(&store), alice.submission(code));
        async move { store.attempt(submission).await }
    });
    for offset in [-1, 0, 1] {
        bob.spend(&store, offset).await;
    }
    assert!(!waiting.is_finished());
    let now = store.now().await.unwrap();
    let waited = tokio::join!(waiting, store.commit(alice.deactivation(now)));
    assert!(matches!(waited.0.unwrap(), Err(StoreError::Busy)));
    assert!(matches!(waited.1, Err(StoreError::Busy)));
    other.batch_execute("COMMIT").await.unwrap();
    // It was neither judged nor counted: the code is good still.
    let answer = alice.verify(&store, code).await.unwrap();
    assert!(is_accepted(&answer));
    assert_eq!(proof::events(&world.database).await, 6);
}

/// Batches about a user whom somebody holds stand aside: whatever else a server does goes
/// on, its common work included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_to_a_held_user_keep_nothing_else_waiting() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    assert!(store.lead().await.unwrap());
    let other = world.database.connect().await;
    other.batch_execute(HOLD).await.unwrap();
    let unlocks: Vec<_> = (0..40)
        .map(|_| {
            let (store, user) = (Arc::clone(&store), alice.user);
            tokio::spawn(async move {
                let mut batch = Batch::new();
                batch.lock(user);
                batch.record(event(Action::UserUnlocked));
                let commit = store.commit(batch);
                tokio::time::timeout(Duration::from_secs(2), commit).await
            })
        })
        .collect();
    // Time for the first ones to be held.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for turn in 0..5 {
        let name = format!("user-{turn}");
        let others = async {
            enrol(&store, &name, &name).await;
            assert!(store.lead().await.unwrap());
        };
        let done = tokio::time::timeout(Duration::from_millis(500), others).await;
        done.expect("it does not wait for the held user");
    }
    for unlock in unlocks {
        let answer = unlock.await.unwrap().expect("an answer within the limit");
        assert!(
            matches!(answer, Err(StoreError::Busy | StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    other.batch_execute("COMMIT").await.unwrap();
    // None of them is done later, when nobody waits for it any more.
    assert_eq!(proof::events(&world.database).await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_to_a_user_held_for_a_moment_are_made_after_it() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let other = world.database.connect().await;
    other.batch_execute(HOLD).await.unwrap();
    let unlocks = (0..20).map(|_| {
        let mut batch = Batch::new();
        batch.lock(alice.user);
        batch.record(event(Action::UserUnlocked));
        store.commit(batch)
    });
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.batch_execute("COMMIT").await.unwrap();
        // Held ones are served before the end.
        store.close().await;
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(unlocks), release);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(proof::events(&world.database).await, 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_valid_no_more_is_noticed_in_the_batch() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let now = store.now().await.unwrap();
    let key = |id: &str, expires_in: i64| StoredKey {
        id: id.into(),
        hash: [7; 32],
        name: "Key".into(),
        scopes: "otp.verify".into(),
        created_by: "cli".into(),
        created_at: now,
        expires_at: Some(now.plus_millis(expires_in)),
        revoked_at: None,
    };
    let mut batch = Batch::new();
    batch.insert_key(&key("good", 3_600_000));
    batch.insert_key(&key("expired", -1));
    batch.insert_key(&key("revoked", 3_600_000));
    batch.revoke_key("revoked", now);
    store.commit(batch).await.unwrap();
    let code = alice.code(&store, 0).await;
    let by = async |id: &str| {
        let mut submission = alice.submission(code);
        submission.key_id = Some(id.into());
        store.attempt(submission).await
    };
    for id in ["expired", "revoked", "missing"] {
        let refused = by(id).await;
        assert!(matches!(refused, Err(StoreError::CallerRevoked)), "{id}");
    }
    assert!(is_accepted(&by("good").await.unwrap()));
    // Side by side, so that some share a batch: each is judged by its own.
    let mut attempts = Vec::new();
    for number in 0..16 {
        let user = format!("user-{number}");
        let device = enrol(&store, &user, &user).await;
        let mut submission = device.submission(device.code(&store, 0).await);
        let key = if number % 2 == 0 { "good" } else { "revoked" };
        submission.key_id = Some(key.into());
        attempts.push(store.attempt(submission));
    }
    let answers = futures_util::future::join_all(attempts).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match number % 2 {
            0 => assert!(is_accepted(&answer.unwrap()), "{number}"),
            _ => assert!(matches!(answer, Err(StoreError::CallerRevoked)), "{number}"),
        }
    }
}

/// Two nodes keep an answer under the same idempotency key, for devices that share no
/// guard: one of them keeps it, the other learns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_idempotency_key_at_two_nodes_keeps_one_answer() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    let ask = async |node: usize, round: u8| {
        let name = DeviceName::parse(&format!("nobody-{node}")).unwrap();
        let mut submission = verify(&name, Code::parse("123456").unwrap());
        submission.idempotency = Some(ticket(round, u8::try_from(node).unwrap(), 3_600_000));
        nodes[node].attempt(submission).await
    };
    for round in 0..20 {
        let answers: [_; 2] = tokio::join!(ask(0, round), ask(1, round)).into();
        let kept = answers.iter().filter(|a| a.is_ok()).count();
        let refused = |a: &&Result<_, _>| matches!(a, Err(StoreError::IdempotencyReused));
        assert_eq!(
            (kept, answers.iter().filter(refused).count()),
            (1, 1),
            "{answers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_served_before_the_end() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let wrong = alice.wrong_code(&store).await;
    let work: Vec<_> = (0..30)
        .map(|_| {
            let (store, submission) = (Arc::clone(&store), alice.submission(wrong));
            tokio::spawn(async move { store.attempt(submission).await })
        })
        .collect();
    until("something waits or was judged", async || {
        store.waiting() > 0 || world.evaluations() > 0
    })
    .await;
    store.close().await;
    let mut answered = 0;
    for task in work {
        answered += i64::from(task.await.unwrap().is_ok());
    }
    // What came too late was refused; what was taken was committed, and all of it told.
    assert!(answered > 0);
    assert_eq!(proof::events(&world.database).await, 1 + answered);
}

/// The session that holds the one lock that is no row's.
const LEADER: &str = "FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_at_a_time_leads_and_another_when_it_is_gone() {
    let world = World::postgres().await;
    let [one, two] = [world.store().await, world.store().await];
    let leads = async |store: &store::Store| store.lead().await.unwrap_or(false);
    for _ in 0..3 {
        assert!(leads(&one).await);
        assert!(!leads(&two).await);
    }
    // The session ends, as it does with its node.
    let end = format!("SELECT COUNT(pg_terminate_backend(pid)) {LEADER}");
    assert_eq!(world.database.number(&end).await, 1);
    until("the other leads", async || leads(&two).await).await;
    until("the first is connected again", async || {
        one.commit(Batch::new()).await.is_ok()
    })
    .await;
    assert!(!leads(&one).await);
    two.close().await;
    until("the first leads again", async || leads(&one).await).await;
}

/// A node that hangs goes on acknowledging on the level of TCP: only its silence tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_no_more_loses_the_lead() {
    let world = World::postgres().await;
    let [one, two] = [world.store().await, world.store().await];
    assert!(one.lead().await.unwrap());
    let shown = "SELECT CAST(EXTRACT(EPOCH FROM CAST(current_setting('idle_session_timeout')
                   AS INTERVAL)) AS BIGINT)";
    assert_eq!(
        world.database.number(shown).await,
        0,
        "nobody else's session"
    );
    until("the other leads", async || {
        two.lead().await.unwrap_or(false)
    })
    .await;
}

#[tokio::test]
async fn an_embedded_database_has_one_node() {
    let world = World::sqlite();
    assert!(world.store().await.lead().await.unwrap());
}

/// Behind one address that moves, whoever only reads would go on reading at the former primary.
#[tokio::test]
async fn readers_connect_anew_once_a_lane_had_to() {
    let world = World::postgres().await;
    let store = world.store().await;
    store.count_api_keys().await.unwrap();
    let reader = "SELECT pid::bigint FROM pg_stat_activity WHERE application_name = 'otpd'
         AND datname = current_database() AND query LIKE '%COUNT%FROM api_keys%'
         ORDER BY backend_start DESC LIMIT 1";
    let before = world.database.number(reader).await;
    // The reader's own connection stays.
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'otpd'
         AND datname = current_database() AND pid <> {before}"
    );
    world.database.execute(&cut).await;
    until("the management lane serves", async || {
        store.new_id().await.is_ok() && store.commit(Batch::new()).await.is_ok()
    })
    .await;
    store.count_api_keys().await.unwrap();
    assert_ne!(world.database.number(reader).await, before);
}
