//! Callers by JWT: what a token of another service must say to be a credential, and what it allows.

use std::sync::Arc;

use domain::{Scope, Scopes, Time};
use serde_json::{Map, Value};

use crate::App;
use crate::caller::Caller;
use crate::settings::JwtRules;
use crate::tokens::hex;

/// The longest life of a token, in seconds.
const LONGEST_LIFE: i64 = 3600;
/// How far ahead of ours the clock of whoever signed it may be, in seconds.
const CLOCKS_APART: i64 = 60;
/// What is kept of a subject, in characters.
const LONGEST_SUBJECT: usize = 64;

impl App {
    /// The caller behind a token that is signed with the shared secret. Nothing is
    /// remembered: each request is judged by its token alone.
    pub(crate) fn jwt_caller(&self, bearer: &str) -> Option<Arc<Caller>> {
        let secret = self.shared_secret.as_ref()?;
        let claims = vault::verify_shared(secret, bearer).ok()?;
        let scopes = permitted(&claims, &self.settings.jwt, self.now())?;
        let whole = claims.get("sub").and_then(Value::as_str);
        let hash = self
            .room
            .root
            .hash_token("jwt-subject", whole.unwrap_or_default());
        Some(Arc::new(Caller::Jwt {
            subject: subject(&claims),
            identity: format!("jwt:{}", hex(&hash[..16])).into(),
            scopes,
        }))
    }
}

/// What the token allows; `None` when it is no credential at all.
fn permitted(claims: &Map<String, Value>, rules: &JwtRules, now: Time) -> Option<Scopes> {
    let now = now.seconds();
    let exp = seconds(claims.get("exp")?)?;
    let begun = match claims.get("iat") {
        Some(iat) => seconds(iat)?,
        None => now,
    };
    let in_time =
        exp > now && begun <= now + CLOCKS_APART && exp.saturating_sub(begun) <= LONGEST_LIFE;
    let not_before = match claims.get("nbf") {
        Some(nbf) => seconds(nbf)?,
        None => now,
    };
    if !in_time || not_before > now || !names(claims.get("aud")?, &rules.audience) {
        return None;
    }
    match claims.get("scope") {
        None => Some(only(rules.default_scopes, rules.scopes)),
        Some(Value::String(words)) => Some(only(Scopes::parse_known(words), rules.scopes)),
        Some(_) => None,
    }
}

/// What both name. `admin` in a token is a word like any other, and never granted.
fn only(asked: Scopes, most: Scopes) -> Scopes {
    let granted = |scope: &Scope| {
        let never = Scope::NEVER_BY_JWT.contains(scope);
        !never && most.iter().any(|other| other == *scope)
    };
    asked.iter().filter(granted).collect()
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?.floor();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "whole and far from the limits"
        )]
        (number.abs() < 1e15).then_some(number as i64)
    })
}

