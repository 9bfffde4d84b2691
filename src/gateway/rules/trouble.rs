//! Why an attempt came to nothing, for people: in the log, the API and on the page.
//!
//! Invariant: no text of another server is in it but what [`plain`] lets through, and no address but those of the
//! configuration.

use reqwest::StatusCode;

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may be over by itself: tried again.
    Passing(String),
    /// It stays so until somebody changes something.
    Lasting(String),
    /// Nobody asks for it any more.
    Moot(String),
}

impl Trouble {
    pub(super) fn passing(text: impl Into<String>) -> Self {
        Self::Passing(text.into())
    }

    pub(super) fn lasting(text: impl Into<String>) -> Self {
        Self::Lasting(text.into())
    }

    /// Adds how far it has come.
    pub(super) fn with(self, more: &str) -> Self {
        let with = |text: String| format!("{text} ({more})");
        match self {
            Self::Passing(text) => Self::Passing(with(text)),
            Self::Lasting(text) => Self::Lasting(with(text)),
            Self::Moot(text) => Self::Moot(text),
        }
    }

    /// The trouble with a request that got no answer. Its address is left out: a query may hold a signature.
    pub(super) fn of(what: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = format!("{what}: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Passing(plain(&text))
    }

    /// The trouble with an answer that is not the one that was hoped for.
    pub(super) fn status(what: &str, status: StatusCode) -> Self {
        let text = format!("{what}: {status}");
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Self::Passing(text),
            StatusCode::UNAUTHORIZED => Self::Lasting(format!("{what}: the login is not taken")),
            StatusCode::FORBIDDEN => Self::Lasting(format!("{what}: the login may not do that")),
            StatusCode::NOT_FOUND => Self::Lasting(format!("{what}: not found")),
            status if status.is_client_error() => Self::Lasting(text),
            _ => Self::Passing(text),
        }
    }
}

/// Longest message, in bytes.
const BYTES_MAX: usize = 400;

/// Returns another server's text in one line without control characters, and not too long.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(BYTES_MAX)
        .collect();
    while plain.len() > BYTES_MAX {
        plain.pop();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_says_is_one_short_line() {
        assert_eq!(plain("a\r\nb\u{1b}[1m"), "a  b [1m");
        assert!(plain(&"é".repeat(1000)).len() <= BYTES_MAX);
    }

    #[test]
    fn what_is_tried_again_is_what_may_pass() {
        let is_passing = |code| {
            let status = StatusCode::from_u16(code).unwrap();
            matches!(Trouble::status("x", status), Trouble::Passing(_))
        };
        for code in [408, 429, 500, 502, 503, 504, 301] {
            assert!(is_passing(code), "{code}");
        }
        for code in [400, 401, 403, 404, 405, 413] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
