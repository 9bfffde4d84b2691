//! Which caches and proxies a request has passed: `Via`, and how a cycle shows in it.
//!
//! Each transship adds itself under a name that nobody can guess, so that its own comes back to it only
//! through a cycle, whatever the caches are called (RFC 9110 §7.6.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tracing::field::{DisplayValue, display};

use crate::http::Trace;
use crate::http::grammar::is_value;
use crate::limits::{HOPS_MAX, VIA_BYTES_MAX};
use crate::rt;

/// The name under which one process adds itself: `transship-` and 64 random bits in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance(String);

/// What a request has passed so far: its `Via`, in one line, empty for a request straight from a client. With it
/// goes the trace that the request belongs to, by which none differs from another: who asks for the same by the
/// same way shares an answer.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    passed: Option<Arc<str>>,
    trace: Option<Arc<Trace>>,
}

impl PartialEq for Trail {
    fn eq(&self, other: &Self) -> bool {
        self.passed == other.passed
    }
}

impl Eq for Trail {}

impl Hash for Trail {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.passed.hash(state);
    }
}

/// Why a request is not passed on. The operator's fault: two caches name each other as upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// It has passed this cache before.
    Cycle,
    /// It has passed too many caches and proxies to be anything else.
    TooManyHops,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle => {
                f.write_str("the request has passed this cache before: the upstreams form a cycle")
            }
            Self::TooManyHops => write!(
                f,
                "the request has passed more than {HOPS_MAX} caches and proxies: the upstreams form a cycle"
            ),
        }
    }
}

impl std::error::Error for Loop {}

impl Instance {
    /// Returns a name of 64 random bits.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub(super) fn new() -> std::io::Result<Self> {
        let bits = u64::from_ne_bytes(rt::random()?);
        Ok(Self(format!("transship-{bits:016x}")))
    }

    /// Reads the `Via` lines of a request that came.
    ///
    /// # Errors
    /// Why it must not be passed on.
    pub(super) fn read<'v>(&self, lines: impl Iterator<Item = &'v [u8]>) -> Result<Trail, Loop> {
        let mut text = String::new();
        for line in lines {
            let line = std::str::from_utf8(line)
                .map_err(|_| Loop::TooManyHops)?
                .trim();
            if text.len() + line.len() > VIA_BYTES_MAX {
                return Err(Loop::TooManyHops);
            }
            if !line.is_empty() && is_value(line.as_bytes()) {
                text.push_str(if text.is_empty() { "" } else { ", " });
                text.push_str(line);
            }
        }
        let mut count = 0;
        for hop in members(&text) {
            let received_by = hop.split_ascii_whitespace().nth(1);
            if received_by == Some(&self.0) {
                return Err(Loop::Cycle);
            }
            count += 1;
        }
        if count > HOPS_MAX {
            return Err(Loop::TooManyHops);
        }
        Ok(Trail {
            passed: (count > 0).then(|| text.into()),
            trace: None,
        })
    }

    /// Returns the value of `Via` for a request that continues `trail`.
    pub(super) fn via(&self, trail: &Trail) -> String {
        match &trail.passed {
            Some(passed) => format!("{passed}, 1.1 {}", self.0),
            None => format!("1.1 {}", self.0),
        }
    }
}

impl Trail {
    /// Says whether the request came straight from a client.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.passed.is_none()
    }

    /// Returns the same as part of a trace.
    #[must_use]
    pub fn within(self, trace: Option<Trace>) -> Self {
        Self {
            trace: trace.map(Arc::new),
            ..self
        }
    }

    /// Returns the trace that the request belongs to, if it said one.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Returns the trace's id as it is written, for lines of the log.
    #[must_use]
    pub fn trace_id(&self) -> Option<DisplayValue<String>> {
        self.trace()
            .map(|trace| display(format!("{:032x}", trace.id())))
    }
}

/// Iterates over the members of a list, commas within comments aside; empty ones are left out.
fn members(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(instance: &Instance, lines: &[&str]) -> Result<Trail, Loop> {
        instance.read(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn a_request_that_comes_back_is_known_whatever_it_passed() {
        let (own, other) = (Instance::new().unwrap(), Instance::new().unwrap());
        assert_ne!(own, other);
        let first = own.via(&Trail::default());
        let trail = read(&other, &[&first]).unwrap();
        assert!(!trail.is_empty());
        let second = other.via(&trail);
        assert_eq!(read(&own, &[&second]), Err(Loop::Cycle));
        assert_eq!(read(&other, &[&second]), Err(Loop::Cycle));
        let proxied = format!("1.0 fred, HTTP/1.1 a (b, 1.1 c), {first} (x)");
        assert_eq!(read(&own, &["", &proxied]), Err(Loop::Cycle));
        let third = Instance::new().unwrap();
        let trail = read(&third, &[&first, "1.1 nginx"]).unwrap();
        assert_eq!(
            third.via(&trail),
            format!("{first}, 1.1 nginx, 1.1 {}", third.0)
        );
    }

    #[test]
    fn what_only_looks_alike_is_no_cycle() {
        let own = Instance::new().unwrap();
        let alike = format!(
            "1.1 {}x, 1.1 (1.1 {}), {}, 1.1 transship",
            own.0, own.0, own.0
        );
        assert!(read(&own, &[&alike]).is_ok());
        assert!(read(&own, &[]).unwrap().is_empty());
        assert!(read(&own, &["", " , "]).unwrap().is_empty());
    }

    #[test]
    fn hops_are_counted_in_however_many_lines_they_come() {
        let own = Instance::new().unwrap();
        let lines = vec!["1.1 a (x, y)"; HOPS_MAX];
        assert!(read(&own, &lines).is_ok());
        assert!(read(&own, &[&lines.join(",")]).is_ok());
        let lines = vec!["1.1 a"; HOPS_MAX + 1];
        assert_eq!(read(&own, &lines), Err(Loop::TooManyHops));
        let long = "a".repeat(VIA_BYTES_MAX + 1);
        assert_eq!(read(&own, &[&long]), Err(Loop::TooManyHops));
    }
}
