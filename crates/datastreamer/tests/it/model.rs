//! Any writes, any sizes, any consumer, any failure: what arrives is a prefix of what was
//! written, and the end tells the truth about it.
//!
//! The model of a stream is one byte string. `PROPTEST_CASES` sets how many streams are tried.

use std::{future::poll_fn, io, sync::Arc, task::Poll, thread, time::Duration};

use bytes::Bytes;
use datastreamer::push::{DataStreamer, Producer};
use datastreamer::{
    AsyncStreamWriter, ChunkReader, EndOnStop, Error, ErrorKind, Outcome, Record, StreamOptions,
    StreamWriter,
};
use datastreamer_testkit::{BoxError, Recorder, noise, within};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteOwned(usize),
    Flush,
    SetChunkBytes(usize),
    Nap,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SourceEnd {
    Returns,
    Fails,
    Panics,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    ReadsAll,
    KeepsAll,
    DropsAfter(usize),
    StopsAfter(usize),
    FailsAfter(usize),
    Naps,
    Pauses,
}

#[derive(Clone, Debug)]
struct Plan {
    steps: Vec<Step>,
    end: SourceEnd,
    chunk_bytes: usize,
    buffer_bytes: usize,
    flush_after: Option<Duration>,
    on_stop: EndOnStop,
    /// Off from the truth by so much, where a length is promised.
    promise: Option<i64>,
    behaviour: Behaviour,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..200usize).prop_map(Step::Write),
        2 => (0..5000usize).prop_map(Step::Write),
        1 => (0..40_000usize).prop_map(Step::WriteOwned),
        2 => Just(Step::Flush),
        1 => (0..3000usize).prop_map(Step::SetChunkBytes),
        1 => Just(Step::Nap),
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        3 => Just(Behaviour::ReadsAll),
        1 => Just(Behaviour::KeepsAll),
        2 => (0..20usize).prop_map(Behaviour::DropsAfter),
        2 => (0..20usize).prop_map(Behaviour::StopsAfter),
        2 => (0..20usize).prop_map(Behaviour::FailsAfter),
        1 => Just(Behaviour::Naps),
        2 => Just(Behaviour::Pauses),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let source = (
        prop::collection::vec(step(), 0..40),
        prop_oneof![
            Just(SourceEnd::Returns),
            Just(SourceEnd::Fails),
            Just(SourceEnd::Panics)
        ],
    );
    let options = (
        1..3000usize,
        0..20_000usize,
        prop_oneof![Just(None), Just(Some(Duration::from_millis(1)))],
        prop_oneof![Just(EndOnStop::Abort), Just(EndOnStop::Finish)],
        prop::option::weighted(0.3, -2..=2i64),
    );
    (source, options, behaviour()).prop_map(
        |((steps, end), (chunk_bytes, buffer_bytes, flush_after, on_stop, promise), behaviour)| {
            Plan {
                steps,
                end,
                chunk_bytes,
                buffer_bytes,
                flush_after,
                on_stop,
                promise,
                behaviour,
            }
        },
    )
}

impl Plan {
    /// All that the source would write.
    fn bytes(&self) -> usize {
        let written = self.steps.iter().map(|step| match step {
            Step::Write(bytes) | Step::WriteOwned(bytes) => *bytes,
            Step::Flush | Step::SetChunkBytes(_) | Step::Nap => 0,
        });
        written.sum()
    }

    fn options(&self) -> StreamOptions {
        StreamOptions::new()
            .chunk_bytes(self.chunk_bytes)
            .buffer_bytes(self.buffer_bytes)
            .flush_after(self.flush_after)
            .end_on_stop(self.on_stop)
            .length(self.promised())
    }

    fn promised(&self) -> Option<u64> {
        self.promise
            .map(|off| (self.bytes() as i64 + off).max(0) as u64)
    }

    fn promise_is_kept(&self) -> bool {
        self.promised()
            .is_none_or(|promised| promised == self.bytes() as u64)
    }

