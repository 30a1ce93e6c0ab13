//! How many connections each network address has, so that no single one can take all slots.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::address::TrustedProxies;

/// The connections of each address. Its memory is bounded by the connections there are.
pub(super) struct Shares {
    most: usize,
    unlimited: TrustedProxies,
    open: Mutex<HashMap<u128, usize>>,
}

/// One connection of an address, given back on drop; nothing for an address without a limit.
pub(super) struct Share(Option<(Arc<Shares>, u128)>);

impl Shares {
    /// At most `most` connections of each address outside the `unlimited` networks.
    pub(super) fn new(most: usize, unlimited: &[(IpAddr, u8)]) -> Self {
        Self {
            most,
            unlimited: TrustedProxies::new(unlimited),
            open: Mutex::default(),
        }
    }

    /// One more connection of the address; `None` when it has as many as it may have.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        if self.unlimited.trusts(address) {
            return Some(Share(None));
        }
        let holder = holder(address);
        let mut open = self.lock();
        let count = open.entry(holder).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share(Some((Arc::clone(self), holder))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        // Nothing in here can panic half-way through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, holder)) = self.0.take() else {
            return;
        };
        let mut open = shares.lock();
        if let Some(count) = open.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&holder);
            }
        }
    }
}

/// Who stands behind an address: a host on IPv6 can take any address of its /64.
fn holder(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_gets_its_share_and_no_more() {
        let proxies = [(address("10.0.0.0"), 8), (address("::1"), 128)];
        let shares = Arc::new(Shares::new(2, &proxies));
        let check = |first: &str, other: &str, is_same: bool| {
            let held = [first, first].map(|text| shares.take(address(text)).unwrap());
            assert_eq!(shares.take(address(other)).is_none(), is_same, "{other}");
            drop(held);
            assert!(shares.take(address(other)).is_some(), "{other}");
            assert!(shares.lock().is_empty(), "all are given back");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("2001:db8::1", "2001:db8::ffff:0:0:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("10.1.2.3", "10.1.2.3", false);
        check("::1", "::1", false);
    }
}
