//! The first right code of a pending device, and what a pending device may not do.

use super::*;

const UNTIL: Time = START.plus_seconds(3600);

fn pending(id: i64) -> Device {
    let mut device = totp(id);
    device.state = State::Pending(UNTIL);
    device
}

fn confirm(case: &mut Case, which: usize, offset: i64) -> Outcome {
    let code = case.code(which, case.step() + offset);
    case.ask(which, Ask::Confirm(Typed::Text(code)))
}

#[test]
fn the_first_right_code_puts_a_device_in_force_and_is_spent() {
    fn check(offset: i64) {
        let mut case = Case::new([pending(1)]);
        assert_eq!(case.verify_at(0, offset), Verdict::Inactive);
        let outcome = confirm(&mut case, 0, offset);
        assert_eq!(outcome.verdict, Verdict::Accepted { skew: offset });
        assert_eq!(case.device(0).state, State::Active);
        assert!(case.user.devices[0].state_changed && case.user.devices[0].hot_changed);
        assert_eq!(case.hot(0).next, case.step() + offset + 1);
        let hot = case.hot(0);
        assert_eq!((hot.used, hot.last_used), (1, Some(case.now)));
        assert_eq!(case.verify_at(0, offset), Verdict::Rejected);
        case.pass(2 * PERIOD);
        assert!(accepted(&case.verify_at(0, 0)));
    }
    check(-1);
    check(0);
    check(1);
}

#[test]
fn a_counter_device_is_confirmed_like_any_other() {
    let mut device = counter(1, 0);
    device.state = State::Pending(UNTIL);
    let mut case = Case::new([device]);
    let code = case.code(0, 3);
    let verdict = case.ask(0, Ask::Confirm(Typed::Text(code))).verdict;
    assert_eq!(verdict, Verdict::Accepted { skew: 0 });
    assert_eq!(case.hot(0).next, 4);
    assert_eq!(case.device(0).state, State::Active);
}

#[test]
fn a_confirmation_neither_clears_nor_touches_the_guard() {
    let mut case = Case::new([totp(1), pending(2)]);
    case.fail(4);
    let guard = case.user.guard.clone();
    case.user.guard_changed = false;
    assert!(accepted(&confirm(&mut case, 1, 0).verdict));
    assert_eq!(case.user.guard, guard);
    assert!(!case.user.guard_changed);
}

#[test]
fn a_wrong_confirmation_counts_and_leaves_the_device_pending() {
    let mut case = Case::new([pending(1), totp(2)]);
    for remaining in [4, 3, 2, 1, 0] {
        let outcome = confirm(&mut case, 0, 7);
        assert_eq!(outcome.verdict, Verdict::Rejected);
        assert_eq!(outcome.attempts_remaining, remaining);
    }
    assert_eq!(case.device(0).state, State::Pending(UNTIL));
    assert!(!case.user.devices[0].state_changed && !case.user.devices[0].hot_changed);
    assert_eq!(confirm(&mut case, 0, 0).verdict, Verdict::Locked);
    assert_eq!(case.device(0).state, State::Pending(UNTIL));
    assert_eq!(case.verify_at(1, 0), Verdict::Locked);
}

#[test]
fn there_is_nothing_to_confirm_unless_the_device_is_pending() {
    fn check(state: State, offset: i64) {
        let mut device = totp(1);
        device.state = state;
        let mut case = Case::new([device]);
        let outcome = confirm(&mut case, 0, offset);
        assert_eq!(outcome.verdict, Verdict::NotPending, "{state:?} {offset}");
        assert_eq!(outcome.event, None);
        assert_eq!(case.opened(), 0);
        assert_eq!(case.user.guard, Guard::default());
        assert_eq!(case.device(0).state, state);
        assert!(!case.user.devices[0].hot_changed);
    }
    for offset in [0, 7] {
        check(State::Active, offset);
        check(State::Deactivated(START), offset);
    }
}

