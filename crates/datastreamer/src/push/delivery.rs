//! The loop between a stream's reader and its consumer: takes chunks, writes them to the consumer,
//! and finishes or aborts it exactly once.
//!
//! The consumer is called in the context that drives the delivery: a task that awaits it, a thread
//! that waits for it, or an event loop that receives each turn as a job (`turn.rs`).

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::consumer::Consumer;
use crate::{
    block_on::block_on,
    error::{Error, ErrorKind},
    foreign::run_quietly,
    handle::StreamHandle,
    reader::ChunkReader,
    record::Record,
};

/// Chunks that a consumer gets in one turn. The limit keeps a source that is always ahead from
/// starving the event loop's other jobs. At the largest default chunk size it is 2 MiB, about a
/// millisecond of work.
const CHUNKS_PER_TURN: usize = 16;

/// A started push stream. The consumer is written to only while this is driven.
///
/// **As a future** it calls the consumer from the task that polls it, and resolves with the record.
/// [`Delivery::wait`] calls the consumer from the calling thread, [`Delivery::run_in`] from an
/// event loop that accepts jobs. **Dropping it** before the end stops the source and aborts the
/// consumer.
#[must_use = "the consumer is written to only while the delivery is driven"]
pub struct Delivery<C: Consumer> {
    /// `None` once the end has been delivered.
    reader: Option<ChunkReader>,
    consumer: Option<C>,
    handle: StreamHandle,
}

impl<C: Consumer> Delivery<C> {
    pub(super) fn new(reader: ChunkReader, consumer: C, handle: StreamHandle) -> Self {
        Self {
            reader: Some(reader),
            consumer: Some(consumer),
            handle,
        }
    }

    /// Returns a handle to read the record, pause, resume and stop.
    pub fn handle(&self) -> StreamHandle {
        self.handle.clone()
    }

    /// Drives the stream from this thread and blocks until the end; returns the final record.
    pub fn wait(self) -> Record {
        self.wait_for_consumer().0
    }

    /// Like [`Delivery::wait`], and also returns the consumer.
    pub fn wait_for_consumer(mut self) -> (Record, C) {
        block_on(|cx| self.poll_deliver(cx));
        let record = self.handle.wait();
        match self.consumer.take() {
            Some(consumer) => (record, consumer),
            None => unreachable!("only this method takes the consumer, and it owns the delivery"),
        }
    }

    /// Drives the stream from the task that awaits it; resolves with the final record and the
    /// consumer. Dropping the future is as dropping the delivery.
    pub async fn deliver(mut self) -> (Record, C) {
        poll_fn(|cx| self.poll_deliver(cx)).await;
        let record = self.handle.ended().await;
        match self.consumer.take() {
            Some(consumer) => (record, consumer),
            None => unreachable!("only this method takes the consumer, and it owns the delivery"),
        }
    }

    /// Delivers what is queued, at most one turn's share; ready when the end has been delivered.
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..CHUNKS_PER_TURN {
            let (Some(reader), Some(consumer)) = (&mut self.reader, &mut self.consumer) else {
                return Poll::Ready(());
            };
            let error = match ready!(reader.poll_chunk(cx)) {
                Some(Ok(chunk)) => match consumer.write(chunk) {
                    Ok(()) => continue,
                    // Reported here, because the reader may already have returned the clean end
                    // with this chunk.
                    Err(error) => Some(reader.consumer_failed(error)),
                },
                Some(Err(error)) => Some(error),
                None => None,
            };
            if !self.handle.has_hung_up() {
                deliver_end(consumer, error.as_ref(), reader);
            }
            reader.end_consumer();
            self.reader = None;
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Finishes or aborts the consumer.
fn deliver_end<C: Consumer>(consumer: &mut C, error: Option<&Error>, reader: &ChunkReader) {
    match error {
        Some(error) => {
            consumer.unregister_producer();
            consumer.abort(error);
        }
        None => {
            consumer.unregister_producer();
            if let Err(error) = consumer.finish() {
                reader.consumer_failed(error);
            }
        }
    }
}

impl<C: Consumer + Unpin> Future for Delivery<C> {
    type Output = Record;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Record> {
        if self.poll_deliver(cx).is_pending() {
            return Poll::Pending;
        }
        self.handle.poll_ended(cx)
    }
}

impl<C: Consumer> Drop for Delivery<C> {
    fn drop(&mut self) {
        if self.reader.is_none() {
            return;
        }
        let hung_up = self.handle.has_hung_up();
        self.handle
            .stop(Error::new(ErrorKind::Stopped, "the delivery was dropped"));
        if let Some(consumer) = self.consumer.as_mut().filter(|_| !hung_up) {
            // Perhaps dropped because the consumer has panicked: a second panic would end the process.
            run_quietly(|| {
                consumer.unregister_producer();
                consumer.abort(&Error::of_kind(ErrorKind::Stopped));
            });
        }
    }
}

impl<C: Consumer> fmt::Debug for Delivery<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("stream", &self.handle)
            .finish_non_exhaustive()
    }
}
