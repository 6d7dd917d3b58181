//! Files that become objects.

use datastreamer::{Outcome, StreamOptions, stream_out};
use datastreamer_object_store::{PARTS_MAX, UploadOptions, upload};
use datastreamer_testkit::{noise, noise_source};
use object_store::{Attribute, Attributes, ObjectStoreExt, memory::InMemory};

use crate::{
    place::{PART_BYTES, Place, path},
    watched::{Fails, Watched},
};

#[tokio::test]
async fn an_object_has_the_bytes_of_its_stream() {
    let part = PART_BYTES as u64;
    for (bytes, parts) in [
        (0, 0),
        (1, 0),
        (part - 1, 0),
        (part, 1),
        (part + 1, 2),
        (2 * part, 2),
        (50 * part + 17, 51),
    ] {
        for place in Place::both() {
            let chunks = StreamOptions::new()
                .chunk_bytes(777)
                .stream_out(noise_source(bytes, 100));
            let uploaded = place.upload(chunks).await.unwrap();
            assert_eq!((uploaded.bytes, uploaded.parts), (bytes, parts));
            assert!(uploaded.e_tag.is_some());
            assert!(place.object().await.unwrap() == noise(bytes as usize));
            let only_the_object = place.directory.is_none() || place.files() == ["stars.csv"];
            assert!(only_the_object, "{:?}", place.files());
        }
    }
}

#[tokio::test]
async fn a_file_below_a_part_goes_by_a_single_request() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Never);
    let chunks = stream_out(noise_source(PART_BYTES as u64 - 1, 100));
    crate::place::upload_to(&store, chunks).await.unwrap();
    let seen = store.seen();
    assert_eq!((seen.puts, seen.begun, seen.aborted), (1, 0, 0));
}

#[tokio::test]
async fn all_parts_but_the_last_have_the_same_size() {
    let place = Place::memory();
    let store = Watched::new(place.store.clone(), Fails::Never);
    let chunks = stream_out(noise_source(3 * PART_BYTES as u64 + 17, 100));
    crate::place::upload_to(&store, chunks).await.unwrap();
    // If a removal were in progress, it would run here.
    tokio::task::yield_now().await;
    let seen = store.seen();
    assert_eq!(seen.part_bytes, [PART_BYTES, PART_BYTES, PART_BYTES, 17]);
    assert_eq!((seen.begun, seen.completed, seen.aborted), (1, 1, 0));
}

#[tokio::test]
async fn a_new_object_replaces_the_old_one() {
    for place in Place::both() {
        place.store.put(&path(), "old".into()).await.unwrap();
        place
            .upload(stream_out(noise_source(5000, 100)))
            .await
            .unwrap();
        assert!(place.object().await.unwrap() == noise(5000));
    }
}

#[tokio::test]
async fn the_record_says_complete_only_with_the_object() {
    let place = Place::memory();
    let chunks = stream_out(noise_source(5000, 100));
    let handle = chunks.handle();
    place.upload(chunks).await.unwrap();
    let record = handle.ended().await;
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(record.bytes_delivered, 5000);
}

#[tokio::test]
async fn attributes_reach_objects_of_either_way() {
    let csv = Attributes::from_iter([(Attribute::ContentType, "text/csv")]);
    for bytes in [10, 10_000] {
        let store = InMemory::new();
        let options = UploadOptions::new()
            .part_bytes(PART_BYTES)
            .attributes(csv.clone());
        let chunks = stream_out(noise_source(bytes, 100));
        upload(chunks, &store, &path(), options).await.unwrap();
        assert_eq!(store.get(&path()).await.unwrap().attributes, csv);
    }
}

#[tokio::test]
async fn as_many_parts_as_stores_take_are_no_error() {
    let store = InMemory::new();
    let options = UploadOptions::new().part_bytes(2);
    let chunks = stream_out(noise_source(2 * PARTS_MAX as u64, 10_000));
    let uploaded = upload(chunks, &store, &path(), options).await.unwrap();
    assert_eq!(uploaded.parts, PARTS_MAX);
}

#[tokio::test]
async fn zero_counts_as_one_in_options() {
    let store = InMemory::new();
    let options = UploadOptions::new().part_bytes(0).parts_in_flight(0);
    let chunks = stream_out(noise_source(5, 5));
    let uploaded = upload(chunks, &store, &path(), options).await.unwrap();
    assert_eq!((uploaded.bytes, uploaded.parts), (5, 5));
}
