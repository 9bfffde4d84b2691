//! Byte classes of HTTP and URIs, and numbers in decimal.
//!
//! The strict grammar of the RFCs, without the allowances for old implementations.

/// May stand in a token (RFC 9110 §5.6.2, `tchar`).
const TOKEN: u8 = 1;
/// May stand in a request target (RFC 3986 `pchar`, `/` and `?`; `%` is checked apart).
const TARGET: u8 = 2;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            classes[byte as usize] = TOKEN | TARGET;
        }
        byte += 1;
    }
    classes = with(classes, b"!#$%&'*+-.^_`|~", TOKEN);
    with(classes, b"-._~!$&'()*+,;=:@/?%", TARGET)
}

const fn with(mut classes: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut index = 0;
    while index < bytes.len() {
        classes[bytes[index] as usize] |= class;
        index += 1;
    }
    classes
}

/// Says whether `byte` may stand in a token.
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// Says whether `bytes` is a token: a method, a field name (RFC 9110 §5.6.2). Never empty.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    let classes = bytes
        .iter()
        .fold(TOKEN, |classes, &b| classes & CLASSES[usize::from(b)]);
    !bytes.is_empty() && classes & TOKEN != 0
}

/// Says whether `byte` may stand in a field value: all but controls other than tab (RFC 9110 §5.5).
#[must_use]
pub const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Says whether `bytes` may be a field value. Bytes above 127 may (RFC 9110 §5.5, `obs-text`).
///
/// Looks at every byte without leaving early, so that the compiler can take 16 at a time.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |valid, &byte| valid & is_value_byte(byte))
}

/// Says whether `bytes` may be path and query of a request target (RFC 3986 §3.3, §3.4).
///
/// Refuses fragments, brackets, quotes, backslashes, spaces, controls, bytes above 127, and `%` without
/// two hex digits after it.
#[must_use]
pub fn is_target(bytes: &[u8]) -> bool {
    // Without a branch for each byte: a token in the query is half a kilobyte.
    let classes = bytes
        .iter()
        .fold(TARGET, |common, &b| common & CLASSES[usize::from(b)]);
    classes & TARGET != 0
        && memchr::memchr_iter(b'%', bytes).all(|at| {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
}

/// Says whether `text` is `host [":" port]` as a registry's clients write it.
///
/// Narrower than RFC 3986 §3.2.2: letters, digits, `-`, `.`, `_`, or an IPv6 address in brackets; no
/// user information, no percent-encoding, no empty host, no empty port, no port above 65535.
#[must_use]
pub fn is_authority(text: &str) -> bool {
    let port = if let Some(inside) = text.strip_prefix('[') {
        let Some((address, port)) = inside.split_once(']') else {
            return false;
        };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        port
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if end == 0 || !text.bytes().take(end).all(named) {
            return false;
        }
        text.get(end..).unwrap_or_default()
    };
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.len() <= 5 && decimal(digits.as_bytes()).is_some_and(|port| port <= 65535)
        }
    }
}

/// Returns `bytes` without the spaces and tabs around them (RFC 9110 §5.6.3, `OWS`).
#[must_use]
pub const fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns the number that `digits` spell; `None` unless all are digits, at least one, and it fits.
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        digit
            .is_ascii_digit()
            .then(|| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?
    })
}

/// Returns how many digits `value` takes in decimal: 1 to 20.
#[must_use]
pub const fn decimal_bytes(value: u64) -> u64 {
    match value.checked_ilog10() {
        Some(log) => log as u64 + 1,
        None => 1,
    }
}

/// Appends `value` in decimal. Cheaper than `write!`, which heads cannot afford.
pub fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        let digit = (value % 10) as u8;
        digits[start] = b'0' + digit;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for value in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
            assert_eq!(decimal_bytes(value), out.len() as u64);
            assert_eq!(decimal(&out), Some(value));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in [
            "",
            "+1",
            "-1",
            "1 ",
            " 1",
            "0x1",
            "1,1",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decimal(b"00018"), Some(18));
    }

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in [
            "a",
            "registry.example:5000",
            "10.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:443",
            "my_host-1.local",
        ] {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "a:80:80",
            "u@a",
            "a/b",
            "a b",
            "a,b",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "é",
            "a%41",
            "a:+80",
            "::1",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }

    #[test]
    fn targets_carry_uri_bytes_and_whole_escapes_only() {
        for good in ["/", "/v2/a/b:c@d", "/a?b=c&d=%3a%2F", "//"] {
            assert!(is_target(good.as_bytes()), "{good}");
        }
        for bad in [
            "/#", "/\"", "/\\", "/[", "/ ", "/\t", "/\0", "/%", "/%4", "/%4g", "/é", "/|", "/<",
            "/{", "/^", "/`", "/\x7f",
        ] {
            assert!(!is_target(bad.as_bytes()), "{bad}");
        }
    }
}
