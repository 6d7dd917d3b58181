//! What every way out of a stream owes its client, checked over every way that this crate has.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use datastreamer::push::{DataStreamer, WriteConsumer};
use datastreamer::{ChunkReader, Error, Outcome, Record, StreamOptions};
use datastreamer_testkit::{
    Call, EventLoop, Log, Pull, Push, Received, Recorder, Source, WayOut, consumer_contract, within,
};

// ---- pulling ----

/// Collects all chunks; the verdict is the last item's.
fn collect(chunks: impl Iterator<Item = Result<Bytes, Error>>) -> Received {
    let mut bytes = Vec::new();
    for chunk in chunks {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                let verdict = Err(error.into());
                return Received { bytes, verdict };
            }
        }
    }
    let verdict = Ok(());
    Received { bytes, verdict }
}

/// Takes at least so many bytes, then drops the rest.
fn take(chunks: impl Iterator<Item = Result<Bytes, Error>>, bytes: u64) {
    let mut taken = 0;
    for chunk in chunks {
        taken += chunk.unwrap().len() as u64;
        if taken >= bytes {
            return;
        }
    }
    panic!("the stream ended by itself");
}

#[test]
fn the_iterator_keeps_the_contract() {
    consumer_contract(&Pull {
        name: "iterator",
        drain: |chunks| collect(chunks.into_iter()),
        leave_after: |chunks, bytes| take(chunks.into_iter(), bytes),
    });
}

/// Runs the contract on a faulty way; returns what it says.
fn complaint(drain: fn(ChunkReader) -> Received, leave_after: fn(ChunkReader, u64)) -> String {
    let way = Pull {
        name: "faulty",
        drain,
        leave_after,
    };
    let panic = std::panic::catch_unwind(|| consumer_contract(&way)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn the_contract_finds_faulty_ways() {
    let collected = |chunks: ChunkReader| collect(chunks.into_iter());
    let leave = |chunks: ChunkReader, bytes| take(chunks.into_iter(), bytes);
    let hides_failures = |chunks: ChunkReader| Received {
        verdict: Ok(()),
        ..collect(chunks.into_iter())
    };
    assert!(complaint(hides_failures, leave).contains("passed for a file"));
    let loses_a_byte = |chunks: ChunkReader| {
        let mut received = collect(chunks.into_iter());
        received.bytes.pop();
        received
    };
    assert!(complaint(loses_a_byte, leave).contains("faulty (chunks of 1 bytes): 1 bytes"));
    let leaves_late = |mut chunks: ChunkReader, bytes| {
        take(std::iter::from_fn(|| chunks.next_chunk_blocking()), bytes);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(chunks);
        });
    };
    assert!(complaint(collected, leaves_late).contains("mostly not below 50ms"));
}

#[test]
fn blocking_for_each_chunk_keeps_the_contract() {
    consumer_contract(&Pull {
        name: "next_chunk_blocking",
        drain: |mut chunks| collect(std::iter::from_fn(|| chunks.next_chunk_blocking())),
        leave_after: |mut chunks, bytes| {
            take(std::iter::from_fn(|| chunks.next_chunk_blocking()), bytes);
        },
    });
}

/// Accepts so many bytes, then fails, as a socket does whose peer has closed.
struct LeavingWriter(u64);

impl io::Write for LeavingWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0 = self.0.saturating_sub(data.len() as u64);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn write_to_keeps_the_contract() {
    consumer_contract(&Pull {
        name: "write_to",
        drain: |chunks| {
            let mut bytes = Vec::new();
            let verdict = chunks.write_to(&mut bytes).map(drop).map_err(Into::into);
            Received { bytes, verdict }
        },
        // It only notices at a write, so a silent source would keep it: it is left in between.
        leave_after: |mut chunks, bytes| {
            take(std::iter::from_fn(|| chunks.next_chunk_blocking()), bytes);
            if bytes > 1 {
                chunks.write_to(&mut LeavingWriter(1)).unwrap_err();
            }
        },
    });
}

// ---- pushing ----

/// A file in memory that can be looked at while somebody else owns its other end.
#[derive(Clone, Default)]
struct SharedFile(Arc<Mutex<Vec<u8>>>);

