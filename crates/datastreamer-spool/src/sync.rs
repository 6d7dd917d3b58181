//! The locks of what readers, pumps and callers share: std's, or loom's under `--cfg loom`.
//!
//! A poisoned lock is entered all the same: no state is half changed while foreign code runs, and
//! foreign code (wakers, drops, callers' closures) runs under no lock.

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
