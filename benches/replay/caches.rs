//! Caches that are compared: ours, which is the production code, and peers as small as they can be.
//!
//! Things have dense numbers, so each finds what it knows of one in an array: what is timed is the policy.
//! All of them make room before they take something in, never have more bytes than the room, and let pass
//! what is larger than the room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use transship::store::policy::{Evict, Policy, Resident, Standing, Tuning, USES_MAX};

use super::list::{Chain, List};
use super::trace::{Request, Trace};

/// A cache that is asked for one thing after the other.
pub trait Cache {
    /// Answers one request: says whether it was a hit, and takes in what was not.
    fn ask(&mut self, at: usize, request: &Request) -> bool;

    /// Memory of the policy's own state for each resident, in bytes, where it is known.
    fn memory_each(&self) -> Option<f64> {
        None
    }
}

// ---- ours ----

/// The production policy, driven as the store drives it.
pub struct Ours {
    policy: Policy<Held>,
    items: Vec<Option<Held>>,
    room: u64,
}

/// What the store's entry is to the policy.
struct Item {
    id: u32,
    bytes: u64,
    uses: AtomicU8,
}

/// The store's index and the policy both hold the entry.
#[derive(Clone)]
struct Held(Arc<Item>);

impl Resident for Held {
    fn fingerprint(&self) -> u64 {
        // Digests are uniform, numbers are not.
        super::registry::Random(u64::from(self.0.id)).next()
    }

    fn size_bytes(&self) -> u64 {
        self.0.bytes
    }

    fn uses(&self) -> u8 {
        self.0.uses.load(Ordering::Relaxed)
    }

    fn set_uses(&self, uses: u8) {
        self.0.uses.store(uses, Ordering::Relaxed);
    }

    fn standing(&self) -> Standing {
        Standing::Evictable
    }
}

impl Ours {
    pub fn new(trace: &Trace, room: u64, tuning: Tuning) -> Self {
        let mut policy = Policy::tuned(tuning);
        policy.set_room(room);
        Self {
            policy,
            items: vec![None; trace.sizes.len()],
            room,
        }
    }
}

impl Cache for Ours {
    fn ask(&mut self, _: usize, request: &Request) -> bool {
        if let Some(item) = &self.items[request.id as usize] {
            let uses = item.0.uses.load(Ordering::Relaxed);
            if uses < USES_MAX {
                item.0.uses.store(uses + 1, Ordering::Relaxed);
            }
            return true;
        }
        if request.bytes > self.room {
            return false;
        }
        while self.policy.bytes() + request.bytes > self.room {
            match self.policy.evict(64) {
                Evict::Victim(item) => self.items[item.0.id as usize] = None,
                Evict::More => {}
                Evict::Nothing => unreachable!("nothing is pinned"),
            }
        }
        let item = Held(Arc::new(Item {
            id: request.id,
            bytes: request.bytes,
            uses: AtomicU8::new(0),
        }));
        self.policy.insert(item.clone());
        self.items[request.id as usize] = Some(item);
        false
    }

    fn memory_each(&self) -> Option<f64> {
        Some(self.policy.memory_bytes() as f64 / self.policy.len().max(1) as f64)
    }
}

// ---- no policy at all ----

/// Room for everything: the best that any cache without foresight can do.
pub struct Infinite(Vec<bool>);

impl Infinite {
    pub fn new(trace: &Trace) -> Self {
        Self(vec![false; trace.sizes.len()])
    }
}

impl Cache for Infinite {
    fn ask(&mut self, _: usize, request: &Request) -> bool {
        std::mem::replace(&mut self.0[request.id as usize], true)
    }
}

// ---- one queue ----

/// What a hit does to one queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    Fifo,
    Lru,
    Sieve,
}

/// FIFO, LRU and SIEVE (Zhang et al., NSDI 2024) are one list with a different hit.
pub struct OneQueue {
    kind: Queue,
    list: List,
    chain: Chain,
    is_here: Vec<bool>,
    is_used: Vec<bool>,
    hand: Option<u32>,
    bytes: u64,
    room: u64,
    sizes: Vec<u64>,
}

impl OneQueue {
    pub fn new(trace: &Trace, room: u64, kind: Queue) -> Self {
        Self {
            kind,
            list: List::new(trace.sizes.len()),
            chain: Chain::default(),
            is_here: vec![false; trace.sizes.len()],
            is_used: vec![false; trace.sizes.len()],
            hand: None,
            bytes: 0,
            room,
            sizes: trace.sizes.clone(),
        }
    }

