//! Tables, sizes and times for people.

use std::io::{self, Write};

/// Writes rows in columns that are as wide as what stands in them; the columns of `right` end together.
pub(super) fn write(out: &mut dyn Write, right: &[usize], rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column > 0 {
                line.push_str("  ");
            }
            match right.contains(&column) {
                true => line.push_str(&format!("{cell:>width$}")),
                false => line.push_str(&format!("{cell:<width$}")),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Returns a size as `12.3 MiB`.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// Returns a length of time in its two largest units, as `3d 4h`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Returns what a text from elsewhere shows: control characters would steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_times_are_short() {
        let rows = [["SIZE", "NAME"], ["1", "a"], ["10000", "bb"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write(&mut out, &[0], &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, " SIZE  NAME\n    1  a\n10000  bb\n");
        for (seconds, shown) in [
            (5, "5s"),
            (65, "1m 5s"),
            (7260, "2h 1m"),
            (180_000, "2d 2h"),
        ] {
            assert_eq!(span(seconds), shown);
        }
        assert_eq!(clean("a\u{1b}[2Jb"), "a?[2Jb");
    }
}
