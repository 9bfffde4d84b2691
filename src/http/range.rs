//! Ranges and preconditions of a GET: `Range`, `If-Range`, `If-None-Match`, and what answers tell of
//! them: `Content-Range`, `ETag` (RFC 9110 §8.8.3, §13, §14).

use std::ops::Range;

use super::grammar::{decimal, trim};
use crate::limits::RANGES_MAX;

/// What a `Range` field asks of content whose size is known. Half-open offsets, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Answer 200 with everything: the field is malformed, of another unit, or asks for more bytes in
    /// sum than there are (RFC 9110 §14.2 lets us ignore all of these).
    Whole,
    /// Answer 416 with `Content-Range: bytes */size`: not one range touches the content.
    Unsatisfiable,
    /// Answer 400: more than [`RANGES_MAX`] ranges. containers/storage then asks for fewer, where a 200
    /// would send it a whole layer that it does not want.
    TooMany,
    /// Answer 206 with `Content-Range`. Not empty, within the size.
    One(Range<u64>),
    /// Answer 206 with `multipart/byteranges`: two or more, none empty, all within the size, in the order
    /// asked for and never joined, since containers/image counts the parts.
    Several(Vec<Range<u64>>),
}

/// Reads the value of a `Range` field for content of `size` bytes.
///
/// - `bytes=0-` is one range, and gets its 206; clients tell from that whether ranges work.
/// - A suffix longer than the content is all of it; an end beyond the content is cut.
/// - Of empty content every well-formed range is the whole: 416 would fail clients that always ask.
/// - The sum of all ranges is at most `size`, so no request sends more than one without `Range` would
///   (and its part heads). Overlap within that bound is the client's business.
///
/// O(length of the value); allocates for several ranges only.
#[must_use]
pub fn parse(value: &[u8], size: u64) -> Ranges {
    let Some(specs) = strip_unit(value) else {
        return Ranges::Whole;
    };
    let mut asked = 0;
    let mut sum = 0_u128;
    let mut first = None;
    let mut several = Vec::new();
    // RFC 9110 §5.6.1.2: empty elements of a list are skipped.
    for spec in specs.split(|&b| b == b',').map(trim) {
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        match parse_spec(spec, size) {
            None => return Ranges::Whole,
            Some(range) if range.is_empty() => {}
            Some(range) => {
                sum += u128::from(range.end - range.start);
                keep(&mut first, &mut several, range, asked);
            }
        }
    }
    match (asked, first) {
        (0, _) => Ranges::Whole,
        _ if size == 0 => Ranges::Whole,
        (RANGES_BEYOND.., _) => Ranges::TooMany,
        (_, None) => Ranges::Unsatisfiable,
        _ if sum > u128::from(size) => Ranges::Whole,
        (_, Some(range)) if several.is_empty() => Ranges::One(range),
        _ => Ranges::Several(several),
    }
}

/// The first count of ranges that is one too many.
const RANGES_BEYOND: usize = RANGES_MAX + 1;

/// Keeps the first range by itself and all of them once there are two; stops growing at the bound.
fn keep(
    first: &mut Option<Range<u64>>,
    several: &mut Vec<Range<u64>>,
    range: Range<u64>,
    asked: usize,
) {
    match first {
        None => *first = Some(range),
        Some(_) if asked > RANGES_MAX => {}
        Some(first) => {
            if several.is_empty() {
                several.push(first.clone());
            }
            several.push(range);
        }
    }
}

