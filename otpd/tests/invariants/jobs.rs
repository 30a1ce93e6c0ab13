//! The common work: done by one node at a time, taken over within seconds from a dead or hanging one, and enough to keep every table bounded.

use std::time::Duration;

use crate::harness::server::signal;
use crate::harness::surroundings::{now, until};
use crate::harness::{Database, Engine, Node, Server, on_both};

/// Less than the time between two rounds, and long enough for a machine that does other things.
const ONE_ROUND: Duration = Duration::from_secs(40);

/// From the death of the node that did it until another has begun.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(8);

/// The same when it hangs: the database waits for its word a while.
const SILENCE_LIMIT: Duration = Duration::from_secs(25);

/// More than one slice of a sweep.
const MANY: i64 = 5000;

/// Rows whose time is over in every table that is swept.
fn litter(database: &Database) {
    let rows = |insert: &str| {
        database.query(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
             INSERT INTO {insert}"
        ));
    };
    let bytes = "(SELECT name FROM chains LIMIT 1)";
    let columns = "id, fingerprint, answer, expires_at";
    match database.url().starts_with("sqlite") {
        true => rows(&format!(
            "idempotency ({columns}) SELECT CAST(i AS BLOB), {bytes}, {bytes}, 1 FROM n"
        )),
        false => rows(&format!(
            "idempotency ({columns}) SELECT decode(lpad(to_hex(i), 8, '0'), 'hex'), {bytes}, {bytes}, 1 FROM n"
        )),
    }
    rows("sessions SELECT CAST(i AS TEXT), 1, 'pwd', 1, 1, 1, NULL FROM n");
    rows(
        "challenges SELECT -i, 1, 'login', NULL, '{}', 1, 1, 1, 0, NULL, 0, 0
         FROM n",
    );
    rows(
        "outbox SELECT -i, NULL, (SELECT name FROM chains LIMIT 1), 1, 1, 1, 0 FROM n
          WHERE i <= 50",
    );
    // Addresses that nothing is stored about.
    rows("users SELECT -i, 'email:' || i || '@litter.example', 1 FROM n");
    rows("guards SELECT -i, 0, NULL, NULL, '', NULL, 0 FROM n");
    // Hours of long ago.
    rows("stats SELECT 0, -i, 1, 1, 1, 1, 1 FROM n");
    rows("stat_counts SELECT 0, -i, 'signup', 1 FROM n");
    rows("stat_delays SELECT 0, -i, 63, 1, 1 FROM n");
}

/// What is litter in each table that is swept, as a condition.
const LITTER: [(&str, &str); 9] = [
    ("idempotency", "expires_at = 1"),
    ("sessions", "expires_at = 1"),
    ("challenges", "expires_at = 1"),
    ("outbox", "expires_at = 1"),
    ("users", "id < 0"),
    ("guards", "id < 0"),
    ("stats", "bucket = 0"),
    ("stat_counts", "bucket = 0"),
    ("stat_delays", "bucket = 0"),
];

/// Waits until all of it is gone; how long that took.
#[track_caller]
fn swept(database: &Database, limit: Duration) -> Duration {
    let begun = now();
    for (table, is_litter) in LITTER {
        let left = format!("SELECT COUNT(1) FROM {table} WHERE {is_litter}");
        let rest = limit.saturating_sub(begun.elapsed());
        let gone = until(rest, || (database.number(&left) == 0).then_some(()));
        assert!(
            gone.is_some(),
            "{table} still has {}",
            database.number(&left)
        );
    }
    begun.elapsed()
}

fn one_round(engine: Engine) {
    let database = Database::new(engine);
    let node = Node::new(&database);
    assert!(node.start().stop().success());
    litter(&database);
    let server = node.start();
    swept(&database, ONE_ROUND);
    drop(server);
}

on_both!(one_round: one_round_of_sweeps_clears_a_backlog_on_sqlite, one_round_of_sweeps_clears_a_backlog_on_postgresql);

/// Whether this node was the last to say that it does the common work.
fn leads(server: &Server) -> bool {
    let output = server.output();
    let output = String::from_utf8_lossy(&output);
    let mut said = output
        .lines()
        .filter(|line| line.contains("the common work"));
    let last = said.next_back();
    last.is_some_and(|line| line.contains("does the common work now"))
}

fn leader(nodes: &[Server]) -> usize {
    let one = until(TAKE_OVER_LIMIT, || {
        let leading: Vec<usize> = (0..nodes.len()).filter(|n| leads(&nodes[*n])).collect();
        (leading.len() == 1).then(|| leading[0])
    });
    one.expect("one node that does the common work")
}

fn two_nodes(database: &Database) -> Vec<Server> {
    let names = ["one", "two"];
    let nodes = names.iter();
    nodes
        .map(|name| Node::named(database, name).start())
        .collect()
}

#[test]
fn the_common_work_moves_on_when_its_node_is_killed() {
    let database = Database::new(Engine::Postgres);
    let mut nodes = two_nodes(&database);
    let first = leader(&nodes);
    assert!(!leads(&nodes[1 - first]), "two at a time");
    litter(&database);
    nodes[first].kill();
    let took = swept(&database, TAKE_OVER_LIMIT);
    println!("taken over and done {took:?} after the kill");
    assert!(leads(&nodes[1 - first]));
    // One that comes anew leaves it where it is.
    let third = Node::named(&database, "three").start();
    let is_asked = until(Duration::from_secs(3), || leads(&third).then_some(()));
    assert!(is_asked.is_none(), "two at a time");
}

#[test]
fn the_common_work_moves_on_when_its_node_hangs() {
    let database = Database::new(Engine::Postgres);
    let mut nodes = two_nodes(&database);
    let first = leader(&nodes);
    signal("STOP", nodes[first].pid());
    litter(&database);
    let took = swept(&database, SILENCE_LIMIT);
    println!("taken over and done {took:?} after the hang");
    signal("CONT", nodes[first].pid());
    let gives_up = until(TAKE_OVER_LIMIT, || (!leads(&nodes[first])).then_some(()));
    assert!(gives_up.is_some(), "two at a time");
    assert!(nodes[first].is_alive());
    let back = until(TAKE_OVER_LIMIT, || {
        (nodes[first].stranger().get("/readyz").status == 200).then_some(())
    });
    assert!(back.is_some());
}

/// The table of docs/operations.md that says what keeps each table from growing for ever.
const GROWTH: &str = include_str!("../../../docs/operations.md");

#[test]
fn every_table_has_something_that_bounds_it() {
    let database = Database::new(Engine::Sqlite);
    drop(Node::new(&database).start());
    let mut tables = database.tables();
    tables.sort();
    let rows = GROWTH.split_once("## What grows").expect("the section").1;
    let rows = rows
        .split_once("\n## ")
        .map_or(rows, |(section, _)| section);
    let rows = rows.lines().filter_map(|row| row.strip_prefix("| `"));
    let named = rows.filter_map(|row| row.split_once(" |")).map(|row| row.0);
    let mut known: Vec<&str> = named
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    known.sort_unstable();
    assert_eq!(tables, known, "say what bounds the new table");
}
