//! Decodes chunked content as it arrives, for bodies to drain and for a next hop's responses.
//!
//! Points at content, never copies it. Strict as RFC 9112 §7.1 allows: sizes are bare hex digits, lines
//! end in CRLF, trailers are checked and thrown away.
//!
//! ```text
//!  ╭──▶ Size ──;──▶ Extension        Trailer ──▶ Name ──:──▶ Value
//!  │     ╰──CR──▶ SizeLf ◀──CR──╯      ▲ ╰─CR─▶ EndLf  ▲      ╰─CR─▶ ValueLf ─╮
//!  │      size 0 ╱  ╲ size > 0         │          ╰─▶ End                     │
//!  │            ╱    ▼                 ╰──────────────────────────────────────╯
//!  │    Trailer     Data ──▶ DataCr ──▶ DataLf ─╮
//!  ╰────────────────────────────────────────────╯
//! ```

use std::fmt;
use std::ops::Range;

use super::grammar::{is_token_byte, is_value_byte};
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};

/// Most hex digits of a chunk size, leading zeros included: a chunk stays below 2^60 bytes.
const SIZE_DIGITS_MAX: u8 = 15;

/// Who sent the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client: chunk extensions are refused, since nobody sends them but to smuggle.
    Request,
    /// A next hop: chunk extensions are skipped (RFC 9112 §7.1.1), up to a bound.
    Response,
}

/// What a piece of chunked input came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// `input[range]` is content, never empty; everything up to its end is done with.
    Data(Range<usize>),
    /// All of the input is done with; more must come.
    More,
    /// The content is complete; `consumed` bytes of the input belonged to it.
    End {
        /// Where the next message begins.
        consumed: usize,
    },
}

/// Why chunked content cannot be read. The sender's fault; the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkedError {
    /// No hex digits, too many of them, or something else behind them.
    Size,
    /// A chunk extension in a request, or too many or malformed ones in a response.
    Extension,
    /// A line that does not end in CRLF, or a chunk longer than its size.
    LineEnd,
    /// A malformed trailer field, or too many.
    Trailer,
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "malformed chunk size",
            Self::Extension => "chunk extension refused",
            Self::LineEnd => "chunk without its line end",
            Self::Trailer => "malformed or too long trailer section",
        })
    }
}

impl std::error::Error for ChunkedError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size; holds its digits so far.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the first byte of a trailer line.
    Trailer,
    Name,
    Value,
    ValueLf,
    EndLf,
    End,
}

