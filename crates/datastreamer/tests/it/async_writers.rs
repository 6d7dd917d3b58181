//! Sources that are futures with a writer: the same promises as for a source on a thread.

use std::{
    future::{pending, poll_fn},
    io,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use crate::support::read;
use bytes::Bytes;
use datastreamer::{
    AsyncStreamWriter, Error, ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool,
    stream_out, stream_out_async_write,
};
use datastreamer_testkit::{BoxError, FAILURE, eventually, noise, within};

/// A deadline that is short for a test and long beside what a loaded machine does to threads.
const STALL: Duration = Duration::from_millis(400);

fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000)
}

async fn write_noise(
    out: &mut AsyncStreamWriter,
    bytes: usize,
    write_bytes: usize,
) -> Result<(), Error> {
    for piece in noise(bytes).chunks(write_bytes) {
        out.write_slice(piece).await?;
    }
    Ok(())
}

/// Notes that it was dropped.
struct NoteDrop(Arc<AtomicBool>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_writer_in_another_task_waits_for_the_place_of_its_stream() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let first = pool.stream_out(datastreamer_testkit::silent_until_stopped());
    let (give, given) = std::sync::mpsc::channel();
    let second = small().pool(&pool).stream_out_async_write(move |out| {
        give.send(out).unwrap();
        pending::<Result<(), Error>>()
    });
    let mut out = given.recv().unwrap();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(out.poll_write(&mut cx, b"early").is_pending());
    assert_eq!(pool.waiting(), 1);
    drop(first);
    eventually("the place", || {
        matches!(out.poll_write(&mut cx, b"early"), Poll::Ready(Ok(5)))
    });
    drop(second);
}

#[test]
fn what_an_async_writer_writes_arrives_in_order_without_a_thread() {
    let pool = StreamPool::new(PoolOptions::default());
    for write_bytes in [1, 7, 999, 1000, 1001, 50_000] {
        let chunks = small()
            .pool(&pool)
            .stream_out_async_write(async move |mut out| {
                write_noise(&mut out, 100_500, write_bytes).await
            });
        let handle = chunks.handle();
        let (bytes, error) = read(chunks);
        assert!(error.is_none(), "{error:?}");
        assert!(bytes == noise(100_500), "writes of {write_bytes} bytes");
        let record = handle.wait();
        assert_eq!(record.outcome, Some(Outcome::Complete));
        assert_eq!(
            (record.bytes_written, record.bytes_delivered),
            (100_500, 100_500)
        );
    }
    assert_eq!((pool.threads(), pool.active()), (0, 0));
}

#[test]
fn c09_an_owned_buffer_passes_without_a_copy() {
    let data = Bytes::from(noise(50_000));
    let sent = data.clone();
    let chunks = StreamOptions::new()
        .chunk_bytes(20_000)
        .stream_out_async_write(async move |mut out| {
            out.write_slice(b"before").await?;
            out.write_bytes(sent).await
        });
    let chunks: Vec<Bytes> = chunks.into_iter().map(Result::unwrap).collect();
    assert_eq!(chunks[0], "before");
    assert_eq!(chunks[1].as_ptr(), data.as_ptr());
    assert_eq!(chunks[3].as_ptr(), data[40_000..].as_ptr());
}

#[test]
fn c20_the_result_of_the_future_is_the_verdict() {
    for bytes in [0, 1, 999, 1000, 5050] {
        let chunks = small().stream_out_async_write(async move |mut out| {
            write_noise(&mut out, bytes, 77).await?;
            Err::<(), BoxError>(FAILURE.into())
        });
        let (got, error) = read(chunks);
        assert_eq!(got, noise(bytes), "all valid bytes come first");
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::SourceFailed);
        assert!(error.to_string().ends_with(FAILURE));
    }
    let chunks = small().stream_out_async_write(async |mut out| -> Result<(), Error> {
        write_noise(&mut out, 1500, 77).await?;
        std::panic::resume_unwind(Box::new("a quiet panic"))
    });
    let (got, error) = read(chunks);
    assert_eq!(got, noise(1500));
    assert_eq!(
        error.unwrap().to_string(),
        "the source panicked: a quiet panic"
    );
}

