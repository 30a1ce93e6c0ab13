//! What the helpdesk is told: only of codes that are past, and at the price of a guess otherwise.

use super::*;

/// Device 1 shows the same six digits at both of these steps.
const EARLIER: i64 = 56_669_865;
const LATER: i64 = 56_669_962;

fn explain(case: &mut Case, which: usize, step: i64) -> Outcome {
    let code = case.code(which, step);
    case.ask(which, Ask::Explain(Typed::Text(code)))
}

fn finding(outcome: &Outcome) -> Finding {
    match outcome.verdict {
        Verdict::Explained(finding) => finding,
        ref other => panic!("not explained: {other:?}"),
    }
}

#[test]
fn a_past_code_is_told_how_long_ago_it_was_valid_and_costs_nothing() {
    fn check(window: u32, offset: i64, expected: Finding) {
        let mut case = Case::new([totp(1)]);
        case.policies.default.window = window;
        let step = case.step() + offset;
        for _ in 0..3 {
            case.user.guard_changed = false;
            let outcome = explain(&mut case, 0, step);
            assert_eq!(finding(&outcome), expected, "{window} {offset}");
            assert_eq!(case.user.guard_changed, expected == Finding::NotPast);
        }
        assert_eq!(case.failures() == 0, expected != Finding::NotPast);
        assert_eq!(case.hot(0), Hot::default());
    }
    check(1, -2, Finding::ValidStepsAgo(2));
    check(1, -3, Finding::ValidStepsAgo(3));
    check(1, -120, Finding::ValidStepsAgo(120));
    check(1, -121, Finding::ValidStepsAgo(121));
    check(1, -122, Finding::NotPast);
    check(1, -1, Finding::NotPast);
    check(1, 0, Finding::NotPast);
    check(1, 1, Finding::NotPast);
    check(1, 2, Finding::NotPast);
    check(0, -1, Finding::ValidStepsAgo(1));
    check(0, 0, Finding::NotPast);
    check(4, -4, Finding::NotPast);
    check(4, -5, Finding::ValidStepsAgo(5));
}

#[test]
fn a_spent_code_is_told_to_be_used() {
    fn check(accepted_at: i64, asked: i64, wait_steps: i64, expected: Finding) {
        let mut case = Case::new([totp(1)]);
        let step = case.step();
        assert!(accepted(&case.verify_at(0, accepted_at)));
        case.pass(wait_steps * PERIOD);
        let outcome = explain(&mut case, 0, step + asked);
        let what = format!("{accepted_at} {asked} {wait_steps}");
        assert_eq!(finding(&outcome), expected, "{what}");
        assert_eq!(case.failures() == 0, expected != Finding::NotPast, "{what}");
    }
    check(0, 0, 0, Finding::AlreadyUsed);
    check(0, 0, 10, Finding::AlreadyUsed);
    check(-1, -1, 0, Finding::AlreadyUsed);
    check(-1, -1, 1, Finding::AlreadyUsed);
    // It was never typed, but it would still be accepted had no later one been.
    check(0, -1, 0, Finding::AlreadyUsed);
    check(1, 0, 0, Finding::AlreadyUsed);
    check(1, -1, 0, Finding::AlreadyUsed);
    check(1, 0, 1, Finding::AlreadyUsed);
    check(1, 0, 2, Finding::ValidStepsAgo(2));
    check(0, -5, 0, Finding::ValidStepsAgo(5));
    check(0, 1, 0, Finding::NotPast);
}

#[test]
fn steps_are_counted_by_the_clock_of_the_device() {
    fn check(drift_steps: i64, ago: i64, expected: Finding) {
        let mut case = Case::new([totp(1)]);
        case.device(0).hot.drift_ms = drift_steps * PERIOD * 1000;
        let step = case.step() + drift_steps - ago;
        assert_eq!(finding(&explain(&mut case, 0, step)), expected, "{ago}");
    }
    for drift_steps in [-10, -3, 0, 5, 10] {
        check(drift_steps, 1, Finding::NotPast);
        check(drift_steps, 2, Finding::ValidStepsAgo(2));
        check(drift_steps, 9, Finding::ValidStepsAgo(9));
    }
}

