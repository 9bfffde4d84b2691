//! What can go wrong with the backend, and what clients are told of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gateway::answer::RegistryError;
use crate::gateway::app::now;
use crate::gateway::proxy::refusal::Refusal;
use crate::limits::REFUSALS_LOGGED_A_SECOND;
use crate::registry::Code;

/// Why the backend gave no answer that could be passed on. Its fault, or the operator's.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway::proxy) enum Trouble {
    /// It does not take connections, or breaks the protocol.
    Away(String),
    /// It takes too long.
    Slow,
    /// It does not take the gateway's own login.
    Login(&'static str),
    /// Its login has just been learned or renewed, and the body that was sent is gone: the next attempt goes well.
    Again,
    /// Its answer makes no sense.
    Broken(String),
    /// The client's body broke off.
    Client,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the backend is away: {why}"),
            Self::Slow => f.write_str("the backend does not answer in time"),
            Self::Login(why) => write!(f, "the backend does not let the gateway in: {why}"),
            Self::Again => f.write_str("the backend's login has just changed"),
            Self::Broken(why) => write!(f, "the backend's answer makes no sense: {why}"),
            Self::Client => f.write_str("the client's body broke off"),
        }
    }
}

impl Trouble {
    /// Returns what went wrong with a request. No URL is in it: a redirect's may be a secret.
    pub(super) fn of(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Slow;
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Away(text)
    }

    /// Logs it, and returns what the client is told.
    pub(in crate::gateway::proxy) fn told(self, path: &str) -> Refusal {
        let message = match &self {
            Self::Client => {
                tracing::debug!(path, "{self}");
                return Code::RequestInvalid.into();
            }
            // Why is the operator's business.
            Self::Away(_) | Self::Broken(_) => "the registry behind this gateway failed",
            Self::Slow => "the registry behind this gateway did not answer in time",
            Self::Login(_) => "the registry behind this gateway does not let it in",
            Self::Again => "ask again",
        };
        if may_log(now()) {
            tracing::warn!(path, "{self}");
        }
        let code = match &self {
            Self::Slow => Code::GatewayTimeout,
            Self::Again => Code::Unavailable,
            Self::Away(_) | Self::Login(_) | Self::Broken(_) | Self::Client => Code::BadGateway,
        };
        Refusal::Error(RegistryError::new(code, message))
    }
}

/// Says whether another line may be logged in this second: a backend that is away is told of by all its clients.
fn may_log(second: u64) -> bool {
    static LOGGED: AtomicU64 = AtomicU64::new(0);
    // The second above, how many lines it has had below.
    let count = |old: u64| {
        if old >> 32 == second {
            old + 1
        } else {
            (second << 32) + 1
        }
    };
    let old = LOGGED.update(Ordering::Relaxed, Ordering::Relaxed, count);
    count(old) & u64::from(u32::MAX) <= u64::from(REFUSALS_LOGGED_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_no_more() {
        let lines = |second| (0..100).filter(|_| may_log(second)).count();
        let bound = usize::try_from(REFUSALS_LOGGED_A_SECOND).unwrap();
        assert_eq!((lines(7), lines(8)), (bound, bound));
    }
}
