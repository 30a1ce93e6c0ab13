//! A code is accepted once, accepted steps only increase, and a clock that steps back revives none.

use super::*;

/// Two neighbouring steps at which device 1 shows the same six digits.
const TWINS: i64 = 57_270_363;

#[test]
fn accepted_steps_strictly_increase() {
    fn check(offsets: &[i64], expected: &[bool]) {
        let mut case = Case::new([totp(1)]);
        let verdicts: Vec<bool> = offsets
            .iter()
            .map(|offset| accepted(&case.verify_at(0, *offset)))
            .collect();
        assert_eq!(verdicts, expected, "{offsets:?}");
    }
    check(&[0, 0], &[true, false]);
    check(&[0, 1], &[true, true]);
    check(&[1, 0], &[true, false]);
    check(&[0, -1], &[true, false]);
    check(&[1, -1, 0, 1], &[true, false, false, false]);
    check(&[-1, 0, 1], &[true, true, true]);
    check(
        &[-1, -1, 0, 0, 1, 1],
        &[true, false, true, false, true, false],
    );
}

#[test]
fn an_acceptance_is_remembered() {
    let mut case = Case::new([totp(1)]);
    assert_eq!(case.verify_at(0, 0), Verdict::Accepted { skew: 0 });
    let expected = Hot {
        next: case.step() + 1,
        used: 1,
        last_used: Some(START),
        ..Hot::default()
    };
    assert_eq!(case.hot(0), expected);
    assert!(case.user.devices[0].hot_changed);
    assert!(!case.user.devices[0].state_changed);
    // A clean success writes one narrow row and never the guard.
    assert!(!case.user.guard_changed);

    case.pass(PERIOD);
    assert_eq!(case.verify_at(0, 0), Verdict::Accepted { skew: 0 });
    assert_eq!(case.hot(0).used, 2);
    assert_eq!(case.hot(0).last_used, Some(case.now));
}

#[test]
fn a_spent_step_costs_one_failure_at_most() {
    fn check(offsets: &[i64], failures: u32) {
        let mut case = Case::new([totp(1)]);
        for offset in offsets {
            case.verify_at(0, *offset);
        }
        assert_eq!(case.failures(), failures, "{offsets:?}");
    }
    check(&[0], 0);
    check(&[0, 0], 1);
    check(&[0, 0, 0, 0, 0, 0, 0, 0], 1);
    // Steps burnt by a later one count like spent ones, each once when met in order.
    check(&[1, 0, 0, 0], 1);
    check(&[1, 0, 1, 0, 1], 2);
    check(&[1, -1, 0, 1, -1, 0, 1], 3);
    // The next acceptance clears the count, and its own repetition counts anew.
    check(&[0, 0, 1], 0);
    check(&[0, 0, 1, 1, 1], 1);
}

#[test]
fn a_spent_code_looks_like_a_wrong_one() {
    let mut spent = Case::new([totp(1)]);
    spent.verify_at(0, 0);
    let mut wrong = Case::new([totp(1)]);
    wrong.verify_at(0, 0);

    let step = spent.step();
    let spent_code = spent.code(0, step);
    let repeated = spent.verify(0, spent_code);
    let wrong_code = wrong.wrong(0);
    let mistyped = wrong.verify(0, wrong_code);
    assert_eq!(repeated.verdict, Verdict::Rejected);
    assert_eq!(repeated.verdict, mistyped.verdict);
    assert_eq!(repeated.attempts_remaining, mistyped.attempts_remaining);
    assert_eq!(repeated.locked_until, mistyped.locked_until);
    // Only the audit tells them apart.
    assert_eq!(reason(&repeated), r#"{"reason":"already used"}"#);
    assert_eq!(reason(&mistyped), r#"{"reason":"wrong"}"#);
}

#[test]
fn of_two_steps_with_the_same_code_the_highest_is_burnt() {
    fn check(offset: i64, skew: i64) {
        let mut case = Case::new([totp(1)]);
        case.now = Time::from_seconds((TWINS + offset) * PERIOD);
        let code = case.code(0, TWINS);
        assert!(code.equals(&case.code(0, TWINS + 1)), "no twins");
        assert_eq!(case.verify(0, code).verdict, Verdict::Accepted { skew });
        assert_eq!(case.hot(0).next, TWINS + 2);
        for wait in 0..4 {
            let verdict = case.verify(0, code).verdict;
            assert_eq!(verdict, Verdict::Rejected, "after {wait} steps");
            case.pass(PERIOD);
        }
    }
    check(0, 1);
    check(1, 0);
}

#[test]
fn a_clock_stepping_back_revives_no_step() {
    fn check(back_seconds: i64) {
        for spent in -5..=0 {
            let mut case = Case::new([totp(1)]);
            let step = case.step();
            assert!(accepted(&case.verify_at(0, 0)));
            case.pass(-back_seconds);
            let code = case.code(0, step + spent);
            let verdict = case.verify(0, code).verdict;
            assert_eq!(verdict, Verdict::Rejected, "{back_seconds} {spent}");
            assert_eq!(case.hot(0).next, step + 1);
        }
    }
    check(0);
    check(1);
    check(30);
    check(60);
    check(150);
    check(86_400);
}

#[test]
fn after_a_clock_stepped_back_new_steps_are_accepted_again() {
    let mut case = Case::new([totp(1)]);
    assert!(accepted(&case.verify_at(0, 0)));
    case.pass(-PERIOD);
    // One step ahead of a clock that is one step behind: the spent one.
    assert_eq!(case.verify_at(0, 1), Verdict::Rejected);
    case.pass(PERIOD);
    assert!(accepted(&case.verify_at(0, 1)));
}
