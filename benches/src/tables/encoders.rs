//! The encoders alone: the output of the table crate's `cargo bench`, as a table.

use std::io;
use std::process::{Command, Stdio};

use crate::report::{Report, Table};

/// What stands in a line that the crate's benchmark prints, with tabs between.
const COLUMNS: [&str; 4] = ["encoder", "M rows/CPU s", "ns/row", "bytes/row"];

const ARGUMENTS: [&str; 6] = [
    "bench",
    "--quiet",
    "-p",
    "datastreamer-table",
    "--bench",
    "encoders",
];

/// Runs the benchmark, which cargo builds first.
pub(super) fn measure() -> io::Result<Report> {
    eprintln!("the encoders alone");
    let output = Command::new("cargo")
        .args(ARGUMENTS)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        let text = format!("cargo {}: {}", ARGUMENTS.join(" "), output.status);
        return Err(io::Error::other(text));
    }
    Ok(Report {
        title: "Encoders alone".into(),
        notes: vec![format!(
            "`cargo {}`: record batches of 8192 rows of the same columns, in memory, into nowhere, \
             on one thread; medians of its runs.",
            ARGUMENTS.join(" ")
        )],
        tables: vec![Table {
            header: COLUMNS.to_vec(),
            rows: rows(&String::from_utf8_lossy(&output.stdout)),
        }],
        bars: Vec::new(),
    })
}

fn rows(printed: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let rows = printed.lines().map(cells);
    rows.filter(|cells| cells.len() == COLUMNS.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_figures_are_rows_and_others_are_not() {
        let printed = "running\ncsv\t4.70\t212.8\t141.7\n\n";
        assert_eq!(rows(printed), [["csv", "4.70", "212.8", "141.7"]]);
    }
}
