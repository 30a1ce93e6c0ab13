//! Names of rate counters that leave the database: keyed, so that whoever reads them learns nobody's address.

use crate::root::Root;

impl Root {
    /// The name of the counter of `source` (an address, a user, an API key) under one
    /// `limit`. Two databases that share one Redis never meet at a name, as each has a root
    /// of its own; without the root a name cannot be guessed back.
    pub fn rate_key(&self, limit: &str, source: &str) -> [u8; 16] {
        let mac = self
            .rate_key
            .of_fields([limit.as_bytes(), source.as_bytes()]);
        let mut name = [0; 16];
        name.copy_from_slice(&mac[..16]);
        name
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use crate::Root;
    use crate::random::counting::Counting;

    #[test]
    fn a_name_depends_on_limit_source_and_their_border() {
        let random = Counting::new();
        let (root, other) = (Root::generate(&random), Root::generate(&random));
        let name = root.rate_key("logins", "10.0.0.1");
        assert_eq!(name, root.rate_key("logins", "10.0.0.1"));
        assert_ne!(name, other.rate_key("logins", "10.0.0.1"));
        for (limit, source) in [
            ("signups", "10.0.0.1"),
            ("logins", "10.0.0.2"),
            ("logins1", "0.0.0.1"),
        ] {
            assert_ne!(name, root.rate_key(limit, source), "{limit} {source}");
        }
    }

    /// Frozen: nodes of two releases must meet at the same counters.
    #[test]
    fn name_is_frozen() {
        let name = Root::generate(&Counting::new()).rate_key("logins", "10.0.0.1");
        assert_eq!(HEXLOWER.encode(&name), "397aef0b78bb2cf3e6c4750fb4759e00");
    }
}
