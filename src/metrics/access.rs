//! What is counted of who may have what.

use super::table::{ACCESS_CHECKS, ACCESS_REFUSED};
use super::{Cell, Counters, Metrics, Sample};

/// Why a request for content was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRefusal {
    /// The token of a signed URL is none.
    TokenMalformed,
    /// It is signed with an algorithm that is not accepted.
    TokenAlgorithm,
    /// It names a key that is not known.
    TokenKey,
    /// Its signature is wrong.
    TokenSignature,
    /// It has expired.
    TokenExpired,
    /// It does not count yet: a clock is wrong.
    TokenNotYetValid,
    /// It is for something else.
    TokenClaims,
    /// There is none, and one is required.
    Unsigned,
    /// Nobody is logged in at the cache's own door.
    LogIn,
    /// The origin says no.
    Origin,
    /// The origin gives no answer.
    Away,
    /// Too many log in at once.
    Busy,
}

impl AccessRefusal {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 12] = [
        Self::TokenMalformed,
        Self::TokenAlgorithm,
        Self::TokenKey,
        Self::TokenSignature,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenClaims,
        Self::Unsigned,
        Self::LogIn,
        Self::Origin,
        Self::Away,
        Self::Busy,
    ];

    /// Returns the value of the `reason` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TokenMalformed => "token_malformed",
            Self::TokenAlgorithm => "token_algorithm",
            Self::TokenKey => "token_key",
            Self::TokenSignature => "token_signature",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenClaims => "token_claims",
            Self::Unsigned => "unsigned",
            Self::LogIn => "login",
            Self::Origin => "origin",
            Self::Away => "away",
            Self::Busy => "busy",
        }
    }
}

/// How a question to the origin about somebody's right ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Yes.
    Granted,
    /// No.
    Refused,
    /// No answer, or none that decides.
    Away,
    /// No answer, and what it said before counts for the time being.
    Graced,
}

impl CheckOutcome {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 4] = [Self::Granted, Self::Refused, Self::Away, Self::Graced];

    /// Returns the value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::Graced => "graced",
        }
    }
}

/// One core's numbers.
#[derive(Debug, Default)]
pub(super) struct AccessCounters {
    refusals: [Cell; AccessRefusal::ALL.len()],
    checks: [Cell; CheckOutcome::ALL.len()],
}

impl Counters {
    /// Counts a request for content that was refused.
    pub fn count_access_refusal(&self, reason: AccessRefusal) {
        self.access.refusals[reason as usize].add(1);
    }

    /// Counts a question to the origin.
    pub fn count_check(&self, outcome: CheckOutcome) {
        self.access.checks[outcome as usize].add(1);
    }
}

impl Metrics {
    pub(super) fn access_samples(&self) -> impl Iterator<Item = Sample> {
        let refusals = AccessRefusal::ALL.into_iter().map(|reason| {
            let value = self.sum(|core| &core.access.refusals[reason as usize]);
            ACCESS_REFUSED.sample([reason.label()], value)
        });
        let checks = CheckOutcome::ALL.into_iter().map(|outcome| {
            let value = self.sum(|core| &core.access.checks[outcome as usize]);
            ACCESS_CHECKS.sample([outcome.label()], value)
        });
        refusals.chain(checks)
    }
}
