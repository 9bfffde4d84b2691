//! Field lines of a checked request head, read again on demand.

use crate::http::grammar::trim;

/// Iterates over the fields of a head in order, as (name, value); names in the client's case.
///
/// Reads the lines again instead of keeping them: most requests never ask.
///
/// Invariant: `rest` is whole field lines that passed the parser, each with its CRLF.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(checked: &'a [u8]) -> Self {
        Self { rest: checked }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let colon = memchr::memchr(b':', line)?;
        let name = str::from_utf8(&line[..colon]).ok()?;
        Some((name, trim(line[colon + 1..].trim_ascii_end())))
    }
}

/// Iterates over the values of one field that may come in several lines, in order.
///
/// Costs nothing when the field is absent, and reads no further than its last line.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    name: &'static str,
    /// Begins at the field's first line.
    fields: Fields<'a>,
    /// Lines that are still to come.
    left: usize,
}

impl<'a> Values<'a> {
    pub(super) const fn none(name: &'static str) -> Self {
        Self {
            name,
            fields: Fields::new(&[]),
            left: 0,
        }
    }

    /// Notes one more line; `from` is the rest of the head, beginning with it.
    pub(super) const fn add(&mut self, from: &'a [u8]) {
        if self.left == 0 {
            self.fields = Fields::new(from);
        }
        self.left += 1;
    }

    /// Says whether the field is absent, or all its lines have been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.name;
        self.fields
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}
