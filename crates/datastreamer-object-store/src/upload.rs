//! One upload: chunks in, an object out, or nothing at all.
//!
//! The caller awaits [`upload`]; it reads the stream and calls `staging.rs`, which fills parts
//! and sends them. Here it is decided who is told of what, and in which order.

use std::{future::pending, pin::pin};

use datastreamer::{ChunkReader, Error, StreamHandle};
use futures_util::future::{Either, select};
use object_store::{ObjectStore, path::Path};
use tokio::task::coop::consume_budget;

use crate::{error::UploadError, options::UploadOptions, staging::Staging, uploaded::Uploaded};

/// Uploads a whole stream as one object; never blocks the thread.
///
/// The object is there, whole, when this returns well, and replaces one that was there; until
/// then nothing is seen of it. The stream's record says *complete* only then, too.
///
/// - A slow store is back-pressure: with [`UploadOptions::parts_in_flight`] parts on their way
///   and the next one full, no chunk is taken, and the source blocks in its next write.
/// - **Deadlines.** While no chunk is taken, and during the last request, the stream's own
///   `consumer_stall` runs; it ends an upload whose store hangs. Its default of a minute is
///   short for a slow line (64 MiB, four parts, take a minute at 9 Mbit/s) and for a store that
///   tries again (object_store: for 3 minutes): set it to more than a round of parts may take.
/// - **Dropping the future** tells the source at once and leaves the removal to a task on the
///   tokio runtime on which it was polled. If that runtime ends before the task (a `main` that
///   returns), if there was none, or if the store was just opening the multipart upload, the
///   parts may stay: in a directory a file `name#1`; with S3, Google and R2 invisible but paid
///   for. So rather than drop an upload, stop its stream ([`datastreamer::StreamHandle::stop`])
///   and await it: it returns when the parts are gone. And have a lifecycle rule in the store
///   (`AbortIncompleteMultipartUpload`) in any case: a killed process removes nothing.
/// - **The last request** (the single put, or the completion) may have reached the store when
///   its answer is lost, the stream is stopped, or the future is dropped. Then there may be an
///   object although the upload failed; it is whole.
///
/// A stop breaks off the requests under way at once, but for a plain one that is to finish the
/// object ([`datastreamer::OnStop::Finish`]): then what was written is uploaded, and the deadline
/// holds for that, too.
///
/// ```
/// use std::time::Duration;
/// use datastreamer::StreamOptions;
/// use datastreamer_object_store::{UploadOptions, upload};
/// use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = InMemory::new();
/// let path = Path::from("broken.csv");
/// let chunks = StreamOptions::new()
///     .consumer_stall(Duration::from_secs(300))
///     .stream_out(|out| {
///         out.write_slice(b"id,name\n")?;
///         Err::<(), _>(Box::<dyn std::error::Error + Send + Sync>::from("the database is gone"))
///     });
/// let error = upload(chunks, &store, &path, UploadOptions::new()).await.unwrap_err();
/// assert_eq!(error.to_string(), "the source failed: the database is gone");
/// assert!(store.head(&path).await.is_err()); // nothing is there
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`UploadError`]: why the stream did not end well, or what the store said, or that the file
/// needs more than [`crate::PARTS_MAX`] parts (said at the start where the length was promised).
/// The source was told and the parts are removed, but for [`UploadError::left_behind`].
///
/// # Panics
/// Where the store does; the parts are then removed as if the future had been dropped.
pub async fn upload(
    mut chunks: ChunkReader,
    store: &dyn ObjectStore,
    path: &Path,
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    chunks.hold_verdict();
    let handle = chunks.handle();
    let settings = options.resolve();
    let mut staging = Staging::new(store, path, &settings);
    let sent = {
        let sending = pin!(send_all(&mut chunks, &mut staging));
        let breaking_off = pin!(broken_off(&handle));
        match select(sending, breaking_off).await {
            Either::Left((sent, _)) => sent,
            Either::Right((why, _)) => Err(why),
        }
    };
    match sent {
        Ok(uploaded) => {
            chunks.confirm();
            Ok(uploaded)
        }
        Err(why) => {
            // The source first: the store may take its time.
            handle.stop(why.clone());
            drop(chunks);
            let left_behind = staging.abort().await.err();
            Err(UploadError::new(why, left_behind))
        }
    }
}

async fn send_all(chunks: &mut ChunkReader, staging: &mut Staging<'_>) -> Result<Uploaded, Error> {
    staging.check_room_for(chunks.bytes_left())?;
    while let Some(chunk) = staging.while_sending(chunks.next_chunk()).await? {
        staging.write(&chunk?).await?;
        // A source and a store that are both always ready must leave the thread to others.
        consume_budget().await;
    }
    staging.finish().await
}

/// Resolves when a stop has made the upload pointless. One that is to finish the object has not.
async fn broken_off(handle: &StreamHandle) -> Error {
    match handle.broken_off().await {
        Some(why) => why,
        None => pending().await,
    }
}
