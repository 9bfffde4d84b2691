//! Why an image is not here: in a word for programs, and a sentence for people.

use std::fmt;

use crate::access::Denial;
use crate::fill;
use crate::manifests;
use crate::upstream::{self, Authority, Refusal};

/// Why an image, or a part of it, could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next hop gives it to nobody who asks like this.
    Denied,
    /// There is no such image, or no such part of it.
    Absent,
    /// What came is not what was asked for.
    Corrupt,
    /// The image is not one that can be walked through.
    Invalid,
    /// It has none of the platforms that were asked for.
    NoPlatform,
    /// The disk does not take it.
    Disk,
    /// No next hop answers, or this process has no room just now: it may be had later.
    Away,
}

impl Kind {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Denied => "DENIED",
            Self::Absent => "NOT_FOUND",
            Self::Corrupt => "CORRUPT",
            Self::Invalid => "INVALID",
            Self::NoPlatform => "NO_PLATFORM",
            Self::Disk => "DISK",
            Self::Away => "UPSTREAM",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// Says whether it may be had later.
    pub(super) fn is_passing(&self) -> bool {
        self.kind == Kind::Away
    }

    /// Adds what it is about.
    pub(super) fn about(self, what: impl fmt::Display) -> Self {
        Self::new(self.kind, format!("{what}: {}", self.message))
    }

    fn of_refusal(refusal: &Refusal, authority: &Authority) -> Self {
        let (status, hop) = (refusal.status, &refusal.hop);
        let said = format!("{hop} answered {status}");
        match status {
            401 | 403 => {
                let whom = match authority {
                    Authority::Login(_) => "to the login of this job",
                    _ => "to the cache's own name (proxy.username): the job may bring a login",
                };
                Self::new(Kind::Denied, format!("{said} {whom}"))
            }
            404 | 410 => Self::new(Kind::Absent, said),
            408 | 425 | 429 => Self::new(Kind::Away, said),
            501 | 505 | 508 => Self::new(Kind::Invalid, said),
            500.. => Self::new(Kind::Away, said),
            _ => Self::new(Kind::Invalid, said),
        }
    }

    fn of_error(error: &upstream::Error) -> Self {
        use upstream::Error;
        let kind = match error {
            Error::Request(_) => Kind::Invalid,
            Error::TooLarge { .. } => Kind::Invalid,
            Error::Realm { .. } | Error::Token { .. } => Kind::Denied,
            _ => Kind::Away,
        };
        Self::new(kind, error.to_string())
    }

    pub(super) fn of_manifest(failure: &manifests::Failure, authority: &Authority) -> Self {
        match failure {
            manifests::Failure::Refused(refusal) => Self::of_refusal(refusal, authority),
            manifests::Failure::Unasked(error) | manifests::Failure::Broken(error) => {
                Self::of_error(error)
            }
            manifests::Failure::Nonsense(what) => Self::new(Kind::Corrupt, *what),
        }
    }

    pub(super) fn of_fill(failure: &fill::Failure, authority: &Authority) -> Self {
        match failure {
            fill::Failure::Refused(refusal) => Self::of_refusal(refusal, authority),
            fill::Failure::Upstream(error) => Self::of_error(error),
            fill::Failure::Corrupt(_) => Self::new(Kind::Corrupt, failure.to_string()),
            fill::Failure::Disk(_) => Self::new(Kind::Disk, failure.to_string()),
            fill::Failure::Nonsense(_) | fill::Failure::Unwanted | fill::Failure::Lost => {
                Self::new(Kind::Away, failure.to_string())
            }
        }
    }

    pub(super) fn of_denial(denial: &Denial, authority: &Authority) -> Self {
        match denial {
            Denial::Refused { refusal, .. } => Self::of_refusal(refusal, authority),
            Denial::Upstream(error) => Self::of_error(error),
            Denial::Unproved => Self::new(
                Kind::Away,
                "what answered is not the registry's word on this",
            ),
            Denial::Busy => Self::new(Kind::Away, "too many questions are under way"),
            Denial::Signature(_) | Denial::Unsigned | Denial::LogIn(_) | Denial::Malformed => {
                Self::new(Kind::Denied, "the cache's own door is shut")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::upstream::Credentials;

    #[test]
    fn a_refusal_is_told_with_whose_name_was_refused() {
        let refusal = |status| Refusal {
            status,
            challenges: Vec::new(),
            cache_status: String::new(),
            hop: "a.example".to_owned(),
        };
        let login = Authority::Login(Arc::new(Credentials {
            username: "u".to_owned(),
            password: "s3cret".to_owned(),
        }));
        for (status, kind) in [
            (401, Kind::Denied),
            (403, Kind::Denied),
            (404, Kind::Absent),
            (429, Kind::Away),
            (400, Kind::Invalid),
            (508, Kind::Invalid),
            (503, Kind::Away),
        ] {
            let own = Failure::of_refusal(&refusal(status), &Authority::Cache);
            assert_eq!(own.kind, kind, "{status}");
            assert!(own.message.contains("a.example answered"), "{own}");
        }
        let own = Failure::of_refusal(&refusal(401), &Authority::Cache);
        let job = Failure::of_refusal(&refusal(401), &login);
        assert!(own.message.contains("proxy.username"), "{own}");
        assert!(job.message.contains("login of this job"), "{job}");
        assert!(!format!("{job:?}{login:?}").contains("s3cret"));
    }
}
