//! The promises of this crate, tested through its public interface. `contract` runs the contract of
//! all consumers, the other files test what only an upload has.

// Helpers of tests may panic, too; clippy allows it only in the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod contract;
mod failures;
mod flow;
mod leaving;
mod place;
mod watched;
mod whole;
