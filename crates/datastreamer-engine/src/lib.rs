//! The query engine: SQL and narrowed scans over registered tables, by Apache DataFusion, within
//! bounds.
//!
//! An [`Engine`] has threads of its own: planning and querying never run on an event loop of the
//! caller's. What it gives are [`Rows`], an [`arrow::record_batch::RecordBatchReader`] whose
//! `next` **blocks**, computes on the caller's thread where it can, and fails visibly:
//! when a file has changed on the way, when the memory or the time is used up, when it is stopped.
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
//! # One batch, read downward
//! `engine.rs` (plans) → `files.rs`, `provider.rs` or `fits.rs` (what is read) → `rows.rs` (what the
//! caller reads). `inferred.rs` says what the columns of text files are, `known.rs` what is known
//! of rows before they are read; `narrow.rs` turns a URL's parameters into a plan, `sql.rs` a text.

mod columns;
mod engine;
mod error;
mod files;
mod fits;
mod footer;
mod inferred;
mod known;
mod learned;
mod narrow;
mod pinned;
mod plan_files;
mod provider;
mod rows;
mod sql;
mod stoppable;
mod threads;

pub use engine::{
    DEFAULT_MEMORY_BYTES, DEFAULT_SPILL_BYTES, DEFAULT_TIME_LIMIT, Engine, EngineOptions, TableInfo,
};
pub use error::{EngineError, EngineErrorKind, Position};
pub use files::TableFiles;
pub use narrow::{Narrowing, OPERATORS};
pub use rows::{Rows, RowsStopper};
pub use sql::Query;
