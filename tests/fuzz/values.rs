//! Values of fields and queries.

use proptest::prelude::*;
use transship::http::range::Ranges;
use transship::http::{Query, Trace, if_none_match, if_range_matches, parse, range};
use transship::limits::RANGES_MAX;

/// Ranges are within the content and no more than it.
fn check_range_of(value: &[u8], size: u64) {
    let ranges = match range::parse(value, size) {
        Ranges::One(range) => vec![range],
        Ranges::Several(ranges) => {
            assert!((2..=RANGES_MAX).contains(&ranges.len()));
            ranges
        }
        Ranges::Whole | Ranges::Unsatisfiable | Ranges::TooMany => return,
    };
    for range in &ranges {
        assert!(
            range.start < range.end && range.end <= size,
            "{ranges:?} of {size}"
        );
    }
    let sum: u128 = ranges
        .iter()
        .map(|range| u128::from(range.end - range.start))
        .sum();
    assert!(sum <= size.into(), "{ranges:?} of {size}");
}

pub fn check_range(value: &[u8]) {
    for size in [0, 1, 2, 10, 100, 1 << 40, u64::MAX] {
        check_range_of(value, size);
    }
}

/// Fields of a head: what is passed on is what would be read the same again, and can end no line.
pub fn check_trace(fields: &[u8]) {
    let read = |fields: &[u8]| {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n\r\n"].concat();
        let request = parse(&head).ok()?;
        Trace::read(request.traceparent, request.tracestate)
    };
    let Some(trace) = read(fields) else { return };
    let (parent, state) = trace.write(7);
    assert_eq!(parent.len(), 55, "{parent}");
    assert!(state.len() <= 512, "{state}");
    for text in [parent.as_str(), state] {
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{text:?}"
        );
    }
    let written = format!("traceparent: {parent}\r\ntracestate: {state}");
    assert_eq!(read(written.as_bytes()), Some(trace.clone()), "{written}");
}

pub fn check_content_range(value: &[u8]) {
    let Some(found) = range::parse_content_range(value) else {
        return;
    };
    let (first, end) = (found.range.start, found.range.end);
    assert!(first < end && found.total.is_none_or(|total| end <= total));
    // It has one spelling, but for zeros in front.
    let total = found
        .total
        .map_or("*".to_owned(), |total| total.to_string());
    let again = format!("bytes {first}-{}/{total}", end - 1);
    assert!(value.len() >= again.len(), "{}", value.escape_ascii());
    assert_eq!(range::parse_content_range(again.as_bytes()), Some(found));
}

pub fn check_etag(value: &[u8]) {
    let etag = b"\"sha256:a\"";
    // What makes a range count must be that very tag, once.
    if if_range_matches(value, etag) {
        let trimmed = value.trim_ascii();
        assert_eq!(trimmed, etag);
    }
    // What is sent back as it came is printable, and compares with itself.
    if range::is_strong_etag(value) {
        assert!(value.iter().all(u8::is_ascii_graphic));
        assert!(if_range_matches(value, value) && if_none_match([value], value));
    }
    // What names the tag has to hold it, or be the star.
    if if_none_match([value], etag) {
        let holds = value.windows(etag.len()).any(|part| part == etag);
        assert!(
            holds || value.trim_ascii() == b"*",
            "{}",
            value.escape_ascii()
        );
    }
}

pub fn check_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let query = Query::new(Some(text));
    for name in ["ns", "n", "last", "artifactType", "token"] {
        let Ok(Some(value)) = query.find(name) else {
            continue;
        };
        assert!(!value.chars().any(char::is_control), "{value:?}");
        // Another reader of the same query finds the same value, and finds it first.
        let other = url::form_urlencoded::parse(bytes)
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.into_owned());
        let is_plain = !text.contains("%")
            || text
                .split('&')
                .all(|part| !part.split('=').next().unwrap().contains('%'));
        if is_plain
            && !text
                .split('&')
                .any(|part| part.split('=').next().unwrap().contains('+'))
        {
            assert_eq!(other.as_deref(), Some(&*value), "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_range_reaches_beyond_the_content(value in "bytes=[0-9,-]{0,40}", size in any::<u64>()) {
        check_range_of(value.as_bytes(), size);
    }
}
