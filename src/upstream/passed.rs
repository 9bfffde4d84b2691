//! What the caches behind a next hop say of their part in an answer (`Cache-Status`, RFC 9211), as far as it
//! is passed on.

use crate::limits::CACHE_STATUS_BYTES_MAX;

/// Returns the members of `lines` as one list, followed by `, `; empty where there is none, or where it is too
/// long or could not stand before our own member.
///
/// Nearest to the origin first, as RFC 9211 §2 has it.
pub(super) fn cache_status<'v>(lines: impl Iterator<Item = &'v str>) -> String {
    let mut list = String::new();
    for line in lines {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !is_list(line) || list.len() + line.len() > CACHE_STATUS_BYTES_MAX {
            return String::new();
        }
        list.push_str(line);
        list.push_str(", ");
    }
    list
}

/// Says whether `text` is visible ASCII whose strings end and whose members each begin with the name of a
/// cache, a token or a string (RFC 8941 §3.3). More of the grammar cannot spoil what follows it.
fn is_list(text: &str) -> bool {
    let (mut is_in_string, mut is_escaped, mut is_at_start) = (false, false, true);
    for byte in text.bytes() {
        if !(b' '..=b'~').contains(&byte) {
            return false;
        }
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => {
                is_in_string = !is_in_string;
                is_at_start = false;
            }
            _ if is_in_string || byte == b' ' => {}
            b',' if is_at_start => return false,
            b',' => is_at_start = true,
            _ if is_at_start && !(byte.is_ascii_alphabetic() || byte == b'*') => return false,
            _ => is_at_start = false,
        }
    }
    !is_in_string && !is_at_start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caches_say_is_passed_on_in_order() {
        for (lines, passed) in [
            (&["transship; hit"][..], "transship; hit, "),
            (
                &["OriginCache; hit; ttl=1100, \"CDN, Inc\\\" x\"; fwd=miss"],
                "OriginCache; hit; ttl=1100, \"CDN, Inc\\\" x\"; fwd=miss, ",
            ),
            (&[" a;hit ", "", "b;hit"], "a;hit, b;hit, "),
            (&[], ""),
            (&["", " "], ""),
        ] {
            assert_eq!(cache_status(lines.iter().copied()), passed);
        }
    }

    #[test]
    fn what_would_spoil_our_own_word_is_left_out() {
        for line in [
            "a; x=\"",
            "a,",
            ", a",
            "a,, b",
            ";hit",
            "a; hit, ;",
            "a\r\nX: y",
            "a\u{0}",
            "é; hit",
            "a; x=\"\\\"",
        ] {
            assert_eq!(cache_status([line].into_iter()), "", "{line:?}");
        }
        let long = "a".repeat(CACHE_STATUS_BYTES_MAX + 1);
        assert_eq!(cache_status([long.as_str()].into_iter()), "");
    }
}
