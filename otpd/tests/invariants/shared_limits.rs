//! I-16: servers share their limits through Redis, and nobody notices when it is stopped, frozen or flushed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::own_redis::OwnRedis;
use crate::harness::redis_scene::{NOTICE_LIMIT, Scene, interrupt};
use crate::harness::surroundings::{RaiseAtEnd, let_pass, now, until};
use crate::harness::{Client, Database, Device, Engine, Node, Server};

/// What a request may take at most while Redis is frozen: its wait of 75 ms, and what a
/// busy machine, a debug build and a commit add.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);

/// Requests for an emailed code in an hour: few enough that none comes back during a test.
const BUDGET: usize = 12;

/// Two servers that wait for Redis so long: as short as they do by themselves, or so
/// long that the load of other tests makes no outage.
fn scene(answer_ms: u32) -> Scene {
    Scene::new(|node| {
        node.with("OTPD_EMAIL__ALLOWED_DOMAINS", "example.com")
            .with("OTPD_LIMITS__EMAIL_REQUESTS_PER_HOUR", &BUDGET.to_string())
            .with("OTPD_REDIS__ANSWER_MS", &answer_ms.to_string())
    })
}

/// Waits until both servers say that of Redis, and are ready all the while.
fn wait_for(nodes: &[Server], word: &str) {
    for server in nodes {
        let mut stranger = server.stranger();
        let said = until(NOTICE_LIMIT, || {
            let health = stranger.get("/health").expect(200);
            assert_eq!(stranger.get("/readyz").status, 200);
            assert_eq!(health["checks"]["database"], "ok");
            let fits = health["checks"]["redis"] == word;
            fits.then_some(health["status"] == word)
        });
        assert_eq!(said, Some(true), "redis and the whole are {word}");
    }
}

