//! Admission of streams: a bounded number of active streams, a bounded queue of waiting streams,
//! and threads that are reused.
//!
//! A stream holds its place from admission until source **and** consumer are done, so the pool
//! bounds memory as well: at most `max_active` times the stream's buffer, plus the reserve. Threads
//! only run sources.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    mem::take,
    sync::{Arc, OnceLock, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    depth::Reserve,
    disposal::dispose,
    error::{Error, ErrorKind},
    pool_options::PoolOptions,
    queue::End,
    record::{Record, StreamId},
    share::{Membership, Share, Shares},
    stream_core::StreamCore,
    sync::{Condvar, Mutex, lock, wait_timeout},
};

/// A bounded set of streams and their threads. Clones refer to the same pool.
///
/// ```
/// use datastreamer::{ErrorKind, PoolOptions, StreamPool};
/// let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
/// let first = pool.stream_out(|out| out.write_slice(b"first"));
/// let second = pool.stream_out(|out| out.write_slice(b"second"));
/// assert_eq!(second.read_to_vec().unwrap_err().kind(), ErrorKind::Busy);
/// assert_eq!(first.read_to_vec()?, b"first");
/// # Ok::<(), datastreamer::Error>(())
/// ```
#[derive(Clone)]
pub struct StreamPool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PoolOptions,
    reserve: Reserve,
    state: Mutex<State>,
    /// Idle threads wait here for a job.
    job_ready: Condvar,
    /// A shutdown waits here for the end of the last stream.
    became_empty: Condvar,
}

#[derive(Default)]
struct State {
    /// Places taken.
    active: usize,
    /// Threads that wait for a job, or are about to because their source has returned.
    idle_threads: usize,
    threads: usize,
    threads_started: u64,
    /// Jobs that idle threads are about to take: never more than `idle_threads`.
    jobs: VecDeque<Run>,
    waiting: VecDeque<Waiting>,
    shares: Shares,
    /// Streams that are not done, including the waiting ones.
    live: HashMap<StreamId, Weak<StreamCore>>,
    shutting_down: bool,
}

/// A stream that waits for a place: none of these could have one now.
struct Waiting {
    job: Job,
    membership: Membership,
}

/// A stream's source, ready to run.
pub(crate) struct Job {
    pub(crate) core: Arc<StreamCore>,
    pub(crate) source: Source,
}

pub(crate) enum Source {
    Thread(ThreadSource),
    /// The reader polls the source once there is a place: see `async_source.rs`.
    Reader,
}

/// Catches its own panics: see streamer.rs::run.
type ThreadSource = Box<dyn FnOnce() -> End + Send>;

/// A thread's job: the stream and its source.
type Run = (Arc<StreamCore>, ThreadSource);

impl Job {
    /// Ends a stream whose source never runs. The source is dropped elsewhere: the caller may be an
    /// event loop, or the watchdog.
    pub(crate) fn end_unrun(self, error: Error) {
        let Self { core, source } = self;
        core.end_source(End::Abort(error));
        source.dispose();
    }
}

impl Source {
    fn dispose(self) {
        if let Self::Thread(source) = self {
            dispose(move || drop(source));
        }
    }
}

/// A job that gets no place, and why.
pub(crate) struct Refused {
    pub(crate) job: Job,
    pub(crate) error: Error,
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Streams that were still running at the deadline and were aborted.
    pub aborted: usize,
    /// Streams whose source or consumer was not done at the end of the grace period.
    pub left: usize,
}

