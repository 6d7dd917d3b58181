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
//! - [`StreamWriter`]'s writes **block**, on the source's own thread, while the buffer is full.
//! - These methods wait for the other side or for the end of a stream, so they **block**:
//!   [`ChunkReader::into_iter`], [`ChunkReader::next_chunk_blocking`],
//!   [`ChunkReader::read_to_vec`], [`ChunkReader::write_to`], [`StreamHandle::wait`],
//!   [`Delivery::wait`], [`Delivery::wait_for_consumer`], [`StreamPool::shutdown`],
//!   [`StreamPool::wait_until_empty`].
//! - Nothing else blocks, including everything behind the features.
//!
//! # One byte, read downward
//! source → [`StreamWriter::write_slice`] → the queue → [`ChunkReader::poll_chunk`] → an HTTP
//! body, an async stream, an `AsyncRead`, a blocking iterator, or a [`Consumer`].
//!
//! # Features
//! `http-body`, `futures`, `tokio` and `axum` add the interface of that name to [`ChunkReader`].
//! With `tracing`, a source runs in a span of its stream, inside the caller's span, and each
//! stream's end is an event. No feature is on by default, and none adds a runtime.

#[cfg(feature = "tokio")]
mod async_read;
mod block_on;
#[cfg(feature = "http-body")]
mod body;
mod chunk;
mod config;
mod depth;
mod error;
mod handle;
mod lease;
#[cfg(all(test, loom))]
mod loom_tests;
mod outcome;
mod pending;
mod pool;
#[cfg(feature = "futures")]
mod pulled;
mod push;
mod queue;
mod reader;
mod record;
mod settings;
mod share;
mod stop_token;
#[cfg(feature = "futures")]
mod stream;
mod stream_core;
mod streamer;
mod sync;
mod watchdog;
mod writer;

pub use config::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FAST_BUFFER_BYTES,
    DEFAULT_FAST_CHUNK_BYTES, DEFAULT_FLUSH_AFTER, DEFAULT_SOURCE_STALL, StreamOptions,
};
pub use error::{Error, ErrorKind};
pub use handle::StreamHandle;
pub use outcome::{BlockedOn, Outcome};
pub use pool::{
    DEFAULT_IDLE_THREAD, DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING, DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RESERVE_BYTES, PoolOptions, Shutdown, StreamPool,
};
pub use push::{
    AlreadyRegistered, Consumer, DataStreamer, Delivery, HangUp, Producer, ProducerSlot,
    StartError, WriteConsumer,
};
pub use reader::{BlockingChunks, ChunkReader};
pub use record::{Record, StreamId};
pub use settings::OnStop;
pub use share::{Share, ShareOf};
pub use stop_token::StopToken;
pub use streamer::{SourceResult, stream_out};
pub use writer::{PASS_THROUGH_BYTES, StreamWriter};
