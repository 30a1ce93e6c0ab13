//! Accounts: made once, found by any writing of the name, changed and removed.

use domain::{UserId, UserName};
use store::{Batch, Refusal, Store, StoreError};

use crate::enrolled::enrol;
use crate::world::{World, refused};

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

/// Makes a user with an account.
pub async fn sign_up(store: &Store, text: &str) -> UserId {
    let now = store.now().await.unwrap();
    let user = UserId(store.new_id().await.unwrap());
    let mut batch = Batch::new();
    batch.make_user(user, &name(text), now);
    batch.make_account(user, text, "hash-1", now);
    store.commit(batch).await.unwrap();
    user
}

pub async fn an_account_is_made_once_and_found(world: World) {
    let store = world.store().await;
    assert!(store.account(&name("Alice")).await.unwrap().is_none());
    let user = sign_up(&store, "Alice").await;
    let found = store.account(&name("Alice")).await.unwrap().unwrap();
    assert_eq!(found.user, user);
    assert_eq!(found.name, name("Alice").canonical());
    assert_eq!((&found.shown[..], &found.password[..]), ("Alice", "hash-1"));
    assert_eq!(found.created_at, found.changed_at);

    let mut batch = Batch::new();
    batch.make_account(user, "ALICE", "hash-2", found.created_at);
    refused(store.commit(batch).await, Refusal::UserExists);
    let found = store.account(&name("Alice")).await.unwrap().unwrap();
    assert_eq!(found.password, "hash-1");

    // Known at another door, and without an account until one is made.
    let bob = enrol(&store, "bob", "bobs-phone").await;
    assert!(store.account(&name("bob")).await.unwrap().is_none());
    let mut batch = Batch::new();
    batch.lock(bob.user);
    batch.make_account(bob.user, "bob", "hash-b", found.created_at);
    store.commit(batch).await.unwrap();
    let found = store.account(&name("bob")).await.unwrap().unwrap();
    assert_eq!((found.user, &found.password[..]), (bob.user, "hash-b"));
}

pub async fn a_password_is_set_required_and_goes_with_its_account(world: World) {
    let store = world.store().await;
    let alice = sign_up(&store, "alice").await;
    sign_up(&store, "bob").await;
    let made = store.account(&name("alice")).await.unwrap().unwrap();
    let later = made.created_at.plus_seconds(5);
    let commit = async |fill: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        fill(&mut batch);
        store.commit(batch).await
    };
    commit(&|batch| batch.set_password(alice, "hash-2", later))
        .await
        .unwrap();
    let found = store.account(&name("alice")).await.unwrap().unwrap();
    assert_eq!(
        (&found.password[..], found.created_at, found.changed_at),
        ("hash-2", made.created_at, later)
    );
    let bob = store.account(&name("bob")).await.unwrap().unwrap();
    assert_eq!(bob.password, "hash-1");

    let required: Result<_, StoreError> =
        commit(&|batch| batch.require_password(alice, "hash-1")).await;
    refused(required, Refusal::AccountChanged);
    commit(&|batch| batch.require_password(alice, "hash-2"))
        .await
        .unwrap();

    commit(&|batch| batch.delete_account(alice)).await.unwrap();
    assert!(store.account(&name("alice")).await.unwrap().is_none());
    assert_eq!(
        store.user_by_name(&name("alice")).await.unwrap(),
        Some(alice)
    );
    let again = commit(&|batch| batch.delete_account(alice)).await;
    refused(again, Refusal::UserGone);
    let set = commit(&|batch| batch.set_password(alice, "hash-3", later)).await;
    refused(set, Refusal::UserGone);
    assert!(store.account(&name("bob")).await.unwrap().is_some());
}
