//! The settings of tables: their limits, queries of clients, parameters and databases.

use datastreamer_engine::{
    DEFAULT_EXPANSION_MAX, DEFAULT_MEMORY_BYTES, DEFAULT_PLAN_TIMEOUT, DEFAULT_SPILL_BYTES,
    DEFAULT_TIME_LIMIT, DEFAULT_UNPACK_BYTES,
    isolate::{DEFAULT_QUERY_BYTES, QUERY_BYTES_MIN},
};
use datastreamer_rows::{
    parameters::{DEFAULT_MAX_CHARACTERS, ParameterKind},
    postgres::PostgresOptions,
};
use datastreamer_table::{WriterOptions, meta};

use super::{ACTIVE, DATABASES, PARAMETERS, RATE, Section, ValueType, section, setting, size};
use crate::config::{
    resolve::{DEFAULT_LENGTH_WAIT, SCARCE_ACTIVE, SCARCE_MIN_RATE},
    tables::DEFAULT_OPEN_WAIT,
};

/// 1024 threads: more than machines have cores, and each has a stack of its own.
const THREADS_MAX: u64 = 1024;

/// Sections of the file that this build does not know.
pub(super) const LEFT_OUT: [&str; 0] = [];

/// The sections that hold for all tables.
pub(super) fn settings() -> [Section; 2] {
    [tables(), sql()]
}

/// The sections beside those of routes.
pub(super) fn beside_routes() -> [Section; 2] {
    [parameters(), databases()]
}

fn tables() -> Section {
    let defaults = WriterOptions::default();
    section("tables", "Limits of queries, and how tables become files.")
        .with(setting("memory_bytes", size(0, usize::MAX)).size(DEFAULT_MEMORY_BYTES).about(
            "Memory for sorts, joins and groups of all queries together. Four run at once, fewer with \
             less than 64MiB for each; others wait for 10s, and then get 503 with Retry-After. What is \
             larger than a fourth uses temporary files; joins do from 64MiB on.",
        ))
        .with(setting("spill_bytes", size(0, usize::MAX)).bytes(DEFAULT_SPILL_BYTES).about(
            "Temporary files of all queries together; 0 allows none.",
        ))
        .with(setting("spill_folder", ValueType::Path).words("the system's folder for temporary files").about(
            "An existing folder for these, and for FITS files that wait in a temporary file.",
        ))
        .with(setting("time_limit", ValueType::PositiveDuration).time(DEFAULT_TIME_LIMIT).about(
            "How long one query may take, without the time that its client takes.",
        ))
        .with(setting("plan_timeout", ValueType::PositiveDuration).time(DEFAULT_PLAN_TIMEOUT).about(
            "How long a plan may take, which lists a table's files and reads their heads; then the \
             request gets 503 with Retry-After. Files that do not answer hold up no other table.",
        ))
        .with(setting("open_wait", ValueType::Duration).time(DEFAULT_OPEN_WAIT).about(
            "How long a start of the server waits until the types of columns of CSV, TSV and NDJSON \
             files are inferred. Then it serves what is ready; a table that is not gets 503 with \
             Retry-After, and `/healthz` says how far it is. If every column has a `type` there is \
             nothing to wait for.",
        ))
        .with(setting("threads", ValueType::Integer(1..=THREADS_MAX)).words("one per core").about(
            "Threads for queries. Scans of tables use the threads of their streams.",
        ))
        .with(setting("length_wait", ValueType::Duration).time(DEFAULT_LENGTH_WAIT).about(
            "The head of a FITS response waits this long for its length. Browsers and proxies give \
             up on a head after 30 to 60s.",
        ))
        .with(setting("spool_bytes", size(0, usize::MAX)).bytes(defaults.spool_bytes_max).about(
            "The largest FITS file that may wait in a temporary file.",
        ))
        .with(setting("parquet_compression", ValueType::OneOf(vec!["zstd", "snappy", "none"])).text("zstd").about(
            "How Parquet files are compressed. Zstandard becomes Snappy in tables of more than 2048 \
             columns, whose contexts would take gigabytes.",
        ))
        .with(setting("votable_version", ValueType::OneOf(vec!["1.4", "1.5"])).text("1.4").about(
            "The version of VOTable that is written; not all readers know 1.5.",
        ))
        .with(setting("html_rows", ValueType::Integer(0..=i64::MAX as u64)).number(defaults.html_rows_max).about(
            "Rows of an HTML page; browsers become slow with more.",
        ))
        .with(setting("fits_strict", ValueType::Flag).default("false".into()).about(
            "Refuses FITS files with logical values other than T, F and 0, with texts that are not \
             ASCII, or of no whole number of blocks. Without it 1 is true, other logical values are null, and such texts are UTF-8 or \
             else Latin-1; the log has their number.",
        ))
        .with(setting("expansion_max", ValueType::Integer(1..=i64::MAX as u64)).number(DEFAULT_EXPANSION_MAX).about(
            "How many times their size compressed data of a table may become: a text file of more \
             than 1GiB, a batch of Arrow of more than 256MiB, a page of Parquet of more than 64MiB. \
             gzip reaches 1032 times.",
        ))
        .with(setting("unpack_bytes", size(0, usize::MAX)).bytes(DEFAULT_UNPACK_BYTES).about(
            "Temporary files of all FITS files that are compressed as a whole (`.fits.gz`, `.fits.zst`), in \
             `spill_folder`: their rows are read at any place. Each is decompressed once and kept while \
             there is space; a process of a query of `/sql` decompresses for itself, and has as much \
             again. 0 refuses such files.",
        ))
}

