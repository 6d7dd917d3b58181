//! VOTable's BINARY and BINARY2, read by the crate base64.

#![no_main]

// One of its bodies is this target's, the others are those of others.
#[allow(dead_code)]
#[path = "../../interop/tests/escapes/escaping.rs"]
mod escaping;

libfuzzer_sys::fuzz_target!(|input: escaping::Texts| escaping::binary(&input));
