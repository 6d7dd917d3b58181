//! Shared code of the streaming crates' tests: sources that misbehave, consumers that record or
//! stall, the contract that every way out of a stream must keep, and a PostgreSQL server.
//!
//! A new consumer (an upload, a spool, another body) implements [`WayOut`] and calls
//! [`consumer_contract`]; then it adds its own cases.
//!
//! Every wait has a deadline and panics when it expires.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows them in tests, and nothing but tests calls this"
)]

mod contract;
mod event_loop;
mod noise;
mod postgres;
mod probe;
mod recorder;
mod sources;
mod wait;
mod ways;

pub use contract::{Received, WayOut, consumer_contract};
pub use event_loop::EventLoop;
pub use noise::{NOISE_PERIOD, NoiseCheck, fill_noise, noise, noise_at};
pub use postgres::Postgres;
pub use probe::Probe;
pub use recorder::{Call, Log, Recorder};
pub use sources::{
    BoxError, FAILURE, Source, deaf, endless, fails_after, noise_source, panics_after,
    silent_until_stopped, swallows_stop, writes,
};
pub use wait::{DEADLINE, eventually, promptly, within};
pub use ways::{Pull, Push};
