//! A person with an account, who signs up and logs in as an app of the old service does.

use serde_json::{Value, json};

use crate::answer::{Answer, text};
use crate::call::Call;
use crate::device::Device;
use crate::harness::Server;

/// A password that is on no list.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Somebody who has signed up with a second factor.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) device: Device,
    pub(crate) uri: String,
    pub(crate) enrolment: String,
    pub(crate) recovery: Vec<String>,
}

impl Person {
    /// The code of now.
    pub(crate) fn code(&self, server: &Server) -> String {
        self.device.code(server)
    }
}

/// The texts of a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap().to_owned()).collect()
}

impl Server {
    /// A call of a person, without a credential.
    pub(crate) fn public(&self, path: &str, body: Value) -> Call<'_> {
        self.post(path, body).anonymous()
    }

    /// Signs up with the usual password.
    pub(crate) async fn sign_up(&self, name: &str, enable_mfa: bool) -> Value {
        let body = json!({ "username": name, "password": PASSWORD, "enable_mfa": enable_mfa });
        self.public("/signup", body).await.json(201)
    }

    /// Signs up with a second factor.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let made = self.sign_up(name, true).await;
        Person {
            name: name.to_owned(),
            device: Device::from_uri(text(&made, "provisioning_uri")),
            uri: text(&made, "provisioning_uri").to_owned(),
            enrolment: text(&made, "enrollment_token").to_owned(),
            recovery: texts(&made["recovery_codes"]),
        }
    }

    /// The first step of a login.
    pub(crate) fn login(&self, name: &str, password: &str) -> Call<'_> {
        self.public("/login", json!({ "username": name, "password": password }))
    }

    /// The second one by the token of the first.
    pub(crate) fn second_step(&self, name: &str, code: &str, token: &str) -> Call<'_> {
        let body = json!({ "username": name, "token": code, "mfa_token": token });
        self.public("/login-2fa", body)
    }

    /// A login that waits for its second factor: its token.
    pub(crate) async fn waiting(&self, name: &str) -> String {
        let answer = self.login(name, PASSWORD).await.json(200);
        assert_eq!(answer["mfa_required"], true, "{answer}");
        text(&answer, "mfa_token").to_owned()
    }

    /// The access token of a complete login.
    pub(crate) async fn session(&self, person: &Person) -> String {
        let token = self.waiting(&person.name).await;
        let code = person.code(self);
        let step = self.second_step(&person.name, &code, &token).await;
        text(&step.json(200), "access_token").to_owned()
    }

    /// The access token of somebody without a second factor.
    pub(crate) async fn plain_session(&self, name: &str) -> String {
        let answer = self.login(name, PASSWORD).await.json(200);
        text(&answer, "access_token").to_owned()
    }

    /// What introspection says of a token.
    pub(crate) async fn asked(&self, token: &str) -> Value {
        let call = self.post_raw("/auth/introspect", format!("token={token}"));
        let form = "application/x-www-form-urlencoded";
        let call = call.without("content-type").header("content-type", form);
        call.await.json(200)
    }

    /// Whether a token is that of a living session.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.asked(token).await["active"] == true
    }

    /// A call of a person with a token of theirs.
    pub(crate) async fn with_token(&self, path: &str, body: Value, token: &str) -> Answer {
        self.post(path, body).key(token).await
    }

    /// The audited actions of a user, newest first, with whether they succeeded.
    pub(crate) async fn actions(&self, user: &str) -> Vec<(String, bool)> {
        let path = format!("/api/v1/audit?user_id={user}&limit=200");
        let page = self.get(&path).await.json(200);
        let entries = page["data"].as_array().unwrap().iter();
        let pair = |it: &Value| (text(it, "action").to_owned(), it["success"] == true);
        entries.map(pair).collect()
    }
}
