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

#[test]
fn the_comparison_finds_every_planted_difference() {
    let scratch = Scratch::new("differential");
    let mut python = tools::python();
    python
        .arg(tools::client_script("differential/selftest.py"))
        .arg(program::command(&[]).get_program())
        .current_dir(scratch.path());
    let said = program::finish_within(python, SELF_TEST_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    assert!(said.text().contains(" planted, 0 missed"));
}

/// Four times what 200 files take on an idle machine of two cores, for a busy one.
const FILES_LIMIT: Duration = Duration::from_secs(540);

#[test]
fn random_files_have_the_values_that_other_readers_have() {
    let scratch = Scratch::new("differential");
    let mut python = tools::python();
    python
        .arg(tools::client_script("differential"))
        .arg(program::command(&[]).get_program())
        .args(["1", "200"])
        .current_dir(scratch.path());
    let said = program::finish_within(python, FILES_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    println!("{}", said.text());
}

#[test]
fn text_files_have_the_values_that_other_readers_find() {
    let scratch = Scratch::new("text-files");
    let mut python = tools::python();
    python
        .arg(tools::client_script("read_text_files.py"))
        .arg(program::command(&[]).get_program())
        .current_dir(scratch.path());
    let said = program::finish_within(python, TEXT_FILES_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    assert!(said.text().contains("t.ndjson, polars: 20000 rows"));
}

#[test]
fn files_of_fastparquet_have_the_values_that_were_written() {
    let scratch = Scratch::new("fastparquet");
    let mut python = tools::python();
    python
        .arg(tools::client_script("read_fastparquet.py"))
        .arg(program::command(&[]).get_program())
        .current_dir(scratch.path());
    let said = program::finish_within(python, SELF_TEST_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    assert!(said.text().contains("24000 values are equal"));
}
