//! The same codes and URIs as two independent programs: `oathtool` and PyOTP.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use otp::uri::{Kind, OtpauthUri};
use otp::{Algorithm, Digits, Secret, Totp, highest_match, hotp};

/// Different numbers in every run (SplitMix64); a failure names the whole case, so it can be
/// repeated without them.
struct Draw(u64);

impl Draw {
    fn new() -> Self {
        Self(RandomState::new().hash_one("seed"))
    }

    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A key of 16 to 145 bytes: shorter and longer than a block of each hash. (PyOTP refuses
    /// shorter keys.)
    fn key(&mut self) -> String {
        let length = 16 + self.below(130);
        let bytes = (0..length).map(|_| self.any() as u8).collect();
        Secret::from_bytes(bytes).to_base32().to_string()
    }

    fn digits(&mut self) -> Digits {
        Digits::new(6 + self.below(3) as u8).expect("6 to 8")
    }

    /// A name of up to 9 characters, many of them delicate in a URI.
    fn name(&mut self) -> String {
        let characters = [
            'a', 'Z', '7', ':', '+', ' ', '%', '&', '=', '/', '?', '#', '@', 'ë', '漢',
        ];
        let length = 1 + self.below(8);
        let rest: String = (0..length).map(|_| self.one_of(&characters)).collect();
        // Spaces in front of an account do not survive the format.
        format!("n{rest}")
    }
}

/// A code to ask for.
#[derive(Debug)]
struct Case {
    key: String,
    algorithm: Algorithm,
    digits: Digits,
    moment: Moment,
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    Time { seconds: i64, period: u32 },
    Counter(u64),
}

impl Case {
    fn at_a_time(draw: &mut Draw, periods: &[u32]) -> Self {
        // Up to the year 2603 and a little after.
        let drawn = draw.below(20_000_001_000) as i64;
        Self {
            key: draw.key(),
            algorithm: draw.one_of(&Algorithm::ALL),
            digits: draw.digits(),
            moment: Moment::Time {
                seconds: draw.one_of(&[drawn, 0, 59, 1_111_111_109, 20_000_000_000, drawn, drawn]),
                period: draw.one_of(periods),
            },
        }
    }

    fn of_a_counter(draw: &mut Draw, algorithms: &[Algorithm]) -> Self {
        let any = draw.any();
        Self {
            key: draw.key(),
            algorithm: draw.one_of(algorithms),
            digits: draw.digits(),
            moment: Moment::Counter(draw.one_of(&[any, any >> 40, 0, 1 << 32, u64::MAX])),
        }
    }

    /// Our code, found again by our own search.
    fn ours(&self) -> String {
        let secret = Secret::from_base32(&self.key).expect("base32");
        let counter = match self.moment {
            Moment::Counter(counter) => counter,
            Moment::Time { seconds, period } => {
                Totp::new(period).step_at(seconds).expect("after 1970")
            }
        };
        let code = hotp(&secret, self.algorithm, self.digits, counter);
        let found = highest_match(&secret, self.algorithm, &code, counter..=counter);
        assert_eq!(found, Some(counter), "{self:?}");
        code.to_text().to_string()
    }

    fn oathtool(&self) -> String {
        let mut command = Command::new("oathtool");
        command
            .arg("--base32")
            .arg(format!("--digits={}", self.digits.get()));
        match self.moment {
            Moment::Counter(counter) => command.arg("--hotp").arg(format!("--counter={counter}")),
            Moment::Time { seconds, period } => command
                .arg(format!("--totp={}", self.algorithm))
                .arg(format!("--time-step-size={period}s"))
                .arg(format!("--now=@{seconds}")),
        };
        let missing = "oathtool does not run; install the package oathtool";
        answer(command.arg("-"), &self.key, missing)
    }

