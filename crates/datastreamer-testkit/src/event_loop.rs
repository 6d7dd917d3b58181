//! A consumer's own context: a thread that runs one job after the other.

use std::{
    sync::mpsc::{Sender, channel},
    thread::{self, ThreadId},
};

use crate::within;

type Job = Box<dyn FnOnce() + Send>;

/// A small event loop on a thread of its own, which ends when the loop and every `call_later` of
/// it are dropped.
#[derive(Debug)]
pub struct EventLoop {
    jobs: Sender<Job>,
    thread_id: ThreadId,
}

impl EventLoop {
    /// Starts the loop.
    pub fn start() -> Self {
        let (sender, jobs) = channel::<Job>();
        let running = thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        Self {
            jobs: sender,
            thread_id: running.thread().id(),
        }
    }

    /// Returns what runs a job later on the loop; a loop that is gone drops it.
    pub fn call_later(&self) -> impl Fn(Job) + Send + Sync + use<> {
        let jobs = self.jobs.clone();
        move |job| drop(jobs.send(job))
    }

    /// Runs a job on the loop, between its other jobs, and waits for what it returns.
    ///
    /// # Panics
    /// If the loop does not get to it within [`crate::DEADLINE`].
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answers) = channel();
        self.call_later()(Box::new(move || drop(answer.send(job()))));
        within("the loop's turn", move || answers.recv().unwrap())
    }

    /// Says which thread the loop is.
    pub fn thread_id(&self) -> ThreadId {
        self.thread_id
    }
}
