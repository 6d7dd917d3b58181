//! The byte-bounded queue between one source and one consumer: order, back-pressure, pause,
//! resume, stop, the end, and every wake-up.
//!
//! `writer.rs` pushes, `reader.rs` polls; chunks that the consumer holds count until
//! `release`. End and error stand behind the chunks in the same queue, so nothing overtakes the
//! data. This file knows no chunk memory, no threads, no deadlines.
//!
//! Rules that keep it right: foreign code (wakers, callbacks, the drop of a chunk, which calls
//! `release`) runs after unlocking; only the holder of the writer's lock pushes.

use std::{
    collections::VecDeque,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    config::OnStop,
    error::{Error, ErrorKind},
    record::BlockedOn,
    sync::{AtomicBool, Condvar, Mutex, MutexGuard, lock, wait},
};

/// What stands behind the last chunk.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Finish,
    Abort(Error),
}

/// Runs when the stream is stopped; gets the reason.
pub(crate) type StopCallback = Box<dyn FnOnce(&Error) + Send>;

pub(crate) struct Queue {
    state: Mutex<State>,
    /// Where the source waits for room.
    room: Condvar,
    /// True from the first stop on; read without the lock at every write.
    stopped: AtomicBool,
    /// Bound of queued and held bytes.
    limit_bytes: usize,
    on_stop: OnStop,
}

struct State {
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    queued_bytes: usize,
    /// Bytes that the consumer has taken and not yet dropped.
    held_bytes: usize,
    paused: bool,
    /// Why writers must stop.
    stop: Option<Error>,
    /// What the consumer gets after `chunks`.
    end: Option<End>,
    /// Set while the consumer waits for a chunk; taken by whoever wakes it.
    reader: Option<Waker>,
    writers_waiting: usize,
    source_done: bool,
    consumer_done: bool,
    stop_callbacks: Vec<StopCallback>,
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
    /// Bytes that the consumer has taken or let go of: grows whenever it makes progress.
    pub(crate) bytes_moved: u64,
    pub(crate) blocked_on_consumer: Duration,
    pub(crate) blocked_on_source: Duration,
}

