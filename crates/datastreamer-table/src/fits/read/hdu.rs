//! Headers and their data, one behind the other: which is the table that was asked for.

use std::{fmt, fs::File};

use super::{BLOCK_BYTES, FitsError, TableChoice, header::Header};

/// NAXIS may not be larger (FITS 4.0, 4.4.1.1).
const AXES_MAX: u64 = 999;

/// What gzip begins with (RFC 1952, 2.3.1).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Names that an error lists, at most.
const NAMES_MAX: usize = 20;

/// The name of the primary HDU, unless it has an EXTNAME. Other programs know it by this one.
const PRIMARY: &str = "PRIMARY";

/// A header and where its data is.
#[derive(Debug)]
pub(super) struct Hdu {
    /// Counted from 0, the primary one.
    pub(super) number: usize,
    pub(super) header: Header,
    pub(super) data_at: u64,
    pub(super) data_bytes: u64,
}

/// What a file has at one place: a header and its data (HDU).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitsHdu {
    /// Counted from 0, the primary one.
    pub number: usize,
    /// EXTNAME; of a primary HDU without one `PRIMARY`.
    pub name: Option<String>,
    /// EXTVER: which of several with the same name it is. 1 if the header does not say.
    pub version: i64,
    /// What the data is.
    pub kind: HduKind,
}

/// What the data of an HDU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HduKind {
    /// A table whose values are binary.
    Table,
    /// A table whose values are text.
    AsciiTable,
    /// A table that is compressed in tiles (ZTABLE).
    CompressedTable,
    /// An image, or a header without data.
    Image,
    /// An image that is compressed in tiles (ZIMAGE).
    CompressedImage,
    /// Anything else.
    Other,
}

impl HduKind {
    /// Returns whether [`FitsFile`](super::FitsFile) reads its rows.
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Table | Self::AsciiTable)
    }
}

impl fmt::Display for HduKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "a table",
            Self::AsciiTable => "an ASCII table",
            Self::CompressedTable => {
                "a table in compressed tiles (ZTABLE): uncompress it with funpack"
            }
            Self::Image => "an image",
            Self::CompressedImage => "an image in compressed tiles (ZIMAGE)",
            Self::Other => "neither a table nor an image",
        })
    }
}

impl FitsHdu {
    /// Chooses a table of a file whose HDUs these are.
    ///
    /// # Errors
    /// There is no such table, or several, or what is there is none: with the tables that are there.
    pub fn choose<'a>(hdus: &'a [Self], choice: TableChoice<'_>) -> Result<&'a Self, FitsError> {
        let mut called: Vec<_> = hdus.iter().filter(|hdu| hdu.is_chosen(choice)).collect();
        if choice == TableChoice::First {
            called.truncate(1);
        }
        let readable = called.iter().filter(|hdu| hdu.kind.is_readable());
        let readable: Vec<_> = readable.copied().collect();
        let text = match (readable.as_slice(), called.as_slice(), choice) {
            ([hdu], ..) => return Ok(hdu),
            ([_, _, ..], _, TableChoice::Name(name)) => {
                let these = list(readable.into_iter(), &|hdu| {
                    format!("{} (EXTVER {})", hdu.number, hdu.version)
                });
                format!("several tables are called {name:?}: choose one by its number: {these}")
            }
            (_, [hdu, ..], _) => {
                let text = format!("HDU {}{} is {}", hdu.number, hdu.named(), hdu.kind);
                format!("{text}; {}", tables(hdus))
            }
            (_, [], TableChoice::First) => format!("no table: {}", tables(hdus)),
            (_, [], TableChoice::Number(number)) => format!("no HDU {number}: {}", tables(hdus)),
            (_, [], TableChoice::Name(name)) => format!("no table {name:?}: {}", tables(hdus)),
        };
        Err(FitsError::NoTable(text))
    }

    fn is_chosen(&self, choice: TableChoice<'_>) -> bool {
        match choice {
            // An image in tiles is a table only for readers that do not know the convention.
            TableChoice::First => matches!(
                self.kind,
                HduKind::Table | HduKind::AsciiTable | HduKind::CompressedTable
            ),
            TableChoice::Number(number) => self.number == number,
            TableChoice::Name(name) => {
                let with_version = name.rsplit_once(',').is_some_and(|(name, version)| {
                    self.is_called(name) && version.trim().parse() == Ok(self.version)
                });
                with_version || self.is_called(name)
            }
        }
    }

