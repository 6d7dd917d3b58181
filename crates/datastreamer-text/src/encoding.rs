//! Text of other encodings as UTF-8. It reads a file's bytes behind `input.rs`'s decompressor, and
//! finds byte order marks; it keeps a bounded piece of the file, and no line.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252, mem};
use serde::{Deserialize, Serialize};

/// 64 KiB are transcoded at a time: they stay in the cache of a core.
const PIECE_BYTES: usize = 64 << 10;
/// A byte of Latin-1 becomes up to 2 bytes of UTF-8, one of Windows-1252 up to 3; a few more are what
/// the decoder wants at a character's beginning.
const TEXT_BYTES: usize = 3 * PIECE_BYTES + 16;
/// Bytes that Windows-1252 does not use.
const UNUSED_IN_WINDOWS_1252: [u8; 5] = [0x81, 0x8d, 0x8f, 0x90, 0x9d];

/// How the characters of a text file are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextEncoding {
    /// UTF-8.
    Utf8,
    /// ISO 8859-1: a byte is the character of its number.
    Latin1,
    /// Latin-1 with printable characters in place of the controls from 0x80 to 0x9f.
    Windows1252,
    /// UTF-16, of which a byte order mark says which half of a character comes first.
    Utf16,
    /// UTF-16, the lower half first.
    Utf16Le,
    /// UTF-16, the higher half first.
    Utf16Be,
}

impl TextEncoding {
    /// All, with their names.
    const NAMES: [(&'static str, Self); 6] = [
        ("utf-8", Self::Utf8),
        ("latin-1", Self::Latin1),
        ("windows-1252", Self::Windows1252),
        ("utf-16", Self::Utf16),
        ("utf-16le", Self::Utf16Le),
        ("utf-16be", Self::Utf16Be),
    ];

    /// Finds an encoding by its name, in letters of any case.
    ///
    /// # Errors
    /// The text of which ones there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut names = Self::NAMES.iter();
        let found = names.find(|(name, _)| text.eq_ignore_ascii_case(name));
        found.map(|(_, encoding)| *encoding).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name);
            format!(
                "encoding must be one of {}; it is {text:?}",
                names.join(", ")
            )
        })
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        let named = names.find(|(_, encoding)| *encoding == self);
        named.map_or("utf-8", |(name, _)| name)
    }
}

/// A byte order mark (Unicode 16.0, 23.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Utf8,
    Utf16Le,
    Utf16Be,
    Utf32,
}

impl Mark {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(Self::Utf32),
            [0xef, 0xbb, 0xbf, ..] => Some(Self::Utf8),
            [0xff, 0xfe, ..] => Some(Self::Utf16Le),
            [0xfe, 0xff, ..] => Some(Self::Utf16Be),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16LE",
            Self::Utf16Be => "UTF-16BE",
            Self::Utf32 => "UTF-32",
        }
    }
}

/// A text as UTF-8, without a byte order mark.
pub(crate) struct Decoded {
    pub(crate) bytes: Box<dyn Read + Send>,
    /// What the bytes were.
    pub(crate) encoding: TextEncoding,
    /// The bytes of the mark, if they are those of UTF-8.
    pub(crate) mark_bytes: usize,
}

