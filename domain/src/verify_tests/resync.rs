//! Two codes in a row re-align a device.

use super::*;

fn pair(case: &mut Case, which: usize, first: i64, second: i64) -> Outcome {
    let codes = (case.code(which, first), case.code(which, second));
    let ask = Ask::Resynchronise(Typed::Text(codes.0), Typed::Text(codes.1));
    case.ask(which, ask)
}

#[test]
fn both_codes_must_lie_within_ten_steps() {
    fn check(window: u32, first: i64, expected: bool) {
        let mut case = Case::new([totp(1)]);
        case.policies.default.window = window;
        let step = case.step() + first;
        let outcome = pair(&mut case, 0, step, step + 1);
        if !expected {
            assert_eq!(outcome.verdict, Verdict::Rejected, "{first}");
            assert_eq!(case.failures(), 1);
            assert_eq!(case.hot(0), Hot::default());
            return;
        }
        let drift_seconds = (first + 1) * PERIOD;
        let verdict = Verdict::Resynchronised { drift_seconds };
        assert_eq!(outcome.verdict, verdict, "{first}");
        // Both are spent, and from the next one on the device works.
        for spent in [step, step + 1] {
            let code = case.code(0, spent);
            assert_eq!(case.verify(0, code).verdict, Verdict::Rejected, "{first}");
        }
        case.pass(PERIOD);
        let code = case.code(0, step + 2);
        assert!(accepted(&case.verify(0, code).verdict), "{window} {first}");
    }
    for window in [0, 1] {
        check(window, -11, false);
        check(window, -10, true);
        check(window, -1, true);
        check(window, 0, true);
        check(window, 5, true);
        check(window, 9, true);
        check(window, 10, false);
    }
}

#[test]
fn the_drift_of_a_resynchronisation_is_measured_from_the_server_s_time() {
    let mut case = Case::new([totp(1)]);
    for (first, drift_seconds) in [(6, 210), (-9, -240), (9, 300)] {
        let step = case.step() + first;
        let verdict = pair(&mut case, 0, step, step + 1).verdict;
        assert_eq!(verdict, Verdict::Resynchronised { drift_seconds });
        assert_eq!(case.hot(0).drift_ms, drift_seconds * 1000);
        case.pass(1000);
    }
}

#[test]
fn two_codes_that_are_not_neighbours_count_as_one_failure() {
    fn check(first: i64, second: i64) {
        let mut case = Case::new([totp(1)]);
        let step = case.step();
        let outcome = pair(&mut case, 0, step + first, step + second);
        assert_eq!(outcome.verdict, Verdict::Rejected, "{first} {second}");
        assert_eq!(outcome.attempts_remaining, 4);
        assert_eq!(case.hot(0), Hot::default());
    }
    check(0, 0);
    check(1, 0);
    check(0, 2);
    check(0, -1);
    check(0, 50);
    check(50, 0);
}

#[test]
fn a_spent_step_takes_no_part() {
    fn check(first: i64, expected: bool) {
        let mut case = Case::new([totp(1)]);
        assert!(accepted(&case.verify_at(0, 0)));
        let step = case.step() + first;
        let verdict = pair(&mut case, 0, step, step + 1).verdict;
        let done = matches!(verdict, Verdict::Resynchronised { .. });
        assert_eq!(done, expected, "{first}");
        let next = case.step() + 1;
        assert_eq!(case.hot(0).next, if done { step + 2 } else { next });
    }
    check(-1, false);
    check(0, false);
    check(1, true);
    check(2, true);
}

#[test]
fn the_same_pair_does_not_serve_twice() {
    let mut case = Case::new([totp(1), counter(2, 0)]);
    for which in [0, 1] {
        let first = if which == 0 { case.step() - 3 } else { 20 };
        let verdict = pair(&mut case, which, first, first + 1).verdict;
        assert!(matches!(verdict, Verdict::Resynchronised { .. }));
        let after = case.hot(which);
        for _ in 0..2 {
            let verdict = pair(&mut case, which, first, first + 1).verdict;
            assert_eq!(verdict, Verdict::Rejected);
            assert_eq!(case.hot(which), after);
        }
    }
    assert_eq!(case.failures(), 4);
}

#[test]
fn a_clock_stepping_back_lets_no_spent_pair_in() {
    let mut case = Case::new([totp(1)]);
    let step = case.step();
    assert!(accepted(&case.verify_at(0, 0)));
    case.pass(-600);
    let verdict = pair(&mut case, 0, step - 25, step - 24).verdict;
    assert_eq!(verdict, Verdict::Rejected);
    assert_eq!(case.hot(0).next, step + 1);
}

#[test]
fn a_counter_is_looked_for_a_hundred_ahead() {
    fn check(next: i64, ahead: i64, expected: bool) {
        let mut case = Case::new([counter(1, next)]);
        let first = next + ahead;
        let verdict = pair(&mut case, 0, first, first + 1).verdict;
        if expected {
            assert_eq!(verdict, Verdict::Resynchronised { drift_seconds: 0 });
            assert_eq!(case.hot(0).next, first + 2, "{next} + {ahead}");
            assert_eq!(case.verify_at(0, first + 1), Verdict::Rejected);
            assert!(accepted(&case.verify_at(0, first + 2)));
        } else {
            assert_eq!(verdict, Verdict::Rejected, "{next} + {ahead}");
            assert_eq!(case.hot(0).next, next);
        }
    }
    check(0, 0, true);
    check(0, 100, true);
    check(0, 101, false);
    check(500, 0, true);
    check(500, 100, true);
    check(500, 101, false);
    check(500, -1, false);
    check(500, -2, false);
}

#[test]
fn a_resynchronisation_is_no_acceptance() {
    let mut case = Case::new([totp(1)]);
    case.fail(3);
    let step = case.step();
    pair(&mut case, 0, step, step + 1);
    assert_eq!((case.hot(0).used, case.hot(0).last_used), (0, None));
    assert_eq!(case.failures(), 3);
}

#[test]
fn failing_resynchronisations_lock() {
    let mut case = Case::new([totp(1)]);
    let step = case.step();
    for remaining in [4, 3, 2, 1, 0] {
        let outcome = pair(&mut case, 0, step + 30, step + 31);
        assert_eq!(outcome.verdict, Verdict::Rejected);
        assert_eq!(outcome.attempts_remaining, remaining);
    }
    assert_eq!(pair(&mut case, 0, step, step + 1).verdict, Verdict::Locked);
    assert_eq!(case.opened(), 5);
}
