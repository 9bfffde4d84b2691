//! Responses that are whole in memory, and the one place where failures become statuses.

use std::sync::Arc;

use serde_json::Value;

use super::exchange::{Exchange, Terms};
use crate::access::Denial;
use crate::digest::Digest;
use crate::fill::Failure;
use crate::http::Framing;
use crate::metrics::{CacheUse, Fault};
use crate::registry::{Code, error};
use crate::upstream::{self, Refusal};

/// A response status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u16);

impl Status {
    pub(super) const OK: Self = Self(200);
    pub(super) const PARTIAL_CONTENT: Self = Self(206);
    pub(super) const NOT_MODIFIED: Self = Self(304);

    pub(super) const fn number(self) -> u16 {
        self.0
    }
}

/// A response with its body in memory.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) cache: CacheUse,
    pub(super) body: Vec<u8>,
    /// Whose fault it is, where the status does not tell.
    fault: Option<Fault>,
    /// The next hop that answered, for the access log.
    pub(super) upstream: Option<Arc<str>>,
    fields: Vec<(&'static str, String)>,
}

impl Reply {
    /// Returns a response with `body` of type `media_type`.
    pub(super) fn new(status: Status, media_type: &str, body: Vec<u8>) -> Self {
        let fields = vec![("Content-Type", media_type.to_owned())];
        Self {
            status,
            cache: CacheUse::Bypass,
            body,
            fault: None,
            upstream: None,
            fields,
        }
    }

    /// Adds a field.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Says which next hop answered.
    pub(super) fn answered_by(mut self, hop: &str) -> Self {
        self.upstream = Some(hop.into());
        self
    }

    /// Returns the digest that it names.
    pub(super) fn digest(&self) -> Option<Digest> {
        let mut fields = self.fields.iter();
        let (_, digest) = fields.find(|(name, _)| *name == "Docker-Content-Digest")?;
        digest.parse().ok()
    }

    /// Says how the cache took part, behind which others were that said `behind` of theirs.
    pub(super) fn by(mut self, cache: CacheUse, behind: &str) -> Self {
        self.cache = cache;
        self.with("Cache-Status", format!("{behind}{}", cache.cache_status()))
    }