/// Whether an `aud`, a text or a list of texts, names that audience.
fn names(aud: &Value, audience: &str) -> bool {
    match aud {
        Value::String(one) => one == audience,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// Whom the token names, as the audit may show it: without what cannot be seen.
fn subject(claims: &Map<String, Value>) -> Arc<str> {
    let text = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let visible = text
        .chars()
        .filter(|c| c.is_ascii_graphic() || c.is_alphanumeric());
    let cut: String = visible.take(LONGEST_SUBJECT).collect();
    cut.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn rules() -> JwtRules {
        JwtRules {
            audience: "otpd".into(),
            scopes: Scopes::parse("otp:verify codes:issue users:read").unwrap(),
            default_scopes: Scopes::NONE,
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    /// The scopes of a good token with these claims changed; `null` removes one.
    fn allowed(changes: Value) -> Option<String> {
        let mut claims = map(json!({
            "aud": "otpd", "iat": NOW, "exp": NOW + 300, "scope": "otp:verify",
        }));
        for (name, value) in map(changes) {
            match value {
                Value::Null => drop(claims.remove(&name)),
                value => drop(claims.insert(name, value)),
            }
        }
        let now = Time::from_millis(NOW * 1000 + 999);
        permitted(&claims, &rules(), now).map(|scopes| scopes.to_string())
    }

    #[test]
    fn a_token_has_its_time() {
        #[track_caller]
        fn check(changes: Value, fits: bool) {
            assert_eq!(allowed(changes.clone()).is_some(), fits, "{changes}");
        }
        check(json!({}), true);
        check(json!({ "exp": NOW + 1 }), true);
        check(json!({ "exp": NOW }), false);
        check(json!({ "exp": NOW - 1 }), false);
        check(json!({ "exp": null }), false);
        check(json!({ "exp": (NOW + 300).to_string() }), false);
        check(json!({ "exp": NOW + 3600 }), true);
        check(json!({ "exp": NOW + 3601 }), false);
        check(json!({ "exp": i64::MAX }), false);
        check(json!({ "exp": i64::MAX, "iat": i64::MIN }), false);
        check(json!({ "exp": NOW + 3600, "iat": null }), true);
        check(json!({ "exp": NOW + 3601, "iat": null }), false);
        check(json!({ "exp": NOW + 10, "iat": NOW - 3590 }), true);
        check(json!({ "exp": NOW + 10, "iat": NOW - 3591 }), false);
        check(json!({ "iat": NOW + 60 }), true);
        check(json!({ "iat": NOW + 61 }), false);
        check(json!({ "exp": NOW + 3660, "iat": NOW + 60 }), true);
        check(json!({ "exp": NOW + 7000, "iat": NOW + 6000 }), false);
        check(json!({ "iat": 1_799_999_999.5 }), true);
        check(json!({ "iat": NOW.to_string() }), false);
        check(json!({ "iat": 1e300 }), false);
        check(json!({ "nbf": NOW }), true);
        check(json!({ "nbf": NOW + 1 }), false);
        check(json!({ "nbf": "soon" }), false);
    }

    #[test]
    fn a_token_names_its_audience() {
        #[track_caller]
        fn check(aud: Value, fits: bool) {
            assert_eq!(allowed(json!({ "aud": aud })).is_some(), fits, "{aud}");
        }
        check(json!("otpd"), true);
        check(json!(["shop", "otpd"]), true);
        check(json!("shop"), false);
        check(json!("OTPD"), false);
        check(json!("otpd "), false);
        check(json!([]), false);
        check(json!({ "otpd": true }), false);
        check(Value::Null, false);
    }

    #[test]
    fn a_token_allows_what_the_settings_allow() {
        #[track_caller]
        fn check(scope: Value, scopes: Option<&str>) {
            let found = allowed(json!({ "scope": scope }));
            assert_eq!(found.as_deref(), scopes, "{scope}");
        }
        check(json!("otp:verify"), Some("otp:verify"));
        let two = Some("otp:verify users:read");
        check(json!("users:read shop:write otp:verify"), two);
        check(json!("audit:read"), Some(""));
        check(json!("admin"), Some(""));
        check(json!(""), Some(""));
        check(json!(["otp:verify"]), None);
        check(Value::Null, Some(""));
    }

    #[test]
    fn no_setting_gives_a_token_what_none_gets() {
        let most = Scopes::all();
        let granted = only(Scopes::all(), most);
        for never in Scope::NEVER_BY_JWT {
            assert!(!granted.allows(never), "{never}");
        }
        assert!(granted.allows(Scope::OtpVerify));
        let wide = JwtRules {
            default_scopes: Scopes::all(),
            ..rules()
        };
        let claims = map(json!({ "aud": "otpd", "exp": NOW + 10 }));
        let found = permitted(&claims, &wide, Time::from_millis(NOW * 1000));
        assert_eq!(found, Some(rules().scopes));
    }

    #[test]
    fn a_subject_is_shown_without_what_cannot_be_seen() {
        #[track_caller]
        fn check(sub: Value, shown: &str) {
            let claims = map(json!({ "sub": sub }));
            assert_eq!(&*subject(&claims), shown);
        }
        check(json!("shop"), "shop");
        check(json!("a\nb\u{200b}c d"), "abcd");
        check(json!("é-1"), "é-1");
        check(json!("x".repeat(65)), &"x".repeat(64));
        check(json!(5), "");
        assert_eq!(&*subject(&Map::new()), "");
    }
}
