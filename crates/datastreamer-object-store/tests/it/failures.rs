//! Files that must not arrive.

use std::time::Duration;

use datastreamer::{EndOnStop, Error, ErrorKind, Outcome, StreamOptions, stream_out};
use datastreamer_object_store::{PARTS_MAX, UploadOptions, upload};
use datastreamer_testkit::{
    FAILURE, Probe, Source, endless, fails_after, noise, noise_source, panics_after,
    silent_until_stopped,
};
use futures_util::FutureExt;
use object_store::{ObjectStoreExt, memory::InMemory};

use crate::{
    place::{PART_BYTES, Place, path, until, upload_to},
    watched::{Fails, REFUSAL, Watched, not_found, refusal},
};

#[tokio::test]
async fn a_source_that_fails_leaves_nothing() {
    let part = PART_BYTES as u64;
    type Failing = fn(u64, usize) -> Source;
    let failing: [(Failing, _); 2] = [
        (fails_after, ErrorKind::SourceFailed),
        (panics_after, ErrorKind::SourcePanicked),
    ];
    for bytes in [0, 1, part, part + 1, 20 * part + 17] {
        for (source, kind) in failing {
            for place in Place::both() {
                let chunks = stream_out(source(bytes, 77));
                let error = place.upload(chunks).await.unwrap_err();
                assert_eq!(error.why().kind(), kind);
                assert!(error.to_string().contains(FAILURE), "{error}");
                assert!(error.left_behind().is_none());
                place.assert_empty().await;
            }
        }
    }
}

#[tokio::test]
async fn a_broken_promise_of_length_leaves_nothing() {
    for bytes in [0, 4999, 5001, 50_000] {
        for place in Place::both() {
            let chunks = StreamOptions::new()
                .length(5000)
                .stream_out(noise_source(bytes, 77));
            let error = place.upload(chunks).await.unwrap_err();
            assert_eq!(error.why().kind(), ErrorKind::LengthMismatch);
            place.assert_empty().await;
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_stops_the_source_and_is_cleaned() {
    for fails in [
        Fails::Begin,
        Fails::Part(0),
        Fails::Part(1),
        Fails::Part(17),
    ] {
        for place in Place::both() {
            let store = Watched::new(place.store.clone(), fails);
            let probe = Probe::new();
            let chunks = stream_out(probe.wrap(endless(100)));
            let handle = chunks.handle();
            let error = upload_to(&store, chunks).await.unwrap_err();
            assert_eq!(error.why().kind(), ErrorKind::ConsumerFailed);
            assert!(error.to_string().contains(REFUSAL), "{error}");
            let (_, told) = probe.wait_told();
            assert!(told.to_string().contains(REFUSAL), "{told}");
            probe.wait_ended();
            assert_eq!(
                handle.ended().await.outcome,
                Some(Outcome::ClientGone),
                "{fails:?}"
            );
            let seen = store.seen();
            assert_eq!(seen.aborted, seen.begun, "{fails:?}");
            place.assert_empty().await;
        }
    }
}

#[tokio::test]
async fn a_last_request_that_fails_leaves_nothing() {
    for (bytes, fails) in [(10, Fails::Put), (10_000, Fails::Complete)] {
        for place in Place::both() {
            let store = Watched::new(place.store.clone(), fails);
            let chunks = stream_out(noise_source(bytes, 100));
            let handle = chunks.handle();
            let error = upload_to(&store, chunks).await.unwrap_err();
            assert!(error.to_string().contains(REFUSAL), "{error}");
            assert_eq!(handle.ended().await.outcome, Some(Outcome::ClientGone));
            place.assert_empty().await;
        }
    }
}

#[tokio::test]
async fn the_stores_own_error_is_the_cause() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Put);
    let error = upload_to(&store, stream_out(noise_source(1, 1)))
        .await
        .unwrap_err();
    let cause = std::error::Error::source(error.why()).unwrap();
    assert!(cause.is::<object_store::Error>());
}

#[tokio::test]
async fn a_failed_upload_keeps_the_old_object() {
    for place in Place::both() {
        place.store.put(&path(), "old".into()).await.unwrap();
        place
            .upload(stream_out(fails_after(20_000, 77)))
            .await
            .unwrap_err();
        assert_eq!(place.object().await.unwrap(), b"old");
    }
}

#[tokio::test]
async fn what_cannot_be_removed_is_told() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Part(3)).whose_abort_fails(refusal);
    let chunks = stream_out(noise_source(10_000, 100));
    let error = upload_to(&store, chunks).await.unwrap_err();
    assert!(error.left_behind().is_some());
    assert!(error.to_string().contains("left in the store"), "{error}");
}

#[tokio::test]
async fn what_is_gone_already_is_not_left_behind() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Complete).whose_abort_fails(not_found);
    let chunks = stream_out(noise_source(10_000, 100));
    let error = upload_to(&store, chunks).await.unwrap_err();
    assert!(error.left_behind().is_none(), "{error}");
}

#[tokio::test]
async fn a_part_that_fails_while_the_source_is_silent_is_told_at_once() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Part(0));
    let probe = Probe::new();
    let silent = silent_until_stopped();
    let chunks = stream_out(probe.wrap(move |out| {
        out.write_slice(&noise(PART_BYTES))?;
        out.flush_now()?;
        silent(out)
    }));
    let error = upload_to(&store, chunks).await.unwrap_err();
    assert!(error.to_string().contains(REFUSAL), "{error}");
    probe.wait_ended();
}

