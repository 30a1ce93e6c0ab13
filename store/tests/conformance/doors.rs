//! Attempts at people: codes, recovery codes, passes and logins through the lanes.

use std::sync::Arc;

use domain::challenge::{ChallengeKind, Method};
use domain::verify::{Attempt, Factor, Spoken, Subject};
use domain::{Ask, ChallengeId, Time, UserId, UserName, Verdict};
use otp::Code;
use store::{Answer, Batch, NewChallenge, Refusal, Store, Submission};

use crate::enrolled::{all_at_once, enrol, enrol_pending, how_many, origin};
use crate::judge::hash_code;
use crate::world::{World, refused};

fn ask(person: &str, ask: Ask) -> Submission {
    Submission {
        attempt: Attempt {
            subject: Subject::User(UserName::parse(person).unwrap()),
            ask,
            origin: origin(),
        },
        key_id: None,
        idempotency: None,
    }
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

/// Makes a challenge of ten minutes that is answered by 424242 or by the hash of sevens.
async fn challenge(store: &Store, user: UserId, kind: ChallengeKind, uses: u32) -> ChallengeId {
    let id = ChallengeId(store.new_id().await.unwrap());
    let now = store.now().await.unwrap();
    let hash = match kind {
        ChallengeKind::Issued | ChallengeKind::Emailed => hash_code(id, &code("424242")),
        _ => [7; 32],
    };
    let mut batch = Batch::new();
    batch.make_challenge(&NewChallenge {
        id,
        user,
        kind,
        hash: Some(hash),
        context: "{}".into(),
        created_at: now,
        expires_at: now.plus_seconds(600),
        uses,
    });
    store.commit(batch).await.unwrap();
    id
}

fn method(answer: &Answer) -> Option<Method> {
    match answer.verdict {
        Verdict::Proven(proof) => Some(proof.method),
        _ => None,
    }
}

/// Sends it fifty times at once and counts the acceptances.
async fn race(store: &Arc<Store>, asked: Ask) -> usize {
    let work = (0..50).map(|_| (Arc::clone(store), ask("alice", asked)));
    let answers = all_at_once(work).await;
    assert_eq!(answers.iter().flatten().count(), 50);
    answers.iter().flatten().filter_map(method).count()
}

pub async fn whatever_proves_a_person_serves_once(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let user = alice.user;
    challenge(&store, user, ChallengeKind::Issued, 1).await;
    let issued = Ask::IssuedOrAuthenticator(code("424242"));
    assert_eq!(race(&store, issued).await, 1);
    store.commit(opened(user)).await.unwrap();

    challenge(&store, user, ChallengeKind::Pass, 2).await;
    let pass = Ask::Spoken(Spoken::Pass([7; 32]));
    assert_eq!(race(&store, pass).await, 2);
    store.commit(opened(user)).await.unwrap();

    let mut batch = opened(user);
    let now = store.now().await.unwrap();
    for number in 1..=3 {
        let id = store.new_id().await.unwrap();
        batch.insert_recovery_code(id, user, [number; 32], None, now);
    }
    store.commit(batch).await.unwrap();
    let recovery = Ask::Spoken(Spoken::Recovery([2; 32]));
    assert_eq!(race(&store, recovery).await, 1);
    assert_eq!(store.recovery_codes_left(user).await.unwrap(), 2);
    store.commit(opened(user)).await.unwrap();

    let login = challenge(&store, user, ChallengeKind::Login, 1).await;
    let now = alice.code(&store, 0).await;
    let login = Ask::Login {
        login,
        proof: Some([7; 32]),
        answer: Factor::Code(now),
    };
    assert_eq!(race(&store, login).await, 1);
    store.commit(opened(user)).await.unwrap();

    let next = alice.code(&store, 1).await;
    assert_eq!(race(&store, Ask::Authenticator(next)).await, 1);
}

fn opened(user: UserId) -> Batch {
    let mut batch = Batch::new();
    batch.open_guard(user);
    batch
}

pub async fn wrong_codes_at_a_device_and_at_its_person_count_together(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let wrong = alice.wrong_code(&store).await;
    let work = (0..100).map(|place| {
        let submission = match place % 2 {
            0 => alice.submission(wrong),
            _ => ask("alice", Ask::Authenticator(wrong)),
        };
        (Arc::clone(&store), submission)
    });
    let answers = all_at_once(work).await;
    assert_eq!(how_many(&answers, &Verdict::Rejected), 5);
    assert_eq!(how_many(&answers, &Verdict::Locked), 95);
    let guard = store.guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard.failures, 5);
}

pub async fn a_login_of_another_person_is_not_found(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let bob = enrol(&store, "bob", "tablet").await;
    let login = challenge(&store, alice.user, ChallengeKind::Login, 1).await;
    let right = bob.code(&store, 0).await;
    let asked = Ask::Login {
        login,
        proof: Some([7; 32]),
        answer: Factor::Code(right),
    };
    let answer = store.attempt(ask("bob", asked)).await.unwrap();
    assert_eq!(answer.verdict, Verdict::NoLogin);
    assert_eq!(answer.user, Some(bob.user));
    let nobody = store.attempt(ask("nobody", asked)).await.unwrap();
    assert_eq!((nobody.verdict, nobody.user), (Verdict::Unknown, None));
}

pub async fn an_emailed_code_counts_for_itself(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let id = challenge(&store, alice.user, ChallengeKind::Emailed, 1).await;
    for _ in 0..5 {
        let wrong = ask("alice", Ask::Emailed(code("000000")));
        let answer = store.attempt(wrong).await.unwrap();
        assert_eq!(answer.verdict, Verdict::Rejected);
    }
    let right = ask("alice", Ask::Emailed(code("424242")));
    let answer = store.attempt(right).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Locked);
    let stored = store.challenge(id).await.unwrap().unwrap().challenge;
    assert_eq!(answer.locked_until, Some(stored.expires_at));
    let guard = store.guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard, domain::Guard::default());
}

