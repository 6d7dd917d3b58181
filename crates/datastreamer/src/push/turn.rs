//! Runs a [`Delivery`] in a foreign event loop: each wake-up becomes one job of that loop.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use super::{consumer::Consumer, delivery::Delivery};
use crate::{foreign::run_quietly, handle::StreamHandle, sync::std_lock};

type Job = Box<dyn FnOnce() + Send>;

impl<C: Consumer> Delivery<C> {
    /// Drives the stream from an event loop: `call_later` must schedule each job to run later in
    /// the consumer's context (Twisted's `callFromThread`, a GUI's idle queue, a channel into a
    /// loop). It is called from any thread, in the middle of a write, or by the watchdog thread
    /// that all streams share, so it must not block and must not write to the stream. If the loop
    /// has ended, `call_later` may drop the job or panic; either drops the delivery. Returns the
    /// handle.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use datastreamer::Outcome;
    /// use datastreamer::push::{DataStreamer, WriteConsumer};
    /// let (call, jobs) = channel::<Box<dyn FnOnce() + Send>>();
    /// let streamer = DataStreamer::new(|out| out.write_slice(b"abc"), WriteConsumer::new(Vec::new()));
    /// let handle = streamer.start()?.run_in(move |job| drop(call.send(job)));
    /// jobs.into_iter().for_each(|job| job()); // the event loop
    /// assert_eq!(handle.wait().outcome, Some(Outcome::Complete));
    /// # Ok::<(), datastreamer::push::StartError>(())
    /// ```
    pub fn run_in<L>(self, call_later: L) -> StreamHandle
    where
        C: Send + 'static,
        L: Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    {
        let handle = self.handle();
        let turn = Arc::new(Turn {
            delivery: Mutex::new(Some(self)),
            call_later: Box::new(call_later),
            scheduled: AtomicBool::new(false),
            again: AtomicBool::new(false),
        });
        Waker::from(turn).wake();
        handle
    }
}

/// Drives a delivery in a foreign event loop: each wake-up becomes one job.
struct Turn<C: Consumer> {
    /// Taken while it is driven, because nothing may be locked while the consumer is called. `None`:
    /// it is being driven, or the end has been delivered.
    delivery: Mutex<Option<Delivery<C>>>,
    call_later: Box<dyn Fn(Job) + Send + Sync>,
    /// A job has been scheduled and has not begun.
    scheduled: AtomicBool,
    /// A job found the delivery being driven: it is to be driven once more.
    again: AtomicBool,
}

impl<C: Consumer + Send + 'static> Wake for Turn<C> {
    fn wake(self: Arc<Self>) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let turn = Arc::clone(&self);
        // The thread that wakes, perhaps the source's, must not fail because the loop has ended.
        // The panic drops the job, and the last job owns the delivery.
        run_quietly(|| (self.call_later)(Box::new(move || turn.take())));
    }
}

impl<C: Consumer + Send + 'static> Turn<C> {
    fn take(self: Arc<Self>) {
        self.scheduled.store(false, Ordering::SeqCst);
        // Before the delivery is looked for: whoever puts it back looks at this afterwards.
        self.again.store(true, Ordering::SeqCst);
        let Some(mut delivery) = std_lock(&self.delivery).take() else {
            return;
        };
        self.again.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self));
        if delivery
            .poll_deliver(&mut Context::from_waker(&waker))
            .is_ready()
        {
            return;
        }
        *std_lock(&self.delivery) = Some(delivery);
        if self.again.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }
}
