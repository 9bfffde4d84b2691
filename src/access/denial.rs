//! Why a request does not get what it asks for.

use std::sync::Arc;

use crate::auth;
use crate::upstream;

/// Why not. Cheap to clone, since everyone who waits for the same answer is told.
#[derive(Clone, Debug)]
pub enum Denial {
    /// The signed URL does not permit this. 403, without the reason: who holds a redirect's URL has
    /// nothing to log in to.
    Signature(auth::Refusal),
    /// Only signed URLs are served (`transship.access.require_token`). 403.
    Unsigned,
    /// Nobody is logged in, or not well enough, at the cache's own door. 401, with this challenge.
    LogIn(Arc<str>),
    /// `Authorization` is no text. 400.
    Malformed,
    /// The origin says no; its challenges are meant for the client where `is_clients` is set.
    Refused {
        /// What it said.
        refusal: Arc<upstream::Refusal>,
        /// The client's own right was asked for, so that it may log in there.
        is_clients: bool,
    },
    /// What answered is not the origin's word on this. 502.
    Unproved,
    /// The origin gave no answer.
    Upstream(Arc<upstream::Error>),
    /// Too many log in or are asked about at once, or the cache is about to end. 503.
    Busy,
}

impl Denial {
    /// Says whether the origin has decided nothing: a permission of before may count meanwhile.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::Upstream(error) => !matches!(**error, upstream::Error::Request(_)),
            Self::Refused { refusal, .. } => refusal.is_undecided(),
            Self::Unproved | Self::Busy => true,
            _ => false,
        }
    }

    /// Says whether the origin could not be reached at all, whoever had asked.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use upstream::Error::{Away, TimedOut, Tls, Unreachable};
        match self {
            Self::Upstream(error) => {
                matches!(
                    **error,
                    Away { .. } | Unreachable { .. } | TimedOut { .. } | Tls { .. }
                )
            }
            _ => false,
        }
    }
}
