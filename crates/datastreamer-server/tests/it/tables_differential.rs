//! Files that are made at random, read by the program in its formats, and compared value by value
//! with what other readers have of them: `tests/clients/differential`. `scripts/differential` makes
//! thousands.

use std::time::Duration;

use crate::support::scratch::Scratch;
use crate::support::{program, tools};

/// Some twenty runs of the program.
const SELF_TEST_LIMIT: Duration = Duration::from_secs(90);
/// Four runs of the program, and twelve of other readers.
const TEXT_FILES_LIMIT: Duration = Duration::from_secs(120);

/// Runs a comparison with the program, and returns what it says, once it has found no difference.
#[track_caller]
fn compared(script: &str, arguments: &[&str], limit: Duration) -> String {
    let scratch = Scratch::new("differential");
    let mut python = tools::python();
    python
        .arg(tools::client_script(script))
        .arg(program::command(&[]).get_program())
        .args(arguments)
        .current_dir(scratch.path());
    let said = program::finish_within(python, limit);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    said.text().to_owned()
}

#[test]
fn the_comparison_finds_every_planted_difference() {
    let said = compared("differential/selftest.py", &[], SELF_TEST_LIMIT);
    assert!(said.contains(" planted, 0 missed"));
}

/// Four times what 200 files take on an idle machine of two cores, for a busy one.
const FILES_LIMIT: Duration = Duration::from_secs(540);

#[test]
fn random_files_have_the_values_that_other_readers_have() {
    println!("{}", compared("differential", &["1", "200"], FILES_LIMIT));
}

#[test]
fn text_files_have_the_values_that_other_readers_find() {
    let said = compared("read_text_files.py", &[], TEXT_FILES_LIMIT);
    assert!(said.contains("t.ndjson, polars: 20000 rows"));
}

#[test]
fn files_of_fastparquet_have_the_values_that_were_written() {
    let said = compared("read_fastparquet.py", &[], SELF_TEST_LIMIT);
    assert!(said.contains("24000 values are equal"));
}
