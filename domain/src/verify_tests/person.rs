//! What is asked of a person: any authenticator, issued codes, recovery codes, passes, logins.

use super::*;
use crate::challenge::ChallengeKind;

fn challenge(id: i64, kind: ChallengeKind, hash: [u8; 32], uses_left: u32) -> Awaited {
    Awaited {
        challenge: Challenge {
            id: ChallengeId(id),
            user: UserId(7),
            kind,
            hash: Some(hash),
            created_at: START,
            expires_at: START.plus_millis(300_000),
            uses_left,
            failures: 0,
            locked_until: None,
            day: 0,
            day_failures: 0,
        },
        changed: false,
    }
}

fn number(value: u64) -> Code {
    Code::from_integer(value, Digits::default()).expect("six digits")
}

/// Two authenticators, an issued code 123456, a pass of two uses, a login, three
/// recovery codes.
fn house() -> Case {
    let mut case = Case::new([totp(1), totp(2)]);
    let issued = case.keys.hash_code(ChallengeId(60), &number(123_456));
    case.user.challenges = vec![
        challenge(60, ChallengeKind::Issued, issued, 1),
        challenge(61, ChallengeKind::Pass, [61; 32], 2),
        challenge(62, ChallengeKind::Login, [62; 32], 1),
    ];
    let codes = (1..=3).map(|n| RecoveryCode {
        id: i64::from(n),
        hash: [n; 32],
        used: false,
    });
    case.user.recovery = codes.collect();
    case
}

fn method(outcome: &Outcome) -> Option<Method> {
    match outcome.verdict {
        Verdict::Proven(proof) => Some(proof.method),
        _ => None,
    }
}

fn login(answer: Factor) -> Ask {
    Ask::Login {
        login: ChallengeId(62),
        proof: Some([62; 32]),
        answer,
    }
}

#[test]
fn any_active_authenticator_will_do_and_is_spent() {
    let mut case = house();
    let code = case.code(1, case.step());
    let first = case.ask_person(Ask::Authenticator(code));
    assert_eq!(method(&first), Some(Method::Otp));
    assert_eq!((case.hot(0).used, case.hot(1).used), (0, 1));
    let again = case.ask_person(Ask::Authenticator(code));
    assert_eq!(again.verdict, Verdict::Rejected);
    // The device's own door knows it, too.
    assert_eq!(case.verify(1, code).verdict, Verdict::Rejected);
    // Repeating one code costs one failure, whichever the door.
    assert_eq!(case.failures(), 1);
}

#[test]
fn devices_that_are_no_factor_are_not_asked() {
    fn check(state: State) {
        let mut case = house();
        case.device(0).state = state;
        case.user.devices.truncate(1);
        let code = case.code(0, case.step());
        let outcome = case.ask_person(Ask::Authenticator(code));
        assert_eq!(outcome.verdict, Verdict::NoFactor);
        assert!(outcome.event.is_none());
        let outcome = case.ask_person(login(Factor::Code(code)));
        assert_eq!(outcome.verdict, Verdict::NoFactor);
        let outcome = case.ask_person(Ask::IssuedOrAuthenticator(number(123_456)));
        assert_eq!(outcome.verdict, Verdict::NoFactor);
        assert_eq!(case.failures(), 0);
    }
    check(State::Pending(START.plus_millis(1_000_000)));
    check(State::Deactivated(START));
}

#[test]
fn wrong_codes_at_all_doors_count_together() {
    let mut case = house();
    let wrong = case.wrong(0);
    case.verify(0, wrong);
    case.ask_person(Ask::Authenticator(wrong));
    case.ask_person(Ask::IssuedOrAuthenticator(wrong));
    case.ask_person(login(Factor::Code(wrong)));
    let last = case.ask_person(Ask::Spoken(Spoken::Recovery([9; 32])));
    assert_eq!(last.verdict, Verdict::Rejected);
    assert_eq!(case.failures(), 5);
    let right = case.code(0, case.step());
    for ask in [
        Ask::Authenticator(right),
        Ask::IssuedOrAuthenticator(number(123_456)),
        login(Factor::Code(right)),
    ] {
        assert_eq!(case.ask_person(ask).verdict, Verdict::Locked);
    }
    assert_eq!(case.verify(0, right).verdict, Verdict::Locked);
}

