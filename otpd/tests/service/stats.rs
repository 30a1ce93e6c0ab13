//! `GET /api/v1/stats`: counts by bucket, and what there is now.

use serde_json::{Value, json};

use crate::database::Engine;
use crate::email_limits::jobs_until;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    everything_that_happens_is_counted,
    what_is_no_span_is_refused,
}

const STATS: &str = "/api/v1/stats";

async fn busy(server: &Server) {
    let phone = server.device("phone", "alice").await;
    server.device("token", "alice").await;
    let other = server.device("other", "bob").await;
    let body = json!({ "device_id": "new", "user_id": "carol", "require_confirmation": true });
    server.device_with(body).await;
    server.deactivate("other").await.data(200);
    server.deactivate("other").await.data(200);
    assert!(server.accepts(&phone, &phone.code(server)).await);
    server.fail(&phone, 5).await;
    server.verify(&phone, &phone.code(server)).await;
    server.verify(&phone, &phone.wrong(server)).await;
    server.verify(&other, &other.code(server)).await;
}

fn summed(body: &Value, pointer: &str) -> i64 {
    let buckets = body["buckets"].as_array().unwrap();
    let number = |bucket: &Value| bucket.pointer(pointer).and_then(Value::as_i64);
    buckets.iter().map(|bucket| number(bucket).unwrap()).sum()
}

async fn everything_that_happens_is_counted(engine: Engine) {
    let server = Server::start(engine).await;
    busy(&server).await;
    let body = server.get(STATS).await.data(200);
    assert_eq!(summed(&body, "/verifications/accepted"), 1);
    // The five wrong ones and the one at a dead device.
    assert_eq!(summed(&body, "/verifications/rejected"), 6);
    assert_eq!(summed(&body, "/verifications/locked"), 2);
    assert_eq!(summed(&body, "/registrations"), 4);
    assert_eq!(summed(&body, "/deactivations"), 1);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(body["totals"], @r#"
        {
          "adoption": 0.3333333333333333,
          "devices": {
            "active": 2,
            "deactivated": 1,
            "pending": 1
          },
          "users": 3,
          "users_with_2fa": 1
        }
        "#);
    }
    let buckets = body["buckets"].as_array().unwrap();
    assert!((24..=25).contains(&buckets.len()), "{}", buckets.len());
    assert_eq!(body["bucket"], "hour");
}

async fn what_is_no_span_is_refused(engine: Engine) {
    let server = Server::start(engine).await;
    let faults = async |query: &str| server.get(&format!("{STATS}?{query}")).await.faults();
    assert_eq!(faults("from=yesterday").await, ["?from"]);
    assert_eq!(faults("to=2027-01-15").await, ["?to"]);
    assert_eq!(faults("bucket=minute").await, ["?bucket"]);
    assert_eq!(faults("form=2027-01-15T00:00:00Z").await, ["?form"]);
    let backwards = "from=2027-01-15T00:00:00Z&to=2027-01-14T00:00:00Z";
    assert_eq!(faults(backwards).await, ["?from"]);
    let endless = "from=1970-01-01T00:00:00Z&to=2027-01-14T00:00:00Z";
    assert_eq!(faults(endless).await, ["?from"]);
    let twice = "bucket=hour&bucket=day";
    assert_eq!(faults(twice).await, ["?bucket"]);
}

/// What the days from a little before the start on say of accepted codes, after a round
/// of the jobs that many days later.
async fn told_after(variables: &[(&str, &str)], days: i64) -> i64 {
    let server = Server::with(Engine::Sqlite, variables).await;
    let phone = server.device("phone", "alice").await;
    assert!(server.accepts(&phone, &phone.code(&server)).await);
    server.advance(days * 86_400);
    // A round's last deed, after the statistics.
    let latest = "/api/v1/audit/checkpoints/latest";
    jobs_until(&server, async || server.get(latest).await.status == 200).await;
    let span = "from=2027-01-15T00:00:00Z&to=2028-12-31T00:00:00Z&bucket=day";
    let body = server.get(&format!("{STATS}?{span}")).await.data(200);
    let registered = summed(&body, "/registrations");
    let accepted = summed(&body, "/verifications/accepted");
    assert_eq!(accepted, registered, "half of an hour");
    accepted
}

