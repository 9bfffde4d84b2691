//! How many connections each client address has, over all cores.
//!
//! Asked once when a connection comes and once when it goes, never for a request: a lock on one of many
//! shards costs nothing beside an accept. An address without connections takes no memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;

use parking_lot::Mutex;

use crate::live::Live;

/// Enough that cores seldom meet at one.
const SHARDS: usize = 64;

/// What counts as one address: an IPv4 address, or the /64 that an IPv6 host has all to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        // A listener on `[::]` sees IPv4 clients as `::ffff:a.b.c.d`, which would all share one /64.
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// What came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is in, and has to leave.
    Counted,
    /// It is in; nobody counts.
    Uncounted,
    /// There is no room.
    Refused,
}

/// Connections by address.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `None` lets one address take every seat.
    max: Live<Option<NonZeroUsize>>,
    shards: [Mutex<HashMap<Address, usize>>; SHARDS],
    hasher: RandomState,
}

impl Addresses {
    /// Returns counts that let `max` connections of one address in.
    pub(super) fn new(max: Option<NonZeroUsize>) -> Self {
        Self {
            max: Live::new(max),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Goes by another bound from now on. Who is in stays.
    pub(super) fn set_max(&self, max: Option<NonZeroUsize>) {
        self.max.set(max);
    }

    /// Counts a connection in, if there is room for it.
    pub(super) fn enter(&self, address: Address) -> Entered {
        let Some(max) = self.max.get() else {
            return Entered::Uncounted;
        };
        let mut shard = self.shard(address).lock();
        let count = shard.entry(address).or_default();
        if *count >= max.get() {
            return Entered::Refused;
        }
        *count += 1;
        Entered::Counted
    }

    /// Counts out a connection that was let in.
    pub(super) fn leave(&self, address: Address) {
        let mut shard = self.shard(address).lock();
        let left = shard.get_mut(&address).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            shard.remove(&address);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    fn shard(&self, address: Address) -> &Mutex<HashMap<Address, usize>> {
        &self.shards[self.hasher.hash_one(address) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_host_is_one_address_however_it_comes() {
        for (one, other, is_same) in [
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "127.0.0.1", false),
        ] {
            assert_eq!(address(one) == address(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn an_address_has_its_bound_to_itself_and_gets_its_seats_back() {
        let addresses = Addresses::new(NonZeroUsize::new(2));
        let enters = |address| addresses.enter(address) == Entered::Counted;
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        assert!(enters(one) && enters(one));
        assert!(!enters(one) && enters(other));
        addresses.leave(one);
        assert!(enters(one) && !enters(one));
        addresses.leave(one);
        addresses.leave(one);
        addresses.leave(other);
        assert!(addresses.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}
