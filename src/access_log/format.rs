//! A line of the access log as text: Apache's combined format with more behind it, or JSON.
//!
//! What the client sent is hostile: no byte of it may end a line, a quoted field or a JSON string, or mean
//! anything to a terminal.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::line::Line;
use crate::digest::Digest;
use crate::http::{Method, Version};
use crate::registry::{Reference, Route};

/// Names of months as dates have them (RFC 9110 §5.6.7).
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What a line has room for at once; few are longer.
const LINE_BYTES: usize = 512;

/// What lines are formatted with.
#[derive(Debug)]
pub(super) struct Formatter {
    /// Path before `/v2/`.
    prefix: String,
    clock: Clock,
    /// What the last line began with, for its client and second: the next mostly begins with the same.
    opening: Option<(IpAddr, u64, String)>,
}

/// The last second that was written, in both forms.
#[derive(Debug, Default)]
struct Clock {
    second: Option<u64>,
    /// `21/Nov/2026:18:43:23 +0000`
    apache: String,
    /// `2026-11-21T18:43:23`
    rfc3339: String,
}

impl Clock {
    fn set(&mut self, second: u64) {
        if self.second.replace(second) == Some(second) {
            return;
        }
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        // Sat, 21 Nov 2026 18:43:23 GMT
        let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
        let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
        let number = MONTHS.iter().position(|name| *name == month).unwrap_or(0) + 1;
        self.apache = format!("{day}/{month}/{year}:{time} +0000");
        self.rfc3339 = format!("{year}-{number:02}-{day}T{time}");
    }
}

/// What a path says of the content.
#[derive(Default)]
struct Named<'a> {
    repository: Option<&'a str>,
    digest: Option<Digest>,
}

impl<'a> Named<'a> {
    fn of(path: &'a [u8], prefix: &str) -> Self {
        let path = std::str::from_utf8(path).unwrap_or_default();
        let (name, digest) = match Route::parse(path, prefix) {
            Ok(Route::Blob { name, digest } | Route::Referrers { name, digest }) => {
                (name, Some(digest))
            }
            Ok(Route::Manifest { name, reference }) => match reference {
                Reference::Digest(digest) => (name, Some(digest)),
                Reference::Tag(_) => (name, None),
            },
            Ok(Route::Tags { name } | Route::Upload { name }) => (name, None),
            Ok(Route::Root | Route::Base | Route::Catalog) | Err(_) => return Self::default(),
        };
        Self {
            repository: Some(name.as_str()),
            digest,
        }
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

impl Formatter {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            clock: Clock::default(),
            opening: None,
        }
    }

    /// Returns what a line of this client and second begins with, to the request's quote.
    fn opening(&mut self, client: IpAddr, second: u64) -> &str {
        let last = self.opening.take();
        let last = last.filter(|last| (last.0, last.1) == (client, second));
        let last = last.unwrap_or_else(|| {
            self.clock.set(second);
            let text = format!("{client} - - [{}] \"", self.clock.apache);
            (client, second, text)
        });
        &self.opening.insert(last).2
    }

    /// Appends a line in Apache's combined format, and behind it: use of the cache, milliseconds to the first
    /// byte and in all, digest, next hop, `http` or `https`, `whole` or `aborted`.
    ///
    /// - `at`: when the request was here.
    pub(super) fn combined(&mut self, line: &Line<'_>, at: SystemTime, out: &mut Vec<u8>) {
        let fixed = line.fixed;
        out.reserve(LINE_BYTES);
        let opening = self.opening(fixed.client, seconds(at).as_secs());
        out.extend_from_slice(opening.as_bytes());
        match fixed.request {
            Some((method, version)) => {
                out.extend_from_slice(method.name().as_bytes());
                out.push(b' ');
                escape(line.path, out);
                if !line.query.is_empty() {
                    out.push(b'?');
                    escape(line.query, out);
                }
                out.push(b' ');
                out.extend_from_slice(protocol(version).as_bytes());
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        decimal(fixed.status.into(), out);
        out.push(b' ');
        decimal(fixed.body_bytes, out);
        out.extend_from_slice(b" \"-\" \"");
        escape(or_dash(line.agent), out);
        out.extend_from_slice(b"\" ");
        let cache = fixed.cache.map_or("-", |cache| cache.label());
        out.extend_from_slice(cache.as_bytes());
        out.push(b' ');
        match fixed.first_byte {
            Some(took) => milliseconds(took, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        milliseconds(fixed.total, out);
        out.push(b' ');
        match digest_of(line.path) {
            Some(digest) => out.extend_from_slice(digest),
            None => match Named::of(line.path, &self.prefix).digest.or(line.digest) {
                Some(digest) => out.extend_from_slice(digest.text().as_ref()),
                None => out.push(b'-'),
            },
        }
        out.push(b' ');
        escape(or_dash(line.upstream), out);
        let scheme = if fixed.is_tls { " https" } else { " http" };
        out.extend_from_slice(scheme.as_bytes());
        let end: &[u8] = if fixed.is_whole {
            b" whole\n"
        } else {
            b" aborted\n"
        };
        out.extend_from_slice(end);
    }

    /// Appends a line that is a JSON object.
    pub(super) fn json(&mut self, line: &Line<'_>, at: SystemTime, out: &mut Vec<u8>) {
        let start = out.len();
        let written = serde_json::to_writer(&mut *out, &self.object(line, at));
        if written.is_err() {
            // No map without text keys, no writer that fails: it cannot be.
            out.truncate(start);
            return;
        }
        out.push(b'\n');
    }

    /// Returns what a line says, by name.
    pub(super) fn object<'a>(&mut self, line: &Line<'a>, at: SystemTime) -> Object<'a> {
        let fixed = line.fixed;
        let at = seconds(at);
        self.clock.set(at.as_secs());
        let named = Named::of(line.path, &self.prefix);
        let digest = named.digest.or(line.digest);
        let target = match line.query {
            [] => plain(line.path),
            query => format!("{}?{}", plain(line.path), plain(query)).into(),
        };
        Object {
            time: format!("{}.{:03}Z", self.clock.rfc3339, at.subsec_millis()),
            client: fixed.client.to_string(),
            method: fixed.request.map(|(method, _)| Method::name(method)),
            target: fixed.request.map(|_| target),
            protocol: fixed.request.map(|(_, version)| protocol(version)),
            status: fixed.status,
            bytes: fixed.body_bytes,
            user_agent: Some(plain(line.agent)).filter(|agent| !agent.is_empty()),
            cache: fixed.cache.map(|cache| cache.label()),
            first_byte_ms: fixed.first_byte.map(thousandths),
            total_ms: thousandths(fixed.total),
            digest: digest.map(|digest| digest.to_string()),
            repository: named.repository.map(ToOwned::to_owned),
            upstream: Some(plain(line.upstream)).filter(|hop| !hop.is_empty()),
            trace_id: line.trace_id.map(|id| format!("{id:032x}")),
            tls: fixed.is_tls,
            whole: fixed.is_whole,
        }
    }
}

/// A line by name. The names are told to operators in `docs/logs.md`.
#[derive(Debug, Serialize)]
pub(super) struct Object<'a> {
    pub(super) time: String,
    pub(super) client: String,
    pub(super) method: Option<&'static str>,
    pub(super) target: Option<Cow<'a, str>>,
    pub(super) protocol: Option<&'static str>,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) user_agent: Option<Cow<'a, str>>,
    pub(super) cache: Option<&'static str>,
    pub(super) first_byte_ms: Option<f64>,
    pub(super) total_ms: f64,
    pub(super) digest: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) upstream: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<String>,
    pub(super) tls: bool,
    pub(super) whole: bool,
}