    /// Returns whose fault it is; `None` where it is an answer like another.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.or(Fault::of_status(self.status.number()))
    }

    const fn by_fault_of(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Counts it as of this use, which it does not tell itself.
    pub(super) const fn counted(mut self, cache: CacheUse) -> Self {
        self.cache = cache;
        self
    }

    /// Says that the next hop was asked, and what came of it, in the words of RFC 9211 §2.
    fn forwarded(self, behind: &str, outcome: &str) -> Self {
        self.with(
            "Cache-Status",
            format!("{behind}transship; fwd=miss; {outcome}"),
        )
    }

    /// `GET /`: alive.
    pub(super) fn alive() -> Self {
        Self::new(Status::OK, "text/plain", Vec::new()).with("Cache-Control", "no-cache")
    }

    /// `GET /v2/`: speaks the API.
    pub(super) fn base() -> Self {
        Self::new(Status::OK, "application/json", b"{}".to_vec())
    }

    pub(super) fn not_modified() -> Self {
        Self {
            status: Status::NOT_MODIFIED,
            cache: CacheUse::Bypass,
            body: Vec::new(),
            fault: None,
            upstream: None,
            fields: Vec::new(),
        }
    }

    /// Returns the error response of `code`, with a message of its own.
    pub(super) fn error(code: Code, message: &str) -> Self {
        Self::new(
            Status(code.status()),
            error::CONTENT_TYPE,
            error::to_json(code, Some(message), &Value::Null),
        )
    }

    /// Returns the error response of `code` about `subject`.
    pub(super) fn unknown(code: Code, subject: &str) -> Self {
        let detail = Value::String(subject.to_owned());
        Self::new(
            Status(code.status()),
            error::CONTENT_TYPE,
            error::to_json(code, None, &detail),
        )
    }

    pub(super) fn not_found() -> Self {
        Self::new(Status(404), "text/plain", b"404 page not found\n".to_vec())
    }

    /// Pushes and deletes.
    pub(super) fn unsupported() -> Self {
        let message = "this is a pull-only cache: push to the origin registry";
        Self::error(Code::Unsupported, message).with("Allow", "GET, HEAD")
    }

    /// A request head that cannot be served.
    pub(super) fn bad_request(status: u16, reason: &str) -> Self {
        let mut reply = Self::error(Code::RequestInvalid, reason);
        reply.status = Status(status);
        reply
    }

    /// Too many blobs are being fetched at once. It says what it is about: a cache in front would else leave this
    /// one alone altogether for as long.
    pub(super) fn too_many_fills() -> Self {
        Self::error(Code::Unavailable, "too many transfers at once")
            .with("Retry-After", "1")
            .with("Cache-Status", "transship; fwd=miss; detail=too-many-fills")
    }

    /// What a fill's failure is to a client whose response has not begun.
    pub(super) fn of_failure(failure: &Failure) -> Self {
        match failure {
            // What a refusal means depends on who asked: see `permit::refusal`.
            Failure::Refused(_) => Self::error(Code::Denied, Code::Denied.record().message),
            Failure::Upstream(error) => Self::of_upstream_error(error),
            Failure::Corrupt(_) | Failure::Nonsense(_) => Self::error(
                Code::BadGateway,
                "the upstream registry sent something else",
            )
            .forwarded("", "detail=corrupt"),
            Failure::Disk(_) | Failure::Lost | Failure::Unwanted => {
                Self::error(Code::Unavailable, "the cache's disk failed")
                    .by_fault_of(failure.fault())
            }
        }
    }

    /// What a next hop's answer other than 200 is to the client; `unknown` says what a 404 is about.
    ///
    /// - `is_clients`: whether the client's own right was asked for.
    pub(super) fn of_refusal(
        refusal: &Refusal,
        is_clients: bool,
        unknown: Code,
        subject: &str,
    ) -> Self {
        let status = refusal.status;
        let reply = Self::of_status(refusal, is_clients, unknown, subject);
        reply
            .forwarded(&refusal.cache_status, &format!("fwd-status={status}"))
            .answered_by(&refusal.hop)
    }

    fn of_status(refusal: &Refusal, is_clients: bool, unknown: Code, subject: &str) -> Self {
        match refusal.status {
            404 => Self::unknown(unknown, subject),
            401 if is_clients && !refusal.challenges.is_empty() => {
                let reply = Self::error(Code::Unauthorized, "the upstream registry wants a login");
                let challenges = refusal.challenges.iter();
                challenges.fold(reply, |reply, challenge| {
                    reply.with("WWW-Authenticate", challenge)
                })
            }
            401 | 403 if is_clients => {
                Self::error(Code::Denied, "the upstream registry refuses this")
            }
            // 401 would make the client log in at the cache, which holds no accounts.
            401 | 403 => Self::error(Code::Denied, "the upstream registry refuses this cache"),
            508 => Self::looped(Code::LoopDetected.record().message),
            status => Self::error(
                Code::BadGateway,
                &format!("the upstream registry answered {status}"),
            ),
        }
    }

    /// What somebody is told who may not have what they ask for.
    pub(super) fn of_denial(denial: &Denial, unknown: Code, subject: &str) -> Self {
        match denial {
            // The reason is in the log. 401 would send clients to a login that is not here.
            Denial::Signature(_) => Self::error(Code::Denied, Code::Denied.record().message),
            Denial::Unsigned => {
                let message = "only signed URLs are served here: pull from the origin registry";
                Self::error(Code::Denied, message)
            }
            Denial::LogIn(challenge) => Self::error(Code::Unauthorized, "authentication required")
                .with("WWW-Authenticate", &**challenge),
            Denial::Malformed => Self::error(
                Code::RequestInvalid,
                "Authorization is neither Basic nor Bearer",
            ),
            Denial::Refused {
                refusal,
                is_clients,
            } => Self::of_refusal(refusal, *is_clients, unknown, subject),
            Denial::Unproved => Self::error(
                Code::BadGateway,
                "the upstream registry sent something else",
            ),
            Denial::Upstream(error) => Self::of_upstream_error(error),
            Denial::Busy => {
                Self::error(Code::Unavailable, "too many ask at once").with("Retry-After", "1")
            }
        }
    }

    /// A set of public keys.
    pub(super) fn keys(keys: Vec<u8>) -> Self {
        Self::new(Status::OK, "application/jwk-set+json", keys).with("Cache-Control", "max-age=300")
    }

    /// What an upstream that gave no answer is to the client. The log has the particulars.
    pub(super) fn of_upstream_error(error: &upstream::Error) -> Self {
        let later = match error {
            upstream::Error::Throttled { retry_after, .. } => {
                Some((retry_after, "the upstream registry asks to slow down"))
            }
            upstream::Error::Full { retry_after, .. } => {
                let message = "this cache has too many requests under way to the upstream registry";
                Some((retry_after, message))
            }
            _ => None,
        };
        if let Some((retry_after, message)) = later {
            // 429 would be taken for the cache's own, and send the client to the upstream.
            let seconds = retry_after.as_secs_f64().ceil().max(1.0);
            return Self::error(Code::Unavailable, message)
                .with("Retry-After", seconds.to_string())
                .by_fault_of(Fault::Upstream)
                .forwarded("", detail(error));
        }
        let code = if error.is_timeout() {
            Code::GatewayTimeout
        } else {
            Code::BadGateway
        };
        let message = match error {
            // Which one and why is for the log.
            upstream::Error::Away { since, .. } => format!(
                "upstream registry is down since {} s and was not asked again yet",
                since.as_secs()
            ),
            _ => code.record().message.to_owned(),
        };
        Self::error(code, &message).forwarded("", detail(error))
    }

    /// A request that goes round in a cycle of caches, which shows here.
    pub(super) fn looped(why: &str) -> Self {
        Self::error(Code::LoopDetected, why)
    }

    /// A request of which a next hop says so; `behind` is what caches there said of their part.
    pub(super) fn of_loop(behind: &str) -> Self {
        Self::looped(Code::LoopDetected.record().message).forwarded(behind, "fwd-status=508")
    }

    /// Appends the head.
    pub(super) fn write(&self, output: &mut Vec<u8>, terms: Terms<'_>, exchange: &Exchange) {
        let mut head = exchange.begin_head(output, self.status, terms);
        for (name, value) in &self.fields {
            head = head.field(name, value);
        }
        let framing = match self.status {
            Status::NOT_MODIFIED => Framing::Empty,
            _ => Framing::Length(self.body.len() as u64),
        };
        head.finish(framing, terms.connection);
    }
}

