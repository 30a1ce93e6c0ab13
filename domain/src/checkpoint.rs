//! A checkpoint: a signed statement of where every audit chain stood at one time.

use serde::{Deserialize, Serialize};

use crate::chain::{ChainName, Head};
use crate::time::Time;

/// The signing context, kept apart from everything else that keys of ours sign.
pub const CONTEXT: &str = "otpd audit checkpoint v1";

/// Where one chain stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Which chain.
    pub name: ChainName,
    /// Its last event.
    pub head: Head,
}

/// A checkpoint as it is exported and read back: JSON, binary values in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Number of the checkpoint in its database, from 1.
    pub id: i64,
    /// The instance (database) it speaks of, 32 hexadecimal digits.
    pub instance: String,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// All chains, sorted by name.
    pub heads: Vec<ExportedHead>,
    /// Which key signed it.
    pub kid: String,
    /// The signing key's public half (Ed25519, 32 bytes).
    pub public_key: String,
    /// Ed25519 signature (64 bytes) over [`message`].
    pub signature: String,
}

/// One line of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedHead {
    /// The chain's random name, 32 hexadecimal digits.
    pub chain: String,
    /// Events in it.
    pub seq: i64,
    /// The link of the last one, 64 hexadecimal digits.
    pub link: String,
}

/// The bytes that are signed: instance, number, time and all heads, each of fixed length.
/// The caller sorts the heads by name; [`sorted`] does.
pub fn message(instance: &[u8; 16], id: i64, at: Time, heads: &[ChainHead]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + heads.len() * 56);
    bytes.extend_from_slice(instance);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&at.millis().to_be_bytes());
    bytes.extend_from_slice(&(heads.len() as u64).to_be_bytes());
    for ChainHead { name, head } in heads {
        bytes.extend_from_slice(&name.0);
        bytes.extend_from_slice(&head.seq.to_be_bytes());
        bytes.extend_from_slice(&head.link.0);
    }
    bytes
}

/// The heads in the order in which they are signed.
#[must_use]
pub fn sorted(mut heads: Vec<ChainHead>) -> Vec<ChainHead> {
    heads.sort_by_key(|entry| entry.name);
    heads
}

impl Checkpoint {
    /// The heads as values; `None` when a field is not hexadecimal of the right length.
    pub fn chain_heads(&self) -> Option<Vec<ChainHead>> {
        self.heads
            .iter()
            .map(|head| {
                Some(ChainHead {
                    name: ChainName(unhex(&head.chain)?),
                    head: Head {
                        seq: head.seq,
                        link: crate::chain::Link(unhex(&head.link)?),
                    },
                })
            })
            .collect()
    }

    /// The bytes that its signature covers; `None` when a field is malformed.
    pub fn signed_message(&self) -> Option<Vec<u8>> {
        let heads = self.chain_heads()?;
        let at = Time::from_millis(self.at);
        Some(message(&unhex(&self.instance)?, self.id, at, &heads))
    }
}

impl From<&ChainHead> for ExportedHead {
    fn from(entry: &ChainHead) -> Self {
        Self {
            chain: hex(&entry.name.0),
            seq: entry.head.seq,
            link: hex(&entry.head.link.0),
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The bytes of a hexadecimal text of exactly that length.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Link;

    fn head(name: u8, seq: i64) -> ChainHead {
        ChainHead {
            name: ChainName([name; 16]),
            head: Head {
                seq,
                link: Link([name; 32]),
            },
        }
    }

    #[test]
    fn the_message_depends_on_everything_but_the_order_given() {
        let at = Time::from_millis(5);
        let base = message(&[1; 16], 1, at, &sorted(vec![head(1, 1), head(2, 2)]));
        let same = message(&[1; 16], 1, at, &sorted(vec![head(2, 2), head(1, 1)]));
        assert_eq!(base, same);
        let check = |other: Vec<u8>| assert_ne!(base, other);
        check(message(&[2; 16], 1, at, &[head(1, 1), head(2, 2)]));
        check(message(&[1; 16], 2, at, &[head(1, 1), head(2, 2)]));
        check(message(&[1; 16], 1, at, &[head(1, 1), head(2, 3)]));
        check(message(&[1; 16], 1, at, &[head(1, 1)]));
    }

    #[test]
    fn an_exported_checkpoint_signs_the_same_message() {
        let heads = sorted(vec![head(3, 4), head(1, 9)]);
        let checkpoint = Checkpoint {
            id: 7,
            instance: hex(&[5; 16]),
            at: 12,
            heads: heads.iter().map(ExportedHead::from).collect(),
            kid: "k".into(),
            public_key: hex(&[0; 32]),
            signature: hex(&[0; 64]),
        };
        let expected = message(&[5; 16], 7, Time::from_millis(12), &heads);
        assert_eq!(checkpoint.signed_message(), Some(expected));
        let broken = Checkpoint {
            instance: "xyz".into(),
            ..checkpoint
        };
        assert_eq!(broken.signed_message(), None);
    }
}
