//! The shared counters on a real server: the same rule, one budget, and what is lost comes to no harm.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Time;
use domain::rate::{Decision, Rate, decide};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::rate::RateCounters;

/// Long enough for a machine that is busy with a build.
const PATIENT: Duration = Duration::from_secs(5);

fn settings(url: String) -> RedisSettings {
    RedisSettings {
        url,
        authorities: None,
        connect: PATIENT,
        answer: PATIENT,
    }
}

fn server() -> RedisSettings {
    #[expect(
        clippy::disallowed_methods,
        reason = "the address of the tests' server is no setting of the product"
    )]
    let url = std::env::var("TEST_REDIS_URL");
    settings(url.expect("set TEST_REDIS_URL or run `cargo xtask test`"))
}

async fn counters() -> SharedCounters {
    let counters = SharedCounters::open(&server()).await.unwrap();
    assert!(counters.is_there());
    counters
}

/// A name that no other test and no other run uses.
fn name() -> [u8; 16] {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&RandomState::new().hash_one(0).to_be_bytes());
    name[8..].copy_from_slice(&MADE.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    name
}

fn question(rate: Rate, cost: u32) -> Question {
    Question {
        rate,
        cost,
        remembered_us: 0,
    }
}

/// Sends a command past the counters.
async fn command(counters: &SharedCounters, words: &[&str]) -> redis::Value {
    let link::Target::One(client) = &counters.inner.target else {
        panic!("one server");
    };
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

async fn number(counters: &SharedCounters, words: &[&str]) -> i64 {
    match command(counters, words).await {
        redis::Value::Int(number) => number,
        other => panic!("{other:?}"),
    }
}

fn rate(per: u32, period_ms: i64, burst: u32) -> Rate {
    Rate::new(per, period_ms, burst).unwrap()
}

const HOUR_MS: i64 = 3_600_000;
const NOON: Time = Time::from_millis(1_700_000_000_000);

#[tokio::test]
async fn the_script_is_the_rule() {
    let counters = counters().await;
    let mut seed = RandomState::new().hash_one(0);
    println!("seed {seed}");
    let mut pick = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % most
    };
    let rates = [
        rate(120, 60_000, 120),
        rate(5, HOUR_MS, 5),
        rate(1, 3, 4),
        rate(3000, 1000, 7),
        rate(1, (1 << 50) / 1000, 1),
        rate(1_000_000, 1000, 1_000_000),
    ];
    for _ in 0..12 {
        let name = name();
        let mut tat = None;
        let mut limit = rates[pick(6) as usize];
        for step in 0..60 {
            // Now and then the limit is changed by whoever runs the server.
            if pick(20) == 0 {
                limit = rates[pick(6) as usize];
            }
            let cost = (pick(4) as u32).min(limit.burst());
            let counted = counters.count(&name, &question(limit, cost)).await.unwrap();
            assert_eq!(counted.now_us % 1000, 0);
            let now = Time::from_millis(counted.now_us / 1000);
            let expected = decide(tat, now, &limit, cost);
            assert_eq!(counted.decision(), expected, "step {step} of {limit:?}");
            if let Decision::Allowed { new_tat } = expected
                && cost > 0
            {
                tat = Some(new_tat);
            }
        }
    }
}

#[tokio::test]
async fn two_nodes_share_one_budget_whatever_their_clocks_say() {
    let (left, right) = (counters().await, counters().await);
    let limit = rate(10, HOUR_MS, 10);
    let (here, there) = (RateCounters::new(limit), RateCounters::new(limit));
    let name = name();
    let late = NOON.plus_millis(1_900);
    let mut allowed = 0;
    for turn in 0..30 {
        let decision = if turn % 3 == 0 {
            here.charge_shared(&left, &name, &"a", NOON, 1).await
        } else {
            there.charge_shared(&right, &name, &"a", late, 1).await
        };
        allowed += u32::from(matches!(decision, Decision::Allowed { .. }));
    }
    assert_eq!(allowed, 10);
    let peek = here.charge_shared(&left, &name, &"a", NOON, 0).await;
    assert!(matches!(peek, Decision::Limited { .. }));
    // Another source of the same name's limit is counted apart.
    let other = super::tests::name();
    let decision = here.charge_shared(&left, &other, &"b", NOON, 1).await;
    assert!(matches!(decision, Decision::Allowed { .. }));
    assert_eq!((left.errors(), left.counted_alone()), (0, 0));
}

