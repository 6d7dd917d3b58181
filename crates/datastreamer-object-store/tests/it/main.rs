//! The promises of this crate, checked through its public interface: `contract` runs what every
//! way out of a stream owes its client, the others add what only an upload has.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod contract;
mod failures;
mod flow;
mod leaving;
mod place;
mod watched;
mod whole;
