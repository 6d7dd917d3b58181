//! Folders of files as tables: partitions, and what other readers have of them.

use std::time::Duration;

use crate::support::scratch::Scratch;
use crate::support::{program, tools};

/// Some hundred runs of the program.
const PARTITIONS_LIMIT: Duration = Duration::from_secs(180);

#[test]
fn folders_are_the_tables_of_pyarrow_duckdb_and_polars() {
    let scratch = Scratch::new("partitions");
    let mut python = tools::python();
    python
        .arg(tools::client_script("read_partitions.py"))
        .arg(program::command(&[]).get_program())
        .current_dir(scratch.path())
        .stdout(std::process::Stdio::piped());
    let said = program::finish_within(python, PARTITIONS_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    assert_eq!(said.text(), "158 outputs\n");
}