#[tokio::test]
async fn requests_at_once_never_exceed_the_budget() {
    let (left, right) = (Arc::new(counters().await), Arc::new(counters().await));
    let limit = rate(20, HOUR_MS, 20);
    let memories = [(); 2].map(|()| Arc::new(RateCounters::new(limit)));
    let name = name();
    let mut tasks = Vec::new();
    for turn in 0..100 {
        let memory = Arc::clone(&memories[turn % 2]);
        let shared = Arc::clone([&left, &right][turn % 2]);
        tasks.push(tokio::spawn(async move {
            memory.charge_shared(&shared, &name, &"a", NOON, 1).await
        }));
    }
    let mut allowed = 0;
    for task in tasks {
        allowed += u32::from(matches!(task.await.unwrap(), Decision::Allowed { .. }));
    }
    assert_eq!(allowed, 20);
}

#[tokio::test]
async fn a_key_lives_as_long_as_it_says_anything() {
    let counters = counters().await;
    let (name, peeked) = (name(), name());
    counters
        .count(&name, &question(rate(4, HOUR_MS, 4), 1))
        .await;
    let life = number(&counters, &["PTTL", &key(&name)]).await;
    let quarter = HOUR_MS / 4;
    assert!((quarter - 10_000..=quarter).contains(&life), "{life}");
    counters
        .count(&peeked, &question(rate(4, HOUR_MS, 4), 0))
        .await;
    assert_eq!(number(&counters, &["EXISTS", &key(&peeked)]).await, 0);
    let short = super::tests::name();
    counters.count(&short, &question(rate(1, 30, 1), 1)).await;
    let gone = async {
        while number(&counters, &["EXISTS", &key(&short)]).await != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENT, gone).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again() {
    let counters = counters().await;
    let name = name();
    for _ in 0..3 {
        command(&counters, &["SCRIPT", "FLUSH"]).await;
        let counted = counters
            .count(&name, &question(rate(9, HOUR_MS, 9), 1))
            .await;
        assert!(counted.is_some());
    }
    let last = counters
        .count(&name, &question(rate(9, HOUR_MS, 9), 7))
        .await;
    assert!(last.unwrap().retry_after_ms > 0, "all three have counted");
    assert_eq!(counters.errors(), 0);
}

#[tokio::test]
async fn what_the_server_has_lost_a_node_remembers() {
    let (left, right) = (counters().await, counters().await);
    let limit = rate(10, HOUR_MS, 10);
    let (here, there) = (RateCounters::new(limit), RateCounters::new(limit));
    let name = name();
    for _ in 0..6 {
        here.charge_shared(&left, &name, &"a", NOON, 1).await;
    }
    command(&left, &["DEL", &key(&name)]).await;
    // The first to ask brings back what it knows, and the other one finds it.
    here.charge_shared(&left, &name, &"a", NOON, 1).await;
    let mut allowed = 0;
    for _ in 0..10 {
        let decision = there.charge_shared(&right, &name, &"a", NOON, 1).await;
        allowed += u32::from(matches!(decision, Decision::Allowed { .. }));
    }
    assert_eq!(allowed, 3);
    // At the limit nobody is asked any more: a loss opens nothing.
    command(&left, &["DEL", &key(&name)]).await;
    let decision = there.charge_shared(&right, &name, &"a", NOON, 1).await;
    assert!(matches!(decision, Decision::Limited { .. }));
}

/// Counts of a source that pass while nobody is asked.
async fn passes_alone(shared: &SharedCounters, memory: &RateCounters<&str>) -> u32 {
    let (name, mut allowed) = (name(), 0);
    for _ in 0..100 {
        let decision = memory.charge_shared(shared, &name, &"a", NOON, 1).await;
        allowed += u32::from(matches!(decision, Decision::Allowed { .. }));
    }
    allowed
}

#[tokio::test]
async fn without_an_answer_each_node_gives_away_its_part() {
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut settings = settings(format!("redis://127.0.0.1:{port}"));
    settings.connect = Duration::from_millis(50);
    settings.answer = Duration::from_millis(50);
    let opened = tokio::time::timeout(PATIENT, SharedCounters::open(&settings)).await;
    let shared = opened.unwrap().unwrap();
    assert!(!shared.is_there());
    shared.set_nodes(3);
    let memory = RateCounters::new(rate(30, HOUR_MS, 30));
    // A hundred waits of 50 ms each would be five seconds.
    let all = passes_alone(&shared, &memory);
    let passed = tokio::time::timeout(Duration::from_secs(2), all).await;
    assert_eq!(passed.unwrap(), 10);
    assert_eq!(shared.counted_alone(), 10);
    assert!(shared.errors() > 0);
}

#[tokio::test]
async fn the_part_begins_where_the_whole_stood() {
    let shared = counters().await;
    shared.set_nodes(3);
    let memory = RateCounters::new(rate(30, HOUR_MS, 30));
    let name = name();
    for _ in 0..15 {
        memory.charge_shared(&shared, &name, &"a", NOON, 1).await;
    }
    // Takes the connection away, and the one that would come instead.
    shared.keeper.abort();
    shared.inner.state().link = None;
    // Half of the whole was spent, by whomever: half of the part is left.
    assert_eq!(passes_alone(&shared, &memory).await, 5);
}

/// The real server at another address, which can be made to fall silent: connections
/// stay open, and nothing is answered.
struct Distance {
    url: String,
    listener: Option<TcpListener>,
    address: String,
    silent: watch::Sender<bool>,
}

impl Distance {
    async fn new() -> Self {
        let real = server().url;
        let address = real.split("://").nth(1).unwrap();
        let address = address.rsplit('@').next().unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        Self {
            url: real.replace(&address, &here),
            listener: Some(listener),
            address,
            silent: watch::Sender::new(false),
        }
    }

    /// Passes everything on from now on.
    fn speak(&mut self) {
        let (address, silent) = (self.address.clone(), self.silent.clone());
        let listener = self.listener.take().unwrap();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(&address).await.unwrap();
                let mut silent = silent.subscribe();
                tokio::spawn(async move {
                    let passed = tokio::io::copy_bidirectional(&mut near, &mut far);
                    tokio::select! {
                        _ = passed => {}
                        _ = silent.wait_for(|silent| *silent) => {}
                    }
                    // Held open until it may speak again.
                    let _ = silent.wait_for(|silent| !*silent).await;
                });
            }
        });
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), waited).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let mut distance = Distance::new().await;
    let mut settings = settings(distance.url.clone());
    settings.connect = Duration::from_millis(100);
    let shared = SharedCounters::open(&settings).await.unwrap();
    assert!(!shared.is_there());
    distance.speak();
    until("found", || shared.is_there()).await;
    let question = question(rate(9, HOUR_MS, 9), 1);
    assert!(shared.count(&name(), &question).await.is_some());
}

