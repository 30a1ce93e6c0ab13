//! The names by which clients speak of devices and users, and their one canonical form.
//!
//! A user's name reaches look-up, limits, locks, audit and tokens only as a [`UserName`],
//! so no two doors can disagree on who is meant (I-18).

use std::fmt;
use std::sync::Arc;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use self::invisible::{is_invisible, is_noncharacter};

mod invisible;

/// The longest `device_id`, in bytes, which here are characters.
const MAX_DEVICE_BYTES: usize = 128;

/// The longest user name, in characters, as given and in canonical form.
const MAX_USER_CHARS: usize = 256;

/// No UTF-8 character takes more than four bytes; longer texts are refused without a look at them.
const MAX_USER_BYTES: usize = 4 * (MAX_USER_CHARS + EMAIL.len());

/// What the user behind an email address is called before the address itself, which may
/// be as long as a name may: these characters are not counted.
pub(crate) const EMAIL: &str = "email:";

/// How often a name may be folded before it must have come to rest. One round settles
/// each character of Unicode and a second confirms it; a name that is still changing
/// after these would have no form to compare, and is refused.
const MAX_FOLDS: usize = 4;

/// Why a name is refused. Each message is a sentence for the client, to stand beside
/// the name of the faulty member, and repeats nothing that could not be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A `device_id` that is empty, too long or written with other characters.
    #[error("Must be 1 to 128 of the characters A-Z, a-z, 0-9 and ._:@- only.")]
    Device,
    /// A user's name that is empty or too long, as given or in canonical form.
    #[error("Must be 1 to 256 characters long.")]
    Length,
    /// White space first or last.
    #[error("Must not begin or end with white space.")]
    Edge,
    /// A control character, such as a tab or a line break.
    #[error("Must not contain control characters (U+{:04X} found).", u32::from(*.0))]
    Control(char),
    /// A character that cannot be seen, so that two names would look alike.
    #[error("Must not contain invisible characters (U+{:04X} found).", u32::from(*.0))]
    Invisible(char),
    /// A code point that will never be a character (Unicode section 23.7).
    #[error("Must contain Unicode characters only (U+{:04X} found).", u32::from(*.0))]
    NotACharacter(char),
    /// A text whose case folding does not come to rest.
    #[error("Cannot be compared without regard to case; please choose another.")]
    Unstable,
}

/// A `device_id`: 1–128 of `A-Za-z0-9._:@-`, compared byte by byte. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(Arc<str>);

impl DeviceName {
    /// Takes the text as it is, or refuses it.
    ///
    /// # Errors
    /// [`NameError::Device`].
    pub fn parse(text: &str) -> Result<DeviceName, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        if (1..=MAX_DEVICE_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(DeviceName(text.into()))
        } else {
            Err(NameError::Device)
        }
    }

    /// The name, exactly as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A `user_id`, `username` or email address in canonical form: two spellings that differ
/// only in case or in compatible characters are one name. Cheap to clone.
///
/// The caller's own spelling is not kept; whoever echoes it has it still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Checks the text and brings it into canonical form: full case folding and NFKC,
    /// again and again until nothing changes.
    ///
    /// Only a fixed point gives the same name when a canonical form comes back as input,
    /// as it does from tokens and the database. The result is checked like the input,
    /// since NFKC can make a white space (U+00A8 becomes U+0020 U+0308) or many
    /// characters of one.
    ///
    /// # Errors
    /// Every variant of [`NameError`] but `Device`.
    pub fn parse(text: &str) -> Result<UserName, NameError> {
        if text.is_empty() || text.len() > MAX_USER_BYTES {
            return Err(NameError::Length);
        }
        check_user_text(text)?;
        if text.is_ascii() {
            // On ASCII, folding is lower-casing, and all of it is normal. One allocation.
            let mut name: Arc<str> = text.into();
            Arc::make_mut(&mut name).make_ascii_lowercase();
            return Ok(UserName(name));
        }
        let canonical = fold_to_rest(text)?;
        check_user_text(&canonical)?;
        Ok(UserName(canonical.into()))
    }

    /// The canonical form. Parsed again, it gives the same name.
    pub fn canonical(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    /// Writes the canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Folds case and compatible forms until nothing changes.
///
/// One round is the key of a compatibility caseless match (Unicode section 3.13, D146),
/// put into NFKC, so texts that match have one form after the first round already. Its
/// two decompositions are needed: U+0345 and what contains it fold to a letter, which
/// changes what later marks belong to.
fn fold_to_rest(text: &str) -> Result<String, NameError> {
    let mut current = text.to_owned();
    for _ in 0..MAX_FOLDS {
        let once = current.nfd().default_case_fold().nfkd();
        let folded: String = once.default_case_fold().nfkc().collect();
        if folded == current {
            return Ok(current);
        }
        current = folded;
    }
    Err(NameError::Unstable)
}

/// The rules that hold for a user's name both as given and in canonical form.
fn check_user_text(text: &str) -> Result<(), NameError> {
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(NameError::Edge);
    }
    let mut length = 0;
    for c in text.chars() {
        length += 1;
        if c.is_control() {
            return Err(NameError::Control(c));
        }
        if !c.is_ascii() && is_invisible(c) {
            return Err(NameError::Invisible(c));
        }
        if is_noncharacter(c) {
            return Err(NameError::NotACharacter(c));
        }
    }
    let is_email = text
        .get(..EMAIL.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(EMAIL));
    let most = MAX_USER_CHARS + if is_email { EMAIL.len() } else { 0 };
    if (1..=most).contains(&length) {
        Ok(())
    } else {
        Err(NameError::Length)
    }
}

#[cfg(test)]
mod tests;