/// Returns the digest that a path ends in, as its text: reading it and writing it again would cost as much as all else
/// of a line.
fn digest_of(path: &[u8]) -> Option<&[u8]> {
    let at = memchr::memrchr(b'/', path)?;
    let digest = &path[at + 1..];
    let hex = match digest {
        [b's', b'h', b'a', b'2', b'5', b'6', b':', hex @ ..] if hex.len() == 64 => hex,
        [b's', b'h', b'a', b'5', b'1', b'2', b':', hex @ ..] if hex.len() == 128 => hex,
        _ => return None,
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() | (b'a'..=b'f').contains(&byte);
    // No early exit, so that many bytes are looked at at once.
    let all = hex.iter().fold(true, |all, byte| all & is_hex(*byte));
    all.then_some(digest)
}

fn seconds(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

const fn or_dash(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"-" } else { text }
}

fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds with three decimals.
fn milliseconds(took: Duration, out: &mut Vec<u8>) {
    decimal(took.as_secs() * 1000 + u64::from(took.subsec_millis()), out);
    let rest = took.subsec_micros() % 1000;
    let digit = |number: u32| b'0' + (number % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a response are far below 2^52"
)]
fn thousandths(took: Duration) -> f64 {
    took.as_micros() as f64 / 1000.0
}

/// Appends `text` as Apache does: what is not printable ASCII as `\xhh`, quotes and backslashes behind a
/// backslash.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\');
    // No early exit, so that many bytes are looked at at once.
    if text.iter().fold(true, |all, byte| all & is_plain(byte)) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            byte if is_plain(byte) => out.push(*byte),
            byte => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'x', DIGITS[high], DIGITS[low]]);
            }
        }
    }
}

/// Returns `text` for JSON, which escapes quotes and controls below 32 itself; what else is no text, or means
/// something to a terminal, is replaced.
fn plain(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    let is_hostile = |c: char| c.is_control() && !c.is_ascii_control() || c == '\u{7f}';
    if text.contains(is_hostile) {
        return text.replace(is_hostile, "\u{fffd}").into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_byte_of_a_client_ends_a_field_or_a_line() {
        assert_eq!(escaped(b"plain text"), "plain text");
        assert_eq!(escaped(b"a\"b\\c"), r#"a\"b\\c"#);
        assert_eq!(escaped(b"\r\n\t\0\x1b[2J"), r"\x0d\x0a\x09\x00\x1b[2J");
        assert_eq!(
            escaped("\u{9b}é\u{2028}".as_bytes()),
            r"\xc2\x9b\xc3\xa9\xe2\x80\xa8"
        );
        let all: Vec<u8> = (0..=255).collect();
        let all = escaped(&all);
        assert!(all.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{all}");
        let json = serde_json::to_string(&plain(b"\x7f\xc2\x9b\xff\x1b\n\"")).unwrap();
        assert_eq!(json, "\"\u{fffd}\u{fffd}\u{fffd}\\u001b\\n\\\"\"");
    }

    #[test]
    fn dates_and_numbers_are_those_of_the_format() {
        let mut clock = Clock::default();
        clock.set(1_795_286_603);
        assert_eq!(clock.apache, "21/Nov/2026:18:43:23 +0000");
        assert_eq!(clock.rfc3339, "2026-11-21T18:43:23");
        for (micros, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (1_020, "1.020"),
            (61_000_345, "61000.345"),
        ] {
            let mut out = Vec::new();
            milliseconds(Duration::from_micros(micros), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        decimal(u64::MAX, &mut out);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
