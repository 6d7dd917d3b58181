//! Streams out large files that are produced on the fly.
//!
//! You give it a function that writes; a consumer gets a file: in bounded memory, with
//! back-pressure down to the source, without ever blocking an event loop. A consumer that leaves
//! stops the work; a failure can never be taken for a finished file.
//!
//! ```
//! use std::io::Write;
//! let chunks = datastreamer::stream_out(|out| {
//!     writeln!(out, "id,name")?;
//!     for id in 0..1000 {
//!         writeln!(out, "{id},star {id}")?; // blocks while the consumer is slow
//!     }
//!     Ok::<(), std::io::Error>(()) // only this makes the file whole
//! });
//! assert!(chunks.read_to_vec()?.starts_with(b"id,name\n0,star 0\n"));
//! # Ok::<(), datastreamer::Error>(())
//! ```
//!
//! # What blocks, what does not
//! - [`StreamWriter`]'s writes **block**, on the source's own thread, while the buffer is full.
//! - What waits for the other side or for the end of a stream **blocks**, and says so:
//!   [`ChunkReader::into_iter`], [`ChunkReader::next_chunk_blocking`],
//!   [`ChunkReader::read_to_vec`], [`ChunkReader::write_to`], [`StreamHandle::wait`],
//!   [`Delivery::wait`], [`Delivery::wait_for_consumer`], [`StreamPool::shutdown`],
//!   [`StreamPool::wait_until_empty`].
//! - Everything else never does, all that is behind the features included.
//!
//! # One byte, read downward
//! source → [`StreamWriter::write_slice`] → the queue → [`ChunkReader::poll_chunk`] → an HTTP
//! body, an async stream, an `AsyncRead`, a blocking iterator, or a [`Consumer`].
//!
//! # Features
//! `http-body`, `futures`, `tokio`, `axum`: the interfaces that they add to [`ChunkReader`].
//! `tracing`: sources run in a span of their stream, inside the caller's; each stream's end is an
//! event. None is on by default, and none brings
//! a runtime.

#[cfg(feature = "tokio")]
mod async_read;
#[cfg(feature = "http-body")]
mod body;
mod chunk;
mod config;
mod consumer;
mod depth;
mod error;
#[cfg(all(test, loom))]
mod loom_tests;
mod pool;
#[cfg(feature = "futures")]
mod pulled;
mod queue;
mod reader;
mod record;
#[cfg(feature = "futures")]
mod stream;
mod streamer;
mod sync;
mod watchdog;
mod writer;

pub use config::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FAST_BUFFER_BYTES,
    DEFAULT_FAST_CHUNK_BYTES, DEFAULT_FLUSH_AFTER, DEFAULT_SOURCE_STALL, OnStop, StreamOptions,
};
pub use consumer::{
    AlreadyRegistered, Consumer, DataStreamer, Delivery, HangUp, Producer, ProducerSlot,
    StartError, WriteConsumer,
};
pub use error::{Error, ErrorKind};
pub use pool::{
    DEFAULT_IDLE_THREAD, DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING, DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RESERVE_BYTES, PoolOptions, Shutdown, StreamPool,
};
pub use reader::{BlockingChunks, ChunkReader};
pub use record::{BlockedOn, Outcome, Record, StreamId};
pub use streamer::{SourceResult, StreamHandle, stream_out};
pub use writer::{PASS_THROUGH_BYTES, StopToken, StreamWriter};