/// Reads the beginning of a file, and finds out how its characters are bytes.
///
/// # Errors
/// The file cannot be read; its byte order mark is of another encoding than `declared`, or missing for
/// UTF-16; it is UTF-32.
pub(crate) fn decoded(
    mut bytes: Box<dyn Read + Send>,
    declared: Option<TextEncoding>,
) -> io::Result<Decoded> {
    use TextEncoding as E;
    let head = read_head(&mut bytes)?;
    let mark = Mark::of(&head);
    let contradicts = |mark: Mark, encoding: E| {
        let (mark, encoding) = (mark.name(), encoding.name());
        let text = format!(
            "begins with the byte order mark of {mark}, and its encoding is set to {encoding}"
        );
        Err(io::Error::other(text))
    };
    let (encoding, mark_bytes) = match (declared, mark) {
        (_, Some(Mark::Utf32)) => {
            let text = "begins with the byte order mark of UTF-32, which is not read";
            return Err(io::Error::other(text));
        }
        (None | Some(E::Utf8), Some(Mark::Utf8)) => (E::Utf8, 3),
        (None | Some(E::Utf16 | E::Utf16Le), Some(Mark::Utf16Le)) => (E::Utf16Le, 2),
        (None | Some(E::Utf16 | E::Utf16Be), Some(Mark::Utf16Be)) => (E::Utf16Be, 2),
        (Some(encoding), Some(mark)) => return contradicts(mark, encoding),
        (Some(E::Utf16), None) => {
            let text = "has no byte order mark: set encoding to utf-16le or utf-16be";
            return Err(io::Error::other(text));
        }
        (Some(encoding), None) => (encoding, 0),
        (None, None) => (E::Utf8, 0),
    };
    let mut head = Cursor::new(head);
    head.set_position(mark_bytes as u64);
    let bytes: Box<dyn Read + Send> = Box::new(head.chain(bytes));
    let transcoder = match encoding {
        E::Utf8 | E::Utf16 => {
            return Ok(Decoded {
                bytes,
                encoding,
                mark_bytes,
            });
        }
        E::Latin1 => Transcoder::Latin1,
        E::Windows1252 => Transcoder::Windows1252(WINDOWS_1252.new_decoder_without_bom_handling()),
        E::Utf16Le => Transcoder::Utf16(UTF_16LE.new_decoder_without_bom_handling()),
        E::Utf16Be => Transcoder::Utf16(UTF_16BE.new_decoder_without_bom_handling()),
    };
    Ok(Decoded {
        bytes: Box::new(Transcoded::new(
            bytes,
            transcoder,
            encoding,
            mark_bytes as u64,
        )),
        encoding,
        mark_bytes: 0,
    })
}

/// Reads the four bytes that the longest mark has, or fewer of a shorter file.
fn read_head(bytes: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4);
    bytes.take(4).read_to_end(&mut head)?;
    Ok(head)
}

enum Transcoder {
    Latin1,
    Windows1252(Decoder),
    Utf16(Decoder),
}

/// Reads text of another encoding as UTF-8.
struct Transcoded {
    bytes: Box<dyn Read + Send>,
    transcoder: Transcoder,
    encoding: TextEncoding,
    piece: Piece,
    text: Piece,
    is_at_end: bool,
    is_complete: bool,
    /// Of the file's bytes before those in `piece`.
    offset: u64,
}

