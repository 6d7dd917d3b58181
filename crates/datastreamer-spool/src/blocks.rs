//! Checksums of the blocks of a production's file: what is read from it is compared with them, every
//! time.
//!
//! A file that was written may still read as something else: an error of writing back is told to
//! nobody before the file is synchronized, disks fail, and files can be changed. A CRC-32 for each
//! block of 64 KiB, kept in memory (4 bytes for 64 KiB), turns all of that into a visible failure.

/// 64 KiB: the chunk of a stream. A small range reads one block; 10 GiB have 640 KiB of checksums.
pub(crate) const BLOCK_BYTES: u64 = 64 * 1024;

/// Computes the checksums of blocks from bytes that arrive in order.
#[derive(Default)]
pub(crate) struct BlockHasher {
    part: crc32fast::Hasher,
    part_bytes: u64,
    full: Vec<u32>,
}

/// The checksums of some more bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NewSums {
    /// Of the blocks that these bytes have filled.
    pub(crate) full: Vec<u32>,
    /// Of what there is of the block behind them.
    pub(crate) part: u32,
}

impl BlockHasher {
    pub(crate) fn update(&mut self, mut data: &[u8]) -> NewSums {
        while !data.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - self.part_bytes).unwrap_or(usize::MAX);
            let (part, rest) = data.split_at(data.len().min(room));
            self.part.update(part);
            self.part_bytes += part.len() as u64;
            if self.part_bytes == BLOCK_BYTES {
                self.full.push(self.part.clone().finalize());
                self.part.reset();
                self.part_bytes = 0;
            }
            data = rest;
        }
        NewSums {
            full: std::mem::take(&mut self.full),
            part: self.part.clone().finalize(),
        }
    }
}

/// The checksums of all blocks so far.
#[derive(Debug, Default)]
pub(crate) struct BlockSums {
    full: Vec<u32>,
    part: u32,
}

/// Whole blocks to read from a file, the last of which may be the part that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    sums: Vec<u32>,
}

impl BlockSums {
    pub(crate) fn extend(&mut self, new: NewSums) {
        self.full.extend(new.full);
        self.part = new.part;
    }

    /// The blocks with the bytes of a range, at most so many bytes; `bytes` are there in all.
    pub(crate) fn extent(&self, at: u64, until: u64, bytes: u64, bytes_max: u64) -> Extent {
        let begin = at / BLOCK_BYTES * BLOCK_BYTES;
        let last = until.min(bytes).div_ceil(BLOCK_BYTES);
        let end = (last * BLOCK_BYTES).min(begin + bytes_max).min(bytes);
        let blocks = begin / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        let sum = |block| {
            let full = usize::try_from(block).ok().and_then(|it| self.full.get(it));
            full.copied().unwrap_or(self.part)
        };
        Extent {
            begin,
            end,
            sums: blocks.map(sum).collect(),
        }
    }
}

impl Extent {
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.end - self.begin).unwrap_or(usize::MAX)
    }

    /// Whether these are the bytes that were written.
    pub(crate) fn is(&self, data: &[u8]) -> bool {
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        let sums = data.chunks(block_bytes).map(crc32fast::hash);
        data.len() == self.bytes() && sums.eq(self.sums.iter().copied())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_file_is_known_by_its_sums() {
        let data: Vec<u8> = (0..300_000u64).map(|it| ((it * it) >> 3) as u8).collect();
        let mut hasher = BlockHasher::default();
        let mut sums = BlockSums::default();
        let mut written = 0;
        for size in [1, 65_535, 1, 200_000, 34_463] {
            let next = written + size;
            sums.extend(hasher.update(&data[written..next]));
            written = next;
            for at in [0, 1, 65_535, 65_536, 70_000, written - 1] {
                if at >= written {
                    continue;
                }
                for until in [at + 1, at + 65_536, u64::MAX as usize] {
                    let extent = sums.extent(at as u64, until as u64, written as u64, 131_072);
                    let range = extent.begin as usize..extent.end as usize;
                    assert!(range.contains(&at) && range.len() <= 131_072);
                    assert!(range.end >= until.min(written).min(range.start + 131_072));
                    assert!(extent.is(&data[range.clone()]), "{range:?} of {written}");
                    let mut damaged = data[range.clone()].to_vec();
                    damaged[at - range.start] ^= 1;
                    assert!(!extent.is(&damaged));
                    assert!(!extent.is(&data[range.start..range.end - 1]));
                }
            }
        }
        assert_eq!(written, data.len());
    }
}
