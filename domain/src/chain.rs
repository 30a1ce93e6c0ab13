//! The audit chain: how an event is hashed onto the one before it.
//!
//! A link is SHA-256 over everything that went before, so anybody who has the log
//! and a signed checkpoint can check it without a key. Beside each link stands a MAC
//! (made by the vault), so that database access alone cannot write a new tail.

use sha2::{Digest, Sha256};

use crate::event::Event;
use crate::time::Time;

/// A hash that stands for a chain up to and including one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(pub [u8; 32]);

/// The random name of a chain, 16 bytes: a chain cannot be passed off as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName(pub [u8; 16]);

/// A random value per event, so that the digest of blanked fields cannot be guessed at.
pub type Salt = [u8; 16];

/// A place in a chain: the sequence number of the last event (0: none yet) and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Events so far; they are numbered from 1 without a gap.
    pub seq: i64,
    /// The link of the last one, or the chain's first link.
    pub link: Link,
}

/// The fields of a stored event that its link covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered<'a> {
    /// When, in the time of the batch.
    pub at: Time,
    /// The action's word, as stored.
    pub action: &'a str,
    /// 1 or 0, as stored.
    pub success: i64,
    /// Internal user id.
    pub user: Option<i64>,
    /// Internal device id.
    pub device: Option<i64>,
    /// The credential that asked.
    pub caller: &'a str,
    /// The request that asked.
    pub request_id: &'a str,
    /// JSON text, or empty.
    pub detail: &'a str,
    /// [`personal_digest`] of the personal fields, blanked or not.
    pub personal_digest: [u8; 32],
}

/// The link before a chain's first event. It names the chain that was the newest one
/// at its start, so that a vanished chain is missed.
pub fn first_link(name: ChainName, started: Time, predecessor: Option<(ChainName, Head)>) -> Link {
    let mut hash = Sha256::new();
    hash.update(b"otpd chain v1\0");
    hash.update(name.0);
    hash.update(started.millis().to_be_bytes());
    match predecessor {
        None => hash.update([0]),
        Some((name, head)) => {
            hash.update([1]);
            hash.update(name.0);
            hash.update(head.seq.to_be_bytes());
            hash.update(head.link.0);
        }
    }
    Link(hash.finalize().into())
}

/// SHA-256 over the salt and the stored text of the personal fields.
pub fn personal_digest(salt: &Salt, personal: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(personal.as_bytes());
    hash.finalize().into()
}

/// The link of event number `seq`, after `previous`. Every text is preceded by its
/// length, so that no two events hash the same bytes.
pub fn link(previous: &Link, name: ChainName, seq: i64, event: &Covered<'_>) -> Link {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"otpd event v1\0");
    bytes.extend_from_slice(&previous.0);
    bytes.extend_from_slice(&name.0);
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&event.at.millis().to_be_bytes());
    bytes.extend_from_slice(&event.success.to_be_bytes());
    for id in [event.user, event.device] {
        bytes.push(u8::from(id.is_some()));
        bytes.extend_from_slice(&id.unwrap_or(0).to_be_bytes());
    }
    for text in [event.action, event.caller, event.request_id, event.detail] {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&event.personal_digest);
    Link(Sha256::digest(&bytes).into())
}

/// The covered fields of an event about to be appended.
pub fn cover(event: &Event, at: Time, personal_digest: [u8; 32]) -> Covered<'_> {
    Covered {
        at,
        action: event.action.as_str(),
        success: i64::from(event.success),
        user: event.user.map(|id| id.0),
        device: event.device.map(|id| id.0),
        caller: &event.caller,
        request_id: &event.request_id,
        detail: &event.detail,
        personal_digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Covered<'static> {
        Covered {
            at: Time::from_millis(1_700_000_000_000),
            action: "OTP_VERIFICATION",
            success: 1,
            user: Some(7),
            device: None,
            caller: "key:abc",
            request_id: "r-1",
            detail: "",
            personal_digest: [9; 32],
        }
    }

    #[test]
    fn every_covered_field_changes_the_link() {
        let base = link(&Link([0; 32]), ChainName([1; 16]), 1, &sample());
        let check = |what: &str, change: &dyn Fn(&mut Covered<'static>)| {
            let mut event = sample();
            change(&mut event);
            let other = link(&Link([0; 32]), ChainName([1; 16]), 1, &event);
            assert_ne!(base, other, "{what}");
        };
        check("at", &|e| e.at = Time::from_millis(1));
        check("action", &|e| e.action = "KEY_CREATED");
        check("success", &|e| e.success = 0);
        check("user", &|e| e.user = Some(8));
        check("no user", &|e| e.user = None);
        check("device", &|e| e.device = Some(0));
        check("caller", &|e| e.caller = "key:abd");
        check("request", &|e| e.request_id = "r-2");
        check("detail", &|e| e.detail = "{}");
        check("digest", &|e| e.personal_digest = [8; 32]);
        check("moved border", &|e| {
            e.caller = "key:abcr";
            e.request_id = "-1";
        });
    }

    #[test]
    fn place_name_and_past_change_the_link() {
        let base = link(&Link([0; 32]), ChainName([1; 16]), 1, &sample());
        assert_ne!(base, link(&Link([1; 32]), ChainName([1; 16]), 1, &sample()));
        assert_ne!(base, link(&Link([0; 32]), ChainName([2; 16]), 1, &sample()));
        assert_ne!(base, link(&Link([0; 32]), ChainName([1; 16]), 2, &sample()));
    }

    #[test]
    fn the_first_link_names_the_predecessor() {
        let started = Time::from_millis(5);
        let head = Head {
            seq: 3,
            link: Link([3; 32]),
        };
        let before = ChainName([2; 16]);
        let name = ChainName([1; 16]);
        let base = first_link(name, started, Some((before, head)));
        assert_ne!(base, first_link(name, started, None));
        let later = Head { seq: 4, ..head };
        assert_ne!(base, first_link(name, started, Some((before, later))));
    }

    #[test]
    fn a_known_link_stays_what_it_was() {
        // Frozen: a change here would make every stored chain unprovable.
        let text = data_encoding::HEXLOWER
            .encode(&link(&Link([0; 32]), ChainName([1; 16]), 1, &sample()).0);
        assert_eq!(
            text,
            "fca392fcb8cf910fa5679042fc4a0c91aa30b487978735246cdbe6533900bb94"
        );
    }
}
