//! The contract that every consumer of a stream must keep.

use std::{pin::pin, time::Instant};

use datastreamer::StreamOptions;
use datastreamer_object_store::{UploadOptions, upload};
use datastreamer_testkit::{Received, Source, WayOut, consumer_contract};
use futures_util::future::{Either, select};
use tokio::runtime::Runtime;

use crate::{
    place::{Place, path, until},
    watched::{Fails, Watched},
};

/// Smaller than every file of the contract that must be divided into parts.
const PART_BYTES: usize = 10_000;

struct Upload {
    name: &'static str,
    place: fn() -> Place,
}

impl WayOut for Upload {
    fn name(&self) -> &str {
        self.name
    }

    fn receive(&self, options: StreamOptions, source: Source) -> Received {
        let place = (self.place)();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let chunks = options.stream_out(source);
            let how = UploadOptions::new().part_bytes(PART_BYTES);
            let uploaded = upload(chunks, &place.store, &path(), how).await;
            let object = place.object().await;
            assert_eq!(object.is_some(), uploaded.is_ok());
            Received {
                bytes: object.unwrap_or_default(),
                verdict: uploaded.map(drop).map_err(Into::into),
            }
        })
    }

    /// Disconnects when the store has received this many bytes.
    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant {
        let place = (self.place)();
        // Delayed, or the store would have its 10,000 parts of one byte before the disconnection.
        let store = Watched::new(place.store.clone(), Fails::Never).held_back();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let chunks = options.stream_out(source);
            let how = UploadOptions::new().part_bytes(bytes as usize);
            let path = path();
            let uploading = pin!(upload(chunks, &store, &path, how));
            let enough = pin!(until(|| !store.seen().part_bytes.is_empty()));
            match select(uploading, enough).await {
                Either::Left((ended, _)) => panic!("the stream ended by itself: {ended:?}"),
                Either::Right(_) => Instant::now(),
            }
        })
    }

    fn shows_failed_bytes(&self) -> bool {
        false
    }
}

#[test]
fn an_upload_to_memory_keeps_the_contract() {
    consumer_contract(&Upload {
        name: "memory",
        place: Place::memory,
    });
}

#[test]
fn an_upload_to_a_directory_keeps_the_contract() {
    consumer_contract(&Upload {
        name: "directory",
        place: Place::local,
    });
}
