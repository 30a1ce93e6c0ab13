//! Tests of the field reader: every fault at once, nothing passes unseen, and description and reading agree.

use serde_json::json;

use super::*;
use crate::input::{CODE, DEVICE_ID, Input, LIMIT};

struct Sample {
    device: String,
    limit: Option<u32>,
}

impl Input for Sample {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let limit = fields.query("limit", &LIMIT);
        let device = fields.required("device_id", &DEVICE_ID);
        let code = fields.optional("otp", &CODE);
        let _ = code;
        Some(Self {
            device: device?.as_str().to_owned(),
            limit,
        })
    }
}

/// Rules for those who read fields.
pub(in crate::input) fn settings() -> Settings {
    use std::time::Duration;
    Settings {
        policies: domain::Policies::default(),
        issuer: "otpd".into(),
        max_devices_per_user: 1,
        pending: Duration::from_secs(1),
        issued: Duration::from_secs(300),
        production: false,
        debug: false,
        address_failures_per_minute: 0,
        key_per_second: None,
        retention: None,
        stats_retention: None,
        public_url: "https://otp.example".into(),
        session_seconds: 900,
        signing_key_age: std::time::Duration::from_secs(86_400),
        checkpoint_interval: Duration::from_secs(1),
        mail: app::mail::MailSettings::into_folder("outbox".into()),
        jwt: app::JwtRules::default(),
        public: app::PublicLimits::default(),
        accounts: app::AccountSettings::default(),
        password_cost: app::PasswordCost::Test,
    }
}

fn read(query: &[(&str, &str)], body: &[u8]) -> Result<Sample, Refusal> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let given = Given {
        query: query.iter().map(pair).collect(),
        body,
        ..Given::default()
    };
    let settings = settings();
    let mut fields = Fields::of(given, true, &settings)?;
    let input = Sample::read(&mut fields);
    Ok(fields.finish(input)?)
}

fn pointers(query: &[(&str, &str)], body: &str) -> Vec<String> {
    match read(query, body.as_bytes()) {
        Err(Refusal::App(app::Error::Invalid(faults))) => {
            faults.into_iter().map(|fault| fault.pointer).collect()
        }
        Err(refusal) => vec![format!("{refusal:?}")],
        Ok(_) => Vec::new(),
    }
}

#[test]
fn every_fault_is_told_at_once() {
    fn check(query: &[(&str, &str)], body: &str, expected: &[&str]) {
        assert_eq!(pointers(query, body), expected, "{body}");
    }
    check(&[], r#"{"device_id":"a"}"#, &[]);
    check(&[], r#"{"device_id":"a","otp":null}"#, &[]);
    check(&[], "{}", &["/device_id"]);
    check(&[], r#"{"device_id":null}"#, &["/device_id"]);
    check(
        &[],
        r#"{"device_id":"a b","otp":"1"}"#,
        &["/device_id", "/otp"],
    );
    check(&[], r#"{"device_id":"a","Otp":"123456"}"#, &["/Otp"]);
    check(&[], r#"{"device_id":"a","x/y~z":1}"#, &["/x~1y~0z"]);
    check(&[("limit", "0")], "{}", &["?limit", "/device_id"]);
    check(&[("page", "1")], r#"{"device_id":"a"}"#, &["?page"]);
    check(&[], "[]", &[""]);
    check(&[], "\"a\"", &[""]);
    check(&[], "null", &[""]);
}

#[test]
fn what_is_given_twice_is_a_fault() {
    fn check(query: &[(&str, &str)], body: &str, expected: &[&str]) {
        assert_eq!(pointers(query, body), expected, "{body}");
    }
    check(&[], r#"{"device_id":"a","device_id":"b"}"#, &["/device_id"]);
    check(
        &[],
        r#"{"device_id":"a","device_\u0069d":"b"}"#,
        &["/device_id"],
    );
    let twice = [("limit", "1"), ("limit", "1")];
    check(&twice, r#"{"device_id":"a"}"#, &["?limit"]);
}

#[test]
fn what_is_not_json_is_told_apart() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        b"" as &[u8],
        b"{",
        b"[",
        b"[}",
        b"nil",
        b"{}x",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
        deep.as_bytes(),
    ] {
        assert!(
            matches!(read(&[], body), Err(Refusal::NotJson(_))),
            "{body:?}"
        );
    }
}

#[test]
fn faults_are_bounded() {
    let members: Vec<String> = (0..500).map(|number| format!("\"m{number}\":0")).collect();
    let body = format!("{{{}}}", members.join(","));
    assert_eq!(pointers(&[], &body).len(), MOST_FAULTS);
}

#[test]
fn values_arrive() {
    let sample = read(&[("limit", "7")], br#"{"device_id":"a"}"#).unwrap();
    assert_eq!((sample.device.as_str(), sample.limit), ("a", Some(7)));
}

#[test]
fn the_description_is_what_is_read() {
    let description = Fields::describe(|fields| {
        Sample::read(fields);
    });
    let told = description.0.iter();
    let told: Vec<_> = told
        .map(|wanted| (wanted.place, wanted.name, wanted.required))
        .collect();
    let expected = [
        (Place::Query, "limit", false),
        (Place::Body, "device_id", true),
        (Place::Body, "otp", false),
    ];
    assert_eq!(told, expected);
    assert!(description.needs_body());
    let code = serde_json::to_value(&description.0[2].schema).unwrap();
    assert_eq!(code["oneOf"][2], json!({ "type": "null" }));
}