#[test]
fn an_issued_code_serves_once_and_then_says_that_it_is_spent() {
    let mut case = house();
    let ask = Ask::IssuedOrAuthenticator(number(123_456));
    let first = case.ask_person(ask);
    assert_eq!(method(&first), Some(Method::Otc));
    for failures in [1, 1] {
        assert_eq!(case.ask_person(ask).verdict, Verdict::Spent);
        assert_eq!(case.failures(), failures);
    }
}

#[test]
fn an_issued_code_lives_to_its_end_and_at_its_own_door_only() {
    let mut case = house();
    let code = number(123_456);
    assert_eq!(
        case.ask_person(Ask::Authenticator(code)).verdict,
        Verdict::Rejected
    );
    assert_eq!(
        case.ask_person(login(Factor::Code(code))).verdict,
        Verdict::Rejected
    );
    case.pass(300);
    let late = case.ask_person(Ask::IssuedOrAuthenticator(code));
    assert_eq!(late.verdict, Verdict::Spent);
}

#[test]
fn an_authenticator_serves_where_codes_are_issued() {
    let mut case = house();
    let code = case.code(0, case.step());
    let outcome = case.ask_person(Ask::IssuedOrAuthenticator(code));
    assert_eq!(method(&outcome), Some(Method::Otp));
}

#[test]
fn recovery_codes_go_in_any_order_and_open_a_lock() {
    let mut case = house();
    case.fail(5);
    case.user.guard.disabled_at = Some(case.now);
    let outcome = case.ask_person(Ask::Spoken(Spoken::Recovery([2; 32])));
    let Verdict::Proven(proof) = outcome.verdict else {
        panic!("{:?}", outcome.verdict);
    };
    assert_eq!((proof.method, proof.left), (Method::Recovery, Some(2)));
    let consequence = outcome.consequence.expect("few are left");
    assert_eq!(consequence.action, Action::RecoveryCodesLow);
    assert_eq!(case.user.guard, Guard::default());
    let again = case.ask_person(Ask::Spoken(Spoken::Recovery([2; 32])));
    assert_eq!(again.verdict, Verdict::Rejected);
    let other = case.ask_person(Ask::Spoken(Spoken::Recovery([1; 32])));
    assert_eq!(method(&other), Some(Method::Recovery));
}

/// They stand for a factor in force; a pass stands for its holder alone.
#[test]
fn without_a_factor_in_force_a_recovery_code_is_wrong_and_a_pass_is_right() {
    fn check(states: [State; 2], factor: bool) {
        let mut case = house();
        for (judged, state) in case.user.devices.iter_mut().zip(states) {
            judged.device.state = state;
        }
        let code = case.ask_person(Ask::Spoken(Spoken::Recovery([2; 32])));
        let expected = factor.then_some(Method::Recovery);
        assert_eq!(method(&code), expected, "{states:?}");
        assert_eq!(case.user.recovery[1].used, factor);
        if !factor {
            // Like a wrong one, the count included.
            assert_eq!(code.verdict, Verdict::Rejected);
            assert_eq!(case.failures(), 1);
        }
        let pass = case.ask_person(Ask::Spoken(Spoken::Pass([61; 32])));
        assert_eq!(method(&pass), Some(Method::Pass), "{states:?}");
    }
    let (off, pending) = (
        State::Deactivated(START),
        State::Pending(START.plus_millis(60_000)),
    );
    check([State::Active, off], true);
    check([pending, State::Active], true);
    check([off, off], false);
    check([pending, off], false);
}

#[test]
fn a_pass_is_no_recovery_code_nor_the_other_way_round() {
    let mut case = house();
    for spoken in [Spoken::Pass([1; 32]), Spoken::Recovery([61; 32])] {
        assert_eq!(
            case.ask_person(Ask::Spoken(spoken)).verdict,
            Verdict::Rejected
        );
    }
}

