//! Which blobs and repositories are pulled most. To know it costs a look at every entry of the index, so it is
//! remembered, the longer the dearer it was: who polls each second costs a helper thread a fiftieth of its time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::Parts;
use crate::store::{Listing, Row, Sort};

/// Blobs and repositories that are named.
const NAMED: usize = 10;
/// Blobs that repositories are ranked by.
const RANKED: usize = 1000;
/// Repositories that are named with a blob.
const REPOSITORIES: usize = 3;
/// It is remembered for at least this long.
const KEEP_FOR: Duration = Duration::from_secs(5);
/// And for this many times as long as it took.
const KEEP_TIMES: u32 = 50;

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Chart {
    blobs: Vec<TopBlob>,
    repositories: Vec<TopRepository>,
}

#[derive(Clone, Debug, Serialize)]
struct TopBlob {
    digest: String,
    kind: &'static str,
    size_bytes: u64,
    hits: u32,
    last_use: u64,
    /// Some of those that have it.
    repositories: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TopRepository {
    name: String,
    hits: u64,
}

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Charts {
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    chart: Chart,
    until: Instant,
}

impl Charts {
    /// Returns the charts, as they are or were a moment ago.
    pub(super) fn read(&self, parts: &Parts) -> Chart {
        self.at(Instant::now(), || look(parts))
    }

    /// Whoever comes while somebody else looks waits for what that one finds.
    fn at(&self, now: Instant, look: impl FnOnce() -> Chart) -> Chart {
        let mut known = self.known.lock();
        if let Some(known) = known.as_ref().filter(|known| now < known.until) {
            return known.chart.clone();
        }
        let began = Instant::now();
        let chart = look();
        let keep_for = KEEP_FOR.max(began.elapsed() * KEEP_TIMES);
        *known = Some(Known {
            chart: chart.clone(),
            until: now + keep_for,
        });
        chart
    }
}

fn look(parts: &Parts) -> Chart {
    let store = &parts.store;
    let mut rows = store.list(&Listing {
        sort: Sort::Hits,
        most: RANKED,
        ..Listing::default()
    });
    rows.retain(|row| row.hits > 0);
    let ranked = store.busiest_repositories(&rows, NAMED);
    let named = |row: &Row| TopBlob {
        digest: row.digest.to_string(),
        kind: row.kind.noun(),
        size_bytes: row.size_bytes,
        hits: row.hits,
        last_use: row.last_use.into(),
        repositories: store.repositories(&row.digest, REPOSITORIES),
    };
    Chart {
        blobs: rows.iter().take(NAMED).map(named).collect(),
        repositories: ranked
            .into_iter()
            .map(|(name, hits)| TopRepository { name, hits })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_polls_has_the_index_walked_once_in_a_while() {
        let (charts, now) = (Charts::default(), Instant::now());
        let mut walks = 0;
        for second in 0..10 {
            charts.at(now + Duration::from_secs(second), || {
                walks += 1;
                Chart::default()
            });
        }
        assert_eq!(walks, 2);
    }
}