/// Says in a parameter of `Cache-Status` why the next hops gave no answer.
pub(super) const fn detail(error: &upstream::Error) -> &'static str {
    match error {
        upstream::Error::Away { .. } => "detail=upstream-down",
        upstream::Error::Throttled { .. } => "detail=upstream-throttled",
        upstream::Error::Full { .. } => "detail=too-many-requests-under-way",
        _ if error.is_timeout() => "detail=upstream-late",
        _ => "detail=upstream-failed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Operators would look for the fault at the registry that is in their own bound.
    #[test]
    fn a_bound_of_ours_is_not_told_as_the_registrys_wish() {
        let host = || "a.example".to_owned();
        let retry_after = Duration::from_millis(1500);
        let throttled = upstream::Error::Throttled {
            host: host(),
            retry_after,
        };
        let full = upstream::Error::Full {
            host: host(),
            retry_after,
        };
        let told = [throttled, full].map(|error| {
            let reply = Reply::of_upstream_error(&error);
            assert_eq!(reply.status, Status(503));
            let field = |name| {
                let found = reply.fields.iter().find(|(found, _)| *found == name);
                found.map(|(_, value)| value.clone()).unwrap()
            };
            assert_eq!(field("Retry-After"), "2");
            field("Cache-Status")
        });
        let expected = ["upstream-throttled", "too-many-requests-under-way"];
        assert_eq!(
            told,
            expected.map(|why| format!("transship; fwd=miss; detail={why}"))
        );
    }
}
