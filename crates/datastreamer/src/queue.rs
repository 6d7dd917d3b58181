//! The byte-bounded queue between one source and one consumer: order, back-pressure, pause,
//! resume, stop, the end, and every wake-up.
//!
//! `writer.rs` pushes and `reader.rs` polls. Chunks that the consumer holds count until `release`.
//! End and error follow the chunks in the same queue, so nothing overtakes the data. This file owns
//! no chunk memory, no threads and no deadlines.
//!
//! Two rules: foreign code (wakers and their clones, callbacks, the drop of a chunk, which calls
//! `release`) runs only after unlocking; only the thread holding the writer's turn may push.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    depth::Depth,
    disposal::dispose,
    error::{Error, ErrorKind},
    foreign::{drop_quietly, poll_or_wait, wake},
    outcome::BlockedOn,
    settings::EndOnStop,
    stop_callback::StopCallback,
    sync::{AtomicBool, Condvar, Mutex, MutexGuard, lock, wait},
};

/// The end that follows the last chunk.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Finish,
    Abort(Error),
}

pub(crate) struct Queue {
    state: Mutex<State>,
    /// The source waits here for room.
    room: Condvar,
    /// True from the first stop on; read without the lock at every write.
    stopped: AtomicBool,
    /// How often the consumer reported progress with what it holds.
    parts_taken: AtomicU64,
    end_on_stop: EndOnStop,
}

struct State {
    chunks: VecDeque<Bytes>,
    /// Memory of the chunks that are queued, or held by the consumer.
    live_bytes: usize,
    /// The limit of `live_bytes`.
    depth: Depth,
    paused: bool,
    /// Why writers must stop.
    stop: Option<Error>,
    /// What aborted the stream: the source's failure or a stop, whichever came first.
    cause: Option<Error>,
    /// The consumer has disconnected: no call may reach it.
    hung_up: bool,
    /// What the consumer receives after `chunks`.
    end: Option<End>,
    /// The source runs inside the consumer's poll: between polls the source waits for the consumer.
    driven: bool,
    /// Set while the consumer waits for a chunk; taken by the thread that wakes it.
    reader: Option<Waker>,
    writers_waiting: usize,
    /// Set while an async writer waits for room; taken by the thread that wakes it.
    async_writer: Option<Waker>,
    source_done: bool,
    /// The consumer has taken the clean end of a complete file and has neither failed nor hung up
    /// since. If it does neither, the file is complete, whatever stop comes later.
    complete_taken: bool,
    consumer_done: bool,
    /// The consumer was given up because it took nothing: nobody waits for it any more, although it
    /// may never say that it is done.
    consumer_given_up: bool,
    /// Everything that waits for both sides to be done has been notified.
    done_told: bool,
    stop_callbacks: Vec<Arc<StopCallback>>,
    stop_wakers: Vec<Waker>,
    done_wakers: Vec<Waker>,
    figures: Figures,
    reader_waits_since: Option<Instant>,
    writer_waits_since: Option<Instant>,
}

/// The consumer's side of a stream's record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) bytes_pushed: u64,
    pub(crate) bytes_delivered: u64,
    pub(crate) chunks_delivered: u64,
    pub(crate) first_byte: Option<Instant>,
    /// Chunks taken, chunks released and progress reports: grows whenever the consumer makes
    /// progress.
    pub(crate) moves: u64,
    pub(crate) blocked_on_consumer: Duration,
    pub(crate) blocked_on_source: Duration,
}

/// The queue's state at one moment, for records and deadlines.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) figures: Figures,
    pub(crate) blocked_on: BlockedOn,
    /// There is something that the consumer has not taken or not released.
    pub(crate) consumer_owes: bool,
    pub(crate) source_done: bool,
    pub(crate) consumer_done: bool,
    /// Source and consumer are both done, or the consumer was given up.
    pub(crate) is_done: bool,
    /// What broke the stream off.
    pub(crate) cause: Option<Error>,
}

/// What remains to be done for a stream that was stopped.
pub(crate) struct Stopping {
    pub(crate) callbacks: Vec<Arc<StopCallback>>,
    /// The stop has made the stream done; true at most once per stream.
    pub(crate) is_done: bool,
}

/// What is to be woken when there is room.
enum WaitingWriter {
    Thread,
    Task(Waker),
    Nobody,
}

/// What remains to be done after unlocking, once source and consumer are both done.
struct Done {
    /// Of tasks that await the end, and of tasks that await a stop that will not come.
    wakers: [Vec<Waker>; 2],
    /// These will never run; they are dropped to release what they captured.
    callbacks: Vec<Arc<StopCallback>>,
}

