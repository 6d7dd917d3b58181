//! Futures that are dropped: nothing of the object remains.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use datastreamer::{ErrorKind, Outcome, stream_out};
use datastreamer_object_store::upload;
use datastreamer_testkit::{Probe, endless, eventually, fails_after, noise, noise_source};
use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};

use crate::{
    place::{Place, options, path, until},
    watched::{Fails, Watched},
};

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_dropped_upload_tells_the_source_and_is_removed() {
    for place in Place::both() {
        let runtime = runtime();
        let store = Watched::new(place.store.clone(), Fails::Never).held_back();
        let probe = Probe::new();
        let chunks = stream_out(probe.wrap(endless(100)));
        let handle = chunks.handle();
        let path = path();
        runtime.block_on(async {
            let uploading = pin!(upload(chunks, &store, &path, options()));
            let leaving = pin!(until(|| store.seen().in_flight == 4));
            assert!(matches!(select(uploading, leaving).await, Either::Right(_)));
        });
        assert_eq!(probe.wait_told().1.kind(), ErrorKind::HangUp);
        probe.wait_ended();
        assert_eq!(handle.wait().outcome, Some(Outcome::ClientGone));
        eventually("the removal", || store.seen().aborted == 1);
        eventually("an empty directory", || place.files().is_empty());
        runtime.block_on(place.assert_empty());
    }
}

#[test]
fn an_upload_dropped_on_a_foreign_thread_is_removed_all_the_same() {
    for place in Place::both() {
        let runtime = runtime();
        let store = Watched::new(place.store.clone(), Fails::Never).held_back();
        let chunks = stream_out(endless(100));
        let mut uploading = Box::pin({
            let store = store.clone();
            async move { upload(chunks, &store, &path(), options()).await }
        });
        runtime.block_on(async {
            let leaving = pin!(until(|| store.seen().in_flight == 4));
            assert!(matches!(
                select(uploading.as_mut(), leaving).await,
                Either::Right(_)
            ));
        });
        thread::spawn(move || drop(uploading)).join().unwrap();
        eventually("the removal", || store.seen().aborted == 1);
        eventually("an empty directory", || place.files().is_empty());
    }
}

#[test]
fn an_upload_dropped_while_it_is_being_removed_is_removed_all_the_same() {
    for place in Place::both() {
        let runtime = runtime();
        let store = Watched::new(place.store.clone(), Fails::Never).whose_abort_waits();
        let chunks = stream_out(fails_after(20_000, 100));
        let path = path();
        runtime.block_on(async {
            let uploading = pin!(upload(chunks, &store, &path, options()));
            let leaving = pin!(until(|| store.seen().aborted == 1));
            assert!(matches!(select(uploading, leaving).await, Either::Right(_)));
        });
        store.let_aborts_through();
        eventually("the second removal", || store.seen().aborted == 2);
        eventually("an empty directory", || place.files().is_empty());
    }
}

#[test]
fn an_upload_that_is_never_polled_is_a_hang_up() {
    let probe = Probe::new();
    let place = Place::memory();
    let path = path();
    let chunks = stream_out(probe.wrap(endless(100)));
    probe.wait_started();
    drop(upload(chunks, &place.store, &path, options()));
    assert_eq!(probe.wait_told().1.kind(), ErrorKind::HangUp);
}

#[test]
fn an_upload_needs_no_runtime_where_its_store_needs_none() {
    for place in Place::both() {
        let path = path();
        let chunks = stream_out(noise_source(100_000, 100));
        let uploaded = block_on(upload(chunks, &place.store, &path, options()));
        assert_eq!(uploaded.unwrap().parts, 100);
        assert!(block_on(place.object()).unwrap() == noise(100_000));
    }
}

#[test]
fn without_a_runtime_a_directory_cleans_up_by_itself() {
    let place = Place::local();
    let store = Watched::new(place.store.clone(), Fails::Never).held_back();
    let path = path();
    let chunks = stream_out(endless(100));
    {
        let mut uploading = pin!(upload(chunks, &store, &path, options()));
        let mut cx = Context::from_waker(Waker::noop());
        eventually("parts in flight", || {
            let _pending = uploading.as_mut().poll(&mut cx);
            store.seen().in_flight == 4
        });
        assert_eq!(place.files(), ["stars.csv#1"]);
    }
    assert_eq!(place.files(), [""; 0]);
}

/// A minimal executor.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
