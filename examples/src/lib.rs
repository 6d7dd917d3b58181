//! Compiles what README.md shows: its Rust blocks are this crate's documentation tests.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
