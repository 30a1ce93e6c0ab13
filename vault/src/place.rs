//! Where a sealed value stands, as the bytes that bind it there.

use crate::instance::{InstanceId, KeyVersion};
use crate::mac::length_prefix;

const LABEL: &[u8] = b"otpd/1/sealed-at";

/// The cell that a sealed value is bound to: opened anywhere else it counts as damaged, so that
/// write access to the database is not enough to give one user another user's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The row's internal id, which is never reused.
    pub id: i64,
    /// The column's name.
    pub column: &'a str,
}

impl Place<'_> {
    /// The associated data of the cipher. Fixed-length fields come first and each name comes after
    /// its length, so that two different places never give the same bytes.
    pub(crate) fn binding(&self, instance: InstanceId, version: KeyVersion) -> Vec<u8> {
        let (table, column) = (self.table.as_bytes(), self.column.as_bytes());
        let fixed = LABEL.len() + 16 + 4 + 8 + 8 + 8;
        let mut bytes = Vec::with_capacity(fixed + table.len() + column.len());
        bytes.extend_from_slice(LABEL);
        bytes.extend_from_slice(&instance.0);
        bytes.extend_from_slice(&version.0.to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        for name in [table, column] {
            bytes.extend_from_slice(&length_prefix(name));
            bytes.extend_from_slice(name);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout_is_frozen() {
        let place = Place {
            table: "devices",
            id: -2,
            column: "key",
        };
        let mut expected = b"otpd/1/sealed-at".to_vec();
        expected.extend([9; 16]);
        expected.extend([0, 0, 0, 5]);
        expected.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        expected.extend(b"\0\0\0\0\0\0\0\x07devices\0\0\0\0\0\0\0\x03key");
        let bytes = place.binding(InstanceId([9; 16]), KeyVersion(5));
        assert_eq!(bytes, expected);
        assert_eq!(bytes.capacity(), bytes.len(), "one allocation");
    }

    proptest! {
        #[test]
        fn different_places_give_different_bytes(
            left in ("[ab]{0,3}", -2i64..2, "[ab]{0,3}"),
            right in ("[ab]{0,3}", -2i64..2, "[ab]{0,3}"),
        ) {
            let of = |(table, id, column): &(String, i64, String)| {
                Place { table, id: *id, column }.binding(InstanceId([0; 16]), KeyVersion(1))
            };
            prop_assert_eq!(left == right, of(&left) == of(&right));
        }
    }
}
