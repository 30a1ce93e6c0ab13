//! Master secrets: what an operator gives the server so that it can open this database's keys.

use data_encoding::BASE64URL_NOPAD;
use zeroize::{Zeroize, Zeroizing};

use crate::derive::{Material, Purpose};
use crate::error::VaultError;
use crate::instance::InstanceId;
use crate::mac::Mac;
use crate::random::{Random, secret_bytes};

const LEAST_CHARACTERS: usize = 32;

/// What is MACed to make a check value; it only has to be constant.
const CHECK_TEXT: &[u8] = b"otpd/1/this is the master secret";

/// A master secret: 32 characters or more. Wiped on drop.
pub struct MasterSecret(Zeroizing<String>);

impl MasterSecret {
    /// Takes a secret from the configuration or a file and wipes the text passed in.
    ///
    /// White space at both ends is not part of it, so that a file ending in a newline and an
    /// environment variable without one mean the same secret.
    ///
    /// # Errors
    /// [`VaultError::MasterSecretTooShort`] below 32 characters.
    pub fn new(mut text: String) -> Result<MasterSecret, VaultError> {
        let secret = Zeroizing::new(text.trim().to_owned());
        text.zeroize();
        if secret.chars().count() < LEAST_CHARACTERS {
            return Err(VaultError::MasterSecretTooShort);
        }
        Ok(MasterSecret(secret))
    }

    /// A new secret of 256 random bits, as 43 characters of base64url.
    pub fn generate(random: &dyn Random) -> MasterSecret {
        let bytes = secret_bytes::<32>(random);
        MasterSecret(Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice())))
    }

    /// The text, only for writing a newly made secret into its file.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value stored in the database by which this secret is recognised at the next start.
    ///
    /// It tells nothing about the subkeys, but lets whoever holds it test guesses of the secret:
    /// that is why short secrets are refused.
    pub fn check_value(&self, instance: InstanceId) -> [u8; 32] {
        check_value(&self.material(instance))
    }

    pub(crate) fn material(&self, instance: InstanceId) -> Material {
        Material::extract(&instance.0, self.0.as_bytes())
    }
}

pub(crate) fn check_value(material: &Material) -> [u8; 32] {
    Mac::new(&material.subkey(Purpose::MasterCheck)).of(&[CHECK_TEXT])
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::random::counting::Counting;

    #[test]
    fn length_rule() {
        #[track_caller]
        fn check(text: &str, accepted: bool) {
            let refusal = MasterSecret::new(text.to_owned()).err();
            let expected = (!accepted).then_some(VaultError::MasterSecretTooShort);
            assert_eq!(refusal, expected, "{text:?}");
        }
        check("", false);
        check(&"a".repeat(31), false);
        check(&"a".repeat(32), true);
        check(&format!("{}\n", "a".repeat(31)), false);
        check(&format!("  {}\n", "a".repeat(32)), true);
        check(&" ".repeat(40), false);
        // Characters, not bytes.
        check(&"ä".repeat(31), false);
        check(&"ä".repeat(32), true);
    }

    #[test]
    fn refusal_says_what_to_do_and_not_the_secret() {
        let text = VaultError::MasterSecretTooShort.to_string();
        assert!(text.contains("32 characters or more"), "{text}");
    }

    #[test]
    fn a_final_newline_changes_nothing() {
        let instance = InstanceId([3; 16]);
        let of = |text: &str| {
            let secret = MasterSecret::new(text.to_owned());
            secret.map(|secret| secret.check_value(instance))
        };
        let plain = "correct horse battery staple, twice";
        assert_eq!(of(plain), of(&format!("{plain}\r\n")));
        assert_ne!(of(plain), of(&format!("{plain}.")));
    }

    #[test]
    fn a_made_secret_is_accepted_again() {
        let made = MasterSecret::generate(&Counting::new());
        assert_eq!(made.expose(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        let read = MasterSecret::new(format!("{}\n", made.expose()));
        assert_eq!(
            read.map(|secret| secret.check_value(InstanceId([1; 16]))),
            Ok(made.check_value(InstanceId([1; 16])))
        );
    }

    #[test]
    fn check_value_depends_on_the_database() {
        let secret = MasterSecret::generate(&Counting::new());
        assert_ne!(
            secret.check_value(InstanceId([1; 16])),
            secret.check_value(InstanceId([2; 16]))
        );
    }

    /// Frozen: another value here would lock every existing database out.
    #[test]
    fn check_value_is_frozen() {
        let secret = MasterSecret::generate(&Counting::new());
        assert_eq!(
            HEXLOWER.encode(&secret.check_value(InstanceId([9; 16]))),
            "ea839420ce9c6f3ac9a843c4ee1bc381d1fcdb1d6603b4753a7ab303d66decdc"
        );
    }
}
