//! A client that is slow, broken or gone, on a real socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::{KEY, Process};

fn connect(server: &Process) -> TcpStream {
    let socket = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let limit = Some(Duration::from_secs(30));
    socket.set_read_timeout(limit).unwrap();
    socket
}

/// A registration whose body of 100 bytes has not come yet.
fn head() -> String {
    format!(
        "POST /api/v1/devices/register HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\
         X-Request-Id: slow-1\r\nContent-Length: 100\r\n\r\n"
    )
}

#[test]
fn a_body_that_does_not_come_is_waited_for_no_longer_than_the_settings_say() {
    let server = Process::start(&[("OTPD_SERVER__BODY_SECONDS", "1")]);
    let mut socket = connect(&server);
    socket.write_all(head().as_bytes()).unwrap();
    socket.write_all(b"{\"device_id\":").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let answer = answer.to_lowercase();
    assert!(
        answer.contains("content-type: application/problem+json"),
        "{answer}"
    );
    assert!(answer.contains("x-request-id: slow-1"), "{answer}");
    assert!(answer.contains(r#""code":"body_timeout""#), "{answer}");
    assert!(answer.contains(r#""success":false"#), "{answer}");
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    let server = Process::start(&[]);
    let mut socket = connect(&server);
    socket.write_all(head().as_bytes()).unwrap();
    let body = br#"{"device_id":"phone","user_id":"alice"}"#;
    socket.write_all(body).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    // Answered with a 400 or not at all: the client has gone.
    let _ = socket.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    let (status, body) = server.get("/api/v1/devices/phone", Some(KEY));
    assert_eq!(status, 404, "{body}");
}
