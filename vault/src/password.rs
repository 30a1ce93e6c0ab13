//! Passwords: how they are hashed and compared (Argon2id, RFC 9106).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::BASE64_NOPAD;
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::random::Random;

pub use self::rules::{PasswordFault, check_password};

mod rules;

const SALT: usize = 16;
const OUTPUT: usize = 32;
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;

/// What a stored hash may ask for at most: whoever can write to the database shall not be able to
/// make one login take all memory or a whole day.
const MOST_MEMORY_KIB: u32 = 262_144;
const MOST_ITERATIONS: u32 = 16;
const MOST_LANES: u32 = 4;

/// Hashes passwords with Argon2id, and compares.
///
/// Every call keeps one processor busy, by design, and takes 19 MiB of memory, which is wiped
/// afterwards: run it in a bounded pool, never on a thread that serves others.
///
/// A password is hashed as the UTF-8 bytes of its NFC form, as RFC 8265 (OpaqueString) has it: two
/// keyboards may write one letter in different ways. Case and white space all count.
pub struct PasswordHasher {
    params: Params,
}

impl Default for PasswordHasher {
    fn default() -> PasswordHasher {
        PasswordHasher::new()
    }
}

impl PasswordHasher {
    /// 19,456 KiB of memory, two iterations, one lane.
    pub fn new() -> PasswordHasher {
        PasswordHasher::with_parameters(MEMORY_KIB, ITERATIONS)
    }

    /// Other costs, for tests; brought into the range that a stored hash may have (8 KiB to 256 MiB,
    /// 1 to 16 iterations).
    pub fn with_parameters(memory_kib: u32, iterations: u32) -> PasswordHasher {
        let memory = memory_kib.clamp(Params::MIN_M_COST, MOST_MEMORY_KIB);
        let iterations = iterations.clamp(Params::MIN_T_COST, MOST_ITERATIONS);
        PasswordHasher {
            params: params(memory, iterations, 1).expect("the costs were brought into range"),
        }
    }

    /// The hash as it is stored: a PHC string with the costs, 16 random bytes of salt and 32 bytes of
    /// hash (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`).
    pub fn hash(&self, password: &str, random: &dyn Random) -> String {
        let mut salt = [0; SALT];
        random.fill(&mut salt);
        let hash = compute(&self.params, password, &salt);
        phc(&self.params, &salt, hash.as_slice())
    }

    /// Whether this is the password that was hashed, with the costs that the stored text names.
    ///
    /// A text that is no hash made here, or asks for more work than is allowed, matches nothing, after
    /// the work of one comparison: from the time one cannot tell that the row is damaged.
    pub fn verify(&self, password: &str, stored: &str) -> bool {
        let found = Stored::parse(stored);
        let sound = found.is_some();
        let compared = found.unwrap_or_else(|| self.nobody());
        let hash = compute(&compared.params, password, &compared.salt);
        let same: bool = hash.ct_eq(&compared.hash).into();
        same && sound
    }

    /// The same work for a user who does not exist, so that the time does not tell who does.
    pub fn verify_nobody(&self, password: &str) {
        let nobody = self.nobody();
        let hash = compute(&nobody.params, password, &nobody.salt);
        // Keeps the compiler from leaving out work that nobody looks at.
        std::hint::black_box(hash.ct_eq(&nobody.hash));
    }

    fn nobody(&self) -> Stored {
        Stored {
            params: self.params.clone(),
            salt: vec![0; SALT],
            hash: [0; OUTPUT],
        }
    }
}

/// A stored hash, taken apart.
struct Stored {
    params: Params,
    salt: Vec<u8>,
    hash: [u8; OUTPUT],
}

impl Stored {
    fn parse(text: &str) -> Option<Stored> {
        let (costs, rest) = text.strip_prefix("$argon2id$v=19$")?.split_once('$')?;
        let (salt, hash) = rest.split_once('$')?;
        let mut costs = costs.split(',');
        let mut cost = |name: &str, most: u32| -> Option<u32> {
            let number: u32 = costs.next()?.strip_prefix(name)?.parse().ok()?;
            (number <= most).then_some(number)
        };
        let memory = cost("m=", MOST_MEMORY_KIB)?;
        let iterations = cost("t=", MOST_ITERATIONS)?;
        let lanes = cost("p=", MOST_LANES)?;
        let params = params(memory, iterations, lanes)?;
        let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
        let hash = BASE64_NOPAD.decode(hash.as_bytes()).ok()?;
        let hash: [u8; OUTPUT] = hash.try_into().ok()?;
        // Written again it must be the same text: nothing was left over, no number had a sign or
        // leading zeros.
        let whole = phc(&params, &salt, &hash) == text;
        let salted = (argon2::MIN_SALT_LEN..=64).contains(&salt.len());
        (whole && salted).then_some(Stored { params, salt, hash })
    }
}

fn params(memory_kib: u32, iterations: u32, lanes: u32) -> Option<Params> {
    Params::new(memory_kib, iterations, lanes, Some(OUTPUT)).ok()
}

fn phc(params: &Params, salt: &[u8], hash: &[u8]) -> String {
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
    format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
}

fn compute(params: &Params, password: &str, salt: &[u8]) -> Zeroizing<[u8; OUTPUT]> {
    #[cfg(test)]
    tests::count(params);
    let password = normal_form(password);
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    let mut hash = Zeroizing::new([0; OUTPUT]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            hash.as_mut_slice(),
            memory.as_mut_slice(),
        )
        .expect(
            "costs and lengths of salt and output were checked, and the memory is as asked for",
        );
    hash
}

