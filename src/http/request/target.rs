//! The request line: method, target in its four forms, version.

use super::{Method, RequestError, Version};
use crate::http::grammar::{is_authority, is_target, is_token};
use crate::limits::REQUEST_TARGET_BYTES_MAX;

/// A checked request line.
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) version: Version,
    /// The authority of absolute-form.
    pub(super) authority: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Reads `method SP target SP version` with exactly these two spaces (RFC 9112 §3).
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, RequestError> {
        let (method, rest) = split_at_byte(line, memchr::memchr(b' ', line))?;
        let (target, version) = split_at_byte(rest, memchr::memrchr(b' ', rest))?;
        if !is_token(method) || target.is_empty() {
            return Err(RequestError::RequestLine);
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(RequestError::Version);
            }
            _ => return Err(RequestError::RequestLine),
        };
        let method = Method::from_token(method).ok_or(RequestError::MethodUnknown)?;
        if target.len() > REQUEST_TARGET_BYTES_MAX {
            return Err(RequestError::TargetTooLong);
        }
        let (authority, target) = split_authority(method, target)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Ok(Self {
            method,
            path: if path.is_empty() { "/" } else { path },
            query,
            version,
            authority,
        })
    }
}

/// Splits off the authority of absolute-form; what remains is path and query, perhaps empty.
///
/// Authority-form is for CONNECT and asterisk-form for OPTIONS (RFC 9112 §3.2.3, §3.2.4).
fn split_authority(method: Method, target: &[u8]) -> Result<(Option<&str>, &str), RequestError> {
    let absolute = strip_scheme(target);
    if !is_target(absolute.map_or(target, strip_brackets)) {
        return Err(RequestError::Target);
    }
    let text = str::from_utf8(absolute.unwrap_or(target)).map_err(|_| RequestError::Target)?;
    if absolute.is_some() {
        let end = text.find(['/', '?']).unwrap_or(text.len());
        let (authority, rest) = text.split_at(end);
        if !is_authority(authority) {
            return Err(RequestError::HostInvalid);
        }
        return Ok((Some(authority), rest));
    }
    if text.starts_with('/') || (text == "*" && method == Method::Options) {
        return Ok((None, text));
    }
    Err(RequestError::Target)
}

/// Returns what follows `http://` or `https://`; schemes know no case (RFC 3986 §3.1).
fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return None;
    }
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

/// Skips an IPv6 address in brackets, the one place of a URI that has them; checked with the host.
fn strip_brackets(after_scheme: &[u8]) -> &[u8] {
    match memchr::memchr2(b']', b'/', after_scheme) {
        Some(at) if after_scheme[0] == b'[' && after_scheme[at] == b']' => &after_scheme[at + 1..],
        _ => after_scheme,
    }
}

/// Splits around the byte at `at`.
fn split_at_byte(bytes: &[u8], at: Option<usize>) -> Result<(&[u8], &[u8]), RequestError> {
    let at = at.ok_or(RequestError::RequestLine)?;
    Ok((&bytes[..at], &bytes[at + 1..]))
}
