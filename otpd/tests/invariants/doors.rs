//! I-2 and I-5 at the doors that name a person: whatever proves somebody serves once, and all wrong codes count together.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::surroundings::{length, until};
use crate::harness::{
    Answer, Client, Database, Device, Engine, Node, Server, at_once, on_both, wrong_code,
};

/// How many clients send the same proof at the same moment.
const SENDERS: usize = 30;

fn start(database: &Database, engine: Engine) -> Vec<Server> {
    Node::start_all_with(database, engine, |node| {
        node.with("OTPD_LIMITS__LOGINS_PER_MINUTE", "1000000")
            .with("OTPD_LIMITS__EMAIL_REQUESTS_PER_HOUR", "1000000")
    })
}

fn everywhere(servers: &[Server], client: impl Fn(&Server) -> Client) -> Vec<Client> {
    servers.iter().cycle().take(SENDERS).map(client).collect()
}

/// Sends one body from everywhere at once and counts the answers that accept it.
fn race(
    clients: &mut [Client],
    path: &str,
    body: &Value,
    accepts: impl Fn(&Answer) -> bool,
) -> usize {
    let answers = at_once(clients, |_, client| client.post(path, body));
    for answer in &answers {
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
    answers.iter().filter(|answer| accepts(answer)).count()
}

fn is_200(answer: &Answer) -> bool {
    answer.status == 200
}

fn is_verified(answer: &Answer) -> bool {
    answer.status == 200 && answer.json()["status"] == "verified"
}

fn behind_a_credential(engine: Engine) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut admin = servers[0].admin();
    let mut clients = everywhere(&servers, Server::admin);
    for round in 0..length(4, 100) {
        let user = format!("user-{round}");
        Device::totp(&mut admin, &format!("device-{round}"), &user);
        let users = format!("/api/v1/users/{user}");
        let none = json!({});

        let issued = admin.post(&format!("/generate?username={user}"), &none);
        let code = issued.expect(200)["otp_code"].clone();
        let body = json!({ "username": user, "otp_code": code });
        assert_eq!(race(&mut clients, "/verify", &body, is_200), 1, "issued");

        let reason = json!({ "reason": "the phone fell into the river" });
        let pass = admin.post(&format!("{users}/pass"), &reason);
        let pass = pass.expect(201)["pass"].clone();
        let body = json!({ "user_id": user, "code": pass });
        let accepted = race(&mut clients, "/api/v1/recovery/verify", &body, is_verified);
        assert_eq!(accepted, 1, "pass");
        let unlock = json!({ "reason": "the next race" });
        admin.post(&format!("{users}/unlock"), &unlock).expect(200);

        let codes = admin.post(&format!("{users}/recovery-codes"), &none);
        let code = codes.expect(201)["data"]["recovery_codes"][7].clone();
        let body = json!({ "user_id": user, "code": code });
        let accepted = race(&mut clients, "/api/v1/recovery/verify", &body, is_verified);
        assert_eq!(accepted, 1, "recovery code");
    }
}

on_both!(behind_a_credential: i2_issued_codes_passes_and_recovery_codes_serve_once_on_sqlite, i2_issued_codes_passes_and_recovery_codes_serve_once_on_postgresql);

fn by_mail(engine: Engine) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut stranger = servers[0].stranger();
    let mut clients = everywhere(&servers, Server::stranger);
    for round in 0..length(3, 60) {
        let email = format!("person-{round}@example.org");
        let asked = stranger.post("/auth/request-otp", &json!({ "email": email }));
        asked.expect(202);
        let code = mailed(&database, &email);
        let body = json!({ "email": email, "otp_code": code });
        let accepted = race(&mut clients, "/auth/verify-otp", &body, is_200);
        assert_eq!(accepted, 1, "emailed code");
    }
}

on_both!(by_mail: i2_an_emailed_code_serves_once_on_sqlite, i2_an_emailed_code_serves_once_on_postgresql);

/// The code in the mail to that address, from the outbox of any node.
fn mailed(database: &Database, email: &str) -> String {
    let found = until(Duration::from_secs(10), || {
        let outbox = |name| fs::read_dir(database.folder().join(name).join("data/outbox"));
        let folders = ["one", "two"]
            .into_iter()
            .filter_map(|name| outbox(name).ok());
        let files = folders
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()));
        let letters = files.filter(|path| path.extension().is_some_and(|end| end == "eml"));
        let mut texts = letters.filter_map(|path| fs::read_to_string(path).ok());
        let text = texts.find(|text| text.contains(email))?;
        let words = text.split_whitespace();
        let mut codes = words.filter(|w| w.len() == 6 && w.bytes().all(|b| b.is_ascii_digit()));
        codes.next().map(str::to_owned)
    });
    found.unwrap_or_else(|| panic!("no mail to {email}"))
}

fn over_all_doors(engine: Engine) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut admin = servers[0].admin();
    for round in 0..length(3, 60) {
        let user = format!("user-{round}");
        let id = format!("device-{round}");
        let device = Device::totp(&mut admin, &id, &user);
        let wrong = wrong_code(&device);
        let questions = [
            (
                "/api/v1/otp/verify",
                json!({ "device_id": id, "otp": wrong }),
            ),
            ("/otp/verify", json!({ "user_id": user, "otp_code": wrong })),
            ("/verify", json!({ "username": user, "otp_code": wrong })),
            (
                "/api/v1/recovery/verify",
                json!({ "user_id": user, "code": "0000-0000-0000-0000" }),
            ),
        ];
        let mut clients = everywhere(&servers, Server::admin);
        let answers = at_once(&mut clients, |place, client| {
            let (path, body) = &questions[place % questions.len()];
            client.post(path, body)
        });
        for answer in &answers {
            assert!(answer.status < 500, "{}", answer.text());
        }
        let count = format!(
            "SELECT failures FROM guards g JOIN users u ON u.id = g.id WHERE u.name = '{user}'"
        );
        // Codes are judged five times; recovery codes, which are the way out, ten times an hour.
        let failures = database.number(&count);
        assert!((5..=15).contains(&failures), "round {round}: {failures}");
        let right = device.question(&device.current());
        let locked = admin.post("/api/v1/otp/verify", &right).expect(200);
        assert_eq!(locked["data"]["reason"], "locked", "round {round}");
    }
}

on_both!(over_all_doors: i5_wrong_codes_at_all_doors_count_together_on_sqlite, i5_wrong_codes_at_all_doors_count_together_on_postgresql);
