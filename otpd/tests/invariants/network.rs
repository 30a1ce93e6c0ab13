//! I-15: a node that the network parts from its database accepts nothing, says so in time, and comes back by itself.

use std::time::Duration;

use crate::harness::network::{Namespace, Network, Relay};
use crate::harness::own_postgres::OwnPostgres;
use crate::harness::surroundings::{length, let_pass, now};
use crate::harness::walkers::{ANSWER_LIMIT, Walker, all_served, check_books, while_walking};
use crate::harness::{Database, Node, Server};

/// From the moment the network carries again until everybody is served.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// A node that the network can part from its database: that one can serve nothing.
fn check_parted(near: &Server, far: &Server) {
    assert_eq!(near.stranger().get("/readyz").status, 200);
    let begun = now();
    assert_eq!(far.stranger().get("/readyz").status, 503);
    assert!(begun.elapsed() < ANSWER_LIMIT);
    assert_eq!(far.stranger().get("/livez").status, 200);
}

/// Two nodes on one database, the second on the far side of that network.
fn parted(postgres: &OwnPostgres, network: &Network) {
    let database = Database::on_server(&postgres.url());
    let near = Node::named(&database, "near").start();
    let far = Node::named(&database, "far");
    let far = match network {
        Network::Namespace(space) => far
            .with("HOST", &space.node_address())
            .under(&space.words()),
        Network::Relay(_) => far,
    };
    let (here, there) = (
        format!("127.0.0.1:{}", postgres.port()),
        match network {
            Network::Namespace(space) => {
                format!("{}:{}", space.database_address(), postgres.port())
            }
            Network::Relay(relay) => format!("127.0.0.1:{}", relay.port),
        },
    );
    let far = far.with("DATABASE_URL", &database.url().replace(&here, &there));
    let far = far.start();
    let mut admin = near.admin();
    let walker = |number: u32| Walker::new(&mut admin, &number.to_string());
    let mut walkers: Vec<Walker> = (0..4).map(walker).collect();
    let nodes = [near, far];
    for round in 0..length(2, 10) {
        while_walking(&nodes, &mut walkers, || {
            let_pass(Duration::from_secs(1));
            let cut = network.cut();
            let_pass(Duration::from_secs(length(4, 30) as u64));
            check_parted(&nodes[0], &nodes[1]);
            drop(cut);
        });
        let took = all_served(&nodes, &mut walkers, RETURN_LIMIT);
        println!("round {round}: service {took:?} after the network");
    }
    check_books(&database, &walkers);
    let refused: u64 = walkers.iter().map(|walker| walker.refused).sum();
    assert!(refused > 0, "nobody noticed");
    drop(nodes);
    let output = Node::new(&database).run(&["audit", "verify"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn i15_a_node_whose_packets_are_lost_accepts_nothing_and_returns() {
    match Namespace::new() {
        Ok(space) => {
            let mut postgres = OwnPostgres::made();
            let address = space.database_address();
            let hba = format!("host all all 127.0.0.1/32 trust\nhost all all {address}/30 trust\n");
            postgres.put("data/pg_hba.conf", &hba);
            postgres.set(&[&format!("listen_addresses=127.0.0.1,{address}")]);
            postgres.start();
            parted(&postgres, &Network::Namespace(space));
        }
        Err(why) => {
            println!("no network of its own for a node ({why}): a relay holds the bytes instead");
            held_back();
        }
    }
}

#[test]
fn i15_a_node_whose_bytes_are_held_back_accepts_nothing_and_returns() {
    held_back();
}

fn held_back() {
    let postgres = OwnPostgres::new();
    let relay = Relay::to(postgres.port());
    parted(&postgres, &Network::Relay(relay));
}
