//! Sends a file that is produced on the fly as an HTTP response.
//!
//! [`Download`] describes the file and answers a request with a stream. It delays the head until
//! the first bytes are there, so that an early failure gets an error status. A later failure is
//! made visible by the [`Armed`] connection: it is reset, so that no client, not even behind a
//! proxy, takes a truncated file for a complete one.
//!
//! ```
//! use datastreamer_http::Download;
//! use http::Request;
//!
//! # async fn answer() {
//! let request = Request::get("/stars.csv").body(()).unwrap();
//! let response = Download::new("text/csv")
//!     .file_name("stars.csv")
//!     .respond(&request, |options| options.stream_out(|out| out.write_slice(b"ra,dec\n")))
//!     .await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["content-length"], "7"); // the source finished within the commit window
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
//! ```
//!
//! # The path of a byte
//! `ChunkReader` → (`coding`, on its own thread) → the commit window in `response` →
//! [`DownloadBody`] → hyper → [`Armed`] → the socket.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The core, which this crate builds on: streams, options, pools, records.
pub use datastreamer;

mod armed;
#[cfg(feature = "axum")]
mod axum_listener;
mod body;
mod coding;
mod conditions;
mod disk_file;
mod disposition;
mod draining;
mod etag;
mod framing;
#[cfg(feature = "axum")]
mod guard;
mod holding_body;
mod pieces;
mod planned;
mod planning;
mod problem;
#[cfg(feature = "spool")]
mod production;
mod ranges;
mod response;
#[cfg(feature = "axum")]
mod serve;
#[cfg(feature = "tls")]
mod tls;

pub use armed::{
    Armed, Connection, DEFAULT_WRITE_STALL, DRAIN_MAX, HalfClose, OpenRequest, Peer, Socket,
};
#[cfg(feature = "axum")]
pub use axum_listener::{ArmedListener, count_requests};
pub use body::{BodyError, DownloadBody};
pub use datastreamer::{ETag, Piece};
pub use disk_file::{DiskFile, SETTLED_AFTER};
pub use disposition::{content_disposition, controls_direction};
pub use framing::framing_first;
pub use holding_body::HoldingBody;
pub use pieces::Pieces;
pub use planned::{BareRanges, Planned};
pub use planning::PlanReport;
pub use problem::{FailWith, Problem, StatusError};
#[cfg(feature = "spool")]
pub use response::DEFAULT_LENGTH_WAIT;
pub use response::{DEFAULT_COMMIT_AFTER, DEFAULT_COMMIT_BYTES, Download};
#[cfg(feature = "axum")]
pub use serve::{DEFAULT_DRAIN, Serve, serve};
#[cfg(feature = "tls")]
pub use tls::{ArmedTls, ArmedTlsListener};
