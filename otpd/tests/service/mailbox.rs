//! What was mailed: the outbox folder of a test's server, read as its owner does.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::harness::Server;

/// A mail in the outbox.
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Mail {
    /// Reads a mail as the standard has it: headers, an empty line, the rest.
    fn parse(text: String) -> Self {
        let to = text.lines().find_map(|line| line.strip_prefix("To: "));
        let is_code =
            |line: &&str| line.len() >= 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        let code = text.lines().find(is_code);
        Self {
            to: to.unwrap_or_else(|| panic!("no To: {text}")).to_owned(),
            code: code.unwrap_or_else(|| panic!("no code: {text}")).to_owned(),
            text,
        }
    }
}

impl Server {
    /// Has the due mails sent, and takes what lies in the outbox then.
    pub(crate) async fn mails(&self) -> Vec<Mail> {
        self.app.deliver_mails().await.unwrap();
        let Ok(entries) = std::fs::read_dir(self.folder().join("otpd-data/outbox")) else {
            return Vec::new();
        };
        let take = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            Mail::parse(text)
        };
        entries.map(|entry| take(entry.unwrap().path())).collect()
    }

    pub(crate) async fn request_code(&self, email: &str) -> Answer {
        let body = json!({ "email": email });
        self.post("/auth/request-otp", body).anonymous().await
    }

    /// Asks for a code and reads it from the one mail that follows.
    pub(crate) async fn mailed_code(&self, email: &str) -> String {
        self.request_code(email).await.json(202);
        let mut mails = self.mails().await;
        let mail = mails.pop().expect("a mail");
        assert!(mails.is_empty(), "one mail");
        mail.code
    }

    pub(crate) async fn try_code(&self, email: &str, code: impl Into<Value>) -> Answer {
        let body = json!({ "email": email, "otp_code": code.into() });
        self.post("/auth/verify-otp", body).anonymous().await
    }
}

/// Codes that are not that one.
pub(crate) fn wrong_codes(code: &str) -> impl Iterator<Item = String> {
    let right: u32 = code.parse().unwrap();
    let width = code.len();
    let most = 10_u32.pow(width.try_into().unwrap());
    // Its neighbours first.
    (1..).map(move |number| format!("{:0width$}", (right + number) % most))
}
