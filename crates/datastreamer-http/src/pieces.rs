//! What a source writes of its file: all of it, or the ranges of the request, and the texts between
//! the parts of a multipart response (RFC 9110, 14.6). Made by `conditions.rs`.

use std::ops::Range;

use datastreamer::Piece;

/// The pieces of a response, in their order.
///
/// A source whose plan has no [`ranges`](crate::Planned::ranges) gets one piece, the complete file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a source writes these bytes and no others"]
pub struct Pieces {
    pieces: Vec<Piece>,
    /// Of all pieces, if that is known.
    length: Option<u64>,
    is_complete: bool,
}

impl Pieces {
    /// All bytes of a file, whose length may be known.
    pub fn complete(length: Option<u64>) -> Self {
        Self {
            pieces: vec![length.map_or(Piece::From(0), |length| Piece::Range(0..length))],
            length,
            is_complete: true,
        }
    }

    /// One range of bytes.
    pub(crate) fn one(bytes: Range<u64>) -> Self {
        Self {
            length: Some(bytes.end - bytes.start),
            pieces: vec![Piece::Range(bytes)],
            is_complete: false,
        }
    }

    /// Several ranges of a file, as `multipart/byteranges`.
    pub(crate) fn multipart(
        ranges: &[Range<u64>],
        file_length: u64,
        media_type: &str,
        boundary: &str,
    ) -> Self {
        let mut pieces = Vec::with_capacity(2 * ranges.len() + 1);
        let mut line_end = "";
        for bytes in ranges {
            let range = content_range(bytes, Some(file_length));
            let text = format!(
                "{line_end}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
            );
            pieces.push(Piece::Bytes(text.into()));
            pieces.push(Piece::Range(bytes.clone()));
            line_end = "\r\n";
        }
        pieces.push(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into()));
        let lengths = pieces.iter().filter_map(|piece| piece.length(None));
        Self {
            length: Some(lengths.sum()),
            pieces,
            is_complete: false,
        }
    }

    /// Returns whether they are the complete file.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns how many bytes they are together, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the pieces, in the order in which they are sent.
    pub fn as_slice(&self) -> &[Piece] {
        &self.pieces
    }
}

/// The value of `Content-Range` (RFC 9110, 14.4).
pub(crate) fn content_range(bytes: &Range<u64>, file_length: Option<u64>) -> String {
    let last = bytes.end - 1;
    match file_length {
        Some(length) => format!("bytes {}-{last}/{length}", bytes.start),
        None => format!("bytes {}-{last}/*", bytes.start),
    }
}
