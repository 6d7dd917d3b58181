//! The controls of a running source, as a consumer receives them. Implemented by
//! [`StreamHandle`].

use crate::{
    error::{Error, ErrorKind},
    handle::StreamHandle,
};

/// The controls of a running source: pause, resume and stop, from any thread, including from inside
/// the consumer's own `write`. Each sets a flag, so a repeated call has no effect.
pub trait Producer: Send + Sync {
    /// Lets the producer continue. Has no effect after a stop.
    fn resume_producing(&self);
    /// Asks the producer to write nothing until it is resumed.
    fn pause_producing(&self);
    /// Stops the producer: the source's next write, or the write that is blocked now, fails.
    fn stop_producing(&self);
}

impl Producer for StreamHandle {
    fn resume_producing(&self) {
        self.core().queue.resume();
    }

    fn pause_producing(&self) {
        self.core().queue.pause();
    }

    fn stop_producing(&self) {
        self.core().stop(Error::of_kind(ErrorKind::Stopped));
    }
}