/// Returns what follows `bytes=`; units know no case (RFC 9110 §14.1).
fn strip_unit(value: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = trim(value).split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

/// Returns the part of the content that one range is about, empty if it is unsatisfiable; `None` if it
/// is malformed (RFC 9110 §14.1.1).
fn parse_spec(spec: &[u8], size: u64) -> Option<Range<u64>> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = saturating(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let start = saturating(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = saturating(last)?;
        if last < start {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(start.min(end)..end)
}

/// Returns the number that `digits` spell, or the largest there is if it does not fit.
fn saturating(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(decimal(digits).unwrap_or(u64::MAX))
}

/// Says whether `If-Range` lets `Range` count, by strong comparison (RFC 9110 §13.1.5).
///
/// - `etag`: the content's entity tag with its quotes, strong.
///
/// A date never matches: content here has no modification date, only a digest.
#[must_use]
pub fn if_range_matches(value: &[u8], etag: &[u8]) -> bool {
    matches!(parse_etag(trim(value)), Some((tag, b"")) if !tag.weak && tag.quoted == etag)
}

/// Says whether `If-None-Match` names `etag`, so that 304 is the answer (RFC 9110 §13.1.2).
///
/// - `lines`: the values of all its field lines; `*` names any content.
/// - `etag`: the content's entity tag with its quotes, strong.
///
/// Weak comparison. What is malformed names nothing, and hides what follows it in its line.
#[must_use]
pub fn if_none_match<'a>(lines: impl IntoIterator<Item = &'a [u8]>, etag: &[u8]) -> bool {
    lines.into_iter().any(|line| names(trim(line), etag))
}

fn names(line: &[u8], etag: &[u8]) -> bool {
    if line == b"*" {
        return true;
    }
    let mut rest = line;
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let Some((tag, after)) = parse_etag(rest) else {
            return false;
        };
        rest = trim(after);
        if !matches!(rest, [] | [b',', ..]) {
            return false;
        }
        if tag.quoted == etag {
            return true;
        }
    }
}

/// Longest entity tag that is handed back to whoever gave it, in bytes: a digest of 512 bits fits twice.
const ETAG_BYTES_MAX: usize = 256;

/// Says whether `value` is one strong entity tag and nothing else (RFC 9110 §8.8.3), of printable ASCII
/// and no more than 256 bytes: what can be sent back in `If-Range` as it came.
#[must_use]
pub fn is_strong_etag(value: &[u8]) -> bool {
    value.len() <= ETAG_BYTES_MAX
        && value.iter().all(u8::is_ascii_graphic)
        && matches!(parse_etag(value), Some((tag, b"")) if !tag.weak)
}

/// What a 206 says that its body is, of content of which the size may be told (RFC 9110 §14.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Half-open offsets, in bytes; never empty, never beyond `total`.
    pub range: Range<u64>,
    /// Size of the whole content, in bytes; `None` where the sender does not know it.
    pub total: Option<u64>,
}

/// Reads the value of a `Content-Range` field that tells a range: `bytes 0-4/10`, `bytes 0-4/*`.
///
/// Strictly: no spaces but the one, digits alone, the range within the size. Anything else is `None`,
/// also `bytes */10`, which belongs to a 416.
#[must_use]
pub fn parse_content_range(value: &[u8]) -> Option<ContentRange> {
    let (unit, rest) = value.split_at_checked(b"bytes ".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let slash = memchr::memchr(b'/', rest)?;
    let dash = memchr::memchr(b'-', &rest[..slash])?;
    let first = decimal(&rest[..dash])?;
    let last = decimal(&rest[dash + 1..slash])?;
    let total = match &rest[slash + 1..] {
        b"*" => None,
        digits => Some(decimal(digits)?),
    };
    let end = last.checked_add(1)?;
    if first > last || total.is_some_and(|total| end > total) {
        return None;
    }
    let range = first..end;
    Some(ContentRange { range, total })
}

struct EntityTag<'a> {
    weak: bool,
    /// With its quotes.
    quoted: &'a [u8],
}

