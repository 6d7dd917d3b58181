//! Sources that are async: polled by the reader, without a thread, with the same promises.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use crate::support::read;
use bytes::Bytes;
use datastreamer::push::Producer;
use datastreamer::{Error, ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool};
use datastreamer_testkit::{BoxError, FAILURE, eventually, noise, silent_until_stopped, within};
use futures_util::{Stream, StreamExt, stream};

fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000)
}

/// Yields the noise in items of so many bytes.
fn items(bytes: usize, item_bytes: usize) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let all = Bytes::from(noise(bytes));
    let pieces: Vec<Result<Bytes, BoxError>> = (0..bytes)
        .step_by(item_bytes)
        .map(|at| Ok(all.slice(at..bytes.min(at + item_bytes))))
        .collect();
    stream::iter(pieces)
}

fn failing(bytes: usize) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    items(bytes, 77).chain(stream::iter([Err(FAILURE.into())]))
}

/// A source that tells whether it was dropped; silent, or endless.
struct Watched {
    dropped: Arc<AtomicBool>,
    silent: bool,
}

impl Watched {
    fn new(silent: bool) -> (Self, Arc<AtomicBool>) {
        let dropped = Arc::new(AtomicBool::new(false));
        let source = Self {
            dropped: Arc::clone(&dropped),
            silent,
        };
        (source, dropped)
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.silent {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Bytes::from_static(&[7; 1000]))))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_async_source_needs_no_thread() {
    let pool = StreamPool::new(PoolOptions::default());
    let (bytes, error) = read(small().pool(&pool).stream_out_async(items(10_500, 77)));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, noise(10_500));
    assert_eq!(
        (pool.threads(), pool.active(), pool.streams().len()),
        (0, 0, 0)
    );
}

#[test]
fn c10_items_of_any_size_become_chunks_of_at_most_the_chunk_size() {
    for item_bytes in [1, 7, 249, 250, 999, 1000, 1001, 5000, 20_000] {
        let chunks = small()
            .stream_out_async(items(20_000, item_bytes))
            .into_iter();
        let mut all = Vec::new();
        for chunk in chunks {
            let chunk = chunk.unwrap();
            assert!(!chunk.is_empty() && chunk.len() <= 1000);
            all.extend_from_slice(&chunk);
        }
        assert!(all == noise(20_000), "items of {item_bytes} bytes");
    }
}

#[test]
fn c10_small_items_are_gathered_and_empty_ones_are_nothing() {
    let source = items(5000, 10).flat_map(|item| stream::iter([Ok(Bytes::new()), item]));
    let sizes: Vec<usize> = small()
        .stream_out_async(source)
        .into_iter()
        .map(|chunk| chunk.unwrap().len())
        .collect();
    assert_eq!(sizes, [1000; 5]);
}

#[test]
fn c09_a_large_item_passes_without_a_copy() {
    let data = Bytes::from(noise(2500));
    let source = stream::iter([Ok::<_, BoxError>(data.clone())]);
    let chunks: Vec<Bytes> = small()
        .stream_out_async(source)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(chunks[0].as_ptr(), data.as_ptr());
    assert_eq!(chunks[2].as_ptr(), data[2000..].as_ptr());
}

#[test]
fn c11_what_is_gathered_goes_out_when_the_source_has_nothing_more_at_once() {
    let source = items(30, 10).chain(stream::pending());
    let mut chunks = small().stream_out_async(source);
    let chunk = within("the chunk", move || chunks.next_chunk_blocking());
    assert_eq!(chunk.unwrap().unwrap(), noise(30));
}

#[test]
fn c16_a_stop_ends_the_stream_and_drops_the_source() {
    for silent in [true, false] {
        let (source, dropped) = Watched::new(silent);
        let mut chunks = small().stream_out_async(source);
        let handle = chunks.handle();
        if !silent {
            chunks.next_chunk_blocking().unwrap().unwrap();
        }
        let stopping = thread::spawn({
            let handle = handle.clone();
            move || {
                thread::sleep(Duration::from_millis(20));
                handle.stop(Error::new(ErrorKind::Stopped, "a test"));
            }
        });
        let mut chunks = within("the end", move || {
            while chunks.next_chunk_blocking().unwrap().is_ok() {}
            chunks
        });
        // Whoever has seen the end may keep the reader: the source is gone all the same, dropped on a
        // thread of its own.
        eventually("the drop of the source", || dropped.load(Ordering::SeqCst));
        assert_eq!(handle.wait().outcome, Some(Outcome::Cancelled));
        assert!(chunks.next_chunk_blocking().is_none());
        stopping.join().unwrap();
    }
}