#[test]
fn a_second_confirmation_finds_nothing_to_do() {
    let mut case = Case::new([pending(1)]);
    assert!(accepted(&confirm(&mut case, 0, 0).verdict));
    assert_eq!(confirm(&mut case, 0, 1).verdict, Verdict::NotPending);
}

#[test]
fn a_pending_device_whose_time_is_over_is_unknown_to_everybody() {
    fn check(now: Time, known: bool) {
        let mut case = Case::new([pending(1)]);
        case.now = now;
        let first = Typed::Text(case.code(0, case.step()));
        let second = Typed::Text(case.code(0, case.step() + 1));
        let asks = [
            Ask::Verify(first),
            Ask::Explain(first),
            Ask::Resynchronise(first, second),
            Ask::Confirm(first),
        ];
        for ask in asks {
            let outcome = case.ask(0, ask);
            assert_eq!(outcome.verdict != Verdict::Unknown, known, "{now}");
            assert_eq!(outcome.event.is_some(), known, "{now}");
        }
        assert_eq!(case.device(0).state == State::Active, known, "{now}");
        assert_eq!(case.opened(), usize::from(known));
    }
    check(UNTIL.plus_millis(-1), true);
    check(UNTIL, false);
    check(UNTIL.plus_millis(1), false);
    check(UNTIL.plus_seconds(86_400), false);
}

#[test]
fn a_device_that_nobody_registered_is_unknown() {
    let mut case = Case::new([totp(1)]);
    let code = Typed::Text(case.code(0, case.step()));
    for ask in [Ask::Verify(code), Ask::Confirm(code), Ask::Explain(code)] {
        let outcome = case.ask_by_name(name(2), ask);
        assert_eq!(outcome, Outcome::without_event(Verdict::Unknown, 0));
    }
    assert_eq!((case.opened(), case.failures()), (0, 0));
}

#[test]
fn a_first_factor_alone_enrols_nothing_beside_a_device_in_force() {
    fn check(begun: Begun, other: State, expected: &Verdict) {
        let mut beside = totp(2);
        beside.state = other;
        let mut case = Case::new([pending(1), beside]);
        for offset in [7, 0] {
            let code = Typed::Text(case.code(0, case.step() + offset));
            let device = DeviceId(1);
            let outcome = case.ask_person(Ask::Enrol {
                device,
                code,
                begun,
            });
            let is_refused = outcome.verdict == Verdict::StepUpNeeded;
            assert_eq!(outcome.event.is_none(), is_refused);
            if offset == 0 {
                assert_eq!(outcome.verdict, *expected, "{begun:?} {other:?}");
            }
        }
        let refused = *expected == Verdict::StepUpNeeded;
        assert_eq!(case.failures(), u32::from(!refused));
        assert_eq!(case.device(0).state == State::Active, !refused);
    }
    let accepted = Verdict::Accepted { skew: 0 };
    check(Begun::FirstFactor, State::Active, &Verdict::StepUpNeeded);
    check(Begun::SteppedUp, State::Active, &accepted);
    check(Begun::FirstFactor, State::Pending(UNTIL), &accepted);
    check(Begun::FirstFactor, State::Deactivated(START), &accepted);
}

#[test]
fn an_enrolment_that_is_done_is_not_refused_for_its_own_device() {
    let mut case = Case::new([pending(1)]);
    let mut enrol = |offset: i64| {
        let code = Typed::Text(case.code(0, case.step() + offset));
        case.ask_person(Ask::Enrol {
            device: DeviceId(1),
            code,
            begun: Begun::FirstFactor,
        })
    };
    let first = enrol(0);
    assert!(accepted(&first.verdict));
    let event = first.event.expect("an acceptance is recorded");
    assert_eq!(event.action, Action::DeviceConfirmed);
    assert_eq!(enrol(0).verdict, Verdict::NotPending);
    assert_eq!(enrol(1).verdict, Verdict::NotPending);
}
