//! The bytes that every server sends and that the client checks: byte `i` is `P[i % period]` with
//! `P[j] = ((j * 2654435761) >> 24) & 255`. It owns the pattern and how it is split into pieces; it
//! does not use HTTP.

use std::sync::LazyLock;

use bytes::Bytes;

/// The period of the programs' test bytes: a prime just below 1 MiB, so that no
/// power-of-two chunk ever lines up with the pattern and a lost, doubled or
/// swapped chunk is always visible.
pub(crate) const PROGRAM_PERIOD_BYTES: usize = 1_048_573;

/// The period of the peers' bytes: a prime just below the ceiling's one chunk.
/// A source reads as little memory as the ceiling does, so that what differs is
/// the way from the source to hyper and not what else is in the cache.
pub(crate) const PEER_PERIOD_BYTES: usize = 65_521;

/// What the ceiling repeats instead: one chunk of 64 KiB.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// The peers' bytes, enough of them for any piece of up to [`CHUNK_BYTES`].
static SHARED: LazyLock<Bytes> = LazyLock::new(|| enough_for(CHUNK_BYTES));

/// Any piece of up to `piece_bytes` is a slice of these.
fn enough_for(piece_bytes: usize) -> Bytes {
    repeated(PEER_PERIOD_BYTES, PEER_PERIOD_BYTES + piece_bytes)
}

/// Pieces of the pattern, in order, as places in [`Pieces::buffer`].
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    buffer: Bytes,
    left_bytes: u64,
    piece_bytes: u64,
    offset: usize,
}

impl Pieces {
    /// Cuts `total_bytes` of the peers' pattern into pieces. Pieces longer than
    /// a chunk make a buffer of their own size, which takes time and memory.
    pub(crate) fn new(total_bytes: u64, piece_bytes: u64) -> Self {
        let piece_bytes = piece_bytes.clamp(1, total_bytes.max(1));
        let longest = usize::try_from(piece_bytes).unwrap_or(usize::MAX / 2);
        let buffer = if longest <= CHUNK_BYTES {
            SHARED.clone()
        } else {
            enough_for(longest)
        };
        Self {
            buffer,
            left_bytes: total_bytes,
            piece_bytes,
            offset: 0,
        }
    }

    /// The next piece as a place in the buffer: no reference count is touched.
    pub(crate) fn next_slice(&mut self) -> Option<&[u8]> {
        let (from, to) = self.advance()?;
        Some(&self.buffer[from..to])
    }

    /// The next piece as an owned slice of the buffer, without copying.
    pub(crate) fn next_bytes(&mut self) -> Option<Bytes> {
        let (from, to) = self.advance()?;
        Some(self.buffer.slice(from..to))
    }

    fn advance(&mut self) -> Option<(usize, usize)> {
        if self.left_bytes == 0 {
            return None;
        }
        let length = self.piece_bytes.min(self.left_bytes);
        self.left_bytes -= length;
        let from = self.offset;
        let to = from + length as usize;
        self.offset = if to < PEER_PERIOD_BYTES {
            to
        } else {
            to % PEER_PERIOD_BYTES
        };
        Some((from, to))
    }
}

/// The first `length_bytes` of the endless pattern with that period.
pub(crate) fn repeated(period_bytes: usize, length_bytes: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..period_bytes.min(length_bytes) as u64)
        .map(byte_at)
        .collect();
    bytes.reserve_exact(length_bytes - bytes.len());
    while bytes.len() < length_bytes {
        let more = bytes
            .len()
            .min(length_bytes - bytes.len())
            .min(period_bytes);
        bytes.extend_from_within(..more);
    }
    bytes.into()
}

const fn byte_at(j: u64) -> u8 {
    ((j * 2_654_435_761) >> 24) as u8
}

/// Compares the received bytes with the pattern, independent of how they are split.
#[derive(Debug)]
pub(crate) struct Check {
    /// Twice the period.
    expected: Bytes,
    period_bytes: usize,
    position: u64,
    first_difference: Option<u64>,
}

impl Check {
    /// Expects the pattern's first `period_bytes`, again and again.
    pub(crate) fn new(period_bytes: usize) -> Self {
        let period = repeated(period_bytes, period_bytes);
        let expected = [&period[..], &period[..]].concat().into();
        Self {
            expected,
            period_bytes,
            position: 0,
            first_difference: None,
        }
    }

    /// Checks the next received bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(self.period_bytes) {
            let from = (self.position % self.period_bytes as u64) as usize;
            let expected = &self.expected[from..from + part.len()];
            if expected != part && self.first_difference.is_none() {
                let same = part
                    .iter()
                    .zip(expected)
                    .take_while(|(a, b)| a == b)
                    .count();
                self.first_difference = Some(self.position + same as u64);
            }
            self.position += part.len() as u64;
        }
    }

    /// Where the first wrong byte was, if there was one.
    pub(crate) const fn first_difference(&self) -> Option<u64> {
        self.first_difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(mut pieces: Pieces) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = pieces.next_slice() {
            all.extend_from_slice(piece);
        }
        all
    }

    #[test]
    fn pieces_of_any_size_give_the_same_bytes() {
        let total = 3 * PEER_PERIOD_BYTES + 17;
        let expected: Vec<u8> = (0..total)
            .map(|i| byte_at((i % PEER_PERIOD_BYTES) as u64))
            .collect();
        for piece in [
            997,
            PEER_PERIOD_BYTES,
            CHUNK_BYTES,
            CHUNK_BYTES + 5,
            total,
            2 * total,
        ] {
            let found = bytes_of(Pieces::new(total as u64, piece as u64));
            assert!(found == expected, "pieces of {piece}");
        }
    }

    #[test]
    fn owned_pieces_are_the_same_as_borrowed_ones() {
        let mut owned = Pieces::new(3_000_000, 70_001);
        let mut borrowed = owned.clone();
        while let Some(piece) = owned.next_bytes() {
            assert_eq!(Some(&piece[..]), borrowed.next_slice());
        }
        assert!(borrowed.next_slice().is_none());
    }

    #[test]
    fn check_finds_the_first_wrong_byte() {
        let mut bytes = bytes_of(Pieces::new(2_500_000, 65_536));
        bytes[2_000_001] ^= 1;
        let mut check = Check::new(PEER_PERIOD_BYTES);
        bytes.chunks(100_003).for_each(|part| check.take(part));
        assert_eq!(check.first_difference(), Some(2_000_001));
    }
}
