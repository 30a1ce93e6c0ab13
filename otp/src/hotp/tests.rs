//! Tests of codes and searches: the RFCs' vectors, the edges, and properties over any key.

use proptest::prelude::*;

use super::*;
use crate::{Totp, window};

/// The key of the RFCs: `1234567890` repeated to `length` bytes.
fn rfc_key(length: usize) -> Secret {
    Secret::from_bytes(b"1234567890".iter().copied().cycle().take(length).collect())
}

/// The rows of a data file as words, comments left out.
fn rows(file: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect())
}

fn code(text: &str) -> Code {
    Code::parse(text).expect("6 to 8 digits")
}

fn six(secret: &Secret, counter: u64) -> Code {
    hotp(secret, Algorithm::Sha1, Digits::default(), counter)
}

#[test]
fn the_vectors_of_rfc_4226_appendix_d() {
    let mut count = 0;
    for row in rows(include_str!("../../tests/data/rfc4226-appendix-d.txt")) {
        let counter = row[0].parse().expect("a counter");
        let truncated = Keyed::new(&rfc_key(20), Algorithm::Sha1).truncated(counter);
        assert_eq!(format!("{truncated:08x}"), row[1], "{row:?}");
        assert_eq!(truncated.to_string(), row[2], "{row:?}");
        assert_eq!(
            six(&rfc_key(20), counter).to_text().as_str(),
            row[3],
            "{row:?}"
        );
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn the_vectors_of_rfc_6238_appendix_b() {
    let mut count = 0;
    for row in rows(include_str!("../../tests/data/rfc6238-appendix-b.txt")) {
        let time = row[0].parse().expect("a time");
        let step = Totp::default().step_at(time).expect("after 1970");
        assert_eq!(format!("{step:016X}"), row[1], "{row:?}");
        let (algorithm, length) = match row[3] {
            "SHA1" => (Algorithm::Sha1, 20),
            "SHA256" => (Algorithm::Sha256, 32),
            _ => (Algorithm::Sha512, 64),
        };
        let shown = hotp(&rfc_key(length), algorithm, Digits::MAX, step);
        assert_eq!(shown.to_text().as_str(), row[2], "{row:?}");
        count += 1;
    }
    assert_eq!(count, 18);
}

#[test]
fn leading_zeros_and_large_counters() {
    let mut count = 0;
    for row in rows(include_str!("../../tests/data/more-codes.txt")) {
        let counter = row[0].parse().expect("a counter");
        let digits = Digits::new(row[1].parse().expect("a number")).expect("6 to 8");
        let algorithm = row[2].parse().expect("an algorithm");
        let shown = hotp(&rfc_key(20), algorithm, digits, counter);
        assert_eq!(shown.to_text().as_str(), row[3], "{row:?}");
        let found = highest_match(&rfc_key(20), algorithm, &code(row[3]), counter..=counter);
        assert_eq!(found, Some(counter), "{row:?}");
        count += 1;
    }
    assert_eq!(count, 16);
}

#[test]
fn the_highest_counter_of_the_range_wins() {
    let check = |text: &str, counters, expected| {
        let found = highest_match(&rfc_key(20), Algorithm::Sha1, &code(text), counters);
        assert_eq!(found, expected, "{text}");
    };

    // 911617 belongs to 910737 and 910738.
    check("911617", 910_736..=910_739, Some(910_738));
    check("911617", 910_737..=910_738, Some(910_738));
    check("911617", 910_738..=910_738, Some(910_738));
    check("911617", 910_736..=910_737, Some(910_737));
    check("911617", 910_739..=910_740, None);

    // 969429 belongs to 3: found at both edges of a window, not beside them.
    check("969429", window(2, 1, 1), Some(3));
    check("969429", window(4, 1, 1), Some(3));
    check("969429", window(1, 1, 1), None);
    check("969429", window(5, 1, 1), None);

    // Counter 0 is a counter like any other.
    check("755224", window(0, 1, 1), Some(0));
    // A leading zero counts, and so does the length.
    check("000152", 40..=50, Some(44));
    check("0000152", 40..=50, None);
}

#[test]
fn a_range_that_runs_backwards_holds_nothing() {
    #[allow(clippy::reversed_empty_ranges, reason = "the case under test")]
    let backwards = 5..=3;
    let secret = rfc_key(20);
    let found = highest_match(&secret, Algorithm::Sha1, &code("338314"), backwards.clone());
    assert_eq!(found, None);
    let (first, second) = (code("338314"), code("254676"));
    let found = consecutive_match(&secret, Algorithm::Sha1, &first, &second, backwards);
    assert_eq!(found, None);
}

#[test]
fn the_last_counter_is_reached_without_overflow() {
    let last = u64::MAX;
    let secret = rfc_key(20);
    let check = |text: &str, expected| {
        let range = window(last, 5, 5);
        let found = highest_match(&secret, Algorithm::Sha1, &code(text), range);
        assert_eq!(found, expected, "{text}");
    };
    check("63094451", Some(last));
    check("89488204", Some(last - 1));
    check("00000000", None);

    let pair = |first, starts| {
        let (first, second) = (code(first), code("63094451"));
        consecutive_match(&secret, Algorithm::Sha1, &first, &second, starts)
    };
    assert_eq!(pair("89488204", last - 5..=last), Some(last - 1));
    assert_eq!(pair("89488204", last - 5..=last - 1), Some(last - 1));
    assert_eq!(pair("89488204", last - 5..=last - 2), None);
    assert_eq!(
        pair("63094451", last..=last),
        None,
        "nothing comes after the last"
    );
}

#[test]
fn two_codes_in_a_row_are_found_by_their_first() {
    let check = |first: &str, second: &str, starts, expected| {
        let (first, second) = (code(first), code(second));
        let found = consecutive_match(&rfc_key(20), Algorithm::Sha1, &first, &second, starts);
        assert_eq!(found, expected);
    };

    // 969429 is 3, 338314 is 4, 254676 is 5.
    check("969429", "338314", 0..=9, Some(3));
    check("969429", "338314", 3..=3, Some(3)); // the second lies past the range
    check("969429", "338314", 4..=9, None); // the first lies before it
    check("969429", "338314", 0..=2, None);
    check("338314", "969429", 0..=9, None); // backwards
    check("969429", "254676", 0..=9, None); // one left out
    check("969429", "969429", 0..=9, None); // the same twice
    check("755224", "287082", 0..=9, Some(0));
    check("969429", "0338314", 0..=9, None); // lengths differ

    // The same twice is right where two counters share a code.
    check("911617", "911617", 910_730..=910_745, Some(910_737));
    check("911617", "911617", 910_738..=910_745, None);

    // These two stand in a row twice: the lowest wins.
    let (low, high) = (4_510_670, 4_626_512);
    check("747996", "548177", low..=high, Some(low));
    check("747996", "548177", low + 1..=high, Some(high));
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(&Algorithm::ALL[..])
}

fn lengths() -> impl Strategy<Value = Digits> {
    (6_u8..=8).prop_map(|digits| Digits::new(digits).expect("6 to 8"))
}

proptest! {
    #[test]
    fn a_search_agrees_with_trying_each_counter(
        key in prop::collection::vec(any::<u8>(), 0..150),
        algorithm in algorithms(),
        digits in lengths(),
        start in prop_oneof![any::<u64>(), 0..5_u64, u64::MAX - 5..=u64::MAX],
        width in 0..12_u64,
        pick in 0..14_u64,
    ) {
        let secret = Secret::from_bytes(key);
        let counters = window(start, 0, width);
        // Now and then just outside the range.
        let typed = hotp(&secret, algorithm, digits, start.wrapping_add(pick));
        let next = hotp(&secret, algorithm, digits, start.wrapping_add(pick).wrapping_add(1));
        let fits = |counter, wanted: &Code| hotp(&secret, algorithm, digits, counter).equals(wanted);

        let highest = counters.clone().rev().find(|counter| fits(*counter, &typed));
        prop_assert_eq!(highest_match(&secret, algorithm, &typed, counters.clone()), highest);

        let pairs = |s: &u64| fits(*s, &typed) && s.checked_add(1).is_some_and(|n| fits(n, &next));
        let lowest = counters.clone().find(pairs);
        prop_assert_eq!(consecutive_match(&secret, algorithm, &typed, &next, counters), lowest);
    }

    #[test]
    fn a_shorter_code_is_the_end_of_a_longer_one(key: [u8; 20], algorithm in algorithms(), counter: u64) {
        let secret = Secret::from_bytes(key.to_vec());
        let text = |digits| hotp(&secret, algorithm, Digits::new(digits).expect("6 to 8"), counter).to_text();
        prop_assert!(text(8).ends_with(text(7).as_str()));
        prop_assert!(text(7).ends_with(text(6).as_str()));
    }
}
