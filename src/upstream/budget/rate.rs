//! When bytes that were received are within the bound on bytes a second: whose turn it is, and when.
//!
//! Each class has an account that says until when the link is taken by what was paid. Clients pay into
//! both and wait for their own; what is for nobody waits for the one of all. So nobody's bytes never hold
//! up a client, and make up for it afterwards. Within a class, shares take turns by bytes: start-time fair
//! queueing (Goyal, Vin and Cheng, 1996), in which a share with many streams is one share all the same.
//!
//! Without I/O and clock. Invariant: what is in the line has been received, and is not yet charged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::BANDWIDTH_SLACK;
use crate::upstream::request::Urgency;

/// A place in the line: which class, when its share is next, and who came first.
pub(super) type Place = (usize, u64, u64);

/// Up to where a share's payments reach, for each class, in bytes of the class' own time.
pub(super) type Reach = [u64; 2];

#[derive(Debug)]
struct Class {
    /// Until when the link is taken by what was paid.
    taken: Instant,
    /// Where the share began that was let go last: who comes from elsewhere begins here.
    begun: u64,
    line: BTreeMap<(u64, u64), usize>,
}

/// The accounts of one client.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: u64,
    /// Clients', then all.
    classes: [Class; 2],
    numbers: u64,
}

impl Rate {
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        let class = || Class {
            taken: now,
            begun: 0,
            line: BTreeMap::new(),
        };
        Self {
            bytes_per_second: bytes_per_second.max(1),
            classes: [class(), class()],
            numbers: 0,
        }
    }

    /// Goes by another bound from now on. What was paid for under the old one and takes time still takes as much
    /// of it as these bytes do under the new one.
    pub(super) fn set(&mut self, bytes_per_second: u64, now: Instant) {
        let (old, new) = (self.bytes_per_second, bytes_per_second.max(1));
        for class in &mut self.classes {
            let owed = class.taken.saturating_duration_since(now).as_nanos();
            if owed == 0 {
                continue;
            }
            let owed = owed.saturating_mul(old.into()) / u128::from(new);
            let owed = Duration::from_nanos(u64::try_from(owed).unwrap_or(u64::MAX));
            class.taken = now.checked_add(owed).unwrap_or(class.taken);
        }
        self.bytes_per_second = new;
    }

    /// Charges at once and returns `None`, or takes a place in the line.
    ///
    /// - `reach`: of the share, moved on by what it pays.
    pub(super) fn join(
        &mut self,
        bytes: usize,
        urgency: Urgency,
        reach: &mut Reach,
        now: Instant,
    ) -> Option<Place> {
        let index = index(urgency);
        let class = &self.classes[index];
        let start = class.begun.max(reach[index]);
        reach[index] = start.saturating_add(bytes as u64);
        if class.line.is_empty() && self.is_free(index, now) {
            self.classes[index].begun = start;
            self.charge(index, bytes, now);
            return None;
        }
        self.numbers += 1;
        let place = (index, start, self.numbers);
        self.classes[index]
            .line
            .insert((start, self.numbers), bytes);
        Some(place)
    }

    /// Lets the next one of a class go that is within the bound, and returns its place.
    pub(super) fn next(&mut self, now: Instant) -> Option<Place> {
        for index in 0..self.classes.len() {
            if !self.is_free(index, now) {
                continue;
            }
            if let Some(((start, number), bytes)) = self.classes[index].line.pop_first() {
                let class = &mut self.classes[index];
                class.begun = class.begun.max(start);
                self.charge(index, bytes, now);
                return Some((index, start, number));
            }
        }
        None
    }

    /// Returns who is first in each line and when its turn comes.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (Place, Instant)> + '_ {
        self.classes
            .iter()
            .enumerate()
            .filter_map(|(index, class)| {
                let (&(start, number), _) = class.line.first_key_value()?;
                let due = class.taken.checked_sub(BANDWIDTH_SLACK);
                Some(((index, start, number), due.unwrap_or(class.taken)))
            })
    }

    /// Takes one off the line that does not wait any more: its bytes were received all the same.
    pub(super) fn leave(&mut self, place: Place, now: Instant) {
        let (index, start, number) = place;
        if let Some(bytes) = self.classes[index].line.remove(&(start, number)) {
            self.charge(index, bytes, now);
        }
    }

    fn is_free(&self, index: usize, now: Instant) -> bool {
        self.classes[index].taken <= now + BANDWIDTH_SLACK
    }

    /// Clients pay into both accounts.
    fn charge(&mut self, index: usize, bytes: usize, now: Instant) {
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        for class in &mut self.classes[index..] {
            let from = class.taken.max(now);
            // A century is as good as for ever.
            class.taken = from.checked_add(time).unwrap_or(from);
        }
    }
}

