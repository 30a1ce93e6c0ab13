//! Devices that count codes instead of time (HOTP).

use super::*;

#[test]
fn ten_counters_ahead_are_looked_at_and_no_more() {
    fn check(next: i64, ahead: i64, expected: bool) {
        let mut case = Case::new([counter(1, next)]);
        let verdict = case.verify_at(0, next + ahead);
        assert_eq!(accepted(&verdict), expected, "{next} + {ahead}");
        let hot = case.hot(0);
        if expected {
            assert_eq!(verdict, Verdict::Accepted { skew: 0 });
            assert_eq!((hot.next, hot.drift_ms), (next + ahead + 1, 0));
            assert_eq!((hot.used, hot.last_used), (1, Some(START)));
        } else {
            assert_eq!(hot.next, next);
            assert_eq!(case.failures(), 1);
        }
    }
    for next in [0, 1, 1_000_000] {
        check(next, 0, true);
        check(next, 1, true);
        check(next, 10, true);
        check(next, 11, false);
        check(next, 100, false);
    }
}

#[test]
fn counters_never_go_back() {
    let mut case = Case::new([counter(1, 0)]);
    assert!(accepted(&case.verify_at(0, 5)));
    for spent in 0..=5 {
        case.user.guard = Guard::default();
        assert_eq!(case.verify_at(0, spent), Verdict::Rejected, "{spent}");
        assert_eq!(case.hot(0).next, 6);
    }
    case.user.guard = Guard::default();
    assert!(accepted(&case.verify_at(0, 6)));
}

#[test]
fn a_repetition_of_the_last_counter_counts_once() {
    fn check(counters: &[i64], failures: u32) {
        let mut case = Case::new([counter(1, 0)]);
        for counter in counters {
            case.verify_at(0, *counter);
        }
        assert_eq!(case.failures(), failures, "{counters:?}");
    }
    check(&[0], 0);
    check(&[0, 0], 1);
    check(&[0, 0, 0, 0, 0, 0], 1);
    check(&[3, 3, 3], 1);
    check(&[0, 0, 1], 0);
    check(&[0, 0, 1, 1, 1], 1);
    // An older one than the last is as good as any guess.
    check(&[0, 1, 0, 0, 0], 3);
}

#[test]
fn time_means_nothing_to_a_counter() {
    fn check(seconds: i64) {
        let mut case = Case::new([counter(1, 0)]);
        assert!(accepted(&case.verify_at(0, 0)));
        case.pass(seconds);
        assert_eq!(case.verify_at(0, 0), Verdict::Rejected, "{seconds}");
        assert!(accepted(&case.verify_at(0, 1)), "{seconds}");
    }
    check(-1_000_000_000);
    check(-1);
    check(1);
    check(1_000_000_000);
}
