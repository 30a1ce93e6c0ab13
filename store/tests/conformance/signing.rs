//! Signing keys: one next, one active, and of two nodes that change them at once one does.

use domain::Time;
use store::{Access, Batch, OwnKey, Refusal, Store, StoreError};

use crate::world::{World, refused};

fn key(id: i64, purpose: &str, active_at: Option<Time>) -> OwnKey {
    OwnKey {
        id,
        purpose: purpose.into(),
        version: 2,
        sealed: vec![1, 2],
        public: Some(vec![3, 4]),
        created_at: Time::from_millis(5),
        active_at,
        retired_at: None,
    }
}

async fn add(store: &Store, key: OwnKey) -> Result<Time, StoreError> {
    let mut batch = Batch::new();
    batch.add_signing_key(&key);
    store.commit(batch).await
}

/// Retires one key and takes the other into use.
async fn rotate(store: &Store, from: i64, to: i64, at: Time) -> Result<Time, StoreError> {
    let mut batch = Batch::new();
    batch.activate_signing_key(to, at);
    batch.retire_signing_key(from, at);
    store.commit(batch).await
}

async fn states(store: &Store, purpose: &str) -> Vec<(i64, bool, bool)> {
    let keys = store.signing_keys(purpose).await.unwrap();
    let state = |key: &OwnKey| (key.id, key.active_at.is_some(), key.retired_at.is_some());
    keys.iter().map(state).collect()
}

pub async fn a_signing_key_is_next_then_active_then_retired_then_gone(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    add(&store, key(10, "jwt", Some(now))).await.unwrap();
    let second = add(&store, key(11, "jwt", Some(now))).await;
    refused(second, Refusal::KeyChanged);
    add(&store, key(12, "jwt", None)).await.unwrap();
    let second = add(&store, key(13, "jwt", None)).await;
    refused(second, Refusal::KeyChanged);
    add(&store, key(14, "other", None)).await.unwrap();
    let found = store.signing_keys("jwt").await.unwrap().remove(0);
    assert_eq!(
        (found.id, &found.purpose[..], found.version),
        (10, "jwt", 2)
    );
    assert_eq!(
        (&found.sealed[..], found.public),
        (&[1, 2][..], Some(vec![3, 4]))
    );
    assert_eq!(found.created_at, Time::from_millis(5));
    assert_eq!((found.active_at, found.retired_at), (Some(now), None));

    // A batch of which one half does not hold changes nothing.
    refused(rotate(&store, 11, 12, now).await, Refusal::KeyChanged);
    let before = [(10, true, false), (12, false, false)];
    assert_eq!(states(&store, "jwt").await, before);
    let at = now.plus_seconds(1);
    rotate(&store, 10, 12, at).await.unwrap();
    let after = [(10, true, true), (12, true, false)];
    assert_eq!(states(&store, "jwt").await, after);
    refused(rotate(&store, 10, 12, at).await, Refusal::KeyChanged);
    let keys = store.signing_keys("jwt").await.unwrap();
    assert_eq!(
        (keys[0].active_at, keys[0].retired_at),
        (Some(now), Some(at))
    );
    assert_eq!((keys[1].active_at, keys[1].retired_at), (Some(at), None));
    add(&store, key(13, "jwt", None)).await.unwrap();

    let remove = async |id| {
        let mut batch = Batch::new();
        batch.remove_signing_key(id);
        store.commit(batch).await
    };
    refused(remove(12).await, Refusal::KeyChanged);
    refused(remove(13).await, Refusal::KeyChanged);
    remove(10).await.unwrap();
    let left = [(12, true, false), (13, false, false)];
    assert_eq!(states(&store, "jwt").await, left);
    assert_eq!(states(&store, "other").await, [(14, false, false)]);
}

pub async fn the_first_signing_keys_can_initialise_a_database(world: World) {
    let store = world.open(Access::Write).await.unwrap();
    let mut batch = Batch::new();
    batch.add_signing_key(&key(10, "jwt", Some(Time::from_millis(5))));
    batch.add_signing_key(&key(11, "jwt", None));
    store.initialise(&batch).await.unwrap();
    let made = [(10, true, false), (11, false, false)];
    assert_eq!(states(&store, "jwt").await, made);
    refused(store.initialise(&batch).await, Refusal::KeyChanged);
}

/// One of the two results is good and the other is the refusal.
fn one_won(results: [Result<Time, StoreError>; 2]) {
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1), "{lost:?}");
    for lost in lost {
        refused(lost, Refusal::KeyChanged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_change_the_keys_at_once_one_does() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    let now = nodes[0].now().await.unwrap();
    let (mut active, first) = (0, key(0, "jwt", Some(now)));
    let other = key(1, "jwt", Some(now));
    one_won(tokio::join!(add(&nodes[0], first), add(&nodes[1], other)).into());
    if states(&nodes[0], "jwt").await[0].0 == 1 {
        active = 1;
    }
    for round in 1..=10 {
        let ids = [10 * round, 10 * round + 1];
        let added = tokio::join!(
            add(&nodes[0], key(ids[0], "jwt", None)),
            add(&nodes[1], key(ids[1], "jwt", None))
        );
        one_won(added.into());
        let next = states(&nodes[0], "jwt").await.pop().unwrap().0;
        let rotated = tokio::join!(
            rotate(&nodes[0], active, next, now),
            rotate(&nodes[1], active, next, now)
        );
        one_won(rotated.into());
        active = next;
    }
    let keys = states(&nodes[0], "jwt").await;
    let in_force = keys.iter().filter(|key| !key.2);
    assert_eq!(in_force.collect::<Vec<_>>(), [&(active, true, false)]);
    assert_eq!(keys.len(), 11);
}
