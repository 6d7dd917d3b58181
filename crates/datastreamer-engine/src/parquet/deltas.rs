//! Runs and deltas: the encodings of levels, of keys of a dictionary, and of the lengths of texts.
//! Each is decoded value by value, so that a few bytes that state many values take no memory.
//!
//! <https://github.com/apache/parquet-format/blob/master/Encodings.md>

/// A varint of 64 bits has at most 10 bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Takes a varint from the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..VARINT_BYTES_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let value = varint(bytes)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Returns one of the values that are packed into so many bits each, the lowest bits first. What is
/// behind the end is zero.
fn unpacked(bytes: &[u8], index: usize, width: usize) -> u64 {
    let first_bit = index * width;
    let last_byte = (first_bit + width).div_ceil(8);
    let all = (first_bit / 8..last_byte).rev().fold(0_u128, |all, at| {
        all << 8 | u128::from(bytes.get(at).copied().unwrap_or_default())
    });
    let mask = (1_u128 << width) - 1;
    (all >> (first_bit % 8) & mask) as u64
}

/// Values of `RLE`: each run repeats one, or has some that are packed.
#[derive(Clone, Debug)]
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    width: usize,
    run: Run<'a>,
    left: u64,
}

#[derive(Clone, Copy, Debug)]
enum Run<'a> {
    Repeated(u64),
    Packed(&'a [u8], usize),
}

impl<'a> Runs<'a> {
    /// Values of so many bits each; `None` if there are no such values.
    pub(super) fn new(bytes: &'a [u8], width: usize) -> Option<Self> {
        (width <= 64).then_some(Self {
            bytes,
            width,
            run: Run::Repeated(0),
            left: 0,
        })
    }

    /// Returns whether no value is left, but for what fills the last run up: packed values come in
    /// groups of eight, and DuckDB writes more of them than it needs.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.run, Run::Packed(..)) || self.left == 0
    }
}

impl Iterator for Runs<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.left == 0 {
            let head = varint(&mut self.bytes)?;
            if head & 1 == 1 {
                let values = (head >> 1).checked_mul(8)?;
                let bytes = usize::try_from(head >> 1).ok()?.checked_mul(self.width)?;
                // Some writers leave out the end of the last run.
                let (packed, rest) = self.bytes.split_at(bytes.min(self.bytes.len()));
                (self.run, self.left, self.bytes) = (Run::Packed(packed, 0), values, rest);
            } else {
                let (value, rest) = self.bytes.split_at_checked(self.width.div_ceil(8))?;
                let value = unpacked(value, 0, value.len() * 8);
                (self.run, self.left, self.bytes) = (Run::Repeated(value), head >> 1, rest);
            }
        }
        self.left -= 1;
        Some(match &mut self.run {
            Run::Repeated(value) => *value,
            Run::Packed(bytes, index) => {
                *index += 1;
                unpacked(bytes, *index - 1, self.width)
            }
        })
    }
}

/// Values of `DELTA_BINARY_PACKED`.
#[derive(Clone, Debug)]
pub(super) struct Deltas<'a> {
    bytes: &'a [u8],
    /// Values in a part of a block, all of the same width.
    part_values: usize,
    parts: usize,
    left: u64,
    value: i64,
    is_first: bool,
    delta_min: i64,
    /// The widths of the parts of the block that are left.
    widths: &'a [u8],
    part: &'a [u8],
    width: usize,
    at_in_part: usize,
}

impl<'a> Deltas<'a> {
    /// Begins to decode; `None` if these are no such values.
    pub(super) fn new(mut bytes: &'a [u8]) -> Option<Self> {
        let block_values = usize::try_from(varint(&mut bytes)?).ok()?;
        let parts = usize::try_from(varint(&mut bytes)?).ok()?;
        let left = varint(&mut bytes)?;
        let value = zigzag(&mut bytes)?;
        let part_values = block_values
            .checked_div(parts)
            .filter(|values| *values > 0)?;
        Some(Self {
            bytes,
            part_values,
            parts,
            left,
            value,
            is_first: true,
            delta_min: 0,
            widths: &[],
            part: &[],
            width: 0,
            at_in_part: part_values,
        })
    }

    /// Returns what is behind the values.
    pub(super) fn behind(mut self) -> &'a [u8] {
        while self.next().is_some() {}
        self.bytes
    }

    fn next_part(&mut self) -> Option<()> {
        if self.widths.is_empty() {
            self.delta_min = zigzag(&mut self.bytes)?;
            (self.widths, self.bytes) = self.bytes.split_at_checked(self.parts)?;
        }
        let (width, widths) = self.widths.split_first()?;
        self.widths = widths;
        self.width = usize::from(*width);
        let bytes = self.width.checked_mul(self.part_values)?.div_ceil(8);
        if self.width > 64 {
            return None;
        }
        (self.part, self.bytes) = self.bytes.split_at_checked(bytes)?;
        self.at_in_part = 0;
        Some(())
    }
}

impl Iterator for Deltas<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        if !std::mem::replace(&mut self.is_first, false) {
            if self.at_in_part == self.part_values {
                self.next_part()?;
            }
            let delta = unpacked(self.part, self.at_in_part, self.width).cast_signed();
            self.at_in_part += 1;
            self.value = self.value.wrapping_add(self.delta_min).wrapping_add(delta);
        }
        Some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_repeat_a_value_or_pack_some() {
        // The example of the format: 0 to 7 in 3 bits each.
        let packed = [0b0000_0011, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let values: Vec<_> = Runs::new(&packed, 3).unwrap().collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6, 7]);
        let repeated = [6, 0x34, 0x12];
        let values: Vec<_> = Runs::new(&repeated, 13).unwrap().collect();
        assert_eq!(values, [0x1234; 3]);
        assert!(Runs::new(&packed, 65).is_none());
    }

    #[test]
    fn deltas_are_added_to_the_first_value() {
        // 7, 5, 3, 1, 2, 3, 4, 5 of the format's examples: deltas of -2 and 1, packed in 2 bits.
        let bytes = [8, 1, 8, 14, 3, 2, 0b1100_0000, 0b0011_1111, 0xaa];
        let deltas = Deltas::new(&bytes).unwrap();
        assert_eq!(deltas.clone().collect::<Vec<_>>(), [7, 5, 3, 1, 2, 3, 4, 5]);
        assert_eq!(deltas.behind(), [0xaa]);
        // A billion equal values in seven bytes, of which some are taken.
        let many = [0x80, 1, 1, 0x80, 0x94, 0xeb, 0xdc, 3, 2, 0, 0];
        let many = Deltas::new(&many).unwrap();
        assert_eq!(many.take(3).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(Deltas::new(&[8, 0, 8, 14]).is_none());
    }
}