impl Queue {
    pub(crate) fn new(depth: Depth, end_on_stop: EndOnStop) -> Self {
        Self {
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                live_bytes: 0,
                depth,
                paused: false,
                stop: None,
                cause: None,
                hung_up: false,
                end: None,
                driven: false,
                reader: None,
                writers_waiting: 0,
                async_writer: None,
                source_done: false,
                complete_taken: false,
                consumer_done: false,
                consumer_given_up: false,
                done_told: false,
                stop_callbacks: Vec::new(),
                stop_wakers: Vec::new(),
                done_wakers: Vec::new(),
                figures: Figures::default(),
                reader_waits_since: None,
                writer_waits_since: None,
            }),
            room: Condvar::new(),
            stopped: AtomicBool::new(false),
            parts_taken: AtomicU64::new(0),
            end_on_stop,
        }
    }

    // ---- the source's side ----

    /// Appends a chunk that occupies `memory_bytes`; blocks while there is no room for it.
    ///
    /// # Errors
    /// Why the stream was stopped, or [`ErrorKind::Ended`].
    pub(crate) fn push(&self, chunk: Bytes, memory_bytes: usize) -> Result<(), Error> {
        let mut state = lock(&self.state);
        while !state.has_room(memory_bytes) {
            state = self.wait_for_room(state);
        }
        append(state, chunk, memory_bytes)
    }

    /// Appends a chunk without waiting. For a thread that holds the turn and has found room, which a
    /// pause may have taken back meanwhile; and for the last chunk: behind it no other is being filled,
    /// so the room kept for that one is free.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub(crate) fn push_now(&self, chunk: Bytes, memory_bytes: usize) -> Result<(), Error> {
        append(lock(&self.state), chunk, memory_bytes)
    }

    /// Returns whether a chunk of this much memory could be pushed without waiting.
    pub(crate) fn has_room_for(&self, memory_bytes: usize) -> bool {
        lock(&self.state).has_room(memory_bytes)
    }

    /// Ready when a chunk of this much memory could be pushed without waiting; for the one async
    /// writer of a stream.
    pub(crate) fn poll_room(&self, memory_bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.state);
        let (polled, replaced) = if state.has_room(memory_bytes) {
            state.count_wait_for_consumer();
            (Poll::Ready(()), [state.async_writer.take(), Some(waker)])
        } else {
            state.writer_waits_since.get_or_insert_with(Instant::now);
            (Poll::Pending, [state.async_writer.replace(waker), None])
        };
        drop(state);
        drop_quietly(replaced);
        polled
    }

    /// Changes the size of further chunks; queued chunks stay as they are.
    pub(crate) fn set_chunk_bytes(&self, bytes: usize) {
        lock(&self.state).depth.set_chunk_bytes(bytes);
    }

    /// The size of the next chunk, in bytes.
    pub(crate) fn chunk_bytes(&self) -> usize {
        lock(&self.state).depth.chunk_bytes()
    }

    /// The current limit of the stream's memory, in bytes.
    pub(crate) fn depth_bytes(&self) -> usize {
        lock(&self.state).depth.bytes()
    }

    fn wait_for_room<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.writers_waiting += 1;
        state.writer_waits_since.get_or_insert_with(Instant::now);
        state = wait(&self.room, state);
        state.writers_waiting -= 1;
        if state.writers_waiting == 0 {
            state.adapt_depth();
            state.count_wait_for_consumer();
        }
        state
    }

    /// Sets the end that follows the chunks; the first end counts. Returns whether this made the
    /// stream done; true at most once per stream.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = lock(&self.state);
        if state.source_done {
            return false;
        }
        if let End::Abort(error) = &end {
            state.cause.get_or_insert_with(|| error.clone());
        }
        state.end.get_or_insert(end);
        state.source_done = true;
        let reader = state.take_reader();
        let writer = state.async_writer.take();
        let done = state.take_done();
        drop(state);
        wake(reader);
        wake(writer);
        done.is_some_and(Done::tell)
    }

    /// Returns whether the stream was stopped; one load, no lock.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// What broke the stream off.
    pub(crate) fn cause(&self) -> Option<Error> {
        lock(&self.state).cause().cloned()
    }

    /// Fails with the reason if no more writes are accepted.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        lock(&self.state).check_open()
    }

    /// Stores a callback for the stop; returns the reason if the stream was stopped already.
    pub(crate) fn on_stop(&self, callback: &Arc<StopCallback>) -> Option<Error> {
        let mut state = lock(&self.state);
        if state.stop.is_none() && !state.done_told {
            state.stop_callbacks.push(Arc::clone(callback));
        }
        state.stop.clone()
    }

    /// Removes a callback that is no longer wanted.
    pub(crate) fn forget_callback(&self, callback: &Arc<StopCallback>) {
        let mut state = lock(&self.state);
        let mut callbacks = state.stop_callbacks.iter();
        let place = callbacks.position(|kept| Arc::ptr_eq(kept, callback));
        let removed = place.map(|place| state.stop_callbacks.swap_remove(place));
        drop(state);
        drop(removed);
    }

    /// Polls for the stop; `None`: source and consumer are done without a stop.
    pub(crate) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        poll_or_wait(
            cx,
            || lock(&self.state),
            |state| {
                let known = state.stop.is_some() || state.done_told;
                (known.then(|| state.stop.clone()), &mut state.stop_wakers)
            },
        )
    }

    /// Polls for a stop that aborts the consumer; `None`: source and consumer are done without such
    /// a stop.
    pub(crate) fn poll_broken_off(&self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        poll_or_wait(
            cx,
            || lock(&self.state),
            |state| {
                let known = match (&state.stop, &state.end) {
                    (Some(_), Some(End::Abort(error))) => Some(Some(error.clone())),
                    _ => state.done_told.then_some(None),
                };
                (known, &mut state.stop_wakers)
            },
        )
    }

    // ---- the consumer's side ----

    /// Takes the next chunk or the end: `None` is a finish, an error is an abort.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        // Cloned only if it is needed, and while nothing is locked: the clone is foreign code.
        let mut waker = None;
        loop {
            let mut state = lock(&self.state);
            let popped = state.pop();
            let is_kept = |kept: &Waker| kept.will_wake(cx.waker());
            if popped.is_pending() && waker.is_none() && !state.reader.as_ref().is_some_and(is_kept)
            {
                drop(state);
                waker = Some(cx.waker().clone());
                continue;
            }
            let mut writer = None;
            if popped.is_pending() {
                if waker.is_some() {
                    std::mem::swap(&mut state.reader, &mut waker);
                }
                if !state.paused {
                    state.reader_waits_since.get_or_insert_with(Instant::now);
                    // A consumer that keeps its chunks and polls for more must get more: see
                    // has_room.
                    writer = Some(state.take_waiting_writer());
                }
            }
            drop(state);
            drop_quietly(waker);
            self.wake_writer(writer);
            return popped;
        }
    }

    /// Has the reader poll again.
    pub(crate) fn wake_reader(&self) {
        let reader = lock(&self.state).take_reader();
        wake(reader);
    }

    /// Records that from now on the source runs inside the consumer's poll.
    pub(crate) fn note_driven(&self) {
        let mut state = lock(&self.state);
        state.driven = true;
        let reader = state.take_reader();
        drop(state);
        wake(reader);
    }

    pub(crate) fn is_paused(&self) -> bool {
        lock(&self.state).paused
    }

    /// Frees the room of a chunk that the consumer has released.
    pub(crate) fn release(&self, memory_bytes: usize) {
        let mut state = lock(&self.state);
        state.live_bytes = state.live_bytes.saturating_sub(memory_bytes);
        state.depth.release_beyond_the_end(memory_bytes);
        state.figures.moves += 1;
        let is_low = state.live_bytes <= state.depth.low_water_bytes();
        let writer = is_low.then(|| state.take_waiting_writer());
        drop(state);
        self.wake_writer(writer);
    }

    fn wake_writer(&self, writer: Option<WaitingWriter>) {
        match writer {
            Some(WaitingWriter::Thread) => self.room.notify_one(),
            Some(WaitingWriter::Task(waker)) => wake([waker]),
            Some(WaitingWriter::Nobody) | None => {}
        }
    }

    /// Records that the consumer made progress with what it holds; no lock, because it may be
    /// called at every write.
    pub(crate) fn note_progress(&self) {
        self.parts_taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that the consumer has seen the end or has disconnected. If it had taken a complete
    /// file, a stop that came after that is too late and is forgotten. Returns whether this made
    /// the stream done; true at most once per stream.
    pub(crate) fn consumer_done(&self) -> bool {
        let mut state = lock(&self.state);
        state.consumer_done = true;
        let chunks = std::mem::take(&mut state.chunks);
        let came_too_late = if state.complete_taken {
            state.cause.take()
        } else {
            None
        };
        let done = state.take_done();
        drop(state);
        drop((chunks, came_too_late));
        done.is_some_and(Done::tell)
    }

    // ---- from anywhere ----

    pub(crate) fn pause(&self) {
        let mut state = lock(&self.state);
        state.paused = true;
        state.count_wait_for_source();
    }

    pub(crate) fn resume(&self) {
        let mut state = lock(&self.state);
        state.paused = false;
        let reader = state.take_reader();
        drop(state);
        wake(reader);
    }

    /// Stops the stream: writers fail from now on, and the consumer receives what is queued, then
    /// the end as configured. A consumer that hung up or failed receives nothing more, even if the
    /// stream had been stopped before. Nor does one that has stalled: it may never poll again, so
    /// what is queued is dropped, and nothing waits for it. Returns what remains to be done, or
    /// `None` if the stream had been stopped or had ended.
    pub(crate) fn stop(&self, error: &Error) -> Option<Stopping> {
        let finishes = self.end_on_stop == EndOnStop::Finish && error.kind() == ErrorKind::Stopped;
        self.stop_with(error, finishes)
    }

    /// As [`Queue::stop`], but the consumer is aborted whatever a stop means otherwise.
    pub(crate) fn fail(&self, error: &Error) -> Option<Stopping> {
        self.stop_with(error, false)
    }

    fn stop_with(&self, error: &Error, finishes: bool) -> Option<Stopping> {
        let hangs_up = error.kind() == ErrorKind::HangUp;
        let stalls = error.kind() == ErrorKind::ConsumerStalled;
        let takes_no_more = error.is_consumers_loss();
        let mut state = lock(&self.state);
        let is_first = state.stop.is_none();
        let gives_up = stalls && !state.consumer_given_up;
        if state.consumer_done || !(is_first || takes_no_more || gives_up) {
            return None;
        }
        self.stopped.store(true, Ordering::Release);
        state.stop.get_or_insert_with(|| error.clone());
        state.cause.get_or_insert_with(|| error.clone());
        state.hung_up |= hangs_up;
        state.complete_taken &= !takes_no_more;
        // A consumer that has taken everything, and only does not confirm it, has its own deadline.
        state.consumer_given_up |= stalls && !state.complete_taken;
        if takes_no_more || !matches!(state.end, Some(End::Abort(_))) {
            state.end = Some(if finishes {
                End::Finish
            } else {
                End::Abort(error.clone())
            });
        }
        let discards = takes_no_more || state.consumer_given_up;
        let chunks = discards.then(|| std::mem::take(&mut state.chunks));
        let callbacks = std::mem::take(&mut state.stop_callbacks);
        let stop_wakers = std::mem::take(&mut state.stop_wakers);
        let reader = state.take_reader();
        let writer = state.async_writer.take();
        let done = state.take_done();
        drop(state);
        self.room.notify_all();
        drop(chunks);
        wake(reader);
        wake(writer);
        wake(stop_wakers);
        Some(Stopping {
            callbacks,
            is_done: done.is_some_and(Done::tell),
        })
    }

    /// Polls until source and consumer are both done.
    pub(crate) fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        poll_or_wait(
            cx,
            || lock(&self.state),
            |state| (state.is_done().then_some(()), &mut state.done_wakers),
        )
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        lock(&self.state).hung_up
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = lock(&self.state);
        let mut figures = state.figures;
        figures.moves += self.parts_taken.load(Ordering::Relaxed);
        if let Some(since) = state.writer_waits_since {
            figures.blocked_on_consumer += since.elapsed();
        }
        if let Some(since) = state.reader_waits_since {
            figures.blocked_on_source += since.elapsed();
        }
        Snapshot {
            figures,
            blocked_on: state.blocked_on(),
            consumer_owes: state.consumer_owes(),
            source_done: state.source_done,
            consumer_done: state.consumer_done,
            is_done: state.is_done(),
            cause: state.cause().cloned(),
        }
    }
}

