//! The audit record of each evaluated attempt.

use super::*;

fn origin() -> Origin {
    Origin {
        caller: "key:abc".into(),
        request_id: "r-1".into(),
        ip_address: Some("192.0.2.7".into()),
        user_agent: Some("door".into()),
    }
}

fn event_of(case: &mut Case, ask: Ask) -> Option<Event> {
    let asked = Attempt {
        subject: Subject::Device(name(1)),
        ask,
        origin: origin(),
    };
    attempt(&mut case.user, &asked, case.now, &case.policies, &case.keys).event
}

/// A code by its distance from now; `None` is a wrong one.
fn typed(case: &Case, offset: Option<i64>) -> Typed {
    Typed::Text(match offset {
        Some(offset) => case.code(0, case.step() + offset),
        None => case.wrong(0),
    })
}

fn check(prepare: impl Fn(&mut Case), ask: impl Fn(&Case) -> Ask, expected: (Action, bool, &str)) {
    let mut case = Case::new([totp(1)]);
    prepare(&mut case);
    let ask = ask(&case);
    let event = event_of(&mut case, ask).expect("an event");
    let told = (event.action, event.success, event.detail.as_str());
    assert_eq!(told, expected);
    assert_eq!(
        (event.user, event.device),
        (Some(UserId(7)), Some(DeviceId(1)))
    );
    assert_eq!(event.personal.user_id.as_deref(), Some("dave"));
    assert_eq!(event.personal.device_id.as_deref(), Some("device-1"));
    assert_eq!(event.personal.ip_address.as_deref(), Some("192.0.2.7"));
    assert_eq!(event.personal.user_agent.as_deref(), Some("door"));
    assert_eq!(event.personal.reason, None);
    assert_eq!((&*event.caller, &*event.request_id), ("key:abc", "r-1"));
}

fn fresh(_: &mut Case) {}

fn pending(case: &mut Case) {
    case.device(0).state = State::Pending(START.plus_seconds(9));
}

fn deactivated(case: &mut Case) {
    case.device(0).state = State::Deactivated(START);
}

fn used(case: &mut Case) {
    assert!(accepted(&case.verify_at(0, 0)));
}

fn locked(case: &mut Case) {
    case.user.guard.locked_until = Some(START.plus_seconds(9));
}

#[test]
fn a_verification_is_recorded() {
    let check = |prepare: fn(&mut Case), offset, success, detail| {
        let expected = (Action::OtpVerification, success, detail);
        check(prepare, |case| Ask::Verify(typed(case, offset)), expected);
    };
    check(fresh, Some(0), true, "");
    check(fresh, Some(1), true, r#"{"skew":1}"#);
    check(fresh, Some(-1), true, r#"{"skew":-1}"#);
    check(fresh, None, false, r#"{"reason":"wrong"}"#);
    check(used, Some(0), false, r#"{"reason":"already used"}"#);
    check(locked, Some(0), false, r#"{"reason":"locked"}"#);
    check(pending, Some(0), false, r#"{"reason":"inactive"}"#);
    check(deactivated, Some(0), false, r#"{"reason":"inactive"}"#);
}

#[test]
fn a_confirmation_is_recorded() {
    let check = |offset, lock: bool, success, detail| {
        let prepare = |case: &mut Case| {
            pending(case);
            if lock {
                locked(case);
            }
        };
        let expected = (Action::DeviceConfirmed, success, detail);
        check(prepare, |case| Ask::Confirm(typed(case, offset)), expected);
    };
    check(Some(0), false, true, "");
    check(None, false, false, r#"{"reason":"wrong"}"#);
    check(Some(0), true, false, r#"{"reason":"locked"}"#);
}

#[test]
fn a_resynchronisation_is_recorded() {
    let check = |prepare: fn(&mut Case), first, second, success, detail| {
        let ask = |case: &Case| Ask::Resynchronise(typed(case, first), typed(case, second));
        let expected = (Action::DeviceResynchronised, success, detail);
        check(prepare, ask, expected);
    };
    check(fresh, Some(4), Some(5), true, r#"{"drift_seconds":150}"#);
    check(fresh, Some(4), None, false, r#"{"reason":"wrong"}"#);
    check(locked, Some(4), Some(5), false, r#"{"reason":"locked"}"#);
    check(
        deactivated,
        Some(4),
        Some(5),
        false,
        r#"{"reason":"inactive"}"#,
    );
}

#[test]
fn an_explanation_is_recorded() {
    let check = |prepare: fn(&mut Case), offset, success, detail| {
        let expected = (Action::OtpExplained, success, detail);
        check(prepare, |case| Ask::Explain(typed(case, offset)), expected);
    };
    check(
        fresh,
        Some(-3),
        true,
        r#"{"finding":{"valid_steps_ago":3}}"#,
    );
    check(used, Some(0), true, r#"{"finding":"already_used"}"#);
    check(fresh, Some(0), true, r#"{"finding":"not_past"}"#);
    check(fresh, None, true, r#"{"finding":"not_past"}"#);
    check(locked, Some(-3), false, r#"{"reason":"locked"}"#);
    check(pending, Some(-3), false, r#"{"reason":"inactive"}"#);
}

#[test]
fn what_was_not_evaluated_leaves_no_record() {
    let check = |prepare: fn(&mut Case), ask: Ask, verdict: Verdict| {
        let mut case = Case::new([totp(1)]);
        prepare(&mut case);
        let told = case.ask(0, ask);
        assert_eq!((told.verdict, told.event), (verdict, None));
    };
    let long = Typed::Integer(1_000_000);
    let wrong_length = Verdict::WrongLength { expected: 6 };
    check(fresh, Ask::Verify(long), wrong_length.clone());
    check(pending, Ask::Confirm(long), wrong_length);
    check(fresh, Ask::Confirm(Typed::Integer(0)), Verdict::NotPending);
    let lose_keys = |case: &mut Case| case.keys.lost = true;
    check(
        lose_keys,
        Ask::Verify(Typed::Integer(0)),
        Verdict::KeyUnavailable,
    );
    let expire = |case: &mut Case| case.device(0).state = State::Pending(START);
    check(expire, Ask::Verify(Typed::Integer(0)), Verdict::Unknown);
}