/// Whether a request for an emailed code passes the limit of its address. The domain is a
/// wrong one, so that what passes is refused for that, and no mail is made.
fn passes(client: &mut Client) -> bool {
    let answer = client.post("/auth/request-otp", &json!({"email": "a@example.org"}));
    match answer.status {
        403 => true,
        429 => {
            let wait = answer.header("retry-after").and_then(|it| it.parse().ok());
            assert!(wait.is_some_and(|seconds: u32| (1..=3600).contains(&seconds)));
            false
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

fn passed(server: &Server, requests: usize) -> usize {
    let mut stranger = server.stranger();
    (0..requests).filter(|_| passes(&mut stranger)).count()
}

#[test]
fn i16_two_nodes_share_a_limit_and_a_flush_opens_nothing() {
    let scene = scene(1000);
    wait_for(&scene.nodes, "ok");
    assert_eq!(passed(&scene.nodes[0], 5), 5);
    assert_eq!(passed(&scene.nodes[1], 2), 2);
    // Seven of twelve are gone. The left one knows of five, the right one of seven.
    assert_eq!(scene.redis.command("FLUSHALL"), "+OK\r\n");
    assert_eq!(passed(&scene.nodes[1], 1), 1);
    assert_eq!(passed(&scene.nodes[0], BUDGET), BUDGET - 8);
    assert_eq!(passed(&scene.nodes[1], 3), 0);
    for server in &scene.nodes {
        assert_eq!(server.metric("otpd_redis_connected "), 1.0);
    }
    check_keys(&scene.redis);
}

/// Every key is a keyed hash that expires; none tells an address.
fn check_keys(redis: &OwnRedis) {
    let all = redis.command("KEYS *");
    let keys: Vec<&str> = all.lines().filter(|line| line.contains(':')).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let name = key
            .strip_prefix("otpd:{")
            .and_then(|it| it.strip_suffix('}'));
        let name = name.unwrap_or_else(|| panic!("{key}"));
        let is_hash = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hash || name == "probe", "{key}");
        // -1 would be for ever; -2: it has gone meanwhile.
        let life = redis.command(&format!("PTTL {key}"));
        let life: i64 = life
            .trim()
            .trim_start_matches(':')
            .parse()
            .expect("a number");
        assert!(life != -1, "{key} lives {life}");
    }
}

#[test]
fn i16_without_redis_each_node_gives_away_its_part() {
    let mut scene = scene(1000);
    wait_for(&scene.nodes, "ok");
    for server in &scene.nodes {
        let counted = || (server.metric("otpd_redis_nodes ") == 2.0).then_some(());
        assert!(until(NOTICE_LIMIT, counted).is_some(), "two nodes");
    }
    scene.redis.stop();
    wait_for(&scene.nodes, "degraded");
    for server in &scene.nodes {
        assert_eq!(passed(server, BUDGET), BUDGET / 2);
        assert!(server.metric("otpd_redis_errors_total ") > 0.0);
        assert!(server.metric("otpd_redis_counted_alone_total ") > 0.0);
        assert_eq!(server.metric("otpd_redis_connected "), 0.0);
    }
    scene.redis.start();
    wait_for(&scene.nodes, "ok");
    // What each gave away is not given away again.
    assert_eq!(passed(&scene.nodes[0], 3) + passed(&scene.nodes[1], 3), 0);
}

/// Sends code after code of one device, each of which has to be accepted in time.
fn send(server: &Server, device: &Device, over: &AtomicBool) -> (u64, Duration) {
    let mut client = server.admin();
    let (mut next, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::SeqCst) {
        let question = device.question(&device.code(next));
        let start = now();
        let answer = client.post("/api/v1/otp/verify", &question);
        longest = longest.max(start.elapsed());
        assert_eq!(answer.expect(200)["data"]["valid"], Value::Bool(true));
        next += 1;
    }
    // Spent is spent, whatever Redis remembers.
    for counter in next.saturating_sub(3)..next {
        assert!(!device.accepts(&mut client, &device.code(counter)));
    }
    (next, longest)
}

#[test]
fn i16_redis_stopped_frozen_or_flushed_is_nobodys_error() {
    let mut scene = scene(75);
    wait_for(&scene.nodes, "ok");
    let devices = [0, 1, 2, 3].map(|number| {
        let (id, user) = (format!("d{number}"), format!("u{number}"));
        Device::hotp(&mut scene.nodes[0].admin(), &id, &user)
    });
    let over = AtomicBool::new(false);
    let (redis, nodes) = (&mut scene.redis, &scene.nodes);
    std::thread::scope(|scope| {
        let senders: Vec<_> = devices
            .iter()
            .zip(nodes.iter().cycle())
            .map(|(device, server)| scope.spawn(|| send(server, device, &over)))
            .collect();
        {
            let _end = RaiseAtEnd(&over);
            let_pass(Duration::from_millis(300));
            interrupt(redis, nodes);
        }
        for sender in senders {
            let (accepted, longest) = sender.join().expect("every code was accepted");
            println!("{accepted} codes, the longest answer after {longest:?}");
            assert!(accepted > 10);
            assert!(longest < ANSWER_LIMIT, "{longest:?}");
        }
    });
}

#[test]
fn i16_a_server_starts_without_its_redis_and_finds_it_later() {
    let mut redis = OwnRedis::new();
    redis.stop();
    let database = Database::new(Engine::Sqlite);
    let node = Node::new(&database).with("REDIS_URL", &redis.url());
    let doctor = node.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && said.contains("FAIL  redis"),
        "{said}"
    );
    let server = node.start();
    let mut stranger = server.stranger();
    let health = stranger.get("/health").expect(200);
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["checks"]["redis"], "degraded");
    redis.start();
    let found = until(NOTICE_LIMIT, || {
        (stranger.get("/health").json()["checks"]["redis"] == "ok").then_some(())
    });
    assert!(found.is_some());
    drop(server);
    let doctor = node.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("ok    redis: reachable and counting, "),
        "{said}"
    );
}

#[test]
fn i16_over_tls_only_a_server_with_a_known_certificate_is_asked() {
    let (redis, certificate) = OwnRedis::speaking_tls();
    let database = Database::new(Engine::Sqlite);
    let node = Node::new(&database).with("REDIS_URL", &redis.url());
    // Its certificate comes from nobody that the public knows.
    let doctor = node.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("FAIL  redis"), "{said}");
    // Time enough for a debug build beside others to make a connection.
    let patient = node
        .with("OTPD_REDIS__CA", &certificate.display().to_string())
        .with("OTPD_REDIS__CONNECT_MS", "1000");
    let server = patient.start();
    let mut stranger = server.stranger();
    let found = until(NOTICE_LIMIT, || {
        (stranger.get("/health").json()["checks"]["redis"] == "ok").then_some(())
    });
    assert!(
        found.is_some(),
        "{}",
        String::from_utf8_lossy(&server.output())
    );
}
