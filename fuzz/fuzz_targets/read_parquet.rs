//! Parquet: footer and pages, read by the engine and written as CSV.

#![no_main]

mod reading;

libfuzzer_sys::fuzz_target!(|file: &[u8]| reading::to_csv(file, "parquet"));
