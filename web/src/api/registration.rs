//! What a registration may say: every field, and how the fields must fit together.

use app::{Algorithm, Digits, Registration, Secret};
use domain::Kind;
use serde_json::Value;

use crate::input::{
    DEVICE_ID, Field, Fields, Input, USER_ID, flag, line_of, string, whole_number, word_of,
};
use crate::schema;

/// The longest label and issuer, in characters.
const LONGEST_LINE: usize = 128;

/// What a key that is brought along must have, and may have, in bits.
const KEY_BITS: std::ops::RangeInclusive<usize> = 128..=1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Totp,
    Hotp,
}

const KINDS: [(&str, Counting); 2] = [("totp", Counting::Totp), ("hotp", Counting::Hotp)];

const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("SHA1", Algorithm::Sha1),
    ("SHA256", Algorithm::Sha256),
    ("SHA512", Algorithm::Sha512),
];

const KIND: Field<Counting> = Field {
    about: "`totp` (default) counts seconds, `hotp` counts codes.",
    schema: || schema::words(KINDS.map(|(word, _)| word)),
    parse: |value| word_of(value, &KINDS),
};

const ALGORITHM: Field<Algorithm> = Field {
    about: "Hash of the codes; `SHA1` (default) is what every app supports.",
    schema: || schema::words(ALGORITHMS.map(|(word, _)| word)),
    parse: |value| word_of(value, &ALGORITHMS),
};

const DIGITS: Field<Digits> = Field {
    about: "Length of the codes: 6, 7 or 8. The policy's unless told; with a named policy no other.",
    schema: || schema::integer_of(6, 8),
    parse: |value| {
        let number = whole_number(value, 6, 8)?;
        let digits = u8::try_from(number).map_err(|error| error.to_string())?;
        Digits::new(digits).map_err(|error| error.to_string())
    },
};

const PERIOD: Field<u32> = Field {
    about: "Seconds per step, for `totp`; the policy's unless told. Times the policy's window it is 120 at most.",
    schema: || schema::integer_of(15, 120),
    parse: |value| whole_number(value, 15, 120),
};

const POLICY: Field<String> = Field {
    about: "The name of a security level of the configuration: digits, period, window and budgets.",
    schema: || schema::text_of(1, LONGEST_LINE),
    parse: |value| line_of(value, LONGEST_LINE),
};

const LABEL: Field<String> = Field {
    about: "A name for people, shown by the authenticator app.",
    schema: line_schema,
    parse: |value| line_of(value, LONGEST_LINE),
};

const ISSUER: Field<String> = Field {
    about: "Who issues the codes, when not the server's own name. Without a colon.",
    schema: || schema::pattern("^[^\\x00-\\x1f\\x7f-\\x9f:]{1,128}$"),
    parse: |value| match line_of(value, LONGEST_LINE)? {
        // A colon ends the issuer in the label of an `otpauth:` URI.
        issuer if issuer.contains(':') => Err("Must not contain a colon.".into()),
        issuer => Ok(issuer),
    },
};

const SECRET: Field<Secret> = Field {
    about: "A key to bring along, in base32: 128 to 1024 bits. Without it one is made.",
    schema: schema::text,
    parse: secret,
};

const CONFIRMATION: Field<bool> = Field {
    about: "The device waits for its first code before it is in force.",
    schema: schema::flag,
    parse: flag,
};

const TEST: Field<bool> = Field {
    about: "Its current code may be read. Only in debug mode, never in production.",
    schema: schema::flag,
    parse: flag,
};

fn line_schema() -> utoipa::openapi::Schema {
    schema::pattern("^[^\\x00-\\x1f\\x7f-\\x9f]{1,128}$")
}

fn secret(value: &Value) -> Result<Secret, String> {
    let secret =
        Secret::from_base32(string(value)?).map_err(|error| format!("Must be base32: {error}."))?;
    if KEY_BITS.contains(&secret.bits()) {
        Ok(secret)
    } else {
        Err("Must be a key of 128 to 1024 bits.".into())
    }
}

impl Input for Registration {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let device = fields.required("device_id", &DEVICE_ID);
        let user = fields.required("user_id", &USER_ID);
        let algorithm = fields.optional("algorithm", &ALGORITHM);
        let label = fields.optional("label", &LABEL);
        let issuer = fields.optional("issuer", &ISSUER);
        let secret = fields.optional("secret", &SECRET);
        let require_confirmation = fields.optional("require_confirmation", &CONFIRMATION);
        let test = fields.optional("test", &TEST).unwrap_or(false);
        if test && fields.settings().is_some_and(|rules| !rules.test_codes()) {
            fields.fault("/test", "Test devices exist in debug mode only.");
        }
        let level = level(fields);
        let (user, level) = (user?, level?);
        Some(Self {
            device: device?,
            user: user.name,
            shown: user.shown,
            kind: level.kind,
            algorithm: algorithm.unwrap_or_default(),
            digits: level.digits,
            policy: level.policy,
            label,
            issuer,
            secret,
            require_confirmation: require_confirmation.unwrap_or(false),
            test,
            door: None,
        })
    }
}

/// How strong the device is.
struct Level {
    kind: Kind,
    digits: Digits,
    policy: Option<String>,
}

/// Kind, digits, period and policy have to fit together: a named policy sets the digits,
/// and its window bounds the period.
fn level(fields: &mut Fields<'_>) -> Option<Level> {
    let counting = fields.optional("kind", &KIND).unwrap_or(Counting::Totp);
    let digits = fields.optional("digits", &DIGITS);
    let period = fields.optional("period", &PERIOD);
    let name = fields.optional("policy", &POLICY);
    let policies = &fields.settings()?.policies;
    let policy = match &name {
        None => &policies.default,
        Some(name) => match policies.named(name) {
            Some(policy) => policy,
            None => {
                fields.fault("/policy", "There is no policy of that name.");
                return None;
            }
        },
    };
    if name.is_some() && digits.is_some_and(|digits| digits != policy.digits) {
        let length = policy.digits.get();
        fields.fault(
            "/digits",
            format!("Codes of this policy have {length} digits."),
        );
    }
    let kind = match counting {
        Counting::Hotp => {
            if period.is_some() {
                fields.fault("/period", "Only `totp` has a period.");
            }
            Kind::Hotp
        }
        Counting::Totp => {
            let period = period.unwrap_or(policy.period);
            if let Err(error) = policy.check_period(period) {
                fields.fault("/period", sentence(&error.to_string()));
            }
            Kind::Totp { period }
        }
    };
    Some(Level {
        kind,
        digits: digits.unwrap_or(policy.digits),
        policy: name,
    })
}

/// A message with a capital letter and a full stop.
fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
