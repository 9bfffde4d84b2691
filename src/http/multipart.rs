//! The layout of `multipart/byteranges`, with its length known before the first byte is sent.
//!
//! The server sends the head, then for each part its head and its bytes, then the closing delimiter:
//!
//! ```text
//!  --B CRLF Content-Type… CRLF Content-Range… CRLF CRLF  bytes      part_head(0), ranges[0]
//!  CRLF --B CRLF …                                       bytes      part_head(1), ranges[1]
//!  CRLF --B-- CRLF                                                  closing()
//! ```
//!
//! Source: RFC 9110 §14.6, RFC 2046 §5.1.1.

use std::ops::Range;

use super::grammar::{decimal_bytes, is_value, push_decimal};

/// What separates the parts: 32 hex digits.
///
/// Content that contains it could forge a part, so it comes from randomness that the content's author
/// cannot know; 128 bits make a guess hopeless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary([u8; 32]);

impl Boundary {
    /// Returns the boundary that spells `random`.
    #[must_use]
    pub fn new(random: u128) -> Self {
        let mut text = [0; 32];
        for (index, digit) in text.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(random >> (4 * index) & 0xf) as usize];
        }
        Self(text)
    }

    /// Returns the 32 hex digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const CONTENT_TYPE: &[u8] = b"multipart/byteranges; boundary=";

/// One `multipart/byteranges` content that is yet to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    boundary: Boundary,
    /// Media type of each part; empty leaves the field out.
    media_type: &'a [u8],
    size: u64,
    ranges: &'a [Range<u64>],
}

impl<'a> Multipart<'a> {
    /// Returns the layout of `ranges`, half-open and within `size` bytes of content.
    ///
    /// - `media_type`: of the whole content; left out of the parts if no field could carry it.
    #[must_use]
    pub fn new(
        boundary: Boundary,
        media_type: &'a str,
        size: u64,
        ranges: &'a [Range<u64>],
    ) -> Self {
        let media_type = media_type.as_bytes();
        Self {
            boundary,
            media_type: if is_value(media_type) {
                media_type
            } else {
                b""
            },
            size,
            ranges,
        }
    }

    /// Returns the value of the response's own `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> [u8; 63] {
        let mut value = [0; 63];
        let (name, boundary) = value.split_at_mut(CONTENT_TYPE.len());
        name.copy_from_slice(CONTENT_TYPE);
        boundary.copy_from_slice(self.boundary.as_bytes());
        value
    }

    /// Returns the bytes of everything: part heads, parts, closing delimiter.
    ///
    /// O(ranges), no allocation. Saturates where no content could be that long.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        let delimiter = 2 + 2 + self.boundary.0.len() as u64 + 2;
        let media_type = match self.media_type {
            [] => 0,
            value => (b"Content-Type: ".len() + value.len() + 2) as u64,
        };
        let fixed = delimiter + media_type + b"Content-Range: bytes -/\r\n\r\n".len() as u64;
        let parts = self.ranges.iter().fold(0_u64, |sum, range| {
            let numbers = decimal_bytes(range.start)
                + decimal_bytes(range.end.saturating_sub(1))
                + decimal_bytes(self.size);
            sum.saturating_add(fixed + numbers)
                .saturating_add(range.end.saturating_sub(range.start))
        });
        // The first delimiter lacks its leading CRLF, the last one has two dashes more.
        match self.ranges {
            [] => parts,
            _ => parts.saturating_add(delimiter),
        }
    }

    /// Appends what stands before the bytes of part `index`; nothing if there is no such part.
    pub fn part_head(&self, index: usize, out: &mut Vec<u8>) {
        let Some(range) = self.ranges.get(index) else {
            return;
        };
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--");
        out.extend_from_slice(self.boundary.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !self.media_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(self.media_type);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Range: ");
        push_content_range(out, range, self.size);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Appends what stands after the bytes of the last part.
    pub fn closing(&self, out: &mut Vec<u8>) {
        if !self.ranges.is_empty() {
            out.extend_from_slice(b"\r\n--");
            out.extend_from_slice(self.boundary.as_bytes());
            out.extend_from_slice(b"--\r\n");
        }
    }
}

/// Appends `bytes first-last/size` for a half-open range that is not empty (RFC 9110 §14.4).
pub(super) fn push_content_range(out: &mut Vec<u8>, range: &Range<u64>, size: u64) {
    out.extend_from_slice(b"bytes ");
    push_decimal(out, range.start);
    out.push(b'-');
    push_decimal(out, range.end.saturating_sub(1));
    out.push(b'/');
    push_decimal(out, size);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(layout: &Multipart<'_>, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, range) in layout.ranges.iter().enumerate() {
            layout.part_head(index, &mut out);
            let bounds = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            out.extend_from_slice(&content[bounds]);
        }
        layout.closing(&mut out);
        out
    }

    #[test]
    fn parts_are_laid_out_as_clients_read_them() {
        let ranges = [0..2, 5..9];
        let layout = Multipart::new(Boundary::new(0xabc), "a/b", 10, &ranges);
        let b = "00000000000000000000000000000abc";
        let text = format!(
            "--{b}\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --{b}\r\nContent-Type: a/b\r\nContent-Range: bytes 5-8/10\r\n\r\n5678\r\n--{b}--\r\n"
        );
        assert_eq!(write(&layout, b"0123456789"), text.into_bytes());
        let kind = format!("multipart/byteranges; boundary={b}");
        assert_eq!(layout.content_type(), kind.as_bytes());
        let mut out = Vec::new();
        layout.part_head(2, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_media_type_with_a_line_end_is_left_out() {
        let ranges = [0..1, 1..2];
        let layout = Multipart::new(Boundary::new(1), "a/b\r\nX: y", 2, &ranges);
        assert!(
            !String::from_utf8(write(&layout, b"01"))
                .unwrap()
                .contains("X: y")
        );
    }

    proptest! {
        #[test]
        fn the_length_told_is_the_length_written(
            random in any::<u128>(),
            media_type in prop_oneof![Just(""), Just("application/octet-stream")],
            pairs in prop::collection::vec((0_u64..1200, 1_u64..100), 0..6),
        ) {
            let content = vec![b'x'; 1300];
            let ranges: Vec<_> = pairs
                .iter()
                .map(|&(start, length)| start..start + length)
                .collect();
            let layout = Multipart::new(Boundary::new(random), media_type, 1300, &ranges);
            prop_assert_eq!(layout.content_length(), write(&layout, &content).len() as u64);
        }
    }
}
