//! `GET /metrics`: what operators are promised in docs/metrics.md is there, and moves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    what_happens_is_counted,
}

async fn exposition(server: &Server) -> String {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
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
            let suffix = if kind == "counter" { "_total" } else { "" };
            there.insert(format!("`{name}{suffix}` | {kind}"));
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
