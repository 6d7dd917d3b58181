//! The programs that write each format, and their commands: the one place to edit when a command
//! line changes. Each program reads a file and writes the table to its stdout.

use std::ffi::OsString;
use std::io;

use super::input::Input;
use super::python::{PYTHON, script_path};
use crate::cli::Program;
use crate::contender;
use crate::table_format::TableFormat;

/// DaCHS needs the distribution's packages, hence its interpreter.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// From FITS: Debian's STIL 4.1 cannot read Parquet.
pub(super) const STILTS: &str = "STILTS";

/// The program, reading Parquet like every peer that can.
pub(super) const OURS: &str = "datastreamer";

/// The program, reading FITS like the peers that cannot read Parquet.
pub(super) const OURS_FROM_FITS: &str = "datastreamer, from FITS";

/// The peer with the same Parquet settings as ours.
pub(super) const PYARROW_LIKE_OURS: &str = "pyarrow, dictionary on strings (as ours)";

/// What does the work.
#[derive(Debug, Clone, Copy)]
enum Worker {
    /// `datastreamer cat`.
    Program,
    Stilts,
    /// A script in the environment of the peers.
    Script(&'static str),
    /// A script in the distribution's Python.
    SystemScript(&'static str),
}

/// How much of the table a contender writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The first tenth, for programs that would take minutes for the complete table.
    Tenth,
}

/// One way to write one format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    worker: Worker,
    /// `PARQUET`, `FITS` and `ROWS` stand for the input's paths and the part's rows.
    arguments: &'static [&'static str],
    part: Part,
}

/// All contenders of a format; ours come first.
pub(super) const fn of(format: TableFormat) -> &'static [Contender] {
    match format {
        TableFormat::Votable => &VOTABLE,
        TableFormat::VotableBinary2 => &VOTABLE_BINARY2,
        TableFormat::Fits => &FITS,
        TableFormat::Csv => &CSV,
        TableFormat::Tsv => &TSV,
        TableFormat::Ndjson => &NDJSON,
        TableFormat::Json => &JSON,
        TableFormat::ParquetSnappy => &PARQUET_SNAPPY,
        TableFormat::ParquetZstd => &PARQUET_ZSTD,
        TableFormat::Arrow => &ARROW,
    }
}

const VOTABLE: [Contender; 5] = [
    ours(&["PARQUET", "--format", "votable"]),
    ours_from_fits(&["FITS", "--format", "votable"]),
    stilts(&["FITS", "ofmt=votable-tabledata"]),
    script(
        "astropy",
        "astropy_peer.py",
        &["votable", "PARQUET", "ROWS"],
    )
    .tenth(),
    dachs(&["votable", "FITS", "ROWS"]),
];

const VOTABLE_BINARY2: [Contender; 5] = [
    ours(&["PARQUET", "--format", "votable-binary2"]),
    ours_from_fits(&["FITS", "--format", "votable-binary2"]),
    stilts(&["FITS", "ofmt=votable-binary2"]),
    script(
        "astropy",
        "astropy_peer.py",
        &["votable-binary2", "PARQUET", "ROWS"],
    )
    .tenth(),
    dachs(&["votable-binary2", "FITS", "ROWS"]),
];

const FITS: [Contender; 5] = [
    ours(&["PARQUET", "--format", "fits"]),
    ours_from_fits(&["FITS", "--format", "fits"]),
    // Plain `fits` of STILTS adds a VOTable of the metadata: a little more work.
    stilts(&["FITS", "ofmt=fits-basic"]),
    script("astropy", "astropy_peer.py", &["fits", "PARQUET", "ROWS"]),
    dachs(&["fits", "FITS", "ROWS"]),
];

const CSV: [Contender; 11] = [
    ours(&["PARQUET", "--format", "csv"]),
    ours_from_fits(&["FITS", "--format", "csv"]),
    stilts(&["FITS", "ofmt=csv"]),
    script(
        "DuckDB, 1 thread",
        "duckdb_peer.py",
        &["csv", "PARQUET", "1"],
    ),
    script("DuckDB", "duckdb_peer.py", &["csv", "PARQUET", "0"]),
    script(
        "polars write_csv",
        "polars_peer.py",
        &["write-csv", "PARQUET"],
    ),
    script("polars sink_csv", "polars_peer.py", &["csv", "PARQUET"]),
    script("pyarrow", "pyarrow_peer.py", &["csv", "PARQUET"]),
    script(
        "ClickHouse, 1 thread",
        "clickhouse_peer.py",
        &["csv", "PARQUET", "1"],
    ),
    script("ClickHouse", "clickhouse_peer.py", &["csv", "PARQUET", "0"]),
    dachs(&["csv", "FITS", "ROWS"]),
];