impl State {
    /// There is room if the limit is not reached; or if nothing is live, so that a chunk larger
    /// than the limit can pass; or if the consumer waits for more although it holds everything (it
    /// collects chunks). A stream that was stopped or has ended lets every writer through, to its
    /// error.
    fn has_room(&self, memory_bytes: usize) -> bool {
        self.stop.is_some()
            || self.end.is_some()
            || self.live_bytes + memory_bytes <= self.depth.limit_bytes()
            || self.live_bytes == 0
            || (self.chunks.is_empty() && self.reader.is_some() && !self.paused)
    }

    fn check_open(&self) -> Result<(), Error> {
        match (&self.stop, &self.end) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(_)) => Err(Error::of_kind(ErrorKind::Ended)),
            (None, None) => Ok(()),
        }
    }

    /// The next chunk or the end, if the consumer may have one now.
    fn pop(&mut self) -> Poll<Option<Result<Bytes, Error>>> {
        if self.driven {
            self.count_wait_for_consumer();
        }
        if self.paused && self.stop.is_none() {
            return Poll::Pending;
        }
        if let Some(chunk) = self.chunks.pop_front() {
            self.count_delivered(chunk.len());
            if self.driven && self.end.is_none() {
                self.writer_waits_since = Some(Instant::now());
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &self.end {
            Some(End::Finish) => {
                // A stop that finishes the consumer does not complete the file.
                self.complete_taken |= self.cause.is_none();
                Poll::Ready(None)
            }
            Some(End::Abort(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => Poll::Pending,
        }
    }

    fn take_waiting_writer(&mut self) -> WaitingWriter {
        match self.async_writer.take() {
            Some(waker) => WaitingWriter::Task(waker),
            None if self.writers_waiting > 0 => WaitingWriter::Thread,
            None => WaitingWriter::Nobody,
        }
    }

    fn append(&mut self, chunk: Bytes, memory_bytes: usize) -> Option<Waker> {
        self.live_bytes += memory_bytes;
        self.figures.bytes_pushed += chunk.len() as u64;
        self.chunks.push_back(chunk);
        if self.paused {
            return None;
        }
        self.take_reader()
    }

    fn count_delivered(&mut self, bytes: usize) {
        self.figures.bytes_delivered += bytes as u64;
        self.figures.moves += 1;
        self.figures.chunks_delivered += 1;
        if self.figures.first_byte.is_none() {
            self.figures.first_byte = Some(Instant::now());
        }
    }

    fn take_reader(&mut self) -> Option<Waker> {
        self.count_wait_for_source();
        self.reader.take()
    }

    fn count_wait_for_source(&mut self) {
        if let Some(since) = self.reader_waits_since.take() {
            self.figures.blocked_on_source += since.elapsed();
        }
    }

    fn adapt_depth(&mut self) {
        if let Some(since) = self.writer_waits_since {
            self.depth
                .adapt_after_wait(since, self.figures.bytes_delivered);
        }
    }

    fn count_wait_for_consumer(&mut self) {
        if let Some(since) = self.writer_waits_since.take() {
            self.figures.blocked_on_consumer += since.elapsed();
        }
    }

    fn is_done(&self) -> bool {
        self.source_done && (self.consumer_done || self.consumer_given_up)
    }

    fn take_done(&mut self) -> Option<Done> {
        let tell = self.is_done() && !self.done_told;
        if !tell {
            return None;
        }
        self.done_told = true;
        self.count_wait_for_consumer();
        self.count_wait_for_source();
        self.depth.end(self.live_bytes);
        Some(Done {
            wakers: [
                std::mem::take(&mut self.done_wakers),
                // If they were kept they would hold the task that awaits the stop, and that task
                // may hold the stream.
                std::mem::take(&mut self.stop_wakers),
            ],
            callbacks: std::mem::take(&mut self.stop_callbacks),
        })
    }

    /// Also `None` while it is not yet known whether the cause came too late: see `consumer_done`.
    fn cause(&self) -> Option<&Error> {
        let is_open = self.complete_taken && !self.consumer_done;
        self.cause.as_ref().filter(|_| !is_open)
    }

    /// The consumer has polled, and there is nothing for it. A paused consumer may have polled,
    /// too, but takes nothing, so it does not wait for the source.
    fn waits_for_source(&self) -> bool {
        self.reader.is_some() && self.chunks.is_empty() && !self.paused
    }

    fn has_something_to_take(&self) -> bool {
        self.driven || self.live_bytes > 0 || self.end.is_some() || self.writer_waits()
    }

    fn writer_waits(&self) -> bool {
        self.writers_waiting > 0 || self.async_writer.is_some()
    }

    fn consumer_owes(&self) -> bool {
        !self.consumer_done && !self.waits_for_source() && self.has_something_to_take()
    }

    fn blocked_on(&self) -> BlockedOn {
        if self.writer_waits() || (self.paused && self.has_something_to_take()) {
            BlockedOn::Consumer
        } else if self.waits_for_source() {
            BlockedOn::Source
        } else if (self.source_done || self.driven) && !self.consumer_done {
            BlockedOn::Consumer
        } else {
            BlockedOn::Nobody
        }
    }
}

/// Appends a chunk, unless the stream was stopped or has ended.
fn append(
    mut state: MutexGuard<'_, State>,
    chunk: Bytes,
    memory_bytes: usize,
) -> Result<(), Error> {
    if let Err(error) = state.check_open() {
        drop(state);
        drop(chunk);
        return Err(error);
    }
    let reader = state.append(chunk, memory_bytes);
    drop(state);
    wake(reader);
    Ok(())
}

impl Done {
    /// Wakes the tasks that await the end of the stream. Returns `true`: it has just become done.
    fn tell(self) -> bool {
        let Self { wakers, callbacks } = self;
        if !callbacks.is_empty() {
            dispose(move || callbacks.iter().for_each(|callback| callback.discard()));
        }
        wake(wakers.into_iter().flatten());
        true
    }
}

/// Tests within one thread; `loom_tests.rs` has those between threads.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::depth::{Growing, Reserve};

    fn queue(limit_bytes: usize) -> Queue {
        Queue::new(Depth::fixed(limit_bytes), EndOnStop::Abort)
    }

    fn put(queue: &Queue, bytes: usize) -> bool {
        queue.has_room_for(bytes) && queue.push_now(Bytes::from(vec![7; bytes]), bytes).is_ok()
    }

    /// Takes what is queued; `None`: nothing is.
    fn take(queue: &Queue) -> Option<Option<Result<usize, ErrorKind>>> {
        match queue.poll_pop(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next.map(|chunk| match chunk {
                Ok(chunk) => Ok(chunk.len()),
                Err(error) => Err(error.kind()),
            })),
            Poll::Pending => None,
        }
    }

    #[test]
    fn room_is_what_nobody_holds() {
        let queue = queue(10);
        assert!(put(&queue, 6));
        assert!(put(&queue, 4));
        assert!(!put(&queue, 1), "full");
        assert_eq!(take(&queue), Some(Some(Ok(6))));
        assert!(!put(&queue, 1), "the consumer holds it");
        queue.release(6);
        assert!(put(&queue, 6));
        assert!(!put(&queue, 1));
    }

    #[test]
    fn a_chunk_above_the_bound_passes_when_nothing_else_is_there() {
        let queue = queue(10);
        assert!(put(&queue, 1));
        assert!(!put(&queue, 100));
        assert_eq!(take(&queue), Some(Some(Ok(1))));
        queue.release(1);
        assert!(put(&queue, 100));
        assert!(!put(&queue, 1));
    }

    #[test]
    fn a_chunk_counts_with_its_memory_not_with_its_bytes() {
        let queue = queue(10);
        assert!(queue.has_room_for(8));
        queue.push_now(Bytes::from_static(b"x"), 8).unwrap();
        assert!(!put(&queue, 3));
        assert!(queue.has_room_for(2));
        assert_eq!(take(&queue), Some(Some(Ok(1))));
        queue.release(8);
        assert!(queue.has_room_for(10));
        assert_eq!(queue.snapshot().figures.bytes_delivered, 1);
    }

    #[test]
    fn who_holds_everything_and_asks_gets_one_more() {
        let queue = queue(10);
        assert!(put(&queue, 10));
        assert_eq!(take(&queue), Some(Some(Ok(10))));
        assert!(!put(&queue, 5), "it has not asked");
        assert_eq!(take(&queue), None);
        assert!(put(&queue, 5));
        assert!(!put(&queue, 5), "one for each time that it asks");
    }

    #[test]
    fn a_paused_queue_gives_nothing_and_takes_what_it_has_room_for() {
        let queue = queue(10);
        queue.pause();
        assert!(put(&queue, 10));
        assert_eq!(take(&queue), None);
        assert!(!put(&queue, 1), "asking in a pause does not count");
        assert_eq!(queue.snapshot().blocked_on, BlockedOn::Consumer);
        queue.resume();
        assert_eq!(take(&queue), Some(Some(Ok(10))));
    }

    #[test]
    fn a_smaller_bound_leaves_what_is_there() {
        let queue = queue(10);
        assert!(put(&queue, 9));
        queue.set_chunk_bytes(5);
        assert!(!put(&queue, 1));
        assert_eq!(take(&queue), Some(Some(Ok(9))));
        queue.release(9);
        assert!(put(&queue, 5));
    }

    #[test]
    fn the_first_end_counts() {
        let queue = queue(10);
        put(&queue, 1);
        queue.end(End::Finish);
        queue.end(End::Abort(Error::of_kind(ErrorKind::SourceFailed)));
        assert_eq!(take(&queue), Some(Some(Ok(1))));
        assert_eq!(take(&queue), Some(None));
        assert!(queue.snapshot().cause.is_none());
        assert_eq!(queue.check_open().unwrap_err().kind(), ErrorKind::Ended);
    }

    #[test]
    fn a_stop_lets_the_consumer_have_what_is_queued_and_then_the_end_as_configured() {
        for (on_stop, end) in [
            (EndOnStop::Abort, Some(Err(ErrorKind::Stopped))),
            (EndOnStop::Finish, None),
        ] {
            let queue = Queue::new(Depth::fixed(10), on_stop);
            put(&queue, 3);
            queue.pause();
            assert!(queue.stop(&Error::of_kind(ErrorKind::Stopped)).is_some());
            assert!(queue.stop(&Error::of_kind(ErrorKind::ShutDown)).is_none());
            assert_eq!(take(&queue), Some(Some(Ok(3))), "also if it had paused");
            assert_eq!(take(&queue), Some(end));
            assert_eq!(queue.snapshot().cause.unwrap().kind(), ErrorKind::Stopped);
            assert!(!queue.has_hung_up());
        }
    }

    #[test]
    fn a_consumer_that_stalls_instead_of_finishing_after_a_stop_is_aborted() {
        let queue = Queue::new(Depth::fixed(10), EndOnStop::Finish);
        let mut cx = Context::from_waker(Waker::noop());
        queue.stop(&Error::of_kind(ErrorKind::Stopped));
        assert!(queue.poll_broken_off(&mut cx).is_pending());
        let stopping = queue.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
        assert!(stopping.is_some_and(|stopping| stopping.callbacks.is_empty()));
        let Poll::Ready(Some(why)) = queue.poll_broken_off(&mut cx) else {
            panic!("not broken off");
        };
        assert_eq!(why.kind(), ErrorKind::ConsumerStalled);
        assert_eq!(take(&queue), Some(Some(Err(ErrorKind::ConsumerStalled))));
        assert_eq!(queue.snapshot().cause.unwrap().kind(), ErrorKind::Stopped);
    }

    #[test]
    fn a_consumer_that_is_gone_gets_nothing_more_whatever_came_before() {
        let earlier: [&dyn Fn(&Queue); 4] = [
            &|_| {},
            &|queue| drop(queue.stop(&Error::of_kind(ErrorKind::Stopped))),
            &|queue| {
                queue.end(End::Abort(Error::of_kind(ErrorKind::SourceFailed)));
            },
            &|queue| {
                queue.end(End::Finish);
            },
        ];
        for gone in [ErrorKind::HangUp, ErrorKind::ConsumerFailed] {
            for earlier in earlier {
                let queue = Queue::new(Depth::fixed(10), EndOnStop::Finish);
                put(&queue, 3);
                earlier(&queue);
                queue.stop(&Error::of_kind(gone));
                assert_eq!(take(&queue), Some(Some(Err(gone))));
                assert_eq!(queue.has_hung_up(), gone == ErrorKind::HangUp);
            }
        }
    }

    #[test]
    fn a_consumer_that_has_stalled_gets_nothing_more_and_nothing_waits_for_it() {
        let reserve = Reserve::new(100);
        let depth = Depth::new(Growing::fixed(10), Growing::fixed(1), &reserve);
        let queue = Queue::new(depth, EndOnStop::Abort);
        assert!(put(&queue, 3) && put(&queue, 4));
        assert_eq!(take(&queue), Some(Some(Ok(3))));
        let stopping = queue.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
        assert!(!stopping.unwrap().is_done, "the source runs");
        assert!(
            queue
                .stop(&Error::of_kind(ErrorKind::ConsumerStalled))
                .is_none()
        );
        assert!(queue.end(End::Abort(Error::of_kind(ErrorKind::SourceFailed))));
        assert!(
            queue.snapshot().is_done,
            "although the consumer never polls"
        );
        // What it holds is charged to the reserve until it is released.
        queue.release(4);
        assert_eq!(reserve.left(), 97);
        queue.release(3);
        assert_eq!(reserve.left(), 100);
        assert_eq!(take(&queue), Some(Some(Err(ErrorKind::ConsumerStalled))));
        assert!(!queue.consumer_done(), "done once");
        let cause = queue.snapshot().cause;
        assert_eq!(cause.unwrap().kind(), ErrorKind::ConsumerStalled);
    }

    #[test]
    fn a_consumer_that_stalls_behind_the_end_of_the_source_is_given_up_at_once() {
        let queue = queue(10);
        put(&queue, 3);
        queue.end(End::Finish);
        let stopping = queue.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
        assert!(stopping.unwrap().is_done);
        // But one that has taken everything may still confirm it.
        let taken = self::queue(10);
        taken.end(End::Finish);
        assert_eq!(take(&taken), Some(None));
        let stopping = taken.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
        assert!(!stopping.unwrap().is_done);
        assert!(taken.consumer_done());
        assert!(taken.snapshot().cause.is_none());
    }

    #[test]
    fn what_comes_after_the_consumers_end_changes_nothing() {
        let queue = queue(10);
        queue.end(End::Finish);
        assert_eq!(take(&queue), Some(None));
        assert!(queue.consumer_done());
        assert!(queue.stop(&Error::of_kind(ErrorKind::HangUp)).is_none());
        assert!(queue.snapshot().cause.is_none());
        assert!(!queue.is_stopped());
    }

    #[test]
    fn the_consumer_owes_when_there_is_something_that_it_does_not_take() {
        let queue = queue(10);
        let owes = || queue.snapshot().consumer_owes;
        assert!(!owes(), "nothing is there");
        put(&queue, 1);
        assert!(owes(), "a chunk is there");
        assert_eq!(take(&queue), Some(Some(Ok(1))));
        assert!(owes(), "it holds a chunk");
        assert_eq!(take(&queue), None);
        assert!(!owes(), "it waits for more");
        queue.end(End::Finish);
        assert!(owes(), "the end is there");
        assert_eq!(take(&queue), Some(None));
        queue.consumer_done();
        assert!(!owes());
    }

    #[test]
    fn a_pause_is_no_wait_for_the_source_whatever_the_consumer_has_asked() {
        let owes = |queue: &Queue| queue.snapshot().consumer_owes;
        // The consumer keeps its chunk and pauses before the next one.
        let held = queue(10);
        put(&held, 10);
        assert_eq!(take(&held), Some(Some(Ok(10))));
        assert_eq!(take(&held), None);
        assert!(!owes(&held), "it waits for more");
        held.pause();
        assert_eq!(take(&held), None);
        assert!(owes(&held));
        assert_eq!(held.snapshot().blocked_on, BlockedOn::Consumer);
        // The consumer pauses before the end.
        let ended = queue(10);
        ended.pause();
        ended.end(End::Finish);
        assert_eq!(take(&ended), None);
        assert!(owes(&ended));
        // The source runs only when the consumer polls.
        let driven = queue(10);
        driven.note_driven();
        driven.pause();
        assert_eq!(take(&driven), None);
        assert!(owes(&driven));
        // Nothing is queued: neither side waits, and the source's deadline runs.
        let empty = queue(10);
        empty.pause();
        assert_eq!(take(&empty), None);
        assert!(!owes(&empty));
        assert_eq!(empty.snapshot().blocked_on, BlockedOn::Nobody);
    }

    #[test]
    fn whoever_waits_is_known_at_every_moment() {
        let blocked_on = |queue: &Queue| queue.snapshot().blocked_on;
        let ended = queue(10);
        ended.end(End::Finish);
        assert_eq!(blocked_on(&ended), BlockedOn::Consumer, "the end is there");
        ended.consumer_done();
        assert_eq!(blocked_on(&ended), BlockedOn::Nobody);
        let driven = queue(10);
        assert_eq!(blocked_on(&driven), BlockedOn::Nobody);
        driven.note_driven();
        assert_eq!(blocked_on(&driven), BlockedOn::Consumer, "it does not poll");
    }

    #[test]
    fn only_a_writer_without_room_is_counted_as_waiting_for_the_consumer() {
        let nap = Duration::from_millis(2);
        let waited = |queue: &Queue| {
            std::thread::sleep(nap);
            queue.snapshot().figures.blocked_on_consumer
        };
        let queue = queue(10);
        put(&queue, 10);
        assert_eq!(take(&queue), Some(Some(Ok(10))));
        assert_eq!(waited(&queue), Duration::ZERO, "the source computes");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(queue.poll_room(1, &mut cx).is_pending());
        assert!(waited(&queue) >= nap);
        // A source that runs inside the consumer's poll waits between two polls, but not behind its end.
        let driven = self::queue(10);
        driven.note_driven();
        put(&driven, 1);
        driven.end(End::Finish);
        assert_eq!(take(&driven), Some(Some(Ok(1))));
        assert_eq!(waited(&driven), Duration::ZERO);
    }

    #[test]
    fn taking_releasing_and_reporting_are_progress_of_the_consumer() {
        let queue = queue(10);
        let moves = || queue.snapshot().figures.moves;
        put(&queue, 1);
        assert_eq!(moves(), 0);
        take(&queue);
        assert_eq!(moves(), 1);
        queue.release(1);
        assert_eq!(moves(), 2);
        queue.note_progress();
        assert_eq!(moves(), 3);
    }

    #[test]
    fn a_callback_that_comes_too_late_is_not_kept() {
        let stopped = queue(10);
        stopped.stop(&Error::of_kind(ErrorKind::Stopped));
        let done = queue(10);
        done.end(End::Finish);
        done.consumer_done();
        for (queue, is_stopped) in [(stopped, true), (done, false)] {
            let callback = StopCallback::new(Box::new(|_| {}));
            assert_eq!(queue.on_stop(&callback).is_some(), is_stopped);
            assert_eq!(Arc::strong_count(&callback), 1);
        }
    }

    #[test]
    fn a_pause_is_not_counted_as_a_wait_for_the_source() {
        let queue = queue(10);
        let waited = || queue.snapshot().figures.blocked_on_source;
        assert_eq!(take(&queue), None);
        let nap = Duration::from_millis(2);
        std::thread::sleep(nap);
        queue.pause();
        let before = waited();
        assert!(before >= nap);
        assert_eq!(take(&queue), None);
        std::thread::sleep(nap);
        assert_eq!(waited(), before);
        queue.resume();
        assert_eq!(take(&queue), None);
        std::thread::sleep(nap);
        assert!(waited() >= before + nap);
    }

    /// Not under miri, where two wakers never compare as equal.
    #[cfg(not(miri))]
    #[test]
    fn a_waker_that_is_kept_twice_is_kept_once() {
        struct Ignores;
        impl std::task::Wake for Ignores {
            fn wake(self: std::sync::Arc<Self>) {}
        }
        let queue = queue(10);
        let waker = Waker::from(std::sync::Arc::new(Ignores));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..100 {
            assert!(queue.poll_stopped(&mut cx).is_pending());
            assert!(queue.poll_done(&mut cx).is_pending());
        }
        let state = lock(&queue.state);
        assert_eq!((state.stop_wakers.len(), state.done_wakers.len()), (1, 1));
    }
}
