//! What was read from files lately: readers that follow one another read a file once.
//!
//! `reader.rs` asks for the extent of its offset, and for the next one before it needs it. The first
//! to ask starts the read (`reads.rs`), which runs to its end even if no reader waits. Readers say how far
//! they are, so that an extent is forgotten when the last that is close behind has it: memory that is
//! used again at once is in the cache of the processor. It holds no bytes that were not compared with
//! their checksums.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind},
    names::ProductionId,
    progress::wake,
    reads::Reads,
};

/// 256 reads of 256 KiB, 64 MiB: readers of one production that are within a fifth of a second at
/// 300 MB/s share their reads. What readers still hold of others is bounded by their number.
const READS_MAX: usize = 256;

/// A production, and the number of an extent of it, all of which have the size of a read.
type Place = (ProductionId, u64);

/// The extents that were read lately, or are being read.
#[derive(Default)]
pub(crate) struct Recent {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reads: HashMap<Place, Arc<Read>>,
    /// The oldest first. Some have been forgotten meanwhile.
    order: VecDeque<Place>,
    /// The next extent of each reader.
    readers: HashMap<ProductionId, HashMap<u64, u64>>,
    readers_ever: u64,
}

/// A reader whose place is known; it is forgotten when this is dropped.
pub(crate) struct Following {
    recent: Arc<Recent>,
    id: ProductionId,
    reader: u64,
}

/// One read of an extent.
pub(crate) struct Read {
    state: Mutex<ReadState>,
}

enum ReadState {
    Running(Vec<Waker>),
    Done(Result<Bytes, Error>),
}

impl Recent {
    /// The extent, if it was read or is being read.
    pub(crate) fn find(&self, id: &ProductionId, number: u64) -> Option<Arc<Read>> {
        self.lock().reads.get(&(*id, number)).cloned()
    }

    /// The extent; `read` reads it on another thread, unless it was read or is being read.
    pub(crate) fn find_or_read(
        &self,
        id: &ProductionId,
        number: u64,
        reads: &Reads,
        read: impl FnOnce() -> Result<Bytes, Error> + Send + 'static,
    ) -> Arc<Read> {
        let place = (*id, number);
        let mut state = self.lock();
        if let Some(known) = state.reads.get(&place) {
            return Arc::clone(known);
        }
        let new = Arc::new(Read {
            state: Mutex::new(ReadState::Running(Vec::new())),
        });
        state.reads.insert(place, Arc::clone(&new));
        state.order.push_back(place);
        let mut forgotten = Vec::new();
        // Twice as many places as reads: those that were forgotten have left theirs.
        while state.reads.len() > READS_MAX || state.order.len() > 2 * READS_MAX {
            let oldest = state.order.pop_front();
            forgotten.extend(oldest.and_then(|oldest| state.reads.remove(&oldest)));
        }
        drop(state);
        drop(forgotten);
        let running = Running(Arc::clone(&new));
        let started = reads.start(move || running.end(read()));
        if let Err(error) = started {
            new.end(Err(error));
        }
        new
    }

    /// Forgets a production: nobody reads it any more, or a read has failed.
    pub(crate) fn forget(&self, id: &ProductionId) {
        let mut state = self.lock();
        let forgotten: Vec<_> = state.reads.extract_if(|place, _| place.0 == *id).collect();
        state.order.retain(|place| place.0 != *id);
        drop(state);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Registers a reader that needs this extent next.
    pub(crate) fn new(recent: &Arc<Recent>, id: &ProductionId, number: u64) -> Self {
        let mut state = recent.lock();
        state.readers_ever += 1;
        let reader = state.readers_ever;
        let readers = state.readers.entry(*id).or_default();
        readers.insert(reader, number);
        drop(state);
        Self {
            recent: Arc::clone(recent),
            id: *id,
            reader,
        }
    }

    /// Whether others read the production too.
    pub(crate) fn has_company(&self) -> bool {
        let state = self.recent.lock();
        let readers = state.readers.get(&self.id);
        readers.is_some_and(|readers| readers.len() > 1)
    }

    /// Records that the reader has this extent, and needs the next one.
    pub(crate) fn passed(&self, number: u64) {
        let mut state = self.recent.lock();
        let Some(readers) = state.readers.get_mut(&self.id) else {
            return;
        };
        readers.insert(self.reader, number + 1);
        let window = number.saturating_sub(READS_MAX as u64)..=number;
        let is_wanted = readers.values().any(|next| window.contains(next));
        let forgotten = match is_wanted {
            true => None,
            false => state.reads.remove(&(self.id, number)),
        };
        drop(state);
        drop(forgotten);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.recent.lock();
        if let Some(readers) = state.readers.get_mut(&self.id) {
            readers.remove(&self.reader);
            if readers.is_empty() {
                state.readers.remove(&self.id);
            }
        }
    }
}

impl Read {
    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Result<Bytes, Error> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        match &mut *state {
            ReadState::Running(wakers) => {
                // One that polls again has its waker here already, usually.
                if !wakers.iter().any(|kept| kept.will_wake(&waker)) {
                    wakers.push(waker);
                }
                Poll::Pending
            }
            ReadState::Done(result) => Poll::Ready(result.clone()),
        }
    }

    /// The first end counts.
    fn end(&self, result: Result<Bytes, Error>) {
        let mut state = self.lock();
        let ReadState::Running(wakers) = &mut *state else {
            return;
        };
        let wakers = std::mem::take(wakers);
        *state = ReadState::Done(result);
        drop(state);
        wake(wakers);
    }

    fn lock(&self) -> MutexGuard<'_, ReadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read that ends in any case: one that is never run, because the threads are shut down, fails.
struct Running(Arc<Read>);

impl Running {
    fn end(self, result: Result<Bytes, Error>) {
        self.0.end(result);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let text = "a read was given up";
        self.0.end(Err(Error::new(ErrorKind::Closed, text)));
    }
}
