//! Requests in their order, and what is known of them without a cache.

use std::collections::HashMap;

/// One request for something that has a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Seconds since the start of the trace.
    pub time: u32,
    /// Which thing: numbers are dense, from 0.
    pub id: u32,
    /// Its size in bytes, the same at each request.
    pub bytes: u64,
}

/// Requests in their order.
#[derive(Debug, Default)]
pub struct Trace {
    pub name: String,
    pub requests: Vec<Request>,
    /// Size of each thing, by its number.
    pub sizes: Vec<u64>,
}

impl Trace {
    pub fn push(&mut self, time: u32, id: u32) {
        let bytes = self.sizes[id as usize];
        self.requests.push(Request { time, id, bytes });
    }

    /// Adds a thing and returns its number.
    pub fn thing(&mut self, bytes: u64) -> u32 {
        self.sizes.push(bytes);
        u32::try_from(self.sizes.len() - 1).expect("things are few")
    }

    /// Reads lines of `time,id,size`, with commas or blanks between. A line whose size is no number is left
    /// out, so a header is. The first size of an id counts, as a blob's never changes; of size 0 nothing is kept.
    pub fn read(name: &str, text: &str) -> Self {
        let mut trace = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(|c: char| c == ',' || c.is_whitespace());
            let mut fields = std::iter::from_fn(|| fields.find(|field| !field.is_empty()));
            let (Some(time), Some(id), Some(size)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Ok(bytes) = size.parse::<u64>() else {
                continue;
            };
            if bytes == 0 {
                continue;
            }
            let time = time.parse::<f64>().unwrap_or(0.0) as u32;
            let number = match numbers.get(id) {
                Some(&number) => number,
                None => {
                    let number = trace.thing(bytes);
                    numbers.insert(id, number);
                    number
                }
            };
            trace.push(time, number);
        }
        trace
    }

    /// Bytes of everything that is asked for, each counted once.
    pub fn footprint(&self) -> u64 {
        let counts = self.counts();
        let asked = self
            .sizes
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0);
        asked.map(|(size, _)| size).sum()
    }

    /// Bytes of all requests.
    pub fn bytes(&self) -> u64 {
        self.requests.iter().map(|request| request.bytes).sum()
    }

    /// How often each thing is asked for.
    pub fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.sizes.len()];
        for request in &self.requests {
            counts[request.id as usize] += 1;
        }
        counts
    }

    /// For each request, the place of the next one for the same thing; `u32::MAX` when there is none.
    pub fn next_uses(&self) -> Vec<u32> {
        let mut later = vec![u32::MAX; self.sizes.len()];
        let mut next = vec![u32::MAX; self.requests.len()];
        for (at, request) in self.requests.iter().enumerate().rev() {
            next[at] = later[request.id as usize];
            later[request.id as usize] = at as u32;
        }
        next
    }

    /// One line that tells its shape.
    pub fn describe(&self) -> String {
        let counts = self.counts();
        let things = counts.iter().filter(|count| **count > 0).count();
        let once = counts.iter().filter(|count| **count == 1).count();
        format!(
            "{}: {} requests for {:.1} GB, {things} things of {:.1} GB, {:.0} % of them asked for once",
            self.name,
            self.requests.len(),
            self.bytes() as f64 / 1e9,
            self.footprint() as f64 / 1e9,
            100.0 * once as f64 / things.max(1) as f64
        )
    }
}
