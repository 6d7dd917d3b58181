//! What a reader wants of a file: a part of its bytes. `datastreamer-http` makes pieces of the ranges of a
//! request, sources and `datastreamer-spool` write them.

use std::ops::Range;

use bytes::Bytes;

/// A part of what is to be written of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the file, from an offset (inclusive) to another one (exclusive). One that ends before it
    /// begins is empty.
    Range(Range<u64>),
    /// Bytes of the file, from an offset to its end.
    From(u64),
    /// These bytes, which are not in the file: what stands between the parts of a multipart response.
    Bytes(Bytes),
}

impl Piece {
    /// Returns how many bytes it has, if that is known: `file_length` is that of the file. `None` also if it
    /// begins behind the end.
    pub fn length(&self, file_length: Option<u64>) -> Option<u64> {
        match self {
            Self::Range(range) => Some(range.end.saturating_sub(range.start)),
            Self::From(start) => file_length?.checked_sub(*start),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_piece_to_the_end_has_a_length_where_the_file_has_one() {
        assert_eq!(Piece::From(3).length(Some(10)), Some(7));
        assert_eq!(Piece::From(3).length(None), None);
        assert_eq!(Piece::From(11).length(Some(10)), None);
        let reversed = Range { start: 5, end: 3 };
        assert_eq!(Piece::Range(reversed).length(None), Some(0));
        assert_eq!(Piece::Bytes("ab".into()).length(None), Some(2));
    }
}
