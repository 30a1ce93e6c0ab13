//! Batches and what is read back: users, devices, keys, numbers.

use domain::{Action, Kind, State, Verdict};
use store::{Batch, DevicePage, Refusal, StoreError, StoredKey};

use crate::enrolled::{Plan, enrol, enrol_as, enrolment, event};
use crate::proof;
use crate::world::{World, close, refused};

pub async fn a_device_is_registered_found_listed_deactivated_and_deleted(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "alice-phone").await;
    let pad = enrol(&store, "alice", "alice-pad").await;
    let found = store.device(&alice.name).await.unwrap().unwrap();
    assert_eq!(
        (found.device.id, found.device.user),
        (alice.device, alice.user)
    );
    assert_eq!(found.device.kind, Kind::Totp { period: 30 });
    assert_eq!(found.shown, "\"alice\"");
    assert_eq!(
        (found.label.as_deref(), found.issuer),
        (Some("Label"), None)
    );
    let now = store.now().await.unwrap();
    assert!(close(found.created_at, now, 60_000));

    let page = |status, before| DevicePage {
        user: Some(alice.user),
        status,
        before,
        limit: 1,
    };
    let listed = store.devices(&page("active", None), now).await.unwrap();
    assert_eq!(listed[0].device.id, pad.device);
    let next = page("active", Some(pad.device));
    let listed = store.devices(&next, now).await.unwrap();
    assert_eq!(listed[0].device.id, alice.device);

    let at = store.commit(alice.deactivation(now)).await.unwrap();
    assert!(at >= now);
    let found = store.device(&alice.name).await.unwrap().unwrap();
    assert_eq!(found.device.state, State::Deactivated(now));
    alice.expect(&store, &Verdict::Inactive).await;
    let listed = store
        .devices(&page("deactivated", None), now)
        .await
        .unwrap();
    assert_eq!(listed[0].device.id, alice.device);

    let mut batch = Batch::new();
    batch.delete_device(alice.device, alice.user);
    batch.record(event(Action::DeviceDeleted));
    store.commit(batch).await.unwrap();
    assert!(store.device(&alice.name).await.unwrap().is_none());
    alice.expect(&store, &Verdict::Unknown).await;
    assert_eq!(proof::events(&world.database).await, 5);
}

pub async fn a_refused_batch_changes_nothing_and_leaves_no_event(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let now = store.now().await.unwrap();

    let (batch, _) = enrolment(&store, &Plan::of("bob", "phone")).await;
    let refused = store.commit(batch).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::DeviceExists))
    ));
    let name = domain::UserName::parse("bob").unwrap();
    assert_eq!(store.user_by_name(&name).await.unwrap(), None);

    store.commit(alice.deactivation(now)).await.unwrap();
    let refused = store.commit(alice.deactivation(now)).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::DeviceChanged))
    ));

    let mut batch = Batch::new();
    batch.lock(domain::UserId(i64::MAX));
    batch.record(event(Action::UserUnlocked));
    let refused = store.commit(batch).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::UserGone))
    ));

    // An id that is taken breaks a unique index instead of changing no row.
    let mut batch = Batch::new();
    batch.make_user(alice.user, &domain::UserName::parse("carol").unwrap(), now);
    let refused = store.commit(batch).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(proof::events(&world.database).await, 2);
}

pub async fn keys_are_kept_listed_and_revoked_once(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let key = |id: &str| StoredKey {
        id: id.into(),
        hash: [7; 32],
        name: "Key".into(),
        scopes: "otp.verify".into(),
        created_by: "cli".into(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    let insert = |id: &str| {
        let mut batch = Batch::new();
        batch.insert_key(&key(id));
        store.commit(batch)
    };
    insert("b").await.unwrap();
    insert("a").await.unwrap();
    refused(insert("a").await, Refusal::KeyExists);
    let ids: Vec<String> = store
        .api_keys("", 9)
        .await
        .unwrap()
        .into_iter()
        .map(|k| k.id)
        .collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(store.api_keys("a", 9).await.unwrap().len(), 1);
    assert_eq!(store.count_api_keys().await.unwrap(), 2);
    let revoke = || {
        let mut batch = Batch::new();
        batch.revoke_key("a", now);
        store.commit(batch)
    };
    let confirm = |id: &str| {
        let mut batch = Batch::new();
        batch.confirm_revoked_key(id);
        store.commit(batch)
    };
    refused(confirm("a").await, Refusal::KeyGone);
    revoke().await.unwrap();
    confirm("a").await.unwrap();
    refused(confirm("b").await, Refusal::KeyGone);
    let found = store.api_key("a").await.unwrap().unwrap();
    assert_eq!((found.hash, found.revoked_at), ([7; 32], Some(now)));
    refused(revoke().await, Refusal::KeyGone);
}

pub async fn the_numbers_are_counted(world: World) {
    let store = world.store().await;
    let from = store.now().await.unwrap().plus_millis(-3_600_000);
    let alice = enrol(&store, "alice", "phone").await;
    enrol_as(
        &store,
        &Plan {
            state: State::Pending(from.plus_seconds(90_000)),
            ..Plan::of("bob", "phone-2")
        },
    )
    .await;
    let spent = alice.spend(&store, 0).await;
    let answer = alice.verify(&store, spent).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Rejected);
    let hours = store
        .stats_by_hour(from, from.plus_seconds(90_000))
        .await
        .unwrap();
    let sum = |number: fn(&store::HourStats) -> i64| hours.iter().map(number).sum::<i64>();
    assert_eq!(sum(|h| h.accepted), 1);
    assert_eq!(sum(|h| h.rejected), 1);
    assert_eq!(sum(|h| h.registered), 2);
    let totals = store.totals().await.unwrap();
    assert_eq!(
        (totals.active, totals.pending, totals.deactivated),
        (1, 1, 0)
    );
    assert_eq!((totals.users, totals.users_with_2fa), (2, 1));
}

pub async fn a_user_has_room_for_so_many_devices(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "one").await;
    let (mut batch, two) = enrolment(&store, &Plan::of("alice", "two")).await;
    batch.require_room(alice.user, 2);
    let refused = store.commit(batch).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::TooManyDevices))
    ));
    assert!(store.device(&two.name).await.unwrap().is_none());
    let (mut batch, two) = enrolment(&store, &Plan::of("alice", "two")).await;
    batch.require_room(alice.user, 3);
    store.commit(batch).await.unwrap();
    assert!(store.device(&two.name).await.unwrap().is_some());
    let guard = store.guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard, domain::Guard::default());
}
