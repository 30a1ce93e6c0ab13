//! Users who send code after code to several nodes through any outage, and keep a book of what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::surroundings::{RaiseAtEnd, let_pass, now, until};
use super::{Client, Database, Device, Server};

/// The longest a client waits for the 503. The contract's figure is 2 s; the rest is
/// what a test machine may add before and after the server's own work.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_millis(2300);

/// Between two tries while there is no service.
const PAUSE: Duration = Duration::from_millis(20);

/// Acceptances between two tries to have the same code accepted elsewhere.
const REPEAT: u64 = 5;
/// Each costs a guess of the budget of 200 in 30 days; the rest is left to outages.
const REPEATS: u64 = 100;

/// A request that was answered 200.
struct Answered {
    request_id: String,
    accepted: bool,
}

/// One user with a device that counts.
pub(crate) struct Walker {
    device: Device,
    /// The counter whose code is sent next.
    next: u64,
    /// It was sent before without an answer that says what became of it.
    doubtful: bool,
    asked: u64,
    answered: Vec<Answered>,
    /// Answers 503.
    pub refused: u64,
}

impl Walker {
    /// Registers the device.
    pub(crate) fn new(admin: &mut Client, name: &str) -> Self {
        Self {
            device: Device::hotp(admin, &format!("walker-{name}"), name),
            next: 0,
            doubtful: false,
            asked: 0,
            answered: Vec::new(),
            refused: 0,
        }
    }

    /// Acceptances that were acknowledged.
    pub(crate) fn accepted(&self) -> usize {
        self.answered
            .iter()
            .filter(|answer| answer.accepted)
            .count()
    }

    /// Acceptances as the server shows them.
    pub(crate) fn shown(&self, client: &mut Client) -> usize {
        let used = self.device.view(client)["usage_count"].as_u64();
        usize::try_from(used.expect("a number")).expect("few")
    }

    /// Sends the next code, or the same again as long as nobody said what became of it.
    /// Whether there was service.
    pub(crate) fn step(&mut self, client: &mut Client) -> bool {
        let Some(valid) = self.ask(client, self.next) else {
            self.doubtful = true;
            return false;
        };
        // Only an attempt whose answer never came can have spent it.
        assert!(valid || self.doubtful, "{}: {}", self.device.id, self.next);
        self.next += 1;
        self.doubtful = false;
        true
    }

    /// The code that was used last is not accepted again, whoever is asked.
    pub(crate) fn repeat(&mut self, client: &mut Client) {
        let Some(last) = self.next.checked_sub(1) else {
            return;
        };
        let again = self.ask(client, last);
        assert_ne!(again, Some(true), "{}: {last} twice", self.device.id);
    }

    fn ask(&mut self, client: &mut Client, counter: u64) -> Option<bool> {
        self.asked += 1;
        let request_id = format!("{}.{counter}.{}", self.device.id, self.asked);
        client.header("X-Request-Id", &request_id);
        let begun = now();
        let question = self.device.question(&self.device.code(counter));
        let answer = client.post("/api/v1/otp/verify", &question);
        let took = begun.elapsed();
        match answer.status {
            200 => {
                let accepted = answer.json()["data"]["valid"] == true;
                self.answered.push(Answered {
                    request_id,
                    accepted,
                });
                Some(accepted)
            }
            503 => {
                assert!(took < ANSWER_LIMIT, "a 503 after {took:?}");
                assert!(answer.header("retry-after").is_some());
                self.refused += 1;
                None
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
}

/// Lets everybody walk over all nodes while `event` happens, and for as long as it does.
pub(crate) fn while_walking<T>(
    nodes: &[Server],
    walkers: &mut [Walker],
    event: impl FnOnce() -> T,
) -> T {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (place, walker) in walkers.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut clients: Vec<Client> = nodes.iter().map(Server::admin).collect();
                let number = clients.len();
                let mut turn = place;
                while !over.load(Ordering::SeqCst) {
                    turn += 1;
                    if !walker.step(&mut clients[turn % number]) {
                        let_pass(PAUSE);
                    } else if walker.next % REPEAT == 0 && walker.next / REPEAT < REPEATS {
                        walker.repeat(&mut clients[(turn + 1) % number]);
                    }
                }
            });
        }
        let _end = RaiseAtEnd(over);
        event()
    })
}

/// Waits until every node serves every walker again; how long that took.
#[track_caller]
pub(crate) fn all_served(nodes: &[Server], walkers: &mut [Walker], limit: Duration) -> Duration {
    let begun = now();
    for node in nodes {
        let mut client = node.admin();
        for walker in &mut *walkers {
            let rest = limit.saturating_sub(begun.elapsed());
            let served = until(rest, || walker.step(&mut client).then_some(()));
            assert!(served.is_some(), "no service {limit:?} after the outage");
        }
        let rest = limit.saturating_sub(begun.elapsed());
        let ready = until(rest, || (client.get("/readyz").status == 200).then_some(()));
        assert!(ready.is_some(), "not ready {limit:?} after the outage");
    }
    begun.elapsed()
}

/// Compares the books with the log: nothing acknowledged is missing, nothing is there
/// twice, no code was accepted twice.
pub(crate) fn check_books(database: &Database, walkers: &[Walker]) {
    let mut records: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut spent: BTreeSet<String> = BTreeSet::new();
    let sql = "SELECT request_id, success FROM events
               WHERE action = 'OTP_VERIFICATION' AND request_id LIKE 'walker-%'";
    for row in database.query(sql) {
        let mut fields = row.into_iter().flatten();
        let id = fields.next().expect("a request id");
        let accepted = fields.next().as_deref() == Some("1");
        let code = id.rsplit_once('.').expect("our form").0.to_owned();
        assert!(!accepted || spent.insert(code), "accepted twice: {id}");
        records.entry(id).or_default().push(accepted);
    }
    for walker in walkers {
        for answer in &walker.answered {
            let found = records.remove(&answer.request_id);
            let expected = Some(vec![answer.accepted]);
            assert_eq!(found, expected, "acknowledged: {}", answer.request_id);
        }
    }
    // What is left was never answered; each of it is recorded once at most.
    let double = records.iter().find(|(_, found)| found.len() > 1);
    assert!(double.is_none(), "{double:?}");
}
