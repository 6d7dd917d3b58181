//! What the columns of a binary table are, and where.

use arrow::datatypes::Field;

use crate::meta;

/// A column as FITS has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FitsColumn {
    pub(super) kind: Kind,
    /// Elements in the row; of a column in the heap the most that any row has there.
    pub(super) repeat: usize,
    pub(super) in_heap: bool,
    /// Of arrays of texts: the bytes of each text. `repeat` counts bytes.
    pub(super) text_bytes: Option<usize>,
    /// Stored as a signed type that holds the values as they are: see `Seen::widened`.
    pub(super) widened: bool,
    /// What is stored for an integer that is null (TNULLn).
    pub(super) null: Option<i64>,
    /// Where in the row it begins, in bytes.
    pub(super) offset: usize,
}

impl FitsColumn {
    /// The width of a column that is in the row.
    pub(super) fn bytes(&self) -> usize {
        self.repeat * self.kind.bytes()
    }

    /// The axes of arrays that are in the row, and of those of texts. STILTS reads the latter in the
    /// heap, too.
    pub(super) fn axes(&self, field: &Field) -> Option<Vec<usize>> {
        if let Some(text_bytes) = self.text_bytes {
            let texts = self.repeat / text_bytes;
            let own = meta::axes(field, texts).filter(|_| !self.in_heap);
            let mut axes = own.unwrap_or_else(|| vec![texts.max(1)]);
            axes.insert(0, text_bytes);
            return (self.in_heap || texts > 0).then_some(axes);
        }
        let is_array = !self.in_heap && self.kind != Kind::Text;
        is_array.then(|| meta::axes(field, self.repeat)).flatten()
    }
}

/// The type of a column's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Logical,
    /// Signed ones are stored with 128 added.
    Byte {
        signed: bool,
    },
    /// Unsigned ones, here and below, are stored with half of their range taken away.
    Short {
        unsigned: bool,
    },
    Int {
        unsigned: bool,
    },
    Long {
        unsigned: bool,
    },
    Float,
    Double,
    Text,
}

impl Kind {
    pub(super) fn code(self) -> char {
        match self {
            Self::Logical => 'L',
            Self::Byte { .. } => 'B',
            Self::Short { .. } => 'I',
            Self::Int { .. } => 'J',
            Self::Long { .. } => 'K',
            Self::Float => 'E',
            Self::Double => 'D',
            Self::Text => 'A',
        }
    }

    /// The next larger signed type for integers with nulls that would be stored with an offset:
    /// astropy (8.0) takes TNULL for the value after the offset, and fails or is wrong. There is
    /// none beyond 64 bits.
    pub(super) fn widened(self) -> Option<Self> {
        match self {
            Self::Byte { signed: true } => Some(Self::Short { unsigned: false }),
            Self::Short { unsigned: true } => Some(Self::Int { unsigned: false }),
            Self::Int { unsigned: true } => Some(Self::Long { unsigned: false }),
            _ => None,
        }
    }

    /// What is to be added to the stored value (TZEROn).
    pub(super) fn zero(self) -> Option<i128> {
        match self {
            Self::Byte { signed: true } => Some(-(1 << 7)),
            Self::Short { unsigned: true } => Some(1 << 15),
            Self::Int { unsigned: true } => Some(1 << 31),
            Self::Long { unsigned: true } => Some(1 << 63),
            _ => None,
        }
    }

    /// How an integer is stored; `None`: it is too large to be.
    pub(super) fn stored_exactly(self, value: i128) -> Option<i64> {
        let stored = value.checked_sub(self.zero().unwrap_or_default())?;
        stored.try_into().ok()
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Logical | Self::Byte { .. } | Self::Text => 1,
            Self::Short { .. } => 2,
            Self::Int { .. } | Self::Float => 4,
            Self::Long { .. } | Self::Double => 8,
        }
    }

    /// Values that may stand for null when the extremes may not: 256, evenly spread over the
    /// range, which for bytes are all. Says which of them a stored value is.
    #[inline]
    pub(super) fn candidate(self, stored: i64) -> Option<usize> {
        let (lowest, _) = self.range()?;
        let above = stored.wrapping_sub(lowest) as u64;
        let shift = self.candidate_shift();
        let place = above >> shift;
        (place << shift == above && place < 256).then_some(place as usize)
    }

    pub(super) fn candidate_shift(self) -> u32 {
        8 * (self.bytes() as u32 - 1)
    }

    /// The least and the greatest that can be stored, of integers.
    pub(super) fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::Byte { .. } => Some((0, 255)),
            Self::Short { .. } => Some((i16::MIN.into(), i16::MAX.into())),
            Self::Int { .. } => Some((i32::MIN.into(), i32::MAX.into())),
            Self::Long { .. } => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }
}

/// Where everything is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) columns: Vec<FitsColumn>,
    pub(super) row_bytes: usize,
    pub(super) rows: u64,
    pub(super) heap_bytes: u64,
}

impl Layout {
    pub(super) fn table_bytes(&self) -> u64 {
        self.row_bytes as u64 * self.rows
    }

    /// Descriptors of 64 bits (Q) where 32 (P) do not reach.
    pub(super) fn has_wide_descriptors(&self) -> bool {
        self.heap_bytes > i32::MAX as u64
    }

    pub(super) fn descriptor_bytes(&self) -> usize {
        if self.has_wide_descriptors() { 16 } else { 8 }
    }
}
