//! Headers and their data, one behind the other: which is the table that was asked for.

use std::fs::File;

use super::{BLOCK_BYTES, FitsError, TableChoice, header::Header};

/// NAXIS may not be larger (FITS 4.0, 4.4.1.1).
const AXES_MAX: u64 = 999;

/// What gzip begins with (RFC 1952, 2.3.1).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Names that an error lists, at most.
const NAMES_MAX: usize = 20;

/// A header and where its data is.
#[derive(Debug)]
pub(super) struct Hdu {
    /// Counted from 0, the primary one.
    pub(super) number: usize,
    pub(super) header: Header,
    pub(super) data_at: u64,
    pub(super) data_bytes: u64,
}

/// Finds a table by skipping what stands before it.
///
/// # Errors
/// Something before the table, or its data, that is truncated; no such table, with those that are
/// there.
pub(super) fn find(
    file: &File,
    file_bytes: u64,
    choice: TableChoice<'_>,
) -> Result<Hdu, FitsError> {
    let mut at = 0;
    let mut seen = Vec::new();
    for number in 0.. {
        let Some(hdu) = Hdu::read(file, file_bytes, at, number)? else {
            break;
        };
        if hdu.is_chosen(choice) {
            return hdu.readable();
        }
        if hdu.is_table() && seen.len() < NAMES_MAX {
            let name = hdu.header.text("EXTNAME").unwrap_or("without a name");
            seen.push(format!("{number} ({name})"));
        }
        at = hdu.data_at + hdu.data_bytes.next_multiple_of(BLOCK_BYTES);
    }
    let asked = match choice {
        TableChoice::First => "no table".to_owned(),
        TableChoice::Number(number) => format!("no extension {number}"),
        TableChoice::Name(name) => format!("no table {name:?}"),
    };
    let there = match seen.is_empty() {
        true => "there are none".to_owned(),
        false => format!("there are {}", seen.join(", ")),
    };
    Err(FitsError::NoTable(format!("{asked}: {there}")))
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
        if file_bytes < begin.len() as u64 {
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

    fn is_table(&self) -> bool {
        matches!(
            self.header.text("XTENSION"),
            Some("BINTABLE" | "A3DTABLE" | "TABLE")
        )
    }

    /// Says whether the rows are text.
    pub(super) fn is_ascii(&self) -> bool {
        self.header.text("XTENSION") == Some("TABLE")
    }

    fn is_chosen(&self, choice: TableChoice<'_>) -> bool {
        match choice {
            // An image in tiles is a table only for readers that do not know the convention.
            TableChoice::First => self.is_table() && !self.header.is_true("ZIMAGE"),
            TableChoice::Number(number) => self.number == number,
            TableChoice::Name(name) => {
                let own = self.header.text("EXTNAME").unwrap_or_default();
                self.is_table() && own.eq_ignore_ascii_case(name)
            }
        }
    }

    fn readable(self) -> Result<Self, FitsError> {
        let number = self.number;
        if !self.is_table() {
            let text = format!("extension {number} is no table");
            return Err(FitsError::NoTable(text));
        }
        if self.header.is_true("ZTABLE") {
            let text = format!("table {number} is compressed (ZTABLE): uncompress it with funpack");
            return Err(FitsError::NoTable(text));
        }
        Ok(self)
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
