//! Where plans are made: on threads that may block, a few of each table, within a deadline.
//!
//! `engine.rs` calls it. It makes no plan itself, and does not know what a plan is.
//!
//! A file system that does not answer blocks a thread for good: a `stat` or an `open` cannot be
//! ended. So a plan keeps its place until its thread comes back, whoever has left in the meantime,
//! and the places of one table are few: a mount that hangs takes those of its tables, and nothing
//! else.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinError},
    time::{Instant, timeout_at},
};

use crate::{
    error::{EngineError, EngineErrorKind},
    guard,
    threads::EngineThreads,
};

/// 30 s: a plan takes milliseconds, and seconds where footers of thousands of files are read. A
/// browser or a proxy gives up after 30 to 60 s.
pub const DEFAULT_PLAN_TIMEOUT: Duration = Duration::from_secs(30);
/// Four plans of one table at once: more do not make the files faster, and each is a thread that a
/// mount may keep.
const PLANS_OF_ONE: usize = 4;
/// 64 requests wait for a plan of one table: some seconds of plans. A place in the server's pool is
/// held meanwhile, and the other tables need some too.
const WAITING_OF_ONE: usize = 64;
/// 256 plans at once of all tables, those of 64 that hang. It is half of the threads of a runtime:
/// plans read files on the other half.
const PLANS_MAX: usize = 256;

/// What plans read, and so wait for together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Planned {
    /// The texts of queries, and no file.
    Text,
    /// The files of these tables. Two tables that are read together have places of their own: one
    /// that hangs must not take those of the other one alone.
    Tables(BTreeSet<String>),
}

/// The threads that make plans.
///
/// Dropping it waits for none of them.
pub(crate) struct Planner {
    /// Its worker keeps the deadlines, and never blocks; its other threads make the plans.
    threads: EngineThreads,
    shared: Arc<Shared>,
}

struct Shared {
    timeout: Duration,
    places: Arc<Semaphore>,
    /// Of what is planned now, or waited for.
    queues: Mutex<HashMap<Planned, Queue>>,
}

struct Queue {
    places: Arc<Semaphore>,
    waiting: usize,
    /// When each plan that is being made was begun.
    running: Vec<Instant>,
}

impl Planner {
    /// Starts the threads. A plan must be there `timeout` after it is asked for.
    ///
    /// # Errors
    /// The system refuses them.
    pub(crate) fn start(timeout: Duration, file_threads: usize) -> Result<Self, EngineError> {
        Ok(Self {
            threads: EngineThreads::start("planner", 1, file_threads)?,
            shared: Arc::new(Shared {
                timeout,
                places: Arc::new(Semaphore::new(PLANS_MAX)),
                queues: Mutex::default(),
            }),
        })
    }

    /// Makes a plan. A caller that gives up while it waits leaves the queue; a plan that has been
    /// begun is made to its end.
    ///
    /// # Errors
    /// Those of the plan, or [`EngineErrorKind::Busy`]: it is not there in time, too many others
    /// wait, or the plans before it hang.
    pub(crate) async fn plan<T: Send + 'static>(
        &self,
        of: Planned,
        plan: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (shared, threads) = (Arc::clone(&self.shared), self.threads.handle.clone());
        self.coordinate(async move { shared.plan(of, plan, threads).await })
            .await
    }

    /// Runs what blocks and has no deadline: opening a table may read all of its files.
    ///
    /// # Errors
    /// Those of the future, or its panic.
    pub(crate) async fn open<T: Send + 'static>(
        &self,
        open: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let threads = self.threads.handle.clone();
        let opened = self
            .threads
            .handle
            .spawn_blocking(move || threads.block_on(open));
        opened.await.unwrap_or_else(|error| Err(failed(error)))
    }

    /// Runs a future that waits, and neither blocks nor computes. Its timers work, whatever the
    /// caller's runtime has. A caller that gives up ends it.
    ///
    /// # Errors
    /// Those of the future, or its panic.
    pub(crate) async fn coordinate<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let task = self.threads.handle.spawn(future);
        let _given_up = AbortOnDrop(task.abort_handle());
        task.await.unwrap_or_else(|error| Err(failed(error)))
    }
}

