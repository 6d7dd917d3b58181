//! The query engine: SQL and narrowed scans over tables of files, with Apache DataFusion, within
//! limits of memory, temporary files and time.
//!
//! An [`Engine`] has its own threads: nothing is planned or computed on the caller's event loop. It
//! returns [`Rows`], a [`RecordBatchReader`](arrow::record_batch::RecordBatchReader) whose `next`
//! **blocks**, and computes on the caller's thread where it can. `next` returns an error if a file
//! changed while it was read, if the memory or the time is used up, or if the rows were stopped.
//!
//! ```no_run
//! use datastreamer_engine::{Engine, EngineOptions, Narrowing, TableFiles};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(EngineOptions::default())?;
//! let files = TableFiles::find("stars.parquet".as_ref())?;
//! let table = engine.register("stars", files, &Default::default()).await?;
//! let query = [("dec".to_owned(), "gte.30".to_owned())];
//! let narrowing = Narrowing::parse(&query, table.schema())?;
//! for batch in engine.scan("stars", &narrowing).await? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a batch
//! `engine.rs` makes a plan, on the threads of `planning.rs`. `narrow.rs` makes the logical plan of a URL's parameters, whose values
//! `literal.rs` parses, `sql.rs` that of a text. `provider.rs` or `fits.rs` plans the scan of a table;
//! `files.rs` lists the files, `glob_paths.rs` walks globs, `file_kind.rs` names their kinds,
//! `columns.rs` reads their columns, `common_type.rs` says which type holds those of several,
//! `scan.rs`, `parquet.rs`, `arrow_file.rs`, `arrow_opener.rs` and `text_opener.rs` (with the crate
//! `datastreamer-text`) read what is in them, `file_cache.rs` keeps what was read, `pinned.rs`
//! detects changed files, `expansion.rs` says how large compressed data may become.
//! `from_statistics.rs` keeps plans from taking values from statistics, `filtered_joins.rs` the
//! conditions of joins from reading other columns, `equal_floats.rs` compares floats, `in_lists.rs`
//! keeps lists of IN apart, `in_subqueries.rs` writes out NOT IN of subqueries, `correlated.rs` refuses
//! those that refer to the outer query and would have another answer, `extremes.rs` finds the least and
//! the greatest values of groups, `sliding.rs` computes aggregates of floats over window frames,
//! `mixed_numbers.rs` gives decimals and floats one type, `conversions.rs` keeps DataFusion from moving
//! conversions that lose something, `range_frames.rs` checks the offsets of window frames,
//! `time_parts.rs` and `time_bins.rs` have functions of times, `written_out.rs` writes out what the
//! parser takes for something else, `grown_values.rs` bounds what functions make, `overflow.rs`,
//! `sums.rs` and `averages.rs` make arithmetic fail where its result is out of range, `known.rs`
//! computes what is known about rows before they are read. `query_memory.rs` gives a plan its memory,
//! `limited_sorts.rs` makes sorts spill, and `sort_keys.rs` leaves keys out that say nothing new.
//! `rows.rs` runs the plan for the caller, and `cancellation.rs` stops it. `spill.rs` has the temporary
//! files of plans.

mod arrow_buffers;
mod arrow_columns;
mod arrow_file;
mod arrow_opener;
mod averages;
mod binary_text;
mod bit_operators;
mod cancellation;
mod column_names;
mod columns;
mod common_type;
mod conversions;
mod correlated;
mod engine;
mod equal_floats;
mod error;
mod exact_numbers;
mod expansion;
mod expression_rule;
mod extremes;
mod file_cache;
mod file_kind;
mod files;
mod filtered_joins;
mod fits;
mod fits_heads;
mod from_statistics;
mod glob_paths;
mod grown_values;
mod guard;
mod in_lists;
mod in_subqueries;
mod intervals;
pub mod isolate;
mod known;
mod left_out;
mod limited_sorts;
mod listing;
mod literal;
mod messages;
mod mixed_numbers;
mod narrow;
mod narrowed;
mod overflow;
mod packed;
mod parquet;
mod partitions;
mod patterns;
mod pinned;
mod plan_files;
mod planning;
mod provider;
mod query_memory;
mod range_frames;
mod rows;
mod scan;
mod set_comparison;
mod sliding;
mod sort_keys;
mod spill;
mod sql;
mod store;
mod sums;
mod table_copy;
mod text_opener;
mod threads;
mod time_bins;
mod time_parts;
mod time_zone;
mod type_difference;
mod unpacked;
mod utc;
mod written_out;

/// How CSV, TSV and NDJSON files are written, and the types of their columns: options of
/// [`TableFiles::with_text_options`].
pub mod text {
    pub use datastreamer_text::{
        DecimalMark, Quote, TextEncoding, TextOptions, parse_comment, parse_decimal,
        parse_delimiter, parse_quote, parse_type,
    };
}

pub use engine::{
    DEFAULT_MEMORY_BYTES, DEFAULT_SPILL_BYTES, DEFAULT_TIME_LIMIT, Engine, EngineOptions,
    OpenTable, PlannedQuery, TableInfo,
};
pub use error::{EngineError, EngineErrorKind};
pub use expansion::DEFAULT_EXPANSION_MAX;
pub use files::{FilesState, TableFiles};
pub use messages::Position;
pub use narrow::{JUNCTIONS, Narrowing, OPERATORS, takes};
pub use planning::DEFAULT_PLAN_TIMEOUT;
pub use rows::{Rows, RowsFiles, RowsStopper};
pub use sql::Query;
pub use unpacked::DEFAULT_UNPACK_BYTES;
