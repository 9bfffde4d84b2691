//! Which caches and proxies a request has passed (`Via`, RFC 9110 §7.6.3), and how a cycle shows in it.
//!
//! Invariant: no other process knows this one's name but those that it asks, so it comes back through a cycle alone.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::http::{HeaderMap, HeaderValue, header};

use crate::gateway::Failure;
use crate::limits::{HOPS_MAX, VIA_BYTES_MAX};

/// What the name of each transship begins with, cache or gateway.
const FAMILY: &str = "transship-";

/// The name under which this process adds itself: `transship-` and 64 random bits in hex, as a cache does.
#[derive(Debug)]
pub(super) struct Instance(String);

/// What a request has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// All members, in one line; empty for a request straight from a client.
    line: String,
    /// Whether a transship is among them.
    pub(super) is_from_cache: bool,
}

/// Why a request is not passed on: it goes round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cycle;

impl Instance {
    /// Makes a name.
    ///
    /// # Errors
    /// The kernel gives no random bits.
    pub(super) fn new() -> Result<Self, Failure> {
        let mut bits = [0; 8];
        let filled = SystemRandom::new().fill(&mut bits);
        filled.map_err(|error| Failure::new("random bits", error))?;
        Ok(Self(format!("{FAMILY}{:016x}", u64::from_ne_bytes(bits))))
    }

    /// Reads the `Via` lines of a request.
    ///
    /// # Errors
    /// [`Cycle`]: it has passed this process before, or more than any that does not go round.
    pub(super) fn read(&self, fields: &HeaderMap) -> Result<Passed, Cycle> {
        let mut passed = Passed {
            line: String::new(),
            is_from_cache: false,
        };
        let mut count = 0;
        for value in fields.get_all(header::VIA) {
            let text = value.to_str().map_err(|_| Cycle)?;
            for member in text.split(',').map(str::trim).filter(|m| !m.is_empty()) {
                let received_by = member.split_ascii_whitespace().nth(1).unwrap_or_default();
                if received_by == self.0 {
                    return Err(Cycle);
                }
                passed.is_from_cache |= received_by.starts_with(FAMILY);
                passed.line.push_str(member);
                passed.line.push_str(", ");
                count += 1;
            }
        }
        let is_endless = count > HOPS_MAX || passed.line.len() > VIA_BYTES_MAX;
        if is_endless { Err(Cycle) } else { Ok(passed) }
    }

    /// Returns the `Via` of what the backend is asked on behalf of a request.
    pub(super) fn after(&self, passed: &Passed) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}1.1 {}", passed.line, self.0)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Passed, Cycle> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(header::VIA, line.parse().unwrap());
        }
        Instance("transship-me".to_owned()).read(&fields)
    }

    #[test]
    fn a_request_that_was_here_before_goes_round() {
        for lines in [
            &["1.1 transship-me"][..],
            &["1.0 squid, 1.1 transship-me (x)"],
            &["1.1 a", "1.1 b,1.1  transship-me"],
        ] {
            assert_eq!(read(lines), Err(Cycle), "{lines:?}");
        }
        let many = ["1.1 x"; HOPS_MAX + 1].join(",");
        assert_eq!(read(&[&many]), Err(Cycle));
        // Where the name is only part of another's, or stands elsewhere.
        assert!(read(&["1.1 transship-me2", "1.1 x transship-me"]).is_ok());
    }

    #[test]
    fn a_cache_is_known_by_its_name_and_all_are_passed_on() {
        for (line, is_from_cache) in [
            ("", false),
            ("1.1 squid", false),
            ("1.1 squid transship-1", false),
            ("1.1 transship-0123", true),
            ("1.1 transship-0123, 1.1 nginx", true),
        ] {
            assert_eq!(
                read(&[line]).unwrap().is_from_cache,
                is_from_cache,
                "{line}"
            );
        }
        let passed = read(&["1.1 a, 1.1 b", "1.1 c"]).unwrap();
        let me = Instance("transship-me".to_owned());
        assert_eq!(
            me.after(&passed).unwrap(),
            "1.1 a, 1.1 b, 1.1 c, 1.1 transship-me"
        );
        assert_eq!(me.after(&read(&[]).unwrap()).unwrap(), "1.1 transship-me");
    }

    #[test]
    fn no_two_processes_have_one_name() {
        assert_ne!(Instance::new().unwrap().0, Instance::new().unwrap().0);
    }
}
