//! What one measurement over HTTP finds: a row of the report's table and a bar.

use crate::report::{Bar, Report, Table};

/// A row of a table, and its bar.
pub(super) struct Finding {
    pub(super) cells: Vec<String>,
    pub(super) bar: Bar,
}

#[derive(Default)]
pub(super) struct Findings {
    rows: Vec<Vec<String>>,
    bars: Vec<Bar>,
}

impl Findings {
    pub(super) fn add(&mut self, Finding { cells, bar }: Finding) {
        eprintln!("{}", cells.join(" | "));
        self.rows.push(cells);
        self.bars.push(bar);
    }

    pub(super) fn report(self, title: &str, method: String, header: &[&'static str]) -> Report {
        Report {
            title: title.into(),
            notes: vec![method],
            tables: vec![Table {
                header: header.to_vec(),
                rows: self.rows,
            }],
            bars: self.bars,
        }
    }
}
