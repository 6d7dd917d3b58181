//! Where rows are put together.
//!
//! [`RowBuffer`] owns bytes that are encoded and not yet written. All of its room is initialized at
//! all times: so a short text is put with copies of a fixed size, and what they leave behind it is
//! overwritten by what comes next. Called by `gather.rs` and the encoders.

/// What [`RowBuffer::put_cell`] copies without a call: any number is shorter.
pub(super) const SHORT_BYTES: usize = 32;

/// So much room is kept, in bytes.
const ROOM_BYTES_MAX: usize = 256 * 1024;

/// What stands before and behind a cell is copied completely, too.
const BEFORE_BYTES: usize = 32;
const BEHIND_BYTES: usize = 16;

/// So much room a cell takes at most, with what stands around it.
const CELL_BYTES: usize = BEFORE_BYTES + SHORT_BYTES + BEHIND_BYTES;

/// Bytes with room behind them.
pub(super) struct RowBuffer {
    /// The bytes, and behind them anything.
    room: Vec<u8>,
    length: usize,
}

/// What stands around the cells of a column, and instead of a null.
pub(super) struct Frame {
    before: Vec<u8>,
    behind: Vec<u8>,
    null: Vec<u8>,
    /// `before` and `behind` again, with anything behind them, where they are short.
    short: Option<([u8; BEFORE_BYTES], [u8; BEHIND_BYTES])>,
}

impl RowBuffer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            room: vec![0; bytes],
            length: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.length = length.min(self.length);
    }

    /// Forgets all bytes, and gives back what a huge cell took.
    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.room.truncate(ROOM_BYTES_MAX);
        self.room.shrink_to(ROOM_BYTES_MAX);
    }

    pub(super) fn insert(&mut self, at: usize, byte: u8) {
        self.put(&[byte]);
        self.room[at..self.length].rotate_right(1);
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.room.copy_within(at + 1..self.length, at);
        self.length -= 1;
    }

    /// Appends bytes.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.room_of(bytes.len()).copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends a cell within its frame.
    #[inline]
    pub(super) fn put_cell(&mut self, frame: &Frame, text: &[u8]) {
        match &frame.short {
            Some((before, behind)) if text.len() <= SHORT_BYTES => {
                let room = self.room_of(CELL_BYTES);
                room[..BEFORE_BYTES].copy_from_slice(before);
                let room = &mut room[frame.before.len()..];
                copy_short(&mut room[..text.len()], text);
                room[text.len()..][..BEHIND_BYTES].copy_from_slice(behind);
                self.length += frame.before.len() + text.len() + frame.behind.len();
            }
            _ => self.put_long(frame, text),
        }
    }

    #[cold]
    fn put_long(&mut self, frame: &Frame, text: &[u8]) {
        self.put(&frame.before);
        self.put(text);
        self.put(&frame.behind);
    }

    /// Appends what a null is.
    #[inline]
    pub(super) fn put_null(&mut self, frame: &Frame) {
        self.put(&frame.null);
    }

    #[inline]
    fn room_of(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.length + bytes;
        if end > self.room.len() {
            self.grow(end);
        }
        &mut self.room[self.length..end]
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        self.room.resize(bytes.max(2 * self.room.len()), 0);
    }
}

impl Frame {
    pub(super) fn new(before: Vec<u8>, behind: Vec<u8>, null: Vec<u8>) -> Self {
        Self {
            short: padded(&before).zip(padded(&behind)),
            before,
            behind,
            null,
        }
    }
}

fn padded<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut padded = [0; N];
    padded.get_mut(..text.len())?.copy_from_slice(text);
    Some(padded)
}

/// Copies a text that is short as a rule into room of its length: what has 4 to 32 bytes in two
/// pieces of a fixed size that overlap, which takes no call.
///
/// # Panics
/// If the room has another length.
///
/// ```
/// let mut room = *b"____";
/// datastreamer_table::copy_short(&mut room[1..], b"abc");
/// assert_eq!(&room, b"_abc");
/// ```
#[inline]
pub fn copy_short(to: &mut [u8], text: &[u8]) {
    assert_eq!(to.len(), text.len(), "room of the text's length");
    match text.len() {
        16..=32 => copy_overlapping::<16>(to, text),
        8..16 => copy_overlapping::<8>(to, text),
        4..8 => copy_overlapping::<4>(to, text),
        _ => to.copy_from_slice(text),
    }
}

/// Copies `N` to twice as many bytes.
#[inline]
fn copy_overlapping<const N: usize>(to: &mut [u8], text: &[u8]) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        to[..N].copy_from_slice(first);
        let last_at = to.len() - N;
        to[last_at..].copy_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_any_length_stand_in_their_frames() {
        let long = "x".repeat(100);
        for before in ["", "<TD>", &long] {
            let frame = Frame::new(before.into(), b"</TD>".to_vec(), b"<TD/>".to_vec());
            // A room that is too small from the first cell on.
            let mut out = RowBuffer::with_capacity(0);
            let mut expected = String::new();
            for length in 0..70 {
                let text = &long[..length];
                out.put_cell(&frame, text.as_bytes());
                out.put_null(&frame);
                out.put(text.as_bytes());
                expected += &format!("{before}{text}</TD><TD/>{text}");
            }
            assert_eq!(out.as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn bytes_are_inserted_and_removed_in_their_place() {
        let mut out = RowBuffer::with_capacity(3);
        out.put(b"abd");
        out.insert(2, b'c');
        assert_eq!(out.as_bytes(), b"abcd");
        out.remove(0);
        assert_eq!(out.as_bytes(), b"bcd");
        out.truncate(1);
        out.put(b"!");
        assert_eq!((out.as_bytes(), out.len()), (b"b!".as_slice(), 2));
    }
}
