//! I-2, I-5 and I-13 at the doors of accounts: a login and an enrolment serve once, guesses are counted together, a session's end holds everywhere.

use otp::uri::OtpauthUri;
use otp::{Totp, hotp};
use serde_json::{Value, json};

use crate::harness::surroundings::unix_seconds;
use crate::harness::{Answer, Client, Database, Engine, Node, Server, at_once, on_both};

const PASSWORD: &str = "correct horse battery";
const SENDERS: usize = 20;
/// As many as the limits of one address allow in a minute, all senders together.
const LOGINS: usize = 5;
const ENROLMENTS: usize = 3;

/// Strangers at all nodes in turn, with that token if any.
fn strangers(servers: &[Server], token: Option<&str>) -> Vec<Client> {
    let nodes = servers.iter().cycle().take(SENDERS);
    nodes
        .map(|server| Client::new(&server.address, token))
        .collect()
}

fn text(value: &Value, member: &str) -> String {
    let found = value[member].as_str();
    found
        .unwrap_or_else(|| panic!("no {member}: {value}"))
        .to_owned()
}

fn sign_up(client: &mut Client, name: &str, enable_mfa: bool) -> Value {
    let body = json!({"username": name, "password": PASSWORD, "enable_mfa": enable_mfa});
    client.post("/signup", &body).expect(201)
}

fn log_in(client: &mut Client, name: &str) -> Value {
    let body = json!({"username": name, "password": PASSWORD});
    client.post("/login", &body).expect(200)
}

/// What an authenticator shows, so many steps from now.
fn code(uri: &str, steps: i64) -> String {
    let uri = OtpauthUri::parse(uri).expect("a provisioning URI");
    let step = Totp::new(30).step_at(unix_seconds()).expect("after 1970");
    let step = step.checked_add_signed(steps).expect("a step");
    let code = hotp(&uri.secret, uri.algorithm, uri.digits, step);
    code.to_text().to_string()
}

/// Codes that are none of those around now.
fn wrong_codes(uri: &str) -> impl Iterator<Item = String> {
    let near: Vec<String> = (-5..=5).map(|steps| code(uri, steps)).collect();
    (0..)
        .map(|n| format!("{n:06}"))
        .filter(move |it| !near.contains(it))
}

fn accepted(answers: &[Answer]) -> usize {
    answers.iter().filter(|it| it.status == 200).count()
}

/// Everybody sends a right answer to one login: its codes and every recovery code.
fn one_login(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let mut client = servers[0].stranger();
    for round in 0..LOGINS {
        let name = format!("user-{round}");
        let made = sign_up(&mut client, &name, true);
        let token = text(&log_in(&mut client, &name), "mfa_token");
        let uri = text(&made, "provisioning_uri");
        let mut right = vec![code(&uri, 0), code(&uri, 1)];
        let recovery = made["recovery_codes"].as_array().expect("codes");
        right.extend(
            recovery
                .iter()
                .filter_map(|it| it.as_str().map(str::to_owned)),
        );
        let answers = at_once(&mut strangers(&servers, None), |place, client| {
            let code = &right[place % right.len()];
            let body = json!({"username": name, "token": code, "mfa_token": token});
            client.post("/login-2fa", &body)
        });
        assert_eq!(accepted(&answers), 1, "round {round}");
        for answer in answers.iter().filter(|it| it.status != 200) {
            assert_eq!(answer.status, 401, "{}", answer.text());
        }
    }
    let sessions = database.number("SELECT COUNT(*) FROM sessions");
    assert_eq!(usize::try_from(sessions), Ok(LOGINS));
}

on_both!(one_login: i2_a_login_that_waits_serves_once_on_sqlite, i2_a_login_that_waits_serves_once_on_postgresql);

fn one_enrolment(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let mut client = servers[0].stranger();
    for round in 0..ENROLMENTS {
        let name = format!("user-{round}");
        sign_up(&mut client, &name, false);
        let access = text(&log_in(&mut client, &name), "access_token");
        let body = json!({"password": PASSWORD});
        let made = servers[0].client(&access).post("/enable-mfa", &body);
        let made = made.expect(201);
        let uri = text(&made, "provisioning_uri");
        let codes = [-1, 0, 1].map(|steps| code(&uri, steps));
        let token = text(&made, "enrollment_token");
        let mut senders = strangers(&servers, Some(&token));
        let answers = at_once(&mut senders, |place, client| {
            let body = json!({"token": codes[place % codes.len()]});
            client.post("/enable-mfa/confirm", &body)
        });
        assert_eq!(accepted(&answers), 1, "round {round}");
    }
    let pending = "SELECT COUNT(*) FROM devices WHERE pending_until IS NOT NULL";
    assert_eq!(database.number(pending), 0);
}

on_both!(one_enrolment: i2_an_enrolment_is_confirmed_once_on_sqlite, i2_an_enrolment_is_confirmed_once_on_postgresql);

/// Each sender has a login of their own; the guesses are the user's all the same.
fn many_logins(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let mut client = servers[0].stranger();
    let made = sign_up(&mut client, "alice", true);
    let uri = text(&made, "provisioning_uri");
    let tokens: Vec<String> = (0..SENDERS)
        .map(|_| text(&log_in(&mut client, "alice"), "mfa_token"))
        .collect();
    let codes: Vec<String> = wrong_codes(&uri).take(SENDERS).collect();
    let answers = at_once(&mut strangers(&servers, None), |place, client| {
        let body = json!({"username": "alice", "token": codes[place], "mfa_token": tokens[place]});
        client.post("/login-2fa", &body)
    });
    let judged = answers.iter().filter(|it| it.status == 401).count();
    assert_eq!(judged, 5, "the fifth locks");
    let locked = answers.iter().filter(|it| it.status == 429).count();
    assert_eq!(locked, SENDERS - 5);
    let right = json!({"username": "alice", "token": code(&uri, 0), "mfa_token": tokens[0]});
    for server in &servers {
        let answer = server.stranger().post("/login-2fa", &right);
        assert_eq!(answer.status, 429, "{}", answer.text());
    }
}

on_both!(many_logins: i5_logins_that_wait_share_one_budget_on_sqlite, i5_logins_that_wait_share_one_budget_on_postgresql);

fn is_active(server: &Server, token: &str) -> bool {
    let mut client = server.admin();
    let body = json!({"token": token});
    client.post("/auth/introspect", &body).expect(200)["active"] == true
}

fn ended(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let (here, there) = (&servers[0], &servers[servers.len() - 1]);
    let mut client = here.stranger();
    let made = sign_up(&mut client, "alice", true);
    let uri = text(&made, "provisioning_uri");
    let second_step = |client: &mut Client, code: &str| {
        let token = text(&log_in(client, "alice"), "mfa_token");
        let body = json!({"username": "alice", "token": code, "mfa_token": token});
        text(&client.post("/login-2fa", &body).expect(200), "token")
    };
    let first = second_step(&mut client, &code(&uri, 0));
    assert!(is_active(there, &first));
    here.client(&first)
        .post("/auth/logout", &json!({}))
        .expect(200);
    assert!(!is_active(there, &first));

    let recovery = made["recovery_codes"][0].as_str().expect("a code");
    let second = second_step(&mut client, recovery);
    assert!(is_active(there, &second));
    let body = json!({"username": "alice", "password": PASSWORD, "token": code(&uri, 1)});
    here.stranger().post("/disable-mfa", &body).expect(200);
    assert!(!is_active(there, &second));
}

on_both!(ended: i13_a_session_ends_at_every_node_on_sqlite, i13_a_session_ends_at_every_node_on_postgresql);
