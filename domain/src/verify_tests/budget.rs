//! How many wrong guesses a user has, and that nothing is judged once they are used up.

use super::*;

#[test]
fn the_fifth_failure_locks() {
    let mut case = Case::new([totp(1)]);
    for remaining in [4, 3, 2, 1, 0] {
        let wrong = case.wrong(0);
        let outcome = case.verify(0, wrong);
        assert_eq!(outcome.verdict, Verdict::Rejected);
        assert_eq!(outcome.attempts_remaining, remaining);
        let locked_until = (remaining == 0).then(|| START.plus_seconds(30));
        assert_eq!(outcome.locked_until, locked_until);
    }
    assert!(case.user.guard_changed);
    assert_eq!(case.opened(), 5);
}

/// One kind of question, asked with right codes or with wrong ones.
fn question(case: &Case, kind: Action, right: bool) -> Ask {
    let step = case.step();
    let typed = |step| match right {
        true => Typed::Text(case.code(0, step)),
        false => Typed::Text(case.wrong(0)),
    };
    match kind {
        Action::DeviceConfirmed => Ask::Confirm(typed(step)),
        Action::DeviceResynchronised => Ask::Resynchronise(typed(step), typed(step + 1)),
        Action::OtpExplained => Ask::Explain(typed(step - 2)),
        _ => Ask::Verify(typed(step)),
    }
}

const QUESTIONS: [Action; 4] = [
    Action::OtpVerification,
    Action::DeviceConfirmed,
    Action::DeviceResynchronised,
    Action::OtpExplained,
];

fn fit_for(kind: Action) -> Case {
    let mut device = totp(1);
    if kind == Action::DeviceConfirmed {
        device.state = State::Pending(START.plus_seconds(1 << 40));
    }
    Case::new([device, totp(2)])
}