impl io::Write for SharedFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_write_consumer_keeps_the_contract() {
    consumer_contract(&Push {
        name: "WriteConsumer",
        make: || {
            let file = SharedFile::default();
            (WriteConsumer::new(file.clone()), file)
        },
        inspect: |consumer, file, record| {
            let whole = consumer.into_complete().ok_or("part of a file".into());
            agrees(record, whole.is_ok());
            Received {
                verdict: whole.map(drop),
                bytes: file.0.lock().unwrap().clone(),
            }
        },
    });
}

#[test]
fn a_push_consumer_keeps_the_contract() {
    consumer_contract(&Push {
        name: "Recorder",
        make: Recorder::new,
        inspect: |_, log, record| inspect(&log, record),
    });
}

#[test]
fn a_push_consumer_that_keeps_all_chunks_keeps_the_contract() {
    consumer_contract(&Push {
        name: "Recorder that keeps all chunks",
        make: || {
            let (consumer, log) = Recorder::new();
            (consumer.keeps_chunks(), log)
        },
        inspect: |_, log, record| inspect(&log, record),
    });
}

/// A push consumer that is called on an event loop of its own.
struct OnAnEventLoop {
    pauses: bool,
}

impl WayOut for OnAnEventLoop {
    fn name(&self) -> &str {
        "run_in"
    }

    fn receive(&self, options: StreamOptions, source: Source) -> Received {
        let (consumer, log) = Recorder::new();
        let pauses = self.pauses;
        let consumer = consumer.on_write(move |log, index| {
            if pauses && index % 3 == 0 {
                let producer = log.producer();
                producer.pause_producing();
                std::thread::spawn(move || producer.resume_producing());
            }
            Ok(())
        });
        let record = self.run(options, source, consumer);
        inspect(&log, &record)
    }

    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant {
        let (consumer, log) = Recorder::new();
        let left = Arc::new(Mutex::new(None));
        let consumer = consumer.on_write({
            let left = Arc::clone(&left);
            move |log, _| {
                if log.bytes().len() as u64 >= bytes {
                    assert!(left.lock().unwrap().replace(Instant::now()).is_none());
                    log.hang_up().notify("the client left");
                }
                Ok(())
            }
        });
        self.run(options, source, consumer);
        assert_eq!(log.calls_but_writes(), [Call::Register, Call::NotifyHangUp]);
        left.lock().unwrap().unwrap()
    }
}

impl OnAnEventLoop {
    fn run(&self, options: StreamOptions, source: Source, consumer: Recorder) -> Record {
        let context = EventLoop::start();
        let streamer = DataStreamer::new(source, consumer).options(options);
        let handle = streamer.start().unwrap().run_in(context.call_later());
        within("the end of the stream", move || handle.wait())
    }
}

#[test]
fn a_push_consumer_on_an_event_loop_keeps_the_contract() {
    consumer_contract(&OnAnEventLoop { pauses: false });
}

#[test]
fn a_push_consumer_that_pauses_keeps_the_contract() {
    consumer_contract(&OnAnEventLoop { pauses: true });
}

fn inspect(log: &Log, record: &Record) -> Received {
    let finished = log.calls().contains(&Call::Finish);
    let aborted = log
        .calls()
        .iter()
        .any(|call| matches!(call, Call::Abort(_)));
    assert!(
        finished != aborted,
        "one end, and only one: {:?}",
        log.calls()
    );
    agrees(record, finished);
    let verdict = log.aborted_with().map_or(Ok(()), |error| Err(error.into()));
    let bytes = log.bytes();
    Received { bytes, verdict }
}

/// The record must not tell another story than the client.
fn agrees(record: &Record, whole: bool) {
    assert_eq!(
        record.outcome == Some(Outcome::Complete),
        whole,
        "{record:?}"
    );
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_all().build().unwrap().block_on(future)
}

// ---- behind features ----

#[cfg(feature = "tokio")]
#[test]
fn awaiting_each_chunk_keeps_the_contract() {
    consumer_contract(&Pull {
        name: "next_chunk",
        drain: |mut chunks| collect(std::iter::from_fn(|| block_on(chunks.next_chunk()))),
        leave_after: |mut chunks, bytes| {
            take(std::iter::from_fn(|| block_on(chunks.next_chunk())), bytes);
        },
    });
}

