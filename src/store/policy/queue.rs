//! A queue of residents in chunks, so that dead ones can be taken out of its middle in bounded steps.
//!
//! ```text
//!   front                                             back
//!   chunk 7 ─▶ chunk 8 ─▶ chunk 11 ─▶ chunk 12        numbers rise; 9 and 10 were merged away
//!   [··rrrr]   [rr·r··]   [rrrrrrr]   [rrr    ]
//! ```
//!
//! Invariants
//! - No chunk is empty. Numbers rise from front to back and are never used twice.
//! - `bytes` is the sum of the sizes of what is in the queue, `len` its count.
//! - A chunk that takes in its neighbour takes the higher number: who reads the queue chunk by chunk may
//!   then read something twice, and never misses it.

use std::collections::VecDeque;

use super::{Resident, Standing};

/// Most residents of a chunk, and so the most that one call looks at beyond its own step.
pub(super) const CHUNK: usize = 256;

/// Residents in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<R> {
    chunks: VecDeque<Chunk<R>>,
    next: u64,
    len: usize,
    bytes: u64,
    /// Number of the chunk that is swept next.
    broom: u64,
}

#[derive(Debug)]
struct Chunk<R> {
    number: u64,
    residents: VecDeque<R>,
}

impl<R: Resident> Queue<R> {
    pub(super) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            next: 0,
            len: 0,
            bytes: 0,
            broom: 0,
        }
    }

    pub(super) fn push(&mut self, resident: R) {
        self.len += 1;
        self.bytes += resident.size_bytes();
        if let Some(last) = self.chunks.back_mut()
            && last.residents.len() < CHUNK
        {
            last.residents.push_back(resident);
            return;
        }
        let mut residents = VecDeque::with_capacity(CHUNK);
        residents.push_back(resident);
        self.chunks.push_back(Chunk {
            number: self.next,
            residents,
        });
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<R> {
        let first = self.chunks.front_mut()?;
        let resident = first.residents.pop_front()?;
        if first.residents.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= 1;
        self.bytes -= resident.size_bytes();
        Some(resident)
    }

    /// Drops what is gone from the next chunk in turn. Returns how many it has looked at, and whether that
    /// was the last chunk of a turn.
    pub(super) fn sweep(&mut self) -> (usize, bool) {
        let found = self.chunks.partition_point(|c| c.number < self.broom);
        let at = if found < self.chunks.len() { found } else { 0 };
        let is_round = at + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            return (0, true);
        };
        let looked_at = chunk.residents.len();
        self.broom = chunk.number + 1;
        let (len, bytes) = (&mut self.len, &mut self.bytes);
        chunk.residents.retain(|resident| {
            let stays = resident.standing() != Standing::Gone;
            if !stays {
                *len -= 1;
                *bytes -= resident.size_bytes();
            }
            stays
        });
        self.merge(at);
        (looked_at, is_round)
    }

    /// Takes a chunk out if it is empty, or into the one before it if both fit into one.
    fn merge(&mut self, at: usize) {
        let len = self.chunks[at].residents.len();
        if len == 0 {
            self.chunks.remove(at);
        } else if at > 0
            && self.chunks[at - 1].residents.len() + len <= CHUNK
            && let Some(mut chunk) = self.chunks.remove(at)
        {
            let before = &mut self.chunks[at - 1];
            before.residents.append(&mut chunk.residents);
            before.number = chunk.number;
        }
    }

    /// Appends to `into` what is in the first chunk whose number is at least `from`, and returns the
    /// number to go on from, or `None` behind the last chunk.
    pub(super) fn read(&self, from: u64, into: &mut Vec<R>) -> Option<u64> {
        let at = self.chunks.partition_point(|c| c.number < from);
        let chunk = self.chunks.get(at)?;
        let stay = chunk.residents.iter();
        into.extend(stay.filter(|r| r.standing() != Standing::Gone).cloned());
        Some(chunk.number + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory of the chunks. Costs a look at each: for benches and tests.
    pub(super) fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.iter();
        let residents: usize = chunks.map(|chunk| chunk.residents.capacity()).sum();
        residents * size_of::<R>() + self.chunks.capacity() * size_of::<Chunk<R>>()
    }
}