#[tokio::test]
async fn an_object_that_is_a_directory_is_told_with_what_it_leaves() {
    // object_store's local store removes its temporary file only if the last rename succeeds.
    let place = Place::local();
    let directory = place.directory.as_ref().unwrap().path();
    std::fs::create_dir_all(directory.join("stars.csv/full")).unwrap();
    let error = place
        .upload(stream_out(noise_source(10_000, 100)))
        .await
        .unwrap_err();
    assert!(error.left_behind().is_some(), "{error}");
}

#[tokio::test]
async fn a_store_that_panics_is_cleaned() {
    for place in Place::both() {
        let store = Watched::new(place.store.clone(), Fails::PartPanics(2));
        let probe = Probe::new();
        let chunks = stream_out(probe.wrap(endless(100)));
        let upload = std::panic::AssertUnwindSafe(upload_to(&store, chunks));
        assert!(upload.catch_unwind().await.is_err());
        probe.wait_ended();
        until(|| store.seen().aborted == 1 && place.files().is_empty()).await;
        place.assert_empty().await;
    }
}

#[tokio::test]
async fn too_many_parts_are_refused_before_the_first_if_the_length_is_known() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Never);
    let promised = (PARTS_MAX * PART_BYTES + 1) as u64;
    let probe = Probe::new();
    let chunks = StreamOptions::new()
        .length(promised)
        .stream_out(probe.wrap(endless(100)));
    probe.wait_started();
    let error = upload_to(&store, chunks).await.unwrap_err();
    assert_eq!(error.why().kind(), ErrorKind::ConsumerFailed);
    assert!(
        error.to_string().contains("1001 bytes are needed"),
        "{error}"
    );
    assert_eq!(store.seen().begun, 0);
    probe.wait_told();
}

#[tokio::test]
async fn too_many_parts_fail_if_the_length_is_not_known() {
    let store = InMemory::new();
    let options = UploadOptions::new().part_bytes(2);
    let chunks = stream_out(noise_source(2 * PARTS_MAX as u64 + 1, 10_000));
    let error = upload(chunks, &store, &path(), options).await.unwrap_err();
    assert_eq!(error.why().kind(), ErrorKind::ConsumerFailed);
    assert!(
        error.to_string().contains("more than 10000 parts"),
        "{error}"
    );
    assert!(store.head(&path()).await.is_err());
}

/// Writes for a while and waits for the stop. A source without an end could write more parts than a
/// store takes before it is stopped.
fn writes_until_stopped() -> Source {
    Box::new(|out| {
        out.write_slice(&noise(50_000))?;
        out.flush_now()?;
        silent_until_stopped()(out)
    })
}

#[tokio::test]
async fn a_stopped_upload_leaves_nothing() {
    for place in Place::both() {
        let chunks = stream_out(writes_until_stopped());
        let handle = chunks.handle();
        let stop = async {
            until(|| handle.record().bytes_delivered >= 20_000).await;
            handle.stop(Error::new(ErrorKind::Stopped, "enough"));
        };
        let (uploaded, ()) = tokio::join!(place.upload(chunks), stop);
        assert_eq!(uploaded.unwrap_err().why().kind(), ErrorKind::Stopped);
        place.assert_empty().await;
    }
}

#[tokio::test]
async fn an_endless_stream_that_is_stopped_to_finish_is_an_object() {
    for place in Place::both() {
        let chunks = StreamOptions::new()
            .end_on_stop(EndOnStop::Finish)
            .stream_out(writes_until_stopped());
        let handle = chunks.handle();
        let stop = async {
            until(|| handle.record().bytes_delivered >= 20_000).await;
            handle.stop(Error::new(ErrorKind::Stopped, "enough"));
        };
        let (uploaded, ()) = tokio::join!(place.upload(chunks), stop);
        let bytes = uploaded.unwrap().bytes;
        assert!(bytes >= 20_000);
        assert!(place.object().await.unwrap() == noise(bytes as usize));
    }
}

#[tokio::test]
async fn a_stop_breaks_an_upload_off_whose_store_hangs() {
    for kind in [ErrorKind::ShutDown, ErrorKind::Stopped] {
        for place in Place::both() {
            let store = Watched::new(place.store.clone(), Fails::Never).held_back();
            let chunks = stream_out(endless(100));
            let handle = chunks.handle();
            let stop = async {
                until(|| store.seen().in_flight > 0).await;
                handle.stop(Error::new(kind, "a test"));
            };
            let (uploaded, ()) = tokio::join!(upload_to(&store, chunks), stop);
            assert_eq!(uploaded.unwrap_err().why().kind(), kind);
            place.assert_empty().await;
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_stopped_to_finish_keeps_its_deadline() {
    for place in Place::both() {
        let store = Watched::new(place.store.clone(), Fails::Never).held_back();
        let chunks = StreamOptions::new()
            .end_on_stop(EndOnStop::Finish)
            .consumer_stall(Duration::from_millis(100))
            .stream_out(endless(100));
        let handle = chunks.handle();
        let stop = async {
            until(|| store.seen().in_flight > 0).await;
            handle.stop(Error::new(ErrorKind::Stopped, "enough"));
        };
        let (uploaded, ()) = tokio::join!(upload_to(&store, chunks), stop);
        let error = uploaded.unwrap_err();
        assert_eq!(error.why().kind(), ErrorKind::ConsumerStalled);
        place.assert_empty().await;
    }
}
