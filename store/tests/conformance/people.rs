//! Users with what belongs to them: shown, paged, and erased whole.

use domain::{Action, Guard, UserId, UserName, Verdict};
use store::{Batch, Refusal, Store, StoredPerson};

use crate::accounts::sign_up;
use crate::enrolled::{Enrolled, enrol, enrol_pending, event};
use crate::outbox::{mail, post};
use crate::proof;
use crate::sessions::{open, session};
use crate::world::{World, refused};

async fn person(store: &Store, name: &str) -> Option<StoredPerson> {
    let name = UserName::parse(name).unwrap();
    store.person(&name).await.unwrap()
}

/// Gives a user a row in each of their tables, numbered from `from`.
async fn fill(world: &World, store: &Store, user: UserId, from: i64) {
    let now = store.now().await.unwrap();
    let (user_id, at, end) = (user.0, now.millis(), now.plus_seconds(600).millis());
    open(store, &session(&format!("s{from}"), user, now)).await;
    post(store, &mail(from, Some(user), now)).await;
    let challenge = |id: i64, kind: &str, expires_at: i64, uses: i64| {
        format!(
            "INSERT INTO challenges (id, user_id, kind, hash, context, created_at, expires_at,
               uses_left, failures, locked_until, day, day_failures)
             VALUES ({id}, {user_id}, '{kind}', NULL, '{{}}', {at}, {expires_at}, {uses}, 0, NULL, 0, 0);"
        )
    };
    let code = |id: i64, pending_for: &str, used_at: &str| {
        format!(
            "INSERT INTO recovery_codes (id, user_id, hash, pending_for, created_at, used_at)
             VALUES ({id}, {user_id}, {hash}, {pending_for}, {at}, {used_at});",
            hash = if world.is_postgres() {
                "'\\x01'"
            } else {
                "X'01'"
            },
        )
    };
    let rows = [
        challenge(from, "pass", end, 1),
        challenge(from + 1, "pass", end, 3),
        challenge(from + 2, "pass", end, 0),
        challenge(from + 3, "login", at - 1, 1),
        challenge(from + 4, "email", end, 1),
        code(from, "NULL", "NULL"),
        code(from + 1, "NULL", "NULL"),
        code(from + 2, "NULL", "5"),
        code(from + 3, "9", "NULL"),
    ];
    world.database.execute(&rows.concat()).await;
}

pub async fn a_person_is_shown_with_their_numbers(world: World) {
    let store = world.store().await;
    let alice = sign_up(&store, "alice").await;
    let bob = enrol(&store, "bob", "bobs-phone").await;
    let shown = person(&store, "alice").await.unwrap();
    assert_eq!((shown.id, &shown.name[..]), (alice, "alice"));
    assert_eq!(shown.guard, Guard::default());
    assert!(shown.has_account);
    assert_eq!((shown.active_devices, shown.pending_devices), (0, 0));
    assert_eq!(
        (shown.recovery_codes_left, shown.last_verified_at),
        (0, None)
    );
    assert!(person(&store, "nobody").await.is_none());

    let pad = enrol(&store, "alice", "pad").await;
    let old = enrol(&store, "alice", "old").await;
    let now = store.now().await.unwrap();
    store.commit(old.deactivation(now)).await.unwrap();
    enrol_pending(&store, "alice", "soon", 600).await;
    enrol_pending(&store, "alice", "over", -1).await;
    fill(&world, &store, alice, 1000).await;
    pad.spend(&store, 0).await;
    let wrong = pad.wrong_code(&store).await;
    pad.verify(&store, wrong).await.unwrap();

    let shown = person(&store, "alice").await.unwrap();
    assert_eq!((shown.active_devices, shown.pending_devices), (1, 1));
    assert_eq!(shown.recovery_codes_left, 2);
    assert_eq!(shown.guard.failures, 1);
    assert!(shown.last_verified_at.unwrap() >= now);
    let devices = store.devices_of(alice).await.unwrap();
    let names: Vec<_> = devices.iter().map(|d| d.device.name.as_str()).collect();
    assert_eq!(names, ["over", "soon", "old", "pad"]);
    let live = [("email".to_owned(), 1), ("pass".to_owned(), 2)];
    assert_eq!(store.passes_of(alice).await.unwrap(), live);

    let shown = person(&store, "bob").await.unwrap();
    assert!(!shown.has_account);
    assert_eq!((shown.active_devices, shown.recovery_codes_left), (1, 0));
    assert_eq!(store.passes_of(bob.user).await.unwrap(), []);
    assert!(store.sessions_of(bob.user).await.unwrap().is_empty());
}