#[test]
fn c20_a_failure_within_a_success_is_a_failure() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let fails = async || Err::<(), _>(io::Error::other(FAILURE));
    let timed = tokio::time::timeout(Duration::from_secs(60), fails());
    let spawned = tokio::spawn(fails());
    for (chunks, text) in [
        (
            stream_out_async_write(async move |_out| timed.await),
            FAILURE,
        ),
        (
            stream_out_async_write(async move |_out| spawned.await),
            FAILURE,
        ),
        (
            stream_out(|_out| Ok::<_, Error>(Err::<u64, _>(io::Error::other(FAILURE)))),
            FAILURE,
        ),
        (
            stream_out(|_out| Command::new("false").status()),
            "exit status: 1",
        ),
    ] {
        let (_, error) = read(chunks);
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::SourceFailed);
        assert!(error.to_string().ends_with(text), "{error}");
    }
    let (_, error) = read(stream_out(|_out| Command::new("true").status()));
    assert!(error.is_none());
}

#[test]
fn c20_a_broken_promise_of_length_is_a_failure() {
    for (promised, bytes) in [(1000, 0), (1000, 999), (1000, 1001), (1000, 30_000), (0, 1)] {
        let chunks = small()
            .length(promised)
            .stream_out_async_write(async move |mut out| {
                // Also if the source takes no notice.
                let _refused = write_noise(&mut out, bytes, 77).await;
            });
        let (got, error) = read(chunks);
        assert_eq!(error.unwrap().kind(), ErrorKind::LengthMismatch);
        assert!(
            (got.len() as u64) < promised.max(1),
            "{bytes} of {promised}"
        );
        assert!(got == noise(got.len()));
    }
    let chunks = small().stream_out_async_write(async |mut out| {
        out.promise_length(5050)?;
        write_noise(&mut out, 5050, 77).await
    });
    assert_eq!(read(chunks).0, noise(5050));
}

#[test]
fn c08_a_consumer_that_reads_nothing_bounds_what_is_written() {
    let chunks = small()
        .buffer_bytes(10_000)
        .stream_out_async_write(async |mut out| {
            loop {
                out.write_slice(&[7; 333]).await?;
            }
            #[expect(unreachable_code, reason = "it gives the type of the result")]
            Ok::<(), Error>(())
        });
    let handle = chunks.handle();
    let mut chunks = chunks;
    let held: Vec<_> = (0..3)
        .map(|_| chunks.next_chunk_blocking().unwrap().unwrap())
        .collect();
    assert!(
        handle.record().bytes_written <= 10_000,
        "{:?}",
        handle.record()
    );
    drop(held);
}

#[test]
fn c11_what_is_written_goes_out_when_the_future_waits() {
    let mut chunks = small().stream_out_async_write(async |mut out| {
        write_noise(&mut out, 30, 10).await?;
        pending::<Result<(), Error>>().await
    });
    let chunk = within("the chunk", move || chunks.next_chunk_blocking());
    assert_eq!(chunk.unwrap().unwrap(), noise(30));
}

#[test]
fn c15_a_writer_that_is_kept_beyond_the_end_is_refused() {
    let (keep, kept) = std::sync::mpsc::channel();
    let chunks = small().stream_out_async_write(async move |mut out| {
        out.write_slice(b"a file").await?;
        keep.send(out).unwrap();
        Ok::<(), Error>(())
    });
    let (bytes, error) = read(chunks);
    assert_eq!(
        (bytes.as_slice(), error.is_none()),
        (b"a file".as_slice(), true)
    );
    let mut out = kept.recv().unwrap();
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = out.poll_write(cx, b"more") else {
        panic!("accepted");
    };
    assert_eq!(error.kind(), ErrorKind::Ended);
    assert_eq!(
        out.fail(Error::source_failed("late")).kind(),
        ErrorKind::Ended
    );
}

