//! What is spoilt of which answers.

use crate::support::Gate;
use crate::support::blob::Blob;

/// Which requests: GETs only.
#[derive(Clone)]
pub struct On {
    target: String,
    ranged: Option<bool>,
}

impl On {
    pub fn blob(blob: &Blob) -> Self {
        Self::target(&format!("/blobs/{}", blob.digest))
    }

    pub fn blobs() -> Self {
        Self::target("/blobs/")
    }

    /// Those whose path and query hold this text.
    pub fn target(text: &str) -> Self {
        Self {
            target: text.to_owned(),
            ranged: None,
        }
    }

    /// Those alone that ask for all.
    pub fn whole(mut self) -> Self {
        self.ranged = Some(false);
        self
    }

    /// Those alone that ask for a range.
    pub fn ranged(mut self) -> Self {
        self.ranged = Some(true);
        self
    }

    pub(super) fn accepts(&self, method: &str, target: &str, is_ranged: bool) -> bool {
        method == "GET"
            && target.contains(&self.target)
            && self.ranged.is_none_or(|ranged| ranged == is_ranged)
    }
}

/// One fault, or several at once: built by chaining. Offsets count the bytes of this answer's body.
#[derive(Clone, Default)]
pub struct Harm {
    pub(super) instead: Option<Instead>,
    pub(super) head_gate: Option<Gate>,
    pub(super) body_gate: Option<(u64, Gate)>,
    pub(super) range: Range,
    pub(super) total_off: i64,
    pub(super) length_off: i64,
    pub(super) lost_field: Option<&'static str>,
    pub(super) flipped: Option<u64>,
    pub(super) slow: Option<(u64, u64)>,
    pub(super) end: Option<(u64, End)>,
}

/// An answer that the registry is not asked for.
#[derive(Clone)]
pub(super) struct Instead {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    /// What stands behind the path, where the last field leads on to the same path.
    pub(super) leads_on: Option<String>,
}

/// What becomes of the `Range` of a request.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Range {
    #[default]
    Honoured,
    Ignored,
    /// Another one is answered, so many bytes before it.
    Before(u64),
}

/// How a body ends early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
    /// In the midst of a TLS record.
    Torn,
}

impl Harm {
    /// None yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Answers this, with these fields, in the registry's place.
    pub fn status(status: u16, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            instead: Some(Instead {
                status,
                fields: fields.collect(),
                leads_on: None,
            }),
            ..Self::default()
        }
    }

    /// 307 to the same path, behind `base`, with a query.
    pub fn redirect(base: &str, query: &str) -> Self {
        Self {
            instead: Some(Instead {
                status: 307,
                fields: vec![("Location".to_owned(), base.to_owned())],
                leads_on: Some(query.to_owned()),
            }),
            ..Self::default()
        }
    }

    /// Waits before the head.
    pub fn wait_before_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Waits after this many bytes, and before the end that may come there: a stall, if the gate stays shut.
    pub fn wait_at(mut self, offset: u64, gate: &Gate) -> Self {
        self.body_gate = Some((offset, gate.clone()));
        self
    }

    /// Closes after this many bytes.
    pub fn cut(self, offset: u64) -> Self {
        self.ends(offset, End::Closed)
    }

    /// Resets the connection after this many bytes; some of them may be lost on the way.
    pub fn reset(self, offset: u64) -> Self {
        self.ends(offset, End::Reset)
    }

    /// Closes in the midst of the TLS record that follows these bytes, without a goodbye.
    pub fn tear(self, offset: u64) -> Self {
        self.ends(offset, End::Torn)
    }

    fn ends(mut self, offset: u64, end: End) -> Self {
        self.end = Some((offset, end));
        self
    }

    /// Answers 200 and all to a range.
    pub fn ignore_range(mut self) -> Self {
        self.range = Range::Ignored;
        self
    }

    /// Answers 206 with a range that begins so much earlier, and says so.
    pub fn begin_earlier(mut self, bytes: u64) -> Self {
        self.range = Range::Before(bytes);
        self
    }

    /// Says in `Content-Range` that the blob has so many bytes more.
    pub fn claim_total(mut self, more: i64) -> Self {
        self.total_off = more;
        self
    }

    /// Says in `Content-Length` that so many bytes more follow; then closes.
    pub fn claim_length(mut self, more: i64) -> Self {
        self.length_off = more;
        self
    }

    /// Leaves out a field of the head.
    pub fn without(mut self, field: &'static str) -> Self {
        self.lost_field = Some(field);
        self
    }

    /// Flips the bits of one byte.
    pub fn flip(mut self, offset: u64) -> Self {
        self.flipped = Some(offset);
        self
    }

    /// Goes on at this rate after so many bytes, until all slowness is [lifted](super::FaultProxy::hurry).
    pub fn slow_from(mut self, offset: u64, bytes_per_second: u64) -> Self {
        self.slow = Some((offset, bytes_per_second));
        self
    }

    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        let body = self.body_gate.iter().map(|(_, gate)| gate);
        self.head_gate.iter().chain(body)
    }
}
