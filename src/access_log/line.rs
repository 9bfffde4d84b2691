//! A request and its response as they go from the core that served them to the writer.
//!
//! Nothing is formatted here: what is fixed in size is copied into a list, what is text into one buffer for
//! all lines of a batch. So a line costs its core a copy of some 200 bytes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::http::trace::trace_id;
use crate::http::{Method, Request, Version};
use crate::limits::{
    LOG_AGENT_BYTES_MAX, LOG_BATCH_BYTES, LOG_BATCH_LINES, LOG_TARGET_BYTES_MAX,
    LOG_UPSTREAM_BYTES_MAX,
};
use crate::metrics::CacheUse;

/// The status of a request whose client left before it was answered, after nginx.
const CLIENT_LEFT: u16 = 499;

/// Parameters of a query that are logged: those that mean something here and are no secret. Any other may be
/// one, as `token` is, by whatever name.
const PARAMETERS: [&str; 4] = ["ns", "n", "last", "artifactType"];

/// A request that has been answered, or has ended otherwise.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The request, if its head could be read.
    pub request: Option<&'a Request<'a>>,
    /// When its head was here.
    pub begun: Instant,
    /// How long after that the first byte of the response went out; `None` if none did.
    pub first_byte: Option<Duration>,
    /// How long after that it was over.
    pub total: Duration,
    /// Status and use of the cache; `None` if there was no response.
    pub response: Option<(u16, CacheUse)>,
    /// Bytes of content that the system took.
    pub body_bytes: u64,
    /// Whether the response was sent to its end.
    pub is_whole: bool,
    /// The digest of what was sent, where the path does not say it.
    pub digest: Option<Digest>,
    /// The next hop that answered, if one was asked.
    pub upstream: Option<&'a str>,
}

/// The part of a line that is fixed in size. What few lines have is kept beside it: each line is written to memory that
/// the core has not seen for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub(super) client: IpAddr,
    pub(super) is_tls: bool,
    pub(super) request: Option<(Method, Version)>,
    pub(super) begun: Instant,
    pub(super) first_byte: Option<Duration>,
    pub(super) total: Duration,
    pub(super) status: u16,
    pub(super) cache: Option<CacheUse>,
    pub(super) body_bytes: u64,
    pub(super) is_whole: bool,
    /// Whether the next of the batch's digests is this line's, and the next of its traces.
    has_digest: bool,
    has_trace: bool,
    /// How long each text is: path, query, agent, upstream. Each begins where the one before ends.
    lengths: [u16; 4],
}

/// A line as the writer sees it. Its texts are the client's and unchecked, but for their length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) fixed: &'a Fixed,
    pub(super) path: &'a [u8],
    /// Only parameters that may be logged; empty without any.
    pub(super) query: &'a [u8],
    pub(super) agent: &'a [u8],
    pub(super) upstream: &'a [u8],
    /// The digest of what was sent, where the path does not say it.
    pub(super) digest: Option<Digest>,
    /// The trace that the request belongs to.
    pub(super) trace_id: Option<u128>,
}

/// Lines on their way. Kept and used again for its capacity.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<Fixed>,
    text: Vec<u8>,
    digests: Vec<Digest>,
    traces: Vec<u128>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= LOG_BATCH_LINES || self.text.len() >= LOG_BATCH_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.text.clear();
        self.digests.clear();
        self.traces.clear();
    }

    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        if self.lines.capacity() == 0 {
            self.lines.reserve_exact(LOG_BATCH_LINES);
            self.text.reserve(LOG_BATCH_BYTES / 2);
        }
        let mut lengths = [0; 4];
        if let Some(request) = entry.request {
            lengths[0] = self.put(request.path.as_bytes(), LOG_TARGET_BYTES_MAX);
            lengths[1] = request.query.map_or(0, |query| self.put_query(query));
            lengths[2] = self.put(request.user_agent.unwrap_or_default(), LOG_AGENT_BYTES_MAX);
        }
        if let Some(upstream) = entry.upstream {
            lengths[3] = self.put(upstream.as_bytes(), LOG_UPSTREAM_BYTES_MAX);
        }
        self.digests.extend(entry.digest);
        let traced = entry.request.filter(|r| !r.traceparent.is_empty());
        let trace = traced.and_then(|request| trace_id(request.traceparent.clone()));
        self.traces.extend(trace);
        self.lines.push(Fixed {
            client: entry.client,
            is_tls: entry.is_tls,
            request: entry
                .request
                .map(|request| (request.method, request.version)),
            begun: entry.begun,
            first_byte: entry.first_byte,
            total: entry.total,
            status: entry.response.map_or(CLIENT_LEFT, |(status, _)| status),
            cache: entry.response.map(|(_, cache)| cache),
            body_bytes: entry.body_bytes,
            is_whole: entry.is_whole,
            has_digest: entry.digest.is_some(),
            has_trace: trace.is_some(),
            lengths,
        });
    }

    fn put(&mut self, text: &[u8], bytes_max: usize) -> u16 {
        let start = self.text.len();
        self.text
            .extend_from_slice(&text[..text.len().min(bytes_max)]);
        self.length_since(start)
    }

    fn put_query(&mut self, query: &str) -> u16 {
        let start = self.text.len();
        for parameter in query.split('&') {
            let name = parameter.split('=').next().unwrap_or_default();
            let has_room = self.text.len() - start + parameter.len() < LOG_TARGET_BYTES_MAX;
            if PARAMETERS.contains(&name) && has_room {
                if self.text.len() > start {
                    self.text.push(b'&');
                }
                self.text.extend_from_slice(parameter.as_bytes());
            }
        }
        self.length_since(start)
    }

    /// Every text is far below 64 KiB.
    fn length_since(&self, start: usize) -> u16 {
        u16::try_from(self.text.len() - start).unwrap_or(u16::MAX)
    }

    pub(super) fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> {
        let mut rest = self.text.as_slice();
        let (mut digests, mut traces) = (self.digests.iter(), self.traces.iter());
        self.lines.iter().map(move |fixed| {
            let [path, query, agent, upstream] = fixed.lengths.map(|length| {
                let (text, behind) = rest.split_at_checked(length.into()).unwrap_or_default();
                rest = behind;
                text
            });
            Line {
                fixed,
                path,
                query,
                agent,
                upstream,
                digest: fixed.has_digest.then(|| digests.next().copied()).flatten(),
                trace_id: fixed.has_trace.then(|| traces.next().copied()).flatten(),
            }
        })
    }
}