#[tokio::test]
async fn statistics_go_when_their_whole_day_is_older_than_the_retention() {
    assert_eq!(told_after(&[], 400).await, 1);
    assert_eq!(told_after(&[], 401).await, 0);
    let short = [("OTPD_STATS__RETENTION_DAYS", "30")];
    assert_eq!(told_after(&short, 30).await, 1);
    assert_eq!(told_after(&short, 31).await, 0);
    let for_ever = [("OTPD_STATS__RETENTION_DAYS", "0")];
    assert_eq!(told_after(&for_ever, 700).await, 1);
}

#[tokio::test]
async fn a_new_server_has_empty_buckets() {
    let server = Server::start(Engine::Sqlite).await;
    let body = server.get(STATS).await.data(200);
    assert_eq!(body["from"], "2027-01-14T08:00:00.000Z");
    assert_eq!(body["to"], "2027-01-15T09:00:00.000Z");
    insta::assert_json_snapshot!(body["buckets"][0], @r#"
    {
      "deactivations": 0,
      "emails": {
        "accepted": 0,
        "failed": 0,
        "locked": 0,
        "rejected": 0,
        "sent": 0
      },
      "issue_to_verify_mean_seconds": null,
      "issue_to_verify_median_seconds": null,
      "issue_to_verify_p95_seconds": null,
      "issued": 0,
      "logins": {
        "accepted": 0,
        "rejected": 0,
        "second_factor": {
          "accepted": 0,
          "locked": 0,
          "rejected": 0
        }
      },
      "recoveries": {
        "accepted": 0,
        "locked": 0,
        "rejected": 0
      },
      "registrations": 0,
      "signups": 0,
      "start": "2027-01-14T08:00:00.000Z",
      "verifications": {
        "accepted": 0,
        "locked": 0,
        "rejected": 0
      }
    }
    "#);
    insta::assert_json_snapshot!(body["totals"], @r#"
    {
      "adoption": null,
      "devices": {
        "active": 0,
        "deactivated": 0,
        "pending": 0
      },
      "users": 0,
      "users_with_2fa": 0
    }
    "#);
}

#[tokio::test]
async fn buckets_are_full_hours_or_days_with_the_empty_ones_shown() {
    let server = Server::start(Engine::Sqlite).await;
    let phone = server.device("phone", "alice").await;
    // 08:00:10, then 09:00:10, then the same hour of the day after.
    for pause in [3600, 86_400, 0] {
        assert!(server.accepts(&phone, &phone.code(&server)).await);
        server.advance(pause.max(60));
    }
    let span = "from=2027-01-15T07:30:00Z&to=2027-01-17T00:00:00Z";
    let accepted = async |bucket: &str| -> Vec<(String, i64)> {
        let body = server
            .get(&format!("{STATS}?{span}&bucket={bucket}"))
            .await
            .data(200);
        assert_eq!(body["bucket"], bucket);
        let buckets = body["buckets"].as_array().unwrap().clone();
        let accepted = |bucket: &Value| bucket["verifications"]["accepted"].as_i64().unwrap();
        let start = |bucket: &Value| bucket["start"].as_str().unwrap().to_owned();
        buckets
            .iter()
            .map(|bucket| (start(bucket), accepted(bucket)))
            .collect()
    };
    let hours = accepted("hour").await;
    assert_eq!(hours.len(), 41);
    assert_eq!(hours[0], ("2027-01-15T07:00:00.000Z".into(), 0));
    assert_eq!(hours[1].1, 1);
    assert_eq!(hours[2].1, 1);
    assert_eq!(hours[26], ("2027-01-16T09:00:00.000Z".into(), 1));
    let days = accepted("day").await;
    let expected = [
        ("2027-01-15T00:00:00.000Z".into(), 2),
        ("2027-01-16T00:00:00.000Z".into(), 1),
    ];
    assert_eq!(days, expected);
}

#[tokio::test]
async fn an_issued_code_is_counted_with_the_time_it_took() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    for seconds in [20, 40, 60] {
        let issued = server.post("/generate?username=alice", json!({})).await;
        let code = issued.json(200)["otp_code"].clone();
        server.advance(seconds);
        let body = json!({ "username": "alice", "otp_code": code });
        server.post("/verify", body).await.json(200);
    }
    let body = server.get(STATS).await.data(200);
    let buckets = body["buckets"].as_array().unwrap();
    let bucket = buckets.last().unwrap();
    assert_eq!(bucket["issued"], 3);
    assert_eq!(bucket["issue_to_verify_mean_seconds"], 40.0);
    let near = |name: &str, expected: f64| {
        let found = bucket[name].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 0.08, "{name}: {found}");
    };
    near("issue_to_verify_median_seconds", 40.0);
    near("issue_to_verify_p95_seconds", 60.0);
}
