//! Emailed codes: their own budget, their exact life, and a guard that is never touched.

use super::*;
use crate::challenge::ChallengeKind;

const ID: ChallengeId = ChallengeId(50);
const LIFE: i64 = 300;

fn code(number: u64) -> Code {
    Code::from_integer(number, Digits::default()).expect("six digits")
}

/// An address to which 123456 was sent just now.
fn sent() -> Case {
    let mut case = Case::new([]);
    let hash = case.keys.hash_code(ID, &code(123_456));
    case.user.challenges.push(Awaited {
        challenge: Challenge {
            id: ID,
            user: UserId(7),
            kind: ChallengeKind::Emailed,
            hash: Some(hash),
            created_at: START,
            expires_at: START.plus_millis(LIFE * 1000),
            uses_left: 1,
            failures: 0,
            locked_until: None,
            day: 0,
            day_failures: 0,
        },
        changed: false,
    });
    case
}

fn answer(case: &mut Case, number: u64) -> Verdict {
    case.ask_person(Ask::Emailed(code(number))).verdict
}

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Proven(proof) if proof.method == Method::Email)
}

#[test]
fn a_code_serves_once_until_the_last_moment_of_its_life() {
    fn check(after_seconds: i64, accepted: bool) {
        let mut case = sent();
        case.pass(after_seconds);
        let first = answer(&mut case, 123_456);
        assert_eq!(is_accepted(&first), accepted, "{after_seconds}");
        assert_eq!(answer(&mut case, 123_456), Verdict::Rejected);
    }
    check(0, true);
    check(299, true);
    check(300, false);
}

#[test]
fn five_wrong_codes_lock_until_the_end_of_the_code_and_never_the_guard() {
    let mut case = sent();
    for _ in 0..5 {
        assert_eq!(answer(&mut case, 1), Verdict::Rejected);
    }
    let outcome = case.ask_person(Ask::Emailed(code(123_456)));
    assert_eq!(outcome.verdict, Verdict::Locked);
    assert_eq!(
        outcome.locked_until,
        Some(START.plus_millis(LIFE * 1000)),
        "the end of the code's life"
    );
    assert_eq!(case.user.guard, Guard::default());
    assert!(!case.user.guard_changed);
    case.pass(300);
    assert_eq!(answer(&mut case, 1), Verdict::Rejected);
}

#[test]
fn an_address_with_nothing_pending_is_locked_in_the_same_way() {
    let mut case = sent();
    case.user.challenges[0].challenge.hash = None;
    case.user.challenges[0].challenge.uses_left = 0;
    for _ in 0..5 {
        assert_eq!(answer(&mut case, 123_456), Verdict::Rejected);
    }
    let outcome = case.ask_person(Ask::Emailed(code(123_456)));
    assert_eq!(outcome.verdict, Verdict::Locked);
    assert_eq!(outcome.locked_until, Some(START.plus_millis(LIFE * 1000)));
}

#[test]
fn guessing_on_after_each_wait_gets_slower() {
    let mut case = sent();
    let mut evaluated = 0;
    // A day of a guess a minute.
    for _ in 0..24 * 60 {
        case.pass(60);
        if answer(&mut case, 1) == Verdict::Rejected {
            evaluated += 1;
        }
    }
    // It begins in one day of the calendar and ends in the next one.
    assert!((100..=250).contains(&evaluated), "{evaluated}");
}

#[test]
fn every_evaluation_leaves_a_record_of_the_address() {
    let mut case = sent();
    let outcome = case.ask_person(Ask::Emailed(code(1)));
    let event = outcome.event.expect("an event");
    assert_eq!(event.action, Action::EmailCodeVerification);
    assert_eq!((event.success, event.user), (false, Some(UserId(7))));
    let outcome = case.ask_person(Ask::Emailed(code(123_456)));
    assert!(outcome.event.expect("an event").success);
}

#[test]
fn repeating_the_accepted_code_costs_one_failure_at_most() {
    let mut case = sent();
    assert!(is_accepted(&answer(&mut case, 123_456)));
    for _ in 0..60 {
        assert_eq!(answer(&mut case, 123_456), Verdict::Rejected);
    }
    let challenge = &case.user.challenges[0].challenge;
    assert_eq!((challenge.failures, challenge.day_failures), (1, 1));
    assert_eq!(challenge.locked_until, None);
    // Others count on.
    for _ in 0..4 {
        assert_eq!(answer(&mut case, 1), Verdict::Rejected);
    }
    assert_eq!(answer(&mut case, 1), Verdict::Locked);
}

#[test]
fn a_code_that_was_never_accepted_costs_a_failure_each_time() {
    let mut case = sent();
    case.pass(300);
    for _ in 0..5 {
        assert_eq!(answer(&mut case, 123_456), Verdict::Rejected);
    }
    assert_eq!(answer(&mut case, 123_456), Verdict::Locked);
}
