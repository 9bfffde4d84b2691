//! A hold on a fill of whoever wants the blob stored, and no byte of it.
//!
//! It is nobody that the fill waits for, or hurries for: a client that comes makes it urgent, see
//! [`Fill::urgency`]. A fill that was begun for watchers alone ends with the last of them, unless a client has
//! ever come to it; what has come is kept for the next one.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Failure, Fill, Fills};
use crate::rt;
use crate::upstream::{self, Request, Response, Urgency};

/// Who watches a fill.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    count: AtomicUsize,
    /// It was begun for them, and not for a client.
    are_first: AtomicBool,
}

/// See the module's header. Dropping it lets go.
#[derive(Debug)]
pub struct Watch(Arc<Fill>);

impl Deref for Watch {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.0
    }
}

impl Watch {
    /// Watches `fill`, and wants all of the blob.
    pub(super) fn join(fill: &Arc<Fill>) -> Self {
        fill.watchers.count.fetch_add(1, Ordering::SeqCst);
        fill.wants.lock().want_whole();
        fill.call();
        Self(Arc::clone(fill))
    }

    /// As [`Watch::join`], of a fill that was not begun for a client.
    pub(super) fn lead(fill: &Arc<Fill>) -> Self {
        fill.watchers.are_first.store(true, Ordering::SeqCst);
        Self::join(fill)
    }

    /// Returns the fill, to look at while it is watched.
    #[must_use]
    pub fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.0)
    }

    /// Waits for the end, and returns the blob's size. It need not be in the store then: a disk that fails does
    /// not end what clients follow.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn end(&self) -> Result<u64, Failure> {
        self.0.ended().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.watchers.count.fetch_sub(1, Ordering::SeqCst);
        self.0.call();
    }
}

impl Fill {
    /// Returns who waits for this fill.
    pub(super) fn urgency(&self) -> Urgency {
        match self.is_followed() {
            true => Urgency::Client,
            false => Urgency::Background,
        }
    }

    /// Returns how many bytes have come from next hops.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.story.received()
    }

    /// Says whether whoever it was begun for has gone, and no client has ever come; then none comes any more.
    pub(super) fn is_given_up(&self) -> bool {
        let watchers = &self.watchers;
        watchers.are_first.load(Ordering::SeqCst)
            && watchers.count.load(Ordering::SeqCst) == 0
            && self.held.lock().close_if_new()
    }
}

impl Fills {
    /// Asks next hops with the urgency of who waits for `fill`. A client that comes while this waits in line
    /// behind others has it asked anew, before all that nobody waits for.
    pub(super) async fn ask(
        &self,
        fill: &Fill,
        request: &mut Request,
    ) -> Result<Response, upstream::Error> {
        request.urgency = fill.urgency();
        if request.urgency == Urgency::Background {
            // What is on its way already is not asked for twice: then nobody stands in line.
            let overtakes = || fill.is_followed() && self.upstream.requests_waiting() > 0;
            let come = pin!(fill.until(overtakes));
            if let Some(outcome) = rt::unless(come, self.upstream.send(request)).await {
                return outcome;
            }
            request.urgency = Urgency::Client;
        }
        self.upstream.send(request).await
    }
}
