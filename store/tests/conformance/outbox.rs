//! The outbox: mails come when they are due, and one node at a time takes each.

use domain::{Time, UserId};
use store::{Batch, Refusal, Store, StoreError, StoredMail};

use crate::world::{World, refused};

pub fn mail(id: i64, user: Option<UserId>, now: Time) -> StoredMail {
    StoredMail {
        id,
        user,
        sealed: vec![7, 8, 9],
        created_at: now,
        expires_at: now.plus_seconds(600),
        next_try: now,
        tries: 0,
    }
}

pub async fn post(store: &Store, mail: &StoredMail) {
    let mut batch = Batch::new();
    batch.post_mail(mail);
    store.commit(batch).await.unwrap();
}

async fn take(store: &Store, id: i64, seen: Time, next: Time) -> Result<Time, StoreError> {
    let mut batch = Batch::new();
    batch.take_mail(id, seen, next);
    store.commit(batch).await
}

async fn due(store: &Store, now: Time, limit: i64) -> Vec<i64> {
    let mails = store.due_mails(now, limit).await.unwrap();
    mails.iter().map(|mail| mail.id).collect()
}

pub async fn a_mail_is_posted_taken_once_and_removed(world: World) {
    let store = world.store().await;
    let now = store.now().await.unwrap();
    assert_eq!(store.waiting_mails().await.unwrap(), (0, None));
    let late = StoredMail {
        created_at: now.plus_seconds(-9),
        next_try: now.plus_seconds(5),
        ..mail(1, None, now)
    };
    post(&store, &late).await;
    post(&store, &mail(3, Some(UserId(77)), now)).await;
    post(&store, &mail(2, None, now)).await;
    let waiting = store.waiting_mails().await.unwrap();
    assert_eq!(waiting, (3, Some(now.plus_seconds(-9))));
    assert_eq!(due(&store, now.plus_millis(-1), 9).await, [0; 0]);
    assert_eq!(due(&store, now, 9).await, [2, 3]);
    assert_eq!(due(&store, now, 1).await, [2]);
    assert_eq!(due(&store, now.plus_seconds(5), 9).await, [2, 3, 1]);
    let found = store.due_mails(now, 9).await.unwrap().pop().unwrap();
    assert_eq!((found.user, found.tries), (Some(UserId(77)), 0));
    assert_eq!(found.sealed, [7, 8, 9]);
    assert_eq!(
        (found.created_at, found.expires_at, found.next_try),
        (now, now.plus_seconds(600), now)
    );

    let next = now.plus_seconds(30);
    take(&store, 3, now, next).await.unwrap();
    refused(take(&store, 3, now, next).await, Refusal::MailTaken);
    // A take that moves nothing on would let everybody take it.
    refused(take(&store, 3, next, next).await, Refusal::MailTaken);
    assert_eq!(due(&store, now, 9).await, [2]);
    let found = store.due_mails(next, 9).await.unwrap().pop().unwrap();
    assert_eq!((found.id, found.tries, found.next_try), (3, 1, next));

    let postpone = async |held: Time, to: Time| {
        let mut batch = Batch::new();
        batch.postpone_mail(3, held, to);
        store.commit(batch).await.map(drop)
    };
    let soon = now.plus_seconds(1);
    postpone(next, soon).await.unwrap();
    refused(postpone(next, soon).await, Refusal::MailTaken);
    assert_eq!(due(&store, soon, 9).await, [2, 3]);
    take(&store, 3, soon, next).await.unwrap();

    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.remove_mail(3);
        store.commit(batch).await.unwrap();
    }
    let gone = take(&store, 3, next, next.plus_seconds(1)).await;
    refused(gone, Refusal::MailTaken);
    assert_eq!(store.waiting_mails().await.unwrap().0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_never_take_the_same_mail() {
    let world = World::postgres().await;
    let nodes = [world.store().await, world.store().await];
    let now = nodes[0].now().await.unwrap();
    for id in 0..20 {
        post(&nodes[0], &mail(id, None, now)).await;
        let next = now.plus_seconds(30);
        let taken: [_; 2] = tokio::join!(
            take(&nodes[0], id, now, next),
            take(&nodes[1], id, now, next)
        )
        .into();
        assert_eq!(taken.iter().filter(|t| t.is_ok()).count(), 1, "{taken:?}");
        for lost in taken.into_iter().filter(Result::is_err) {
            refused(lost, Refusal::MailTaken);
        }
    }
    let mails = nodes[0].due_mails(now.plus_seconds(30), 99).await.unwrap();
    assert_eq!(mails.len(), 20);
    assert!(mails.iter().all(|mail| mail.tries == 1));
}