#[test]
fn c17_dropping_the_reader_drops_the_source() {
    let pool = StreamPool::new(PoolOptions::default());
    let (source, dropped) = Watched::new(true);
    let chunks = small().pool(&pool).stream_out_async(source);
    let handle = chunks.handle();
    assert_eq!(pool.active(), 1);
    drop(chunks);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(handle.wait().outcome, Some(Outcome::ClientGone));
    assert_eq!(pool.active(), 0);
}

#[test]
fn c07_a_paused_stream_is_pending_and_does_not_poll_its_source() {
    let (source, _dropped) = Watched::new(false);
    let mut chunks = small().stream_out_async(source);
    let handle = chunks.handle();
    handle.pause_producing();
    assert!(chunks.try_next_chunk().is_pending());
    let waiting = thread::spawn(move || chunks.next_chunk_blocking());
    thread::sleep(Duration::from_millis(30));
    assert!(!waiting.is_finished());
    handle.resume_producing();
    within("the chunk", move || waiting.join().unwrap())
        .unwrap()
        .unwrap();
}

#[test]
fn c20_a_failure_comes_after_the_bytes_before_it() {
    for bytes in [0, 1, 999, 1000, 5050] {
        let (got, error) = read(small().stream_out_async(failing(bytes)));
        assert_eq!(got, noise(bytes));
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::SourceFailed);
        assert!(error.to_string().ends_with(FAILURE));
    }
}

#[test]
fn c20_a_panic_in_poll_is_a_failure_and_not_the_consumers_panic() {
    let source = items(1500, 77).chain(stream::poll_fn(|_| {
        std::panic::resume_unwind(Box::new("a quiet panic"))
    }));
    let (got, error) = read(small().stream_out_async(source));
    assert_eq!(got, noise(1500));
    assert_eq!(
        error.unwrap().to_string(),
        "the source panicked: a quiet panic"
    );
}

#[test]
fn c20_a_broken_promise_of_length_is_a_failure() {
    for (promised, bytes) in [(1000, 0), (1000, 999), (1000, 1001), (1000, 30_000), (0, 1)] {
        let chunks = small().length(promised).stream_out_async(items(bytes, 77));
        let (got, error) = read(chunks);
        assert_eq!(error.unwrap().kind(), ErrorKind::LengthMismatch);
        assert!(
            (got.len() as u64) < promised.max(1),
            "{bytes} of {promised}: {}",
            got.len()
        );
        assert!(got == noise(got.len()));
    }
    for bytes in [0, 1, 999, 1000, 5050] {
        let (got, error) = read(
            small()
                .length(bytes as u64)
                .stream_out_async(items(bytes, 77)),
        );
        assert!(error.is_none(), "{error:?}");
        assert_eq!(got, noise(bytes));
    }
}

#[test]
fn c20_a_failure_after_all_promised_bytes_is_not_whole() {
    let (got, error) = read(small().length(2500).stream_out_async(failing(2500)));
    assert_eq!(error.unwrap().kind(), ErrorKind::SourceFailed);
    assert_eq!(got, noise(2499));
}

#[test]
fn c24_an_async_source_waits_for_its_place_like_any_other() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .max_active(1)
            .queue_timeout(Duration::from_millis(200)),
    );
    let options = || small().pool(&pool);
    let active = options().stream_out(silent_until_stopped());
    let waiting = options().stream_out_async(items(1500, 10));
    let reading = thread::spawn(move || read(waiting));
    let (source, dropped) = Watched::new(false);
    let leaving = options().stream_out_async(source);
    assert_eq!((pool.active(), pool.waiting()), (1, 2));
    drop(leaving);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!((pool.active(), pool.waiting()), (1, 1));
    drop(active);
    let (bytes, error) = within("its turn", move || reading.join().unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, noise(1500));
    // And no longer than others.
    let active = options().stream_out(silent_until_stopped());
    let (source, dropped) = Watched::new(false);
    let waiting = options().stream_out_async(source);
    let (_, error) = within("the refusal", move || read(waiting));
    assert_eq!(error.unwrap().kind(), ErrorKind::Busy);
    eventually("the drop of the source", || dropped.load(Ordering::SeqCst));
    drop(active);
    eventually("an empty pool", || pool.streams().is_empty());
}

#[test]
fn c24_without_a_place_an_async_source_is_refused_and_dropped() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let active = pool.stream_out(silent_until_stopped());
    let (source, dropped) = Watched::new(false);
    let (_, error) = read(small().pool(&pool).stream_out_async(source));
    assert_eq!(error.unwrap().kind(), ErrorKind::Busy);
    assert!(dropped.load(Ordering::SeqCst));
    // But one that transforms another stream needs no place of its own.
    let options = small().pool(&pool).within_admitted_stream(&active.handle());
    assert!(read(options.stream_out_async(items(10, 1))).1.is_none());
    drop(active);
    eventually("an empty pool", || {
        pool.active() == 0 && pool.streams().is_empty()
    });
    pool.refuse_new();
    let (source, _) = Watched::new(false);
    let (_, error) = read(small().pool(&pool).stream_out_async(source));
    assert_eq!(error.unwrap().kind(), ErrorKind::ShutDown);
}

