//! Several lanes of one node: what becomes of attempts when one of them cannot go on.

use std::sync::Arc;
use std::time::Duration;

use crate::enrolled::{Enrolled, enrol, is_accepted};
use crate::held::{hold_hot_row, until_it_waits_in_its_commit};
use crate::world::World;

/// So long after its beginning a lane is known to be stuck.
const KNOWN: Duration = Duration::from_millis(200);
/// Before the lane that is stuck gives up and tries again.
const SOON: Duration = Duration::from_millis(900);

/// On a machine that stands still for long the lane is no longer stuck: then it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_is_served_beside_a_lane_that_is_stuck() {
    for _ in 0..3 {
        if all_are_served_beside_a_lane_that_is_stuck().await {
            return;
        }
    }
    panic!("somebody waits behind the lane that is stuck");
}

async fn all_are_served_beside_a_lane_that_is_stuck() -> bool {
    let world = World::postgres().await;
    let store = world.store().await;
    let held = enrol(&store, "held", "held").await;
    let mut others = Vec::new();
    for number in 0..60 {
        let name = format!("other-{number}");
        others.push(enrol(&store, &name, &name).await);
    }
    let code = held.code(&store, 0).await;
    let attempt = |of: &Enrolled| {
        let (store, submission) = (Arc::clone(&store), of.submission(code));
        tokio::spawn(async move { store.attempt(submission).await })
    };
    let holder = hold_hot_row(&world.database, held.device).await;
    let stuck = attempt(&held);
    until_it_waits_in_its_commit(&world.database).await;
    let all = async {
        tokio::time::sleep(KNOWN).await;
        // One after the other: some come while the other lane is at work.
        let mut answers = Vec::new();
        for other in &others {
            answers.push(attempt(other));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for answer in answers {
            assert!(is_accepted(&answer.await.unwrap().unwrap()));
        }
    };
    let served = tokio::time::timeout(SOON, all).await.is_ok();
    let is_stuck = !stuck.is_finished();
    holder.batch_execute("COMMIT").await.unwrap();
    if served {
        assert!(is_stuck);
        assert!(is_accepted(&stuck.await.unwrap().unwrap()));
    }
    served
}
