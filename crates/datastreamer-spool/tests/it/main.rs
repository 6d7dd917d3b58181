//! The promises of the spool, tested through its public interface.

#![forbid(unsafe_code)]
// Helpers of tests may panic, too; clippy allows it only in the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod common;
mod ending;
#[cfg(feature = "fault-tests")]
mod faults;
mod limits;
#[cfg(feature = "tracing")]
mod logging;
mod model;
mod reading;
mod restart;
