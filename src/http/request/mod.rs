//! The strict request head parser.
//!
//! [`HeadScan`] finds where a head ends while it arrives; [`parse`] reads the whole head in one pass
//! and borrows from it. No allocation, no copy, no state between requests.
//!
//! It refuses everything that another reader of the same bytes might frame or route otherwise, and
//! repairs nothing. Deliberately narrower than RFC 9112:
//! - targets carry RFC 3986 bytes only; hosts are names or addresses, without percent-encoding;
//! - `Content-Length` twice is refused even when equal (RFC 9112 §6.3 would let us merge);
//! - fields that may come once (`Range`, `Authorization`, …) are refused when repeated;
//! - CONNECT, TRACE and any unknown method get 501.
//!
//! Absolute-form is taken for `http` and `https`, and its authority replaces `Host` (RFC 9112 §3.2.2).

mod error;
mod field;
mod known;
mod scan;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;

pub use error::RequestError;
pub use field::{Fields, Values};
pub use scan::HeadScan;

use crate::limits::HEADERS_MAX;
use known::Known;
use target::RequestLine;

/// Methods that have a meaning here; which of them is allowed where, the server decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Safe, with content in the response.
    Get,
    /// As `Get`, without the content.
    Head,
    /// Begins an upload: refused by a pull-only cache.
    Post,
    /// Ends an upload: refused by a pull-only cache.
    Put,
    /// Continues an upload: refused by a pull-only cache.
    Patch,
    /// Deletes: refused by a pull-only cache.
    Delete,
    /// Asks what is possible.
    Options,
}

impl Method {
    /// Returns the method's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Methods are case-sensitive (RFC 9110 §9.1).
    fn from_token(token: &[u8]) -> Option<Self> {
        Some(match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            _ => return None,
        })
    }
}

/// Protocol versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: closes unless asked to stay, may lack `Host`, takes no chunked response.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of the request's content is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The next request begins right after the head.
    None,
    /// That many bytes follow; more than zero.
    Length(u64),
    /// Chunks follow: see [`crate::http::Chunked`].
    Chunked,
}

/// One request head, borrowed from the buffer that it was received in.
///
/// Text is checked but undecoded. `Debug` shows neither query nor fields: both carry credentials.
#[derive(Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path, undecoded: begins with `/`, or is `*` for OPTIONS.
    pub path: &'a str,
    /// What follows the first `?`, undecoded; see [`crate::http::Query`].
    pub query: Option<&'a str>,
    /// The protocol version.
    pub version: Version,
    /// Host and optional port that the request is for; `None` only in HTTP/1.0.
    pub host: Option<&'a str>,
    /// How the content is framed.
    pub body: Body,
    /// Whether the client lets the connection stay for another request.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its content.
    pub expect_continue: bool,
    /// `Range`, unparsed; see [`crate::http::range::parse`].
    pub range: Option<&'a [u8]>,
    /// `If-Range`, unparsed; see [`crate::http::if_range_matches`].
    pub if_range: Option<&'a [u8]>,
    /// `Authorization`. A secret: never log, never put in an error.
    pub authorization: Option<&'a [u8]>,
    /// `User-Agent`, the first if there are several. May hold bytes above 127.
    pub user_agent: Option<&'a [u8]>,
    /// `If-None-Match`, unparsed; see [`crate::http::if_none_match`].
    pub if_none_match: Values<'a>,
    /// `Accept`.
    pub accept: Values<'a>,
    /// `Accept-Encoding`.
    pub accept_encoding: Values<'a>,
    /// `Via`: who forwarded the request, for finding loops.
    pub via: Values<'a>,
    /// `traceparent`, unchecked; see [`crate::http::Trace`].
    pub traceparent: Values<'a>,
    /// `tracestate`, unchecked.
    pub tracestate: Values<'a>,
    fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// Returns all fields in order, those that have a place of their own included.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        self.fields.clone()
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("version", &self.version)
            .field("host", &self.host)
            .field("body", &self.body)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// Reads one whole request head, as long as [`HeadScan::scan`] said.
///
/// Checks everything itself: bytes that no scan has seen are safe to give. One pass, no allocation.
///
/// # Errors
///
/// What [`RequestError`] lists; answer its status and close the connection.
pub fn parse(head: &[u8]) -> Result<Request<'_>, RequestError> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let (line, block) = split_line(head)?;
    let line = RequestLine::parse(line)?;
    let mut known = Known::new();
    let mut rest = block;
    let mut count = 0;
    loop {
        let (field, after) = split_line(rest)?;
        if field.is_empty() {
            if after.is_empty() {
                break;
            }
            return Err(RequestError::Unterminated);
        }
        count += 1;
        if count > HEADERS_MAX {
            return Err(RequestError::TooManyFields);
        }
        known.take(field, rest)?;
        rest = after;
    }
    let fields = Fields::new(&block[..block.len() - rest.len()]);
    known.finish(&line, fields)
}

/// Splits off one line at its CRLF, which belongs to neither part.
fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), RequestError> {
    let end = memchr::memchr(b'\n', bytes).ok_or(RequestError::Unterminated)?;
    let line = bytes[..end]
        .strip_suffix(b"\r")
        .ok_or(RequestError::BareLf)?;
    Ok((line, &bytes[end + 1..]))
}
