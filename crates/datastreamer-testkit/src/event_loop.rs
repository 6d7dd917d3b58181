//! A consumer's own context: a thread that runs one job after another.

use std::{
    sync::mpsc::{Sender, channel},
    thread::{self, ThreadId},
};

use crate::within;

type Job = Box<dyn FnOnce() + Send>;

/// A small event loop on its own thread. It ends when the loop and all its `call_later` functions
/// are dropped.
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

    /// Returns a function that schedules a job on the loop; after the loop has ended it drops the
    /// job.
    pub fn call_later(&self) -> impl Fn(Job) + Send + Sync + use<> {
        let jobs = self.jobs.clone();
        move |job| drop(jobs.send(job))
    }

    /// Runs a job on the loop, between its other jobs, and waits for what it returns.
    ///
    /// # Panics
    /// If the loop does not run it within [`crate::DEADLINE`].
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answers) = channel();
        self.call_later()(Box::new(move || drop(answer.send(job()))));
        within("the loop's turn", move || answers.recv().unwrap())
    }

    /// Returns the id of the loop's thread.
    pub fn thread_id(&self) -> ThreadId {
        self.thread_id
    }
}
