//! The fields that frame, route or condition a request, sorted out in one pass.

use super::target::RequestLine;
use super::{Body, Fields, Request, RequestError, Values, Version};
use crate::http::grammar::{decimal, is_authority, is_token, is_value, trim};

/// What the fields of one head have said so far.
pub(super) struct Known<'a> {
    host: Option<&'a str>,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
    range: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    if_none_match: Values<'a>,
    accept: Values<'a>,
    accept_encoding: Values<'a>,
    via: Values<'a>,
    traceparent: Values<'a>,
    tracestate: Values<'a>,
}

impl<'a> Known<'a> {
    pub(super) const fn new() -> Self {
        Self {
            host: None,
            content_length: None,
            chunked: false,
            close: false,
            keep_alive: false,
            expect_continue: false,
            range: None,
            if_range: None,
            authorization: None,
            user_agent: None,
            if_none_match: Values::none("if-none-match"),
            accept: Values::none("accept"),
            accept_encoding: Values::none("accept-encoding"),
            via: Values::none("via"),
            traceparent: Values::none("traceparent"),
            tracestate: Values::none("tracestate"),
        }
    }

    /// Takes one field line without its CRLF; `from` is the rest of the head, beginning with it.
    pub(super) fn take(&mut self, line: &'a [u8], from: &'a [u8]) -> Result<(), RequestError> {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(RequestError::FoldedField);
        }
        let colon = memchr::memchr(b':', line).ok_or(RequestError::FieldName)?;
        let name = &line[..colon];
        if !is_token(name) {
            return Err(RequestError::FieldName);
        }
        let value = trim(&line[colon + 1..]);
        if !is_value(value) {
            return Err(RequestError::FieldValue);
        }
        // Length and first letter leave one candidate; most fields of a request are none of these.
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match (name.len(), name[0] | 0x20) {
            (3, b'v') if is(b"via") => self.via.add(from),
            (4, b'h') if is(b"host") => return self.take_host(value),
            (5, b'r') if is(b"range") => return once(&mut self.range, value),
            (6, b'a') if is(b"accept") => self.accept.add(from),
            (6, b'e') if is(b"expect") => return self.take_expect(value),
            (8, b'i') if is(b"if-range") => return once(&mut self.if_range, value),
            (10, b'c') if is(b"connection") => self.take_connection(value),
            (10, b't') if is(b"tracestate") => self.tracestate.add(from),
            (10, b'u') if is(b"user-agent") => self.user_agent = self.user_agent.or(Some(value)),
            (11, b't') if is(b"traceparent") => self.traceparent.add(from),
            (13, b'a') if is(b"authorization") => return once(&mut self.authorization, value),
            (13, b'i') if is(b"if-none-match") => self.if_none_match.add(from),
            (14, b'c') if is(b"content-length") => return self.take_content_length(value),
            (15, b'a') if is(b"accept-encoding") => self.accept_encoding.add(from),
            (17, b't') if is(b"transfer-encoding") => return self.take_transfer_encoding(value),
            _ => {}
        }
        Ok(())
    }

    fn take_host(&mut self, value: &'a [u8]) -> Result<(), RequestError> {
        let host = str::from_utf8(value).map_err(|_| RequestError::HostInvalid)?;
        if !is_authority(host) {
            return Err(RequestError::HostInvalid);
        }
        once(&mut self.host, host)
    }

    fn take_content_length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        let length = decimal(value).ok_or(RequestError::ContentLength)?;
        once(&mut self.content_length, length)
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.chunked {
            return Err(RequestError::FieldRepeated);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(RequestError::TransferCodingUnknown);
        }
        self.chunked = true;
        Ok(())
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestError::Expectation);
        }
        self.expect_continue = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',').map(trim) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Checks what only the whole head can tell, and builds the request.
    pub(super) fn finish(
        self,
        line: &RequestLine<'a>,
        fields: Fields<'a>,
    ) -> Result<Request<'a>, RequestError> {
        let http11 = line.version == Version::Http11;
        if self.host.is_none() && http11 {
            return Err(RequestError::HostMissing);
        }
        let body = match (self.chunked, self.content_length) {
            (true, Some(_)) => return Err(RequestError::FramingAmbiguous),
            (true, None) if !http11 => return Err(RequestError::TransferEncodingInHttp10),
            (true, None) => Body::Chunked,
            (false, None | Some(0)) => Body::None,
            (false, Some(length)) => Body::Length(length),
        };
        Ok(Request {
            method: line.method,
            path: line.path,
            query: line.query,
            version: line.version,
            host: line.authority.or(self.host),
            body,
            keep_alive: !self.close && (http11 || self.keep_alive),
            // RFC 9110 §10.1.1: ignored in HTTP/1.0, and without content there is nothing to wait for.
            expect_continue: self.expect_continue && http11 && body != Body::None,
            range: self.range,
            if_range: self.if_range,
            authorization: self.authorization,
            user_agent: self.user_agent,
            if_none_match: self.if_none_match,
            accept: self.accept,
            accept_encoding: self.accept_encoding,
            via: self.via,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            fields,
        })
    }
}

/// Fills `slot`, which a second line of the same field finds taken.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), RequestError> {
    if slot.is_some() {
        return Err(RequestError::FieldRepeated);
    }
    *slot = Some(value);
    Ok(())
}
