//! Uploads a file that is produced on the fly to an object store: S3, GCS, Azure, a directory,
//! memory.
//!
//! [`upload`] is a consumer of a stream. It divides the stream into parts and keeps a limited
//! number of them in flight. The object becomes visible only after the source has finished
//! successfully and the store has taken everything. After any failure the source is stopped and the
//! parts are removed, so a truncated file never becomes an object.
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
//! # The path of a byte
//! `ChunkReader` → the part being filled (a copy, so that the source can reuse the chunk) →
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
