//! What readers wait for: how far a production is, its newest bytes, its length and its end.
//!
//! `pump.rs` writes it, `reader.rs` and `production.rs` wait for it. It owns no file. Wakers are
//! cloned, called and dropped while nothing is locked.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    blocks::{BlockSums, Extent, NewSums},
    digests::Digests,
    error::Failure,
    sync::{Mutex, lock},
};

/// What a piece of the tail counts at least, in bytes: a source that flushes every few bytes fills
/// the tail with small pieces, each of which has an allocation and a place in a list.
const PIECE_BYTES_MIN: usize = 1024;

/// How far a production is.
pub(crate) struct Progress {
    state: Mutex<Sight>,
}

/// What is known of a production at one moment.
pub(crate) struct Sight {
    /// Bytes that readers may take.
    bytes: u64,
    /// The newest of them.
    tail: Tail,
    sums: BlockSums,
    /// Promised, or final.
    length: Option<u64>,
    phase: Phase,
    rows: u64,
    digests: Option<Digests>,
    waiting: HashMap<u64, Waiting>,
    waiters: u64,
}

/// The stages of a production.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Found at the start: complete, but its bytes have not been checked, so none may be taken.
    Unverified,
    /// Its bytes are being checked.
    Verifying,
    Running,
    /// All bytes are there, and not yet synchronized to the storage.
    Produced,
    Complete,
    Failed(Failure),
}

/// What a reader may do at its offset.
#[derive(Debug)]
pub(crate) enum Next {
    /// Newest bytes, from the offset on.
    Memory(Bytes),
    /// The file has them.
    File,
    /// The production ends at or before the offset.
    End,
    Failed(Failure),
}

/// What wakes a waiter; the end of the production always does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// A byte at this offset.
    Byte(u64),
    Length,
    End,
}

struct Waiting {
    wants: Wants,
    waker: Waker,
}

impl Progress {
    /// A production that runs.
    pub(crate) fn running(tail_bytes: usize) -> Self {
        Self::new(Phase::Running, tail_bytes)
    }

    /// A complete production that was found at the start.
    pub(crate) fn found(bytes: u64, rows: u64, digests: Digests) -> Self {
        let progress = Self::new(Phase::Unverified, 0);
        let mut state = lock(&progress.state);
        state.bytes = bytes;
        state.length = Some(bytes);
        state.rows = rows;
        state.digests = Some(digests);
        drop(state);
        progress
    }

    fn new(phase: Phase, tail_bytes: usize) -> Self {
        Self {
            state: Mutex::new(Sight {
                bytes: 0,
                tail: Tail::new(tail_bytes),
                sums: BlockSums::default(),
                length: None,
                phase,
                rows: 0,
                digests: None,
                waiting: HashMap::new(),
                waiters: 0,
            }),
        }
    }

    // ---- the pump's side ----

    /// Records that the file has these bytes behind those before.
    pub(crate) fn publish(&self, piece: Bytes, sums: NewSums) {
        let mut state = lock(&self.state);
        state.sums.extend(sums);
        state.bytes += piece.len() as u64;
        let dropped = state.tail.push(piece);
        let woken = state.take_woken();
        drop(state);
        drop(dropped);
        wake(woken);
    }

    pub(crate) fn promise_length(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.length = Some(bytes);
        let woken = state.take_woken();
        drop(state);
        wake(woken);
    }

    /// Records that all bytes are there.
    pub(crate) fn produced(&self, rows: u64, digests: Digests) {
        let mut state = lock(&self.state);
        state.length = Some(state.bytes);
        state.rows = rows;
        state.digests = Some(digests);
        drop(state);
        self.enter(Phase::Produced);
    }

    /// Records that the production is complete, or as good as when it was written.
    pub(crate) fn complete(&self) {
        self.enter(Phase::Complete);
    }

    /// Records that a production which was found at the start is what its manifest says.
    pub(crate) fn verified(&self, sums: NewSums) {
        lock(&self.state).sums.extend(sums);
        self.complete();
    }

    /// Fails the production. Returns whether it had not failed before: the first failure counts.
    pub(crate) fn fail(&self, failure: Failure) -> bool {
        self.enter(Phase::Failed(failure))
    }

    /// Returns whether the phase was entered: a failure is the last one.
    fn enter(&self, phase: Phase) -> bool {
        let mut state = lock(&self.state);
        let has_failed = matches!(state.phase, Phase::Failed(_));
        let replaced = match has_failed {
            true => phase,
            false => std::mem::replace(&mut state.phase, phase),
        };
        let woken = state.take_woken();
        drop(state);
        drop(replaced);
        wake(woken);
        !has_failed
    }

    /// Gives the memory of the newest bytes back: from now on readers read the file.
    pub(crate) fn forget_tail(&self) {
        let tail = lock(&self.state).tail.take();
        drop(tail);
    }

    // ---- everybody else's ----

