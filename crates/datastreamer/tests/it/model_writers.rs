//! Any number of writers to one stream: what arrives are their pieces, each whole and each writer's in
//! order, and a stop reaches all of them.
//!
//! `model.rs` has one writer and all ways of consuming; this file has several writers, and the promise
//! of a length, in front of one consumer. A piece says whose it is, which one, and how long.
//! `PROPTEST_CASES` sets how many streams are tried.

use std::{
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use datastreamer::push::Producer;
use datastreamer::{
    AsyncStreamWriter, ChunkReader, Error, ErrorKind, Outcome, Record, StreamOptions, StreamWriter,
};
use datastreamer_testkit::{BoxError, FAILURE, eventually, within};
use proptest::prelude::*;

/// The writer, the number of the piece, and the length of what follows.
const HEAD_BYTES: usize = 1 + 4 + 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    WriteOwned(usize),
    Flush,
    SetChunkBytes(usize),
    Nap,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    ReadsAll,
    KeepsAll,
    Naps,
    Pauses,
    LeavesAfter(usize),
    StopsAfter(usize),
    /// The first writer fails the stream after so many pieces.
    WriterFailsAfter(usize),
}

/// A length that is promised, off from the truth by so much.
#[derive(Clone, Copy, Debug)]
struct Promise {
    off: i64,
    /// By the source, when it runs.
    is_late: bool,
}

#[derive(Clone, Debug)]
struct Plan {
    /// Of each writer. The first step is a write.
    writers: Vec<Vec<Step>>,
    chunk_bytes: usize,
    buffer_bytes: usize,
    flush_after: Option<Duration>,
    promise: Option<Promise>,
    behaviour: Behaviour,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..150usize).prop_map(Step::Write),
        2 => (0..4000usize).prop_map(Step::Write),
        1 => (0..30_000usize).prop_map(Step::WriteOwned),
        2 => Just(Step::Flush),
        1 => (0..2000usize).prop_map(Step::SetChunkBytes),
        1 => Just(Step::Nap),
    ]
}

fn writer() -> impl Strategy<Value = Vec<Step>> {
    ((0..150usize), prop::collection::vec(step(), 0..12)).prop_map(|(first, mut steps)| {
        steps.insert(0, Step::Write(first));
        steps
    })
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        3 => Just(Behaviour::ReadsAll),
        1 => Just(Behaviour::KeepsAll),
        1 => Just(Behaviour::Naps),
        2 => Just(Behaviour::Pauses),
        2 => (0..12usize).prop_map(Behaviour::LeavesAfter),
        2 => (0..12usize).prop_map(Behaviour::StopsAfter),
        2 => (0..12usize).prop_map(Behaviour::WriterFailsAfter),
    ]
}

fn promise() -> impl Strategy<Value = Promise> {
    let off = prop_oneof![2 => Just(0), 1 => -3..0i64, 1 => 1..4i64];
    (off, any::<bool>()).prop_map(|(off, is_late)| Promise { off, is_late })
}

fn plan(writers: std::ops::Range<usize>) -> impl Strategy<Value = Plan> {
    let options = (
        1..2000usize,
        0..10_000usize,
        prop_oneof![Just(None), Just(Some(Duration::from_millis(1)))],
        prop::option::weighted(0.4, promise()),
    );
    let writers = prop::collection::vec(writer(), writers);
    (writers, options, behaviour()).prop_map(
        |(writers, (chunk_bytes, buffer_bytes, flush_after, promise), behaviour)| Plan {
            writers,
            chunk_bytes,
            buffer_bytes,
            flush_after,
            promise,
            behaviour,
        },
    )
}

impl Plan {
    /// What each writer writes if nothing stops it and it does not repeat its steps.
    fn pieces(&self) -> Vec<usize> {
        let pieces = |steps: &Vec<Step>| steps.iter().filter_map(Step::payload).count();
        self.writers.iter().map(pieces).collect()
    }

    fn bytes(&self) -> usize {
        let steps = self.writers.iter().flatten();
        let payloads = steps.filter_map(Step::payload);
        payloads.map(|payload| HEAD_BYTES + payload).sum()
    }

    fn promised(&self) -> Option<u64> {
        self.promise
            .map(|promise| (self.bytes() as i64 + promise.off) as u64)
    }

