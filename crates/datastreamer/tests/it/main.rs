//! The promises of this crate, checked through its public interface. `contract_*` go by the
//! numbers of the streamer's contract (`docs/from-dachs.md`), `ways_out` runs what every way of
//! consuming owes its client, `hostile` what the code around a stream may do to it, `model` and
//! `model_writers` look for what nobody thought of.

#![cfg(not(loom))]
// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[cfg(feature = "futures")]
mod async_sources;
mod async_writers;
mod contract_beyond;
mod contract_end;
mod contract_flow;
mod contract_start;
mod hostile;
#[cfg(feature = "http-body")]
mod http;
mod memory;
mod model;
mod model_writers;
mod pool;
mod support;
#[cfg(all(feature = "futures", feature = "tracing"))]
mod tracing_spans;
mod ways_out;
