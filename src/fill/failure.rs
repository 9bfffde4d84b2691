//! Why a fill ended without its blob.

use std::fmt;
use std::sync::Arc;

use crate::metrics::{Fault, FillOutcome};
use crate::upstream;

/// Why a fill ended without its blob, told to every follower. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The next hop answered, and the answer was not the blob.
    Refused(Arc<upstream::Refusal>),
    /// The next hop could not be reached, broke off, or broke the protocol.
    Upstream(Arc<upstream::Error>),
    /// All that came is not the blob: the next hop's fault, or that of the path to it.
    Corrupt(&'static str),
    /// A next hop's answer is of no use; what came before it may be good.
    Nonsense(&'static str),
    /// The disk failed.
    Disk(Arc<std::io::Error>),
    /// Only parts of the blob were asked for, or it was fetched for nobody but a job that has ended, and nobody
    /// asks any more. No follower hears of it.
    Unwanted,
    /// The fill's own task ended without a word: a bug.
    Lost,
}

impl Failure {
    /// Returns the outcome that it is counted as.
    #[must_use]
    pub const fn outcome(&self) -> FillOutcome {
        match self {
            Self::Refused(_) => FillOutcome::Refused,
            Self::Upstream(_) | Self::Nonsense(_) => FillOutcome::UpstreamFailed,
            Self::Corrupt(_) => FillOutcome::Corrupt,
            Self::Unwanted => FillOutcome::Unwanted,
            Self::Disk(_) | Self::Lost => FillOutcome::DiskFailed,
        }
    }

    /// Returns whose fault it is that a response ends short of its length.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(_) | Self::Upstream(_) | Self::Corrupt(_) | Self::Nonsense(_) => {
                Fault::Upstream
            }
            Self::Disk(_) => Fault::Disk,
            Self::Unwanted | Self::Lost => Fault::Us,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the next hop answered {}", refusal.status),
            Self::Upstream(error) => write!(f, "{error}"),
            Self::Corrupt(what) | Self::Nonsense(what) => {
                write!(f, "the next hop sent something else: {what}")
            }
            Self::Disk(error) => write!(f, "disk: {error}"),
            Self::Unwanted => f.write_str("nobody wants more of it"),
            Self::Lost => f.write_str("the fill ended without a word"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<upstream::Error> for Failure {
    fn from(error: upstream::Error) -> Self {
        Self::Upstream(Arc::new(error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}
