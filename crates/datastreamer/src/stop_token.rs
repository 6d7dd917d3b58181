//! Reports the stop of a stream to its source: as a flag, a future or a callback.
//!
//! Made by `writer.rs` and `handle.rs`; calls `stream_core.rs`.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, Weak},
};

use crate::{error::Error, stop_callback::StopCallback, stream_core::StreamCore};

/// Reports the stop of a stream; usable from any thread.
///
/// ```
/// use std::{io, process::{Command, Stdio}};
/// let chunks = datastreamer::stream_out(|out| -> io::Result<()> {
///     let mut child = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn()?;
///     let mut written = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
///     let stop = out.stop_token();
///     let _kills = stop.on_stop(move |_why| drop(child.kill())); // ends the read below at once
///     io::copy(&mut written, out)?;
///     if stop.is_stopped() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
/// });
/// let handle = chunks.handle();
/// drop(chunks); // the client disconnected
/// assert!(handle.wait().duration.as_secs() < 60);
/// ```
#[derive(Clone)]
pub struct StopToken {
    core: Arc<StreamCore>,
}

impl StopToken {
    pub(crate) fn new(core: Arc<StreamCore>) -> Self {
        Self { core }
    }

    /// Returns whether the stream was stopped; costs one load.
    pub fn is_stopped(&self) -> bool {
        self.core.queue.is_stopped()
    }

    /// Resolves with the reason when the stream is stopped; with `None` when source and consumer
    /// are done without a stop.
    pub fn stopped(&self) -> impl Future<Output = Option<Error>> + Send + use<> {
        let core = Arc::clone(&self.core);
        poll_fn(move |cx| core.queue.poll_stopped(cx))
    }

    /// Runs a callback once when the stream is stopped, at once if it was already; never if the
    /// stream ends otherwise, or if the guard is dropped before ([`OnStopGuard::keep`] keeps it). So
    /// a source that runs one query after another holds the guard of each as long as that query
    /// runs. The callback runs on a separate thread, so it may block (cancel a query, kill a child).
    /// If the system cannot start a thread, it runs on the thread that stops the stream.
    pub fn on_stop(&self, callback: impl FnOnce(&Error) + Send + 'static) -> OnStopGuard {
        OnStopGuard {
            callback: Some(self.core.on_stop(callback)),
            core: Arc::downgrade(&self.core),
        }
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopToken")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// Removes a callback when it is dropped: see [`StopToken::on_stop`].
///
/// A callback that is running at that moment runs to its end; dropping the guard does not wait.
#[must_use = "dropping the guard removes the callback; `keep` keeps it for the rest of the stream"]
pub struct OnStopGuard {
    callback: Option<Arc<StopCallback>>,
    core: Weak<StreamCore>,
}

impl OnStopGuard {
    /// Keeps the callback until the end of the stream.
    pub fn keep(mut self) {
        self.callback = None;
    }
}

impl Drop for OnStopGuard {
    fn drop(&mut self) {
        let Some(callback) = self.callback.take() else {
            return;
        };
        if let Some(core) = self.core.upgrade() {
            core.queue.forget_callback(&callback);
        }
        callback.discard();
    }
}

impl fmt::Debug for OnStopGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStopGuard").finish_non_exhaustive()
    }
}