pub async fn people_are_paged_newest_first(world: World) {
    let store = world.store().await;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(sign_up(&store, name).await);
    }
    let page = async |after, limit| {
        let people = store.people(after, limit).await.unwrap();
        people.iter().map(|p| p.id).collect::<Vec<_>>()
    };
    let first = page(UserId(i64::MAX), 2).await;
    assert_eq!(first, [made[2], made[1]]);
    assert_eq!(page(first[1], 2).await, [made[0]]);
    assert!(page(made[0], 2).await.is_empty());
}

pub async fn an_erased_person_leaves_nothing_behind_and_nobody_else_is_touched(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let bob = enrol(&store, "bob", "bobs-phone").await;
    for (who, from) in [(&alice, 1000), (&bob, 2000)] {
        let mut batch = Batch::new();
        batch.lock(who.user);
        batch.make_account(who.user, "Shown", "hash", store.now().await.unwrap());
        store.commit(batch).await.unwrap();
        fill(&world, &store, who.user, from).await;
    }
    let tables = [
        ("users", "id"),
        ("guards", "id"),
        ("devices", "user_id"),
        ("challenges", "user_id"),
        ("recovery_codes", "user_id"),
        ("accounts", "user_id"),
        ("sessions", "user_id"),
        ("outbox", "user_id"),
    ];
    let left = async |who: &Enrolled| {
        let (user, device) = (who.user.0, who.device.0);
        let hot = format!("SELECT COUNT(1) FROM device_hot WHERE id = {device}");
        let mut counts = vec![world.database.number(&hot).await];
        for (table, column) in tables {
            let sql = format!("SELECT COUNT(1) FROM {table} WHERE {column} = {user}");
            counts.push(world.database.number(&sql).await);
        }
        counts
    };
    let erase = async || {
        let mut batch = Batch::new();
        batch.erase_person(alice.user);
        batch.record(event(Action::DeviceDeleted));
        store.commit(batch).await
    };
    let full = left(&alice).await;
    assert!(full.iter().all(|count| *count > 0), "{full:?}");
    erase().await.unwrap();
    assert_eq!(left(&alice).await, [0; 9]);
    assert_eq!(left(&bob).await, full);
    assert!(person(&store, "alice").await.is_none());
    alice.expect(&store, &Verdict::Unknown).await;
    refused(erase().await, Refusal::UserGone);
    assert_eq!(proof::events(&world.database).await, 3);

    // The name is free again, for another user.
    let other = enrol(&store, "alice", "phone").await;
    assert_ne!(other.user, alice.user);
    other.spend(&store, 0).await;
}

/// Each of these has something, but for two addresses and a user of another kind.
pub async fn only_addresses_without_anything_are_forgotten(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let mut ids = Vec::new();
    for name in [
        "email:a@x.test",
        "bob",
        "email:c@x.test",
        "email:d@x.test",
        "email:e@x.test",
    ] {
        let id = UserId(store.new_id().await.unwrap());
        let mut batch = Batch::new();
        batch.make_user(id, &UserName::parse(name).unwrap(), now);
        store.commit(batch).await.unwrap();
        ids.push(id);
    }
    enrol(&store, "email:f@x.test", "phone").await;
    sign_up(&store, "email:g@x.test").await;
    open(&store, &session("s", ids[2], now)).await;
    let idle = store.idle_addresses(9).await.unwrap();
    assert_eq!(idle, [ids[0], ids[3], ids[4]]);
    assert_eq!(store.idle_addresses(1).await.unwrap(), [ids[0]]);
    // One gets a mail in between.
    post(&store, &mail(1, Some(ids[3]), now)).await;
    let mut batch = Batch::new();
    for id in idle {
        batch.forget_idle(id);
    }
    store.commit(batch).await.unwrap();
    for (name, left) in [
        ("email:a@x.test", false),
        ("bob", true),
        ("email:c@x.test", true),
        ("email:d@x.test", true),
        ("email:e@x.test", false),
        ("email:f@x.test", true),
        ("email:g@x.test", true),
    ] {
        assert_eq!(person(&store, name).await.is_some(), left, "{name}");
    }
    assert!(store.guard(ids[0]).await.unwrap().is_none());
    assert!(store.guard(ids[3]).await.unwrap().is_some());
    let mut batch = Batch::new();
    batch.forget_idle(ids[0]);
    refused(store.commit(batch).await, Refusal::UserGone);
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.users, totals.users_with_2fa), (3, 1));
}
