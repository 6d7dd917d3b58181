//! Limits: parts in flight, bytes in memory, time.

use std::time::Duration;

use datastreamer::{ErrorKind, Outcome, StreamOptions};
use datastreamer_object_store::{UploadOptions, upload};
use datastreamer_testkit::{endless, noise, noise_source};
use tokio::time::sleep;

use crate::{
    place::{PART_BYTES, Place, path, until, upload_to},
    watched::{Fails, Watched},
};

const PARTS_IN_FLIGHT: usize = 3;
const CHUNK_BYTES: usize = 500;
const BUFFER_BYTES: usize = 2000;

#[tokio::test]
async fn a_slow_store_holds_the_source_back() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Never).held_back();
    let bytes = 30 * PART_BYTES;
    let chunks = StreamOptions::new()
        .chunk_bytes(CHUNK_BYTES)
        .buffer_bytes(BUFFER_BYTES)
        .stream_out(noise_source(bytes as u64, 100));
    let handle = chunks.handle();
    let options = UploadOptions::new()
        .part_bytes(PART_BYTES)
        .parts_in_flight(PARTS_IN_FLIGHT);
    let path = path();
    let watch = async {
        let written_max = ((PARTS_IN_FLIGHT + 1) * PART_BYTES + BUFFER_BYTES) as u64;
        for parts_let_through in 0..10 {
            // Until the source is blocked.
            let mut written = 0;
            loop {
                sleep(Duration::from_millis(20)).await;
                let seen = handle.record().bytes_written;
                if seen == written && store.seen().in_flight == PARTS_IN_FLIGHT {
                    break;
                }
                written = seen;
            }
            let sent = parts_let_through * PART_BYTES as u64;
            assert!(written <= sent + written_max, "{written} after {sent}");
            assert_eq!(store.seen().part_bytes.len() as u64, parts_let_through + 3);
            store.let_through(1);
        }
        store.let_through(1000);
    };
    let (uploaded, ()) = tokio::join!(upload(chunks, &store, &path, options), watch);
    assert_eq!(uploaded.unwrap().parts, 30);
    assert_eq!(store.seen().in_flight_max, PARTS_IN_FLIGHT);
    assert!(place.object().await.unwrap() == noise(bytes));
}

#[tokio::test]
async fn a_store_that_hangs_meets_the_streams_deadline() {
    for place in Place::both() {
        let store = Watched::new(place.store.clone(), Fails::Never).held_back();
        let chunks = StreamOptions::new()
            .consumer_stall(Duration::from_millis(100))
            .stream_out(endless(100));
        let handle = chunks.handle();
        let error = upload_to(&store, chunks).await.unwrap_err();
        assert_eq!(error.why().kind(), ErrorKind::ConsumerStalled);
        assert_eq!(handle.ended().await.outcome, Some(Outcome::ClientStalled));
        let seen = store.seen();
        assert_eq!((seen.aborted, seen.in_flight_at_abort), (1, 0));
        place.assert_empty().await;
    }
}

#[tokio::test]
async fn a_last_request_that_hangs_meets_the_streams_deadline() {
    for bytes in [10, 10 * PART_BYTES as u64] {
        for place in Place::both() {
            let store = Watched::new(place.store.clone(), Fails::Never).held_back();
            store.let_through(if bytes > 10 { 10 } else { 0 });
            let chunks = StreamOptions::new()
                .consumer_stall(Duration::from_millis(100))
                .stream_out(noise_source(bytes, 100));
            let error = upload_to(&store, chunks).await.unwrap_err();
            assert_eq!(error.why().kind(), ErrorKind::ConsumerStalled);
            place.assert_empty().await;
        }
    }
}

/// If all chunks are there and the store is always ready, the upload must still yield.
#[tokio::test]
async fn other_tasks_run_beside_an_upload_that_never_waits() {
    let chunks_written = 1000;
    let bytes = (chunks_written * CHUNK_BYTES) as u64;
    let chunks = StreamOptions::new()
        .chunk_bytes(CHUNK_BYTES)
        .buffer_bytes(100 * 1024 * 1024)
        .stream_out(noise_source(bytes, CHUNK_BYTES));
    let handle = chunks.handle();
    until(|| handle.record().bytes_written == bytes).await;
    let place = Place::memory();
    let uploading = tokio::spawn(async move { place.upload(chunks).await });
    let mut others_ran = 0;
    while !uploading.is_finished() {
        others_ran += 1;
        tokio::task::yield_now().await;
    }
    uploading.await.unwrap().unwrap();
    // tokio lets a task take 128 steps before it must yield.
    assert!(others_ran > chunks_written / 256, "{others_ran} times");
}
