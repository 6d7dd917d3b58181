//! Uploads a file produced on the fly to an object store: S3, GCS, Azure, a directory, memory.
//!
//! [`upload`] is a consumer of a stream. It cuts the stream into parts, keeps a bounded number
//! of them in flight, and makes the object visible only when the source has ended well and the
//! store has taken everything. Whatever fails, the source is told and the parts are removed: no
//! part ever passes for the whole.
//!
//! ```
//! use std::io::Write;
//! use datastreamer::StreamOptions;
//! use datastreamer_object_store::{UploadOptions, upload};
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = InMemory::new();
//! let path = Path::from("stars.csv");
//! let chunks = StreamOptions::new().stream_out(|out| {
//!     for id in 0..1000 {
//!         writeln!(out, "{id},star {id}")?; // blocks while the store is slow
//!     }
//!     Ok::<(), std::io::Error>(()) // only this makes the object appear
//! });
//! let uploaded = upload(chunks, &store, &path, UploadOptions::new()).await?;
//! assert_eq!(uploaded.bytes, store.head(&path).await?.size);
//! # Ok(())
//! # }
//! ```
//!
//! # One byte, read downward
//! `ChunkReader` → the part being filled (a copy, so that the chunk goes back to the source) →
//! a part in flight → the store.

mod error;
mod multipart;
mod options;
mod staging;
mod upload;
mod uploaded;

pub use error::UploadError;
pub use options::{DEFAULT_PART_BYTES, DEFAULT_PARTS_IN_FLIGHT, PARTS_MAX, UploadOptions};
pub use upload::upload;
pub use uploaded::Uploaded;
