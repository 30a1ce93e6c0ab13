//! The race for one acceptance: every code of many users is sent to both nodes at the same instant.

use std::sync::Barrier;
use std::time::Duration;

use super::rounds;
use super::surroundings::let_pass;
use super::{Client, Database, Device, Server};

/// Users whose codes are sent at the same time.
const USERS: usize = 10;
/// Codes of each: every one is a repetition at one of the nodes, and 200 failures in a
/// month disable a user.
const CODES: u64 = 50;

/// Rounds in the full run: 20,000 codes.
pub(crate) const FULL_ROUNDS: usize = 40;

/// What a node said: accepted or not; `None` is a 503.
type Said = Option<bool>;

fn ask(client: &mut Client, device: &Device, counter: u64) -> Result<Said, String> {
    let question = device.question(&device.code(counter));
    let answer = client.try_post("/api/v1/otp/verify", &question);
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(Some(answer.json()["data"]["valid"] == true)),
        503 => {
            // As its `Retry-After` says.
            let_pass(Duration::from_secs(1));
            Ok(None)
        }
        other => Err(format!("{other}: {}", answer.text())),
    }
}

/// Sends each code to both nodes at once; for each, what they said.
fn pairs(nodes: [&Server; 2], device: &Device) -> Vec<[Said; 2]> {
    let together = &Barrier::new(2);
    let walk = |node: &Server| -> Vec<Result<Said, String>> {
        let mut client = node.admin();
        let send = |counter| {
            together.wait();
            ask(&mut client, device, counter)
        };
        (0..CODES).map(send).collect()
    };
    let said = std::thread::scope(|scope| {
        let threads = nodes.map(|node| scope.spawn(move || walk(node)));
        threads.map(|thread| thread.join().expect("a result"))
    });
    let [one, two] = said.map(|said| said.into_iter().collect::<Result<Vec<Said>, String>>());
    let (one, two) = (one.expect("answers"), two.expect("answers"));
    one.into_iter().zip(two).map(|(a, b)| [a, b]).collect()
}

/// Races the codes of new users in each round, until there were enough of them, and checks
/// that none was accepted twice and that at least 98 % were accepted. How many answers
/// were 503.
pub(crate) fn race(nodes: &[Server], database: &Database, enough: impl Fn(usize) -> bool) -> usize {
    let mut admin = nodes[0].admin();
    let (mut once, mut all) = (0, 0);
    let refused = rounds::repeat(enough, |round| {
        let device = |n: usize| {
            let name = format!("racer-{round}-{n}");
            Device::hotp(&mut admin, &name, &name)
        };
        let devices: Vec<Device> = (0..USERS).map(device).collect();
        let said: Vec<Vec<[Said; 2]>> = std::thread::scope(|scope| {
            let race = |device| scope.spawn(move || pairs([&nodes[0], &nodes[1]], device));
            let threads: Vec<_> = devices.iter().map(race).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|said| said.expect("a result")).collect()
        });
        let answers = said.iter().flatten().flatten();
        let unknown = answers.filter(|said| said.is_none()).count();
        rounds::wait_until_ready(nodes);
        for (device, said) in devices.iter().zip(&said) {
            let accepted = accepted_once(device, said, &mut admin);
            if unknown == 0 {
                once += accepted;
                all += said.len();
            }
        }
        unknown
    });
    assert!(once * 100 >= all * 98, "{once} of {all} accepted");
    println!("{all} codes at both nodes at once, {once} accepted, each once");
    let events = "SELECT COUNT(1) FROM events WHERE action = 'OTP_VERIFICATION' AND success = 1";
    assert!(database.number(events) >= once as i64);
    refused
}

/// How many codes of one device were accepted: none twice, and as many as the server shows.
fn accepted_once(device: &Device, said: &[[Said; 2]], admin: &mut Client) -> usize {
    let accepted = |pair: &[Said; 2]| pair.iter().filter(|s| **s == Some(true)).count();
    let counts: Vec<usize> = said.iter().map(accepted).collect();
    assert!(
        counts.iter().all(|n| *n <= 1),
        "twice: {}: {said:?}",
        device.id
    );
    let acknowledged: usize = counts.iter().sum();
    let used = device.view(admin)["usage_count"].clone();
    let unknown = said.iter().flatten().filter(|said| said.is_none()).count();
    let bounds = acknowledged as u64..=(acknowledged + unknown) as u64;
    assert!(bounds.contains(&used.as_u64().expect("a number")), "{used}");
    acknowledged
}
