//! The database's clock steps back: no lane believes it, whichever of them has committed lately.

use store::StoreError;

use crate::enrolled::{enrol, is_accepted};
use crate::proof;
use crate::world::World;

/// Another chain than that of whoever is asked, and how far it is ahead of the clock.
async fn ahead(world: &World, chain: &str, at: i64) {
    let raise = format!(
        "UPDATE chain_heads SET at = {at} WHERE chain = (SELECT {chain}(chain) FROM chain_heads)"
    );
    world.database.execute(&raise).await;
}

/// The first chain is a lane's, the last one that of the batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_chain_has_seen_holds_for_all() {
    for chain in ["MIN", "MAX"] {
        let world = World::postgres().await;
        let store = world.store().await;
        let people = ["alice", "bob", "carol", "dave"];
        let mut devices = Vec::new();
        for name in people {
            devices.push(enrol(&store, name, &format!("{name}-phone")).await);
        }
        let at = store.now().await.unwrap().plus_seconds(45).millis();
        ahead(&world, chain, at).await;
        // While the clock goes on, a node looks at what the others wrote once a second.
        world.pass(&store, 1000).await;
        for device in &devices {
            let code = device.code(&store, 0).await;
            let refused = device.verify(&store, code).await;
            let Err(StoreError::ClockBehind { behind_ms }) = refused else {
                panic!("{chain}: {refused:?}");
            };
            assert!((30_000..=45_000).contains(&behind_ms), "{behind_ms}");
        }
        let now = store.now().await.unwrap();
        let refused = store.commit(devices[0].deactivation(now)).await;
        assert!(
            matches!(refused, Err(StoreError::ClockBehind { .. })),
            "{chain}: {refused:?}"
        );
        assert_eq!(world.evaluations(), 0);
        assert_eq!(proof::events(&world.database).await, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_the_tolerance_the_time_is_the_latest_that_was_written() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let at = store.now().await.unwrap().plus_millis(2500).millis();
    ahead(&world, "MAX", at).await;
    world.pass(&store, 1000).await;
    let code = alice.code(&store, 0).await;
    let answer = alice.verify(&store, code).await.unwrap();
    assert!(is_accepted(&answer));
    assert!(answer.at.millis() >= at, "{answer:?}");
}
