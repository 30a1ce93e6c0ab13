//! Tests of the keyring: unlocking, rotation, and that a sealed value opens in its own place only.

use data_encoding::HEXLOWER;

use super::samples::{INSTANCE, PLACE, keyring, secret};
use super::*;
use crate::random::counting::Counting;

fn known(entries: &[(u32, char)]) -> Vec<KnownVersion> {
    let entry = |&(version, letter): &(u32, char)| KnownVersion {
        version: KeyVersion(version),
        check: secret(letter).check_value(INSTANCE),
    };
    entries.iter().map(entry).collect()
}

fn unlock(entries: &[(u32, char)], active: u32, given: &str) -> Result<Unlocked, UnlockError> {
    let secrets = given.chars().map(secret).collect();
    Keyring::unlock(INSTANCE, &known(entries), KeyVersion(active), secrets)
}

#[test]
fn unlock_finds_out_which_secret_is_which() {
    #[track_caller]
    fn check(entries: &[(u32, char)], active: u32, given: &str, held: &[u32], unknown: &str) {
        let unlocked = unlock(entries, active, given).expect("unlocks");
        assert_eq!(unlocked.keyring.active(), KeyVersion(active));
        let versions: Vec<u32> = unlocked.keyring.known().map(|k| k.version.0).collect();
        assert_eq!(versions, held);
        let texts: Vec<&str> = unlocked.unknown.iter().map(MasterSecret::expose).collect();
        let expected: Vec<MasterSecret> = unknown.chars().map(secret).collect();
        let expected: Vec<&str> = expected.iter().map(MasterSecret::expose).collect();
        assert_eq!(texts, expected);
    }
    let two = [(1, 'a'), (2, 'b')];
    check(&[(1, 'a')], 1, "a", &[1], "");
    check(&two, 2, "b", &[2], "");
    check(&two, 2, "ba", &[2, 1], "");
    check(&two, 1, "ab", &[1, 2], "");
    // The first start of a rotation: the new secret is not known yet.
    check(&[(1, 'a')], 1, "ba", &[1], "b");
    check(&two, 2, "bcd", &[2], "cd");
    // One secret given twice is one secret.
    check(&[(1, 'a')], 1, "aa", &[1], "");
    check(&[(1, 'a')], 1, "bab", &[1], "b");
}

#[test]
fn unlock_refuses_what_cannot_serve() {
    #[track_caller]
    fn check(entries: &[(u32, char)], active: u32, given: &str, error: UnlockError, says: &str) {
        assert_eq!(unlock(entries, active, given).err(), Some(error));
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
    }
    let two = [(1, 'a'), (2, 'b')];
    let active = KeyVersion(2);
    let wrong = UnlockError::WrongSecret { active };
    check(&two, 2, "c", wrong, "does not belong to this database");
    check(&two, 2, "", UnlockError::NoSecret, "MASTER_SECRET");
    let given = KeyVersion(1);
    let other = UnlockError::OtherVersion { active, given };
    check(&two, 2, "ca", other, "MASTER_SECRET_PREVIOUS");
    let active = KeyVersion(3);
    let damaged = UnlockError::ActiveUnknown { active };
    check(&two, 3, "ab", damaged, "restore it from a backup");
}

#[test]
fn another_database_does_not_know_the_secret() {
    let unlocked = Keyring::unlock(
        InstanceId([8; 16]),
        &known(&[(1, 'a')]),
        KeyVersion(1),
        vec![secret('a')],
    );
    let active = KeyVersion(1);
    assert_eq!(unlocked.err(), Some(UnlockError::WrongSecret { active }));
}

#[test]
fn a_changed_check_value_is_not_recognised() {
    for position in 0..32 {
        let mut entries = known(&[(1, 'a')]);
        entries[0].check[position] ^= 0x80;
        let unlocked = Keyring::unlock(INSTANCE, &entries, KeyVersion(1), vec![secret('a')]);
        assert!(unlocked.is_err(), "byte {position}");
    }
}

