//! Doubly linked lists of dense numbers: links lie in one array, a number is in at most one list.

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Links of all numbers.
pub struct List {
    links: Vec<[u32; 2]>,
}

/// The ends of one list.
#[derive(Clone, Copy, Default)]
pub struct Chain {
    pub oldest: Option<u32>,
    youngest: Option<u32>,
}

impl List {
    pub fn new(count: usize) -> Self {
        Self {
            links: vec![[NONE; 2]; count],
        }
    }

    /// Appends a number as the youngest.
    pub fn push(&mut self, chain: &mut Chain, id: u32) {
        self.links[id as usize] = [chain.youngest.unwrap_or(NONE), NONE];
        match chain.youngest {
            Some(before) => self.links[before as usize][1] = id,
            None => chain.oldest = Some(id),
        }
        chain.youngest = Some(id);
    }

    pub fn remove(&mut self, chain: &mut Chain, id: u32) {
        let [older, younger] = self.links[id as usize];
        match older {
            NONE => chain.oldest = (younger != NONE).then_some(younger),
            _ => self.links[older as usize][1] = younger,
        }
        match younger {
            NONE => chain.youngest = (older != NONE).then_some(older),
            _ => self.links[younger as usize][0] = older,
        }
    }

    pub fn younger(&self, id: u32) -> Option<u32> {
        let younger = self.links[id as usize][1];
        (younger != NONE).then_some(younger)
    }
}