    /// Letters of either case are the same, and blanks around names mean nothing.
    fn is_called(&self, name: &str) -> bool {
        let own = self.name.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(name.trim()))
    }

    /// The name in brackets, if there is one.
    fn named(&self) -> String {
        let name = self.name.as_ref();
        name.map_or_else(String::new, |name| format!(" ({name})"))
    }
}

/// Finds a table by skipping what stands before it. Of a name the headers behind the table are read
/// as well, as far as they can be: it must be the only one.
///
/// # Errors
/// Something before the table, or its data, that is truncated; no such table, or several, with those
/// that are there.
pub(super) fn find(
    file: &File,
    file_bytes: u64,
    choice: TableChoice<'_>,
) -> Result<Hdu, FitsError> {
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for hdu in Hdus::new(file, file_bytes) {
        let hdu = match hdu {
            Ok(hdu) => hdu,
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(error),
        };
        let described = hdu.describe();
        let is_chosen = described.is_chosen(choice);
        seen.push(described);
        if is_chosen {
            found.push(hdu);
            let is_sole = match choice {
                TableChoice::First => true,
                TableChoice::Number(_) => seen.last().is_some_and(|hdu| hdu.kind.is_readable()),
                TableChoice::Name(_) => false,
            };
            if is_sole {
                break;
            }
        }
    }
    let number = FitsHdu::choose(&seen, choice)?.number;
    let mut found = found.into_iter();
    let hdu = found.find(|hdu| hdu.number == number);
    hdu.ok_or_else(|| FitsError::NoTable("no table".to_owned()))
}

/// Says what is in all HDUs of a file.
///
/// # Errors
/// A header that cannot be read; data that is truncated.
pub(super) fn list_all(file: &File, file_bytes: u64) -> Result<Vec<FitsHdu>, FitsError> {
    let hdus = Hdus::new(file, file_bytes);
    hdus.map(|hdu| Ok(hdu?.describe())).collect()
}

/// Names the tables that can be read; all HDUs, if there are none.
fn tables(hdus: &[FitsHdu]) -> String {
    let mut readable = hdus.iter().filter(|hdu| hdu.kind.is_readable()).peekable();
    if readable.peek().is_some() {
        let tables = list(readable, &|hdu| match &hdu.name {
            Some(name) => format!("{} ({name})", hdu.number),
            None => format!("{} (without a name)", hdu.number),
        });
        return format!("the tables are {tables}");
    }
    let all = list(hdus.iter(), &|hdu| {
        format!("HDU {}{} is {}", hdu.number, hdu.named(), hdu.kind)
    });
    format!("there are none: {all}")
}

fn list<'a>(hdus: impl Iterator<Item = &'a FitsHdu>, show: &dyn Fn(&FitsHdu) -> String) -> String {
    let mut texts: Vec<_> = hdus.map(show).collect();
    let more = texts.len().saturating_sub(NAMES_MAX);
    texts.truncate(NAMES_MAX);
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join(", ")
}

/// The HDUs of a file, one behind the other. It ends after an error.
struct Hdus<'a> {
    file: &'a File,
    file_bytes: u64,
    /// Where the next one begins.
    at: Option<u64>,
    number: usize,
}

impl<'a> Hdus<'a> {
    fn new(file: &'a File, file_bytes: u64) -> Self {
        Self {
            file,
            file_bytes,
            at: Some(0),
            number: 0,
        }
    }
}

impl Iterator for Hdus<'_> {
    type Item = Result<Hdu, FitsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = Hdu::read(self.file, self.file_bytes, self.at.take()?, self.number);
        let hdu = read.transpose()?;
        if let Ok(hdu) = &hdu {
            let data_bytes = hdu.data_bytes.checked_next_multiple_of(BLOCK_BYTES);
            self.at = data_bytes.and_then(|bytes| hdu.data_at.checked_add(bytes));
            self.number += 1;
        }
        Some(hdu)
    }
}

