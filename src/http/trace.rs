//! W3C Trace Context: what a request says of the trace that it belongs to.
//!
//! Hostile until it was read here: whatever does not keep to the grammar is as if it had not come. Nothing is
//! made up for a request that says nothing.
//!
//! Source: W3C Recommendation "Trace Context" (2021-11-23) §3, and the working draft of level 2 for the flag
//! `random-trace-id`.

use std::fmt::Write as _;
use std::str;

use super::Values;
use crate::limits::TRACE_STATE_BYTES_MAX;

/// Most members of `tracestate` (§3.3.1.1).
const MEMBERS_MAX: usize = 32;

/// Length of `traceparent` in version 00; longer ones of later versions begin with the same.
const PARENT_BYTES: usize = 55;

/// The flags that are defined: `sampled` and `random-trace-id`. Others are sent on as zero (§3.2.2.5).
const FLAGS: u8 = 0b11;

/// The trace that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    flags: u8,
    /// `tracestate`, its members in one line; empty without any.
    state: String,
}

impl Trace {
    /// Reads the lines of both fields; `None` without a `traceparent` that holds. A `tracestate` that does not
    /// hold, or is too long, is dropped alone.
    #[must_use]
    pub fn read(parent: Values<'_>, state: Values<'_>) -> Option<Self> {
        let (id, flags) = read_parent(parent)?;
        Some(Self {
            id,
            flags,
            state: read_state(state).unwrap_or_default(),
        })
    }

    /// Returns the trace's id: 32 hex digits when it is written with its zeros.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// Returns the values of `traceparent` and `tracestate` for a request in this trace whose own id is
    /// `parent`; the second is empty if there is none.
    #[must_use]
    pub fn write(&self, parent: u64) -> (String, &str) {
        let mut text = String::with_capacity(PARENT_BYTES);
        // Zero means that there is no parent.
        let parent = parent.max(1);
        // Writing to memory cannot fail.
        let _ = write!(text, "00-{:032x}-{parent:016x}-{:02x}", self.id, self.flags);
        (text, &self.state)
    }
}

/// Returns the id of the trace that a request belongs to, as [`Trace::read`] would find it.
#[must_use]
pub fn trace_id(parent: Values<'_>) -> Option<u128> {
    read_parent(parent).map(|(id, _)| id)
}

/// Reads `traceparent`; it may come once.
fn read_parent(mut lines: Values<'_>) -> Option<(u128, u8)> {
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let (parent, rest) = line.split_at_checked(PARENT_BYTES)?;
    let mut parts = parent.split(|&byte| byte == b'-');
    let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let id = hex(parts.next()?, 32)?;
    let span = hex(parts.next()?, 16)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let is_over = match version {
        0 => rest.is_empty(),
        0xff => return None,
        // What later versions add comes behind another dash.
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let is_sound = is_over && parts.next().is_none() && id != 0 && span != 0;
    is_sound.then_some((id, flags & FLAGS))
}

/// Returns the number that so many lower-case hex digits are.
fn hex(digits: &[u8], length: usize) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != length || !digits.iter().all(is_digit) {
        return None;
    }
    u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Reads the lines of `tracestate`; `None` if any of it does not hold.
fn read_state(lines: Values<'_>) -> Option<String> {
    let mut text = String::new();
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in lines.flat_map(|line| line.split(|&byte| byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let equals = member.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        let is_sound = is_key(key) && is_value(value) && !keys.contains(&key);
        let comma = if text.is_empty() { "" } else { "," };
        let length = text.len() + comma.len() + member.len();
        if !is_sound || keys.len() == MEMBERS_MAX || length > TRACE_STATE_BYTES_MAX {
            return None;
        }
        keys.push(key);
        text.push_str(comma);
        text.push_str(str::from_utf8(member).ok()?);
    }
    Some(text)
}

/// §3.3.1.3.1, as level 2 has it: the `@` of a system's tenant is a character like others.
fn is_key(key: &[u8]) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_next = |byte: &u8| is_first(*byte) || b"_-*/@".contains(byte);
    key.len() <= 256 && key.first().is_some_and(|&first| is_first(first)) && key.iter().all(is_next)
}

/// §3.3.1.3.2; blanks at its end were trimmed, and do not count.
fn is_value(value: &[u8]) -> bool {
    let is_it = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(is_it)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(parents: &[&str], states: &[&str]) -> Option<Trace> {
        let mut head = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
        for (name, values) in [("Traceparent", parents), ("tracestate", states)] {
            for value in values {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += "\r\n";
        let request = parse(head.as_bytes()).unwrap();
        Trace::read(request.traceparent, request.tracestate)
    }

    #[test]
    fn a_trace_goes_on_under_a_parent_of_ours() {
        let trace = read(&[SOUND], &["a=1, b@c=x y ,", "", "9*/_-=!"]).unwrap();
        assert_eq!(
            format!("{:032x}", trace.id()),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let (parent, state) = trace.write(0xabc);
        assert_eq!(
            parent,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        assert_eq!(state, "a=1,b@c=x y,9*/_-=!");
        assert!(trace.write(0).0.contains("-0000000000000001-"));
        // Of a later version what is known; of flags those that are defined.
        let later = SOUND.replacen("00", "cc", 1).replace("-01", "-ff") + "-more";
        let (parent, state) = read(&[&later], &[])
            .map(|t| (t.write(1).0, t.state))
            .unwrap();
        assert!(parent.starts_with("00-4bf9") && parent.ends_with("-03"));
        assert_eq!(state, "");
    }

    #[test]
    fn a_parent_that_does_not_hold_is_none() {
        let zero_id = SOUND.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = SOUND.replace("00f067aa0ba902b7", &"0".repeat(16));
        for parent in [
            "",
            "00",
            &SOUND[..54],
            &SOUND.to_uppercase(),
            &SOUND.replacen("00", "ff", 1),
            &SOUND.replacen("00", "0x", 1),
            &format!("{SOUND}-more"),
            &format!("{}x", SOUND.replacen("00", "cc", 1)),
            &SOUND.replace('-', "_"),
            &SOUND.replace("-01", "-+1"),
            &zero_id,
            &zero_span,
            &"-".repeat(55),
        ] {
            assert_eq!(read(&[parent], &["a=1"]), None, "{parent}");
        }
        assert_eq!(read(&[SOUND, SOUND], &[]), None, "twice");
        assert_eq!(read(&[], &["a=1"]), None);
    }

    #[test]
    fn a_state_that_does_not_hold_is_dropped_alone() {
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=1")).collect();
        let long = format!("a={}", "x".repeat(250));
        for state in [
            "a",
            "a=",
            "=b",
            "A=b",
            "a=b=c",
            "a=1,a=2",
            "a=\u{e9}",
            "a=b\tc",
            "_a=1",
            &format!("a={}", "x".repeat(257)),
            &many.join(","),
            &format!("{long},b{long},c{long}"),
        ] {
            let trace = read(&[SOUND], &[state]).unwrap();
            assert_eq!(trace.state, "", "{state}");
        }
        let most = many[..32].join(",");
        assert_eq!(read(&[SOUND], &[&most]).unwrap().state, most);
    }
}
