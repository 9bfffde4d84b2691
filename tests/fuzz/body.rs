//! Chunked bodies, of clients and of next hops: one result however they arrive.

use transship::http::grammar::{is_token, is_value};
use transship::http::{Chunked, ChunkedError, Piece, Side};

/// The content, and where the body ended if it did.
type Decoded = Result<(Vec<u8>, Option<usize>), ChunkedError>;

/// Decodes with the input arriving in parts that end at `cuts` and at its end.
fn decode(side: Side, bytes: &[u8], cuts: impl Iterator<Item = usize>) -> Decoded {
    let mut decoder = Chunked::new(side);
    let mut content = Vec::new();
    let mut at = 0;
    for end in cuts.chain([bytes.len()]) {
        loop {
            match decoder.decode(&bytes[at..end])? {
                Piece::Data(range) => {
                    assert!(!range.is_empty(), "content without bytes");
                    content.extend_from_slice(&bytes[at..end][range.clone()]);
                    at += range.end;
                }
                Piece::More => {
                    at = end;
                    break;
                }
                Piece::End { consumed } => {
                    assert!(decoder.is_done());
                    return Ok((content, Some(at + consumed)));
                }
            }
        }
    }
    Ok((content, None))
}

/// Reads a whole body by splitting it at line ends, as RFC 9112 §7.1 has it without extensions; `None`
/// for all else.
fn naive(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut rest = bytes;
    let mut content = Vec::new();
    loop {
        let size = std::str::from_utf8(line(&mut rest)?).ok()?;
        let is_size = (1..=15).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(size, 16).ok().filter(|_| is_size)?;
        if size == 0 {
            break;
        }
        content.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    loop {
        let field = line(&mut rest)?;
        if field.is_empty() {
            return Some((content, bytes.len() - rest.len()));
        }
        let colon = field.iter().position(|&byte| byte == b':')?;
        if !is_token(&field[..colon]) || !is_value(&field[colon + 1..]) {
            return None;
        }
    }
}

/// Takes a line off the front, without its CRLF.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = rest.split_at(end);
    *rest = &after[2..];
    Some(line)
}

pub fn check(bytes: &[u8]) {
    for side in [Side::Request, Side::Response] {
        let whole = decode(side, bytes, std::iter::empty());
        for step in [1, 2, 3, 7] {
            let cuts = (0..bytes.len()).step_by(step);
            assert_eq!(
                decode(side, bytes, cuts),
                whole,
                "{side:?}, {step} at a time"
            );
        }
        for cut in 0..bytes.len() {
            let halves = decode(side, bytes, std::iter::once(cut));
            assert_eq!(halves, whole, "{side:?}, cut at {cut}");
        }
    }
    // A body that is complete is one that the naive reader finds complete, and the same.
    let whole = decode(Side::Request, bytes, std::iter::empty());
    let found = whole.ok().and_then(|(content, end)| Some((content, end?)));
    assert_eq!(found, naive(bytes));
    // A next hop may say more than a client, and what both may say means the same.
    let strict = decode(Side::Request, bytes, std::iter::empty());
    if strict.is_ok() {
        assert_eq!(decode(Side::Response, bytes, std::iter::empty()), strict);
    }
}
