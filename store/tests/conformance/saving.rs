//! What the database counts while a batch is saved: when other rows change than the batch was given, nothing of it stays.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use otp::Code;
use store::{Store, StoreError};

use crate::database::{Cell, Database};
use crate::enrolled::{Enrolled, enrol, is_accepted};
use crate::held::{hold_hot_row, until_it_waits_in_its_commit};
use crate::proof;
use crate::world::World;

/// Gives the rows of a table another fate than the statement that updates them means.
async fn spoil(database: &Database, table: &str, fate: &str) {
    let trigger = format!(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN {fate}; RETURN NEW; END $$;
         CREATE TRIGGER spoil BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION spoil()"
    );
    database.execute(&trigger).await;
}

async fn spoil_no_more(database: &Database) {
    database.execute("DROP FUNCTION spoil CASCADE").await;
}

/// All that a batch of attempts writes.
async fn state(database: &Database) -> Vec<Vec<Vec<Cell>>> {
    let mut tables = Vec::new();
    for sql in [
        "SELECT id, next, used, last_used, drift_ms, replayed FROM device_hot ORDER BY id",
        "SELECT id, failures, days FROM guards ORDER BY id",
        "SELECT chain, seq, link, mac, at FROM chain_heads ORDER BY chain",
        "SELECT bucket, chain, accepted, rejected FROM stats ORDER BY bucket, chain",
        "SELECT id FROM events ORDER BY id",
    ] {
        tables.push(database.query(sql).await);
    }
    tables
}

async fn check(world: &World, store: &Store, alice: &Enrolled, code: Code, spoilt: (&str, &str)) {
    let (table, fate) = spoilt;
    let before = state(&world.database).await;
    spoil(&world.database, table, fate).await;
    let answer = alice.verify(store, code).await;
    let refused = matches!(answer, Err(StoreError::Busy));
    assert!(refused, "{table}: {fate}: {answer:?}");
    assert_eq!(state(&world.database).await, before, "{table}: {fate}");
    spoil_no_more(&world.database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_finds_other_rows_than_it_read_is_undone() {
    let world = World::postgres().await;
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let right = alice.code(&store, 0).await;
    let wrong = alice.wrong_code(&store).await;
    let check = async |code, spoilt| check(&world, &store, &alice, code, spoilt).await;
    check(right, ("device_hot", "RETURN NULL")).await;
    check(right, ("chain_heads", "RETURN NULL")).await;
    check(wrong, ("chain_heads", "RETURN NULL")).await;
    check(wrong, ("guards", "RETURN NULL")).await;
    // The guards are saved before the head, which then stands elsewhere.
    let moved = "UPDATE chain_heads SET seq = seq + 1";
    check(wrong, ("guards", moved)).await;
    assert!(is_accepted(&alice.verify(&store, right).await.unwrap()));
    assert_eq!(proof::events(&world.database).await, 2);
}

/// On a machine that stands still for long the lane gives its connection up before: then it
/// is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_which_one_row_is_not_there_is_undone_as_a_whole() {
    for _ in 0..5 {
        if saves_two_of_which_one_is_not_there().await.is_some() {
            return;
        }
    }
    panic!("the lane has never waited to the end");
}

/// `None` when the lane has lost its connection.
async fn saves_two_of_which_one_is_not_there() -> Option<()> {
    let world = World::postgres().await;
    let store = world.store_of_one_lane().await;
    let alice = enrol(&store, "alice", "phone").await;
    let bob = enrol(&store, "bob", "laptop").await;
    let carol = enrol(&store, "carol", "watch").await;
    let code = alice.code(&store, 0).await;
    let missing = format!("IF OLD.id = {} THEN RETURN NULL; END IF", bob.device.0);
    spoil(&world.database, "device_hot", &missing).await;
    // While the lane waits for this row, the other two come together.
    let holder = hold_hot_row(&world.database, alice.device).await;
    let mut first = pin!(alice.verify(&store, code));
    assert!(is_pending(first.as_mut()).await);
    until_it_waits_in_its_commit(&world.database).await;
    let both = async { tokio::join!(bob.verify(&store, code), carol.verify(&store, code)) };
    let mut both = pin!(both);
    assert!(is_pending(both.as_mut()).await);
    holder.batch_execute("COMMIT").await.unwrap();
    assert!(is_accepted(&kept(first.await)?));
    let (missing, there) = both.await;
    if [&missing, &there].iter().any(|answer| is_lost(answer)) {
        return None;
    }
    assert!(matches!(missing, Err(StoreError::Busy)), "{missing:?}");
    assert!(matches!(there, Err(StoreError::Busy)), "{there:?}");
    assert_eq!(proof::events(&world.database).await, 4);
    spoil_no_more(&world.database).await;
    assert!(is_accepted(&bob.verify(&store, code).await.unwrap()));
    assert!(is_accepted(&carol.verify(&store, code).await.unwrap()));
    assert_eq!(proof::events(&world.database).await, 6);
    Some(())
}

fn is_lost<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

/// `None` when the connection was lost.
fn kept<T>(answer: Result<T, StoreError>) -> Option<T> {
    match is_lost(&answer) {
        true => None,
        false => Some(answer.unwrap()),
    }
}

/// Begins a piece of work and says whether it waits for something.
async fn is_pending(mut work: std::pin::Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await
}
