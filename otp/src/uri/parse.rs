//! Reading an `otpauth:` URI: its parts, its parameters, and who is named in its label.

use std::mem;
use std::str::FromStr;

use super::percent::{decode, decode_form};
use super::{Kind, OtpauthUri, UriError};
use crate::{Algorithm, Digits, Secret};

const SCHEME: &str = "otpauth://";

pub(super) fn parse(uri: &str) -> Result<OtpauthUri, UriError> {
    let rest = match uri.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => return Err(UriError::Scheme),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (kind, label) = place.split_once('/').unwrap_or((place, ""));

    let parameters = Parameters::split(query)?;
    let kind = if kind.eq_ignore_ascii_case("totp") {
        Kind::Totp {
            period: parameters.period()?,
        }
    } else if kind.eq_ignore_ascii_case("hotp") {
        Kind::Hotp {
            counter: number(parameters.counter, UriError::Counter)?.unwrap_or(0),
        }
    } else {
        return Err(UriError::Type);
    };
    parameters.refuse_other_encoders()?;
    let names = Names::read(label, parameters.issuer)?;
    Ok(OtpauthUri {
        kind,
        issuer: Some(names.issuer).filter(|issuer| !issuer.is_empty()),
        account: names.account,
        secret: parameters.secret()?,
        algorithm: parameters.algorithm()?,
        digits: parameters.digits()?,
    })
}

/// The parameters that decide something, still encoded.
#[derive(Default)]
struct Parameters<'a> {
    secret: Option<&'a str>,
    issuer: Option<&'a str>,
    algorithm: Option<&'a str>,
    digits: Option<&'a str>,
    period: Option<&'a str>,
    counter: Option<&'a str>,
    encoder: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    /// Which of two equal names counts differs from reader to reader, so there must be one only.
    /// Names are decoded before they are compared, or `%73ecret` would pass for another.
    fn split(query: &'a str) -> Result<Self, UriError> {
        let mut found = Self::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, place) = match decode_form(name)?.as_str() {
                "secret" => ("secret", &mut found.secret),
                "issuer" => ("issuer", &mut found.issuer),
                "algorithm" => ("algorithm", &mut found.algorithm),
                "digits" => ("digits", &mut found.digits),
                "period" => ("period", &mut found.period),
                "counter" => ("counter", &mut found.counter),
                "encoder" => ("encoder", &mut found.encoder),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(UriError::Duplicate(name));
            }
        }
        Ok(found)
    }

    fn secret(&self) -> Result<Secret, UriError> {
        match self.secret {
            None | Some("") => Err(UriError::MissingSecret),
            Some(raw) => Ok(Secret::from_base32(&decode_form(raw)?)?),
        }
    }

    fn algorithm(&self) -> Result<Algorithm, UriError> {
        match self.algorithm {
            None => Ok(Algorithm::default()),
            Some(raw) => Ok(decode_form(raw)?.parse()?),
        }
    }

    fn digits(&self) -> Result<Digits, UriError> {
        match number(self.digits, UriError::Digits)? {
            None => Ok(Digits::default()),
            Some(digits) => Digits::new(digits).map_err(|_| UriError::Digits),
        }
    }

    fn period(&self) -> Result<u32, UriError> {
        match number(self.period, UriError::Period)? {
            None => Ok(30),
            Some(0) => Err(UriError::Period),
            Some(period) => Ok(period),
        }
    }

    /// PyOTP marks Steam's codes (letters from an alphabet of its own) by `encoder=steam`.
    fn refuse_other_encoders(&self) -> Result<(), UriError> {
        match self.encoder {
            None | Some("") => Ok(()),
            Some(_) => Err(UriError::Encoder),
        }
    }
}

/// A parameter that is a number in plain decimal digits, without a sign.
fn number<T: FromStr>(raw: Option<&str>, error: UriError) -> Result<Option<T>, UriError> {
    let Some(raw) = raw else { return Ok(None) };
    let text = decode_form(raw)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error);
    }
    text.parse().map(Some).map_err(|_| error)
}

/// Who is named; an empty issuer is none.
struct Names {
    issuer: String,
    account: String,
}

impl Names {
    /// Finds the colon between issuer and account in the label, and settles with the parameter.
    fn read(label: &str, parameter: Option<&str>) -> Result<Self, UriError> {
        let stated = Stated::read(parameter)?;
        if let Some((issuer, account)) = label.split_once(':') {
            let issuer = mem::take(&mut *decode(issuer)?);
            return stated.settle(issuer, &decode(account)?);
        }
        let label = decode(label)?;
        let (issuer, account) = match label.split_once(':') {
            None => ("", label.as_str()),
            Some(_) if parameter == Some("") => ("", label.as_str()),
            // The issuer itself may hold a colon, so the parameter is asked first where it ends.
            Some(first_colon) => stated.split(&label).unwrap_or(first_colon),
        };
        stated.settle(issuer.to_owned(), account)
    }
}

/// The parameter `issuer`, empty when there is none, in the two ways of reading a `+`.
struct Stated {
    form: String,
    plain: String,
}

impl Stated {
    fn read(parameter: Option<&str>) -> Result<Self, UriError> {
        let raw = parameter.unwrap_or_default();
        Ok(Self {
            form: mem::take(&mut *decode_form(raw)?),
            plain: mem::take(&mut *decode(raw)?),
        })
    }

    /// A decoded label as this issuer and what follows its colon.
    fn split<'a>(&self, label: &'a str) -> Option<(&'a str, &'a str)> {
        let after = |issuer: &str| {
            let account = label.strip_prefix(issuer)?.strip_prefix(':')?;
            Some((&label[..issuer.len()], account))
        };
        after(&self.form).or_else(|| after(&self.plain))
    }

    /// The label's issuer, if it has one, must be this one, if there is one.
    fn settle(self, issuer: String, account: &str) -> Result<Names, UriError> {
        let account = account.trim_start_matches(' ').to_owned();
        let issuer = match issuer {
            _ if issuer.is_empty() => self.form,
            _ if self.form.is_empty() || issuer == self.form || issuer == self.plain => issuer,
            _ => return Err(UriError::IssuerMismatch),
        };
        Ok(Names { issuer, account })
    }
}
