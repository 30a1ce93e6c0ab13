//! Which steps are accepted, how the window follows a device, and what length a code must have.

use super::*;

#[test]
fn steps_within_the_window_are_accepted_and_no_others() {
    fn check(window: u32, offset: i64, expected: bool) {
        let mut case = Case::new([totp(1)]);
        case.policies.default.window = window;
        let verdict = case.verify_at(0, offset);
        assert_eq!(accepted(&verdict), expected, "{window} {offset}");
        if expected {
            assert_eq!(verdict, Verdict::Accepted { skew: offset });
        }
    }
    check(1, -1, true);
    check(1, 0, true);
    check(1, 1, true);
    check(1, -2, false);
    check(1, 2, false);
    check(0, 0, true);
    check(0, -1, false);
    check(0, 1, false);
    check(4, -4, true);
    check(4, 4, true);
    check(4, -5, false);
    check(4, 5, false);
}

#[test]
fn a_step_ends_with_its_last_millisecond() {
    fn check(millis: i64, expected: bool) {
        let mut case = Case::new([totp(1)]);
        let code = case.code(0, case.step());
        case.now = START.plus_millis(millis);
        assert_eq!(
            accepted(&case.verify(0, code).verdict),
            expected,
            "{millis}"
        );
    }
    check(-30_001, false);
    check(-30_000, true);
    check(59_999, true);
    check(60_000, false);
}

#[test]
fn each_device_counts_in_its_own_period_algorithm_and_length() {
    fn check(period: u32, algorithm: Algorithm, digits: u8) {
        let mut device = totp(1);
        device.kind = Kind::Totp { period };
        device.algorithm = algorithm;
        device.digits = Digits::new(digits).expect("6 to 8");
        let mut case = Case::new([device]);
        let step = case.now.seconds() / i64::from(period);
        let wrong = case.wrong(0);
        assert_eq!(case.verify(0, wrong).verdict, Verdict::Rejected);
        let code = case.code(0, step);
        let verdict = case.verify(0, code).verdict;
        assert_eq!(verdict, Verdict::Accepted { skew: 0 }, "{period} {digits}");
        assert_eq!(case.hot(0).next, step + 1);
    }
    check(15, Algorithm::Sha1, 6);
    check(30, Algorithm::Sha256, 7);
    check(60, Algorithm::Sha512, 8);
    check(120, Algorithm::Sha1, 8);
}

/// Accepts codes `skew` steps off, a few steps apart so that none spends the next.
fn accept_steadily(case: &mut Case, skew: i64, times: u32) {
    for n in 0..times {
        assert_eq!(case.verify_at(0, skew), Verdict::Accepted { skew }, "{n}");
        case.pass(5 * PERIOD);
    }
}

#[test]
fn the_window_follows_a_steady_drift_slowly() {
    fn check(skew: i64, times: u32, offset: i64, expected: bool) {
        let mut case = Case::new([totp(1)]);
        accept_steadily(&mut case, skew, times);
        let verdict = case.verify_at(0, offset);
        assert_eq!(accepted(&verdict), expected, "{skew} x {times}: {offset}");
    }
    check(1, 5, 2, false);
    check(1, 6, 2, true);
    check(1, 6, 3, false);
    check(-1, 5, -2, false);
    check(-1, 6, -2, true);
    check(-1, 6, -3, false);
    // A moved window is no wider than before.
    check(-1, 5, 1, true);
    check(-1, 6, 1, false);
    check(0, 20, 2, false);
}

#[test]
fn a_person_who_is_slow_once_moves_nothing() {
    let mut case = Case::new([totp(1)]);
    for _ in 0..10 {
        accept_steadily(&mut case, -1, 1);
        accept_steadily(&mut case, 0, 2);
    }
    assert_eq!(case.verify_at(0, -2), Verdict::Rejected);
    assert!(accepted(&case.verify_at(0, 1)));
}