impl StreamPool {
    /// Creates a pool; threads are started when streams need them.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                reserve: Reserve::new(options.reserve_bytes),
                options,
                state: Mutex::default(),
                job_ready: Condvar::new(),
                became_empty: Condvar::new(),
            }),
        }
    }

    /// Returns the process's global pool, which has the default options.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<StreamPool> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::new(PoolOptions::default()))
    }

    /// Returns the number of streams that hold a place.
    pub fn active(&self) -> usize {
        lock(&self.shared.state).active
    }

    /// Returns the number of streams that wait for a place.
    pub fn waiting(&self) -> usize {
        lock(&self.shared.state).waiting.len()
    }

    /// Returns the number of threads, including idle ones.
    pub fn threads(&self) -> usize {
        lock(&self.shared.state).threads
    }

    /// Returns the records of all streams that are not done, in no particular order.
    pub fn records(&self) -> Vec<Record> {
        self.live_streams()
            .iter()
            .map(|core| core.record())
            .collect()
    }

    pub(crate) fn live_streams(&self) -> Vec<Arc<StreamCore>> {
        let state = lock(&self.shared.state);
        state.live.values().filter_map(Weak::upgrade).collect()
    }

    /// Refuses new and waiting streams from now on; running streams continue.
    pub fn refuse_new(&self) {
        let waiting = {
            let mut state = lock(&self.shared.state);
            state.shutting_down = true;
            let waiting = take(&mut state.waiting).into_iter();
            let jobs = waiting.map(|waiting| state.no_longer_waiting(waiting));
            jobs.collect::<Vec<_>>()
        };
        for job in waiting {
            job.end_unrun(Error::of_kind(ErrorKind::ShutDown));
        }
        self.shared.job_ready.notify_all();
    }

    /// Shuts the pool down, blocking: refuses new streams, lets running streams continue until the
    /// deadline, then stops them with [`ErrorKind::ShutDown`], which their consumers see as an
    /// abort, and waits at most `grace` for the sources to clean up.
    pub fn shutdown(&self, deadline: Duration, grace: Duration) -> Shutdown {
        self.refuse_new();
        if self.wait_until_empty(deadline) {
            return Shutdown {
                aborted: 0,
                left: 0,
            };
        }
        let aborted = self.abort_all();
        self.wait_until_empty(grace);
        Shutdown {
            aborted,
            left: lock(&self.shared.state).live.len(),
        }
    }

    /// Stops every stream with [`ErrorKind::ShutDown`]; returns how many streams it stopped.
    pub fn abort_all(&self) -> usize {
        let live = self.live_streams();
        for core in &live {
            core.stop(Error::of_kind(ErrorKind::ShutDown));
        }
        live.len()
    }

    /// Blocks until no stream is left, at most for `timeout`; returns whether none is left.
    pub fn wait_until_empty(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut state = lock(&self.shared.state);
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            if state.live.is_empty() || left.is_zero() {
                return state.live.is_empty();
            }
            state = wait_timeout(&self.shared.became_empty, state, left);
        }
    }

    pub(crate) fn reserve(&self) -> &Reserve {
        &self.shared.reserve
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn logs_ends(&self) -> bool {
        self.shared.options.log_ends
    }

    pub(crate) fn queue_timeout(&self) -> Duration {
        self.shared.options.queue_timeout
    }

    // ---- admission ----

    /// Runs a stream's job, now or when it has a place: a place of its own, or the one of `other`.
    ///
    /// # Errors
    /// `Busy`, `ShutDown`, or why the stream was stopped before it could run.
    pub(crate) fn submit(&self, job: Job, other: Option<&Arc<StreamCore>>) -> Result<(), Refused> {
        let options = &self.shared.options;
        let mut state = lock(&self.shared.state);
        // A stop either comes before this check, or finds the job among the waiting ones: see
        // forget_waiting.
        if let Err(error) = job
            .core
            .queue
            .check_open()
            .and_then(|()| state.check_open())
        {
            return Err(Refused { job, error });
        }
        if let Some(other) = other {
            state.add_live(&job.core);
            drop(state);
            let pool = self.clone();
            other.share_place(Box::new(move |slot| pool.run_admitted(job, slot)));
            return Ok(());
        }
        let membership = state.shares.join(&job.core.settings.shares);
        if !state.has_place(&membership, options.max_active) {
            if let Err(error) = state.check_waiting(&membership, options.max_waiting) {
                state.shares.leave(membership);
                return Err(Refused { job, error });
            }
            state.add_live(&job.core);
            membership.begin_waiting();
            state.waiting.push_back(Waiting { job, membership });
            return Ok(());
        }
        state.add_live(&job.core);
        state.begin(&membership);
        drop(state);
        self.run_admitted(job, Ok(Some(self.new_slot(membership))));
        Ok(())
    }

    /// Says why a stream in these shares would be refused now, if it would.
    pub(crate) fn check_admission(&self, shares: &[Share]) -> Result<(), Error> {
        let options = &self.shared.options;
        let mut state = lock(&self.shared.state);
        state.check_open()?;
        let membership = state.shares.join(shares);
        let checked = match state.has_place(&membership, options.max_active) {
            true => Ok(()),
            false => state.check_waiting(&membership, options.max_waiting),
        };
        state.shares.leave(membership);
        checked
    }

    /// Says why a stream that has waited for too long has no place.
    pub(crate) fn check_late(&self, id: StreamId) -> Result<(), Error> {
        let state = lock(&self.shared.state);
        let waiting = state.waiting.iter().find(|it| it.job.core.id == id);
        waiting.map_or(Ok(()), |waiting| waiting.membership.check_room())
    }

    /// Runs a job in its place; if it got none, ends its stream with the reason.
    fn run_admitted(&self, job: Job, slot: Result<Option<Arc<Slot>>, Error>) {
        let core = Arc::clone(&job.core);
        match slot {
            // The place first: the source may be done before this function returns.
            Ok(slot) => core.decide_place(Ok(slot)),
            Err(error) => return job.end_unrun(error),
        }
        if let Err(error) = self.run(job) {
            core.end_source(End::Abort(error));
        }
    }

    /// Creates a place that has been counted already.
    fn new_slot(&self, membership: Membership) -> Arc<Slot> {
        Arc::new(Slot {
            pool: self.clone(),
            membership,
        })
    }

    /// Removes a stream from the waiting ones; returns whether it was waiting.
    pub(crate) fn forget_waiting(&self, id: StreamId) -> bool {
        let mut state = lock(&self.shared.state);
        let place = state.waiting.iter().position(|it| it.job.core.id == id);
        let waiting = place.and_then(|place| state.waiting.remove(place));
        let job = waiting.map(|waiting| state.no_longer_waiting(waiting));
        drop(state);
        let is_forgotten = job.is_some();
        job.into_iter().for_each(|job| job.source.dispose());
        is_forgotten
    }

    /// Forgets a stream that is done.
    pub(crate) fn forget(&self, id: StreamId) {
        let mut state = lock(&self.shared.state);
        let forgotten = state.live.remove(&id);
        let empty = state.live.is_empty();
        drop(state);
        drop(forgotten);
        if empty {
            self.shared.became_empty.notify_all();
        }
    }

    /// Gives a place back, and places to the streams that can have one now. They can be more than
    /// one: each had waited for another share of the one that has ended.
    fn give_back(&self, membership: Membership) {
        let mut state = lock(&self.shared.state);
        state.active -= 1;
        membership.end();
        state.shares.leave(membership);
        let mut admitted = Vec::new();
        while let Some(next) = state.next_admitted(self.shared.options.max_active) {
            admitted.push(next);
        }
        drop(state);
        for Waiting { job, membership } in admitted {
            self.run_admitted(job, Ok(Some(self.new_slot(membership))));
        }
    }

    fn run(&self, job: Job) -> Result<(), Error> {
        match job.source {
            Source::Thread(source) => self.run_on_a_thread((job.core, source)),
            Source::Reader => {
                job.core.let_reader_poll();
                Ok(())
            }
        }
    }

    // ---- threads ----

    fn run_on_a_thread(&self, run: Run) -> Result<(), Error> {
        let mut state = lock(&self.shared.state);
        if state.idle_threads > state.jobs.len() {
            state.jobs.push_back(run);
            drop(state);
            self.shared.job_ready.notify_one();
            return Ok(());
        }
        state.threads += 1;
        state.threads_started += 1;
        let name = format!(
            "{}-{}",
            self.shared.options.thread_name, state.threads_started
        );
        drop(state);
        self.spawn(name, run).map_err(|error| {
            lock(&self.shared.state).threads -= 1;
            no_thread(&error)
        })
    }

    fn spawn(&self, name: String, run: Run) -> io::Result<()> {
        let mut builder = thread::Builder::new().name(name);
        if let Some(bytes) = self.shared.options.stack_bytes {
            builder = builder.stack_size(bytes);
        }
        let pool = self.clone();
        builder.spawn(move || pool.work(run)).map(drop)
    }

    fn work(&self, first: Run) {
        let mut next = Some(first);
        while let Some((core, source)) = next {
            let end = source();
            // Counted as idle before the end is set: the end may pass the place on, and its next
            // holder should reuse this thread rather than start another. Nothing foreign is dropped
            // here that could block: callbacks are dropped elsewhere (disposal.rs).
            lock(&self.shared.state).idle_threads += 1;
            core.end_source(end);
            drop(core);
            next = self.next_job();
        }
    }

    /// Waits for a job as an idle thread; after `idle_thread` without a job the thread is no longer
    /// counted and ends.
    fn next_job(&self) -> Option<Run> {
        let idle_since = Instant::now();
        let mut state = lock(&self.shared.state);
        loop {
            let job = state.jobs.pop_front();
            let idle_thread = self.shared.options.idle_thread;
            let left = idle_thread.saturating_sub(idle_since.elapsed());
            if job.is_some() || left.is_zero() || state.shutting_down {
                state.idle_threads -= 1;
                state.threads -= usize::from(job.is_none());
                return job;
            }
            state = wait_timeout(&self.shared.job_ready, state, left);
        }
    }
}

