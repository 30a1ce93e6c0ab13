//! I-3, I-4, I-7: a server killed at any moment has kept every answer it gave, and recorded each attempt once.

mod load;

use std::collections::BTreeMap;
use std::time::Duration;

use load::{Deed, Enrolment, Player};

use crate::harness::surroundings::{is_full, length, let_pass, now, until};
use crate::harness::{Database, Engine, Node, Random, Server, on_both};

/// Clients that verify, each with a user of its own.
const PLAYERS: usize = 6;

/// Kills after which other players take over.
const GENERATION: usize = 10;

/// From the start of the process until `/health` answers 200. The contract's figure is
/// 2 s; a debug build beside other tests on two cores is given more.
fn start_limit() -> Duration {
    if is_full() && !cfg!(debug_assertions) {
        Duration::from_secs(2)
    } else {
        Duration::from_secs(5)
    }
}

/// Starts the server anew and tells how long it took to be healthy.
fn restart(node: &Node) -> (Server, Duration) {
    let begun = now();
    let server = node.start();
    let mut client = server.stranger();
    let healthy = until(Duration::from_secs(10), || {
        (client.get("/health").status == 200).then(|| begun.elapsed())
    });
    let took = healthy.expect("a healthy server");
    assert!(took < start_limit(), "healthy after {took:?}");
    (server, took)
}

/// Lets everybody work until the server is killed under them.
fn kill_under_load(
    server: &mut Server,
    players: &mut [Player],
    enrolments: &mut Enrolment,
    cycle: usize,
    after: Duration,
) {
    let address = server.address.clone();
    let address = address.as_str();
    std::thread::scope(|scope| {
        for player in &mut *players {
            scope.spawn(move || player.play(address, cycle));
        }
        scope.spawn(move || enrolments.go_on(address, cycle));
        let_pass(after);
        server.kill();
    });
}

/// Every acknowledged request has exactly one record, every other one at most one.
fn check_records(database: &Database, deeds: &[Deed]) {
    let mut records: BTreeMap<String, u64> = BTreeMap::new();
    let sql = "SELECT request_id FROM events WHERE request_id LIKE 'crash-%'";
    for row in database.query(sql) {
        let id = row.into_iter().next().flatten().expect("a request id");
        *records.entry(id).or_default() += 1;
    }
    for deed in deeds {
        let count = records.remove(&deed.request_id).unwrap_or(0);
        if deed.acknowledged {
            assert_eq!(count, 1, "acknowledged: {deed:?}");
        } else {
            assert!(count <= 1, "not acknowledged: {deed:?}: {count}");
        }
    }
    assert!(records.is_empty(), "nobody sent these: {records:?}");
}

fn check_chain(node: &Node, cycle: usize) {
    let output = node.run(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "cycle {cycle}: {said} {output:?}");
}

fn new_players(server: &Server, cycle: usize) -> Vec<Player> {
    let mut admin = server.admin();
    let mut player = |number| Player::new(&mut admin, &format!("{cycle}-{number}"));
    (0..PLAYERS).map(&mut player).collect()
}

fn kills(engine: Engine) {
    let cycles = match engine {
        Engine::Sqlite => length(20, 200),
        Engine::Postgres => length(6, 200),
    };
    let database = Database::new(engine);
    // The players fail far more often in a month than a user may.
    let node = Node::new(&database).with("OTPD_CODES__DISABLE_AFTER_30_DAYS", "10000");
    let mut random = Random::new(42);
    let (mut server, _) = restart(&node);
    let mut players = Vec::new();
    let mut enrolments = Enrolment::default();
    let mut deeds: Vec<Deed> = Vec::new();
    let mut slowest = Duration::ZERO;
    for cycle in 0..cycles {
        if cycle % GENERATION == 0 {
            deeds.extend(players.drain(..).flat_map(|player: Player| player.deeds));
            players = new_players(&server, cycle);
        }
        let after = Duration::from_millis(20 + random.below(280));
        kill_under_load(&mut server, &mut players, &mut enrolments, cycle, after);
        let (started, took) = restart(&node);
        server = started;
        slowest = slowest.max(took);
        let mut admin = server.admin();
        for player in &mut players {
            player.check(&mut admin, &mut random);
        }
        enrolments.check(&mut admin);
        check_chain(&node, cycle);
    }
    deeds.extend(players.into_iter().flat_map(|player| player.deeds));
    deeds.append(&mut enrolments.deeds);
    check_records(&database, &deeds);
    let acknowledged = deeds.iter().filter(|deed| deed.acknowledged).count();
    let unanswered = deeds.len() - acknowledged;
    assert!(
        acknowledged > 10 * cycles,
        "hardly any load: {acknowledged}"
    );
    assert!(
        unanswered > cycles,
        "hardly any request was cut off: {unanswered}"
    );
    println!(
        "{engine:?}: {cycles} kills, {acknowledged} answers, {unanswered} requests without one; \
         healthy again after at most {slowest:?}"
    );
}

on_both!(kills: i3_i4_i7_nothing_answered_is_lost_by_kills_on_sqlite, i3_i4_i7_nothing_answered_is_lost_by_kills_on_postgresql);
