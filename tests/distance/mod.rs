//! A next hop that is far, slow, lossy, lying or dying neither fails a pull nor spoils the store.
//!
//! A real registry, a [`FaultProxy`] before it as the way to it, and a transship. Each test looks at three
//! things: what the client got (all and right under one response, or visibly short), what is stored (the right
//! file, or none), and what the registry has sent.
//!
//! What users of other caches have lived through, and the tests that would show it here:
//!
//! | What broke | Here | Elsewhere |
//! |---|---|---|
//! | A herd downloads twice | `ranges::containerds_parallel_ranges_…` | `herd`; `fault::clients::parallel_open_ended_…` |
//! | Nothing is sent before all is there, so clients time out for ever | `pains::a_client_that_gives_up_each_time_…` | `chains::far::the_last_client_of_three_caches_…` |
//! | An outage or 429 takes cached images down | `waiting::a_storm_of_429_…`, `waiting::what_is_here_…` | `access::origin_away`; `e2e::warm_blobs_…`; `chains::hops::the_only_upstream_…` |
//! | Truncated or poisoned fills | `resume`, `lies` | `fault::origin`; `fault::credentials::what_a_redirect_leads_to_…` |
//! | Ranges of what is not cached | `ranges` | `fault::clients::a_range_of_a_cold_blob_…` |
//! | A slow or vanishing first client kills the fill | `pains::a_client_that_gives_up_each_time_…` | `fault::clients::a_follower_survives_…`, `…::a_client_that_does_not_read_…` |
//! | Wedged until restart | `pains::every_fault_in_turn_…` | `fault::regressions::a_client_that_leaves_a_stalled_fill_…` |
//! | Chains: HEAD of what is not cached; a signed redirect that is cached and expires | `redirects::a_signed_address_…` | `chains::passing::head_ranges_and_errors_…`; `chains::far` |
//! | A mirror that is dead or says 429 makes clients go around it, or wait | `waiting::a_storm_of_429_…`, `waiting::a_hop_that_never_stops_…` | `chains::hops::a_dead_upstream_among_three_…` |
//! | Tokens that live short | `waiting::a_token_that_ends_…`, `waiting::a_refusal_that_stays_…` | `fault::credentials` |

mod corners;
mod lies;
mod pains;
mod parallel;
mod ranges;
mod redirects;
mod restart;
mod resume;
mod waiting;

use crate::support::shelf::place;
use crate::support::{Blob, Client, DockerRegistry, FaultProxy, Transship, assert_same, until};

const MIB: usize = 1 << 20;

/// What may be received and lost at each break: the chunks that were not written yet.
const LOST_BYTES_MAX: u64 = 1 << 20;

/// What of that which has come may not be shown while the hop stands still: a chunk that waits for more.
const UNSEEN: usize = 256 * 1024;

/// Little patience with a body that stands still.
const IMPATIENT: &str = "    progress_timeout: 300ms\n";

/// A registry, the ways to it, and a cache that knows only these.
struct Stage {
    cache: Transship,
    hops: Vec<FaultProxy>,
    registry: DockerRegistry,
}

impl Stage {
    fn set() -> Self {
        Self::set_with("")
    }

    /// - `more`: as [`Transship::behind`] has it.
    fn set_with(more: &str) -> Self {
        Self::of_hops(1, more)
    }

    fn of_hops(count: usize, more: &str) -> Self {
        let registry = DockerRegistry::start();
        let hops: Vec<_> = (0..count)
            .map(|_| FaultProxy::before(registry.addr()))
            .collect();
        let urls: Vec<_> = hops.iter().map(FaultProxy::url).collect();
        let cache = Transship::behind(&urls, more).start();
        Self {
            cache,
            hops,
            registry,
        }
    }

    fn hop(&self) -> &FaultProxy {
        &self.hops[0]
    }

    /// Makes a blob that the registry has.
    fn make(&self, seed: u64, size: usize) -> Blob {
        let blob = Blob::seeded(seed, size);
        self.registry.hold(&blob);
        blob
    }