#[cfg(feature = "tokio")]
#[test]
fn the_stream_keeps_the_contract() {
    use futures_util::StreamExt;
    consumer_contract(&Pull {
        name: "Stream",
        drain: |chunks| collect(block_on(chunks.collect::<Vec<_>>()).into_iter()),
        leave_after: |mut chunks, bytes| {
            take(std::iter::from_fn(|| block_on(chunks.next())), bytes);
        },
    });
}

#[cfg(feature = "tokio")]
#[test]
fn the_async_read_keeps_the_contract() {
    use tokio::io::AsyncReadExt;
    consumer_contract(&Pull {
        name: "AsyncRead",
        drain: |mut chunks| {
            block_on(async move {
                let mut bytes = Vec::new();
                // Sizes that cut chunks in two.
                let mut piece = [0; 313];
                let verdict = loop {
                    match chunks.read(&mut piece).await {
                        Ok(0) => break Ok(()),
                        Ok(read) => bytes.extend_from_slice(&piece[..read]),
                        Err(error) => {
                            assert!(Error::find_in(&error).is_some(), "{error:?}");
                            break Err(error.into());
                        }
                    }
                };
                Received { bytes, verdict }
            })
        },
        leave_after: |mut chunks, bytes| {
            let mut taken = vec![0; bytes as usize];
            block_on(chunks.read_exact(&mut taken)).unwrap();
        },
    });
}

#[cfg(feature = "tokio")]
#[test]
fn write_to_async_keeps_the_contract() {
    use tokio::io::AsyncReadExt;
    consumer_contract(&Pull {
        name: "write_to_async",
        drain: |chunks| {
            let mut bytes = Vec::new();
            let verdict = block_on(chunks.write_to_async(&mut bytes));
            let verdict = verdict.map(drop).map_err(Into::into);
            Received { bytes, verdict }
        },
        leave_after: |mut chunks, bytes| {
            block_on(async move {
                let mut taken = vec![0; bytes as usize];
                chunks.read_exact(&mut taken).await.unwrap();
                if bytes > 1 {
                    let (mut client, server) = tokio::io::duplex(64);
                    drop(server);
                    chunks.write_to_async(&mut client).await.unwrap_err();
                }
            });
        },
    });
}

#[cfg(all(feature = "http-body", feature = "tokio"))]
#[test]
fn the_body_keeps_the_contract() {
    use http_body_util::BodyExt;
    fn frames(mut body: datastreamer::ChunkReader) -> impl Iterator<Item = Result<Bytes, Error>> {
        std::iter::from_fn(move || {
            let frame = block_on(body.frame());
            frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
        })
    }
    consumer_contract(&Pull {
        name: "Body",
        drain: |chunks| collect(frames(chunks)),
        leave_after: |chunks, bytes| take(frames(chunks), bytes),
    });
}

/// A delivery that is awaited by a task.
#[cfg(feature = "tokio")]
struct Awaited;

#[cfg(feature = "tokio")]
impl WayOut for Awaited {
    fn name(&self) -> &str {
        "Delivery as a future"
    }

    fn receive(&self, options: StreamOptions, source: Source) -> Received {
        let (consumer, log) = Recorder::new();
        let delivery = DataStreamer::new(source, consumer)
            .options(options)
            .start()
            .unwrap();
        let record = block_on(delivery);
        let own = std::thread::current().id();
        assert!(log.threads().iter().all(|thread| *thread == own));
        inspect(&log, &record)
    }

    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant {
        let (consumer, log) = Recorder::new();
        let delivery = DataStreamer::new(source, consumer)
            .options(options)
            .start()
            .unwrap();
        let handle = delivery.handle();
        block_on(async {
            let task = tokio::spawn(delivery);
            while (log.bytes().len() as u64) < bytes {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        let left = Instant::now();
        handle.wait();
        left
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_delivery_that_is_awaited_keeps_the_contract() {
    consumer_contract(&Awaited);
}
