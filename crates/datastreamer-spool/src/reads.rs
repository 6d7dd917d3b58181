//! The few threads on which readers' files are read and checked, so that no reader needs one and no
//! event loop waits for a disk.
//!
//! It is the blocking pool of a tokio runtime of its own, which is never driven: what waits for a
//! result may run anywhere, also outside of tokio.

use std::sync::Mutex;

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::error::{Error, ErrorKind};

/// Eight reads at a time: enough to keep a disk busy, few enough for a folder that hangs to hold
/// only its own readers up. More reads wait; each reader has at most one.
const THREADS_MAX: usize = 8;

pub(crate) struct Reads {
    /// `None`: shut down.
    runtime: Mutex<Option<Runtime>>,
}

impl Reads {
    pub(crate) fn new() -> Result<Self, Error> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(THREADS_MAX)
            .thread_name("spool-read")
            .build();
        let no_thread = |error| Error::new(ErrorKind::System, format!("no threads: {error}"));
        Ok(Self {
            runtime: Mutex::new(Some(runtime.map_err(no_thread)?)),
        })
    }

    /// Starts a job; it runs to its end even if nobody waits for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let runtime = self.runtime.lock();
        let runtime = runtime.unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*runtime {
            Some(runtime) => Ok(runtime.spawn_blocking(job)),
            None => Err(Error::new(ErrorKind::Closed, "nothing is read any more")),
        }
    }

    /// Runs a job and waits for its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let joined = self.start(job)?.await;
        joined.map_err(|error| Error::new(ErrorKind::System, format!("a read: {error}")))
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut();
        let runtime = runtime.unwrap_or_else(std::sync::PoisonError::into_inner);
        // A plain drop waits for the threads, which panics on an event loop.
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background();
        }
    }
}
