//! Fits a table to a terminal: long cells are shortened in the middle, digests to what people tell them apart by.
//!
//! Only on a terminal. What goes to a pipe or a file is never cut: programs read it.

use std::io::{self, IsTerminal as _};

/// Hex digits of a digest that are left.
const HEX_LEFT: usize = 12;
/// No column gets narrower than that.
const WIDTH_MIN: usize = 8;
/// Between two columns.
const GAP: usize = 2;

/// Returns how many characters a line of standard output takes, if that is a terminal.
pub(super) fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|&width| width > 0)
}

/// Returns rows of which no line is longer than `width`, as far as that can be done.
pub(super) fn rows(rows: &[Vec<String>], width: Option<usize>) -> Vec<Vec<String>> {
    let mut rows = rows.to_vec();
    let Some(width) = width.filter(|&width| needed(&widths(&rows)) > width) else {
        return rows;
    };
    for cell in rows.iter_mut().flatten() {
        *cell = short_digests(cell);
    }
    let mut allowed = widths(&rows);
    while needed(&allowed) > width {
        let Some(widest) = allowed.iter_mut().max() else {
            break;
        };
        if *widest <= WIDTH_MIN {
            break;
        }
        *widest -= 1;
    }
    for row in &mut rows {
        for (cell, allowed) in row.iter_mut().zip(&allowed) {
            *cell = middle(cell, *allowed);
        }
    }
    rows
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

fn needed(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Leaves the first digits of each digest in a text.
fn short_digests(text: &str) -> String {
    let mut left = text;
    let mut short = String::new();
    while let Some(at) = left.find("sha256:").or_else(|| left.find("sha512:")) {
        let start = at + "sha256:".len();
        let hex = left[start..]
            .bytes()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let is_digest = matches!(hex, 64 | 128);
        short.push_str(&left[..start + if is_digest { HEX_LEFT } else { hex }]);
        left = &left[start + hex..];
    }
    short + left
}

/// Shortens a text to so many characters: its ends say more than its middle.
fn middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (first, last) = (kept.div_ceil(2), kept / 2);
    let start: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(count - last).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Vec<String>> {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let name = "registry/of/a/team/with/a/rather/long/name/for/an/image";
        vec![
            vec!["SIZE".into(), "DIGEST".into(), "NAME".into()],
            vec!["1.5 MiB".into(), digest, name.into()],
        ]
    }

    #[test]
    fn what_goes_to_a_pipe_or_fits_is_not_cut() {
        for width in [None, Some(1000), Some(needed(&widths(&table())))] {
            assert_eq!(rows(&table(), width), table());
        }
    }

    #[test]
    fn digests_are_cut_first_and_then_the_widest_column() {
        let cut = rows(&table(), Some(100));
        assert_eq!(cut[1][1], "sha256:0123456789ab");
        assert_eq!(cut[1][2], table()[1][2], "there was room for it");
        let narrow = rows(&table(), Some(60));
        assert_eq!(narrow[1][1], "sha256:0123456789ab");
        assert_eq!(needed(&widths(&narrow)), 60);
        assert!(narrow[1][2].starts_with("registry/") && narrow[1][2].ends_with("image"));
        assert_eq!(narrow[1][0], "1.5 MiB");
        // A terminal that is narrower than that wraps.
        assert!(needed(&widths(&rows(&table(), Some(5)))) > 5);
    }

    #[test]
    fn only_whole_digests_are_cut_and_no_character_is() {
        let hex = "ab".repeat(32);
        let text = format!("x@sha256:{hex} and sha256:{hex}, sha256:abc");
        let cut = "x@sha256:abababababab and sha256:abababababab, sha256:abc";
        assert_eq!(short_digests(&text), cut);
        assert_eq!(middle("äöüßéèê", 5), "äö…èê");
        assert_eq!(middle("abc", 3), "abc");
    }
}