    fn victim(&mut self) -> u32 {
        if self.kind != Queue::Sieve {
            return self.chain.oldest.expect("something is here");
        }
        let mut at = self.hand.or(self.chain.oldest).expect("something is here");
        while std::mem::replace(&mut self.is_used[at as usize], false) {
            at = self
                .list
                .younger(at)
                .or(self.chain.oldest)
                .expect("as before");
        }
        self.hand = self.list.younger(at);
        at
    }
}

impl Cache for OneQueue {
    fn ask(&mut self, _: usize, request: &Request) -> bool {
        let id = request.id;
        if self.is_here[id as usize] {
            match self.kind {
                Queue::Fifo => {}
                Queue::Lru => {
                    self.list.remove(&mut self.chain, id);
                    self.list.push(&mut self.chain, id);
                }
                Queue::Sieve => self.is_used[id as usize] = true,
            }
            return true;
        }
        if request.bytes > self.room {
            return false;
        }
        while self.bytes + request.bytes > self.room {
            let victim = self.victim();
            self.list.remove(&mut self.chain, victim);
            self.is_here[victim as usize] = false;
            self.bytes -= self.sizes[victim as usize];
        }
        self.list.push(&mut self.chain, id);
        self.is_here[id as usize] = true;
        self.is_used[id as usize] = false;
        self.bytes += request.bytes;
        false
    }
}

// ---- ordered by worth ----

/// What makes a thing worth its room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// GDSF: uses for each byte. For the hit ratio (Cherkasova, 1998).
    UsesPerByte,
    /// LFU-DA: uses alone. For the byte-hit ratio (Arlitt et al., 1999).
    Uses,
    /// Belady: when it is asked for next. Looks into the future; with sizes no bound, but hard to beat.
    Next,
}

/// Evicts the least worth; what leaves ages the rest.
pub struct ByWorth {
    worth: Worth,
    order: BTreeSet<(u64, u32)>,
    keys: Vec<Option<u64>>,
    uses: Vec<u32>,
    next: Vec<u32>,
    age: f64,
    bytes: u64,
    room: u64,
    sizes: Vec<u64>,
}

impl ByWorth {
    pub fn new(trace: &Trace, room: u64, worth: Worth) -> Self {
        Self {
            worth,
            order: BTreeSet::new(),
            keys: vec![None; trace.sizes.len()],
            uses: vec![0; trace.sizes.len()],
            next: if worth == Worth::Next {
                trace.next_uses()
            } else {
                Vec::new()
            },
            age: 0.0,
            bytes: 0,
            room,
            sizes: trace.sizes.clone(),
        }
    }

    /// Bits of a float that is not negative sort as the float does.
    fn key(&self, at: usize, id: u32) -> u64 {
        let uses = f64::from(self.uses[id as usize]);
        match self.worth {
            Worth::UsesPerByte => {
                (self.age + uses * 1e6 / self.sizes[id as usize] as f64).to_bits()
            }
            Worth::Uses => (self.age + uses).to_bits(),
            Worth::Next => u64::from(u32::MAX - self.next[at]),
        }
    }

    fn put(&mut self, at: usize, id: u32) {
        let key = self.key(at, id);
        self.keys[id as usize] = Some(key);
        self.order.insert((key, id));
    }
}

impl Cache for ByWorth {
    fn ask(&mut self, at: usize, request: &Request) -> bool {
        let id = request.id;
        self.uses[id as usize] += 1;
        if let Some(key) = self.keys[id as usize] {
            self.order.remove(&(key, id));
            self.put(at, id);
            return true;
        }
        let is_useless = self.worth == Worth::Next && self.next[at] == u32::MAX;
        if request.bytes > self.room || is_useless {
            return false;
        }
        while self.bytes + request.bytes > self.room {
            let (key, victim) = self.order.pop_first().expect("something is here");
            self.keys[victim as usize] = None;
            self.uses[victim as usize] = 0;
            self.bytes -= self.sizes[victim as usize];
            self.age = f64::from_bits(key);
        }
        self.uses[id as usize] = 1;
        self.put(at, id);
        self.bytes += request.bytes;
        false
    }
}
