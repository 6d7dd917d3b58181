//! Runs a [`Delivery`] in a foreign event loop: each wake-up becomes one job of that loop.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Wake, Waker},
};

use super::{consumer::Consumer, delivery::Delivery};
use crate::{
    foreign::run_quietly,
    handle::StreamHandle,
    sync::{AtomicBool, Mutex, lock},
};

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
        let event_loop = Arc::new(EventLoop {
            turn: Turn::new(self),
            call_later: Box::new(call_later),
        });
        Waker::from(event_loop).wake();
        handle
    }
}

/// The foreign event loop in which a delivery is driven: each wake-up becomes one job.
struct EventLoop<C: Consumer> {
    turn: Turn<Delivery<C>>,
    call_later: Box<dyn Fn(Job) + Send + Sync>,
}

impl<C: Consumer + Send + 'static> Wake for EventLoop<C> {
    fn wake(self: Arc<Self>) {
        if !self.turn.must_schedule() {
            return;
        }
        let job = Arc::clone(&self);
        // The thread that wakes, perhaps the source's, must not fail because the loop has ended.
        // The panic drops the job, and the last job owns the delivery.
        run_quietly(|| (self.call_later)(Box::new(move || job.run())));
    }
}

impl<C: Consumer + Send + 'static> EventLoop<C> {
    fn run(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let cx = &mut Context::from_waker(&waker);
        if self
            .turn
            .run(|delivery| delivery.poll_deliver(cx).is_ready())
        {
            waker.wake();
        }
    }
}

/// Lets one job at a time drive a value, and one more for what happens meanwhile.
pub(crate) struct Turn<T> {
    state: Mutex<State<T>>,
    /// A job has been scheduled and has not begun.
    scheduled: AtomicBool,
}

struct State<T> {
    /// Taken while it is driven, because nothing may be locked while the consumer is called. `None`:
    /// it is being driven, or has reached its end.
    driven: Option<T>,
    /// A job found the value being driven: it is to be driven once more.
    again: bool,
}

impl<T> Turn<T> {
    pub(crate) fn new(driven: T) -> Self {
        Self {
            state: Mutex::new(State {
                driven: Some(driven),
                again: false,
            }),
            scheduled: AtomicBool::new(false),
        }
    }

    /// Notes a wake-up; returns whether a job must be scheduled for it.
    pub(crate) fn must_schedule(&self) -> bool {
        !self.scheduled.swap(true, Ordering::AcqRel)
    }

    /// Runs a job: `drive` returns whether the value has reached its end, after which it is dropped.
    /// Returns whether the value must be driven once more.
    pub(crate) fn run(&self, drive: impl FnOnce(&mut T) -> bool) -> bool {
        // Exchanged, not stored: what came before the wake-ups that this job is for must be visible
        // to it.
        self.scheduled.swap(false, Ordering::AcqRel);
        let mut state = lock(&self.state);
        let Some(mut driven) = state.driven.take() else {
            state.again = true;
            return false;
        };
        drop(state);
        if drive(&mut driven) {
            return false;
        }
        let mut state = lock(&self.state);
        state.driven = Some(driven);
        std::mem::take(&mut state.again)
    }
}