    fn run_source(&self, out: &StreamWriter) -> Result<(), BoxError> {
        let all = Bytes::from(noise(self.bytes()));
        let mut offset = 0;
        for step in &self.steps {
            match *step {
                Step::Write(bytes) => {
                    out.write_slice(&all[offset..offset + bytes])?;
                    offset += bytes;
                }
                Step::WriteOwned(bytes) => {
                    out.write_bytes(all.slice(offset..offset + bytes))?;
                    offset += bytes;
                }
                Step::Flush => out.flush_now()?,
                Step::SetChunkBytes(bytes) => out.set_chunk_bytes(bytes),
                Step::Nap => thread::sleep(Duration::from_millis(1)),
            }
        }
        self.end()
    }

    /// The same as a future; what has no meaning there is a moment in which it is pending.
    async fn run_async_source(self, mut out: AsyncStreamWriter) -> Result<(), BoxError> {
        let all = Bytes::from(noise(self.bytes()));
        let mut offset = 0;
        for step in &self.steps {
            match *step {
                Step::Write(bytes) => {
                    out.write_slice(&all[offset..offset + bytes]).await?;
                    offset += bytes;
                }
                Step::WriteOwned(bytes) => {
                    out.write_bytes(all.slice(offset..offset + bytes)).await?;
                    offset += bytes;
                }
                Step::Flush => out.flush_now().await?,
                Step::SetChunkBytes(_) | Step::Nap => give_way().await,
            }
        }
        self.end()
    }

    fn end(&self) -> Result<(), BoxError> {
        match self.end {
            SourceEnd::Returns => Ok(()),
            SourceEnd::Fails => Err(io::Error::other("a test").into()),
            SourceEnd::Panics => std::panic::resume_unwind(Box::new("a test")),
        }
    }

    fn start(&self) -> ChunkReader {
        let source = self.clone();
        self.options().stream_out(move |out| source.run_source(out))
    }

    fn start_async(&self) -> ChunkReader {
        let source = self.clone();
        let options = self.options();
        options.stream_out_async_write(move |out| source.run_async_source(out))
    }
}