impl State {
    fn check_open(&self) -> Result<(), Error> {
        if self.shutting_down {
            return Err(Error::of_kind(ErrorKind::ShutDown));
        }
        Ok(())
    }

    fn has_place(&self, membership: &Membership, max_active: usize) -> bool {
        self.active < max_active && membership.has_room()
    }

    /// Says why a stream may not wait, if that is so.
    fn check_waiting(&self, membership: &Membership, max_waiting: usize) -> Result<(), Error> {
        membership.check_waiting()?;
        if self.waiting.len() >= max_waiting {
            membership.check_room()?;
            return Err(busy(self));
        }
        Ok(())
    }

    /// Counts a stream that gets a place.
    fn begin(&mut self, membership: &Membership) {
        self.active += 1;
        membership.begin();
    }

    /// Gives a place to the stream that is next: of those that can have one, that of the consumer
    /// with the fewest running streams; of these, the one that has waited longest.
    fn next_admitted(&mut self, max_active: usize) -> Option<Waiting> {
        if self.active >= max_active {
            return None;
        }
        let waiting = self.waiting.iter().enumerate();
        let able = waiting.filter(|(_, waiting)| waiting.membership.has_room());
        let (next, _) = able.min_by_key(|(_, waiting)| waiting.membership.consumers_active())?;
        let next = self.waiting.remove(next)?;
        next.membership.end_waiting();
        self.begin(&next.membership);
        Some(next)
    }