#[test]
fn c17_a_stop_drops_the_future_although_nobody_polls_the_reader() {
    for silent in [true, false] {
        let dropped = Arc::new(AtomicBool::new(false));
        let note = NoteDrop(Arc::clone(&dropped));
        let mut chunks = small().stream_out_async_write(async move |mut out| {
            let _note = note;
            out.write_slice(&[7; 1000]).await?;
            if silent {
                pending::<()>().await;
            }
            loop {
                out.write_slice(&[7; 1000]).await?;
            }
            #[expect(unreachable_code, reason = "it gives the type of the result")]
            Ok::<(), Error>(())
        });
        let handle = chunks.handle();
        chunks.next_chunk_blocking().unwrap().unwrap();
        // From here on the reader is kept, as hyper keeps a body for which the socket has no room.
        handle.stop(Error::new(ErrorKind::Stopped, "a test"));
        eventually("the drop of the future", || dropped.load(Ordering::SeqCst));
        drop(chunks);
        assert_eq!(handle.wait().outcome, Some(Outcome::Cancelled));
    }
}

#[test]
fn c17_dropping_the_reader_drops_the_future_at_once() {
    let pool = StreamPool::new(PoolOptions::default());
    let dropped = Arc::new(AtomicBool::new(false));
    let note = NoteDrop(Arc::clone(&dropped));
    let mut chunks = small()
        .pool(&pool)
        .stream_out_async_write(async move |mut out| {
            let _note = note;
            out.write_slice(&[7; 1000]).await?;
            pending::<Result<(), Error>>().await
        });
    chunks.next_chunk_blocking().unwrap().unwrap();
    drop(chunks);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(pool.active(), 0);
}

#[test]
fn a_writer_may_work_in_another_task() {
    let chunks = small()
        .buffer_bytes(4000)
        .stream_out_async_write(|mut out| {
            let (done, mut is_done) = oneshot();
            thread::spawn(move || {
                let written = block_on(write_noise(&mut out, 100_000, 333));
                done(written);
            });
            poll_fn(move |cx| is_done(cx))
        });
    let (bytes, error) = read(chunks);
    assert!(error.is_none(), "{error:?}");
    assert!(bytes == noise(100_000));
}

/// A value that one thread sends and a future receives.
fn oneshot<T: Send + 'static>() -> (
    impl FnOnce(T) + Send,
    impl FnMut(&mut std::task::Context<'_>) -> Poll<T> + Send,
) {
    use std::{sync::Mutex, task::Waker};
    type Shared<T> = Mutex<(Option<T>, Option<Waker>)>;
    let shared: Arc<Shared<T>> = Arc::new(Mutex::new((None, None)));
    let sending = Arc::clone(&shared);
    let send = move |value| {
        let mut shared = sending.lock().unwrap();
        shared.0 = Some(value);
        shared.1.take().into_iter().for_each(Waker::wake);
    };
    let receive = move |cx: &mut std::task::Context<'_>| {
        let mut shared = shared.lock().unwrap();
        shared.1 = Some(cx.waker().clone());
        shared.0.take().map_or(Poll::Pending, Poll::Ready)
    };
    (send, receive)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn c25_a_future_that_waits_for_too_long_stalls_and_one_whose_consumer_does_not_read_does_not() {
    let silent = small().source_stall(STALL);
    let chunks = silent.stream_out_async_write(async |_out| pending::<()>().await);
    assert_eq!(read(chunks).1.unwrap().kind(), ErrorKind::SourceStalled);
    let options = small().consumer_stall(2 * STALL).source_stall(STALL);
    let mut chunks = options
        .stream_out_async_write(async |mut out| write_noise(&mut out, 1_000_000, 1000).await);
    chunks.next_chunk_blocking().unwrap().unwrap();
    let handle = chunks.handle();
    eventually("the verdict", || handle.record().outcome.is_some());
    assert_eq!(handle.record().outcome, Some(Outcome::ClientStalled));
}