fn failed(error: JoinError) -> EngineError {
    match error.try_into_panic() {
        Ok(panic) => guard::error_of(panic.as_ref()),
        Err(error) => EngineError::data(error.to_string()),
    }
}

/// Aborts a task whose result nobody waits for.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    async fn plan<T: Send + 'static>(
        self: Arc<Self>,
        of: Planned,
        plan: impl Future<Output = Result<T, EngineError>> + Send + 'static,
        threads: Handle,
    ) -> Result<T, EngineError> {
        let deadline = Instant::now() + self.timeout;
        let waiting = Waiting::enter(&self, &of)?;
        let (places, all) = (waiting.places(), Arc::clone(&self.places));
        let place = timeout_at(deadline, async {
            let of_one = places.acquire_owned().await.ok()?;
            Some((of_one, all.acquire_owned().await.ok()?))
        });
        let Ok(Some(place)) = place.await else {
            return Err(late(&of, self.timeout));
        };
        let running = Running::begin(&self, &of, place);
        drop(waiting);
        let planned = threads.clone().spawn_blocking(move || {
            let planned = threads.block_on(plan);
            drop(running);
            planned
        });
        match timeout_at(deadline, planned).await {
            Ok(planned) => planned.unwrap_or_else(|error| Err(failed(error))),
            Err(_) => Err(late(&of, self.timeout)),
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Planned, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue of what is planned, and forgets it once nothing is planned or waited for.
    fn change<T>(&self, of: &Planned, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queues = self.queues();
        let queue = queues.entry(of.clone()).or_insert_with(|| Queue {
            places: Arc::new(Semaphore::new(PLANS_OF_ONE)),
            waiting: 0,
            running: Vec::new(),
        });
        let changed = change(queue);
        if queue.waiting == 0 && queue.running.is_empty() {
            queues.remove(of);
        }
        changed
    }
}

/// A request in the queue.
struct Waiting<'a> {
    shared: &'a Shared,
    of: &'a Planned,
}

impl<'a> Waiting<'a> {
    /// # Errors
    /// There are too many, or none of the plans before it has come back in time.
    fn enter(shared: &'a Shared, of: &'a Planned) -> Result<Self, EngineError> {
        let entered = shared.change(of, |queue| {
            let is_late = |begun: &Instant| begun.elapsed() >= shared.timeout;
            let all_hang = queue.running.len() == PLANS_OF_ONE && queue.running.iter().all(is_late);
            let may_enter = queue.waiting < WAITING_OF_ONE && !all_hang;
            queue.waiting += usize::from(may_enter);
            may_enter
        });
        match entered {
            true => Ok(Self { shared, of }),
            false => Err(busy(of, "too many requests wait")),
        }
    }

    fn places(&self) -> Arc<Semaphore> {
        self.shared
            .change(self.of, |queue| Arc::clone(&queue.places))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.change(self.of, |queue| queue.waiting -= 1);
    }
}