/// A decoder of one chunked body. The result does not depend on how the input was split.
#[derive(Clone, Debug)]
pub struct Chunked {
    side: Side,
    state: State,
    /// The size being read; in `Data`, bytes of the chunk that are still to come.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl Chunked {
    /// Returns a decoder at the start of a body.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            state: State::Size(0),
            left: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Says whether the content is complete.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Reads on to the next content or the end of `input`, whichever is first.
    ///
    /// Call again with what follows the piece. Costs one pass over the framing, none over content.
    ///
    /// # Errors
    ///
    /// What [`ChunkedError`] lists. The decoder is of no use afterwards.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, ChunkedError> {
        let mut at = 0;
        loop {
            if self.state == State::End {
                return Ok(Piece::End { consumed: at });
            }
            let Some(&byte) = input.get(at) else {
                return Ok(Piece::More);
            };
            if self.state == State::Data {
                let rest = input.len() - at;
                let take = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= take as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece::Data(at..at + take));
            }
            self.state = self.step(byte)?;
            at += 1;
        }
    }

    /// Returns the state after one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkedError> {
        let expect = |wanted, next| {
            if byte == wanted {
                Ok(next)
            } else {
                Err(ChunkedError::LineEnd)
            }
        };
        match self.state {
            State::Size(digits) => self.size(digits, byte),
            State::Extension => match byte {
                b'\r' => Ok(State::SizeLf),
                _ => self.extension(byte),
            },
            State::SizeLf if self.left == 0 => expect(b'\n', State::Trailer),
            State::SizeLf => expect(b'\n', State::Data),
            State::DataCr => expect(b'\r', State::DataLf),
            State::DataLf => expect(b'\n', State::Size(0)),
            State::Trailer | State::Name | State::Value | State::ValueLf => self.trailer(byte),
            State::EndLf => expect(b'\n', State::End),
            State::Data | State::End => Ok(self.state),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, ChunkedError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(ChunkedError::Size),
            b'\r' => return Ok(State::SizeLf),
            // RFC 9112 §7.1.1: white space only before the semicolon of an extension.
            b';' | b' ' | b'\t' => return self.extension(byte),
            _ => return Err(ChunkedError::Size),
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(ChunkedError::Size);
        }
        self.left = if digits == 0 { 0 } else { self.left << 4 } | u64::from(digit);
        Ok(State::Size(digits + 1))
    }

    const fn extension(&mut self, byte: u8) -> Result<State, ChunkedError> {
        self.extension_bytes += 1;
        let skipped = matches!(self.side, Side::Response)
            && self.extension_bytes <= CHUNK_EXTENSION_BYTES_MAX
            && is_value_byte(byte);
        if skipped {
            Ok(State::Extension)
        } else {
            Err(ChunkedError::Extension)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkedError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkedError::Trailer);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::EndLf),
            (State::Name, b':') => Ok(State::Value),
            (State::Trailer | State::Name, _) if is_token_byte(byte) => Ok(State::Name),
            (State::Value, b'\r') => Ok(State::ValueLf),
            (State::Value, _) if is_value_byte(byte) => Ok(State::Value),
            (State::ValueLf, b'\n') => Ok(State::Trailer),
            _ => Err(ChunkedError::Trailer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes with the input arriving `step` bytes at a time; returns content and length consumed.
    fn decode(
        side: Side,
        bytes: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Option<usize>), ChunkedError> {
        let mut decoder = Chunked::new(side);
        let mut content = Vec::new();
        let mut at = 0;
        for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
            loop {
                match decoder.decode(&bytes[at..end])? {
                    Piece::Data(range) => {
                        assert!(!range.is_empty());
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

    #[test]
    fn chunks_are_joined_and_the_rest_is_left() {
        let bytes = b"4\r\nWiki\r\n0A\r\n0123456789\r\n000\r\nX-Sum: a\tb\r\n\r\nGET /";
        let whole = decode(Side::Request, bytes, bytes.len()).unwrap();
        assert_eq!(whole, (b"Wiki0123456789".to_vec(), Some(bytes.len() - 5)));
        let extended = b"1 ;a=\"b\";c\r\nx\r\n0;d\r\n\r\n";
        assert_eq!(
            decode(Side::Response, extended, 5),
            Ok((b"x".to_vec(), Some(extended.len())))
        );
        assert_eq!(
            decode(Side::Request, extended, 5),
            Err(ChunkedError::Extension)
        );
    }

    #[test]
    fn malformed_framing_is_refused_on_both_sides() {
        use ChunkedError as E;
        for (bytes, error) in [
            ("\r\n", E::Size),
            ("g\r\n", E::Size),
            ("+1\r\n", E::Size),
            ("-1\r\n", E::Size),
            (" 1\r\n", E::Size),
            ("0x1\r\n", E::Size),
            ("1_\r\n", E::Size),
            ("1\n", E::Size),
            ("1000000000000000\r\n", E::Size),
            ("0000000000000001\r\n", E::Size),
            ("1\rx", E::LineEnd),
            ("1\r\nab", E::LineEnd),
            ("1\r\na\n", E::LineEnd),
            ("1\r\na\rx", E::LineEnd),
            ("0\r\n\rx", E::LineEnd),
            ("0\r\n\n", E::Trailer),
            ("0\r\n a: b\r\n", E::Trailer),
            ("0\r\n: b\r\n", E::Trailer),
            ("0\r\na : b\r\n", E::Trailer),
            ("0\r\na\r\n", E::Trailer),
            ("0\r\na: \x01\r\n", E::Trailer),
            ("0\r\na: b\n", E::Trailer),
            ("0\r\na: b\r\n c\r\n", E::Trailer),
        ] {
            for side in [Side::Request, Side::Response] {
                assert_eq!(decode(side, bytes.as_bytes(), 1), Err(error), "{bytes:?}");
            }
        }
        for extension in ["1;a\n", "1;a\rb", "1;\x01\r\n", "1;a\0\r\n"] {
            assert!(decode(Side::Response, extension.as_bytes(), 1).is_err());
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extensions = format!("1;{}\r\na\r\n", "x".repeat(99)).repeat(200);
        let error = decode(Side::Response, extensions.as_bytes(), 64);
        assert_eq!(error, Err(ChunkedError::Extension));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(2000));
        let error = decode(Side::Request, trailers.as_bytes(), 64);
        assert_eq!(error, Err(ChunkedError::Trailer));
    }

    proptest! {
        #[test]
        fn what_was_chunked_comes_out_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            step in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let expected = (chunks.concat(), Some(wire.len()));
            prop_assert_eq!(decode(Side::Request, &wire, step), Ok(expected));
        }
    }
}