    /// Why the stream is broken off for certain: then all writers write until they are told.
    fn reason(&self) -> Option<ErrorKind> {
        match self.behaviour {
            _ if self.promise.is_some() => None,
            Behaviour::LeavesAfter(_) => Some(ErrorKind::HangUp),
            Behaviour::StopsAfter(_) => Some(ErrorKind::Stopped),
            Behaviour::WriterFailsAfter(_) => Some(ErrorKind::SourceFailed),
            _ => None,
        }
    }

    fn options(&self) -> StreamOptions {
        let early = self.promise.filter(|promise| !promise.is_late);
        StreamOptions::new()
            .chunk_bytes(self.chunk_bytes)
            .buffer_bytes(self.buffer_bytes)
            .flush_after(self.flush_after)
            .length(early.and(self.promised()))
    }

    /// Whether a writer fails the stream before this piece.
    fn fails_before(&self, writer: usize, piece: usize) -> bool {
        writer == 0 && self.behaviour == Behaviour::WriterFailsAfter(piece)
    }
}

impl Step {
    fn payload(&self) -> Option<usize> {
        match self {
            Self::Write(bytes) | Self::WriteOwned(bytes) => Some(*bytes),
            Self::Flush | Self::SetChunkBytes(_) | Self::Nap => None,
        }
    }
}

fn piece(writer: usize, index: usize, payload: usize) -> Vec<u8> {
    let mut piece = vec![writer as u8];
    piece.extend_from_slice(&(index as u32).to_be_bytes());
    piece.extend_from_slice(&(payload as u32).to_be_bytes());
    piece.extend((0..payload).map(|at| (at + 31 * writer + 7 * index) as u8));
    piece
}

/// What one writer did.
#[derive(Debug)]
struct Written {
    accepted: usize,
    /// Why it ended early, and what it was told when it tried again.
    refused: Option<(ErrorKind, ErrorKind)>,
}

fn write(plan: &Plan, writer: usize, out: &StreamWriter) -> Written {
    let mut accepted = 0;
    let run = |step: Step, accepted: &mut usize| -> Result<(), Error> {
        if step.payload().is_some() && plan.fails_before(writer, *accepted) {
            return Err(out.fail(Error::source_failed(FAILURE)));
        }
        match step {
            Step::Write(payload) => out.write_slice(&piece(writer, *accepted, payload))?,
            Step::WriteOwned(payload) => {
                out.write_bytes(Bytes::from(piece(writer, *accepted, payload)))?;
            }
            Step::Flush => out.flush_now()?,
            Step::SetChunkBytes(bytes) => out.set_chunk_bytes(bytes),
            Step::Nap => thread::sleep(Duration::from_millis(1)),
        }
        if step.payload().is_some() {
            *accepted += 1;
            out.add_rows(1);
        }
        Ok(())
    };
    loop {
        for step in &plan.writers[writer] {
            if let Err(error) = run(*step, &mut accepted) {
                let again = out.write_slice(b"?").unwrap_err();
                let refused = Some((error.kind(), again.kind()));
                return Written { accepted, refused };
            }
        }
        if plan.reason().is_none() {
            return Written {
                accepted,
                refused: None,
            };
        }
    }
}

type Notes = Arc<Mutex<Vec<Written>>>;