/// A plan that is being made. Its places are free once its thread comes back.
struct Running {
    shared: Arc<Shared>,
    of: Planned,
    begun: Instant,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Running {
    fn begin(
        shared: &Arc<Shared>,
        of: &Planned,
        places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> Self {
        let begun = Instant::now();
        shared.change(of, |queue| queue.running.push(begun));
        Self {
            shared: Arc::clone(shared),
            of: of.clone(),
            begun,
            _places: places,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.change(&self.of, |queue| {
            let at = queue.running.iter().position(|begun| *begun == self.begun);
            at.map(|at| queue.running.swap_remove(at))
        });
    }
}

fn late(of: &Planned, timeout: Duration) -> EngineError {
    busy(of, &format!("there is no plan after {timeout:?}"))
}

fn busy(of: &Planned, reason: &str) -> EngineError {
    tracing::warn!(?of, reason, "there is no plan");
    let what = match of {
        // A query is not told which tables it reads: it may be the operator's.
        Planned::Tables(names) if names.len() == 1 => "the table",
        _ => "the query",
    };
    let text = format!("{what} cannot be planned now: {reason}; come again later");
    EngineError::new(EngineErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(300);

    fn of(tables: &[&str]) -> Planned {
        Planned::Tables(tables.iter().map(|name| (*name).to_owned()).collect())
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    /// Plans that block their threads until this is dropped, begun by callers that wait.
    struct Hanging {
        planner: Arc<Planner>,
        callers: Vec<thread::JoinHandle<Result<(), EngineError>>>,
        never: mpsc::Sender<()>,
    }

    impl Hanging {
        fn begin(count: usize, tables: &[&str]) -> Self {
            let planner = Arc::new(Planner::start(TIMEOUT, 512).unwrap());
            let (never, answer) = mpsc::channel::<()>();
            let answer = Arc::new(Mutex::new(answer));
            let (begun, all) = mpsc::channel();
            let callers = (0..count).map(|_| {
                let (planner, of) = (Arc::clone(&planner), of(tables));
                let (answer, begun) = (Arc::clone(&answer), begun.clone());
                thread::spawn(move || {
                    block_on(planner.plan(of, async move {
                        begun.send(()).unwrap();
                        let _ended = answer.lock().unwrap().recv();
                        Ok(())
                    }))
                })
            });
            let callers = callers.collect();
            for _ in 0..count.min(PLANS_OF_ONE) {
                all.recv().unwrap();
            }
            Self {
                planner,
                callers,
                never,
            }
        }

        fn plan(&self, tables: &[&str]) -> (Result<(), EngineError>, Duration) {
            let begun = Instant::now();
            let planned = block_on(self.planner.plan(of(tables), async { Ok(()) }));
            (planned, begun.elapsed())
        }
    }

    fn assert_busy(planned: Result<(), EngineError>) {
        assert_eq!(planned.unwrap_err().kind(), EngineErrorKind::Busy);
    }

    #[test]
    fn plans_that_hang_stop_their_tables_and_nothing_else() {
        let hanging = Hanging::begin(20, &["here", "hung"]);
        for others in [&["here"][..], &["other"], &["here", "other"]] {
            let (planned, took) = hanging.plan(others);
            assert!(
                planned.is_ok() && took < TIMEOUT / 2,
                "{others:?}: {took:?}"
            );
        }
        // Behind the others, and not begun.
        let (planned, took) = hanging.plan(&["here", "hung"]);
        assert_busy(planned);
        assert!(took >= TIMEOUT, "{took:?}");
        for caller in hanging.callers {
            assert_busy(caller.join().unwrap());
        }
    }

    #[test]
    fn nobody_waits_behind_plans_that_have_not_come_back_in_time() {
        let hanging = Hanging::begin(PLANS_OF_ONE, &["hung"]);
        thread::sleep(TIMEOUT);
        let (planned, took) = hanging.plan(&["hung"]);
        assert_busy(planned);
        assert!(took < TIMEOUT / 2, "{took:?}");
        let Hanging {
            planner,
            callers,
            never,
        } = hanging;
        for caller in callers {
            assert_busy(caller.join().unwrap());
        }
        // Now they come back.
        drop(never);
        let begun = Instant::now();
        let wait = || {
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::sleep(TIMEOUT / 10);
        };
        while block_on(planner.plan(of(&["hung"]), async { Ok(()) })).is_err() {
            wait();
        }
        // The first of them made room for that plan; the others come back when they come.
        while !planner.shared.queues().is_empty() {
            wait();
        }
    }

    #[test]
    fn the_queue_of_a_table_is_bounded() {
        let hanging = Hanging::begin(PLANS_OF_ONE + WAITING_OF_ONE + 5, &["hung"]);
        let planned = hanging
            .callers
            .into_iter()
            .map(|caller| caller.join().unwrap());
        let at_once = planned.filter(|planned| {
            let error = planned.as_ref().unwrap_err().to_string();
            error.contains("too many requests wait")
        });
        assert_eq!(at_once.count(), 5);
    }
}
