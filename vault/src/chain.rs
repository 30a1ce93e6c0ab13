//! The MAC on each link of the audit chain, which nobody with database access alone can make.

use subtle::ConstantTimeEq;

use crate::root::Root;

impl Root {
    /// The MAC of one link: HMAC-SHA256 cut to 128 bits (RFC 2104, section 5). It is computed once
    /// per event and stored in each, and a forger has no oracle to try values against.
    pub fn chain_mac(&self, link: &[u8; 32]) -> [u8; 16] {
        let [left, _] = halves(self.audit_chain.of(&[link]));
        left
    }

    /// Whether `stored` is the MAC of the link, in constant time.
    pub fn chain_mac_matches(&self, link: &[u8; 32], stored: &[u8; 16]) -> bool {
        self.chain_mac(link).ct_eq(stored).into()
    }
}

fn halves(mac: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    halves.as_flattened_mut().copy_from_slice(&mac);
    halves
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use crate::Root;
    use crate::random::counting::Counting;

    #[test]
    fn a_changed_link_or_mac_is_found() {
        let root = Root::generate(&Counting::new());
        let link = [5; 32];
        let mac = root.chain_mac(&link);
        assert!(root.chain_mac_matches(&link, &mac));
        for position in 0..32 {
            let mut changed = link;
            changed[position] ^= 1;
            assert!(!root.chain_mac_matches(&changed, &mac), "link, {position}");
        }
        for position in 0..16 {
            let mut changed = mac;
            changed[position] ^= 1;
            assert!(!root.chain_mac_matches(&link, &changed), "MAC, {position}");
        }
    }

    /// Frozen: with another value every stored chain would count as forged.
    #[test]
    fn chain_mac_is_frozen() {
        let mac = Root::generate(&Counting::new()).chain_mac(&[5; 32]);
        assert_eq!(HEXLOWER.encode(&mac), "9407e88b6b590eb228adf268dd3d1451");
    }
}
