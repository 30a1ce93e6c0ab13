//! I-1, I-3, I-15 over a change of the primary: what was acknowledged is at the standby, no code counts twice.

use std::time::Duration;

use crate::harness::own_postgres::OwnPostgres;
use crate::harness::surroundings::{length, let_pass, until};
use crate::harness::walkers::{ANSWER_LIMIT, Walker, all_served, check_books, while_walking};
use crate::harness::{Client, Database, Device, Node, Server, at_once};

/// From the moment there is a primary again until all nodes serve everybody.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// More at once than a node has connections for reading, so that each of them is used.
const READERS: usize = 16;

/// Two nodes on a primary that confirms nothing its standby does not have.
struct Scene {
    nodes: Vec<Server>,
    walkers: Vec<Walker>,
    // After the nodes, so that they outlive them.
    database: Database,
    primary: OwnPostgres,
    standby: OwnPostgres,
}

impl Scene {
    fn new() -> Self {
        let primary = OwnPostgres::new();
        let standby = OwnPostgres::standby_of(&primary);
        let both = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
            primary.port(),
            standby.port()
        );
        let database = Database::on_server(&both);
        let nodes: Vec<Server> = ["one", "two"]
            .iter()
            .map(|name| Node::named(&database, name).start())
            .collect();
        let mut admin = nodes[0].admin();
        let walker = |number: u64| Walker::new(&mut admin, &number.to_string());
        let walkers = (0..6).map(walker).collect();
        Self {
            nodes,
            walkers,
            database,
            primary,
            standby,
        }
    }

    fn accepted(&self) -> usize {
        self.walkers.iter().map(Walker::accepted).sum()
    }

    /// All nodes say that they cannot serve.
    fn check_away(nodes: &[Server]) {
        for node in nodes {
            let begun = crate::harness::surroundings::now();
            assert_eq!(node.stranger().get("/readyz").status, 503);
            assert!(begun.elapsed() < ANSWER_LIMIT);
            assert_eq!(node.stranger().get("/livez").status, 200);
        }
    }

    /// What was acknowledged is shown, by every connection that a node reads over.
    fn check_shown(&self) {
        for node in &self.nodes {
            let mut clients: Vec<Client> = (0..READERS).map(|_| node.admin()).collect();
            for walker in &self.walkers {
                let shown = at_once(&mut clients, |_, client| walker.shown(client));
                let least = shown.into_iter().min();
                assert!(
                    least >= Some(walker.accepted()),
                    "{least:?} shown: the past"
                );
            }
        }
    }

    fn check(&self) {
        check_books(&self.database, &self.walkers);
        let refused: u64 = self.walkers.iter().map(|walker| walker.refused).sum();
        assert!(refused > 0, "nobody noticed");
        let output = Node::new(&self.database).run(&["audit", "verify"]);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn i1_i3_i15_a_killed_primary_is_replaced_by_its_standby() {
    for round in 0..length(1, 5) {
        let mut scene = Scene::new();
        let (primary, standby, nodes) = (&mut scene.primary, &scene.standby, &scene.nodes);
        while_walking(nodes, &mut scene.walkers, || {
            let_pass(Duration::from_secs(length(1, 5) as u64));
            primary.stop();
            let_pass(Duration::from_millis(100));
            Scene::check_away(nodes);
            standby.promote();
        });
        let before = scene.accepted();
        let took = all_served(&scene.nodes, &mut scene.walkers, RETURN_LIMIT);
        println!("round {round}: {before} acceptances, service {took:?} after the promotion");
        assert!(before > 20, "hardly any load: {before}");
        while_walking(&scene.nodes, &mut scene.walkers, || {
            let_pass(Duration::from_secs(1));
        });
        scene.check();
    }
}

/// A primary that hangs keeps its connections open, and may come back when another has
/// long taken its place.
#[test]
fn i1_i3_i15_a_hanging_primary_is_replaced_and_its_return_changes_nothing() {
    for round in 0..length(1, 5) {
        let mut scene = Scene::new();
        scene.check_shown();
        let (primary, standby, nodes) = (&scene.primary, &scene.standby, &scene.nodes);
        let frozen = while_walking(nodes, &mut scene.walkers, || {
            let_pass(Duration::from_secs(1));
            let frozen = primary.freeze();
            let_pass(Duration::from_secs(length(3, 60) as u64));
            Scene::check_away(nodes);
            standby.promote();
            frozen
        });
        let took = all_served(&scene.nodes, &mut scene.walkers, RETURN_LIMIT);
        println!("round {round}: service {took:?} after the promotion");
        while_walking(&scene.nodes, &mut scene.walkers, || {
            let_pass(Duration::from_millis(500));
            drop(frozen);
            let_pass(Duration::from_secs(1));
        });
        scene.check_shown();
        scene.primary.stop();
        scene.check();
    }
}

/// A commit that waits for a standby is no commit yet: not for the one who sent the code,
/// and not for one who asks again under the same key.
#[test]
fn i3_what_the_standby_lacks_is_never_acknowledged() {
    let mut scene = Scene::new();
    let mut admin = scene.nodes[0].admin();
    let device = Device::hotp(&mut admin, "d", "u");
    let ask = |client: &mut Client| {
        client.header("Idempotency-Key", "the-same");
        client.post("/api/v1/otp/verify", &device.question(&device.code(0)))
    };
    let frozen = scene.standby.freeze();
    let over = until(Duration::from_secs(length(6, 30) as u64), || {
        for node in &scene.nodes {
            let answer = ask(&mut node.admin());
            assert_ne!(answer.status, 200, "{}", answer.text());
            let read = node.admin().get(&device.path());
            if read.status == 200 {
                assert_eq!(
                    read.json()["data"]["usage_count"],
                    0,
                    "shown before it is safe"
                );
            }
        }
        None::<()>
    });
    assert!(over.is_none());
    // Everything that the primary had and nobody was told of goes with it.
    scene.primary.stop();
    drop(frozen);
    scene.standby.promote();
    let served = until(RETURN_LIMIT, || {
        let answer = ask(&mut scene.nodes[1].admin());
        (answer.status == 200).then_some(answer)
    });
    let data = served.expect("service").json()["data"].clone();
    assert_eq!(data["valid"], true, "{data}");
    all_served(&scene.nodes, &mut scene.walkers, RETURN_LIMIT);
    check_books(&scene.database, &scene.walkers);
}

#[test]
fn a_standby_alone_is_refused_in_one_sentence() {
    let primary = OwnPostgres::new();
    let database = Database::on_server(&primary.url());
    drop(Node::new(&database).start());
    let standby = OwnPostgres::standby_of(&primary);
    let url = |ports: &str| {
        let url = database.url();
        let (_, name) = url.rsplit_once('/').expect("a path");
        format!("postgres://postgres@{ports}/{name}")
    };
    let refused = |ports: &str| {
        let node = Node::named(&database, "standby").with("DATABASE_URL", &url(ports));
        let output = node.run(&[]);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let alone = format!("127.0.0.1:{}", standby.port());
    let said = refused(&alone);
    assert!(
        said.contains("read-only standby: connect to the primary"),
        "{said}"
    );
    let said = refused(&format!("127.0.0.1:1,{alone}"));
    assert!(
        said.contains(&format!("{alone}: a read-only standby")),
        "{said}"
    );
    // To look is another matter.
    let looking = Node::named(&database, "standby").with("DATABASE_URL", &url(&alone));
    let output = looking.run(&["audit", "verify"]);
    assert!(output.status.success(), "{output:?}");
    let both = format!("{alone},127.0.0.1:{}", primary.port());
    let node = Node::named(&database, "both").with("DATABASE_URL", &url(&both));
    assert_eq!(node.start().stranger().get("/readyz").status, 200);
}

#[test]
fn i3_settings_that_lose_commits_are_refused_by_name() {
    let mut postgres = OwnPostgres::made();
    for setting in ["fsync=off", "full_page_writes=off", "zero_damaged_pages=on"] {
        postgres.set(&[setting]);
        postgres.start();
        let database = Database::on_server(&postgres.url());
        let output = Node::new(&database).run(&[]);
        assert!(!output.status.success(), "{setting}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let named = setting.replace('=', " = ");
        assert!(said.contains(&named), "{setting}: {said}");
        postgres.stop();
    }
    // The server's default does not matter: each connection asks for more.
    postgres.set(&["synchronous_commit=off", "log_statement=all"]);
    postgres.start();
    let database = Database::on_server(&postgres.url());
    let server = Node::new(&database).start();
    assert_eq!(server.stranger().get("/readyz").status, 200);
    let log = postgres.log();
    let connections = log
        .matches("statement: SET synchronous_commit = on")
        .count();
    // Two lanes and the one for batches, at least.
    assert!(connections >= 3, "{connections} in {log}");
}
