//! Async sources: a future that writes, polled by the reader in the consumer's context, without a
//! thread.
//!
//! `reader.rs` polls it whenever the queue has nothing for it; the future writes to the same queue as
//! a source on a thread, through `async_writer.rs`, with the same bounds. What it has written goes
//! out as soon as it is pending. Between two polls it waits in `parked.rs`, where a stop finds it:
//! under back-pressure the reader may never be polled again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    error::Error,
    stream_core::StreamCore,
    writer::{StreamWriter, verdict},
};

/// Polls the stream's async source, if it has one that may run; returns whether it did, so that the
/// queue may have something.
pub(crate) fn poll_source(core: &Arc<StreamCore>, cx: &mut Context<'_>) -> bool {
    if !core.source_has_started() || core.queue.is_paused() {
        return false;
    }
    let Some(mut parked) = core.async_source.take() else {
        return false;
    };
    let polled = catch_unwind(AssertUnwindSafe(|| parked.writing.as_mut().poll(cx)));
    let result = match polled {
        Ok(Poll::Pending) => {
            StreamWriter::new(Arc::clone(core)).hand_over_part();
            let dismissed = core.async_source.put_back(parked);
            if let Some(dismissed) = dismissed {
                core.discard_source(dismissed);
            }
            return true;
        }
        Ok(Poll::Ready(result)) => result,
        Err(payload) => Err(Error::source_panicked(payload.as_ref())),
    };
    parked.discard();
    core.end_source(verdict(core, result));
    true
}