#[test]
fn c24_a_future_waits_for_its_place_and_is_dropped_without_one() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .max_active(1)
            .max_waiting(1)
            .queue_timeout(Duration::from_millis(200)),
    );
    let start = || {
        let dropped = Arc::new(AtomicBool::new(false));
        let note = NoteDrop(Arc::clone(&dropped));
        let chunks = small()
            .pool(&pool)
            .stream_out_async_write(async move |_out| {
                let _note = note;
                pending::<()>().await;
            });
        (chunks, dropped)
    };
    let (active, _) = start();
    let (waiting, waiting_dropped) = start();
    let (refused, refused_dropped) = start();
    assert_eq!(read(refused).1.unwrap().kind(), ErrorKind::Busy);
    assert!(refused_dropped.load(Ordering::SeqCst));
    assert_eq!(
        read(waiting).1.unwrap().kind(),
        ErrorKind::Busy,
        "not in time"
    );
    eventually("its drop", || waiting_dropped.load(Ordering::SeqCst));
    drop(active);
    eventually("an empty pool", || pool.streams().is_empty());
}

#[test]
fn nothing_can_be_written_behind_a_failure() {
    let chunks = stream_out_async_write(async |mut out| {
        out.write_slice(b"valid").await?;
        let failed = out.fail(Error::source_failed("row 7"));
        let refused = out.write_slice(b"the end of the archive").await;
        assert_eq!(refused.unwrap_err().to_string(), failed.to_string());
        Ok::<(), Error>(())
    });
    let (bytes, error) = read(chunks);
    assert_eq!(bytes, b"valid");
    assert_eq!(error.unwrap().to_string(), "the source failed: row 7");
}

#[test]
fn nothing_is_written_before_there_is_a_place() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let active = small()
        .pool(&pool)
        .stream_out_async_write(async |_out| pending::<()>().await);
    let (send, sent) = std::sync::mpsc::channel();
    let mut waiting = small().pool(&pool).stream_out_async_write(|out| {
        send.send(out).unwrap();
        pending::<()>()
    });
    let mut out = sent.recv().unwrap();
    let writing = thread::spawn(move || block_on(out.write_slice(&noise(5000))));
    thread::sleep(Duration::from_millis(50));
    assert_eq!(pool.waiting(), 1);
    assert_eq!(waiting.handle().record().bytes_written, 0);
    drop(active);
    let mut bytes = 0;
    while bytes < 5000 {
        bytes += waiting.next_chunk_blocking().unwrap().unwrap().len();
    }
    writing.join().unwrap().unwrap();
}

#[test]
fn a_consumer_that_collects_loses_nothing_to_whoever_pauses_and_resumes() {
    use datastreamer::push::Producer;
    for _ in 0..30 {
        let chunks = StreamOptions::new()
            .chunk_bytes(1)
            .buffer_bytes(2)
            .stream_out_async_write(async |mut out| {
                for byte in noise(300).chunks(1) {
                    out.write_slice(byte).await?;
                }
                Ok::<(), Error>(())
            });
        let handle = chunks.handle();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pausing = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                handle.pause_producing();
                handle.resume_producing();
            }
        });
        let kept: Vec<Bytes> = chunks.into_iter().map(Result::unwrap).collect();
        stop.store(true, Ordering::SeqCst);
        pausing.join().unwrap();
        assert_eq!(kept.concat(), noise(300));
    }
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn tokios_copy_and_writes_go_through() {
        let chunks = small().stream_out_async_write(async |mut out| {
            let mut source = std::io::Cursor::new(noise(100_000));
            tokio::io::copy(&mut source, &mut out).await?;
            out.write_all(b"and more").await?;
            out.shutdown().await
        });
        let mut all = Vec::new();
        assert_eq!(chunks.write_to_async(&mut all).await.unwrap(), 100_008);
        assert!(all[..100_000] == noise(100_000) && all.ends_with(b"and more"));
    }

    #[tokio::test]
    async fn a_refused_write_is_an_io_error_that_has_the_reason() {
        let (tell, told) = std::sync::mpsc::channel();
        let chunks = small().stream_out_async_write(async move |mut out| {
            out.fail(Error::source_failed("row 7"));
            let refused = out.write_all(b"x").await.unwrap_err();
            tell.send(Error::find_in(&refused).map(Error::kind))
                .unwrap();
        });
        assert!(chunks.read_to_vec().is_err());
        assert_eq!(told.recv().unwrap(), Some(ErrorKind::SourceFailed));
    }
}
