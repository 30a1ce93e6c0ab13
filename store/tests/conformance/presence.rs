//! Servers at work: each is counted while it is heard, and not once it is silent or has said goodbye.

use store::Batch;

use crate::world::World;

pub async fn servers_are_counted_while_they_are_heard(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    let see = async |id: &str, at, silent_since| {
        let mut batch = Batch::new();
        batch.see_node(id, at, silent_since);
        store.commit(batch).await.unwrap();
    };
    let earlier = now.plus_seconds(-60);
    let live = async |since| store.live_nodes(since).await.unwrap();
    assert_eq!(live(earlier).await, 1, "who asks is there");
    see("a", now, earlier).await;
    see("b", now, earlier).await;
    see("b", now, earlier).await;
    assert_eq!(live(now).await, 2);
    // One that falls silent is not counted, and later forgotten.
    let later = now.plus_seconds(30);
    see("a", later, earlier).await;
    assert_eq!(live(later.plus_seconds(-15)).await, 1);
    assert_eq!(live(earlier).await, 2);
    see("a", later, later).await;
    assert_eq!(live(earlier).await, 1);
    see("c", later, earlier).await;
    let mut batch = Batch::new();
    batch.forget_node("c");
    store.commit(batch).await.unwrap();
    assert_eq!(live(earlier).await, 1);
    store.close().await;
}