const TSV: [Contender; 6] = [
    ours(&["PARQUET", "--format", "tsv"]),
    ours_from_fits(&["FITS", "--format", "tsv"]),
    // STIL 4.1's nearest: the Tab-Separated Table, with comments at its top.
    stilts(&["FITS", "ofmt=tst"]),
    script(
        "ClickHouse, 1 thread",
        "clickhouse_peer.py",
        &["tsv", "PARQUET", "1"],
    ),
    script("ClickHouse", "clickhouse_peer.py", &["tsv", "PARQUET", "0"]),
    dachs(&["tsv", "FITS", "ROWS"]),
];

const NDJSON: [Contender; 6] = [
    ours(&["PARQUET", "--format", "ndjson"]),
    script(
        "DuckDB, 1 thread",
        "duckdb_peer.py",
        &["ndjson", "PARQUET", "1"],
    ),
    script("DuckDB", "duckdb_peer.py", &["ndjson", "PARQUET", "0"]),
    script(
        "polars sink_ndjson",
        "polars_peer.py",
        &["ndjson", "PARQUET"],
    ),
    script(
        "ClickHouse, 1 thread",
        "clickhouse_peer.py",
        &["ndjson", "PARQUET", "1"],
    ),
    script(
        "ClickHouse",
        "clickhouse_peer.py",
        &["ndjson", "PARQUET", "0"],
    ),
];

const JSON: [Contender; 4] = [
    ours(&["PARQUET", "--format", "json"]),
    script(
        "DuckDB, 1 thread",
        "duckdb_peer.py",
        &["json", "PARQUET", "1"],
    ),
    script("polars write_json", "polars_peer.py", &["json", "PARQUET"]),
    // Rows without names.
    dachs(&["json", "FITS", "ROWS"]),
];

const PARQUET_SNAPPY: [Contender; 9] = [
    ours(&[
        "PARQUET",
        "--format",
        "parquet",
        "--parquet-compression",
        "snappy",
    ]),
    script(
        PYARROW_LIKE_OURS,
        "pyarrow_peer.py",
        &["snappy", "PARQUET", "strings"],
    ),
    script(
        "pyarrow, no dictionary",
        "pyarrow_peer.py",
        &["snappy", "PARQUET", "none"],
    ),
    script(
        "pyarrow, dictionary on all",
        "pyarrow_peer.py",
        &["snappy", "PARQUET", "all"],
    ),
    script(
        "DuckDB, 1 thread",
        "duckdb_peer.py",
        &["snappy", "PARQUET", "1"],
    ),
    script("DuckDB", "duckdb_peer.py", &["snappy", "PARQUET", "0"]),
    script(
        "polars sink_parquet",
        "polars_peer.py",
        &["snappy", "PARQUET"],
    ),
    script(
        "ClickHouse, 1 thread",
        "clickhouse_peer.py",
        &["snappy", "PARQUET", "1"],
    ),
    script(
        "ClickHouse",
        "clickhouse_peer.py",
        &["snappy", "PARQUET", "0"],
    ),
];

const PARQUET_ZSTD: [Contender; 9] = [
    ours(&[
        "PARQUET",
        "--format",
        "parquet",
        "--parquet-compression",
        "zstd",
    ]),
    script(
        PYARROW_LIKE_OURS,
        "pyarrow_peer.py",
        &["zstd", "PARQUET", "strings"],
    ),
    script(
        "pyarrow, no dictionary",
        "pyarrow_peer.py",
        &["zstd", "PARQUET", "none"],
    ),
    script(
        "pyarrow, dictionary on all",
        "pyarrow_peer.py",
        &["zstd", "PARQUET", "all"],
    ),
    script(
        "DuckDB, 1 thread",
        "duckdb_peer.py",
        &["zstd", "PARQUET", "1"],
    ),
    script("DuckDB", "duckdb_peer.py", &["zstd", "PARQUET", "0"]),
    script(
        "polars sink_parquet",
        "polars_peer.py",
        &["zstd", "PARQUET"],
    ),
    script(
        "ClickHouse, 1 thread",
        "clickhouse_peer.py",
        &["zstd", "PARQUET", "1"],
    ),
    script(
        "ClickHouse",
        "clickhouse_peer.py",
        &["zstd", "PARQUET", "0"],
    ),
];

