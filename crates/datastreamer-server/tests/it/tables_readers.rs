//! Every format of a table, over HTTP, read by the programs that people read it with, and compared
//! with the source value by value.
//!
//! DuckDB reads downloaded files: to read from a URL it needs an extension that it gets from the
//! network.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, STARS, assert_reads};
use crate::support::{http, program, tools};

/// Makes a folder. Its files are a table that is written anew in every format, also in their own.
fn folder(scratch: &Scratch, name: &str) -> PathBuf {
    let folder = scratch.join(name);
    fs::create_dir(&folder).expect("a folder can be made");
    folder
}

/// Serves the stars and the hard table, and lets a reader read both.
fn read_both(reader: &str) {
    let scratch = Scratch::new("readers");
    let folders = [folder(&scratch, "stars"), folder(&scratch, "hard")];
    let stars = tables::stars(&folders[0], "stars", STARS);
    let hard = tables::hard(&folders[1]);
    let table = OsStr::new("--table");
    let server = Server::start([table, folders[0].as_os_str(), table, folders[1].as_os_str()]);
    assert_reads(reader, &server.url("/stars"), &stars);
    assert_reads(reader, &server.url("/hard"), &hard);
}

#[test]
fn astropy_reads_every_value_of_votable_and_fits() {
    read_both("astropy");
}

#[test]
fn pyvo_reads_every_value_of_votable() {
    read_both("pyvo");
}

#[test]
fn stilts_reads_every_value_of_votable_fits_and_csv() {
    read_both("stilts");
}

#[test]
fn pandas_reads_every_value_of_csv_tsv_json_ndjson_and_parquet() {
    read_both("pandas");
}

#[test]
fn polars_reads_every_value_of_csv_json_ndjson_parquet_and_arrow() {
    read_both("polars");
}

#[test]
fn duckdb_reads_every_value_of_csv_tsv_json_ndjson_and_parquet() {
    read_both("duckdb");
}

#[test]
fn pyarrow_reads_every_value_of_csv_ndjson_parquet_and_arrow() {
    read_both("pyarrow");
}

/// A test for each format: each takes 2 to 10 seconds.
mod many_rows {
    macro_rules! every_value_is_read_of {
        ($($test:ident: $format:literal,)*) => {$(
            #[test]
            fn $test() {
                super::read_many($format);
            }
        )*};
    }
    every_value_is_read_of! {
        tabledata: "votable",
        binary: "votable-binary",
        binary2: "votable-binary2",
        fits: "fits",
        csv: "csv",
        tsv: "tsv",
        ndjson: "ndjson",
        parquet: "parquet",
        arrow: "arrow",
    }
}

/// 73 batches of the engine. `DATASTREAMER_READ_ROWS` asks for others, for example three million.
const MANY_ROWS: u64 = 600_000;
/// Beyond what the slowest reader, astropy's of TABLEDATA, takes for three millions on a slow machine.
const MANY_LIMIT: Duration = Duration::from_secs(300);

#[track_caller]
fn read_many(format: &str) {
    let rows = env::var("DATASTREAMER_READ_ROWS").ok();
    let rows = rows.map_or(MANY_ROWS, |rows| rows.parse().expect("a number of rows"));
    let scratch = Scratch::new("many");
    let folder = folder(&scratch, "stars");
    let stars = tables::shared_stars(&folder, "stars", rows);
    let server = Server::start([OsStr::new("--table"), folder.as_os_str()]);
    let arguments = [format, &server.url("/stars")];
    tables::assert_compares("read_millions.py", &arguments, &stars, MANY_LIMIT);
}

#[test]
fn votlint_and_fitsverify_find_no_error() {
    let scratch = Scratch::new("checkers");
    let server = Server::start([tables::stars(scratch.path(), "stars", STARS)]);
    for form in ["votable", "votable-binary", "votable-binary2"] {
        let mut votlint = tools::program("stilts");
        votlint.arg("votlint");
        let url = server.url(&format!("/stars?format={form}"));
        votlint.arg(format!("votable={url}"));
        let said = program::finish(votlint);
        let complaints = format!("{}{}", said.text(), said.stderr);
        assert_eq!(said.code, Some(0), "{complaints}");
        assert!(!complaints.contains("ERROR"), "{form}: {complaints}");
    }
    let file = scratch.join("stars.fits");
    fs::write(&file, http::get(server.port(), "/stars.fits").body).expect("files can be written");
    let mut fitsverify = tools::program("fitsverify");
    fitsverify.arg("-q").arg(&file);
    let said = program::finish(fitsverify);
    let verdict = said.text();
    assert!(verdict.contains("verification OK"), "{verdict}");
}
