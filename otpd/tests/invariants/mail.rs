//! Mail outlives what happens to the servers: a mail server that is away, a node that is killed, two nodes at once.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::surroundings::{length, until};
use crate::harness::{Database, Engine, Node, Server, on_both};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../app/src/mail/tests/post_office.py"
);
const MISSING: &str = "the mail server of the tests does not run; `cargo xtask test` provides \
                       it, or install python3 and `pip install aiosmtpd`";
/// Far more than it takes, the longest pause between two tries included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real mail server; it ends with this value.
struct PostOffice {
    process: Child,
    mails: Receiver<Value>,
}

impl PostOffice {
    fn open(port: u16, options: &[&str]) -> Self {
        let mut process = Command::new("python3")
            .args([SCRIPT, "serve", &format!("port={port}")])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(MISSING);
        let stdout = process.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().expect(MISSING).expect(MISSING);
        assert_eq!(first, port.to_string());
        let (sender, mails) = channel();
        std::thread::spawn(move || pass_on(lines, &sender));
        Self { process, mails }
    }

    /// To whom the next mail goes, and its code.
    fn next(&self) -> (String, String) {
        let mail = self.mails.recv_timeout(PATIENCE).expect("a mail arrives");
        let to = mail["to"][0].as_str().expect("an addressee").to_owned();
        let text = mail["parts"][0][1].as_str().expect("a text");
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
        let code = text.lines().find(is_code).expect("a code");
        (to, code.to_owned())
    }
}

fn pass_on(lines: Lines<BufReader<ChildStdout>>, sender: &std::sync::mpsc::Sender<Value>) {
    for line in lines.map_while(Result::ok) {
        let mail = serde_json::from_str(&line).expect("JSON");
        // Nobody waits any more once the test has given up.
        let _ = sender.send(mail);
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

fn nodes(database: &Database, count: usize, port: u16) -> Vec<Node> {
    let url = format!("smtp://127.0.0.1:{port}");
    let node = |number: usize| {
        Node::named(database, &format!("node-{number}"))
            .with("OTPD_EMAIL__SMTP_URL", &url)
            .with("OTPD_EMAIL__FROM", "no-reply@example.com")
            .with("OTPD_EMAIL__SMTP_TIMEOUT_SECONDS", "5")
    };
    (0..count).map(node).collect()
}

fn ask(server: &Server, email: &str) {
    let body = json!({ "email": email });
    let answer = server.stranger().post("/auth/request-otp", &body);
    assert_eq!(answer.expect(202)["expires_in"], 300);
}

fn log_in(server: &Server, email: &str, code: &str) -> u16 {
    let body = json!({ "email": email, "otp_code": code });
    let answer = server.stranger().post("/auth/verify-otp", &body);
    answer.status
}

fn mail_is(server: &Server, word: &str) -> Option<()> {
    let health = server.stranger().get("/health").expect(200);
    (health["checks"]["mail"] == word).then_some(())
}

fn a_mail_outlives_its_server_and_the_mail_servers_absence(engine: Engine) {
    let database = Database::new(engine);
    let port = free_port();
    let nodes = nodes(&database, engine.nodes(), port);
    let mut servers: Vec<Server> = nodes.iter().map(Node::start).collect();
    ask(&servers[0], "dave@example.com");
    let noticed = until(PATIENCE, || {
        let mut each = servers.iter();
        each.find_map(|server| mail_is(server, "degraded"))
    });
    noticed.expect("the health tells");
    for server in &mut servers {
        server.kill();
    }
    let servers: Vec<Server> = nodes.iter().map(Node::start).collect();
    let office = PostOffice::open(port, &[]);
    let (to, code) = office.next();
    assert_eq!(to, "dave@example.com");
    let last = servers.last().expect("a node");
    assert_eq!(log_in(last, &to, &code), 200);
    assert_eq!(log_in(&servers[0], &to, &code), 401, "once");
    // Mail after mail, whichever node is faster: each comes once.
    let many = length(20, 50);
    let mut expected: Vec<String> = (0..many).map(|n| format!("u{n}@example.com")).collect();
    for (number, email) in expected.iter().enumerate() {
        ask(&servers[number % servers.len()], email);
    }
    let mut seen: Vec<String> = (0..many).map(|_| office.next().0).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    for server in &servers {
        until(PATIENCE, || mail_is(server, "ok")).expect("the health is well again");
        let said = String::from_utf8_lossy(&server.output()).into_owned();
        assert!(!said.contains(&code) && !said.contains("dave@"), "{said}");
    }
    for server in servers {
        assert!(server.stop().success());
    }
    assert!(office.mails.try_recv().is_err(), "none came twice");
}

#[test]
fn a_mail_that_is_refused_for_good_is_given_up_and_recorded() {
    let database = Database::new(Engine::Sqlite);
    let port = free_port();
    let _office = PostOffice::open(port, &["refuse=550"]);
    let server = nodes(&database, 1, port)[0].start();
    let failures = || {
        let path = "/api/v1/audit?action=MAIL_FAILED";
        let events = server.admin().get(path).expect(200)["data"].clone();
        events.as_array().expect("a list").clone()
    };
    for (number, name) in ["dave", "eve", "joe"].into_iter().enumerate() {
        mail_is(&server, "ok").expect("mail goes out as far as is known");
        let email = format!("{name}@example.com");
        ask(&server, &email);
        let given_up = until(PATIENCE, || failures().get(number).cloned());
        given_up.expect("it is recorded");
        let newest = &failures()[0];
        assert_eq!(newest["user_id"], format!("email:{email}"));
        let detail = json!({ "reason": "refused", "tries": 1 });
        assert_eq!(newest["additional_data"], detail);
    }
    // Addresses that are none are no fault of the mail server's, however many.
    mail_is(&server, "ok").expect("mail goes out");
    let said = String::from_utf8_lossy(&server.output()).into_owned();
    assert!(!said.contains("@example.com"), "{said}");
}

on_both!(a_mail_outlives_its_server_and_the_mail_servers_absence:
    mail_outlives_kills_and_absence_on_sqlite,
    mail_outlives_kills_and_absence_on_postgresql);
