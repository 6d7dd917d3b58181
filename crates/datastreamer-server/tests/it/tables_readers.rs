//! Every format of a table, over HTTP, read by the programs that people read it with, and compared
//! with the source value by value.
//!
//! DuckDB reads downloaded files: to read from a URL it needs an extension that it gets from the
//! network.

use std::fs;

use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, STARS, assert_compares, assert_reads};
use crate::support::{http, program, tools};

/// Serves the stars and the hard table, and lets a reader read both.
fn read_both(reader: &str) {
    let scratch = Scratch::new("readers");
    let stars = tables::stars(scratch.path(), "stars", STARS);
    let hard = tables::hard(scratch.path());
    let server = Server::start([&stars, &hard]);
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

#[test]
fn every_value_of_three_million_rows_is_read_in_nine_formats() {
    let scratch = Scratch::new("millions");
    let stars = tables::stars(scratch.path(), "stars", 3_000_000);
    let server = Server::start([&stars]);
    for form in [
        "votable",
        "votable-binary",
        "votable-binary2",
        "fits",
        "csv",
        "tsv",
        "ndjson",
        "parquet",
        "arrow",
    ] {
        assert_compares("read_millions.py", &[form, &server.url("/stars")], &stars);
    }
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