/// A look at the queue for records and deadlines.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) figures: Figures,
    pub(crate) blocked_on: BlockedOn,
    /// Something is there for the consumer that it has not taken or not let go of.
    pub(crate) consumer_owes: bool,
    pub(crate) source_done: bool,
    pub(crate) consumer_done: bool,
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize, on_stop: OnStop) -> Self {
        Self {
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                queued_bytes: 0,
                held_bytes: 0,
                paused: false,
                stop: None,
                end: None,
                reader: None,
                writers_waiting: 0,
                source_done: false,
                consumer_done: false,
                stop_callbacks: Vec::new(),
                stop_wakers: Vec::new(),
                done_wakers: Vec::new(),
                figures: Figures::default(),
                reader_waits_since: None,
                writer_waits_since: None,
            }),
            room: Condvar::new(),
            stopped: AtomicBool::new(false),
            limit_bytes,
            on_stop,
        }
    }

    // ---- the source's side ----

    /// Appends a chunk; waits while there is no room for it.
    ///
    /// # Errors
    /// Why the stream was stopped, or that it has ended.
    pub(crate) fn push(&self, chunk: Bytes) -> Result<(), Error> {
        let mut state = lock(&self.state);
        while !state.has_room(chunk.len(), self.limit_bytes) {
            state = self.wait_for_room(state);
        }
        if let Err(error) = state.check_open() {
            drop(state);
            drop(chunk);
            return Err(error);
        }
        let reader = state.append(chunk);
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Appends a chunk if there is room now; gives it back otherwise.
    pub(crate) fn try_push(&self, chunk: Bytes) -> Result<(), Bytes> {
        let mut state = lock(&self.state);
        if state.check_open().is_err() || !state.has_room(chunk.len(), self.limit_bytes) {
            drop(state);
            return Err(chunk);
        }
        let reader = state.append(chunk);
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Says whether a chunk of so many bytes would pass without waiting.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        lock(&self.state).has_room(bytes, self.limit_bytes)
    }

    fn wait_for_room<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.writers_waiting += 1;
        state.writer_waits_since.get_or_insert_with(Instant::now);
        state = wait(&self.room, state);
        state.writers_waiting -= 1;
        if state.writers_waiting == 0
            && let Some(since) = state.writer_waits_since.take()
        {
            state.figures.blocked_on_consumer += since.elapsed();
        }
        state
    }

    /// Puts the end behind the chunks; the first end counts. Returns whether the stream is done.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        state.source_done = true;
        let reader = state.take_reader();
        let done = state.take_done_wakers();
        drop(state);
        wake(reader);
        wake_done(done)
    }

    /// Says whether the stream was stopped; one load, no lock.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Says why writing is over, if it is.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        lock(&self.state).check_open()
    }

    /// Keeps a callback for the stop; gives it back with the reason if that was already.
    pub(crate) fn on_stop(&self, callback: StopCallback) -> Option<(StopCallback, Error)> {
        let mut state = lock(&self.state);
        match state.stop.clone() {
            Some(error) => Some((callback, error)),
            None => {
                state.stop_callbacks.push(callback);
                None
            }
        }
    }

    /// Polls for the stop.
    pub(crate) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<Error> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.stop {
            return Poll::Ready(error.clone());
        }
        keep_waker(&mut state.stop_wakers, cx.waker());
        Poll::Pending
    }

    // ---- the consumer's side ----

    /// Takes the next chunk, or the end: `None` is a finish, an error an abort.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut state = lock(&self.state);
        if state.paused && state.stop.is_none() {
            state.keep_reader(cx.waker());
            return Poll::Pending;
        }
        if let Some(chunk) = state.chunks.pop_front() {
            state.count_delivered(chunk.len());
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &state.end {
            Some(End::Finish) => Poll::Ready(None),
            Some(End::Abort(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                state.keep_reader(cx.waker());
                state.reader_waits_since.get_or_insert_with(Instant::now);
                // A consumer that keeps its chunks and still asks must get more (see has_room).
                let someone_waits = state.writers_waiting > 0;
                drop(state);
                if someone_waits {
                    self.room.notify_one();
                }
                Poll::Pending
            }
        }
    }

    /// Counts a chunk that a pulled source hands to the reader without queueing it.
    #[cfg(feature = "futures")]
    pub(crate) fn count_direct(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.figures.bytes_pushed += bytes as u64;
        state.queued_bytes += bytes;
        state.count_delivered(bytes);
        state.held_bytes -= bytes;
        drop(state.take_reader());
    }

    #[cfg(feature = "futures")]
    pub(crate) fn is_paused(&self) -> bool {
        lock(&self.state).paused
    }

    /// Takes back the room of bytes that the consumer has let go of.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
        state.figures.bytes_moved += bytes as u64;
        // In batches: a source woken for every chunk runs a chunk at a time, with two thread
        // switches each; one woken at half runs half the buffer.
        let wake = state.writers_waiting > 0 && state.live_bytes() <= self.limit_bytes / 2;
        drop(state);
        if wake {
            self.room.notify_one();
        }
    }

    /// Says that the consumer has seen the end or is gone. Returns whether the stream is done.
    pub(crate) fn consumer_done(&self) -> bool {
        let mut state = lock(&self.state);
        state.consumer_done = true;
        let chunks = state.discard_chunks();
        let done = state.take_done_wakers();
        drop(state);
        drop(chunks);
        wake_done(done)
    }

    // ---- from anywhere ----

    pub(crate) fn pause(&self) {
        lock(&self.state).paused = true;
    }

    pub(crate) fn resume(&self) {
        let mut state = lock(&self.state);
        state.paused = false;
        let reader = state.take_reader();
        drop(state);
        wake(reader);
    }

    /// Stops the stream: writers fail from now on, the consumer gets the end as configured
    /// after what is queued; one that hung up gets nothing. Returns the callbacks to run, or
    /// `None` if the stream was stopped or over.
    pub(crate) fn stop(&self, error: &Error) -> Option<Vec<StopCallback>> {
        let mut state = lock(&self.state);
        if state.stop.is_some() || state.consumer_done {
            return None;
        }
        self.stopped.store(true, Ordering::Release);
        state.stop = Some(error.clone());
        let finish = self.on_stop == OnStop::Finish && error.kind() == ErrorKind::Stopped;
        if !matches!(state.end, Some(End::Abort(_))) {
            state.end = Some(if finish {
                End::Finish
            } else {
                End::Abort(error.clone())
            });
        }
        let chunks = (error.kind() == ErrorKind::HangUp).then(|| state.discard_chunks());
        let callbacks = std::mem::take(&mut state.stop_callbacks);
        let stop_wakers = std::mem::take(&mut state.stop_wakers);
        let reader = state.take_reader();
        drop(state);
        self.room.notify_all();
        drop(chunks);
        wake(reader);
        stop_wakers.into_iter().for_each(Waker::wake);
        Some(callbacks)
    }

    /// Polls until source and consumer are both done.
    pub(crate) fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.source_done && state.consumer_done {
            return Poll::Ready(());
        }
        keep_waker(&mut state.done_wakers, cx.waker());
        Poll::Pending
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        matches!(&lock(&self.state).stop, Some(error) if error.kind() == ErrorKind::HangUp)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = lock(&self.state);
        let mut figures = state.figures;
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
        }
    }
}

