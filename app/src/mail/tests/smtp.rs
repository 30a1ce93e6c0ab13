//! A real SMTP server: what arrives there, and what its refusals mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::{Login, MailSettings, Post, PostError, Security, SmtpServer};
use super::post_office::{Mail, PostOffice};
use super::*;

fn server(port: u16, security: Security) -> SmtpServer {
    SmtpServer {
        host: "127.0.0.1".into(),
        port,
        security,
        login: None,
        authorities: None,
    }
}

fn post(server: SmtpServer) -> Result<Post, PostError> {
    Post::from_settings(&MailSettings {
        server: Some(Arc::new(server)),
        timeout: Duration::from_secs(10),
        ..MailSettings::into_folder(PathBuf::new())
    })
}

/// A self-signed certificate for 127.0.0.1: alone, and in one file with its key.
fn certificate(folder: &Path) -> (PathBuf, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (alone, both) = (folder.join("ca.pem"), folder.join("both.pem"));
    std::fs::write(&alone, made.cert.pem()).unwrap();
    let text = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(&both, text).unwrap();
    (alone, both.display().to_string())
}

/// Sends one letter to an office that was opened with these options; what arrives.
async fn sent(options: &[&str], change: impl FnOnce(&mut SmtpServer)) -> Result<Mail, PostError> {
    let mut office = PostOffice::open(options).await;
    let mut server = server(office.port, Security::Opportunistic);
    change(&mut server);
    let post = post(server)?;
    post.check().await?;
    post.send(&letter("Dave@Example.com", "Example Ltd"))
        .await?;
    Ok(office.next().await)
}

#[tokio::test]
async fn a_server_receives_the_letter_as_it_was_written() {
    let mail = sent(&[], |_| {}).await.unwrap();
    mail.assert_sound();
    assert_eq!(mail.get("from"), "no-reply@otp.example.com");
    assert_eq!(*mail.get("to"), serde_json::json!(["dave@example.com"]));
    assert_eq!(mail.get("encrypted"), false);
    assert_eq!(mail.header("Subject"), "Your one-time code for Example Ltd");
    assert_eq!(mail.part_count(), 2);
    assert!(mail.part(0).1.contains(CODE));
    assert!(mail.part(1).1.contains(CODE));
}

#[tokio::test]
async fn starttls_is_taken_where_it_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let (_, both) = certificate(folder.path());
    let mail = sent(&[&format!("starttls={both}")], |_| {}).await.unwrap();
    assert_eq!(mail.get("encrypted"), true);
}

#[tokio::test]
async fn where_tls_is_demanded_the_server_has_to_prove_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, both) = certificate(folder.path());
    let cases = [
        (format!("starttls={both}"), Security::StartTls),
        (format!("tls={both}"), Security::Tls),
    ];
    for (option, security) in cases {
        let known = sent(&[&option], |server| {
            server.security = security;
            server.authorities = Some(alone.clone());
        })
        .await;
        assert_eq!(known.unwrap().get("encrypted"), true, "{option}");
        let unknown = sent(&[&option], |server| server.security = security).await;
        let error = unknown.err().unwrap();
        assert!(matches!(error, PostError::Unusable(_)), "{option}: {error}");
        assert!(error.can_retry());
    }
    let plain = sent(&[], |server| server.security = Security::StartTls).await;
    assert!(matches!(plain.err(), Some(PostError::Unusable(_))));
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for content in [None, Some("no certificate")] {
        let path = folder.path().join("ca.pem");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let mut server = server(1, Security::Tls);
        server.authorities = Some(path.clone());
        let error = post(server).err().unwrap().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_login_is_given_where_one_is_set() {
    let login = |password: &str| Login {
        user: "otpd".into(),
        password: Zeroizing::new(password.into()),
    };
    let right = sent(&["login=otpd:a:b@c"], |server| {
        server.login = Some(login("a:b@c"))
    });
    assert_eq!(right.await.unwrap().get("login"), true);
    let wrong = sent(&["login=otpd:a:b@c"], |server| {
        server.login = Some(login("hunter2"))
    });
    let error = wrong.await.err().unwrap();
    assert!(matches!(error, PostError::Login(535)), "{error}");
    assert!(error.can_retry() && !error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn what_a_refusal_means() {
    async fn check(status: &str, expected: &str, can_retry: bool) {
        let option = format!("refuse={status}");
        let error = sent(&[&option], |_| {}).await.err().unwrap();
        // The server's own words repeat the code and are not told.
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.can_retry(), can_retry, "{status}");
    }
    check(
        "550",
        "the mail server refuses the mail for good (status 550)",
        false,
    )
    .await;
    check(
        "553",
        "the mail server refuses the mail for good (status 553)",
        false,
    )
    .await;
    check(
        "450",
        "the mail server refuses the mail for now (status 450)",
        true,
    )
    .await;
    check(
        "421",
        "the mail server refuses the mail for now (status 421)",
        true,
    )
    .await;
    check(
        "530",
        "the mail server refuses the login (status 530)",
        true,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let office = PostOffice::open(&["silent"]).await;
    let settings = MailSettings {
        server: Some(Arc::new(server(office.port, Security::Opportunistic))),
        timeout: Duration::from_millis(500),
        ..MailSettings::into_folder(PathBuf::new())
    };
    let post = Post::from_settings(&settings).unwrap();
    let error = post
        .send(&letter("dave@example.com", "otpd"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, PostError::Slow(_)) && error.can_retry(),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    // A port that was free a moment ago and that nothing listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let post = post(server(port, Security::Opportunistic)).unwrap();
    let error = post
        .send(&letter("dave@example.com", "otpd"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, PostError::Unusable(_)) && error.can_retry(),
        "{error}"
    );
    assert!(post.check().await.is_err());
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let to = "用户@例子.example";
    let mut office = PostOffice::open(&["utf8"]).await;
    let post_utf8 = post(server(office.port, Security::Opportunistic)).unwrap();
    post_utf8.send(&letter(to, "otpd")).await.unwrap();
    let mail = office.next().await;
    assert_eq!(
        *mail.get("to"),
        serde_json::json!(["用户@xn--fsqu00a.example"])
    );
    assert!(mail.part(0).1.contains(CODE));
    let office = PostOffice::open(&[]).await;
    let post_ascii = post(server(office.port, Security::Opportunistic)).unwrap();
    let error = post_ascii.send(&letter(to, "otpd")).await.unwrap_err();
    assert!(
        matches!(error, PostError::NeedsUtf8) && !error.can_retry(),
        "{error}"
    );
}
