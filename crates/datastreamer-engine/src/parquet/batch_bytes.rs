//! How many bytes the values of a column take in a batch of some rows. A short text in a dictionary,
//! the prefix of a text before, or a run of levels stand for many bytes in a batch.
//!
//! `pages.rs` bounds them by what the headers of pages state. This reads the pages, for columns that
//! the headers alone do not bound: it decodes lengths and levels, and no values.

use std::{collections::VecDeque, fs::File, iter, os::unix::fs::FileExt, sync::Arc};

use bytes::{Buf, Bytes, buf::Reader};
use datafusion::parquet::{
    basic::{Encoding, Type},
    column::page::{Page, PageReader},
    errors::{ParquetError, Result as ParquetResult},
    file::{
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};

use super::{
    deltas::{Deltas, Runs},
    pages::{Chunk, LIST_VALUE_BYTES, value_bytes_min, values_of_usual_page},
};
use crate::scan::BATCH_ROWS;

/// A header has 30 bytes or so, and statistics of some texts.
const PAGE_HEADER_BYTES: usize = 4 << 10;

/// Returns the most bytes that values of a column take in a batch of `batch_rows` rows that follow
/// each other. `bytes` are all its pages in a row group, which were checked. `None` if a page is not
/// as the format says, or has an encoding that is not known here.
pub(super) fn most_bytes(bytes: &Bytes, chunk: &Chunk<'_>, batch_rows: usize) -> Option<u64> {
    let mut pages = pages_of(bytes, chunk)?;
    let mut lengths_of_dictionary = Vec::new();
    let mut batches = Batches::new(batch_rows);
    while let Some(page) = pages.get_next_page().ok()? {
        match page {
            Page::DictionaryPage {
                buf, num_values, ..
            } => {
                let lengths = plain_lengths(&buf, chunk);
                let lengths = lengths.take(usize::try_from(num_values).ok()?);
                lengths_of_dictionary = lengths.collect();
            }
            page => {
                let page = DataPage::of(&page, chunk)?;
                page.add_to(&mut batches, chunk, &lengths_of_dictionary)?;
            }
        }
    }
    Some(batches.most())
}

/// Checks the texts of a column that are written as a part of the text before and a rest. The decoder
/// takes as much of the text before as there is, whatever the page says.
///
/// # Errors
/// The text of what is wrong.
pub(super) fn check_prefixes(bytes: &Bytes, chunk: &Chunk<'_>) -> Result<(), String> {
    let mut encodings = chunk.column.encodings();
    if !encodings.any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY) {
        return Ok(());
    }
    // What cannot be read here is told by the decoder.
    let Some(mut pages) = pages_of(bytes, chunk) else {
        return Ok(());
    };
    while let Ok(Some(page)) = pages.get_next_page() {
        let Some(page) = DataPage::of(&page, chunk) else {
            continue;
        };
        if page.encoding == Encoding::DELTA_BYTE_ARRAY && !has_right_prefixes(page.data) {
            return Err("the lengths of its texts do not fit together".into());
        }
    }
    Ok(())
}

/// Returns whether each text begins with a part of the one before, and the rests are as long as they
/// say together.
fn has_right_prefixes(data: &[u8]) -> bool {
    let Some(mut prefixes) = Deltas::new(data) else {
        return data.is_empty();
    };
    let Some(mut suffixes) = Deltas::new(prefixes.clone().behind()) else {
        return false;
    };
    let rests = suffixes.clone().behind().len() as u64;
    let (mut last, mut all) = (0_u64, 0_u64);
    loop {
        let (prefix, suffix) = match (prefixes.next(), suffixes.next()) {
            (Some(prefix), Some(suffix)) => (length(prefix), length(suffix)),
            (None, None) => return all == rests,
            _ => return false,
        };
        let (Some(prefix), Some(suffix)) = (prefix, suffix) else {
            return false;
        };
        if prefix > last {
            return false;
        }
        (last, all) = (prefix.saturating_add(suffix), all.saturating_add(suffix));
    }
}

/// Returns the bytes of the longest value in the dictionary of a column; `None` without one.
pub(super) fn longest_in_dictionary(bytes: &Bytes, chunk: &Chunk<'_>) -> Option<u64> {
    match pages_of(bytes, chunk)?.get_next_page().ok()?? {
        Page::DictionaryPage {
            buf, num_values, ..
        } => {
            let values = usize::try_from(num_values).ok()?;
            plain_lengths(&buf, chunk).take(values).max()
        }
        _ => None,
    }
}

