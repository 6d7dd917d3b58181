//! The checksums of a production: computed while it runs, kept in its manifest.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};

/// The checksums of all bytes of a production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256, as in `Repr-Digest: sha-256=` (RFC 9530).
    pub sha256: [u8; 32],
    /// BLAKE3; the spool checks its files with it.
    pub blake3: [u8; 32],
}

/// From 4 MiB on SHA-256 has a thread of its own. It takes 0.6 s for 1 GB, as long as everything else
/// that is done with a chunk, so a large production is twice as fast with it. A small one is done
/// before the thread has started.
const THREAD_FROM_BYTES: u64 = 4 << 20;

/// Eight pieces of at most 256 KiB wait for that thread. Half of them are among the newest bytes, which
/// are in memory anyway.
const WAITING_MAX: usize = 8;

/// Computes both checksums of bytes that arrive in order.
#[derive(Default)]
pub(crate) struct Hasher {
    blake3: blake3::Hasher,
    sha256: Sha256Of,
    bytes: u64,
}

enum Sha256Of {
    Here(Sha256),
    Thread(SyncSender<Bytes>, JoinHandle<Sha256>),
}

impl Default for Sha256Of {
    fn default() -> Self {
        Self::Here(Sha256::new())
    }
}

impl Hasher {
    /// Adds bytes. Blocks while the thread is behind.
    pub(crate) fn update(&mut self, data: &Bytes) -> Result<(), Error> {
        self.blake3.update(data);
        self.bytes += data.len() as u64;
        if self.bytes > THREAD_FROM_BYTES
            && let Sha256Of::Here(sha256) = &self.sha256
            && let Ok(thread) = start_thread(sha256.clone())
        {
            self.sha256 = thread;
        }
        match &mut self.sha256 {
            Sha256Of::Here(sha256) => sha256.update(data),
            Sha256Of::Thread(chunks, _) => chunks.send(data.clone()).map_err(|_| broken())?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Digests, Error> {
        let sha256 = match self.sha256 {
            Sha256Of::Here(sha256) => sha256,
            Sha256Of::Thread(chunks, thread) => {
                drop(chunks);
                thread.join().map_err(|_| broken())?
            }
        };
        Ok(Digests {
            sha256: sha256.finalize().into(),
            blake3: *self.blake3.finalize().as_bytes(),
        })
    }
}

/// Starts the thread; it ends when the hasher is finished or dropped.
fn start_thread(mut sha256: Sha256) -> io::Result<Sha256Of> {
    let (chunks, received) = sync_channel::<Bytes>(WAITING_MAX);
    let builder = thread::Builder::new().name("spool-sha256".into());
    let thread = builder.spawn(move || {
        received.iter().for_each(|chunk| sha256.update(&chunk));
        sha256
    })?;
    Ok(Sha256Of::Thread(chunks, thread))
}

fn broken() -> Error {
    Error::new(ErrorKind::System, "the thread of a checksum is gone")
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
        hasher.update(&Bytes::from_static(b"a")).unwrap();
        hasher.update(&Bytes::from_static(b"bc")).unwrap();
        let digests = hasher.finish().unwrap();
        // FIPS 180-2, appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(to_hex(&digests.sha256), sha256);
        assert_eq!(digests.blake3, *blake3::hash(b"abc").as_bytes());
    }

    #[test]
    fn a_thread_of_its_own_changes_no_checksum() {
        let chunk = Bytes::from(vec![7; 300_000]);
        let mut hasher = Hasher::default();
        let mut sha256 = Sha256::new();
        for _ in 0..40 {
            hasher.update(&chunk).unwrap();
            sha256.update(&chunk);
        }
        assert!(matches!(hasher.sha256, Sha256Of::Thread(..)));
        let expected: [u8; 32] = sha256.finalize().into();
        assert_eq!(hasher.finish().unwrap().sha256, expected);
    }
}
