//! Threads on which the engine plans and computes.

use tokio::runtime::{Handle, Runtime};

use crate::{error::EngineError, guard::guard_thread};

/// 16 MiB of stack for threads that plan and compute: they descend into the nested expressions of a
/// query. Only the part that is used takes memory.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// A pool of threads, with a Tokio runtime on them.
///
/// Dropping it stops the threads without waiting, which also works where futures run.
pub(crate) struct EngineThreads {
    pub(crate) handle: Handle,
    runtime: Option<Runtime>,
}

impl EngineThreads {
    /// Starts `threads` threads of this name, and allows `file_threads` more, that wait for files.
    ///
    /// # Errors
    /// The system refuses them.
    pub(crate) fn start(
        name: &str,
        threads: usize,
        file_threads: usize,
    ) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(file_threads)
            .thread_stack_size(STACK_BYTES)
            .thread_name(name)
            .on_thread_start(guard_thread)
            .enable_time()
            .build()
            .map_err(|error| {
                EngineError::data(format!("the threads cannot be started: {error}"))
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for EngineThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
