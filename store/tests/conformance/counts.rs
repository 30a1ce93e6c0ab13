//! Counters by name and delays: added in the commit, to the hour and chain it belongs to.

use domain::{Action, Time, UserId};
use store::{Batch, Refusal, Store, slot_of};

use crate::enrolled::event;
use crate::world::{World, refused};

const HOUR_MS: i64 = 3_600_000;

fn hour_of(at: Time) -> Time {
    at.plus_millis(-at.millis().rem_euclid(HOUR_MS))
}

async fn count(store: &Store, names: &[&'static str], delays: &[i64]) -> Time {
    let mut batch = Batch::new();
    for name in names {
        batch.count(name);
    }
    for delay in delays {
        batch.count_delay(*delay);
    }
    store.commit(batch).await.unwrap()
}

pub async fn names_and_delays_are_counted_by_the_hour(world: World) {
    let store = world.store().await;
    let first = count(&store, &["b", "a", "b"], &[3, 3, 90]).await;
    // With an event, as most batches have one.
    let mut batch = Batch::new();
    batch.count("a");
    batch.count_delay(3);
    batch.record(event(Action::UserUnlocked));
    let last = store.commit(batch).await.unwrap();
    let (from, to) = (hour_of(first), hour_of(last).plus_millis(HOUR_MS));
    let counts = store.counts(from, to).await.unwrap();
    let of = |name: &str| -> i64 {
        let ours = counts.iter().filter(|(_, other, _)| other == name);
        ours.map(|(_, _, count)| count).sum()
    };
    assert_eq!((of("a"), of("b"), of("c")), (2, 2, 0));
    assert_eq!(counts[0].0, from);
    let delays = store.delays(from, to).await.unwrap();
    let of = |slot: i64| {
        let ours = delays.iter().filter(|delay| delay.1 == slot);
        ours.fold((0, 0), |sum, delay| (sum.0 + delay.2, sum.1 + delay.3))
    };
    assert_eq!((of(slot_of(3000)), of(slot_of(90_000))), ((3, 9), (1, 90)));
    assert_eq!(delays[0].0, from);

    assert!(
        store
            .counts(to, from.plus_seconds(90_000))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .delays(from.plus_millis(-HOUR_MS), from)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn the_hours_and_chains_are_apart_and_the_chains_summed(world: World) {
    for _ in 0..2 {
        let store = world.store().await;
        count(&store, &["a"], &[3]).await;
        store.close().await;
    }
    let rows = "SELECT bucket, chain, count FROM stat_counts";
    assert_eq!(world.database.query(rows).await.len(), 2);
    // On PostgreSQL the clock is the database's: the other hour is made past the store.
    for table in ["stat_counts", "stat_delays"] {
        let all = format!("UPDATE {table} SET bucket = 7200000");
        world.database.execute(&all).await;
    }
    let store = world.store().await;
    let at = count(&store, &["a"], &[3]).await;
    let (early, now) = (Time::from_millis(7_200_000), hour_of(at));
    let to = now.plus_millis(1);
    let counts = store.counts(early, to).await.unwrap();
    let a = |from, count| (from, "a".to_owned(), count);
    assert_eq!(counts, [a(early, 2), a(now, 1)]);
    let delays = store.delays(early, to).await.unwrap();
    let slot = slot_of(3000);
    assert_eq!(delays, [(early, slot, 2, 6), (now, slot, 1, 3)]);
    assert_eq!(store.counts(early, now).await.unwrap(), [a(early, 2)]);
}

pub async fn a_refused_batch_counts_nothing(world: World) {
    let store = world.store().await;
    let mut batch = Batch::new();
    batch.count("a");
    batch.count_delay(3);
    batch.open_guard(UserId(i64::MAX));
    refused(store.commit(batch).await, Refusal::UserGone);
    let mut batch = Batch::new();
    batch.count("a");
    batch.count_delay(3);
    batch.revoke_key("nobody's", Time::from_millis(1));
    refused(store.commit(batch).await, Refusal::KeyGone);
    let ever = (Time::from_millis(0), Time::from_millis(i64::MAX));
    assert!(store.counts(ever.0, ever.1).await.unwrap().is_empty());
    assert!(store.delays(ever.0, ever.1).await.unwrap().is_empty());
}