impl State {
    fn live_bytes(&self) -> usize {
        self.queued_bytes + self.held_bytes
    }

    /// Room is: below the bound; or nothing there at all, so that a chunk above the bound can
    /// pass; or a consumer that waits although it holds everything (it collects chunks). A
    /// stopped stream lets every writer through to its error.
    fn has_room(&self, bytes: usize, limit_bytes: usize) -> bool {
        self.stop.is_some()
            || self.live_bytes() + bytes <= limit_bytes
            || self.live_bytes() == 0
            || (self.chunks.is_empty() && self.reader.is_some() && !self.paused)
    }

    fn check_open(&self) -> Result<(), Error> {
        match (&self.stop, &self.end) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(_)) => Err(Error::of_kind(ErrorKind::Ended)),
            (None, None) => Ok(()),
        }
    }

    fn append(&mut self, chunk: Bytes) -> Option<Waker> {
        self.queued_bytes += chunk.len();
        self.figures.bytes_pushed += chunk.len() as u64;
        self.chunks.push_back(chunk);
        if self.paused {
            return None;
        }
        self.take_reader()
    }

    fn count_delivered(&mut self, bytes: usize) {
        self.queued_bytes -= bytes;
        self.held_bytes += bytes;
        self.figures.bytes_delivered += bytes as u64;
        self.figures.bytes_moved += bytes as u64;
        self.figures.chunks_delivered += 1;
        if self.figures.first_byte.is_none() {
            self.figures.first_byte = Some(Instant::now());
        }
    }

    fn keep_reader(&mut self, waker: &Waker) {
        match &mut self.reader {
            Some(kept) => kept.clone_from(waker),
            None => self.reader = Some(waker.clone()),
        }
    }

    fn take_reader(&mut self) -> Option<Waker> {
        if let Some(since) = self.reader_waits_since.take() {
            self.figures.blocked_on_source += since.elapsed();
        }
        self.reader.take()
    }

    fn take_done_wakers(&mut self) -> Option<Vec<Waker>> {
        (self.source_done && self.consumer_done).then(|| std::mem::take(&mut self.done_wakers))
    }

    /// Empties the queue; what comes back must be dropped after unlocking. Each chunk's drop
    /// releases its bytes, so they move to `held_bytes` first.
    fn discard_chunks(&mut self) -> VecDeque<Bytes> {
        self.held_bytes += std::mem::take(&mut self.queued_bytes);
        std::mem::take(&mut self.chunks)
    }

    fn consumer_owes(&self) -> bool {
        let waits_for_source = self.reader.is_some() && self.chunks.is_empty();
        !self.consumer_done
            && !waits_for_source
            && (self.live_bytes() > 0 || self.end.is_some() || self.writers_waiting > 0)
    }

    fn blocked_on(&self) -> BlockedOn {
        if self.writers_waiting > 0 || self.paused {
            BlockedOn::Consumer
        } else if self.reader.is_some() {
            BlockedOn::Source
        } else if self.source_done && !self.consumer_done {
            BlockedOn::Consumer
        } else {
            BlockedOn::Nobody
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Wakes who waits for the whole stream; says whether it is done.
fn wake_done(wakers: Option<Vec<Waker>>) -> bool {
    let done = wakers.is_some();
    wakers.into_iter().flatten().for_each(Waker::wake);
    done
}

fn keep_waker(list: &mut Vec<Waker>, waker: &Waker) {
    if !list.iter().any(|kept| kept.will_wake(waker)) {
        list.push(waker.clone());
    }
}
