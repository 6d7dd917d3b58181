//! The bytes of the route `/noise.bin`, computed here a second time, independently of the program.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use ring::digest::{Context, SHA256};

/// The bytes repeat with this period: the largest prime below 2^20, so that no chunk size of the
/// program divides it and a piece that is left out or sent twice shifts all that follows.
const PERIOD_BYTES: usize = 1_048_573;

/// Returns the bytes `from..from + length` of the noise.
pub(crate) fn bytes(from: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut at = usize::try_from(from % PERIOD_BYTES as u64).expect("less than a period");
    while bytes.len() < length {
        let piece_bytes = (length - bytes.len()).min(PERIOD_BYTES - at);
        bytes.extend_from_slice(&period()[at..at + piece_bytes]);
        at = 0;
    }
    bytes
}

/// Returns the SHA-256 of the first `length` bytes, in hexadecimal.
pub(crate) fn sha256(length: u64) -> String {
    let mut context = Context::new(&SHA256);
    let mut left = length;
    while left > 0 {
        let piece_bytes = left.min(PERIOD_BYTES as u64);
        context.update(&period()[..usize::try_from(piece_bytes).expect("at most a period")]);
        left -= piece_bytes;
    }
    hexadecimal(context)
}

/// Returns the SHA-256 of a file's bytes, in hexadecimal.
pub(crate) fn sha256_of_file(file: &Path) -> String {
    let mut input = File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = input.read(&mut buffer).expect("a regular file can be read");
        if count == 0 {
            return hexadecimal(context);
        }
        context.update(&buffer[..count]);
    }
}

fn period() -> &'static [u8] {
    static PERIOD: OnceLock<Vec<u8>> = OnceLock::new();
    PERIOD.get_or_init(|| {
        (0..PERIOD_BYTES as u64)
            .map(|j| ((j * 2_654_435_761) >> 24) as u8)
            .collect()
    })
}

fn hexadecimal(context: Context) -> String {
    context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn the_noise_is_the_documented_pattern() {
    // ((1 * 2654435761) >> 24) & 255 = 0x9e, and so on: the top byte of multiples of 0x9e3779b1.
    assert_eq!(bytes(0, 4), [0x00, 0x9e, 0x3c, 0xda]);
    // Byte 1,048,573 is byte 0 again.
    assert_eq!(bytes(PERIOD_BYTES as u64 - 1, 3)[1..], [0x00, 0x9e]);
    // Computed with Python's hashlib.
    let million = "720875c71138e974da5bb2d9013c11784bb46523debb9f5b5c13364e223bef3c";
    assert_eq!(sha256(1_000_000), million);
}