    /// Asks for a blob; the head must promise all of it.
    #[track_caller]
    fn ask<'b>(&self, blob: &'b Blob) -> Pull<'b> {
        Pull::begin(&self.cache, blob)
    }

    /// Pulls a blob that must come whole and right, and then be stored.
    #[track_caller]
    fn expect_whole(&self, blob: &Blob) {
        self.ask(blob).rest();
        self.expect_kept(blob);
    }

    /// The store has, or will have in a moment, the right file; it is served from there, and the hop is not
    /// asked for it again.
    #[track_caller]
    fn expect_kept(&self, blob: &Blob) {
        self.until_no_fill();
        let kept = std::fs::read(place(&self.cache.storage, &blob.digest));
        assert_same(&kept.expect("a stored file"), &blob.bytes);
        let asked = self.asked(blob);
        let hit = self.cache.get(&blob.path());
        assert_eq!((hit.status(), hit.cache()), (200, "hit".to_owned()));
        assert_same(&hit.body, &blob.bytes);
        assert_eq!(self.asked(blob), asked);
    }

    /// The store has nothing under the blob's name, and will not.
    #[track_caller]
    fn expect_not_kept(&self, blob: &Blob) {
        self.until_no_fill();
        let place = place(&self.cache.storage, &blob.digest);
        assert!(!place.exists(), "{} is stored", blob.digest);
    }

    fn until_no_fill(&self) {
        until("no fill runs", || {
            self.cache.metrics().sum("transship_fills_running", &[]) == 0
        });
    }

    /// How often the blob was asked for, over all hops.
    fn asked(&self, blob: &Blob) -> usize {
        self.hops.iter().map(|hop| hop.asked(blob).len()).sum()
    }

    fn sent(&self, blob: &Blob) -> u64 {
        self.hops.iter().map(|hop| hop.sent(blob)).sum()
    }

    /// All hops together have sent the blob once, and what was lost at so many breaks.
    #[track_caller]
    fn expect_sent_once(&self, blob: &Blob, breaks: u64) {
        let (sent, size) = (self.sent(blob), blob.len() as u64);
        assert!(
            (size..=size + breaks * LOST_BYTES_MAX).contains(&sent),
            "{sent} bytes were sent for {size}, with {breaks} breaks: {:?}",
            self.ranges(blob)
        );
    }

    /// The `Range` of each request for the blob, hop by hop, and what was sent for it.
    fn ranges(&self, blob: &Blob) -> Vec<(Option<String>, u64)> {
        let asked = self.hops.iter().flat_map(|hop| hop.asked(blob));
        let range = |asked: &crate::support::fault_proxy::Asked| asked.range().map(str::to_owned);
        asked.map(|asked| (range(&asked), asked.sent)).collect()
    }

    fn outcomes(&self, outcome: &str) -> u64 {
        let metrics = self.cache.metrics();
        metrics.sum("transship_fills_total", &[("outcome", outcome)])
    }
}

/// One response, held against what it must be as it comes.
struct Pull<'b> {
    client: Client,
    blob: &'b Blob,
    at: usize,
    end: usize,
}

impl<'b> Pull<'b> {
    /// Asks for all of a blob.
    #[track_caller]
    fn begin(cache: &Transship, blob: &'b Blob) -> Self {
        let mut client = cache.client();
        client.ask("GET", &blob.path(), &[]);
        let head = client.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.length(), Some(blob.len() as u64));
        Self {
            client,
            blob,
            at: 0,
            end: blob.len(),
        }
    }

    /// Asks for `range` of a blob, which must be answered with these bytes.
    #[track_caller]
    fn of_range(cache: &Transship, blob: &'b Blob, range: &str, at: usize, end: usize) -> Self {
        let mut client = cache.client();
        client.ask("GET", &blob.path(), &[("Range", range)]);
        let head = client.head();
        assert_eq!(head.status, 206, "{range}: {head:?}");
        let wanted = format!("bytes {at}-{}/{}", end - 1, blob.len());
        assert_eq!(head.field("content-range"), Some(&*wanted));
        assert_eq!(head.length(), Some((end - at) as u64));
        Self {
            client,
            blob,
            at,
            end,
        }
    }

    /// Reads the next bytes, which must come.
    #[track_caller]
    fn read(&mut self, count: usize) {
        let got = self.read_up_to(count);
        assert_eq!(
            got, count,
            "the response ended at {} of {}",
            self.at, self.end
        );
    }

    /// Reads all that is left, which must come.
    #[track_caller]
    fn rest(&mut self) {
        self.read(self.end - self.at);
    }

    /// Reads until the response breaks off, as it must.
    #[track_caller]
    fn expect_short(&mut self) {
        let left = self.end - self.at;
        let got = self.read_up_to(left);
        assert!(got < left, "all of {} bytes came", self.end);
    }

    /// Compares as it reads: cheaper than to keep it.
    #[track_caller]
    fn read_up_to(&mut self, count: usize) -> usize {
        let (blob, at) = (self.blob, &mut self.at);
        let got = self.client.read_up_to(count as u64, &mut |part: &[u8]| {
            assert_same(part, &blob.bytes[*at..*at + part.len()]);
            *at += part.len();
        });
        usize::try_from(got).unwrap()
    }
}