#[test]
fn a_rejection_teaches_no_drift() {
    let mut case = Case::new([totp(1)]);
    accept_steadily(&mut case, 1, 3);
    let before = case.hot(0);
    assert_eq!(case.verify_at(0, 5), Verdict::Rejected);
    assert_eq!(case.verify_at(0, -5), Verdict::Rejected);
    assert_eq!(case.hot(0), before);
}

/// Every ask that can carry that code, the second place of a pair included.
fn asks(typed: Typed, fitting: Typed) -> [Ask; 5] {
    [
        Ask::Verify(typed),
        Ask::Confirm(typed),
        Ask::Explain(typed),
        Ask::Resynchronise(typed, fitting),
        Ask::Resynchronise(fitting, typed),
    ]
}

#[test]
fn a_code_of_another_length_is_a_fault_of_the_request_and_counts_nothing() {
    fn check(digits: u8, typed: Typed, state: State, locked: bool) {
        let mut device = totp(1);
        device.digits = Digits::new(digits).expect("6 to 8");
        device.state = state;
        let mut case = Case::new([device]);
        if locked {
            case.user.guard.locked_until = Some(START.plus_seconds(9));
        }
        let guard = case.user.guard.clone();
        for ask in asks(typed, Typed::Integer(0)) {
            let outcome = case.ask(0, ask);
            let expected = Verdict::WrongLength { expected: digits };
            assert_eq!(outcome.verdict, expected, "{digits} {state:?} {locked}");
            assert_eq!(outcome.event, None);
        }
        assert_eq!(case.user.guard, guard);
        assert!(!case.user.guard_changed && !case.user.devices[0].hot_changed);
        assert_eq!(case.opened(), 0);
    }
    let text = |text: &str| Typed::Text(Code::parse(text).expect("a code"));
    let later = START.plus_seconds(3600);
    for locked in [false, true] {
        check(6, text("0000000"), State::Active, locked);
        check(6, text("00000000"), State::Pending(later), locked);
        check(8, text("000000"), State::Active, locked);
        check(7, text("000000"), State::Deactivated(START), locked);
        check(6, Typed::Integer(1_000_000), State::Active, locked);
        check(
            8,
            Typed::Integer(100_000_000),
            State::Pending(later),
            locked,
        );
        check(
            6,
            Typed::Integer(u64::MAX),
            State::Deactivated(START),
            locked,
        );
    }
}

#[test]
fn an_integer_is_padded_to_the_length_of_the_device() {
    fn check(digits: u8, zeros: &str) {
        let mut device = totp(1);
        device.digits = Digits::new(digits).expect("6 to 8");
        let mut case = Case::new([device]);
        while !case.code(0, case.step()).to_text().starts_with(zeros) {
            case.pass(PERIOD);
        }
        let text = case.code(0, case.step()).to_text();
        let number: u64 = text.parse().expect("digits");
        assert!(number.to_string().len() + zeros.len() <= usize::from(digits));
        let verdict = case.ask(0, Ask::Verify(Typed::Integer(number))).verdict;
        assert_eq!(verdict, Verdict::Accepted { skew: 0 }, "{}", text.as_str());
        // The same digits as text are the same code, and spent with it.
        let code = Code::parse(&text).expect("a code");
        assert_eq!(case.verify(0, code).verdict, Verdict::Rejected);
    }
    check(6, "0");
    check(6, "00");
    check(7, "0");
    check(8, "00");
}

#[test]
fn the_window_is_that_of_the_named_policy() {
    fn check(policy: Option<&str>, offset: i64, expected: bool) {
        let mut device = totp(1);
        device.policy = policy.map(String::from);
        let mut case = Case::new([device]);
        let strict = Policy {
            window: 0,
            ..Policy::default()
        };
        case.policies.named.insert("strict".into(), strict);
        let verdict = case.verify_at(0, offset);
        assert_eq!(accepted(&verdict), expected, "{policy:?} {offset}");
    }
    check(Some("strict"), 0, true);
    check(Some("strict"), 1, false);
    check(Some("gone"), 0, true);
    check(Some("gone"), 1, false);
    check(None, 1, true);
}
