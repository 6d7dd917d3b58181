//! Texts in a FITS header, read by fitskit.

#![no_main]

// One of its bodies is this target's, the others are those of others.
#[allow(dead_code)]
#[path = "../../interop/tests/escapes/escaping.rs"]
mod escaping;

libfuzzer_sys::fuzz_target!(|input: String| escaping::fits_header(&input));
