//! Tests the Rust examples of README.md, which are this crate's documentation tests.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