impl Hdu {
    /// Reads what begins at a byte; `None` if there is none. What follows the last extension means
    /// nothing (FITS 4.0, 3.5).
    fn read(
        file: &File,
        file_bytes: u64,
        at: u64,
        number: usize,
    ) -> Result<Option<Self>, FitsError> {
        if number > 0 && at.saturating_add(BLOCK_BYTES) > file_bytes {
            return Ok(None);
        }
        let mut begin = [0; 8];
        if number == 0 && file_bytes < begin.len() as u64 {
            return Err(FitsError::NotFits);
        }
        std::os::unix::fs::FileExt::read_exact_at(file, &mut begin, at)
            .map_err(|error| FitsError::File { byte: at, error })?;
        match number {
            0 if begin.starts_with(&GZIP) => return Err(FitsError::Gzip),
            0 if file_bytes < BLOCK_BYTES => return Err(FitsError::NotFits),
            0 if &begin != b"SIMPLE  " => return Err(FitsError::NotFits),
            0 => {}
            _ if &begin != b"XTENSION" => return Ok(None),
            _ => {}
        }
        let header = Header::read(file, file_bytes, at)?;
        let (data_at, data_bytes) = (at + header.bytes, data_bytes(&header)?);
        let end = data_at.checked_add(data_bytes);
        // The padding of the last may be missing: nothing is lost.
        if end.is_none_or(|end| end > file_bytes) {
            return Err(FitsError::Truncated {
                byte: data_at,
                bytes_missing: data_bytes - file_bytes.saturating_sub(data_at).min(data_bytes),
            });
        }
        Ok(Some(Self {
            number,
            header,
            data_at,
            data_bytes,
        }))
    }

    /// Says what it is.
    fn describe(&self) -> FitsHdu {
        let header = &self.header;
        let name = header.nonblank_text("EXTNAME");
        let name = name.or_else(|| (self.number == 0).then_some(PRIMARY));
        FitsHdu {
            number: self.number,
            name: name.map(str::to_owned),
            version: header.integer("EXTVER").unwrap_or(1),
            kind: match header.text("XTENSION") {
                Some("BINTABLE" | "A3DTABLE") if header.is_true("ZIMAGE") => {
                    HduKind::CompressedImage
                }
                Some("BINTABLE" | "A3DTABLE") if header.is_true("ZTABLE") => {
                    HduKind::CompressedTable
                }
                Some("BINTABLE" | "A3DTABLE") => HduKind::Table,
                Some("TABLE") => HduKind::AsciiTable,
                Some("IMAGE" | "IUEIMAGE") => HduKind::Image,
                None if self.number == 0 => HduKind::Image,
                _ => HduKind::Other,
            },
        }
    }

    /// Says whether the rows are text.
    pub(super) fn is_ascii(&self) -> bool {
        self.header.text("XTENSION") == Some("TABLE")
    }
}

/// What the header says of its data, without the padding (FITS 4.0, 4.4.1).
fn data_bytes(header: &Header) -> Result<u64, FitsError> {
    let bits: i64 = header.needed("BITPIX")?;
    let axes: u64 = header.needed("NAXIS")?;
    if axes > AXES_MAX || ![8, 16, 32, 64, -32, -64].contains(&bits) {
        return Err(header.problem(format!("BITPIX is {bits}, NAXIS {axes}")));
    }
    let mut elements = u64::from(axes > 0);
    let mut is_overflow = false;
    for axis in 1..=axes {
        let length: u64 = header.needed(&format!("NAXIS{axis}"))?;
        // Random groups have no first axis (FITS 4.0, 6).
        if !(axis == 1 && length == 0 && header.is_true("GROUPS")) {
            is_overflow |= elements.checked_mul(length).is_none();
            elements = elements.saturating_mul(length);
        }
    }
    let parameters: u64 = header.number("PCOUNT")?.unwrap_or(0);
    let groups: u64 = header.number("GCOUNT")?.unwrap_or(1);
    let bytes = elements
        .checked_add(parameters)
        .and_then(|elements| elements.checked_mul(groups))
        .and_then(|elements| elements.checked_mul(bits.unsigned_abs() / 8));
    match bytes {
        Some(bytes) if !is_overflow => Ok(bytes),
        _ => Err(header.problem("the data is larger than any file".to_owned())),
    }
}