    fn no_longer_waiting(&mut self, waiting: Waiting) -> Job {
        waiting.membership.end_waiting();
        self.shares.leave(waiting.membership);
        waiting.job
    }

    fn add_live(&mut self, core: &Arc<StreamCore>) {
        self.live.insert(core.id, Arc::downgrade(core));
    }
}

/// The system starts no thread. Its text is not for consumers; the kind says enough.
pub(crate) fn no_thread(error: &io::Error) -> Error {
    let text = format!("no thread can be started ({:?})", error.kind());
    Error::new(ErrorKind::Busy, text)
}

fn busy(state: &State) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{} active, {} waiting", state.active, state.waiting.len()),
    )
}

/// A place in the pool and in the shares of its stream; it passes to the next waiting stream when
/// the last stream that shares it drops it.
pub(crate) struct Slot {
    pool: StreamPool,
    membership: Membership,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.give_back(take(&mut self.membership));
    }
}

#[cfg(all(test, not(miri)))]
impl StreamPool {
    /// Returns how many shares have a stream that runs or waits.
    pub(crate) fn shares(&self) -> usize {
        lock(&self.shared.state).shares.len()
    }
}

impl fmt::Debug for StreamPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPool")
            .field("options", &self.shared.options)
            .field("active", &self.active())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
