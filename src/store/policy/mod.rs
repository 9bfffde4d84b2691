//! STUB
use std::collections::VecDeque;

pub enum Standing {
    Evictable,
    Kept,
    Gone,
}

pub trait Resident: Clone {
    fn fingerprint(&self) -> u64;
    fn size_bytes(&self) -> u64;
    fn uses(&self) -> u8;
    fn set_uses(&self, uses: u8);
    fn standing(&self) -> Standing;
}
pub enum Evict<R> {
    Victim(R),
    More,
    Nothing,
}
#[derive(Debug)]
pub struct Policy<R> {
    queue: VecDeque<R>,
}
impl<R: Resident> Policy<R> {
    pub fn new() -> Self {
        Self {
            queue: VecDeque::new(),
        }
    }
    pub fn set_room(&mut self, _bytes: u64) {}
    pub fn insert(&mut self, r: R) {
        self.queue.push_back(r)
    }
    pub fn restore(&mut self, r: R, _place: u8) {
        self.queue.push_back(r)
    }
    pub fn evict(&mut self, steps: usize) -> Evict<R> {
        for _ in 0..steps.min(self.queue.len()) {
            let Some(r) = self.queue.pop_front() else {
                return Evict::Nothing;
            };
            match r.standing() {
                Standing::Gone => {}
                Standing::Kept => self.queue.push_back(r),
                Standing::Evictable if r.uses() > 0 => {
                    r.set_uses(r.uses() - 1);
                    self.queue.push_back(r)
                }
                Standing::Evictable => return Evict::Victim(r),
            }
        }
        if self.queue.is_empty() {
            Evict::Nothing
        } else {
            Evict::More
        }
    }
    pub fn in_order(&self) -> Vec<(R, u8)> {
        self.queue.iter().map(|r| (r.clone(), 0)).collect()
    }
}