#[test]
fn a_code_is_never_past_in_the_future() {
    // The clock stepped back: steps ahead of it are spent.
    fn check(back_steps: i64, asked: i64, expected: Finding) {
        let mut case = Case::new([totp(1)]);
        let step = case.step();
        assert!(accepted(&case.verify_at(0, 0)));
        case.pass(-back_steps * PERIOD);
        let outcome = explain(&mut case, 0, step + asked);
        assert_eq!(finding(&outcome), expected, "{back_steps} {asked}");
    }
    check(10, 0, Finding::AlreadyUsed);
    check(10, -5, Finding::AlreadyUsed);
    check(10, -10, Finding::AlreadyUsed);
    check(10, -11, Finding::AlreadyUsed);
    check(10, -12, Finding::ValidStepsAgo(2));
    check(10, 1, Finding::NotPast);
}

#[test]
fn a_wrong_code_and_a_live_one_are_told_the_same_and_cost_the_same() {
    let mut wrong = Case::new([totp(1)]);
    let code = wrong.wrong(0);
    let expected = wrong.ask(0, Ask::Explain(Typed::Text(code)));
    assert_eq!(finding(&expected), Finding::NotPast);
    assert_eq!(expected.attempts_remaining, 4);
    for offset in [-1, 0, 1, 2, 3, 500] {
        let mut case = Case::new([totp(1)]);
        let step = case.step() + offset;
        assert_eq!(explain(&mut case, 0, step), expected, "{offset}");
        assert_eq!(case.user.guard, wrong.user.guard, "{offset}");
        assert_eq!(case.opened(), wrong.opened());
        assert!(!case.user.devices[0].hot_changed);
    }
}

#[test]
fn a_live_code_is_not_spent_by_asking() {
    let mut case = Case::new([totp(1)]);
    let step = case.step();
    explain(&mut case, 0, step);
    assert_eq!(case.failures(), 1);
    assert!(accepted(&case.verify_at(0, 0)));
    assert_eq!(case.failures(), 0);
}

#[test]
fn a_past_code_that_is_live_again_is_not_spoken_of() {
    fn check(step_now: i64, expected: Finding) {
        let mut case = Case::new([totp(1)]);
        case.now = Time::from_seconds(step_now * PERIOD);
        let code = case.code(0, EARLIER);
        assert!(code.equals(&case.code(0, LATER)), "no twins");
        let outcome = case.ask(0, Ask::Explain(Typed::Text(code)));
        assert_eq!(finding(&outcome), expected, "{}", step_now - LATER);
    }
    check(LATER - 3, Finding::ValidStepsAgo(LATER - EARLIER - 3));
    check(LATER - 1, Finding::NotPast);
    check(LATER, Finding::NotPast);
    check(LATER + 1, Finding::NotPast);
    check(LATER + 2, Finding::ValidStepsAgo(2));
}

#[test]
fn asking_about_codes_that_are_not_past_locks() {
    let mut case = Case::new([totp(1)]);
    let step = case.step();
    for _ in 0..5 {
        assert_eq!(finding(&explain(&mut case, 0, step)), Finding::NotPast);
    }
    assert_eq!(case.verify_at(0, 0), Verdict::Locked);
}

/// Codes of the last steps can still re-align a device and so move the window over
/// them: learnt free of charge during a lock, they would open it afterwards.
#[test]
fn a_lock_is_no_time_to_search_for_past_codes() {
    let mut case = Case::new([totp(1)]);
    let step = case.step();
    case.fail(5);
    let opened = case.opened();
    for offset in [-2, -3, -4, 0, 40] {
        let outcome = explain(&mut case, 0, step + offset);
        assert_eq!(outcome.verdict, Verdict::Locked, "{offset}");
        assert_eq!(outcome.locked_until, Some(START.plus_seconds(30)));
    }
    assert_eq!((case.opened(), case.failures()), (opened, 5));
}

#[test]
fn a_counter_is_past_once_a_later_one_was_accepted() {
    fn check(next: i64, asked: i64, expected: Finding) {
        let mut case = Case::new([counter(1, next)]);
        let outcome = explain(&mut case, 0, asked);
        assert_eq!(finding(&outcome), expected, "{next} {asked}");
        assert_eq!(case.failures() == 0, expected != Finding::NotPast);
        assert_eq!(case.hot(0).next, next);
    }
    check(0, 0, Finding::NotPast);
    check(0, 1, Finding::NotPast);
    check(1, 0, Finding::AlreadyUsed);
    check(20, 19, Finding::AlreadyUsed);
    check(20, 18, Finding::ValidStepsAgo(2));
    check(20, 0, Finding::ValidStepsAgo(20));
    check(20, 20, Finding::NotPast);
    check(20, 30, Finding::NotPast);
    check(20, 31, Finding::NotPast);
    check(200, 80, Finding::ValidStepsAgo(120));
    check(200, 79, Finding::NotPast);
}