    fn question_for_pyotp(&self) -> String {
        let (kind, period, moment) = match self.moment {
            Moment::Counter(counter) => ("hotp", "-".to_owned(), counter.to_string()),
            Moment::Time { seconds, period } => ("totp", period.to_string(), seconds.to_string()),
        };
        let (algorithm, digits, key) = (self.algorithm, self.digits.get(), &self.key);
        format!("{kind} {algorithm} {digits} {period} {key} {moment}\n")
    }
}

/// What a program answers to `input`; panics with the program's own words when it fails.
fn answer(command: &mut Command, input: &str, missing: &str) -> String {
    let output = run(command, input).unwrap_or_else(|error| panic!("{missing} ({error})"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{missing}, if that is what it says:\n{errors}"
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim_end()
        .to_owned()
}

fn run(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let input = input.to_owned();
    // On a thread of its own, for the program may answer before it has read everything. One that
    // fails at once reads nothing: its status tells more than the error of writing.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output();
    writer.join().expect("writing does not panic");
    output
}

/// PyOTP's answers, one for each line of questions.
fn pyotp(questions: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pyotp_answers.py");
    let missing = "PyOTP does not run; install the packages python3 and python3-pyotp \
                   (or `pip install pyotp`)";
    let mut command = Command::new("python3");
    let answers = answer(command.arg(script), questions, missing);
    let answers: Vec<_> = answers.lines().map(String::from).collect();
    assert_eq!(
        answers.len(),
        questions.lines().count(),
        "one answer a question"
    );
    answers
}

#[test]
fn oathtool_computes_the_same_codes() {
    let mut draw = Draw::new();
    for round in 0..40 {
        // oathtool knows HOTP with SHA-1 only, as its RFC does.
        let case = match round % 4 {
            0 => Case::of_a_counter(&mut draw, &[Algorithm::Sha1]),
            _ => Case::at_a_time(&mut draw, &[15, 30, 60, 120, 300]),
        };
        assert_eq!(case.ours(), case.oathtool(), "{case:?}");
    }
}

#[test]
fn pyotp_computes_the_same_codes() {
    let mut draw = Draw::new();
    let draw_case = |round| match round % 3 {
        0 => Case::of_a_counter(&mut draw, &Algorithm::ALL),
        // Some releases of PyOTP refuse periods above 120 s.
        _ => Case::at_a_time(&mut draw, &[15, 30, 60, 120]),
    };
    let cases: Vec<_> = (0..600).map(draw_case).collect();
    let questions: String = cases.iter().map(Case::question_for_pyotp).collect();
    for (case, theirs) in cases.iter().zip(pyotp(&questions)) {
        assert_eq!(case.ours(), theirs, "{case:?}");
    }
}

/// An account as one line that PyOTP's script understands, and as our URI.
fn draw_uri(draw: &mut Draw) -> (String, OtpauthUri) {
    let (period, counter) = (draw.one_of(&[15, 30, 60]), draw.any() >> 1);
    let (word, number, kind) = draw.one_of(&[
        ("totp", u64::from(period), Kind::Totp { period }),
        ("hotp", counter, Kind::Hotp { counter }),
    ]);
    let (key, algorithm, digits) = (draw.key(), draw.one_of(&Algorithm::ALL), draw.digits());
    let (issuer, account) = (draw.name(), draw.name());
    let line = format!(
        "{word} {algorithm} {} {number} {key} {} {}",
        digits.get(),
        quoted(&issuer),
        quoted(&account),
    );
    let secret = Secret::from_base32(&key).expect("base32");
    let issuer = Some(issuer);
    let uri = OtpauthUri {
        kind,
        issuer,
        account,
        secret,
        algorithm,
        digits,
    };
    (line, uri)
}

/// Percent-encoded in full, independently of the code under test.
fn quoted(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[test]
fn pyotp_reads_the_uris_written_here() {
    let mut draw = Draw::new();
    let drawn: Vec<_> = (0..200).map(|_| draw_uri(&mut draw)).collect();
    let question = |uri: &OtpauthUri| format!("read {}\n", uri.to_uri().as_str());
    let questions: String = drawn.iter().map(|(_, uri)| question(uri)).collect();
    for ((line, uri), theirs) in drawn.iter().zip(pyotp(&questions)) {
        assert_eq!(&theirs, line, "{}", uri.to_uri().as_str());
    }
}

#[test]
fn uris_written_by_pyotp_are_read_here() {
    let mut draw = Draw::new();
    let drawn: Vec<_> = (0..200).map(|_| draw_uri(&mut draw)).collect();
    let questions: String = drawn
        .iter()
        .map(|(line, _)| format!("write {line}\n"))
        .collect();
    for ((line, uri), theirs) in drawn.iter().zip(pyotp(&questions)) {
        let read = OtpauthUri::parse(&theirs).unwrap_or_else(|error| panic!("{theirs}: {error}"));
        // Written again by us, every part can be compared at once.
        assert_eq!(
            read.to_uri().as_str(),
            uri.to_uri().as_str(),
            "{line}\n{theirs}"
        );
    }
}
