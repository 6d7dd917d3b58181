//! Streams large files that are produced on the fly.
//!
//! The caller supplies a function that writes; a consumer receives a file. Memory is bounded,
//! back-pressure reaches the source, and no event loop is ever blocked. If the consumer
//! disconnects, the source is stopped. A failed stream can never be mistaken for a complete file.
//!
//! ```
//! use std::io::Write;
//! let chunks = datastreamer::stream_out(|out| {
//!     writeln!(out, "id,name")?;
//!     for id in 0..1000 {
//!         writeln!(out, "{id},star {id}")?; // blocks while the consumer is slow
//!     }
//!     Ok::<(), std::io::Error>(()) // only this completes the file
//! });
//! assert!(chunks.read_to_vec()?.starts_with(b"id,name\n0,star 0\n"));
//! # Ok::<(), datastreamer::Error>(())
//! ```
//!
//! # What blocks, what does not
//! - [`StreamWriter`]'s writes **block**, on the source's own thread, while the buffer is full. So do
//!   [`StreamWriter::flush_now`], [`StreamWriter::set_chunk_bytes`] and [`StreamWriter::fail`], which hand
//!   over a chunk.
//! - These methods wait for the other side or for the end of a stream, so they **block**:
//!   [`ChunkReader::into_iter`], [`ChunkReader::next_chunk_blocking`],
//!   [`ChunkReader::read_to_vec`], [`ChunkReader::write_to`], [`StreamHandle::wait`],
//!   [`push::Delivery::wait`], [`push::Delivery::wait_for_consumer`], [`StreamPool::shutdown`],
//!   [`StreamPool::wait_until_empty`].
//! - Nothing else blocks, including everything behind the features.
//!
//! # One byte, read downward
//! source → [`StreamWriter::write_slice`] → the queue → [`ChunkReader::poll_chunk`] → an HTTP
//! body, an async stream, an `AsyncRead`, a blocking iterator, or a [`push::Consumer`].
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `http-body` | [`ChunkReader`] is an `http_body::Body`. hyper does not poll the body of a client that reads nothing, so the socket needs a time-out for writes; the crate `datastreamer-http` has one, and makes responses |
//! | `futures` | [`ChunkReader`] is a `futures_core::Stream`, and such streams are sources |
//! | `futures-io` | [`AsyncStreamWriter`] is an `AsyncWrite` of `futures-io` |
//! | `tokio` | [`ChunkReader`] is a tokio `AsyncRead`, [`AsyncStreamWriter`] an `AsyncWrite`; `AsyncRead`s are sources, `AsyncWrite`s consumers |
//! | `anyhow` | the causes of a source's `anyhow::Error` are found |
//! | `contract-tests` | [`contract_tests`]: the tests that every consumer passes, for the authors of consumers |
//! | `tracing` | a source runs in a span of its stream, inside the caller's span; each stream's end is an event with the target `datastreamer`: ERROR if the source has failed, WARN if a side has stalled, otherwise DEBUG ([`PoolOptions::log_ends`]) |
//!
//! No feature is on by default, and none adds a runtime.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod async_read;
mod async_source;
mod async_writer;
mod block_on;
#[cfg(feature = "http-body")]
mod body;
mod chunk;
mod config;
#[cfg(feature = "contract-tests")]
#[cfg_attr(docsrs, doc(cfg(feature = "contract-tests")))]
pub mod contract_tests;
mod depth;
#[cfg_attr(loom, allow(dead_code, unused_imports))]
mod disposal;
mod error;
mod etag;
mod foreign;
mod handle;
mod lease;
#[cfg(all(test, loom))]
mod loom_tests;
mod outcome;
mod parked;
mod pending;
mod piece;
mod pool;
mod pool_options;
pub mod push;
mod queue;
mod reader;
mod record;
mod settings;
mod share;
mod stop_callback;
mod stop_token;
#[cfg(feature = "futures")]
mod stream;
mod stream_core;
mod streamer;
mod sync;
mod watchdog;
mod writer;

pub use async_writer::AsyncStreamWriter;
pub use chunk::CHUNK_BYTES_MAX;
pub use config::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FAST_BUFFER_BYTES,
    DEFAULT_FAST_CHUNK_BYTES, DEFAULT_FLUSH_AFTER, DEFAULT_SOURCE_STALL, StreamOptions,
};
pub use error::{Error, ErrorKind, find_cause};
pub use etag::ETag;
pub use handle::StreamHandle;
pub use outcome::{BlockedOn, Outcome};
pub use piece::Piece;
pub use pool::{Shutdown, StreamPool};
pub use pool_options::{
    DEFAULT_IDLE_THREAD, DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING, DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RESERVE_BYTES, PoolOptions,
};
pub use reader::{BlockingChunks, ChunkReader};
pub use record::{Record, StreamId};
pub use settings::EndOnStop;
pub use share::{Share, ShareOf};
pub use stop_token::{OnStopGuard, StopToken};
pub use streamer::{SourceResult, stream_out, stream_out_async_write};
pub use writer::StreamWriter;