/// Runs each writer on a thread of its own; notes what they did.
fn source(plan: &Plan, out: &StreamWriter, notes: &Notes) -> Result<(), BoxError> {
    if let Some(promised) = plan.promised() {
        out.promise_length(promised)?;
    }
    let written: Vec<Written> = thread::scope(|scope| {
        let start = |writer| {
            let out = out.clone();
            scope.spawn(move || write(plan, writer, &out))
        };
        let threads: Vec<_> = (0..plan.writers.len()).map(start).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    *notes.lock().unwrap() = written;
    Ok(())
}

/// What the consumer saw.
struct Seen {
    bytes: Vec<u8>,
    /// `None` if it left before the end.
    end: Option<Result<(), Error>>,
    record: Record,
}

fn consume(plan: &Plan, mut chunks: ChunkReader) -> Seen {
    let handle = chunks.handle();
    let (mut bytes, mut kept, mut end, mut taken) = (Vec::new(), Vec::new(), None, 0);
    while end.is_none() {
        match plan.behaviour {
            Behaviour::LeavesAfter(count) if taken == count => break,
            Behaviour::StopsAfter(count) if taken == count => {
                handle.stop(Error::new(ErrorKind::Stopped, "a test"));
            }
            Behaviour::Naps if taken % 8 == 0 => thread::sleep(Duration::from_millis(1)),
            Behaviour::Pauses if taken % 2 == 0 => {
                let producer = handle.clone();
                producer.pause_producing();
                thread::spawn(move || producer.resume_producing());
            }
            _ => {}
        }
        match chunks.next_chunk_blocking() {
            Some(Ok(chunk)) => {
                bytes.extend_from_slice(&chunk);
                taken += 1;
                if plan.behaviour == Behaviour::KeepsAll {
                    kept.push(chunk);
                }
            }
            Some(Err(error)) => end = Some(Err(error)),
            None => end = Some(Ok(())),
        }
    }
    drop(chunks);
    let record = handle.wait();
    Seen { bytes, end, record }
}

/// Counts each writer's pieces, and the bytes behind the last whole one, which must be the beginning
/// of the next one of some writer.
fn parse(writers: usize, mut bytes: &[u8]) -> (Vec<usize>, usize) {
    let mut counts = vec![0; writers];
    while bytes.len() >= HEAD_BYTES {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (writer, index, payload) = (usize::from(bytes[0]), number(1), number(5));
        assert!(writer < writers, "no piece begins here");
        assert_eq!(index, counts[writer], "writer {writer}: out of order");
        let whole = piece(writer, index, payload);
        let there = whole.len().min(bytes.len());
        assert_eq!(bytes[..there], whole[..there], "a torn piece");
        if there < whole.len() {
            break;
        }
        counts[writer] += 1;
        bytes = &bytes[there..];
    }
    (counts, bytes.len())
}

fn check(plan: &Plan, seen: &Seen, written: &[Written]) {
    let Seen { bytes, end, record } = seen;
    let (counts, tail) = parse(plan.writers.len(), bytes);
    let accepted: Vec<usize> = written.iter().map(|it| it.accepted).collect();
    let refused: Vec<ErrorKind> = written
        .iter()
        .filter_map(|it| it.refused)
        .map(|(kind, again)| {
            assert_eq!(kind, again, "told something else later");
            kind
        })
        .collect();
    // ---- what every stream keeps ----
    assert!(
        counts.iter().zip(&accepted).all(|(got, sent)| got <= sent),
        "{counts:?} of {accepted:?}"
    );
    assert!(bytes.len() as u64 <= record.bytes_delivered);
    assert!(record.bytes_delivered <= record.bytes_written);
    // ---- how it ended ----
    if let Some(reason) = plan.reason() {
        assert_eq!(refused, vec![reason; written.len()], "not all were told");
        let told = end.as_ref().map(|end| end.as_ref().unwrap_err().kind());
        let left = matches!(plan.behaviour, Behaviour::LeavesAfter(_));
        assert_eq!(told, (!left).then_some(reason));
        if let Behaviour::WriterFailsAfter(pieces) = plan.behaviour {
            assert_eq!(counts[0], pieces, "valid pieces before the failure");
        }
        return;
    }
    match end {
        Some(Ok(())) => {
            assert_eq!(record.outcome, Some(Outcome::Complete));
            assert_eq!((&counts, tail), (&plan.pieces(), 0));
            assert_eq!(bytes.len(), plan.bytes());
            assert_eq!(record.bytes_delivered, record.bytes_written);
            assert_eq!(record.rows as usize, accepted.iter().sum::<usize>());
            assert!(plan.promised().is_none_or(|it| it == bytes.len() as u64));
        }
        Some(Err(error)) => {
            let promised = plan.promised().unwrap();
            assert!((bytes.len() as u64) < promised, "counts as whole");
            assert_eq!(Some(error.outcome()), record.outcome);
        }
        None => assert!(matches!(plan.behaviour, Behaviour::LeavesAfter(_))),
    }
    let disturbed = matches!(
        plan.behaviour,
        Behaviour::LeavesAfter(_) | Behaviour::StopsAfter(_) | Behaviour::WriterFailsAfter(_)
    );
    if let (Some(end), false) = (end, disturbed) {
        let off = plan.promise.map_or(0, |promise| promise.off);
        let kind = end.as_ref().err().map(Error::kind);
        assert_eq!(kind, (off != 0).then_some(ErrorKind::LengthMismatch));
        // Whoever exceeds the length is told, and all that write after it.
        assert!(refused.iter().all(|it| *it == ErrorKind::LengthMismatch));
        assert_eq!(!refused.is_empty(), off < 0);
        if off >= 0 {
            assert_eq!(bytes.len(), plan.bytes());
        }
    }
}

fn run(plan: &Plan) {
    let notes = Notes::default();
    let late = Arc::new(Mutex::new(None));
    let (noting, keeping, running) = (Arc::clone(&notes), Arc::clone(&late), plan.clone());
    let chunks = plan.options().stream_out(move |out| {
        *keeping.lock().unwrap() = Some(out.clone());
        source(&running, out, &noting)
    });
    let consuming = plan.clone();
    let seen = within("the end of the stream", move || consume(&consuming, chunks));
    check_late(late.lock().unwrap().take());
    let written = std::mem::take(&mut *notes.lock().unwrap());
    if written.is_empty() {
        // Stopped before its source ran, or before it could promise.
        assert!(matches!(
            plan.behaviour,
            Behaviour::LeavesAfter(0) | Behaviour::StopsAfter(0)
        ));
        return;
    }
    check(plan, &seen, &written);
}

/// A clone that is kept beyond the source's return writes nothing.
fn check_late(late: Option<StreamWriter>) {
    let Some(late) = late else { return };
    assert!(late.write_slice(b"late").is_err());
    assert!(late.flush_now().is_err());
}

// ---- an async writer in another task ----

/// A task on a thread of its own, whose end a future can await.
#[derive(Default)]
struct Task {
    written: Option<Written>,
    waker: Option<Waker>,
}

async fn write_async(plan: &Plan, out: &mut AsyncStreamWriter) -> Written {
    let mut accepted = 0;
    loop {
        for step in &plan.writers[0] {
            let result = match *step {
                Step::Write(payload) => out.write_slice(&piece(0, accepted, payload)).await,
                Step::WriteOwned(payload) => {
                    let piece = Bytes::from(piece(0, accepted, payload));
                    out.write_bytes(piece).await
                }
                Step::Flush => out.flush_now().await,
                Step::SetChunkBytes(_) | Step::Nap => Ok(()),
            };
            if let Err(error) = result {
                let again = out.write_slice(b"?").await.unwrap_err();
                let refused = Some((error.kind(), again.kind()));
                return Written { accepted, refused };
            }
            if step.payload().is_some() {
                accepted += 1;
                out.add_rows(1);
            }
        }
        if plan.reason().is_none() {
            let refused = None;
            return Written { accepted, refused };
        }
    }
}

/// The writer is moved to another task; the source's future awaits its end.
fn run_async(plan: &Plan) {
    let task = Arc::new(Mutex::new(Task::default()));
    let (ran, writing, running) = (Arc::clone(&task), Arc::clone(&task), plan.clone());
    let chunks = plan.options().stream_out_async_write(move |mut out| {
        thread::spawn(move || {
            let promised = running
                .promised()
                .map_or(Ok(()), |it| out.promise_length(it));
            let written = match promised {
                Ok(()) => block_on(write_async(&running, &mut out)),
                Err(error) => Written {
                    accepted: 0,
                    refused: Some((error.kind(), error.kind())),
                },
            };
            let mut task = writing.lock().unwrap();
            task.written = Some(written);
            let waker = task.waker.take();
            drop(task);
            waker.into_iter().for_each(Waker::wake);
        });
        std::future::poll_fn(move |cx| {
            let mut task = ran.lock().unwrap();
            if task.written.is_some() {
                return Poll::Ready(Ok::<(), Error>(()));
            }
            task.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    });
    let consuming = plan.clone();
    let seen = within("the end of the stream", move || consume(&consuming, chunks));
    // The future may have been dropped before the task ends.
    eventually("the end of the task", || {
        task.lock().unwrap().written.is_some()
    });
    let written = task.lock().unwrap().written.take().unwrap();
    check(plan, &seen, &[written]);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
        {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_several_writers_write_arrives_whole_and_in_order(plan in plan(1..5)) {
        run(&plan);
    }

    #[test]
    fn whatever_a_writer_in_another_task_writes_arrives_in_order(plan in plan(1..2)) {
        // An async writer is not the one that fails: see `StreamWriter::fail`.
        if !matches!(plan.behaviour, Behaviour::WriterFailsAfter(_)) {
            run_async(&plan);
        }
    }
}
