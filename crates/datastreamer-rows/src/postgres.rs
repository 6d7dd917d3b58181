//! Rows of a query from a PostgreSQL server, as Arrow record batches.
//!
//! A [`PostgresPool`] has a bounded number of connections. [`PostgresPool::query`] takes one,
//! begins a read-only snapshot in it and prepares the query: then the schema of [`PostgresRows`] is
//! known. The first `next()` binds the values and runs it. When the last row was read, the
//! connection is free for the next query, however long the client then takes.
//!
//! **Everything here blocks the calling thread**; the network is served by a tokio runtime that
//! the caller gives by its handle, with I/O and time enabled, and that runs on other threads. What
//! is read ahead is bounded by the kernel's socket buffers and a few blocks of 8 KiB: a query
//! whose rows are not asked for waits in the server.
//!
//! Columns of types that Arrow does not have come as the text that the server writes: the query is put
//! into one that casts them.
//!
//! A connection on which anything went wrong, or which was cancelled, is closed, not used again.
//! TLS is for `sslmode=require` in the URL, and then verified.
//!
//! ```no_run
//! use datastreamer_rows::{
//!     parameters::{Parameter, ParameterKind, Parameters, PositionalQuery},
//!     postgres::{PostgresOptions, PostgresPool},
//! };
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! let options = PostgresOptions::new("postgresql://reader@db.example/stars");
//! let pool = PostgresPool::new(options, runtime.handle().clone())?;
//!
//! let faintest = Parameter::new("faintest", ParameterKind::Float);
//! let parameters = Parameters::new(vec![faintest])?;
//! let sql = "SELECT id, ra, dec FROM stars WHERE g_mag < $faintest";
//! let query = PositionalQuery::new(sql, &parameters)?;
//! for batch in pool.query(&query, &parameters.bind([("faintest", "18.5")])?)? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This module refuses to own where queries are declared, and what becomes of the rows.

mod bind;
mod cancel;
mod decode;
mod error;
mod narrow;
mod numeric;
mod options;
mod pool;
mod rows;
mod schema;
mod session;
mod tls;

pub use cancel::PostgresCanceller;
pub use error::{PostgresError, PostgresErrorKind};
pub use options::PostgresOptions;
pub use pool::PostgresPool;
pub use rows::PostgresRows;
