//! Why a token is not believed.
//!
//! A reason holds nothing of the token, so it may be logged, counted and told to a client. The one part of
//! a token that may be shown is the name of its key, and only cut and cleaned.

use std::fmt;

/// Why a token is not believed, or does not permit what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a token: too long, not three parts, not strict base64 or JSON, a claim missing or of the wrong
    /// kind, or an extension (`crit`) that nobody here knows.
    Malformed,
    /// Signed with an algorithm that this kind of token may not use, or that its key does not fit.
    Algorithm,
    /// Signed with a key that is not in the set. The set may be out of date: worth asking for it again.
    KeyUnknown,
    /// The signature is not the key's.
    Signature,
    /// Meant for somebody else.
    Audience,
    /// From somebody else.
    Issuer,
    /// No longer valid.
    Expired,
    /// Not valid yet, or issued in the future.
    NotYetValid,
    /// For another blob.
    Digest,
    /// For another repository.
    Repository,
    /// For this repository, and not for pulling.
    Action,
}

impl Refusal {
    /// Every reason, for a metric that shows each of them from the start.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Algorithm,
        Self::KeyUnknown,
        Self::Signature,
        Self::Audience,
        Self::Issuer,
        Self::Expired,
        Self::NotYetValid,
        Self::Digest,
        Self::Repository,
        Self::Action,
    ];

    /// Returns the reason as the label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::KeyUnknown => "key_unknown",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Digest => "digest",
            Self::Repository => "repository",
            Self::Action => "action",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a well-formed token",
            Self::Algorithm => "token signed with an algorithm that is not allowed here",
            Self::KeyUnknown => "token signed with an unknown key",
            Self::Signature => "token's signature is wrong",
            Self::Audience => "token is for another audience",
            Self::Issuer => "token is from another issuer",
            Self::Expired => "token has expired",
            Self::NotYetValid => "token is not valid yet",
            Self::Digest => "token is for another blob",
            Self::Repository => "token is for another repository",
            Self::Action => "token does not permit pulling",
        })
    }
}

impl std::error::Error for Refusal {}

/// Returns a key's name for the log: 64 characters of it at most, none that a log could misread.
pub(super) fn shown(kid: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    kid.chars().take(64).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: HashSet<_> = Refusal::ALL
            .iter()
            .map(|refusal| refusal.as_str())
            .collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
        let plain = |label: &&str| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(labels.iter().all(plain));
        let texts: HashSet<_> = Refusal::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), Refusal::ALL.len());
    }

    #[test]
    fn the_name_of_a_key_cannot_forge_a_line_of_the_log() {
        assert_eq!(shown("a b\n\u{1b}é\u{7f}"), "a?b????");
        assert_eq!(shown(&"k".repeat(1000)), "k".repeat(64));
    }
}
