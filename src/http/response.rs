//! Writes response heads into a buffer that is used again.
//!
//! A head written here cannot be split: names are tokens and values free of controls, or the field is
//! left out whole. Order is status line, `Date`, fields as called, framing, connection.

use std::ops::Range;

use super::grammar::{is_token, is_value, push_decimal};
use super::multipart::push_content_range;

/// How the end of the response's content is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The status has no content: 1xx, 204, 304. Writes no field.
    Empty,
    /// `Content-Length`. For HEAD, and for what GET would send.
    Length(u64),
    /// `Transfer-Encoding: chunked`. Never to HTTP/1.0.
    Chunked,
    /// Until the connection closes, for HTTP/1.0 and unknown length; goes with [`Connection::Close`].
    UntilClose,
}

/// What becomes of the connection after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Stays, as HTTP/1.1 has it without a word.
    Stay,
    /// Stays, said aloud to a client of HTTP/1.0.
    StayHttp10,
    /// Closes.
    Close,
}

/// Writes one response head.
///
/// ```
/// use transship::http::{Connection, Framing, ResponseHead};
/// let mut out = Vec::new();
/// ResponseHead::begin(&mut out, 404, "Sun, 06 Nov 1994 08:49:37 GMT")
///     .field("Content-Type", "application/json")
///     .finish(Framing::Length(2), Connection::Stay);
/// assert!(out.starts_with(b"HTTP/1.1 404 Not Found\r\nDate: "));
/// assert!(out.ends_with(b"\r\nContent-Length: 2\r\n\r\n"));
/// ```
#[derive(Debug)]
#[must_use = "a head ends with finish"]
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ResponseHead<'a> {
    /// Appends the status line, and `Date` unless `date` is empty.
    ///
    /// - `status`: 100 to 999; anything else is written as 500.
    /// - `date`: an IMF-fixdate (RFC 9110 §5.6.7), 29 bytes.
    pub fn begin(out: &'a mut Vec<u8>, status: u16, date: &str) -> Self {
        let status = if (100..1000).contains(&status) {
            status
        } else {
            500
        };
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reason_phrase(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        let head = Self { out };
        if date.is_empty() {
            return head;
        }
        head.field("Date", date)
    }

    /// Appends a field; leaves it out if the name is no token or the value holds a control byte.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.field_parts(name, &[value.as_ref()])
    }

    /// Appends a field whose value is the parts in a row, for `"` digest `"` and the like.
    pub fn field_parts(self, name: &str, parts: &[&[u8]]) -> Self {
        if is_token(name.as_bytes()) && parts.iter().all(|part| is_value(part)) {
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b": ");
            for part in parts {
                self.out.extend_from_slice(part);
            }
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Appends a field with a number for value: `Retry-After`, `Age`.
    pub fn field_number(self, name: &str, value: u64) -> Self {
        if is_token(name.as_bytes()) {
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b": ");
            push_decimal(self.out, value);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Appends `Content-Range` of a 206: half-open offsets, not empty, of `size` bytes.
    pub fn content_range(self, range: &Range<u64>, size: u64) -> Self {
        self.out.extend_from_slice(b"Content-Range: ");
        push_content_range(self.out, range, size);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends `Content-Range: bytes */size`, which a 416 carries (RFC 9110 §15.5.17).
    pub fn content_range_unsatisfied(self, size: u64) -> Self {
        self.out.extend_from_slice(b"Content-Range: bytes */");
        push_decimal(self.out, size);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends framing, connection and the blank line.
    pub fn finish(self, framing: Framing, connection: Connection) {
        match framing {
            Framing::Empty | Framing::UntilClose => {}
            Framing::Length(length) => {
                self.out.extend_from_slice(b"Content-Length: ");
                push_decimal(self.out, length);
                self.out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => self
                .out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        match connection {
            Connection::Stay => {}
            Connection::StayHttp10 => self.out.extend_from_slice(b"Connection: keep-alive\r\n"),
            Connection::Close => self.out.extend_from_slice(b"Connection: close\r\n"),
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// The interim response that a client with `expect_continue` waits for (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Returns the registered phrase for `status`, or that of its class (RFC 9110 §15).
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn a_head_is_written_in_order() {
        let mut out = b"before".to_vec();
        ResponseHead::begin(&mut out, 206, DATE)
            .field("Content-Type", "a/b")
            .field_parts("ETag", &[b"\"", b"x", b"\""])
            .field_number("Age", 7)
            .content_range(&(2..5), 10)
            .finish(Framing::Length(3), Connection::StayHttp10);
        let text = format!(
            "beforeHTTP/1.1 206 Partial Content\r\nDate: {DATE}\r\nContent-Type: a/b\r\nETag: \"x\"\r\n\
             Age: 7\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn nothing_can_split_a_head() {
        let mut out = Vec::new();
        ResponseHead::begin(&mut out, 99, "")
            .field("X", "a\r\nY: b")
            .field("X", "a\nb")
            .field("X", "a\0")
            .field("X\r\nY", "b")
            .field("X:", "b")
            .field("", "b")
            .field_parts("X", &[b"a", b"\r"])
            .field_number("X Y", 1)
            .finish(Framing::Chunked, Connection::Close);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn httparse_reads_what_is_written_for_every_status() {
        for status in 100..1000 {
            let mut out = Vec::new();
            ResponseHead::begin(&mut out, status, DATE)
                .content_range_unsatisfied(4)
                .finish(Framing::Empty, Connection::Stay);
            let mut fields = [httparse::EMPTY_HEADER; 4];
            let mut response = httparse::Response::new(&mut fields);
            assert_eq!(
                response.parse(&out),
                Ok(httparse::Status::Complete(out.len()))
            );
            assert_eq!(response.code, Some(status));
            assert_eq!(response.headers[1].value, b"bytes */4");
        }
    }
}