pub async fn a_replaced_code_keeps_the_count(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let id = challenge(&store, alice.user, ChallengeKind::Emailed, 1).await;
    let wrong = ask("alice", Ask::Emailed(code("000000")));
    store.attempt(wrong).await.unwrap();
    let now = store.now().await.unwrap();
    let seen = store.challenge(id).await.unwrap().unwrap().challenge;
    let fresh = NewChallenge {
        id,
        user: alice.user,
        kind: ChallengeKind::Emailed,
        hash: Some(hash_code(id, &code("171717"))),
        context: "{}".into(),
        created_at: now.plus_millis(1),
        expires_at: now.plus_seconds(300),
        uses: 1,
    };
    let replace = async || {
        let mut batch = Batch::new();
        batch.replace_code(&fresh, seen.created_at, 300_000);
        store.commit(batch).await.map(drop)
    };
    replace().await.unwrap();
    // Whoever saw the same code before is too late.
    refused(replace().await, Refusal::ChallengeChanged);
    let old = ask("alice", Ask::Emailed(code("424242")));
    let answer = store.attempt(old).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Rejected);
    let stored = store.challenge(id).await.unwrap().unwrap().challenge;
    assert_eq!(stored.failures, 2);
    let right = ask("alice", Ask::Emailed(code("171717")));
    let answer = store.attempt(right).await.unwrap();
    assert_eq!(method(&answer), Some(Method::Email));
}

pub async fn a_kind_that_a_user_has_one_of_is_made_once(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let user = UserId(store.new_id().await.unwrap());
    let make = async |kind: ChallengeKind, with_user: bool| {
        let mut batch = Batch::new();
        if with_user {
            let name = UserName::parse("email:dave@example.com").unwrap();
            batch.make_user(user, &name, now);
        }
        let id = ChallengeId(store.new_id().await.unwrap());
        let hash = Some([id.0.to_le_bytes()[0]; 32]);
        batch.make_only_challenge(&NewChallenge {
            id,
            user,
            kind,
            hash,
            context: "{}".into(),
            created_at: now,
            expires_at: now.plus_seconds(300),
            uses: 1,
        });
        store.commit(batch).await.map(|_| (id, hash))
    };
    // The user may come with it, and the hash arrives as it is.
    let (id, hash) = make(ChallengeKind::Emailed, true).await.unwrap();
    let stored = store.challenge(id).await.unwrap().unwrap().challenge;
    assert_eq!((stored.hash, stored.uses_left), (hash, 1));
    let again = make(ChallengeKind::Emailed, false).await.map(drop);
    refused(again, Refusal::ChallengeChanged);
    make(ChallengeKind::Pass, false).await.unwrap();
}

pub async fn recovery_codes_of_an_enrolment_wait_for_its_confirmation(world: World) {
    let store = world.store().await;
    let alice = enrol_pending(&store, "alice", "phone", 600).await;
    let now = store.now().await.unwrap();
    let mut batch = Batch::new();
    let old = store.new_id().await.unwrap();
    batch.insert_recovery_code(old, alice.user, [1; 32], None, now);
    let new = store.new_id().await.unwrap();
    batch.insert_recovery_code(new, alice.user, [2; 32], Some(alice.device), now);
    store.commit(batch).await.unwrap();
    let spoken = |number| ask("alice", Ask::Spoken(Spoken::Recovery([number; 32])));
    let early = store.attempt(spoken(2)).await.unwrap();
    assert_eq!(early.verdict, Verdict::Rejected);
    let code = alice.code(&store, 0).await;
    let mut confirm = alice.submission(code);
    confirm.attempt.ask = match confirm.attempt.ask {
        Ask::Verify(typed) => Ask::Confirm(typed),
        other => other,
    };
    store.attempt(confirm).await.unwrap();
    let void = store.attempt(spoken(1)).await.unwrap();
    assert_eq!(void.verdict, Verdict::Rejected);
    let right = store.attempt(spoken(2)).await.unwrap();
    assert_eq!(method(&right), Some(Method::Recovery));
}

/// However an enrolment comes to nothing, nobody has its codes afterwards, and those in
/// force stay.
pub async fn recovery_codes_of_an_enrolment_go_with_its_device(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    for (name, end) in [
        ("cleared", Batch::clear_dead_device as fn(&mut Batch, _, _)),
        ("deleted", Batch::delete_device),
        ("deactivated", |batch: &mut Batch, device, user| {
            batch.deactivate_device(device, user, Time::from_millis(1));
        }),
    ] {
        let enrolled = enrol_pending(&store, name, name, 600).await;
        let mut batch = Batch::new();
        for (hash, pending_for) in [(1, None), (2, Some(enrolled.device))] {
            let id = store.new_id().await.unwrap();
            batch.insert_recovery_code(id, enrolled.user, [hash; 32], pending_for, now);
        }
        store.commit(batch).await.unwrap();
        let mut batch = Batch::new();
        end(&mut batch, enrolled.device, enrolled.user);
        store.commit(batch).await.unwrap();
        let waiting = "SELECT id FROM recovery_codes WHERE pending_for IS NOT NULL";
        assert_eq!(world.database.query(waiting).await.len(), 0, "{name}");
        let left = store.recovery_codes_left(enrolled.user).await.unwrap();
        assert_eq!(left, 1, "{name}");
    }
}