/// NFC, which makes UTF-8 at most three times longer (Unicode Annex 15): one allocation, so that
/// growing leaves no part of the password behind.
fn normal_form(password: &str) -> Zeroizing<String> {
    let mut normal = Zeroizing::new(String::with_capacity(password.len() * 3));
    normal.extend(password.nfc());
    normal
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::random::counting::Counting;

    thread_local! {
        /// Blocks that this thread has computed.
        static WORK: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count(params: &Params) {
        let blocks = u64::from(params.m_cost()) * u64::from(params.t_cost());
        WORK.set(WORK.get() + blocks);
    }

    fn cheap() -> PasswordHasher {
        PasswordHasher::with_parameters(64, 2)
    }

    /// The reference implementation's own tests (phc-winner-argon2, src/test.c).
    #[test]
    fn argon2id_is_wired_as_in_the_reference() {
        for stored in [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ] {
            assert!(cheap().verify("password", stored), "{stored}");
            assert!(!cheap().verify("Password", stored), "{stored}");
        }
    }

    /// Frozen: with another value nobody could log in. Computed with the costs of production.
    #[test]
    fn hash_is_frozen() {
        let hasher = PasswordHasher::new();
        let stored = hasher.hash("correct horse", &Counting::new());
        assert_eq!(
            stored,
            "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$0AuQxA+RjPiJeA19Op7DwrFxnfh9xeTU2T6mFj2wThc"
        );
        assert!(hasher.verify("correct horse", &stored));
    }

    #[test]
    fn only_the_same_password_matches() {
        let hasher = cheap();
        let stored = hasher.hash("Pässword 1", &Counting::new());
        let check = |password: &str, same: bool| {
            assert_eq!(hasher.verify(password, &stored), same, "{password:?}");
        };
        check("Pässword 1", true);
        check("Pa\u{308}ssword 1", true);
        check("pässword 1", false);
        check("Password 1", false);
        check("Pässword 1 ", false);
        check("Pässword  1", false);
        check("Pässword １", false);
        check("", false);
    }

    #[test]
    fn every_hash_has_a_salt_of_its_own_and_keeps_its_costs() {
        let random = Counting::new();
        let (old, new) = (cheap(), PasswordHasher::with_parameters(128, 3));
        let first = old.hash("password", &random);
        assert_ne!(first, old.hash("password", &random));
        assert!(first.starts_with("$argon2id$v=19$m=64,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$"));
        assert!(new.verify("password", &first));
        assert!(old.verify("password", &new.hash("password", &random)));
    }

    #[test]
    fn costs_are_brought_into_range() {
        let check = |memory, iterations, costs: &str| {
            let params = PasswordHasher::with_parameters(memory, iterations).params;
            let phc = phc(&params, &[0; SALT], &[0; OUTPUT]);
            assert!(phc.contains(costs), "{phc}");
            assert!(Stored::parse(&phc).is_some(), "{phc}");
        };
        check(0, 0, "$m=8,t=1,p=1$");
        check(u32::MAX, u32::MAX, "$m=262144,t=16,p=1$");
        check(19_456, 2, "$m=19456,t=2,p=1$");
    }

    /// Returns the work of one call.
    fn work(call: impl FnOnce()) -> u64 {
        let before = WORK.get();
        call();
        WORK.get() - before
    }

    #[test]
    fn what_is_no_hash_matches_nothing_after_the_same_work() {
        let hasher = cheap();
        let sound = hasher.hash("password", &Counting::new());
        assert_eq!(work(|| assert!(hasher.verify("password", &sound))), 128);
        assert_eq!(work(|| hasher.verify_nobody("password")), 128);

        let no_salt = "$argon2id$v=19$m=64,t=2,p=1$$";
        let long = format!("{sound}$");
        let changed = |from: &str, to: &str| sound.replace(from, to);
        for damaged in [
            "",
            "$",
            "password",
            no_salt,
            &long,
            &changed("argon2id", "argon2i"),
            &changed("v=19", "v=16"),
            &changed("$v=19", ""),
            &changed("m=64,t=2", "t=2,m=64"),
            &changed("m=64", "m=064"),
            &changed("m=64", "m=+64"),
            &changed("m=64", "m=4294967295"),
            &changed("m=64", "m=262145"),
            &changed("m=64", "m=7"),
            &changed("t=2", "t=0"),
            &changed("t=2", "t=17"),
            &changed("p=1", "p=0"),
            &changed("p=1", "p=5"),
            &changed("p=1", "p=1,data=AAAA"),
            &changed("$AAEC", "$A*EC"),
            &changed("$AAECAwQFBgcICQoLDA0ODw$", "$AAECAwQFBg$"),
            &changed("ODw$", "ODx$"),
            &sound[..sound.len() - 1],
            &sound[..sound.len() - 2],
            &sound[1..],
        ] {
            let work = work(|| assert!(!hasher.verify("password", damaged), "{damaged:?}"));
            assert_eq!(work, 128, "{damaged:?}");
        }
    }

    /// The hash that a damaged text is compared with must not become a password for every account.
    #[test]
    fn nobody_has_no_password() {
        let nobody = cheap().nobody();
        let stored = phc(&nobody.params, &nobody.salt, &nobody.hash);
        assert!(!cheap().verify("", &stored));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_password_matches_its_hash(password in "\\PC{0,40}", other in "\\PC{0,40}") {
            let hasher = PasswordHasher::with_parameters(8, 1);
            let stored = hasher.hash(&password, &Counting::new());
            prop_assert!(hasher.verify(&password, &stored));
            let same = password.nfc().eq(other.nfc());
            prop_assert_eq!(hasher.verify(&other, &stored), same);
        }

        #[test]
        fn the_normal_form_is_one_allocation(password in "\\PC{0,200}") {
            let normal = normal_form(&password);
            prop_assert_eq!(normal.capacity(), password.len() * 3);
        }
    }
}
