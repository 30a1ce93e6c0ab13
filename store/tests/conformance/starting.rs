//! What a start finds, refuses and begins.

use std::collections::HashSet;

use domain::{UserId, UserName};
use store::{Access, Batch, MasterVersion, Refusal, StoreError};

use crate::enrolled::enrol;
use crate::proof;
use crate::world::World;

pub async fn ids_never_repeat(world: World) {
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let store = world.store().await;
        for _ in 0..5 {
            assert!(seen.insert(store.new_id().await.unwrap()));
        }
        store.close().await;
    }
}

pub async fn chains_are_gapless_and_name_the_one_before(world: World) {
    for round in 0..3 {
        let store = world.store().await;
        let alice = enrol(&store, "alice", &format!("phone-{round}")).await;
        for _ in 0..3 {
            let code = alice.code(&store, 0).await;
            alice.verify(&store, code).await.unwrap();
        }
        store.close().await;
    }
    let proven = proof::chains(&world.database).await;
    // Two lanes and one for batches on PostgreSQL.
    assert_eq!(proven.len(), if world.is_postgres() { 9 } else { 3 });
    assert_eq!(proven.iter().map(|chain| chain.length).sum::<i64>(), 12);
    assert_eq!(proven[0].before, None);
    for pair in proven.windows(2) {
        assert_eq!(pair[1].before, Some(pair[0].name));
    }
}

pub async fn a_newer_schema_is_refused(world: World) {
    world.store().await.close().await;
    let insert = "INSERT INTO migrations (version) VALUES (999)";
    world.database.execute(insert).await;
    for access in [Access::Write, Access::Read] {
        let refused = world.open(access).await.err().unwrap().to_string();
        assert!(refused.contains("999"), "{refused}");
        assert!(refused.contains("newer"), "{refused}");
    }
}

pub async fn a_reader_reads_and_does_not_write(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let reader = world.open(Access::Read).await.unwrap();
    let found = reader.device(&alice.name).await.unwrap();
    assert_eq!(found.unwrap().device.id, alice.device);
    reader.ping().await.unwrap();
    assert!(reader.commit(Batch::new()).await.is_err());
    assert!(reader.new_id().await.is_err());
    assert!(reader.start(world.judge.clone()).await.is_err());
    assert!(reader.initialise(&Batch::new()).await.is_err());
    let code = alice.code(&store, 0).await;
    assert!(alice.verify(&reader, code).await.is_err());
    alice.spend(&store, 0).await;
}

pub async fn an_empty_database_is_not_read(world: World) {
    let refused = world.open(Access::Read).await.err().unwrap();
    assert!(matches!(refused, StoreError::Unusable(_)), "{refused}");
}

pub async fn what_initialises_a_database_is_committed_or_refused_as_a_whole(world: World) {
    let store = world.open(Access::Write).await.unwrap();
    let now = store.now().await.unwrap();
    let version = |version| MasterVersion {
        version,
        check: [1; 32],
        created_at: now,
        active_at: Some(now),
    };
    let mut batch = Batch::new();
    batch.insert_master(&version(1));
    store.initialise(&batch).await.unwrap();
    let mut batch = Batch::new();
    batch.insert_master(&version(2));
    batch.insert_master(&version(1));
    let refused = store.initialise(&batch).await;
    assert!(matches!(
        refused,
        Err(StoreError::Refused(Refusal::Missing))
    ));
    assert_eq!(store.master_versions().await.unwrap().len(), 1);
    assert!(store.start(world.judge.clone()).await.is_ok());
    assert!(store.start(world.judge.clone()).await.is_err());
}

/// SQLite belongs to one process.
#[tokio::test]
async fn a_second_process_is_refused_on_sqlite() {
    let world = World::sqlite();
    let _store = world.store().await;
    let refused = world.open(Access::Write).await.err().unwrap().to_string();
    assert!(
        refused.contains("in use by another otpd process"),
        "{refused}"
    );
}

/// Two nodes that start at the same time on an empty database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_may_start_at_once_on_postgres() {
    let world = World::postgres().await;
    let (one, other) = tokio::join!(world.store(), world.store());
    let alice = enrol(&one, "alice", "phone").await;
    alice.spend(&other, 0).await;
    assert!(one.is_shared());
    let proven = proof::chains(&world.database).await;
    for pair in proven.windows(2) {
        assert_eq!(pair[1].before, Some(pair[0].name));
    }
    let mut batch = Batch::new();
    let name = UserName::parse("bob").unwrap();
    let now = one.now().await.unwrap();
    batch.make_user(UserId(one.new_id().await.unwrap()), &name, now);
    one.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_refused_on_postgres() {
    let world = World::postgres().await;
    let name = world
        .database
        .query("SELECT CAST(current_database() AS TEXT)")
        .await;
    let name = name[0][0].text();
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    world.database.execute(&set).await;
    let refused = world.open(Access::Write).await.err().unwrap().to_string();
    assert!(
        refused.contains("default_transaction_read_only"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgresql://u:hunter2@127.0.0.1:{port}/d");
    let settings = crate::world::settings(store::Target::Postgres(url));
    let clock = std::sync::Arc::new(crate::judge::TestClock::default());
    let refused = store::Store::open(&settings, Access::Write, clock).await;
    let refused = refused.err().unwrap().to_string();
    let expected = format!("cannot reach the database at 127.0.0.1:{port}/d: ");
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
}