#[tokio::test]
async fn after_one_late_answer_nobody_waits_until_there_is_one() {
    let mut distance = Distance::new().await;
    distance.speak();
    let mut settings = settings(distance.url.clone());
    settings.answer = Duration::from_millis(300);
    let shared = SharedCounters::open(&settings).await.unwrap();
    let question = question(rate(1000, HOUR_MS, 1000), 1);
    assert!(shared.count(&name(), &question).await.is_some());
    distance.silent.send_replace(true);
    // One wait, and a hundred that are none; each of them waiting would be thirty seconds.
    let all = async {
        for _ in 0..100 {
            assert!(shared.count(&name(), &question).await.is_none());
        }
    };
    tokio::time::timeout(Duration::from_secs(3), all)
        .await
        .unwrap();
    assert!(!shared.is_there());
    assert_eq!(shared.counted_alone(), 100);
    distance.silent.send_replace(false);
    until("back", || shared.is_there()).await;
    assert!(shared.count(&name(), &question).await.is_some());
}

#[tokio::test]
async fn settings_that_never_work_are_refused() {
    for url in [
        "redis://",
        "rediss://h/#insecure",
        "redis://h/x",
        "http://h",
    ] {
        let refused = SharedCounters::open(&settings(url.into())).await.is_err();
        assert!(refused, "{url}");
    }
    let mut missing = settings("rediss://h".into());
    missing.authorities = Some("/nowhere.pem".into());
    assert!(SharedCounters::open(&missing).await.is_err());
}

#[tokio::test]
async fn a_server_is_examined() {
    let report = SharedCounters::examine(&server()).await.unwrap();
    assert!(report.found.starts_with("reachable and counting, "));
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = place.local_addr().unwrap().port();
    drop(place);
    let nobody = settings(format!("redis://:hunter2@127.0.0.1:{port}"));
    let text = SharedCounters::examine(&nobody)
        .await
        .unwrap_err()
        .to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_key_says_nothing_and_chooses_one_slot() {
    assert_eq!(key(&[0xab; 16]), "otpd:{abababababababababababababababab}");
}
