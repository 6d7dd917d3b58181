//! Tables to serve: made by the program itself from its invented catalogue, or by pyarrow where
//! types matter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::scratch::{self, Scratch};
use super::{http, program, tools, wait};

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// What few enough rows are read by every reader within a second, and need more than one of the
/// engine's batches (8192).
pub(crate) const STARS: u64 = 9000;
/// A file of 53 MB in 10 row groups: what is wrong at its end is far behind the first byte that a
/// client gets.
pub(crate) const BIG: u64 = 1_000_000;
/// Makes `DIRECTORY/NAME.parquet` with so many stars.
pub(crate) fn stars(directory: &Path, name: &str, rows: u64) -> PathBuf {
    let file = directory.join(format!("{name}.parquet"));
    write_stars(&file, rows);
    file
}

/// Makes `DIRECTORY/NAME.parquet` as the large table, which is made once for all tests.
pub(crate) fn big(directory: &Path, name: &str) -> PathBuf {
    shared_stars(directory, name, BIG)
}

/// Makes `DIRECTORY/NAME.parquet` with so many stars, which are made once for all tests: none may
/// write into the file.
pub(crate) fn shared_stars(directory: &Path, name: &str, rows: u64) -> PathBuf {
    let file = directory.join(format!("{name}.parquet"));
    // Not a link, which other tests make and remove at the same time: each is a change of the file.
    fs::copy(kept_stars(rows), &file).expect("files can be copied");
    file
}

/// Makes `DIRECTORY/NAME.parquet`: the large table with a damage in each column of its last row
/// group, of which a reader may want only one.
pub(crate) fn corrupt_at_its_end(directory: &Path, name: &str) -> PathBuf {
    let file = directory.join(format!("{name}.parquet"));
    let mut bytes = fs::read(kept_stars(BIG)).expect("it was made");
    let whole = File::open(kept_stars(BIG)).expect("it was made");
    let reader = SerializedFileReader::new(whole).expect("a Parquet file");
    let groups = reader.metadata().row_groups();
    assert!(groups.len() > 1, "rows come before the damage");
    for column in groups[groups.len() - 1].columns() {
        let (start, length) = column.byte_range();
        let half = start + length / 4..start + length * 3 / 4;
        bytes[half.start as usize..half.end as usize].fill(0);
    }
    fs::write(&file, bytes).expect("files can be written");
    file
}

/// Returns where a Parquet file's footer begins: its length and `PAR1` are the last 8 bytes.
pub(crate) fn footer_at(bytes: &[u8]) -> usize {
    let (rest, tail) = bytes.split_at(bytes.len() - 8);
    let length = tail.first_chunk::<4>().expect("four of eight");
    rest.len() - u32::from_le_bytes(*length) as usize
}

/// Makes `DIRECTORY/hard.parquet`: extreme numbers, nulls, and texts that formats trip over.
pub(crate) fn hard(directory: &Path) -> PathBuf {
    let file = directory.join("hard.parquet");
    let made = tools::python()
        .arg(tools::client_script("make_hard_table.py"))
        .arg(&file)
        .status();
    assert!(made.expect("Python runs").success(), "no hard table");
    file
}

/// Returns the stars in a file that is made once for all tests of this program.
fn kept_stars(rows: u64) -> PathBuf {
    let kept = scratch::root().join(format!("stars-{rows}.parquet"));
    let lock = File::create(kept.with_extension("lock")).expect("files can be made");
    // Test processes that begin at the same time wait for the first of them.
    lock.lock().expect("files can be locked");
    let age = |file: &Path| fs::metadata(file).and_then(|metadata| metadata.modified());
    let binary = program::command(&[]).get_program().to_owned();
    let made_by_this = age(&kept).is_ok_and(|kept| kept > age(binary.as_ref()).expect("it is"));
    if !made_by_this {
        // Renamed once it is complete: a test that is killed leaves no part of a file.
        let aside = kept.with_extension("part");
        write_stars(&aside, rows);
        fs::rename(&aside, &kept).expect("files can be renamed");
    }
    kept
}

fn write_stars(file: &Path, rows: u64) {
    let route = format!("/stars.parquet?rows={rows}");
    let written = program::command(&["cat", "--quiet", &route])
        .stdout(File::create(file).expect("files can be made"))
        .stderr(Stdio::inherit())
        .status();
    assert!(written.expect("the program starts").success(), "{route}");
}

/// Runs `tests/clients/read_tables.py`: a reader of tables gets every format that it reads from a
/// route, and compares each value with the route's Parquet file, which pyarrow reads.
///
/// # Panics
/// With what the reader said, when anything differs or it compared nothing.
pub(crate) fn assert_reads(reader: &str, route: &str, source: &Path) {
    assert_compares(
        "read_tables.py",
        &[reader, route],
        source,
        program::TIME_LIMIT,
    );
}

/// Runs one of the scripts that compare a route with its source, which must end in time.
///
/// # Panics
/// As [`assert_reads`] does.
pub(crate) fn assert_compares(script: &str, arguments: &[&str], source: &Path, limit: Duration) {
    let scratch = Scratch::new("reader");
    let mut python = tools::python();
    python
        .arg(tools::client_script(script))
        .args(arguments)
        .arg(source)
        .current_dir(scratch.path())
        // Their caches and settings are those of whoever runs the tests.
        .env("HOME", scratch.path())
        .env("XDG_CACHE_HOME", scratch.path());
    let said = program::finish_within(python, limit);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    let compared = said.text();
    assert!(compared.contains(" values are equal"), "{compared}");
    println!("{compared}");
}

/// Returns the records of an array of JSON.
pub(crate) fn records(json: &[u8]) -> Vec<Value> {
    serde_json::from_slice(json).expect("an array of records")
}

/// Waits for the newest transfer of a server to be over, and returns what is told of it.
pub(crate) fn last_transfer(port: u16) -> Value {
    let mut recent = Value::Null;
    wait::until("no transfer is under way", LIMIT, || {
        let transfers = http::transfers(port);
        let is_over = transfers["running"].as_array().is_some_and(Vec::is_empty);
        recent = transfers["recent"][0].clone();
        is_over && !recent.is_null()
    });
    recent
}
