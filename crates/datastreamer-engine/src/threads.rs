//! Threads on which the engine plans and computes.

use tokio::runtime::{Handle, Runtime};

use crate::error::EngineError;

/// 16 MiB for threads that plan and compute, which go down into the expressions of a query: see
/// [`DEPTH_MAX`](crate::sql::DEPTH_MAX). Memory is taken only as it is used.
const STACK_BYTES: usize = 16 << 20;

/// Threads of the engine's own. A runtime must not be dropped where futures run: this one is let
/// go without waiting.
pub(crate) struct OwnThreads {
    pub(crate) handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnThreads {
    pub(crate) fn start(name: &str, threads: usize) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_stack_size(STACK_BYTES)
            .thread_name(name)
            .enable_time()
            .build()
            .map_err(|error| EngineError::data(format!("no threads: {error}")))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
