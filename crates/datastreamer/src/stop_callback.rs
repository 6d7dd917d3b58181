//! A callback for the stop of a stream: it runs once, or is removed before.
//!
//! `stream_core.rs` makes and runs it, `queue.rs` keeps it until the stop, `stop_token.rs` removes it.

use std::sync::{Arc, Mutex};

use crate::{
    error::Error,
    foreign::{drop_quietly, run_quietly},
    sync::std_lock,
};

type Call = Box<dyn FnOnce(&Error) + Send>;

/// A callback that has not run yet, or nothing.
pub(crate) struct StopCallback(Mutex<Option<Call>>);

impl StopCallback {
    pub(crate) fn new(call: Call) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(call))))
    }

    /// Runs the callback unless it has run or was removed. A panic stays here: other callbacks must
    /// run all the same.
    pub(crate) fn run(&self, error: &Error) {
        let call = std_lock(&self.0).take();
        run_quietly(|| call.into_iter().for_each(|call| call(error)));
    }

    /// Drops the callback unless it has run, and what it captured with it.
    pub(crate) fn discard(&self) {
        let call = std_lock(&self.0).take();
        drop_quietly(call);
    }
}
