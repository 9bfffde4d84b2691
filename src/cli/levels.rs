//! What the parts have waiting, put together for whoever asks: metrics know none of them.

use std::sync::Arc;

use crate::fill::Fills;
use crate::metrics::Levels;
use crate::rt;
use crate::store::Store;
use crate::upstream::Upstream;

/// Returns what takes the look.
pub(super) fn look(
    fills: &Arc<Fills>,
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
) -> impl Fn() -> Levels + Send + Sync + 'static {
    let (fills, upstream, store) = (Arc::clone(fills), Arc::clone(upstream), Arc::clone(store));
    move || {
        let load = fills.load();
        Levels {
            fill_followers: load.followers,
            fill_chunks_waiting: load.chunks_waiting,
            sink_jobs_waiting: load.sinks_waiting,
            helper_jobs_waiting: rt::helper_jobs_waiting(),
            upstream_requests_waiting: upstream.requests_waiting(),
            upstream_payments_waiting: upstream.payments_waiting(),
            is_housekeeper: store.is_keeper(),
        }
    }
}
