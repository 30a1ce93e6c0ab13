//! Attempts through the lanes: what is spent, what is counted, what is refused.

use std::sync::Arc;

use domain::verify::Typed;
use domain::{Ask, DeviceName, Kind, State, Verdict};
use otp::Code;
use store::StoreError;

use crate::enrolled::{
    Plan, all_at_once, enrol, enrol_as, enrol_pending, how_many, is_accepted, verify,
};
use crate::proof;
use crate::world::World;

pub async fn one_code_fifty_times_at_once_is_accepted_once(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let code = alice.code(&store, 0).await;
    let work = (0..50).map(|_| (Arc::clone(&store), alice.submission(code)));
    let answers = all_at_once(work).await;
    let accepted = answers.iter().flatten().filter(|a| is_accepted(a)).count();
    assert_eq!(accepted, 1);
    assert_eq!(answers.iter().flatten().count(), 50);
    // A repetition counts as one failure, however often it is repeated.
    let guard = store.guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard.failures, 1);
    let stored = store.device(&alice.name).await.unwrap().unwrap();
    assert_eq!(stored.device.hot.used, 1);
    assert_eq!(proof::events(&world.database).await, 51);
}

pub async fn guesses_at_once_never_exceed_the_budget(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let (wrong, right) = (alice.wrong_code(&store).await, alice.code(&store, 0).await);
    let codes = (0..200).map(|place| if place == 100 { right } else { wrong });
    let work = codes.map(|code| (Arc::clone(&store), alice.submission(code)));
    let answers = all_at_once(work).await;
    let accepted = answers.iter().flatten().filter(|a| is_accepted(a)).count();
    // Five failures lock. The right code, should it come before, forgives four.
    let most = 5 + accepted * 5;
    assert!(world.evaluations() <= most, "{}", world.evaluations());
    assert_eq!(
        world.evaluations(),
        how_many(&answers, &Verdict::Rejected) + accepted
    );
    assert_eq!(
        how_many(&answers, &Verdict::Locked),
        200 - world.evaluations()
    );
    let guard = store.guard(alice.user).await.unwrap().unwrap();
    assert_eq!(guard.failures, 5);
    assert_eq!(proof::events(&world.database).await, 201);
}

pub async fn a_pending_device_is_confirmed_by_its_first_code(world: World) {
    let store = world.store().await;
    let alice = enrol_pending(&store, "alice", "phone", 600).await;
    alice.expect(&store, &Verdict::Inactive).await;
    let code = alice.code(&store, 0).await;
    let mut submission = alice.submission(code);
    submission.attempt.ask = match submission.attempt.ask {
        Ask::Verify(typed) => Ask::Confirm(typed),
        other => other,
    };
    let answer = store.attempt(submission).await.unwrap();
    assert!(is_accepted(&answer), "{answer:?}");
    let stored = store.device(&alice.name).await.unwrap().unwrap();
    assert_eq!(stored.device.state, State::Active);
    let answer = alice.verify(&store, code).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Rejected);
    alice.spend(&store, 1).await;
}

pub async fn an_unknown_device_leaves_no_trace(world: World) {
    let store = world.store().await;
    let name = DeviceName::parse("nobody").unwrap();
    let answer = store
        .attempt(verify(&name, Code::parse("123456").unwrap()))
        .await
        .unwrap();
    assert_eq!(answer.verdict, Verdict::Unknown);
    assert_eq!(proof::events(&world.database).await, 0);
}

pub async fn a_counter_device_moves_on_with_each_code(world: World) {
    let store = world.store().await;
    let plan = Plan {
        kind: Kind::Hotp,
        ..Plan::of("alice", "token")
    };
    let alice = enrol_as(&store, &plan).await;
    for (counter, accepted) in [(0, true), (0, false), (3, true), (2, false), (4, true)] {
        let mut submission = alice.submission(alice.code(&store, counter).await);
        if let Ask::Verify(Typed::Text(code)) = submission.attempt.ask {
            // As the old clients send it.
            let number = code.to_text().parse().unwrap();
            submission.attempt.ask = Ask::Verify(Typed::Integer(number));
        }
        let answer = store.attempt(submission).await.unwrap();
        assert_eq!(is_accepted(&answer), accepted, "{counter}");
    }
    let stored = store.device(&alice.name).await.unwrap().unwrap();
    assert_eq!((stored.device.hot.next, stored.device.hot.used), (5, 3));
}

pub async fn a_clock_behind_the_stored_time_judges_nothing(world: World) {
    let store = world.store().await;
    let alice = enrol(&store, "alice", "phone").await;
    let far = store.now().await.unwrap().plus_seconds(3600).millis();
    store.close().await;
    drop(store);
    world
        .database
        .execute(&format!("UPDATE chain_heads SET at = {far}"))
        .await;
    let store = world.store().await;
    let code = alice.code(&store, 0).await;
    let refused = alice.verify(&store, code).await;
    let Err(StoreError::ClockBehind { behind_ms }) = refused else {
        panic!("{refused:?}");
    };
    assert!((3_500_000..=3_600_000).contains(&behind_ms), "{behind_ms}");
    let at = store.now().await.unwrap();
    let refused = store.commit(alice.deactivation(at)).await;
    assert!(matches!(refused, Err(StoreError::ClockBehind { .. })));
    assert_eq!(world.evaluations(), 0);
    assert_eq!(proof::events(&world.database).await, 1);
}