/// Splits one entity tag off the front (RFC 9110 §8.8.3); the rest begins right after it.
fn parse_etag(bytes: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (weak, quoted) = match bytes.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, bytes),
    };
    let inside = quoted.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', inside)?;
    let opaque = |b: u8| b == 0x21 || (b >= 0x23 && b != 0x7f);
    if !inside[..end].iter().copied().all(opaque) {
        return None;
    }
    let (quoted, rest) = quoted.split_at(end + 2);
    Some((EntityTag { weak, quoted }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        for (value, size, expected) in [
            ("bytes=0-", 10, Ranges::One(0..10)),
            ("bytes=0-0", 10, Ranges::One(0..1)),
            ("Bytes=4-6", 10, Ranges::One(4..7)),
            ("bytes=9-", 10, Ranges::One(9..10)),
            ("bytes=-3", 10, Ranges::One(7..10)),
            ("bytes=-30", 10, Ranges::One(0..10)),
            ("bytes=3-99999999999999999999999", 10, Ranges::One(3..10)),
            ("bytes=, 1-2 ,", 10, Ranges::One(1..3)),
            ("bytes=1-2,10-20", 10, Ranges::One(1..3)),
            ("bytes=5-6, 1-2", 10, Ranges::Several(vec![5..7, 1..3])),
            ("bytes=1-2,2-3", 10, Ranges::Several(vec![1..3, 2..4])),
            ("bytes=1-2,12-,-1", 10, Ranges::Several(vec![1..3, 9..10])),
            ("bytes=0-,0-", 10, Ranges::Whole),
            ("bytes=0-,-1", 10, Ranges::Whole),
            ("bytes=10-", 10, Ranges::Unsatisfiable),
            ("bytes=-0", 10, Ranges::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Ranges::Unsatisfiable),
            ("bytes=10-,11-", 10, Ranges::Unsatisfiable),
            ("bytes=0-", 0, Ranges::Whole),
            ("bytes=-1", 0, Ranges::Whole),
            ("bytes=0-", u64::MAX, Ranges::One(0..u64::MAX)),
            ("bytes=1-,0-", u64::MAX, Ranges::Whole),
        ] {
            assert_eq!(parse(value.as_bytes(), size), expected, "{value} of {size}");
        }
    }

    #[test]
    fn what_is_malformed_asks_for_everything() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes= ",
            "bytes=-",
            "bytes=a-",
            "bytes=1",
            "bytes=2-1",
            "bytes=1-2;3-4",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes =1-2",
            "bytes:1-2",
            "items=1-2",
            "bytes=0x1-",
            "bytes=1-2-3",
            "bytes=1-2,x",
            "\u{e9}\u{e9}\u{e9}=1-",
        ] {
            assert_eq!(parse(value.as_bytes(), 10), Ranges::Whole, "{value:?}");
        }
    }

    #[test]
    fn too_many_ranges_are_told_from_malformed_ones() {
        let many = |count: usize| {
            let specs: Vec<_> = (0..count).map(|at| format!("{at}-{at}")).collect();
            parse(format!("bytes={}", specs.join(",")).as_bytes(), 5000)
        };
        assert!(matches!(many(RANGES_MAX), Ranges::Several(ranges) if ranges.len() == RANGES_MAX));
        assert_eq!(many(RANGES_MAX + 1), Ranges::TooMany);
        assert_eq!(many(1024), Ranges::TooMany);
    }

    #[test]
    fn a_content_range_is_within_its_total_or_not_read() {
        for (value, expected) in [
            ("bytes 0-0/1", Some((0..1, Some(1)))),
            ("Bytes 5-9/10", Some((5..10, Some(10)))),
            ("bytes 5-9/*", Some((5..10, None))),
            (
                "bytes 0-18446744073709551614/18446744073709551615",
                Some((0..u64::MAX, Some(u64::MAX))),
            ),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-1/18446744073709551616", None),
            ("bytes 0-10/10", None),
            ("bytes 6-5/10", None),
            ("bytes 0-0/0", None),
            ("bytes */10", None),
            ("bytes 0-/10", None),
            ("bytes -4/10", None),
            ("bytes 0-4", None),
            ("bytes 0-4/", None),
            ("bytes 0-4/x", None),
            ("bytes 0-4/10/", None),
            ("bytes 0-4-5/10", None),
            ("bytes 0-4 /10", None),
            ("bytes  0-4/10", None),
            ("bytes +0-4/10", None),
            ("bytes=0-4/10", None),
            ("items 0-4/10", None),
            ("bytes", None),
            ("\u{e9}\u{e9}\u{e9} 0-4/10", None),
            ("", None),
        ] {
            let found = parse_content_range(value.as_bytes());
            let found = found.map(|found| (found.range, found.total));
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn only_a_strong_tag_of_sane_bytes_is_sent_back() {
        let (long, longer) = ("x".repeat(254), "x".repeat(255));
        for (value, is_strong) in [
            ("\"a\"", true),
            ("\"\"", true),
            (&*format!("\"{long}\""), true),
            (&*format!("\"{longer}\""), false),
            ("W/\"a\"", false),
            ("a", false),
            ("\"a", false),
            ("\"a\"b\"", false),
            ("\"a\", \"b\"", false),
            ("\"a b\"", false),
            ("\"\u{e9}\"", false),
            ("", false),
        ] {
            assert_eq!(is_strong_etag(value.as_bytes()), is_strong, "{value:?}");
        }
    }

    #[test]
    fn if_range_wants_the_same_strong_tag() {
        for (value, matches) in [
            ("\"sha256:a\"", true),
            (" \"sha256:a\" ", true),
            ("W/\"sha256:a\"", false),
            ("\"sha256:b\"", false),
            ("sha256:a", false),
            ("\"sha256:a\"x", false),
            ("\"sha256:a\", \"b\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(
                if_range_matches(value.as_bytes(), b"\"sha256:a\""),
                matches,
                "{value}"
            );
        }
    }

    #[test]
    fn if_none_match_is_weak_and_takes_lists() {
        for (value, matches) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\", W/\"c\" ,,\"a\"", true),
            ("\"b,\", \"a\"", true),
            ("\"b, \"a\"", false),
            ("\"b\"", false),
            ("a", false),
            ("w/\"a\"", false),
            ("\"a\"x", false),
            ("\"b\" \"a\"", false),
            ("\"a", false),
            ("", false),
            ("*, \"b\"", false),
        ] {
            assert_eq!(
                if_none_match([value.as_bytes()], b"\"a\""),
                matches,
                "{value}"
            );
        }
        assert!(if_none_match([&b"\"b\""[..], b"\"a\""], b"\"a\""));
    }

    /// What one well-formed spec asks of the bytes `0..size`, byte by byte.
    fn naive(spec: (Option<u64>, Option<u64>), size: u64) -> Vec<u64> {
        (0..size)
            .filter(|&byte| match spec {
                (Some(first), last) => byte >= first && last.is_none_or(|last| byte <= last),
                (None, suffix) => byte + suffix.unwrap_or(0) >= size,
            })
            .collect()
    }

    fn number() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(0_u64..24)
    }

    proptest! {
        #[test]
        fn a_content_range_that_is_written_is_read(
            first in any::<u64>(),
            more in 0_u64..u64::MAX,
            behind in prop::option::of(any::<u64>()),
        ) {
            let text = |number: u128| number.to_string();
            let last = u128::from(first) + u128::from(more);
            let total = behind.map(|behind| last + 1 + u128::from(behind));
            let size = total.map_or("*".to_owned(), text);
            let value = format!("bytes {first}-{last}/{size}");
            let fits = total.unwrap_or(last + 1) <= u128::from(u64::MAX);
            let found = parse_content_range(value.as_bytes());
            prop_assert_eq!(found.is_some(), fits, "{}", value);
            if let Some(found) = found {
                prop_assert_eq!(u128::from(found.range.end), last + 1);
                prop_assert_eq!(found.range.start, first);
                prop_assert_eq!(found.total.map(u128::from), total);
            }
        }

        #[test]
        fn ranges_name_the_bytes_that_a_naive_reader_finds(
            specs in prop::collection::vec((number(), number()), 1..5),
            size in 1_u64..20,
        ) {
            let text = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
            let list: Vec<_> = specs
                .iter()
                .map(|&(first, last)| format!("{}-{}", text(first), text(last)))
                .collect();
            let malformed = specs.iter().any(|spec| match spec {
                (Some(first), Some(last)) => last < first,
                (first, last) => first.is_none() && last.is_none(),
            });
            let wanted: Vec<_> = specs
                .iter()
                .map(|&spec| naive(spec, size))
                .filter(|bytes| !bytes.is_empty())
                .collect();
            let sum: usize = wanted.iter().map(Vec::len).sum();
            let bytes = |range: &Range<u64>| range.clone().collect::<Vec<_>>();
            match parse(format!("bytes={}", list.join(",")).as_bytes(), size) {
                Ranges::Whole => prop_assert!(malformed || sum as u64 > size),
                Ranges::Unsatisfiable => prop_assert!(!malformed && wanted.is_empty()),
                Ranges::One(range) => prop_assert_eq!(vec![bytes(&range)], wanted),
                Ranges::Several(ranges) => {
                    prop_assert_eq!(ranges.iter().map(bytes).collect::<Vec<_>>(), wanted);
                }
                Ranges::TooMany => prop_assert!(false),
            }
        }
    }
}