#[test]
fn a_pass_has_its_uses_and_its_end() {
    let mut case = house();
    let ask = Ask::Spoken(Spoken::Pass([61; 32]));
    for left in [1, 0] {
        let Verdict::Proven(proof) = case.ask_person(ask).verdict else {
            panic!("accepted");
        };
        assert_eq!((proof.method, proof.uses_left), (Method::Pass, Some(left)));
        assert_eq!(proof.left, Some(3), "its uses are no recovery codes");
    }
    assert_eq!(case.ask_person(ask).verdict, Verdict::Rejected);
    let mut case = house();
    case.pass(300);
    assert_eq!(case.ask_person(ask).verdict, Verdict::Rejected);
}

#[test]
fn ten_recovery_tries_an_hour_are_judged() {
    let mut case = house();
    let wrong = Ask::Spoken(Spoken::Recovery([9; 32]));
    for _ in 0..10 {
        assert_eq!(case.ask_person(wrong).verdict, Verdict::Rejected);
    }
    let right = Ask::Spoken(Spoken::Recovery([1; 32]));
    let began = case.now;
    let outcome = case.ask_person(right);
    assert_eq!(outcome.verdict, Verdict::Locked);
    assert_eq!(outcome.locked_until, Some(began.plus_millis(3_600_000)));
    case.pass(3600);
    assert_eq!(method(&case.ask_person(right)), Some(Method::Recovery));
}

#[test]
fn a_login_serves_once_for_its_own_user_and_token() {
    let mut case = house();
    let code = case.code(0, case.step());
    let other = |login, proof, user: i64| {
        let mut case = house();
        case.user.challenges[2].challenge.user = UserId(user);
        let ask = Ask::Login {
            login: ChallengeId(login),
            proof,
            answer: Factor::Code(code),
        };
        let outcome = case.ask_person(ask);
        assert_eq!(outcome.verdict, Verdict::NoLogin);
        assert!(outcome.event.is_none() && case.failures() == 0);
    };
    other(62, Some([63; 32]), 7);
    other(62, Some([62; 32]), 8);
    other(61, Some([61; 32]), 7);
    let wrong = case.wrong(0);
    let rejected = case.ask_person(login(Factor::Code(wrong)));
    assert_eq!(rejected.verdict, Verdict::Rejected);
    assert_eq!(
        method(&case.ask_person(login(Factor::Code(code)))),
        Some(Method::Otp)
    );
    let next = case.code(0, case.step() + 1);
    assert_eq!(
        case.ask_person(login(Factor::Code(next))).verdict,
        Verdict::NoLogin
    );
}

#[test]
fn a_login_takes_recovery_codes_and_passes_also_in_a_lock() {
    fn check(spoken: Spoken, expected: Method) {
        let mut case = house();
        case.fail(5);
        let outcome = case.ask_person(login(Factor::Spoken(spoken)));
        assert_eq!(method(&outcome), Some(expected));
        let event = outcome.event.expect("an event");
        assert_eq!(event.action, Action::LoginSecondFactor);
    }
    check(Spoken::Recovery([3; 32]), Method::Recovery);
    check(Spoken::Pass([61; 32]), Method::Pass);
}

#[test]
fn a_key_that_cannot_be_opened_counts_nothing() {
    let mut case = house();
    case.keys.lost = true;
    let wrong = number(1);
    let outcome = case.ask_person(Ask::Authenticator(wrong));
    assert_eq!(outcome.verdict, Verdict::KeyUnavailable);
    assert!(outcome.event.is_none() && case.failures() == 0);
}

#[test]
fn the_strictest_device_sets_the_budget_of_the_person() {
    let mut case = house();
    let strict = Policy {
        budget: Budget {
            lock_after: 2,
            ..Budget::default()
        },
        ..Policy::default()
    };
    case.policies.named.insert("strict".into(), strict);
    case.device(1).policy = Some("strict".into());
    let wrong = case.wrong(0);
    for expected in [Verdict::Rejected, Verdict::Rejected, Verdict::Locked] {
        assert_eq!(case.ask_person(Ask::Authenticator(wrong)).verdict, expected);
    }
}
