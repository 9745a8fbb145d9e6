//! Aligned columns without lines around them, the same on a terminal and in a file.

use std::fmt;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets};

use crate::output::text;

/// Spaces between two columns.
const GAP: u16 = 2;

/// Something that can be a row.
pub(crate) trait Row {
    /// The names of the columns; one that ends in `#` holds numbers and is aligned to the right.
    const HEADER: &'static [&'static str];
    /// As many as there are columns.
    fn cells(&self) -> Vec<String>;
}

/// Rows under a header.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Option<&'static [&'static str]>,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    /// What earlier pages of the same table needed.
    widths: Vec<u16>,
}

impl Table {
    pub(crate) fn new(columns: &'static [&'static str]) -> Table {
        Table {
            header: Some(columns),
            columns,
            rows: Vec::new(),
            widths: vec![0; columns.len()],
        }
    }

    /// A table of these rows.
    pub(crate) fn of<R: Row>(rows: &[R]) -> Table {
        let mut table = Table::new(R::HEADER);
        for row in rows {
            table.add(row.cells());
        }
        table
    }

    /// Rows without a header: names and values of one object. One without a name goes on with the one
    /// before; one without a value is left out.
    pub(crate) fn facts(rows: Vec<(&str, String)>) -> Table {
        let mut table = Table::new(&["", ""]);
        table.hide_header();
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("{name}:")
            };
            table.add(vec![name, value]);
        }
        table
    }

    pub(crate) fn hide_header(&mut self) {
        self.header = None;
    }

    pub(crate) fn add(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.into_iter().map(|cell| text::safe(&cell)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets the rows and the header, and keeps the widths: the next page goes on below.
    pub(crate) fn next_page(&mut self) {
        let header = self.header.take();
        let rows = std::mem::take(&mut self.rows);
        for (at, width) in self.widths.iter_mut().enumerate() {
            let title = header.map_or(0, |_| title(self.columns[at]).chars().count());
            let cells = rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count());
            let widest = cells.chain([title]).max().unwrap_or(0);
            *width = (*width).max(u16::try_from(widest).unwrap_or(u16::MAX));
        }
    }
}

/// The name of a column without the mark of its alignment.
fn title(column: &'static str) -> &'static str {
    column.strip_suffix('#').unwrap_or(column)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if let Some(header) = self.header {
            table.set_header(header.iter().map(|column| title(column)));
        }
        table.add_rows(self.rows.iter().cloned());
        for (at, column) in self.columns.iter().enumerate() {
            let Some(shown) = table.column_mut(at) else {
                continue;
            };
            shown.set_padding((0, GAP));
            if column.ends_with('#') {
                shown.set_cell_alignment(CellAlignment::Right);
            }
            if self.widths[at] > 0 {
                let width = self.widths[at].saturating_add(GAP);
                shown.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        f.write_str(&table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line(&'static str, u32, &'static str);

    impl Row for Line {
        const HEADER: &'static [&'static str] = &["KERNEL", "RUNS#", "WHY"];
        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string(), self.2.to_owned()]
        }
    }

    #[test]
    fn columns_align() {
        let table = Table::of(&[
            Line("debian-12/6.1.0-49-amd64", 3, "new"),
            Line("centos7/3.10.0", 1200, "a reason of several words"),
            Line("x/1", 7, ""),
        ]);
        insta::assert_snapshot!(table, @"
        KERNEL                    RUNS  WHY
        debian-12/6.1.0-49-amd64     3  new
        centos7/3.10.0            1200  a reason of several words
        x/1                          7
        ");
    }

    #[test]
    fn the_next_page_goes_on_below() {
        let mut table = Table::of(&[Line("debian-12/6.1.0-49-amd64", 3, "new")]);
        let first = table.to_string();
        table.next_page();
        table.add(Line("x/1", 7, "old").cells());
        insta::assert_snapshot!(format!("{first}\n{table}"), @"
        KERNEL                    RUNS  WHY
        debian-12/6.1.0-49-amd64     3  new
        x/1                          7  old
        ");
    }

    #[test]
    fn facts_leave_out_what_is_empty() {
        let table = Table::facts(vec![
            ("kernel", "x/1".to_owned()),
            ("ignored", String::new()),
            ("since", "today".to_owned()),
        ]);
        insta::assert_snapshot!(table, @"
        kernel:  x/1
        since:   today
        ");
    }

    #[test]
    fn a_cell_stays_on_its_line_and_commands_no_terminal() {
        let table = Table::of(&[Line("a\nb\tc\x1b[31m", 1, "\u{9b}x\u{202e}y")]);
        insta::assert_snapshot!(table, @"
        KERNEL      RUNS  WHY
        a b c␛[31m     1  ␦x␦y
        ");
    }
}
