//! The checksums of a production: computed while it runs, kept in its manifest.

use sha2::{Digest, Sha256};

/// The checksums of all bytes of a production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256, as in `Repr-Digest: sha-256=` (RFC 9530).
    pub sha256: [u8; 32],
    /// BLAKE3; the spool checks its files with it.
    pub blake3: [u8; 32],
}

/// Computes both checksums of bytes that arrive in order.
#[derive(Default)]
pub(crate) struct Hasher {
    sha256: Sha256,
    blake3: blake3::Hasher,
}

impl Hasher {
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.sha256.update(data);
        self.blake3.update(data);
    }

    pub(crate) fn finish(self) -> Digests {
        Digests {
            sha256: self.sha256.finalize().into(),
            blake3: *self.blake3.finalize().as_bytes(),
        }
    }
}

/// The digits of a checksum, as manifests have them.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Reads what `to_hex` writes; `None` for anything else.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_back_and_nothing_else_is() {
        let bytes = [0x00, 0x7f, 0xa0, 0xff];
        assert_eq!(to_hex(&bytes), "007fa0ff");
        assert_eq!(from_hex("007fa0ff"), Some(bytes));
        for wrong in ["007fa0f", "007fa0ffa", "007FA0FF", "007fa0fé"] {
            assert_eq!(from_hex::<4>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_checksums_are_those_of_the_standards() {
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        let digests = hasher.finish();
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(to_hex(&digests.sha256), sha256);
        assert_eq!(digests.blake3, *blake3::hash(b"abc").as_bytes());
    }
}
