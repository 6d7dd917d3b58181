//! One upload: a stream becomes a complete object, or no object.
//!
//! The caller awaits [`upload`]. It reads the stream and calls `staging.rs`, which fills parts and
//! sends them. This file decides the order after a failure: the source is stopped first, then the
//! parts are removed.

use std::{future::pending, pin::pin};

use datastreamer::{ChunkReader, Error, StreamHandle};
use futures_util::future::{Either, select};
use object_store::{ObjectStore, path::Path};
use tokio::task::coop::consume_budget;

use crate::{error::UploadError, options::UploadOptions, staging::Staging, uploaded::Uploaded};

/// Uploads a stream as one object; never blocks the thread.
///
/// The object becomes visible, complete, when this returns `Ok`, and replaces an earlier one. Until
/// then nothing of it is visible, and the stream's record does not have the outcome *complete*.
///
/// - **Back-pressure.** With [`UploadOptions::parts_in_flight`] parts in flight and the next one
///   full, no chunk is taken, and the source blocks in its next write.
/// - **Deadlines.** While no chunk is taken, and during the last request, the stream's
///   `consumer_stall` applies. It ends an upload whose store hangs. The default of one minute is
///   short for a slow network (64 MiB, four parts, take a minute at 9 Mbit/s) and for a store that
///   retries (object_store: for 3 minutes). Set it to more than the time that
///   `parts_in_flight` parts may take.
/// - **Dropping the future** stops the source at once. A task on the tokio runtime that polled the
///   future then removes the parts. They may remain if that runtime ends before the task (`main`
///   returns), if there was no runtime, or if the store was just opening the multipart upload: in a
///   directory as a file `name#1`; in S3, Google's store and R2 invisible, but paid for. Therefore
///   do not drop an upload: stop its stream ([`datastreamer::StreamHandle::stop`]) and await it. It
///   returns when the parts are removed. Have a lifecycle rule in the store
///   (`AbortIncompleteMultipartUpload`) in any case, because a killed process removes nothing.
/// - **The last request** (the single put, or the completion) may have reached the store when its
///   response is lost, the stream is stopped, or the future is dropped. Then there may be an object
///   although the upload failed; it is complete.
///
/// A stop cancels the requests in flight at once. The exception is a stop that is to finish the
/// object ([`datastreamer::EndOnStop::Finish`]): then the bytes written so far are uploaded, within the
/// same deadline.
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
/// assert!(store.head(&path).await.is_err()); // there is no object
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`UploadError`] if the stream did not finish, if the store failed, or if the file needs more than
/// [`crate::PARTS_MAX`] parts (at the start if the length was promised). The source has been
/// stopped and the parts have been removed, except for [`UploadError::left_behind`].
///
/// # Panics
/// If the store panics. The parts are then removed as after a drop of the future.
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
            // The source first: removing the parts may take long.
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
        // If both the source and the store are always ready, this task must still yield.
        consume_budget().await;
    }
    staging.finish().await
}

/// Resolves when the stream was stopped, unless the stop is to finish the object.
async fn broken_off(handle: &StreamHandle) -> Error {
    match handle.broken_off().await {
        Some(why) => why,
        None => pending().await,
    }
}
