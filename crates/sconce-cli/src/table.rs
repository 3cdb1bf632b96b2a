//! Columns of text, aligned.

use std::io::{Result, Write};

use anstyle::{AnsiColor, Style};

const PLAIN: Style = Style::new();
const HEADER: Style = Style::new().bold();
const ALARM: Style = AnsiColor::Red.on_default().bold();

/// Rows under a header. The output takes the styles out where they are not wanted.
pub(crate) struct Table {
    header: Vec<&'static str>,
    /// Whether a column's cells stand at its right edge.
    right: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

/// A text and how it looks on a terminal.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: PLAIN }
    }

    /// A text that must not be overlooked.
    pub(crate) fn alarm(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: ALARM }
    }
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, bool)]) -> Self {
        Self {
            header: columns.iter().map(|c| c.0).collect(),
            right: columns.iter().map(|c| c.1).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let width = |i: usize| {
            let cells = self.rows.iter().map(|r| r[i].text.chars().count());
            cells.chain([self.header[i].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
            let mut text = String::new();
            // Spaces are owed until something follows them, so that no line ends in any.
            let mut owed = 0;
            for (i, (cell, style)) in cells.enumerate() {
                let pad = widths[i] - cell.chars().count();
                owed += if i > 0 { 2 } else { 0 } + if self.right[i] { pad } else { 0 };
                let shown = cell.trim_end();
                if !shown.is_empty() {
                    text.extend(std::iter::repeat_n(' ', owed));
                    text.push_str(&format!("{style}{shown}{style:#}"));
                    owed = 0;
                }
                owed += cell.len() - shown.len() + if self.right[i] { 0 } else { pad };
            }
            writeln!(out, "{text}")
        };
        line(&mut self.header.iter().map(|&text| (text, HEADER)))?;
        for row in &self.rows {
            line(&mut row.iter().map(|cell| (cell.text.as_str(), cell.style)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_or_without_styles() {
        let mut table = Table::new(&[("name", false), ("n", true), ("bars", false)]);
        table.push(vec![Cell::plain("a"), Cell::plain("12"), Cell::plain("▁ ")]);
        table.push(vec![Cell::plain("longer"), Cell::alarm("3"), Cell::plain("  ▂")]);
        let mut styled = Vec::new();
        table.write(&mut styled).expect("memory takes it");
        let styled = String::from_utf8(styled).expect("text");
        let plain = anstream::adapter::strip_str(&styled).to_string();
        assert_eq!(plain, "name     n  bars\na       12  ▁\nlonger   3    ▂\n");
        assert_eq!(styled.matches("\u{1b}[31m").count(), 1, "{styled:?}");
    }
}
