//! How things look on a terminal: plain columns, sizes, rates, and a block that is redrawn.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table of plain columns under these headings; columns from `numbers_from` on are numbers.
pub(crate) fn table(headings: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table as lines without blanks at their ends.
pub(crate) fn lines_of(table: &Table) -> Vec<String> {
    table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// `println!` that a closed stdout does not turn into a panic: a reader that has seen enough
/// (`| head`) is no reason to fail, and none to leave brokers behind.
macro_rules! say {
    () => {{ $crate::cli::show::line(""); }};
    ($($part:tt)*) => {{ $crate::cli::show::line(&format!($($part)*)); }};
}
pub(crate) use say;

/// Prints a line; false when nobody reads stdout any more.
pub(crate) fn line(text: &str) -> bool {
    put(&format!("{text}\n"))
}

/// Prints a table.
pub(crate) fn print_table(table: &Table) {
    for line in lines_of(table) {
        say!("{line}");
    }
}

/// Events a second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// A duration as people read it: `240 µs`, `12.3 ms`, `4.56 s`.
pub(crate) fn duration(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        m if m < 1e3 => format!("{m:.0} µs"),
        m if m < 1e6 => format!("{:.1} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}

/// Bytes as people read them: `9.1 MiB`.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A number with thousands marked: `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut marked = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            marked.push(',');
        }
        marked.push(digit);
    }
    marked
}

/// A block of lines at the bottom of the terminal, drawn over itself.
#[derive(Debug, Default)]
pub(crate) struct LiveBlock {
    height: usize,
}

impl LiveBlock {
    /// True when stdout can be drawn on.
    pub(crate) fn is_possible() -> bool {
        std::io::stdout().is_terminal()
    }

    /// Replaces the block; false when the terminal is gone.
    pub(crate) fn draw(&mut self, lines: &[String]) -> bool {
        let mut text = self.clear_text();
        // A line that wraps would take two rows, and the next drawing would miss one.
        let width = Table::new().width().map_or(usize::MAX, usize::from);
        for line in lines {
            text.extend(line.chars().take(width));
            text.push('\n');
        }
        self.height = lines.len();
        put(&text)
    }

    /// Prints a line above the block, which must be drawn again.
    pub(crate) fn print_above(&mut self, line: &str) {
        let text = format!("{}{line}\n", self.clear_text());
        self.height = 0;
        put(&text);
    }

    /// Up to the block's first line, and clear from there on (ECMA-48 CUU and ED).
    fn clear_text(&self) -> String {
        match self.height {
            0 => String::new(),
            height => format!("\x1b[{height}A\x1b[J"),
        }
    }
}

fn put(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!(mebibytes(9 << 19), "4.5 MiB");
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(duration(Duration::from_micros(240)), "240 µs");
        assert_eq!(duration(Duration::from_micros(12_340)), "12.3 ms");
        assert_eq!(duration(Duration::from_millis(4_560)), "4.56 s");
        assert_eq!(rate(10, Duration::ZERO), 0.0);
    }

    #[test]
    fn tables_are_plain_columns() {
        let mut table = table(&["NAME", "COUNT"], &[1]);
        table.add_row(["a", "1"]);
        table.add_row(["bb", "10"]);
        assert_eq!(
            lines_of(&table),
            [" NAME  COUNT", " a         1", " bb       10"]
        );
    }
}