#[test]
fn a_locked_user_is_told_the_same_whatever_the_code() {
    fn check(kind: Action, disabled: bool) {
        let mut case = fit_for(kind);
        case.user.guard.failures = 5;
        case.user.guard.locked_until = Some(START.plus_seconds(30));
        case.user.guard.disabled_at = disabled.then_some(START);
        let guard = case.user.guard.clone();
        let (right, wrong) = (question(&case, kind, true), question(&case, kind, false));
        for seconds in [0, 29] {
            case.now = START.plus_seconds(seconds);
            let told = case.ask(0, right);
            assert_eq!(told, case.ask(0, wrong), "{kind} {disabled}");
            assert_eq!(told.verdict, Verdict::Locked, "{kind} {disabled}");
            assert_eq!(told.attempts_remaining, 0);
            let until = (!disabled).then(|| START.plus_seconds(30));
            assert_eq!(told.locked_until, until);
            assert_eq!(reason(&told), r#"{"reason":"locked"}"#);
        }
        // Neither was computed, and neither left a trace outside the audit.
        assert_eq!(case.opened(), 0, "{kind} {disabled}");
        assert_eq!(case.user.guard, guard);
        assert!(!case.user.guard_changed && !case.user.devices[0].hot_changed);
        assert!(!case.user.devices[0].state_changed);
    }
    for kind in QUESTIONS {
        check(kind, false);
        check(kind, true);
    }
}

#[test]
fn nothing_is_evaluated_beyond_the_budget_whatever_is_asked() {
    fn check(kind: Action) {
        let mut case = fit_for(kind);
        for _ in 0..100 {
            let wrong = question(&case, kind, false);
            case.ask(0, wrong);
        }
        assert_eq!((case.opened(), case.failures()), (5, 5), "{kind}");
        assert_eq!(case.user.guard.locked_until, Some(START.plus_seconds(30)));
    }
    for kind in QUESTIONS {
        check(kind);
    }
}

#[test]
fn a_right_code_is_accepted_once_the_lock_is_over() {
    let mut case = Case::new([totp(1)]);
    case.fail(5);
    case.pass(29);
    assert_eq!(case.verify_at(0, 0), Verdict::Locked);
    case.pass(1);
    assert!(accepted(&case.verify_at(0, 0)));
    assert_eq!(case.user.guard.locked_until, None);
}

#[test]
fn each_further_failure_locks_twice_as_long() {
    let mut case = Case::new([totp(1)]);
    case.fail(4);
    for seconds in [30, 60, 120, 240, 480, 900, 900, 900] {
        let wrong = case.wrong(0);
        let outcome = case.verify(0, wrong);
        assert_eq!(outcome.locked_until, Some(case.now.plus_seconds(seconds)));
        case.pass(seconds - 1);
        assert_eq!(case.verify_at(0, 0), Verdict::Locked, "{seconds}");
        case.pass(1);
    }
}

#[test]
fn the_fiftieth_failure_in_a_row_disables() {
    fn check(failures: u32, expected: bool) {
        let mut case = Case::new([totp(1)]);
        case.fail_patiently(failures);
        let code = case.code(0, case.step());
        let outcome = case.verify(0, code);
        assert_eq!(accepted(&outcome.verdict), expected, "{failures}");
        if !expected {
            assert_eq!(outcome.verdict, Verdict::Locked);
            assert_eq!(
                (outcome.attempts_remaining, outcome.locked_until),
                (0, None)
            );
        }
        case.pass(366 * 86_400);
        assert_eq!(accepted(&case.verify_at(0, 0)), expected, "{failures}");
    }
    check(49, true);
    check(50, false);
}

#[test]
fn two_hundred_failures_within_thirty_days_disable_whatever_succeeds_between() {
    let mut case = Case::new([totp(1)]);
    for n in 0..50 {
        case.fail(4);
        let expected = n < 49;
        assert_eq!(accepted(&case.verify_at(0, 0)), expected, "{n}");
        case.pass(12 * 3600);
    }
    assert!(case.user.guard.disabled_at.is_some());
}

#[test]
fn only_a_full_success_clears_the_count() {
    fn check(ask: impl Fn(&Case) -> Ask, expected: Verdict, failures: u32) {
        let mut pending = totp(2);
        pending.state = State::Pending(START.plus_seconds(3600));
        let mut case = Case::new([totp(1), pending]);
        case.fail(4);
        let asked = ask(&case);
        let which = usize::from(matches!(asked, Ask::Confirm(_)));
        let outcome = case.ask(which, asked);
        assert_eq!(outcome.verdict, expected);
        assert_eq!(outcome.attempts_remaining, 5 - failures, "{expected:?}");
        assert_eq!(case.failures(), failures, "{expected:?}");
    }
    let at = |case: &Case, which, offset| Typed::Text(case.code(which, case.step() + offset));
    let accepted = Verdict::Accepted { skew: 0 };
    check(|case| Ask::Verify(at(case, 0, 0)), accepted.clone(), 0);
    check(|case| Ask::Confirm(at(case, 1, 0)), accepted, 4);
    check(
        |case| Ask::Resynchronise(at(case, 0, -1), at(case, 0, 0)),
        Verdict::Resynchronised { drift_seconds: 0 },
        4,
    );
    check(
        |case| Ask::Explain(at(case, 0, -9)),
        Verdict::Explained(Finding::ValidStepsAgo(9)),
        4,
    );
}

#[test]
fn all_devices_of_a_user_share_one_count() {
    let mut case = Case::new([totp(1), totp(2), counter(3, 0)]);
    for which in [0, 1, 2, 1] {
        let wrong = case.wrong(which);
        assert_eq!(case.verify(which, wrong).verdict, Verdict::Rejected);
    }
    assert_eq!(case.failures(), 4);
    // A success on any of them clears the count of all.
    assert!(accepted(&case.verify_at(2, 0)));
    assert_eq!(case.failures(), 0);
    for which in [0, 1, 2, 1, 0] {
        let wrong = case.wrong(which);
        assert_eq!(case.verify(which, wrong).verdict, Verdict::Rejected);
    }
    for which in 0..3 {
        assert_eq!(case.verify_at(which, 1), Verdict::Locked, "{which}");
    }
}

#[test]
fn the_budget_is_that_of_the_named_policy() {
    fn check(policy: Option<&str>, lock_after: u32, disable_after: u32) {
        let mut device = totp(1);
        device.policy = policy.map(String::from);
        let mut case = Case::new([device]);
        let strict = Policy {
            budget: crate::policy::Budget {
                lock_after: 2,
                disable_after: 3,
                disable_after_30_days: 200,
            },
            ..Policy::default()
        };
        case.policies.named.insert("strict".into(), strict);
        case.fail(lock_after);
        assert_eq!(case.verify_at(0, 0), Verdict::Locked, "{policy:?}");
        case.pass(900);
        case.fail_patiently(disable_after - lock_after - 1);
        assert_eq!(case.user.guard.disabled_at, None, "{policy:?}");
        case.fail(1);
        assert_eq!(case.user.guard.disabled_at, Some(case.now), "{policy:?}");
    }
    check(Some("strict"), 2, 3);
    check(Some("gone"), 2, 3);
    check(None, 5, 50);
}

#[test]
fn a_device_that_is_no_factor_is_never_evaluated() {
    fn check(state: State, kind: Action, right: bool) {
        let mut case = Case::new([totp(1)]);
        case.device(0).state = state;
        let ask = question(&case, kind, right);
        let outcome = case.ask(0, ask);
        assert_eq!(outcome.verdict, Verdict::Inactive, "{state:?} {kind}");
        assert_eq!(reason(&outcome), r#"{"reason":"inactive"}"#);
        assert_eq!(case.opened(), 0);
        assert_eq!(case.user.guard, Guard::default());
        assert!(!case.user.guard_changed && !case.user.devices[0].hot_changed);
        assert_eq!(case.device(0).state, state);
    }
    for right in [true, false] {
        for kind in QUESTIONS {
            if kind != Action::DeviceConfirmed {
                check(State::Pending(START.plus_seconds(1)), kind, right);
                check(State::Deactivated(START), kind, right);
                check(State::Deactivated(START.plus_seconds(9)), kind, right);
            }
        }
    }
}

#[test]
fn a_key_that_cannot_be_opened_counts_nothing() {
    fn check(kind: Action, right: bool) {
        let mut case = fit_for(kind);
        case.keys.lost = true;
        let ask = question(&case, kind, right);
        let outcome = case.ask(0, ask);
        assert_eq!(outcome.verdict, Verdict::KeyUnavailable, "{kind}");
        assert_eq!(outcome.event, None);
        assert_eq!(outcome.attempts_remaining, 5);
        assert_eq!(case.user.guard, Guard::default());
        assert_eq!(case.hot(0), Hot::default());
        assert!(!case.user.guard_changed && !case.user.devices[0].hot_changed);
    }
    for kind in QUESTIONS {
        check(kind, true);
        check(kind, false);
    }
}
