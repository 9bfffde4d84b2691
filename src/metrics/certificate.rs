//! What is counted of the certificate that clients are shown.

use super::table::{CERTIFICATE_EXPIRY, CERTIFICATE_RELOADS};
use super::{Cell, Sample};

/// What came of reading the server's certificate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It is in use.
    Replaced,
    /// It is of no use; the old one stays.
    Refused,
}

impl ReloadOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 2] = [Self::Replaced, Self::Refused];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Refused => "refused",
        }
    }
}

/// The numbers of the server's certificate, written by whoever reads it, one at a time.
#[derive(Debug, Default)]
pub struct Certificate {
    /// 0 while there is no certificate.
    expires: Cell,
    reloads: [Cell; ReloadOutcome::ALL.len()],
}

impl Certificate {
    /// Sets when the certificate in use expires, in seconds since the epoch.
    pub fn set_expiry(&self, expires: i64) {
        self.expires.set(u64::try_from(expires).unwrap_or(0));
    }

    /// Counts one reading.
    pub fn count(&self, outcome: ReloadOutcome) {
        self.reloads[outcome as usize].add(1);
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let expires = self.expires.read();
        if expires == 0 {
            return Vec::new();
        }
        let mut samples = vec![CERTIFICATE_EXPIRY.alone(expires)];
        samples.extend(ReloadOutcome::ALL.into_iter().map(|outcome| {
            let value = self.reloads[outcome as usize].read();
            CERTIFICATE_RELOADS.sample([outcome.label()], value)
        }));
        samples
    }
}
