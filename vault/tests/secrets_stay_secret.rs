//! No type that holds a secret can be printed or copied: this file stops compiling when one can.

use std::fmt::{Debug, Display};

use vault::{
    Keyring, MasterSecret, PasswordHasher, Root, SharedSecret, SigningKey, SigningSeed, Spoken,
    Unlocked,
};

/// Each trait gives every type one implementation, and a second one to types that have the unwanted
/// trait: the call below is then ambiguous, which the compiler refuses.
macro_rules! never_implements {
    ($unwanted:path: $($secret:ty),+) => {{
        trait Ambiguous<Marker> {
            fn is_absent() -> bool {
                true
            }
        }
        struct Present;
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: ?Sized + $unwanted> Ambiguous<Present> for T {}
        $(assert!(<$secret as Ambiguous<_>>::is_absent());)+
    }};
}

#[test]
fn secrets_can_be_neither_printed_nor_copied() {
    never_implements!(Debug: Keyring, MasterSecret, Root, SharedSecret, SigningKey, SigningSeed, Spoken, Unlocked);
    never_implements!(Display: Keyring, MasterSecret, Root, SharedSecret, SigningKey, SigningSeed, Spoken, Unlocked);
    never_implements!(Clone: Keyring, MasterSecret, Root, SharedSecret, SigningKey, SigningSeed, Spoken, Unlocked);
}

#[test]
fn keyed_states_are_wiped_on_drop() {
    // The features that make it so are easily lost in a manifest; without them this does not compile.
    fn wiped<T: zeroize::ZeroizeOnDrop>() {}
    // An HMAC's state is two SHA-256 states and nothing else.
    wiped::<sha2::Sha256>();
    wiped::<chacha20poly1305::XChaCha20Poly1305>();
    // The memory in which a password was hashed.
    fn can_be_wiped<T: zeroize::Zeroize>() {}
    can_be_wiped::<argon2::Block>();
}

#[test]
fn the_keyed_rooms_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Keyring>();
    shared::<Root>();
    shared::<SigningKey>();
    shared::<SharedSecret>();
    shared::<PasswordHasher>();
}
