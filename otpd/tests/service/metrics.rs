//! `GET /metrics`: what operators are promised in docs/metrics.md is there, and moves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    what_happens_is_counted,
}

/// The text as most clients get it.
async fn exposition(server: &Server) -> String {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    answer.text()
}

#[tokio::test]
async fn each_format_is_told_by_its_own_rules() {
    let server = Server::start(Engine::Sqlite).await;
    let older = exposition(&server).await;
    assert!(!older.contains("# EOF"), "{older}");
    assert!(
        older.contains("# TYPE otpd_locks_total counter\n"),
        "{older}"
    );
    let call = server.get("/metrics").header(
        "accept",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
    );
    let answer = call.await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    let newer = answer.text();
    assert!(newer.ends_with("\n# EOF\n"), "{newer}");
    assert!(newer.contains("# TYPE otpd_locks counter\n"), "{newer}");
    let series = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(series(&older), series(&newer));
    // Each series of the older format belongs to a name that is described.
    for name in series(&older) {
        let name = name.split('{').next().unwrap();
        let suffixes = ["_bucket", "_sum", "_count"];
        let family = suffixes.iter().find_map(|it| name.strip_suffix(it));
        let family = family.unwrap_or(name);
        assert!(older.contains(&format!("# TYPE {family} ")), "{name}");
    }
}

/// The value of each series.
async fn values(server: &Server) -> BTreeMap<String, f64> {
    let text = exposition(server).await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(pair).collect()
}

async fn what_happens_is_counted(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    assert!(server.accepts(&device, &device.code(&server)).await);
    server.fail(&device, 5).await;
    server.verify(&device, "123456").await;
    let wrong = json!({ "device_id": "phone", "otp": device.wrong(&server) });
    for _ in 0..2 {
        let call = server.post("/api/v1/otp/verify", wrong.clone());
        call.once("k").await.data(200);
    }
    let none = json!({ "device_id": "none", "otp": "123456" });
    server
        .post("/api/v1/otp/verify", none)
        .await
        .problem(404, "device_not_found");
    server.deactivate("phone").await.data(200);
    server.verify(&device, "123456").await;
    server
        .get("/api/v1/devices")
        .anonymous()
        .await
        .problem(401, "unauthenticated");
    let seen = values(&server).await;
    let check = |name: &str, expected: f64| assert_eq!(seen.get(name), Some(&expected), "{name}");
    check("otpd_verifications_total{result=\"accepted\"}", 1.0);
    check("otpd_verifications_total{result=\"rejected\"}", 5.0);
    check("otpd_verifications_total{result=\"locked\"}", 2.0);
    check("otpd_verifications_total{result=\"replayed\"}", 1.0);
    check("otpd_verifications_total{result=\"unknown\"}", 1.0);
    check("otpd_verifications_total{result=\"inactive\"}", 1.0);
    check("otpd_verification_skew_steps_count", 1.0);
    check("otpd_verification_seconds_count", 11.0);
    check("otpd_locks_total", 1.0);
    check("otpd_unauthenticated_total", 1.0);
    check("otpd_rate_limited_total", 0.0);
    check("otpd_busy_total", 0.0);
    check("otpd_connections", 0.0);
    assert!(seen["otpd_commit_batch_size_count"] >= 9.0);
}

#[tokio::test]
async fn the_documentation_lists_what_there_is() {
    let server = Server::start(Engine::Sqlite).await;
    let text = exposition(&server).await;
    let mut there = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            there.insert(format!("`{name}` | {kind}"));
        }
    }
    let page = include_str!("../../../docs/metrics.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `otpd_"));
    let documented: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            format!("`otpd_{} | {}", cells[0], cells[1])
        })
        .collect();
    assert_eq!(documented, there);
    // And the results by name.
    for series in text
        .lines()
        .filter_map(|line| line.split_once("{result=\""))
    {
        let result = series.1.split('"').next().unwrap();
        assert!(
            page.contains(&format!("| `{result}` |")),
            "{result} is not explained"
        );
    }
}

#[tokio::test]
async fn a_metric_has_a_sentence_and_no_name_of_a_person() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("a-secret-device", "a-secret-user").await;
    server.verify(&device, &device.code(&server)).await;
    let text = exposition(&server).await;
    assert!(!text.contains("a-secret"), "{text}");
    let types = text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .count();
    let helps = text
        .lines()
        .filter(|line| line.starts_with("# HELP"))
        .count();
    assert_eq!(types, helps);
}