const ARROW: [Contender; 3] = [
    ours(&["PARQUET", "--format", "arrow"]),
    script("pyarrow", "pyarrow_peer.py", &["arrow", "PARQUET"]),
    // The file format, which has a footer more than the stream.
    script("polars sink_ipc", "polars_peer.py", &["arrow", "PARQUET"]),
];

const fn ours(arguments: &'static [&'static str]) -> Contender {
    worker(OURS, Worker::Program, arguments)
}

const fn ours_from_fits(arguments: &'static [&'static str]) -> Contender {
    worker(OURS_FROM_FITS, Worker::Program, arguments)
}

const fn stilts(arguments: &'static [&'static str]) -> Contender {
    worker(STILTS, Worker::Stilts, arguments)
}

const fn script(
    name: &'static str,
    file: &'static str,
    arguments: &'static [&'static str],
) -> Contender {
    worker(name, Worker::Script(file), arguments)
}

const fn dachs(arguments: &'static [&'static str]) -> Contender {
    let script = Worker::SystemScript("dachs_tables_peer.py");
    worker("DaCHS", script, arguments).tenth()
}

const fn worker(
    name: &'static str,
    worker: Worker,
    arguments: &'static [&'static str],
) -> Contender {
    Contender {
        name,
        worker,
        arguments,
        part: Part::Whole,
    }
}

impl Contender {
    const fn tenth(self) -> Self {
        Self {
            part: Part::Tenth,
            ..self
        }
    }

    /// How many rows of an input it writes.
    pub(super) fn rows(&self, input: &Input) -> u64 {
        match self.part {
            Part::Whole => input.rows,
            Part::Tenth => input.rows.div_ceil(10),
        }
    }

    /// The command that writes the table to stdout.
    ///
    /// # Errors
    /// When the program cannot be found.
    pub(super) fn command(&self, input: &Input, program: &Program) -> io::Result<Vec<OsString>> {
        let mut command: Vec<OsString> = match self.worker {
            Worker::Program => vec![contender::program_path(program)?.into(), "cat".into()],
            // `out=-` writes in small pieces, which triples its time. A regular file would be
            // deleted first, which is not possible here.
            Worker::Stilts => ["stilts", "tcopy", "ifmt=fits", "out=/proc/self/fd/1"]
                .map(Into::into)
                .into(),
            Worker::Script(file) => vec![PYTHON.into(), script_path(file).into()],
            Worker::SystemScript(file) => vec![SYSTEM_PYTHON.into(), script_path(file).into()],
        };
        for argument in self.arguments {
            command.push(match *argument {
                "PARQUET" => input.parquet.clone().into(),
                "FITS" => input.fits.clone().into(),
                "ROWS" => self.rows(input).to_string().into(),
                other => other.into(),
            });
        }
        if matches!(self.worker, Worker::Program) {
            command.push("--quiet".into());
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn input() -> Input {
        Input {
            rows: 25,
            parquet: "/in/stars.parquet".into(),
            fits: "/in/stars.fits".into(),
        }
    }

    #[test]
    fn ours_takes_part_in_every_format_and_comes_first() {
        for format in TableFormat::value_variants() {
            assert_eq!(of(*format)[0].name, OURS, "{format:?}");
        }
    }

    #[test]
    fn names_within_a_format_are_unique() {
        for format in TableFormat::value_variants() {
            let mut names: Vec<_> = of(*format).iter().map(|one| one.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{format:?}");
        }
    }

    #[test]
    fn commands_name_the_input_and_the_rows_of_their_part() {
        let dachs = of(TableFormat::Votable).last().unwrap();
        let command = dachs.command(&input(), &Program::default()).unwrap();
        assert_eq!(command[2..], ["votable", "/in/stars.fits", "3"]);
    }

    #[test]
    fn every_script_exists() {
        let all = TableFormat::value_variants()
            .iter()
            .flat_map(|one| of(*one));
        for contender in all {
            if let Worker::Script(file) | Worker::SystemScript(file) = contender.worker {
                assert!(script_path(file).is_file(), "{file}");
            }
        }
    }
}