#[test]
fn rotation_reseals_and_lets_the_old_secret_go() {
    let random = Counting::new();
    let mut old = keyring();
    let sealed = old.seal(PLACE, b"device key", &random);
    assert_eq!(sealed.version, KeyVersion(1));

    let added = old.add_version(KeyVersion(2), &secret('b')).expect("free");
    assert_eq!(vec![added], known(&[(2, 'b')]));
    assert_eq!(old.active(), KeyVersion(1), "adding is not activating");
    old.activate(KeyVersion(2)).expect("held");
    assert_eq!(old.active(), KeyVersion(2));
    let resealed = old
        .reseal(PLACE, sealed.version, &sealed.bytes, &random)
        .expect("opens");
    assert_eq!(resealed.version, KeyVersion(2));

    let new = unlock(&[(1, 'a'), (2, 'b')], 2, "b").expect("unlocks");
    let new = new.keyring;
    let opened = new.open(PLACE, resealed.version, &resealed.bytes);
    assert_eq!(opened.as_deref().map(Vec::as_slice), Ok(&b"device key"[..]));
    assert!(new.holds(KeyVersion(2)) && !new.holds(KeyVersion(1)));
    assert_eq!(
        new.open(PLACE, sealed.version, &sealed.bytes),
        Err(OpenError::VersionNotHeld(KeyVersion(1)))
    );
}

#[test]
fn a_version_is_added_once_and_activated_when_held() {
    let mut keyring = keyring();
    let add = |keyring: &mut Keyring, version, letter| {
        keyring
            .add_version(KeyVersion(version), &secret(letter))
            .err()
    };
    let taken = VaultError::VersionTaken(KeyVersion(1));
    assert_eq!(add(&mut keyring, 1, 'b'), Some(taken));
    let same = VaultError::SecretTaken(KeyVersion(1));
    assert_eq!(add(&mut keyring, 2, 'a'), Some(same));
    let not_held = VaultError::VersionNotHeld(KeyVersion(2));
    assert_eq!(keyring.activate(KeyVersion(2)), Err(not_held));
    assert_eq!(keyring.active(), KeyVersion(1));
}

#[test]
fn a_sealed_value_opens_in_its_own_place_only() {
    let keyring = keyring();
    let sealed = keyring.seal(PLACE, b"device key", &Counting::new());
    let check = |keyring: &Keyring, place: Place<'_>, opens: bool| {
        let opened = keyring.open(place, sealed.version, &sealed.bytes);
        assert_eq!(opened.is_ok(), opens, "{place:?}");
        if !opens {
            assert_eq!(opened, Err(OpenError::Damaged));
        }
    };
    check(&keyring, PLACE, true);
    check(
        &keyring,
        Place {
            table: "device_key",
            ..PLACE
        },
        false,
    );
    check(&keyring, Place { table: "", ..PLACE }, false);
    check(&keyring, Place { id: 43, ..PLACE }, false);
    check(&keyring, Place { id: -42, ..PLACE }, false);
    check(
        &keyring,
        Place {
            column: "Secret",
            ..PLACE
        },
        false,
    );
    // The same letters, divided otherwise.
    let (table, column) = ("device_keyss", "ecret");
    check(
        &keyring,
        Place {
            table,
            column,
            ..PLACE
        },
        false,
    );
    // Another database with the same master secret, and this one with another secret.
    check(
        &Keyring::create(InstanceId([8; 16]), &secret('a')),
        PLACE,
        false,
    );
    check(&Keyring::create(INSTANCE, &secret('b')), PLACE, false);
}

#[test]
fn a_sealed_value_opens_under_its_own_version_only() {
    let mut keyring = keyring();
    keyring
        .add_version(KeyVersion(2), &secret('b'))
        .expect("free");
    let sealed = keyring.seal(PLACE, b"device key", &Counting::new());
    let open = |version| keyring.open(PLACE, KeyVersion(version), &sealed.bytes);
    assert!(open(1).is_ok());
    assert_eq!(open(2), Err(OpenError::Damaged));
    assert_eq!(open(3), Err(OpenError::VersionNotHeld(KeyVersion(3))));

    // The version is bound too, not only the key it names: the same secret under another number.
    let renamed = unlock(&[(7, 'a')], 7, "a").expect("unlocks").keyring;
    let opened = renamed.open(PLACE, KeyVersion(7), &sealed.bytes);
    assert_eq!(opened, Err(OpenError::Damaged));
}

/// Frozen: derivation, binding and cipher together. A change here makes every stored key unreadable.
#[test]
fn sealed_bytes_are_frozen() {
    let sealed = keyring().seal(PLACE, b"12345678901234567890", &Counting::new());
    assert_eq!(
        HEXLOWER.encode(&sealed.bytes),
        "000102030405060708090a0b0c0d0e0f101112131415161797aa434daf03e37b025215ddf7dc337b93c3e76b7e2e14a22d9f3dae237fec7f16533269"
    );
}
