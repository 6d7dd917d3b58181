//! The promises of this crate, checked through its public interface and against real servers.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod parameters;
#[cfg(feature = "postgres")]
mod postgres;
mod stars;
