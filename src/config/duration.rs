//! Durations as Go programs write them: `24h`, `1h30m`, `1.5s`, `300ms`; a bare number is nanoseconds.
//!
//! Source: Go `time.ParseDuration`, and the `blobttl` option of the `downstream` middleware, which takes
//! one integer and one unit.

use std::time::Duration;

/// How a duration was written, which decides what is remarked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One integer and one unit, as `24h`.
    Simple,
    /// Several units or a fraction, as `1h30m`.
    Compound,
    /// A number without a unit: nanoseconds.
    Bare,
}

/// What Go's own durations can hold: 2⁶³ − 1 nanoseconds, about 292 years.
const NANOSECONDS_MAX: u128 = i64::MAX as u128;

/// Returns the duration that `text` names, and how it was written; `None` if it names none, is negative,
/// or is longer than Go can hold. Digits beyond the nanosecond are cut off.
pub(super) fn parse(text: &str) -> Option<(Duration, Form)> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let nanoseconds: u64 = text.parse().ok()?;
        let fits = u128::from(nanoseconds) <= NANOSECONDS_MAX;
        return fits.then(|| (Duration::from_nanos(nanoseconds), Form::Bare));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds: u128 = 0;
    let mut form = Form::Simple;
    let mut parts = 0_usize;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(unit_at);
        let end = tail
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if number.contains('.') || parts > 0 {
            form = Form::Compound;
        }
        nanoseconds = nanoseconds.checked_add(scaled(number, unit_nanoseconds(unit)?)?)?;
        if nanoseconds > NANOSECONDS_MAX {
            return None;
        }
        parts += 1;
        rest = tail;
    }
    let nanoseconds = u64::try_from(nanoseconds).ok()?;
    (parts > 0).then(|| (Duration::from_nanos(nanoseconds), form))
}

/// Returns the length of a unit, in nanoseconds. `µs` may be spelt with either of Unicode's two letters.
fn unit_nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Returns `number` (digits, perhaps with one point) times `unit`, in nanoseconds.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?.into()
    };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(place * u128::from(digit - b'0'))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_unit_means_what_the_documents_say() {
        for (text, nanoseconds, form) in [
            ("24h", 86_400_000_000_000, Form::Simple),
            ("5m", 300_000_000_000, Form::Simple),
            ("7s", 7_000_000_000, Form::Simple),
            ("300ms", 300_000_000, Form::Simple),
            ("9us", 9_000, Form::Simple),
            ("9µs", 9_000, Form::Simple),
            ("11ns", 11, Form::Simple),
            ("86400", 86_400, Form::Bare),
            ("0", 0, Form::Bare),
            ("1h30m", 5_400_000_000_000, Form::Compound),
            ("1.5h", 5_400_000_000_000, Form::Compound),
            (".5s", 500_000_000, Form::Compound),
            ("1.0000000009s", 1_000_000_000, Form::Compound),
        ] {
            assert_eq!(
                parse(text),
                Some((Duration::from_nanos(nanoseconds), form)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "h",
            "1d",
            "-1h",
            "1h-",
            "1.2.3s",
            ".",
            ".s",
            "1 h",
            "24H",
            "9999999h",
            "99999999999999999999",
            "1h30",
            "+",
            "9223372036854775808ns",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
