//! What several subjects need.

use datastreamer::{ChunkReader, Error};
use datastreamer_testkit::within;

/// Reads to the end; returns the bytes before it, and what it was.
pub(crate) fn read(chunks: ChunkReader) -> (Vec<u8>, Option<Error>) {
    within("the end of the stream", || {
        let mut bytes = Vec::new();
        for chunk in chunks {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => return (bytes, Some(error)),
            }
        }
        (bytes, None)
    })
}
