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

/// Only whole hours before the limit go, the oldest first, and never more than asked for.
pub async fn old_hours_are_swept_some_at_a_time(world: World) {
    let store = world.store().await;
    let at = count(&store, &["a", "b"], &[3, 90]).await;
    for hour in [0, HOUR_MS, 2 * HOUR_MS] {
        for chain in [1, 2] {
            for insert in [
                format!("stats VALUES ({hour}, {chain}, 1, 0, 0, 0, 0)"),
                format!("stat_counts VALUES ({hour}, {chain}, 'a', 1)"),
                format!("stat_delays VALUES ({hour}, {chain}, 3, 1, 0)"),
            ] {
                let insert = format!("INSERT INTO {insert}");
                world.database.execute(&insert).await;
            }
        }
    }
    let before = Time::from_millis(2 * HOUR_MS);
    let swept = async |limit| {
        [
            store.sweep_stats(before, limit).await.unwrap(),
            store.sweep_counts(before, limit).await.unwrap(),
            store.sweep_delays(before, limit).await.unwrap(),
        ]
    };
    assert_eq!(swept(3).await, [3; 3]);
    // Of the first hour nothing is left, of the second one chain.
    let early = (Time::from_millis(0), Time::from_millis(3 * HOUR_MS));
    let hours = async || {
        let stats = store.stats_by_hour(early.0, early.1).await.unwrap();
        let counts = store.counts(early.0, early.1).await.unwrap();
        let delays = store.delays(early.0, early.1).await.unwrap();
        let stats = stats.iter().map(|hour| (hour.from, hour.accepted));
        let counts = counts.iter().map(|(from, _, count)| (*from, *count));
        let delays = delays.iter().map(|(from, _, count, _)| (*from, *count));
        let all: [Vec<(Time, i64)>; 3] = [stats.collect(), counts.collect(), delays.collect()];
        all
    };
    let second = (Time::from_millis(HOUR_MS), 1);
    let third = (before, 2);
    assert_eq!(hours().await, [0; 3].map(|_| vec![second, third]));
    assert_eq!(swept(3).await, [1; 3]);
    assert_eq!(swept(3).await, [0; 3]);
    assert_eq!(hours().await, [0; 3].map(|_| vec![third]));
    // The present hour is as it was.
    let (from, to) = (hour_of(at), hour_of(at).plus_millis(HOUR_MS));
    assert_eq!(store.counts(from, to).await.unwrap().len(), 2);
    assert_eq!(store.delays(from, to).await.unwrap().len(), 2);
}
