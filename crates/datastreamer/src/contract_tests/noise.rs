//! A file of any length in which the offset determines each byte.
//!
//! Byte `i` is `P[i mod 1_048_573]` with `P[j] = ((j * 2654435761) >> 24) & 255`. The period is
//! prime, so no chunk or buffer size divides it, and a lost, repeated or swapped chunk is detected.

use std::sync::OnceLock;

/// Bytes after which the noise repeats: the greatest prime below 2^20.
pub const NOISE_PERIOD: u64 = 1_048_573;

/// Returns the byte at an offset.
pub fn noise_at(offset: u64) -> u8 {
    pattern()[(offset % NOISE_PERIOD) as usize]
}

/// Fills `out` with the bytes that start at `offset`.
pub fn fill_noise(mut offset: u64, mut out: &mut [u8]) {
    while !out.is_empty() {
        let from = &pattern()[(offset % NOISE_PERIOD) as usize..];
        let bytes = from.len().min(out.len());
        out[..bytes].copy_from_slice(&from[..bytes]);
        out = &mut out[bytes..];
        offset += bytes as u64;
    }
}

/// Returns the first `bytes` bytes.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    fill_noise(0, &mut out);
    out
}

fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        (0..NOISE_PERIOD)
            .map(|j| ((j * 2_654_435_761) >> 24) as u8)
            .collect()
    })
}

/// Checks, piece by piece, that its input is the noise from offset 0 on.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoiseCheck {
    offset: u64,
}

impl NoiseCheck {
    /// Checks the next piece.
    ///
    /// # Panics
    /// At the first wrong byte, with its offset.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let expected = &pattern()[(self.offset % NOISE_PERIOD) as usize..];
            let bytes = expected.len().min(rest.len());
            if rest[..bytes] != expected[..bytes] {
                let wrong = rest
                    .iter()
                    .zip(expected)
                    .position(|(got, want)| got != want);
                panic!(
                    "wrong byte at offset {}",
                    self.offset + wrong.unwrap() as u64
                );
            }
            rest = &rest[bytes..];
            self.offset += bytes as u64;
        }
    }

    /// Returns how many bytes were correct so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }
}

// Not under miri, which takes hours for its two million bytes.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn the_noise_is_what_its_formula_says() {
        for offset in [
            0,
            1,
            6,
            77,
            NOISE_PERIOD - 1,
            NOISE_PERIOD,
            3 * NOISE_PERIOD + 5,
        ] {
            let j = offset % NOISE_PERIOD;
            assert_eq!(
                u64::from(noise_at(offset)),
                ((j * 2_654_435_761) >> 24) & 255
            );
        }
        let all = noise(2 * NOISE_PERIOD as usize + 9);
        assert!(
            (0..)
                .zip(&all)
                .all(|(offset, byte)| noise_at(offset) == *byte)
        );
    }

    #[test]
    #[should_panic(expected = "wrong byte at offset 1048580")]
    fn the_check_names_the_first_wrong_byte() {
        let mut all = noise(NOISE_PERIOD as usize + 100);
        all[NOISE_PERIOD as usize + 7] ^= 1;
        let mut check = NoiseCheck::default();
        check.feed(&all[..1000]);
        check.feed(&all[1000..]);
    }
}
