//! How long things took: buckets with fixed bounds, for one writer.

use std::time::Duration;

use super::table::{FIRST_BYTE, Metric, RESPONSE};
use super::{CacheUse, Cell, Histogram, Metrics};

/// Upper bounds of the buckets of responses, in microseconds; above them is one more.
const RESPONSE_BOUNDS_US: [u32; 18] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 25_000_000, 60_000_000,
];

/// Returns the bucket of `took`: the first one whose bound it does not pass.
pub(super) fn bucket(bounds_us: &[u32], took: Duration) -> usize {
    let passes = |&&bound: &&u32| took > Duration::from_micros(bound.into());
    bounds_us.iter().take_while(passes).count()
}

/// Returns the bounds as [`Histogram::bounds`] has them.
pub(super) fn bounds(bounds_us: &[u32]) -> Vec<Duration> {
    let bounds = bounds_us.iter();
    bounds.map(|&us| Duration::from_micros(us.into())).collect()
}

/// One core's times of one kind.
#[derive(Debug, Default)]
struct Times {
    nanoseconds: Cell,
    buckets: [Cell; RESPONSE_BOUNDS_US.len() + 1],
}

impl Times {
    fn add(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.add(nanoseconds);
        self.buckets[bucket(&RESPONSE_BOUNDS_US, took)].add(1);
    }
}

/// One core's times of responses, by use of the cache.
#[derive(Debug, Default)]
pub(super) struct ResponseTimes {
    first_byte: [Times; CacheUse::ALL.len()],
    whole: [Times; CacheUse::ALL.len()],
}

impl ResponseTimes {
    /// Counts a response that has ended; `first_byte` is `None` if none was sent.
    pub(super) fn add(&self, cache: CacheUse, first_byte: Option<Duration>, whole: Duration) {
        if let Some(first_byte) = first_byte {
            self.first_byte[cache as usize].add(first_byte);
        }
        self.whole[cache as usize].add(whole);
    }
}

impl Metrics {
    /// Returns how long things took.
    #[must_use]
    pub fn histograms(&self) -> Vec<Histogram> {
        let mut histograms = self.response_histograms(&FIRST_BYTE, |times| &times.first_byte);
        histograms.extend(self.response_histograms(&RESPONSE, |times| &times.whole));
        histograms.extend(self.hop_histograms());
        histograms
    }

    fn response_histograms(
        &self,
        metric: &'static Metric,
        of: impl Fn(&ResponseTimes) -> &[Times; CacheUse::ALL.len()],
    ) -> Vec<Histogram> {
        let of_use = |cache: CacheUse| {
            let index = cache as usize;
            let count = |bucket: usize| self.sum(|core| &of(&core.times)[index].buckets[bucket]);
            let sum = self.sum(|core| &of(&core.times)[index].nanoseconds);
            Histogram {
                name: metric.name,
                label: ("cache", cache.label().to_owned()),
                bounds: bounds(&RESPONSE_BOUNDS_US),
                counts: (0..=RESPONSE_BOUNDS_US.len()).map(count).collect(),
                sum: Duration::from_nanos(sum),
            }
        };
        CacheUse::ALL.into_iter().map(of_use).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_over_cores_and_kept_apart_by_use() {
        let metrics = Metrics::new(2);
        let us = Duration::from_micros;
        let count = |core: usize, cache, first, whole| {
            metrics.core(core).count_times(cache, first, whole);
        };
        count(0, CacheUse::Hit, Some(us(100)), us(101));
        count(1, CacheUse::Hit, Some(us(7)), Duration::from_secs(61));
        count(1, CacheUse::Miss, None, us(60_000_000));
        let histograms = metrics.histograms();
        let find = |name: &str, cache: &str| {
            let mut found = histograms.iter();
            let found = found.find(|one| one.name == name && one.label.1 == cache);
            found.unwrap().clone()
        };
        let first = find("transship_first_byte_seconds", "hit");
        assert_eq!((first.counts[0], first.counts[1]), (2, 0));
        assert_eq!(first.sum, us(107));
        let whole = find("transship_response_seconds", "hit");
        assert_eq!((whole.counts[0], whole.counts[1]), (0, 1));
        assert_eq!(whole.counts.last(), Some(&1));
        assert_eq!(whole.counts.len(), whole.bounds.len() + 1);
        let first = find("transship_first_byte_seconds", "miss");
        assert_eq!(first.counts.iter().sum::<u64>(), 0);
        let whole = find("transship_response_seconds", "miss");
        assert_eq!(whole.counts[whole.counts.len() - 2], 1);
    }
}
