//! What is put into tokens: assertions for other services, access tokens of sessions.

use domain::{Ask, Method, Time, UserName, Verdict};
use serde_json::json;
use store::Answer;

use crate::context::Context;
use crate::signing::Purpose;
use crate::{App, Error};

/// How long an assertion holds, in seconds.
const ASSERTION_SECONDS: i64 = 300;

/// What a service wants to have proved to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The service that will verify it: 1 to 256 characters.
    pub audience: String,
    /// What that service gave against replays.
    pub nonce: Option<String>,
}

/// A verification that an assertion is about.
struct Proven<'a> {
    /// The canonical user name.
    pub subject: &'a str,
    /// How the user proved who they are.
    pub method: Method,
    /// How much that is worth.
    pub acr: &'static str,
    /// When.
    pub at: Time,
    /// Identifies the request, when its answer may be given again: then the assertion is
    /// the same one.
    pub request: Option<[u8; 32]>,
}

impl App {
    /// The assertion that a caller wants of an attempt's answer; `None` when nobody wants
    /// one. Asked again with the same `Idempotency-Key`, it is the same one.
    pub(crate) async fn assertion_of(
        &self,
        context: &Context,
        wanted: Option<&Wanted>,
        subject: &str,
        method: Method,
        (ask, answer): (&Ask, &Answer),
    ) -> Result<Option<String>, Error> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        let proven = Proven {
            subject,
            method,
            acr: acr(method, &answer.verdict),
            at: answer.decided_at,
            request: self.ticket(context, ask).map(|ticket| ticket.id),
        };
        self.assertion(wanted, &proven).await.map(Some)
    }

    /// The same for an answer about a person; `None` also when nothing was proved.
    pub(crate) async fn vouch(
        &self,
        context: &Context,
        wanted: Option<&Wanted>,
        name: &UserName,
        (ask, answer): (&Ask, &Answer),
    ) -> Result<Option<String>, Error> {
        let Verdict::Proven(proof) = answer.verdict else {
            return Ok(None);
        };
        self.assertion_of(
            context,
            wanted,
            name.canonical(),
            proof.method,
            (ask, answer),
        )
        .await
    }

    /// A signed, audience-bound proof of a verification (`typ` `2fa+jwt`), of 300 s.
    async fn assertion(&self, wanted: &Wanted, proven: &Proven<'_>) -> Result<String, Error> {
        let at = proven.at.seconds();
        let jti = match proven.request {
            Some(id) => self.room.root.hash_token("assertion", &hex(&id)),
            None => self.random_bytes(),
        };
        let mut claims = json!({
            "iss": self.settings.public_url,
            "sub": proven.subject,
            "aud": wanted.audience,
            "iat": at,
            "exp": at + ASSERTION_SECONDS,
            "jti": hex(&jti[..16]),
            "auth_time": at,
            "amr": [proven.method.as_str()],
            "acr": proven.acr,
        });
        if let Some(nonce) = &wanted.nonce {
            claims["nonce"] = nonce.as_str().into();
        }
        self.sign_token(Purpose::Assertion, &claims).await
    }

    /// Random bytes for an identifier.
    pub(crate) fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.room.random.fill(&mut bytes);
        bytes
    }
}

/// How much the proof is worth: an emailed code is no second factor, nor is a pass of
/// somebody who has no other one.
fn acr(method: Method, verdict: &Verdict) -> &'static str {
    match method {
        Method::Email => "urn:otpd:acr:email",
        Method::Pass if matches!(verdict, Verdict::Proven(proof) if proof.alone) => {
            "urn:otpd:acr:pass"
        }
        Method::Otp | Method::Otc | Method::Recovery | Method::Pass => "urn:otpd:acr:2fa",
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
