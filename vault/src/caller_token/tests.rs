//! Tests of callers' tokens: the RFC's example, and every way we know to forge one.

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::random::counting::Counting;
use crate::{PublicKey, SigningKey, SigningSeed, sign_token, verify_token};

const KEY: &[u8] = b"a secret that is shared with callers";

fn secret(bytes: &[u8]) -> SharedSecret {
    SharedSecret::new(bytes).expect("long enough")
}

/// A token with this header and these claims, as text, signed with `key`.
fn forge(key: &[u8], header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    let signed = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    let tag = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&tag))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// RFC 7515, appendix A.1.
#[test]
fn the_example_of_the_rfc_holds() {
    let key = BASE64URL_NOPAD
        .decode(
            b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        )
        .expect("base64url");
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
                 .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
                 .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let claims = verify_shared(&secret(&key), token).map(Value::Object);
    let expected =
        json!({ "iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true });
    assert_eq!(claims, Ok(expected));
    let other = verify_shared(&secret(KEY), token);
    assert_eq!(other, Err(TokenError::BadSignature));
}

#[test]
fn a_short_secret_is_refused() {
    let check = |length: usize, accepted: bool| {
        let refusal = SharedSecret::new(&vec![b'x'; length]).err();
        let expected = (!accepted).then_some(VaultError::SharedSecretTooShort);
        assert_eq!(refusal, expected, "{length} bytes");
    };
    check(0, false);
    check(31, false);
    check(32, true);
    check(64, true);
    check(65, true);
    check(1000, true);
    let text = VaultError::SharedSecretTooShort.to_string();
    assert!(text.contains("32 bytes or more"), "{text}");
}

#[test]
fn the_header_says_hs256_and_nothing_critical() {
    let check = |header: &str, refusal: Option<TokenError>| {
        let token = forge(KEY, header, r#"{"exp":1}"#);
        assert_eq!(
            verify_shared(&secret(KEY), &token).err(),
            refusal,
            "{header}"
        );
    };
    let (malformed, wrong) = (Some(TokenError::Malformed), Some(TokenError::WrongType));
    check(HEADER, None);
    check(r#"{"alg":"HS256"}"#, None);
    check(r#"{"typ":"jwt","alg":"HS256","kid":"1","x":null}"#, None);
    for alg in [
        "none", "None", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA",
    ] {
        check(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#), wrong);
    }
    check(r#"{"typ":"JWT"}"#, wrong);
    check("{}", wrong);
    check(r#"{"alg":null}"#, wrong);
    check(r#"{"alg":["HS256"]}"#, wrong);
    for typ in [
        r#""at+jwt""#,
        r#""application/jwt""#,
        r#""JWT ""#,
        r#""""#,
        "null",
        "1",
        r#"["JWT"]"#,
    ] {
        check(&format!(r#"{{"alg":"HS256","typ":{typ}}}"#), wrong);
    }
    check(r#"{"alg":"HS256","crit":["exp"]}"#, malformed);
    check(r#"{"alg":"HS256","crit":[]}"#, malformed);
    check(r#"{"alg":"HS256","crit":null}"#, malformed);
    check(r#"{"alg":"HS256","alg":"HS256"}"#, malformed);
    check(r#"{"alg":"none","alg":"HS256"}"#, malformed);
    check(r#"{"alg":"HS256","kid":"1","kid":"2"}"#, malformed);
    check("", malformed);
    check("[]", malformed);
}

#[test]
fn claims_are_an_object_with_an_expiry() {
    let check = |claims: &str, refusal: Option<TokenError>| {
        let token = forge(KEY, HEADER, claims);
        assert_eq!(
            verify_shared(&secret(KEY), &token).err(),
            refusal,
            "{claims}"
        );
    };
    check(r#"{"exp":1}"#, None);
    check(r#"{"exp":-1,"scope":"otp:verify"}"#, None);
    // As `time.time() + 300` makes it.
    check(r#"{"exp":1700000000.5}"#, None);
    let missing = Some(TokenError::MissingExpiry);
    for claims in ["{}", r#"{"exp":"1"}"#, r#"{"exp":null}"#] {
        check(claims, missing);
    }
    for claims in [
        "",
        "[]",
        "1",
        r#"{"exp":1,"exp":2}"#,
        r#"{"exp":1,"aud":"a","aud":"otpd"}"#,
    ] {
        check(claims, Some(TokenError::Malformed));
    }
}

/// The header of one kind with the key of the other, in every combination.
#[test]
fn no_token_passes_at_the_other_door() {
    let signer = SigningKey::from_seed(&SigningSeed::generate(&Counting::new()));
    let public = PublicKey::new(signer.public());
    let kid = public.kid.clone();
    let ours = |typ: &str, token: &str| verify_token(std::slice::from_ref(&public), typ, token);

    // The public key, in each form that a published set invites to try, as key of an HMAC.
    let text = BASE64URL_NOPAD.encode(&public.key);
    for key in [&public.key[..], text.as_bytes()] {
        for alg in ["HS256", "EdDSA"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#);
            let token = forge(key, &header, r#"{"exp":1}"#);
            assert!(ours("JWT", &token).is_err(), "{alg}");
            assert!(verify_shared(&secret(KEY), &token).is_err(), "{alg}");
        }
    }
    // Ours at the callers' door, even should a kind of ours be called JWT one day.
    for typ in ["at+jwt", "JWT"] {
        let token = sign_token(&signer, typ, &json!({ "exp": 1 }));
        assert!(ours(typ, &token).is_ok());
        let refused = verify_shared(&secret(KEY), &token);
        assert_eq!(refused, Err(TokenError::WrongType), "{typ}");
        let refused = verify_shared(&secret(&public.key), &token);
        assert_eq!(refused, Err(TokenError::WrongType), "{typ}");
    }
    // A caller's at ours.
    let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#);
    let token = forge(KEY, &header, r#"{"exp":1}"#);
    assert!(verify_shared(&secret(KEY), &token).is_ok());
    assert_eq!(ours("JWT", &token), Err(TokenError::WrongType));
}

#[test]
fn a_damaged_text_is_refused() {
    let token = forge(KEY, HEADER, r#"{"exp":1,"sub":"caller"}"#);
    let secret = secret(KEY);
    assert!(verify_shared(&secret, &token).is_ok());
    for length in 0..token.len() {
        assert!(
            verify_shared(&secret, &token[..length]).is_err(),
            "{length}"
        );
    }
    let [header, claims, tag] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let last = tag.chars().next_back().expect("not empty");
    // 32 bytes leave two bits of the last character unused: they must be zero.
    let next = char::from(last as u8 + 1);
    for text in [
        String::new(),
        "..".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{header}..{claims}.{tag}"),
        format!("{token}.{tag}"),
        format!("{token}="),
        format!("{header}=.{claims}.{tag}"),
        format!("{token}\n"),
        format!(" {token}"),
        format!("{header}.{claims}.{}{next}", &tag[..tag.len() - 1]),
        format!("{token}.{}", "A".repeat(8 * 1024)),
        format!("{header}.{}.{tag}", "A".repeat(8 * 1024)),
    ] {
        assert_eq!(
            verify_shared(&secret, &text),
            Err(TokenError::Malformed),
            "{text}"
        );
    }
}

#[test]
fn a_tag_belongs_to_its_text() {
    let token = forge(KEY, HEADER, r#"{"exp":1,"sub":"caller"}"#);
    let secret = secret(KEY);
    let [header, claims, tag] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let check = |text: String, refusal: TokenError| {
        assert_eq!(verify_shared(&secret, &text), Err(refusal), "{text}");
    };
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
    check(format!("{none}.{claims}."), TokenError::WrongType);
    check(format!("{none}.{claims}.{tag}"), TokenError::WrongType);

    let mut bytes = BASE64URL_NOPAD.decode(tag.as_bytes()).expect("tag");
    let half = BASE64URL_NOPAD.encode(&bytes[..16]);
    bytes.push(0);
    let long = BASE64URL_NOPAD.encode(&bytes);
    let other = BASE64URL_NOPAD.encode(br#"{"exp":2}"#);
    check(format!("{header}.{claims}."), TokenError::BadSignature);
    check(
        format!("{header}.{claims}.{half}"),
        TokenError::BadSignature,
    );
    check(
        format!("{header}.{claims}.{long}"),
        TokenError::BadSignature,
    );
    check(format!("{header}.{other}.{tag}"), TokenError::BadSignature);
}

proptest! {
    #[test]
    fn a_token_holds_for_its_secret_only(
        key in prop::collection::vec(any::<u8>(), 32..100),
        exp in any::<i64>(),
        flip in 1u8..,
        position in any::<prop::sample::Index>(),
    ) {
        let token = forge(&key, HEADER, &format!(r#"{{"exp":{exp}}}"#));
        prop_assert!(verify_shared(&secret(&key), &token).is_ok());
        let mut other = key.clone();
        other[position.index(key.len())] ^= flip;
        prop_assert_eq!(verify_shared(&secret(&other), &token), Err(TokenError::BadSignature));
    }
}
