//! W-TinyLFU by bytes, after Einziger et al., "Lightweight Robust Size Aware Cache Management", TOS 2022.
//!
//! A window of 1 % takes arrivals in (LRU); what leaves it is compared with those that would have to go for it
//! in main (segmented LRU, 20 % probation), by a sketch of how often each was asked for ("AV": it stays if
//! it was asked for more often than all of them together).

use super::caches::Cache;
use super::list::{Chain, List};
use super::registry::Random;
use super::trace::{Request, Trace};

/// Where a thing is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment {
    Absent,
    Window,
    Probation,
    Protected,
}

pub struct TinyLfu {
    sketch: Sketch,
    list: List,
    chains: [Chain; 3],
    bytes: [u64; 3],
    segments: Vec<Segment>,
    sizes: Vec<u64>,
    window_max: u64,
    main_max: u64,
}

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

impl TinyLfu {
    pub fn new(trace: &Trace, room: u64) -> Self {
        let count = trace.sizes.len();
        let mean = trace.sizes.iter().sum::<u64>() / count.max(1) as u64;
        let residents = usize::try_from(room / mean.max(1)).expect("fits");
        Self {
            sketch: Sketch::new(residents.clamp(1024, 1 << 22)),
            list: List::new(count),
            chains: [Chain::default(); 3],
            bytes: [0; 3],
            segments: vec![Segment::Absent; count],
            sizes: trace.sizes.clone(),
            window_max: room / 100,
            main_max: room - room / 100,
        }
    }

    fn push(&mut self, id: u32, at: usize) {
        self.list.push(&mut self.chains[at], id);
        self.bytes[at] += self.sizes[id as usize];
        self.segments[id as usize] = [Segment::Window, Segment::Probation, Segment::Protected][at];
    }

    fn remove(&mut self, id: u32, at: usize) {
        self.list.remove(&mut self.chains[at], id);
        self.bytes[at] -= self.sizes[id as usize];
        self.segments[id as usize] = Segment::Absent;
    }

    /// Protected has 80 % of main; what it has no room for is on probation again.
    fn protect(&mut self, id: u32) {
        self.push(id, PROTECTED);
        while self.bytes[PROTECTED] > self.main_max / 5 * 4 {
            let Some(oldest) = self.chains[PROTECTED].oldest else {
                break;
            };
            self.remove(oldest, PROTECTED);
            self.push(oldest, PROBATION);
        }
    }

    /// Puts what left the window into main, if it is worth more than who would have to go.
    fn admit(&mut self, candidate: u32) {
        let bytes = self.sizes[candidate as usize];
        if bytes > self.main_max {
            return;
        }
        let main = self.bytes[PROBATION] + self.bytes[PROTECTED];
        let needed = (main + bytes).saturating_sub(self.main_max);
        let (mut found, mut worth) = (0, 0);
        let mut victims = Vec::new();
        let mut at = self.chains[PROBATION].oldest.map(|id| (id, PROBATION));
        at = at.or(self.chains[PROTECTED].oldest.map(|id| (id, PROTECTED)));
        let own = self.sketch.estimate(candidate);
        while found < needed {
            let Some((victim, segment)) = at else { break };
            found += self.sizes[victim as usize];
            worth += self.sketch.estimate(victim);
            if worth >= own {
                return;
            }
            victims.push((victim, segment));
            at = self.list.younger(victim).map(|id| (id, segment));
            if at.is_none() && segment == PROBATION {
                at = self.chains[PROTECTED].oldest.map(|id| (id, PROTECTED));
            }
        }
        for (victim, segment) in victims {
            self.remove(victim, segment);
        }
        self.push(candidate, PROBATION);
    }
}

impl Cache for TinyLfu {
    fn ask(&mut self, _: usize, request: &Request) -> bool {
        let id = request.id;
        self.sketch.note(id);
        match self.segments[id as usize] {
            Segment::Window => {
                self.remove(id, WINDOW);
                self.push(id, WINDOW);
                return true;
            }
            Segment::Probation => {
                self.remove(id, PROBATION);
                self.protect(id);
                return true;
            }
            Segment::Protected => {
                self.remove(id, PROTECTED);
                self.push(id, PROTECTED);
                return true;
            }
            Segment::Absent => {}
        }
        if request.bytes > self.window_max {
            self.admit(id);
            return false;
        }
        self.push(id, WINDOW);
        while self.bytes[WINDOW] > self.window_max {
            let oldest = self.chains[WINDOW].oldest.expect("the window has bytes");
            self.remove(oldest, WINDOW);
            self.admit(oldest);
        }
        false
    }
}

/// A count-min sketch of four rows, halved every so often.
struct Sketch {
    rows: [Vec<u8>; 4],
    noted: usize,
    period: usize,
}

impl Sketch {
    fn new(residents: usize) -> Self {
        let width = (residents * 4).next_power_of_two();
        Self {
            rows: std::array::from_fn(|_| vec![0; width]),
            noted: 0,
            period: residents * 10,
        }
    }

    fn slots(&self, id: u32) -> [usize; 4] {
        let mut random = Random(u64::from(id));
        std::array::from_fn(|row| random.next() as usize & (self.rows[row].len() - 1))
    }

    fn note(&mut self, id: u32) {
        let least = self.estimate(id) as u8;
        for (row, slot) in self.slots(id).into_iter().enumerate() {
            let count = &mut self.rows[row][slot];
            if *count == least && *count < 15 {
                *count += 1;
            }
        }
        self.noted += 1;
        if self.noted == self.period {
            self.noted = 0;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    fn estimate(&self, id: u32) -> u32 {
        let slots = self.slots(id).into_iter().enumerate();
        let counts = slots.map(|(row, slot)| u32::from(self.rows[row][slot]));
        counts.min().unwrap_or(0)
    }
}