    /// Claims the check of a production that was found at the start; true for one caller.
    pub(crate) fn begin_verifying(&self) -> bool {
        let mut state = lock(&self.state);
        let is_first = matches!(state.phase, Phase::Unverified);
        if is_first {
            state.phase = Phase::Verifying;
        }
        is_first
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Sight) -> T) -> T {
        look(&lock(&self.state))
    }

    /// Waits until `look` finds something.
    pub(crate) async fn wait<T>(
        &self,
        wants: Wants,
        mut look: impl FnMut(&Sight) -> Option<T>,
    ) -> T {
        let mut waiter = Waiter {
            progress: self,
            id: None,
        };
        poll_fn(|cx| waiter.poll(cx, wants, &mut look)).await
    }

    /// Waits until there is something for a reader.
    pub(crate) async fn next(&self, at: u64) -> Next {
        self.wait(Wants::Byte(at), |sight| sight.next(at)).await
    }
}

impl Sight {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn digests(&self) -> Option<Digests> {
        self.digests
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What a reader at this offset may do; `None`: wait.
    fn next(&self, at: u64) -> Option<Next> {
        match &self.phase {
            Phase::Unverified | Phase::Verifying => None,
            _ if at < self.bytes => Some(match self.tail.from(at, self.bytes) {
                Some(piece) => Next::Memory(piece),
                None => Next::File,
            }),
            Phase::Running => None,
            Phase::Produced | Phase::Complete => Some(Next::End),
            Phase::Failed(failure) => Some(Next::Failed(failure.clone())),
        }
    }

    /// The blocks with the bytes of a range, at most so many bytes; that at `at` is there.
    pub(crate) fn extent(&self, at: u64, until: u64, bytes_max: u64) -> Extent {
        self.sums.extent(at, until, self.bytes, bytes_max)
    }

    /// The blocks of a range that are all there, up to the end of the production: they stay as they
    /// are. `None`: the range is not there, or will have more.
    pub(crate) fn settled_extent(&self, begin: u64, end: u64) -> Option<Extent> {
        let is_settled = match &self.phase {
            Phase::Unverified | Phase::Verifying | Phase::Failed(_) => false,
            Phase::Running => end <= self.bytes,
            Phase::Produced | Phase::Complete => begin < self.bytes,
        };
        is_settled.then(|| self.extent(begin, end, end - begin))
    }

    /// The wakers of those that wait for what is there now.
    fn take_woken(&mut self) -> Vec<Waker> {
        let is_over = matches!(
            self.phase,
            Phase::Produced | Phase::Complete | Phase::Failed(_)
        );
        let (bytes, length) = (self.bytes, self.length);
        let is_there = |wants| match wants {
            Wants::Byte(at) => at < bytes,
            Wants::Length => length.is_some(),
            Wants::End => false,
        };
        let woken = self
            .waiting
            .extract_if(|_, waiting| is_over || is_there(waiting.wants));
        woken.map(|(_, waiting)| waiting.waker).collect()
    }
}

/// A place among those that wait; left when it is dropped.
struct Waiter<'a> {
    progress: &'a Progress,
    id: Option<u64>,
}

impl Waiter<'_> {
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        wants: Wants,
        look: &mut impl FnMut(&Sight) -> Option<T>,
    ) -> Poll<T> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.progress.state);
        // Looked and registered under one lock: what comes in between would wake nobody.
        if let Some(found) = look(&state) {
            drop(state);
            return Poll::Ready(found);
        }
        let id = *self.id.get_or_insert_with(|| {
            state.waiters += 1;
            state.waiters
        });
        let replaced = state.waiting.insert(id, Waiting { wants, waker });
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let forgotten = lock(&self.progress.state).waiting.remove(&id);
            drop(forgotten);
        }
    }
}

pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        // A waker that panics keeps no other reader waiting.
        let wake = std::panic::AssertUnwindSafe(|| waker.wake());
        let _panicked = std::panic::catch_unwind(wake);
    }
}

/// The newest bytes, in pieces that end where the production ends now.
struct Tail {
    pieces: VecDeque<Bytes>,
    /// Bytes of all pieces.
    bytes: u64,
    /// What the pieces count: see [`PIECE_BYTES_MIN`].
    cost: usize,
    cost_max: usize,
}

impl Tail {
    fn new(cost_max: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            cost: 0,
            cost_max,
        }
    }

    /// Appends a piece; returns those that are no longer kept.
    fn push(&mut self, piece: Bytes) -> Vec<Bytes> {
        self.bytes += piece.len() as u64;
        self.cost += cost(&piece);
        self.pieces.push_back(piece);
        let mut dropped = Vec::new();
        while self.cost > self.cost_max {
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            self.bytes -= oldest.len() as u64;
            self.cost -= cost(&oldest);
            dropped.push(oldest);
        }
        dropped
    }

    fn take(&mut self) -> Self {
        self.cost_max = 0;
        std::mem::replace(self, Self::new(0))
    }

    /// The bytes from an offset on that are in one piece, if they are still kept.
    fn from(&self, at: u64, end: u64) -> Option<Bytes> {
        let mut begin = end - self.bytes;
        // From the back: most readers that get here want the newest.
        if at < begin {
            return None;
        }
        for piece in &self.pieces {
            let next = begin + piece.len() as u64;
            if at < next {
                return usize::try_from(at - begin)
                    .ok()
                    .map(|skip| piece.slice(skip..));
            }
            begin = next;
        }
        None
    }
}

fn cost(piece: &Bytes) -> usize {
    piece.len().max(PIECE_BYTES_MIN)
}
