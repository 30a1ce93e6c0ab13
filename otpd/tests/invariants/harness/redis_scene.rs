//! Two servers that count together in a Redis of their own, which is stopped, frozen and flushed while they serve.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::own_redis::OwnRedis;
use super::surroundings::{RaiseAtEnd, let_pass, until};
use super::{Database, Engine, Node, Server};

/// Until every server has noticed that Redis is away, or is back.
pub(crate) const NOTICE_LIMIT: Duration = Duration::from_secs(10);

/// The same while a race keeps the machine busy.
const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// What a test stops, freezes and flushes, and who must not care.
pub(crate) struct Scene {
    /// The servers, at one PostgreSQL database.
    pub nodes: Vec<Server>,
    /// What they count in.
    pub redis: OwnRedis,
    /// After the servers, so that it outlives them.
    pub database: Database,
}

impl Scene {
    /// Starts everything, with a limit per key that asks Redis at each request and refuses
    /// none, and with what `set` sets at each server.
    pub(crate) fn new(set: impl Fn(Node) -> Node) -> Self {
        let redis = OwnRedis::new();
        let database = Database::new(Engine::Postgres);
        let nodes = Node::start_all_with(&database, Engine::Postgres, |node| {
            let node = node.with("REDIS_URL", &redis.url());
            set(node.with("OTPD_LIMITS__KEY_PER_SECOND", "100000"))
        });
        Self {
            nodes,
            redis,
            database,
        }
    }

    /// Lets Redis be interrupted again and again for as long as `act` lasts. `act` is given
    /// a flag that is raised once it has gone through every kind of interruption.
    pub(crate) fn while_interrupted<T>(
        &mut self,
        act: impl FnOnce(&[Server], &Database, &AtomicBool) -> T,
    ) -> T {
        let (seen, over) = (&AtomicBool::new(false), &AtomicBool::new(false));
        let (redis, nodes) = (&mut self.redis, self.nodes.as_slice());
        let database = &self.database;
        std::thread::scope(|scope| {
            let interrupting = scope.spawn(move || {
                // Also when this fails, so that nobody waits for it.
                let _seen = RaiseAtEnd(seen);
                let mut times = 0;
                while !over.load(Ordering::SeqCst) {
                    interrupt(redis, nodes);
                    seen.store(true, Ordering::SeqCst);
                    times += 1;
                }
                times
            });
            let end = RaiseAtEnd(over);
            let done = act(nodes, database, seen);
            drop(end);
            let times: usize = interrupting.join().expect("every server noticed");
            println!("meanwhile Redis stopped, frozen and flushed {times} times");
            done
        })
    }
}

/// Stops Redis and starts it again, freezes it, and flushes it, each until every server
/// has noticed.
pub(crate) fn interrupt(redis: &mut OwnRedis, nodes: &[Server]) {
    redis.stop();
    wait_for(nodes, "degraded");
    redis.start();
    wait_for(nodes, "ok");
    let frozen = redis.freeze();
    wait_for(nodes, "degraded");
    let_pass(Duration::from_secs(1));
    drop(frozen);
    wait_for(nodes, "ok");
    for _ in 0..5 {
        assert_eq!(redis.command("FLUSHALL"), "+OK\r\n");
        assert_eq!(redis.command("SCRIPT FLUSH"), "+OK\r\n");
        let_pass(Duration::from_millis(50));
    }
    wait_for(nodes, "ok");
}

/// Waits until every server has said that of Redis.
fn wait_for(nodes: &[Server], word: &str) {
    for server in nodes {
        let mut stranger = server.stranger();
        let said = until(BUSY_LIMIT, || {
            let health = stranger.get("/health").json();
            (health["checks"]["redis"] == word).then_some(())
        });
        assert!(said.is_some(), "{word}");
    }
}
