//! Derives every subkey of the room with HKDF-SHA256 (RFC 5869), with all purpose labels in one list.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// A derived key, wiped on drop.
pub(crate) type SubKey = Zeroizing<[u8; 32]>;

/// What a subkey is for. One key never serves two purposes, so that no output of one can be passed
/// off as an output of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    MasterSeal,
    MasterCheck,
    MasterDeviceBirth,
    RootAuditChain,
    RootApiKey,
    RootIdempotencyId,
    RootIdempotencyFingerprint,
    RootIdempotencyAnswer,
    RootSearchTerm,
    RootOneTimeCode,
    RootOneTimeToken,
    RootMail,
    RootRateKey,
    /// The key of one single answer, made from the subkey `RootIdempotencyAnswer`.
    Answer,
}

impl Purpose {
    /// The HKDF `info`. Changing one makes what existing databases hold unreadable.
    pub(crate) const fn label(self) -> &'static [u8] {
        match self {
            Purpose::MasterSeal => b"otpd/1/master/seal",
            Purpose::MasterCheck => b"otpd/1/master/check",
            Purpose::MasterDeviceBirth => b"otpd/1/master/device-birth",
            Purpose::RootAuditChain => b"otpd/1/root/audit-chain",
            Purpose::RootApiKey => b"otpd/1/root/api-key",
            Purpose::RootIdempotencyId => b"otpd/1/root/idempotency-id",
            Purpose::RootIdempotencyFingerprint => b"otpd/1/root/idempotency-fingerprint",
            Purpose::RootIdempotencyAnswer => b"otpd/1/root/idempotency-answer",
            Purpose::RootSearchTerm => b"otpd/1/root/search-term",
            Purpose::RootOneTimeCode => b"otpd/1/root/one-time-code",
            Purpose::RootOneTimeToken => b"otpd/1/root/one-time-token",
            Purpose::RootMail => b"otpd/1/root/mail",
            Purpose::RootRateKey => b"otpd/1/root/rate-key",
            Purpose::Answer => b"otpd/1/answer/",
        }
    }
}

/// Key material after HKDF-Extract, from which subkeys are expanded. Wiped on drop.
pub(crate) struct Material(Hkdf<Sha256>);

impl Material {
    pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> Material {
        Material(Hkdf::new(Some(salt), secret))
    }

    pub(crate) fn subkey(&self, purpose: Purpose) -> SubKey {
        self.subkey_for(purpose, b"")
    }

    /// The subkey for one `input` of a purpose. Unambiguous because a `Material` is used either for
    /// labels alone or for a single label with inputs.
    pub(crate) fn subkey_for(&self, purpose: Purpose, input: &[u8]) -> SubKey {
        let mut key = SubKey::default();
        self.0
            .expand_multi_info(&[purpose.label(), input], key.as_mut_slice())
            .expect("HKDF-SHA256 refuses only more than 8,160 bytes of output; this asks for 32");
        key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use data_encoding::HEXLOWER;

    use super::*;

    const ALL: [Purpose; 14] = [
        Purpose::MasterSeal,
        Purpose::MasterCheck,
        Purpose::MasterDeviceBirth,
        Purpose::RootAuditChain,
        Purpose::RootApiKey,
        Purpose::RootIdempotencyId,
        Purpose::RootIdempotencyFingerprint,
        Purpose::RootIdempotencyAnswer,
        Purpose::RootSearchTerm,
        Purpose::RootOneTimeCode,
        Purpose::RootOneTimeToken,
        Purpose::RootMail,
        Purpose::RootRateKey,
        Purpose::Answer,
    ];

    /// RFC 5869, appendix A.1, first 32 bytes of the output.
    #[test]
    fn hkdf_is_wired_as_in_the_rfc() {
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let material = Material::extract(&salt, &[0x0b; 22]);
        let mut key = [0; 32];
        material.0.expand(&info, &mut key).expect("32 bytes");
        assert_eq!(
            HEXLOWER.encode(&key),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn every_purpose_has_a_key_of_its_own() {
        let material = Material::extract(b"salt", b"secret");
        let keys: HashSet<[u8; 32]> = ALL.iter().map(|&p| *material.subkey(p)).collect();
        assert_eq!(keys.len(), ALL.len());
    }

    #[test]
    fn salt_secret_and_input_all_matter() {
        let base = Material::extract(b"salt", b"secret").subkey(Purpose::MasterSeal);
        let others = [
            Material::extract(b"salT", b"secret").subkey(Purpose::MasterSeal),
            Material::extract(b"salt", b"secreT").subkey(Purpose::MasterSeal),
            Material::extract(b"salt", b"secret").subkey_for(Purpose::MasterSeal, b"x"),
        ];
        for other in others {
            assert_ne!(*base, *other);
        }
    }
}