/// Is pending once.
async fn give_way() {
    let mut is_first = true;
    poll_fn(|cx| match std::mem::take(&mut is_first) {
        true => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

/// What the consumer saw.
struct Seen {
    bytes: Vec<u8>,
    /// `None` if it left before the end.
    end: Option<Result<(), Error>>,
    record: Record,
}

/// Pauses; another thread resumes.
fn pause_for_a_moment(producer: Arc<dyn Producer>) {
    producer.pause_producing();
    thread::spawn(move || producer.resume_producing());
}

fn pull(plan: &Plan, mut chunks: ChunkReader) -> Seen {
    let handle = chunks.handle();
    let (mut bytes, mut kept, mut end, mut taken) = (Vec::new(), Vec::new(), None, 0);
    loop {
        match plan.behaviour {
            Behaviour::DropsAfter(count) | Behaviour::FailsAfter(count) if taken == count => break,
            Behaviour::StopsAfter(count) if taken == count => {
                handle.stop(Error::new(ErrorKind::Stopped, "a test"));
            }
            Behaviour::Naps if taken % 8 == 0 => thread::sleep(Duration::from_millis(1)),
            Behaviour::Pauses if taken % 2 == 0 => pause_for_a_moment(Arc::new(handle.clone())),
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
            Some(Err(error)) => {
                end = Some(Err(error));
                break;
            }
            None => {
                end = Some(Ok(()));
                break;
            }
        }
    }
    drop(chunks);
    let record = handle.wait();
    Seen { bytes, end, record }
}

fn push(plan: &Plan) -> Seen {
    let source = plan.clone();
    let (consumer, log) = Recorder::new();
    let behaviour = plan.behaviour;
    let consumer = match behaviour {
        Behaviour::KeepsAll => consumer.keeps_chunks(),
        _ => consumer,
    };
    let consumer = consumer.on_write(move |log, index| {
        match behaviour {
            Behaviour::DropsAfter(count) if index == count => log.hang_up().notify("a test"),
            Behaviour::StopsAfter(count) if index == count => log.producer().stop_producing(),
            Behaviour::FailsAfter(count) if index == count => {
                return Err(io::Error::other("a test"));
            }
            Behaviour::Naps if index % 8 == 0 => thread::sleep(Duration::from_millis(1)),
            Behaviour::Pauses if index % 2 == 0 => pause_for_a_moment(log.producer()),
            _ => {}
        }
        Ok(())
    });
    let streamer = DataStreamer::new(
        move |out: &mut StreamWriter| source.run_source(out),
        consumer,
    );
    let record = streamer.options(plan.options()).start().unwrap().wait();
    let calls = log.calls();
    let finished = calls.contains(&datastreamer_testkit::Call::Finish);
    let end = match log.aborted_with() {
        Some(error) => Some(Err(error)),
        None => finished.then_some(Ok(())),
    };
    let bytes = log.bytes();
    Seen { bytes, end, record }
}

fn check(plan: &Plan, seen: &Seen) {
    let Seen { bytes, end, record } = seen;
    let all = noise(plan.bytes());
    assert!(
        bytes.len() <= all.len() && *bytes == all[..bytes.len()],
        "not a prefix"
    );
    let outcome = record.outcome.unwrap();
    let whole = *bytes == all;
    let sound = plan.end == SourceEnd::Returns && plan.promise_is_kept();
    match end {
        Some(Ok(())) if outcome == Outcome::Complete => assert!(whole && sound),
        Some(Ok(())) => {
            // A stop may finish an endless stream, never one of promised length.
            assert_eq!(outcome, Outcome::Cancelled);
            assert_eq!(plan.on_stop, EndOnStop::Finish);
            assert!(plan.promise.is_none());
        }
        Some(Err(error)) if error.kind() == ErrorKind::ConsumerFailed => {
            // The source may have failed before; a consumer that cannot take the rest comes after.
            assert!(matches!(
                outcome,
                Outcome::ClientGone | Outcome::SourceError
            ));
        }
        Some(Err(error)) => {
            assert_eq!(error.outcome(), outcome);
            if let Some(promised) = plan.promised() {
                assert!(
                    (bytes.len() as u64) < promised.max(1),
                    "a failure that counts as whole"
                );
            } else if outcome == Outcome::SourceError {
                assert!(whole, "valid bytes before the failure are missing");
            }
        }
        // It had counted to the last byte, with which the verdict came.
        None if outcome == Outcome::Complete => {
            assert!(whole && sound && plan.promise.is_some());
        }
        // The consumer left; the source may have failed before.
        None => assert!(matches!(
            outcome,
            Outcome::ClientGone | Outcome::SourceError
        )),
    }
    if matches!(
        plan.behaviour,
        Behaviour::ReadsAll | Behaviour::KeepsAll | Behaviour::Pauses
    ) {
        assert_eq!(end.as_ref().unwrap().is_ok(), sound, "{end:?}");
    }
    assert!(record.bytes_delivered as usize >= bytes.len());
    assert!(record.bytes_delivered <= record.bytes_written);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_pulled_is_the_truth(plan in plan()) {
        let run = plan.clone();
        let pulled = within("the end of the stream", move || pull(&run, run.start()));
        check(&plan, &pulled);
    }

    #[test]
    fn whatever_is_pulled_of_a_future_is_the_truth(plan in plan()) {
        let run = plan.clone();
        let pulled = within("the end of the stream", move || pull(&run, run.start_async()));
        check(&plan, &pulled);
    }

    #[test]
    fn whatever_is_pushed_is_the_truth(plan in plan()) {
        let run = plan.clone();
        check(&plan, &within("the end of the stream", move || push(&run)));
    }
}