fn sql() -> Section {
    let about = "`/sql?query=SELECT...`, or POSTed: one SELECT over the tables, as the client \
                 wants it.";
    section("sql", about)
        .with(
            setting("enabled", ValueType::Flag)
                .default("false".into())
                .about("Whether there is such a route."),
        )
        .with(
            setting("max_rows", ValueType::Integer(0..=i64::MAX as u64))
                .words("no limit")
                .about("An answer never has more rows."),
        )
        .with(
            setting("memory_bytes", size(QUERY_BYTES_MIN, usize::MAX))
                .bytes(DEFAULT_QUERY_BYTES)
                .about(
                    "Memory of one query, beyond that of the program itself. It runs in a process \
                     of its own, which the system keeps to it; sorts, joins and groups have half \
                     of it, and at most `tables.memory_bytes`, before they use temporary files.",
                ),
        )
        .with(
            setting("max_active", ValueType::Integer(1..=i64::MAX as u64))
                .number(SCARCE_ACTIVE as u64)
                .about(ACTIVE),
        )
        .with(
            setting("min_rate", ValueType::Rate)
                .number(SCARCE_MIN_RATE)
                .about(RATE),
        )
}

/// The keys of [`meta::KEYS`] that a column has.
pub(super) fn column_keys() -> Vec<String> {
    let keys = meta::KEYS.iter().filter(|key| **key != meta::NAME);
    keys.map(|key| format!("`{key}`")).collect()
}

fn parameters() -> Section {
    let types = ParameterKind::ALL.iter().map(|kind| kind.name()).collect();
    let about = "`[[routes.NAME.parameters]]`: a parameter of a query.";
    let mut section = section(PARAMETERS, about)
        .with(
            setting("name", ValueType::Text)
                .required()
                .about("Its name in the URL, and after `$` in the SQL text."),
        )
        .with(
            setting("type", ValueType::OneOf(types))
                .required()
                .about("A value that is not of this type is refused with 400."),
        )
        .with(
            setting("default", ValueType::Scalar)
                .words("none: the client must give a value")
                .about("The value if the URL has none. Dates and timestamps are written as text."),
        )
        .with(
            setting("min", ValueType::Scalar)
                .words("no limit")
                .about("The smallest value."),
        )
        .with(
            setting("max", ValueType::Scalar)
                .words("no limit")
                .about("The largest value."),
        )
        .with(
            setting("max_length", ValueType::Integer(0..=i64::MAX as u64))
                .number(DEFAULT_MAX_CHARACTERS as u64)
                .about("The longest text, in characters."),
        )
        .with(
            setting("description", ValueType::Text)
                .words("none")
                .about("What it is, for people."),
        );
    section.has_variables = false;
    section
}

fn databases() -> Section {
    let defaults = PostgresOptions::new("");
    let about = "A PostgreSQL server. The program connects with the first query.";
    let mut section = section(DATABASES, about)
        .with(setting("url", ValueType::Text).required().about(
            "For example `postgresql://reader@db.example.org/archive`. With `?sslmode=require` the \
             connection is encrypted and the server's certificate verified; without it nothing is \
             encrypted.",
        ))
        .with(setting("password_file", ValueType::Path).words("none").about(
            "A file whose first line is the password; then the URL must have none.",
        ))
        .with(setting("tls_ca_file", ValueType::Path).words("the system's authorities").about(
            "The authorities (PEM) to trust instead; needs `sslmode=require`.",
        ))
        .with(setting("max_connections", ValueType::Integer(1..=i64::MAX as u64))
            .number(defaults.max_connections as u64).about(
            "Connections at once, and so queries at once.",
        ))
        .with(setting("acquire_timeout", ValueType::Duration).time(defaults.acquire_timeout).about(
            "How long a query waits for a free connection; then the request gets 503.",
        ))
        .with(setting("statement_timeout", ValueType::Duration)
            .words("the server's default for the role").about(
            "How long a query may run, including the time that a slow client takes for its rows.",
        ));
    section.has_variables = false;
    section
}
