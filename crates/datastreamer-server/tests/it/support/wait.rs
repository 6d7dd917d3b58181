//! Waiting with a deadline: for a condition, for a process, for a batch of jobs.

use std::collections::VecDeque;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, and panics with `what` when it does not within `time_limit`.
pub(crate) fn until(what: &str, time_limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < time_limit,
            "in {time_limit:?} it did not happen that {what}"
        );
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits for the end of `child`; `None` when it has not ended within `time_limit`.
pub(crate) fn for_exit(child: &mut Child, time_limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if start.elapsed() >= time_limit {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Jobs that run at the same time: clients wait for the network for much of their time, and more
/// than twice two processors would make their own start-up the thing that is waited for.
const JOBS_AT_ONCE: usize = 4;

/// Does `work` for every job, several at the same time, and panics when one of them panicked.
pub(crate) fn for_all<J: Send>(jobs: impl IntoIterator<Item = J>, work: impl Fn(J) + Sync) {
    let queue: Mutex<VecDeque<J>> = Mutex::new(jobs.into_iter().collect());
    thread::scope(|scope| {
        for _ in 0..JOBS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .expect("nobody panics with the queue locked")
                        .pop_front();
                    let Some(job) = next else { break };
                    work(job);
                }
            });
        }
    });
}