/// A buffer, of which a part is used.
struct Piece {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Piece {
    fn new(bytes: usize) -> Self {
        Self {
            buffer: vec![0; bytes],
            from: 0,
            to: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

impl Transcoded {
    fn new(
        bytes: Box<dyn Read + Send>,
        transcoder: Transcoder,
        encoding: TextEncoding,
        offset: u64,
    ) -> Self {
        Self {
            bytes,
            transcoder,
            encoding,
            piece: Piece::new(PIECE_BYTES),
            text: Piece::new(TEXT_BYTES),
            is_at_end: false,
            is_complete: false,
            offset,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() || self.is_at_end {
            return Ok(());
        }
        let read = self.bytes.read(&mut self.piece.buffer)?;
        (self.piece.from, self.piece.to) = (0, read);
        self.is_at_end = read == 0;
        Ok(())
    }

    /// Makes text of the piece.
    fn transcode(&mut self) -> io::Result<()> {
        let piece = &self.piece.buffer[self.piece.from..self.piece.to];
        let text = &mut self.text.buffer[..];
        let (read, written, wrong) = match &mut self.transcoder {
            Transcoder::Latin1 => {
                let (read, written) = mem::convert_latin1_to_utf8_partial(piece, text);
                self.is_complete = self.is_at_end && read == piece.len();
                (read, written, None)
            }
            Transcoder::Windows1252(decoder) | Transcoder::Utf16(decoder) => {
                let (result, read, written) =
                    decoder.decode_to_utf8_without_replacement(piece, text, self.is_at_end);
                self.is_complete = self.is_at_end && result == DecoderResult::InputEmpty;
                let wrong = match result {
                    DecoderResult::Malformed(bytes, behind) => {
                        Some((read as u64, u64::from(bytes) + u64::from(behind)))
                    }
                    DecoderResult::InputEmpty | DecoderResult::OutputFull => None,
                };
                (read, written, wrong)
            }
        };
        let unused = match &self.transcoder {
            Transcoder::Windows1252(_) => {
                let is_unused = |byte: &u8| UNUSED_IN_WINDOWS_1252.contains(byte);
                piece[..read].iter().position(is_unused)
            }
            _ => None,
        };
        if let Some(place) = unused {
            return Err(self.wrong_at(self.offset + place as u64));
        }
        if let Some((read, back)) = wrong {
            return Err(self.wrong_at((self.offset + read).saturating_sub(back)));
        }
        self.piece.from += read;
        self.offset += read as u64;
        (self.text.from, self.text.to) = (0, written);
        Ok(())
    }

    fn wrong_at(&self, offset: u64) -> io::Error {
        let name = self.encoding.name();
        io::Error::other(format!("is not {name} at byte {offset}, counted from 0"))
    }
}

impl Read for Transcoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.text.is_empty() {
            if self.is_complete {
                return Ok(0);
            }
            self.fill()?;
            self.transcode()?;
        }
        let text = &self.text.buffer[self.text.from..self.text.to];
        let count = text.len().min(into.len());
        into[..count].copy_from_slice(&text[..count]);
        self.text.from += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, so that characters are cut.
    struct Drops(Cursor<Vec<u8>>, usize);

    impl Read for Drops {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let some = into.len().min(self.1);
            self.0.read(&mut into[..some])
        }
    }

    fn text_of(bytes: &[u8], declared: Option<TextEncoding>) -> Result<String, String> {
        let texts = [1, 3, PIECE_BYTES].map(|drop| {
            let read = || {
                let bytes = Drops(Cursor::new(bytes.to_vec()), drop);
                let mut decoded = decoded(Box::new(bytes), declared)?;
                let mut text = Vec::new();
                let mut small = [0; 5];
                loop {
                    match decoded.bytes.read(&mut small)? {
                        0 => return Ok(text),
                        read => text.extend_from_slice(&small[..read]),
                    }
                }
            };
            let read: io::Result<Vec<u8>> = read();
            read.map(|text| String::from_utf8_lossy(&text).into_owned())
                .map_err(|error| error.to_string())
        });
        assert_eq!(texts[0], texts[1]);
        assert_eq!(texts[0], texts[2]);
        texts.into_iter().next().unwrap()
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn text_of_every_encoding_is_the_same_characters() {
        use TextEncoding as E;
        let text = "größe;€ 😀\n".repeat(10_000);
        let little = utf16(&text, u16::to_le_bytes);
        let big = utf16(&text, u16::to_be_bytes);
        let marked = |mark: [u8; 2], bytes: &[u8]| [&mark[..], bytes].concat();
        for (bytes, declared) in [
            (text.clone().into_bytes(), None),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), None),
            (marked([0xff, 0xfe], &little), None),
            (marked([0xfe, 0xff], &big), None),
            (marked([0xff, 0xfe], &little), Some(E::Utf16)),
            (marked([0xff, 0xfe], &little), Some(E::Utf16Le)),
            (little, Some(E::Utf16Le)),
            (big, Some(E::Utf16Be)),
        ] {
            assert_eq!(
                text_of(&bytes, declared).as_ref(),
                Ok(&text),
                "{declared:?}"
            );
        }
        let all: Vec<u8> = (0..=255).collect();
        let characters: String = (0..=255_u8).map(char::from).collect();
        assert_eq!(text_of(&all, Some(E::Latin1)), Ok(characters));
        let windows = text_of(b"\x80\x93\xe9\x94", Some(E::Windows1252));
        assert_eq!(windows, Ok("€“é”".into()));
    }

    #[test]
    fn bytes_that_are_no_characters_are_named_by_their_place() {
        use TextEncoding as E;
        let lone = [
            utf16("ab", u16::to_le_bytes),
            vec![0, 0xd8],
            utf16("c", u16::to_le_bytes),
        ];
        for (bytes, declared, expected) in [
            (lone.concat(), E::Utf16Le, "is not utf-16le at byte 4, "),
            (b"a\0b".to_vec(), E::Utf16Le, "is not utf-16le at byte 2, "),
            (
                b"ab\x81c".to_vec(),
                E::Windows1252,
                "is not windows-1252 at byte 2, ",
            ),
            (
                b"\xff\xfea\0".to_vec(),
                E::Utf8,
                "mark of UTF-16LE, and its encoding is set to utf-8",
            ),
            (
                b"\xef\xbb\xbfa".to_vec(),
                E::Latin1,
                "mark of UTF-8, and its encoding",
            ),
            (
                b"\xfe\xff\0a".to_vec(),
                E::Utf16Le,
                "mark of UTF-16BE, and its encoding",
            ),
            (b"a\0".to_vec(), E::Utf16, "has no byte order mark"),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), E::Utf16, "UTF-32"),
        ] {
            let error = text_of(&bytes, Some(declared)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
