//! Shared code of the streaming crates' tests: consumers that record or stall, an event loop, a
//! PostgreSQL server, and what authors of consumers have too (`datastreamer::contract_tests`): sources
//! that misbehave, and the contract that every way out of a stream must keep.
//!
//! Every wait has a deadline and panics when it expires.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows them in tests, and nothing but tests calls this"
)]

mod event_loop;
mod postgres;
mod recorder;

pub use datastreamer::contract_tests::*;
pub use event_loop::EventLoop;
pub use postgres::Postgres;
pub use recorder::{Call, Log, Recorder};