/// Returns a reader of all pages of a column; `None` if they cannot be read.
pub(super) fn pages_of(bytes: &Bytes, chunk: &Chunk<'_>) -> Option<SerializedPageReader<ColumnAt>> {
    let at = ColumnAt {
        start: chunk.column.byte_range().0,
        bytes: bytes.clone(),
    };
    let rows = usize::try_from(chunk.rows).ok()?;
    SerializedPageReader::new(Arc::new(at), chunk.column, rows, None).ok()
}

/// Returns the usual bytes of a row in the first page of a column that was not checked yet; `None` as
/// in [`most_bytes`], and for a page that is larger than writers make them.
pub(super) fn usual_bytes(file: &File, chunk: &Chunk<'_>) -> Option<u64> {
    let mut header = [0; PAGE_HEADER_BYTES];
    let read = file
        .read_at(&mut header, chunk.column.byte_range().0)
        .ok()?;
    let values = values_of_usual_page(&header[..read])?;
    let rows = usize::try_from(chunk.rows).ok()?;
    let file = Arc::new(file.try_clone().ok()?);
    let mut pages = SerializedPageReader::new(file, chunk.column, rows, None).ok()?;
    let page = pages.get_next_page().ok()??;
    let mut batches = Batches::new(BATCH_ROWS);
    DataPage::of(&page, chunk)?.add_to(&mut batches, chunk, &[])?;
    batches.most().checked_div(values.min(BATCH_ROWS as u64))
}

/// The bytes of a column, where they are in its file.
pub(super) struct ColumnAt {
    start: u64,
    bytes: Bytes,
}

impl ColumnAt {
    fn from(&self, at: u64) -> ParquetResult<Bytes> {
        let at = at.checked_sub(self.start);
        let at = at.and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        let at = at.ok_or_else(|| ParquetError::EOF("outside of a column".into()))?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for ColumnAt {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for ColumnAt {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF("outside of a column".into())),
        }
    }
}

/// The parts of a page, decompressed.
pub(super) struct DataPage<'a> {
    pub(super) values: u32,
    encoding: Encoding,
    /// `None`: the column has none.
    pub(super) repetitions: Option<Runs<'a>>,
    pub(super) definitions: Option<Runs<'a>>,
    data: &'a [u8],
}

impl<'a> DataPage<'a> {
    /// `None`: it is none, or not as the format says, or its levels have the oldest encoding.
    pub(super) fn of(page: &'a Page, chunk: &Chunk<'_>) -> Option<Self> {
        let column = chunk.column.column_descr();
        let width = |level: i16| (i16::BITS - level.leading_zeros()) as usize;
        let repetition_width = width(column.max_rep_level());
        let definition_width = width(column.max_def_level());
        let level_runs = |levels: Option<&'a [u8]>, width: usize| match levels {
            Some(levels) => Runs::new(levels, width).map(Some),
            None => Some(None),
        };
        let (values, encoding, repetitions, definitions, data) = match page {
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                let mut data = buf.as_ref();
                let mut levels = |width: usize, encoding: &Encoding| {
                    if width == 0 {
                        return Some(None);
                    }
                    let (length, rest) = data.split_first_chunk()?;
                    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                    let (levels, rest) = rest.split_at_checked(length)?;
                    data = rest;
                    (*encoding == Encoding::RLE).then_some(Some(levels))
                };
                let repetitions = levels(repetition_width, rep_level_encoding)?;
                let definitions = levels(definition_width, def_level_encoding)?;
                (num_values, encoding, repetitions, definitions, data)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let length = |bytes: u32| usize::try_from(bytes).ok();
                let (repetitions, rest) = buf.split_at_checked(length(*rep_levels_byte_len)?)?;
                let (definitions, data) = rest.split_at_checked(length(*def_levels_byte_len)?)?;
                let levels = |levels, width: usize| (width > 0).then_some(levels);
                let repetitions = levels(repetitions, repetition_width);
                let definitions = levels(definitions, definition_width);
                (num_values, encoding, repetitions, definitions, data)
            }
            Page::DictionaryPage { .. } => return None,
        };
        Some(Self {
            values: *values,
            encoding: *encoding,
            repetitions: level_runs(repetitions, repetition_width)?,
            definitions: level_runs(definitions, definition_width)?,
            data,
        })
    }

    /// Leaves out what stands behind the values, if it is there.
    pub(super) fn remove_padding(&mut self, padding: &[u8]) {
        self.data = self.data.strip_suffix(padding).unwrap_or(self.data);
    }

    /// Returns whether the page may have exactly so many values; only of some encodings it can be told.
    pub(super) fn may_have(&self, values: usize, chunk: &Chunk<'_>) -> bool {
        match (self.encoding, chunk.column.column_type()) {
            (Encoding::PLAIN, Type::BOOLEAN) => self.data.len() == values.div_ceil(8),
            (Encoding::PLAIN, Type::BYTE_ARRAY) => {
                let lengths: Option<u64> = {
                    let mut lengths = plain_lengths(self.data, chunk);
                    (0..values).try_fold(0, |sum, _| Some(sum + 4 + lengths.next()?))
                };
                lengths == Some(self.data.len() as u64)
            }
            (Encoding::PLAIN, _) => {
                let bytes = (values as u64).checked_mul(value_bytes_min(chunk.column));
                bytes == Some(self.data.len() as u64)
            }
            (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, _) => {
                let (width, keys) = self.data.split_first().unwrap_or((&0, &[]));
                let Some(mut keys) = Runs::new(keys, usize::from(*width)) else {
                    return false;
                };
                keys.by_ref().take(values).count() == values && keys.is_over()
            }
            _ => true,
        }
    }

    fn add_to(
        mut self,
        batches: &mut Batches,
        chunk: &Chunk<'_>,
        of_dictionary: &[u64],
    ) -> Option<()> {
        let mut lengths = lengths(self.data, self.encoding, chunk, of_dictionary)?;
        let defined = u64::try_from(chunk.column.column_descr().max_def_level()).ok()?;
        let is_fixed = chunk.column.column_type() != Type::BYTE_ARRAY;
        for _ in 0..self.values {
            let begins_row = match &mut self.repetitions {
                Some(levels) => levels.next()? == 0,
                None => true,
            };
            if begins_row {
                batches.begin_row();
            }
            if self.repetitions.is_some() {
                batches.add(LIST_VALUE_BYTES);
            }
            let is_value = match &mut self.definitions {
                Some(levels) => levels.next()? == defined,
                None => true,
            };
            // A null in a list takes as much as a value, unless it is a text.
            if is_value || self.repetitions.is_some() && is_fixed {
                batches.add(lengths.next()?);
            }
        }
        Some(())
    }
}