#[test]
fn c23_a_shutdown_aborts_an_async_source() {
    let pool = StreamPool::new(PoolOptions::default());
    let (source, dropped) = Watched::new(true);
    let chunks = small().pool(&pool).stream_out_async(source);
    let reading = thread::spawn(move || read(chunks).1.unwrap().kind());
    let shutdown = pool.shutdown(Duration::from_millis(20), Duration::from_secs(10));
    assert_eq!((shutdown.aborted, shutdown.left), (1, 0));
    assert_eq!(reading.join().unwrap(), ErrorKind::ShutDown);
    assert!(dropped.load(Ordering::SeqCst));
}

#[test]
fn c25_a_consumer_that_does_not_poll_stalls_and_its_source_does_not() {
    let stall = Duration::from_millis(800);
    let (source, _dropped) = Watched::new(false);
    let options = small().consumer_stall(stall).source_stall(stall / 2);
    let mut chunks = options.stream_out_async(source);
    chunks.next_chunk_blocking().unwrap().unwrap();
    let handle = chunks.handle();
    eventually("the verdict", || handle.record().outcome.is_some());
    assert_eq!(handle.record().outcome, Some(Outcome::ClientStalled));
    let (_, error) = read(chunks);
    assert_eq!(error.unwrap().kind(), ErrorKind::ConsumerStalled);
}

#[test]
fn c25_a_consumer_that_pauses_an_async_source_for_too_long_stalls() {
    let (source, _dropped) = Watched::new(false);
    let options = small().consumer_stall(Duration::from_millis(100));
    let chunks = options.stream_out_async(source);
    chunks.handle().pause_producing();
    let (_, error) = within("the drop", || read(chunks));
    assert_eq!(error.unwrap().kind(), ErrorKind::ConsumerStalled);
}

#[test]
fn c25_an_async_source_that_has_nothing_stalls() {
    let (source, _dropped) = Watched::new(true);
    let options = small().source_stall(Duration::from_millis(100));
    let (_, error) = read(options.stream_out_async(source));
    assert_eq!(error.unwrap().kind(), ErrorKind::SourceStalled);
}

#[test]
fn c26_an_async_source_has_a_record() {
    let chunks = small()
        .context("/async")
        .length(5050)
        .stream_out_async(items(5050, 1010));
    let handle = chunks.handle();
    assert_eq!(handle.record().outcome, None);
    assert_eq!(read(chunks).0.len(), 5050);
    let record = handle.wait();
    assert_eq!(&*record.context, "/async");
    assert_eq!((record.bytes_written, record.bytes_delivered), (5050, 5050));
    assert_eq!(record.bytes_expected, Some(5050));
    assert!(record.time_to_first_byte.is_some());
    assert_eq!(record.outcome, Some(Outcome::Complete));
}

#[test]
fn a_source_that_wakes_from_elsewhere_wakes_its_reader() {
    let (sender, receiver) = futures_channel();
    let chunks = small().stream_out_async(receiver);
    let reading = thread::spawn(move || read(chunks));
    for piece in noise(100).chunks(10) {
        thread::sleep(Duration::from_millis(2));
        sender(Some(Bytes::copy_from_slice(piece)));
    }
    sender(None);
    let (bytes, error) = reading.join().unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, noise(100));
}