const fn index(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Client => 0,
        Urgency::Background => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use Urgency::{Background, Client};

    /// Fills that each keep so many streams in line, for a time; returns the bytes of each.
    ///
    /// Each stream is back in line at once when it was let go.
    fn run(rate: u64, fills: &[(usize, Urgency, usize)], seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let (mut state, mut now) = (Rate::new(rate, start), start);
        let mut reaches = vec![[0; 2]; fills.len()];
        let mut paid = vec![0; fills.len()];
        let mut waiting: BTreeMap<Place, usize> = BTreeMap::new();
        let mut ready: Vec<usize> = fills
            .iter()
            .enumerate()
            .flat_map(|(fill, &(streams, ..))| vec![fill; streams])
            .collect();
        while now < end {
            while let Some(fill) = ready.pop() {
                let (_, urgency, bytes) = fills[fill];
                paid[fill] += bytes as u64;
                match state.join(bytes, urgency, &mut reaches[fill], now) {
                    Some(place) => drop(waiting.insert(place, fill)),
                    None => ready.push(fill),
                }
            }
            now = state.fronts().map(|(_, due)| due).min().unwrap().max(now);
            while let Some(place) = state.next(now) {
                ready.push(waiting.remove(&place).unwrap());
            }
        }
        paid
    }

    #[test]
    fn shares_are_equal_however_many_streams_they_have() {
        let fills = [(4, Client, 1000), (1, Client, 1000), (8, Client, 250)];
        let paid = run(100_000, &fills, 30);
        for share in &paid {
            assert!(share.abs_diff(1_000_000) < 20_000, "{paid:?}");
        }
    }

    #[test]
    fn a_client_takes_all_from_what_is_for_nobody() {
        let fills = [(4, Background, 1000), (1, Client, 1000)];
        let paid = run(100_000, &fills, 30);
        assert!(paid[0] <= 4 * 1000 + 3000, "{paid:?}");
        assert!(paid[1] >= 2_990_000, "{paid:?}");
    }

    #[test]
    fn what_is_for_nobody_never_holds_up_a_client() {
        let now = Instant::now();
        let mut state = Rate::new(1000, now);
        let mut reach = Reach::default();
        // An hour's worth.
        assert!(state.join(3_600_000, Background, &mut reach, now).is_none());
        assert!(state.join(1, Background, &mut reach, now).is_some());
        assert!(state.join(1000, Client, &mut [0; 2], now).is_none());
        let front = state.fronts().next().unwrap();
        assert!(front.1 >= now + Duration::from_secs(3600));
    }

    #[test]
    fn a_new_bound_holds_for_what_waits_already() {
        // A link that is opened wider would stay as narrow until those who wait have gone.
        let now = Instant::now();
        let mut state = Rate::new(1000, now);
        assert!(state.join(100_000, Client, &mut [0; 2], now).is_none());
        state.join(1, Client, &mut [0; 2], now).unwrap();
        let due = |state: &Rate| state.fronts().next().unwrap().1 + BANDWIDTH_SLACK;
        assert_eq!(due(&state), now + Duration::from_secs(100));
        state.set(10_000, now);
        assert_eq!(due(&state), now + Duration::from_secs(10));
        state.set(1000, now);
        assert_eq!(due(&state), now + Duration::from_secs(100));
        state.set(u64::MAX, now);
        assert!(state.next(now).is_some());
    }

    #[test]
    fn who_leaves_has_received_its_bytes() {
        let now = Instant::now();
        let mut state = Rate::new(1000, now);
        let mut reach = Reach::default();
        state.join(1000, Client, &mut reach, now);
        let place = state.join(5000, Client, &mut reach, now).unwrap();
        state.leave(place, now);
        state.leave(place, now);
        assert!(state.fronts().next().is_none());
        state.join(1, Client, &mut reach, now).unwrap();
        let due = state.fronts().next().unwrap().1;
        assert_eq!(due, now + Duration::from_secs(6) - BANDWIDTH_SLACK);
    }

    proptest! {
        #[test]
        fn the_total_keeps_to_the_rate(
            rate in 1_000_u64..1_000_000,
            fills in prop::collection::vec((1_usize..5, any::<bool>(), 100_usize..5000), 1..5),
        ) {
            let urgency = |is_client| if is_client { Client } else { Background };
            let fills: Vec<_> = fills
                .into_iter()
                .map(|(streams, is_client, bytes)| (streams, urgency(is_client), bytes))
                .collect();
            let paid: u64 = run(rate, &fills, 10).iter().sum();
            // What every stream has in hand, and the slack.
            let in_hand: usize = fills.iter().map(|fill| (fill.0 + 1) * fill.2).sum();
            let most = rate * 10 + rate / 20 + in_hand as u64 + 10_000;
            prop_assert!(paid <= most, "{paid} of {most}");
            prop_assert!(paid >= rate * 10, "{paid} of {}", rate * 10);
        }
    }
}
