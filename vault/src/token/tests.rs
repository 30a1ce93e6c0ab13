//! Tests of our own tokens: the RFC's example, and every way we know to forge one.

use proptest::prelude::*;

use super::*;
use crate::SigningSeed;
use crate::random::counting::Counting;

const TYP: &str = "at+jwt";

fn keys() -> (SigningKey, PublicKey, SigningKey) {
    let random = Counting::new();
    let signer = SigningKey::from_seed(&SigningSeed::generate(&random));
    let stranger = SigningKey::from_seed(&SigningSeed::generate(&random));
    let public = PublicKey::new(signer.public());
    (signer, public, stranger)
}

fn part(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// A token with this header and these claims, as text, and a signature that holds.
fn forge(key: &SigningKey, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.sign_bytes(signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// RFC 8037, appendices A.1, A.2, A.4 and A.5.
#[test]
fn signature_is_that_of_the_rfc() {
    let seed = BASE64URL_NOPAD
        .decode(b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
        .expect("base64url");
    struct Fixed(Vec<u8>);
    impl crate::Random for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.copy_from_slice(&self.0);
        }
    }
    let key = SigningKey::from_seed(&SigningSeed::generate(&Fixed(seed)));
    let public = PublicKey::new(key.public());
    assert_eq!(
        jwk(&public),
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "alg": "EdDSA",
            "use": "sig",
        })
    );
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(
        forge(&key, r#"{"alg":"EdDSA"}"#, "Example of Ed25519 signing"),
        format!("{signed}.{signature}")
    );
    let token = format!("{signed}.{signature}");
    let parts = Parts::split(&token).expect("three parts");
    assert!(verify_bytes(
        &public.key,
        parts.signed.as_bytes(),
        &parts.signature
    ));
    // Our own rules ask for more than the RFC: a type and a key's name.
    let refused = verify_token(&[public], TYP, &token);
    assert_eq!(refused, Err(TokenError::WrongType));
}

/// Frozen: tokens in the hands of clients outlive an upgrade.
#[test]
fn token_is_frozen() {
    let (signer, public, _) = keys();
    let token = sign_token(
        &signer,
        TYP,
        &json!({ "exp": 1_800_000_000, "sub": "dave" }),
    );
    assert_eq!(
        token,
        "eyJhbGciOiJFZERTQSIsImtpZCI6IjFJRzJ0TUg3SjJ3Ykpabk9mOExKelFpdEtmN0xNdm9BRWxzdURNVk01NFkiLCJ0eXAiOiJhdCtqd3QifQ.eyJleHAiOjE4MDAwMDAwMDAsInN1YiI6ImRhdmUifQ.XRSu8iBHgTxVi3VJfDMnjAU2wdkLWBoVIPvxXh3p3GZshgD2s2rGXK_NkD_h7JvW2W3AIsmJLwsTldcIaVa2Dw"
    );
    let claims = verify_token(&[public], TYP, &token).expect("holds");
    assert_eq!(
        Value::Object(claims),
        json!({ "sub": "dave", "exp": 1_800_000_000 })
    );
}

#[test]
fn a_token_holds_for_its_type_and_key_only() {
    let (signer, public, stranger) = keys();
    let other = PublicKey::new(stranger.public());
    let token = sign_token(&signer, TYP, &json!({ "exp": 1 }));
    let check = |keys: &[PublicKey], typ: &str, refusal: Option<TokenError>| {
        assert_eq!(verify_token(keys, typ, &token).err(), refusal, "{typ}");
    };
    check(&[other.clone(), public.clone()], TYP, None);
    check(
        std::slice::from_ref(&public),
        "mfa+jwt",
        Some(TokenError::WrongType),
    );
    check(
        std::slice::from_ref(&public),
        "AT+JWT",
        Some(TokenError::WrongType),
    );
    check(
        std::slice::from_ref(&public),
        "",
        Some(TokenError::WrongType),
    );
    check(
        std::slice::from_ref(&other),
        TYP,
        Some(TokenError::UnknownKey),
    );
    check(&[], TYP, Some(TokenError::UnknownKey));
    // The stranger's key under the signer's name.
    let disguised = PublicKey {
        kid: public.kid,
        key: other.key,
    };
    check(&[disguised], TYP, Some(TokenError::BadSignature));
}

/// Whether a token with this header passes, its signature being good. `KID` stands for the signer's
/// name, `PUBLIC` for a stranger's public key.
#[track_caller]
fn check_header(header: &str, refusal: Option<TokenError>) {
    let (signer, public, stranger) = keys();
    let x = BASE64URL_NOPAD.encode(&stranger.public());
    let header = header.replace("KID", &public.kid).replace("PUBLIC", &x);
    let token = forge(&signer, &header, r#"{"exp":1}"#);
    let refused = verify_token(&[public], TYP, &token).err();
    assert_eq!(refused, refusal, "{header}");
}

#[test]
fn algorithm_and_type_are_ours() {
    check_header(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}"#, None);
    check_header(r#" {"kid":"KID","typ":"at+jwt", "alg":"EdDSA"} "#, None);
    for header in [
        r#"{"typ":"at+jwt","kid":"KID"}"#,
        r#"{"alg":null,"typ":"at+jwt","kid":"KID"}"#,
        r#"{"alg":["EdDSA"],"typ":"at+jwt","kid":"KID"}"#,
        r#"{"alg":"EdDSA","kid":"KID"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"KID"}"#,
        r#"{"alg":"EdDSA","typ":"application/at+jwt","kid":"KID"}"#,
    ] {
        check_header(header, Some(TokenError::WrongType));
    }
    for alg in [
        "none", "None", "HS256", "RS256", "ES256", "eddsa", "EdDSA ", "Ed25519", "",
    ] {
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"KID"}}"#);
        check_header(&header, Some(TokenError::WrongType));
    }
}

#[test]
fn the_key_is_named_and_known() {
    let check = |kid: &str, refusal| {
        check_header(
            &format!(r#"{{"alg":"EdDSA","typ":"at+jwt"{kid}}}"#),
            Some(refusal),
        );
    };
    check("", TokenError::Malformed);
    check(r#","kid":1"#, TokenError::Malformed);
    check(r#","kid":null"#, TokenError::Malformed);
    check(r#","kid":"KIE""#, TokenError::UnknownKey);
    check(r#","kid":"KID ""#, TokenError::UnknownKey);
    check(r#","kid":"""#, TokenError::UnknownKey);
}

#[test]
fn the_header_holds_nothing_else() {
    for extra in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""cty":"JWT""#,
        r#""jku":"https://example.com/keys""#,
        r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"PUBLIC"}"#,
        r#""x5c":[]"#,
        r#""alg":"EdDSA""#,
        r#""alg":"none""#,
        r#""a\u006cg":"EdDSA""#,
        r#""kid":"KID""#,
        r#""typ":"at+jwt""#,
    ] {
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"KID",{extra}}}"#);
        check_header(&header, Some(TokenError::Malformed));
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"EdDSA\"",
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"KID"}x"#,
    ] {
        check_header(text, Some(TokenError::Malformed));
    }
}

#[test]
fn claims_are_an_object_with_an_expiry() {
    let (signer, public, _) = keys();
    let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"}}"#, public.kid);
    let check = |claims: &str, refusal: Option<TokenError>| {
        let token = forge(&signer, &header, claims);
        let refused = verify_token(std::slice::from_ref(&public), TYP, &token).err();
        assert_eq!(refused, refusal, "{claims}");
    };
    for exp in ["1", "0", "-1", "9223372036854775807"] {
        check(&format!(r#"{{"exp":{exp}}}"#), None);
    }
    let missing = Some(TokenError::MissingExpiry);
    check("{}", missing);
    check(r#"{"Exp":1}"#, missing);
    for exp in [
        "1.0",
        "1e9",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{}",
        "9223372036854775808",
        "1e999",
    ] {
        let overflow = if exp == "1e999" {
            Some(TokenError::Malformed)
        } else {
            missing
        };
        check(&format!(r#"{{"exp":{exp}}}"#), overflow);
    }
    let nested = format!(r#"{{"exp":1,"x":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    for claims in [
        "",
        "[]",
        "1",
        "null",
        "\"exp\"",
        r#"{"exp":1}{"exp":2}"#,
        r#"{"exp":1,"exp":2}"#,
        r#"{"exp":1,"sub":"a","sub":"b"}"#,
        r#"{"exp":1,"sub":"a","s\u0075b":"b"}"#,
        &nested,
    ] {
        check(claims, Some(TokenError::Malformed));
    }
}

#[test]
fn a_damaged_text_is_refused() {
    let (signer, public, stranger) = keys();
    let keys = [public];
    let claims = json!({ "exp": 1, "sub": "dave" });
    let token = sign_token(&signer, TYP, &claims);
    assert!(verify_token(&keys, TYP, &token).is_ok());
    for length in 0..token.len() {
        assert!(
            verify_token(&keys, TYP, &token[..length]).is_err(),
            "{length}"
        );
    }
    let malformed = |text: &str| {
        assert_eq!(
            verify_token(&keys, TYP, text),
            Err(TokenError::Malformed),
            "{text}"
        );
    };
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    malformed("");
    malformed("..");
    malformed(&format!("{token}."));
    malformed(&format!(".{token}"));
    malformed(&format!("{header}..{body}.{signature}"));
    malformed(&format!("{header}.{body}.{signature}.{signature}"));
    malformed(&format!("{header}.{body}.{signature}="));
    malformed(&format!("{header}.{body}.{signature}=="));
    malformed(&format!("{header}=.{body}.{signature}"));
    malformed(&format!(" {token}"));
    malformed(&format!("{token}\n"));
    malformed(&format!("{header}.{body}.{}+/", &signature[2..]));
    // 64 bytes leave four bits of the last character unused: they must be zero.
    let last = signature.chars().next_back().expect("not empty");
    assert!("AQgw".contains(last));
    let next = char::from(last as u8 + 1);
    malformed(&format!(
        "{header}.{body}.{}{next}",
        &signature[..signature.len() - 1]
    ));

    let bad = |text: String| {
        assert_eq!(
            verify_token(&keys, TYP, &text),
            Err(TokenError::BadSignature),
            "{text}"
        );
    };
    bad(format!("{header}.{body}."));
    bad(format!("{header}. {body}.{signature}"));
    bad(format!(
        "{header}.{}.{signature}",
        part(r#"{"exp":2,"sub":"root"}"#)
    ));
    let other = sign_token(&stranger, TYP, &claims);
    bad(format!(
        "{header}.{body}.{}",
        other.rsplit('.').next().expect("a part")
    ));
}

#[test]
fn a_long_text_is_refused() {
    let (signer, public, _) = keys();
    let sized = |size: usize| sign_token(&signer, TYP, &json!({ "exp": 1, "x": "x".repeat(size) }));
    let check = |token: &str, refusal: Option<TokenError>| {
        let refused = verify_token(std::slice::from_ref(&public), TYP, token).err();
        assert_eq!(refused, refusal, "{} bytes", token.len());
    };
    let fits = (5000..7000)
        .rev()
        .map(sized)
        .find(|token| token.len() <= MOST_BYTES);
    let fits = fits.expect("some size fits");
    assert!(fits.len() > MOST_BYTES - 4);
    check(&fits, None);
    let beyond = (5000..7000)
        .map(sized)
        .find(|token| token.len() > MOST_BYTES);
    check(
        &beyond.expect("some size does not"),
        Some(TokenError::Malformed),
    );
}

/// A signature for a context is none for a token, nor the other way round.
#[test]
fn contexts_and_tokens_are_apart() {
    let (signer, public, _) = keys();
    let token = sign_token(&signer, TYP, &json!({ "exp": 1 }));
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let bytes = BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .expect("base64url");
    for context in ["", "checkpoint", TYP] {
        assert!(!crate::verify_signature(
            &public.key,
            context,
            signed.as_bytes(),
            &bytes
        ));
        let swapped = signer.sign(context, signed.as_bytes());
        let swapped = format!("{signed}.{}", BASE64URL_NOPAD.encode(&swapped));
        let refused = verify_token(std::slice::from_ref(&public), TYP, &swapped);
        assert_eq!(refused, Err(TokenError::BadSignature));
    }
}

proptest! {
    #[test]
    fn every_token_comes_back(
        typ in "[a-z+\"\\\\é]{1,12}",
        sub in "\\PC{0,40}",
        exp in any::<i64>(),
    ) {
        let (signer, public, _) = keys();
        let claims = json!({ "sub": sub, "exp": exp });
        let token = sign_token(&signer, &typ, &claims);
        let read = verify_token(&[public], &typ, &token);
        prop_assert_eq!(read.map(Value::Object), Ok(claims));
    }

    #[test]
    fn no_changed_byte_passes(position in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let (signer, public, _) = keys();
        let token = sign_token(&signer, TYP, &json!({ "exp": 1, "sub": "dave" }));
        let mut bytes = token.clone().into_bytes();
        bytes[position.index(token.len())] = byte;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assume!(changed != token);
        prop_assert!(verify_token(&[public], TYP, &changed).is_err());
    }
}
