//! What the operator allows of the way to the next hops.

use super::request::Urgency;

/// One fill's share of the bytes a second that the operator allows. Cheap to clone; clones are one share.
#[derive(Clone, Debug)]
pub struct Share(());

impl Share {
    /// Returns a share of what has no bound.
    pub(super) const fn unbounded() -> Self {
        Self(())
    }

    /// Pays for bytes that were received: returns at once where there is no bound, else when these bytes
    /// and all before them are within it. Shares that wait take turns, those of clients first.
    #[expect(clippy::unused_async, reason = "a bound makes it wait")]
    pub async fn pay(&self, bytes: usize, urgency: Urgency) {
        let _ = (self.0, bytes, urgency);
    }
}