/// A channel whose receiver is an async source; `None` ends it.
fn futures_channel() -> (
    impl Fn(Option<Bytes>),
    impl Stream<Item = Result<Bytes, BoxError>> + Send,
) {
    use std::{collections::VecDeque, sync::Mutex, task::Waker};
    type Shared = Mutex<(VecDeque<Option<Bytes>>, Option<Waker>)>;
    let shared = Arc::new(Shared::default());
    let receiving = Arc::clone(&shared);
    let send = move |item| {
        let mut shared = shared.lock().unwrap();
        shared.0.push_back(item);
        let waker = shared.1.take();
        drop(shared);
        waker.into_iter().for_each(Waker::wake);
    };
    let receive = stream::poll_fn(move |cx| {
        let mut shared = receiving.lock().unwrap();
        match shared.0.pop_front() {
            Some(item) => Poll::Ready(item.map(Ok)),
            None => {
                shared.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    });
    (send, receive)
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_an_async_read_yields_streams_out() {
        let (mut peer, socket) = tokio::io::duplex(300);
        let chunks = small().stream_out_async_read(socket);
        let writing = tokio::spawn(async move {
            peer.write_all(&noise(10_500)).await.unwrap();
        });
        let mut all = Vec::new();
        assert_eq!(chunks.write_to_async(&mut all).await.unwrap(), 10_500);
        writing.await.unwrap();
        assert_eq!(all, noise(10_500));
    }

    #[tokio::test]
    async fn an_async_read_that_fails_is_a_failure() {
        let source = noise_then_failure();
        let mut chunks = small().stream_out_async_read(source);
        let mut all = Vec::new();
        let error = chunks.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(
            Error::find_in(&error).unwrap().kind(),
            ErrorKind::SourceFailed
        );
        assert_eq!(all, noise(1500));
    }

    fn noise_then_failure() -> impl tokio::io::AsyncRead + Send + 'static {
        struct Fails;
        impl tokio::io::AsyncRead for Fails {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                Poll::Ready(Err(std::io::Error::other(FAILURE)))
            }
        }
        std::io::Cursor::new(noise(1500)).chain(Fails)
    }

    #[tokio::test]
    async fn c13_a_delivery_is_a_future_whose_record_is_the_streams() {
        use datastreamer::push::DataStreamer;
        use datastreamer_testkit::{Recorder, noise_source};
        let (consumer, log) = Recorder::new();
        let streamer = DataStreamer::new(noise_source(100_000, 100), consumer).options(small());
        let record = streamer.start().unwrap().await;
        assert_eq!(record.outcome, Some(Outcome::Complete));
        assert!(log.bytes() == noise(100_000));
    }

    #[tokio::test]
    async fn c13_a_delivery_that_never_waits_leaves_the_other_tasks_their_turns() {
        use datastreamer::push::DataStreamer;
        use datastreamer_testkit::{Recorder, endless};
        let (consumer, _log) = Recorder::new();
        // So slow that there is always a chunk for it.
        let consumer = consumer.on_write(|_, _| {
            thread::sleep(Duration::from_millis(1));
            Ok(())
        });
        let streamer = DataStreamer::new(endless(100), consumer).options(small());
        let delivery = streamer.start().unwrap();
        let handle = delivery.handle();
        // This runtime has one thread: were it held, the sleep would never end.
        let delivering = tokio::spawn(delivery);
        tokio::time::sleep(Duration::from_millis(20)).await;
        handle.stop(Error::new(ErrorKind::Stopped, "seen enough"));
        assert_eq!(delivering.await.unwrap().outcome, Some(Outcome::Cancelled));
    }

    #[tokio::test]
    async fn the_end_of_a_stream_can_be_awaited() {
        let chunks = small().stream_out_async(items(100, 10));
        let ended = chunks.handle().ended();
        let reading = tokio::spawn(async move {
            let mut chunks = chunks;
            while let Some(chunk) = poll_fn(|cx| chunks.poll_chunk(cx)).await {
                chunk.unwrap();
            }
        });
        assert_eq!(ended.await.outcome, Some(Outcome::Complete));
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn c18_a_flush_or_a_last_write_that_fails_is_on_record() {
        for length in [None, Some(100)] {
            let (pipe, peer) = tokio::io::duplex(64);
            drop(peer);
            let mut pipe =
                tokio::io::BufWriter::with_capacity(if length.is_some() { 0 } else { 1000 }, pipe);
            let chunks = small().length(length).stream_out_async(items(100, 10));
            let handle = chunks.handle();
            let error = chunks.write_to_async(&mut pipe).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConsumerFailed);
            let record = handle.ended().await;
            assert_eq!(record.outcome, Some(Outcome::ClientGone));
            assert_eq!(record.error.unwrap().kind(), ErrorKind::ConsumerFailed);
        }
    }

    #[tokio::test]
    async fn c26_a_file_is_complete_only_when_its_last_byte_was_read() {
        for (reads, outcome) in [(99, Outcome::ClientGone), (100, Outcome::Complete)] {
            let mut chunks = small().length(100).stream_out_async(items(100, 10));
            let handle = chunks.handle();
            chunks.read_exact(&mut vec![0; reads]).await.unwrap();
            drop(chunks);
            assert_eq!(handle.ended().await.outcome, Some(outcome));
        }
    }

    #[tokio::test]
    async fn an_empty_read_takes_nothing_and_is_not_the_end() {
        let mut chunks = small().stream_out_async(items(100, 10));
        assert_eq!(chunks.read(&mut []).await.unwrap(), 0);
        let mut all = Vec::new();
        chunks.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, noise(100));
    }

    #[tokio::test]
    async fn bytes_left_counts_what_a_partial_read_has_left() {
        let mut chunks = small().length(2500).stream_out_async(items(2500, 2500));
        let mut piece = [0; 300];
        for read in 1..=3 {
            chunks.read_exact(&mut piece).await.unwrap();
            assert_eq!(chunks.bytes_left(), Some(2500 - read * 300));
        }
    }
}