/// Returns the lengths of the values of a page.
fn lengths<'a>(
    data: &'a [u8],
    encoding: Encoding,
    chunk: &Chunk<'_>,
    of_dictionary: &'a [u64],
) -> Option<Box<dyn Iterator<Item = u64> + 'a>> {
    if chunk.column.column_type() != Type::BYTE_ARRAY {
        return Some(Box::new(iter::repeat(value_bytes_min(chunk.column))));
    }
    match encoding {
        Encoding::PLAIN => Some(Box::new(plain_lengths(data, chunk))),
        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
            // A page of nulls may have no keys.
            let (width, keys) = data.split_first().unwrap_or((&0, &[]));
            let keys = Runs::new(keys, usize::from(*width))?;
            let of_key = |key: u64| of_dictionary.get(usize::try_from(key).ok()?).copied();
            Some(Box::new(keys.map_while(of_key)))
        }
        Encoding::DELTA_LENGTH_BYTE_ARRAY => Some(Box::new(Deltas::new(data)?.map_while(length))),
        Encoding::DELTA_BYTE_ARRAY => {
            let prefixes = Deltas::new(data)?;
            let suffixes = Deltas::new(prefixes.clone().behind())?;
            let both = prefixes.zip(suffixes);
            let sum = |(prefix, suffix)| length(prefix)?.checked_add(length(suffix)?);
            Some(Box::new(both.map_while(sum)))
        }
        _ => None,
    }
}

fn length(length: i64) -> Option<u64> {
    length.try_into().ok()
}

/// Returns the lengths of values one behind the other.
fn plain_lengths<'a>(mut data: &'a [u8], chunk: &Chunk<'_>) -> impl Iterator<Item = u64> + 'a {
    let is_text = chunk.column.column_type() == Type::BYTE_ARRAY;
    let bytes = value_bytes_min(chunk.column);
    iter::from_fn(move || {
        if !is_text {
            return Some(bytes);
        }
        let (length, rest) = data.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        data = rest.get(usize::try_from(length).ok()?..)?;
        Some(length.into())
    })
}

/// The bytes of the last rows, as many as a batch has.
struct Batches {
    rows_max: usize,
    rows: VecDeque<u64>,
    bytes: u64,
    most: u64,
}

impl Batches {
    fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            rows: VecDeque::new(),
            bytes: 0,
            most: 0,
        }
    }

    fn begin_row(&mut self) {
        self.most = self.most.max(self.bytes);
        if self.rows.len() == self.rows_max {
            self.bytes -= self.rows.pop_front().unwrap_or_default();
        }
        self.rows.push_back(0);
    }

    fn add(&mut self, bytes: u64) {
        // The first page of a damaged column may continue a row.
        if let Some(row) = self.rows.back_mut() {
            *row = row.saturating_add(bytes);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    fn most(&self) -> u64 {
        self.most.max(self.bytes)
    }
}
