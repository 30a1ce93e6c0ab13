//! I-1, I-5, I-16: the races over two nodes, run while the Redis that they share is stopped, frozen and flushed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::guesses;
use crate::harness::redis_scene::Scene;
use crate::harness::surroundings::length;
use crate::harness::{Server, pairs};

/// So many rounds, and more until Redis has gone through everything.
fn enough(least: usize, seen: &AtomicBool) -> impl Fn(usize) -> bool {
    move |done| done >= least && seen.load(Ordering::SeqCst)
}

/// Verifications that the nodes refused for their database's sake.
fn refused_for_the_database(nodes: &[Server]) -> f64 {
    let names = ["database_errors", "busy", "clock_behind"];
    let of = |node: &Server| -> f64 {
        let values = names.map(|name| node.metric(&format!("otpd_{name}_total ")));
        values.iter().sum()
    };
    nodes.iter().map(of).sum()
}

/// The race has met the interruptions, as requests were counted without Redis, and none of
/// these was refused for that: a machine that stands still may cost the database an
/// answer, Redis costs none.
fn check(nodes: &[Server], refused: usize) {
    for node in nodes {
        assert!(node.metric("otpd_redis_counted_alone_total ") > 0.0);
        assert!(node.metric("otpd_redis_errors_total ") > 0.0);
    }
    let others = refused_for_the_database(nodes);
    assert!(refused as f64 <= others, "503: {refused}, but {others}");
    println!("{refused} answers 503, none for Redis");
}

#[test]
fn i1_i16_codes_sent_to_two_nodes_at_once_are_accepted_once_whatever_redis_does() {
    let mut scene = Scene::new(|node| node);
    let least = length(1, pairs::FULL_ROUNDS);
    let refused = scene.while_interrupted(|nodes, database, seen| {
        pairs::race(nodes, database, enough(least, seen))
    });
    check(&scene.nodes, refused);
}

#[test]
fn i5_i16_guesses_at_two_nodes_stay_within_the_budget_whatever_redis_does() {
    let mut scene = Scene::new(|node| node);
    let least = length(5, 300);
    let refused = scene.while_interrupted(|nodes, database, seen| {
        guesses::race(database, nodes, enough(least, seen))
    });
    check(&scene.nodes, refused);
}
