//! The pages of a column, before they are decoded: their sizes, the number of their values and their
//! checksums. It decompresses and decodes nothing.
//!
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, `PageHeader`

use std::collections::VecDeque;

use datafusion::parquet::{
    basic::{Compression, Type},
    file::metadata::ColumnChunkMetaData,
};

use super::thrift::Thrift;
use crate::expansion::{too_large, with_unit};

/// A page may always have 64 MiB: writers that put a row group in one page have some tens.
const PAGE_BYTES_FREE: u64 = 64 << 20;

/// A page of more values than a million has short ones.
const USUAL_VALUES_MAX: i64 = 1 << 20;

/// A decoder holds a page and the dictionary of each column that is read, decompressed: of a thousand
/// columns these are a thousand pages. 1 GiB of them may always be: a thousand columns with pages of
/// a megabyte, as most writers make them.
const PAGES_BYTES_FREE: u64 = 1 << 30;
/// A batch of rows as long as the footer says has 128 MiB, and one of rows four times as long may
/// be. A buffer of texts takes twice as much while it grows.
const BATCH_BYTES_FREE: u64 = 512 << 20;
/// Beyond that, either may take 64 times what is stored of a row group: tables of numbers and texts
/// are compressed to a twentieth at best, and more than 8 MiB are stored of those that come here.
const HELD_EXPANSION_MAX: u64 = 64;

/// A value in a list, also one that is null or an empty list, takes as much beside its own bytes: an
/// offset of 4 bytes, and its levels.
pub(super) const LIST_VALUE_BYTES: u64 = 8;

/// `Encoding` of the format.
const PLAIN_DICTIONARY: i64 = 2;
const DELTA_BYTE_ARRAY: i64 = 7;
const RLE_DICTIONARY: i64 = 8;

/// How pages are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) batch_rows: usize,
    /// How many times its compressed size a page may have, if it is large.
    pub(super) expansion_max: u64,
}

/// What is known of a column in one row group.
#[derive(Clone, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) column: &'a ColumnChunkMetaData,
    pub(super) rows: i64,
}

#[derive(Debug, Default)]
struct PageHeader {
    header_bytes: usize,
    compressed_bytes: usize,
    uncompressed_bytes: u64,
    values: i64,
    encoding: i64,
    is_dictionary: bool,
    checksum: Option<u32>,
}

impl PageHeader {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let (mut compressed, mut uncompressed) = (None, None);
        let mut header = Self::default();
        let mut walk = Thrift::new(bytes);
        walk.fields(|walk, field| {
            match field.id {
                2 => uncompressed = Some(walk.integer(field)?),
                3 => compressed = Some(walk.integer(field)?),
                4 => header.checksum = Some(walk.integer(field)? as u32),
                // The headers of data pages, of dictionaries and of data pages of version 2, each
                // with the number of values first.
                5 | 7 | 8 => {
                    header.is_dictionary = field.id == 7;
                    let encoding = if field.id == 8 { 4 } else { 2 };
                    walk.fields(|walk, field| match field.id {
                        1 => walk.integer(field).map(|values| header.values = values),
                        id if id == encoding => walk
                            .integer(field)
                            .map(|encoding| header.encoding = encoding),
                        _ => walk.skip(field),
                    })?;
                }
                _ => walk.skip(field)?,
            }
            Ok(())
        })?;
        header.header_bytes = walk.at();
        let size = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
        let compressed = size(compressed).and_then(|size| usize::try_from(size).ok());
        header.compressed_bytes = compressed.ok_or("it has no size")?;
        header.uncompressed_bytes = size(uncompressed).ok_or("it has no size")?;
        if header.values < 0 {
            return Err(format!("it states {} values", header.values));
        }
        Ok(header)
    }

    fn total_bytes(&self) -> usize {
        self.header_bytes.saturating_add(self.compressed_bytes)
    }
}

/// What a decoder holds of a column at once: at most so much of any of its pages, and of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    dictionary_bytes: u64,
    page_bytes: u64,
    pub(super) batch_bytes: u64,
}

impl Held {
    fn add(&mut self, page: &PageHeader, chunk: &Chunk<'_>) {
        let bytes = match chunk.column.compression() {
            // It stays where it was read.
            Compression::UNCOMPRESSED => 0,
            _ => page.uncompressed_bytes,
        };
        match page.is_dictionary {
            true => self.dictionary_bytes = self.dictionary_bytes.max(bytes),
            false => self.page_bytes = self.page_bytes.max(bytes),
        }
    }

    /// Returns what is held of all pages of a column, some of which are those of another.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            dictionary_bytes: self.dictionary_bytes.max(other.dictionary_bytes),
            page_bytes: self.page_bytes.max(other.page_bytes),
            batch_bytes: self.batch_bytes.saturating_add(other.batch_bytes),
        }
    }
}

/// Bounds the bytes of a batch by the headers of the pages that it may have values of.
#[derive(Debug)]
struct BatchBound {
    batch_rows: u64,
    dictionary_bytes: u64,
    /// The values of each page, and their bytes.
    pages: VecDeque<(u64, u64)>,
    values: u64,
    bytes: u64,
    most: u64,
}

impl BatchBound {
    fn new(batch_rows: usize) -> Self {
        Self {
            batch_rows: batch_rows as u64,
            dictionary_bytes: 0,
            pages: VecDeque::new(),
            values: 0,
            bytes: 0,
            most: 0,
        }
    }

    fn add(&mut self, page: &PageHeader, chunk: &Chunk<'_>) {
        let values = page.values.cast_unsigned();
        if page.is_dictionary {
            // All others have a length at least.
            let others = values.saturating_sub(1).saturating_mul(4);
            self.dictionary_bytes = page.uncompressed_bytes.saturating_sub(others);
            return;
        }
        let is_list = chunk.column.column_descr().max_rep_level() > 0;
        let in_batch = if is_list {
            values
        } else {
            values.min(self.batch_rows)
        };
        let bytes = match (chunk.column.column_type(), page.encoding) {
            (Type::BYTE_ARRAY, PLAIN_DICTIONARY | RLE_DICTIONARY) => {
                in_batch.saturating_mul(self.dictionary_bytes)
            }
            // A text may begin with the whole text before it.
            (Type::BYTE_ARRAY, DELTA_BYTE_ARRAY) => {
                in_batch.saturating_mul(page.uncompressed_bytes)
            }
            (Type::BYTE_ARRAY, _) => page.uncompressed_bytes,
            (Type::FIXED_LEN_BYTE_ARRAY, _) => {
                in_batch.saturating_mul(value_bytes_min(chunk.column))
            }
            _ if is_list => values.saturating_mul(value_bytes_min(chunk.column)),
            _ => 0,
        };
        let of_lists = if is_list {
            values.saturating_mul(LIST_VALUE_BYTES)
        } else {
            0
        };
        self.pages
            .push_back((values, bytes.saturating_add(of_lists)));
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes.saturating_add(of_lists));
        // A batch has at least one value of its first page, and all of those between it and the last.
        while !is_list
            && let Some(&(first_values, first_bytes)) = self.pages.front()
            && let Some(between) = self.values.checked_sub(first_values.saturating_add(values))
            && between + 2 > self.batch_rows
        {
            self.pages.pop_front();
            self.values = self.values.saturating_sub(first_values);
            self.bytes = self.bytes.saturating_sub(first_bytes);
        }
        self.most = self.most.max(self.bytes);
    }
}

/// Checks what a decoder holds of columns that are read together, of which so many bytes are stored.
///
/// # Errors
/// The text of how much it is.
pub(super) fn check_held<'a>(
    columns: impl ExactSizeIterator<Item = &'a Held>,
    stored_bytes: u64,
) -> Result<(), String> {
    let count = columns.len();
    let (mut pages, mut batch) = (0_u64, 0_u64);
    for held in columns {
        let of_column = held.dictionary_bytes.saturating_add(held.page_bytes);
        pages = pages.saturating_add(of_column);
        batch = batch.saturating_add(held.batch_bytes);
    }
    let check = |what: &str, bytes: u64, bytes_free: u64| match bytes
        <= bytes_free.max(HELD_EXPANSION_MAX.saturating_mul(stored_bytes))
    {
        true => Ok(()),
        false => {
            let [bytes, free, stored] = [bytes, bytes_free, stored_bytes].map(with_unit);
            Err(format!(
                "{what} of {count} columns would become {bytes}, more than {free} and \
                 {HELD_EXPANSION_MAX} times the {stored} that are stored"
            ))
        }
    };
    check("the pages", pages, PAGES_BYTES_FREE)?;
    check("a batch", batch, BATCH_BYTES_FREE)
}

/// Checks pages that are about to be decoded: those of a complete column in a row group, or some.
/// Returns what a decoder holds of them.
///
/// # Errors
/// The text of what is wrong.
pub(super) fn check(
    mut bytes: &[u8],
    chunk: &Chunk<'_>,
    is_complete: bool,
    limits: Limits,
) -> Result<Held, String> {
    let mut held = Held::default();
    let mut batch = BatchBound::new(limits.batch_rows);
    let mut values = 0_i64;
    let mut page = 0_usize;
    while !bytes.is_empty() {
        let wrong = |text: String| format!("page {page}: {text}");
        let header =
            PageHeader::read(bytes).map_err(|text| wrong(format!("its header: {text}")))?;
        let end = header.total_bytes();
        let data = bytes.get(header.header_bytes..end);
        let data = data.ok_or_else(|| wrong("it ends behind its column".into()))?;
        check_page(&header, data, chunk, limits.expansion_max).map_err(wrong)?;
        held.add(&header, chunk);
        batch.add(&header, chunk);
        if !header.is_dictionary {
            values = values.saturating_add(header.values);
        }
        bytes = &bytes[end..];
        page += 1;
    }
    held.batch_bytes = batch.most;
    let wanted = stated_values(chunk);
    match !is_complete || values == wanted {
        true => Ok(held),
        false => Err(format!(
            "its pages have {values} values, and it states {wanted}"
        )),
    }
}

/// Bounds the bytes of a batch by the headers of pages that were checked, and by the bytes of the
/// longest value in their dictionary. `None` if they are no pages.
pub(super) fn bound_by_longest(
    mut bytes: &[u8],
    chunk: &Chunk<'_>,
    batch_rows: usize,
    longest: u64,
) -> Option<u64> {
    let mut batch = BatchBound::new(batch_rows);
    while !bytes.is_empty() {
        let header = PageHeader::read(bytes).ok()?;
        batch.add(&header, chunk);
        if header.is_dictionary {
            batch.dictionary_bytes = longest;
        }
        bytes = bytes.get(header.total_bytes()..)?;
    }
    Some(batch.most)
}

/// Returns how many values a column has in its row group: as many as rows, unless it is nested.
fn stated_values(chunk: &Chunk<'_>) -> i64 {
    match chunk.column.column_descr().max_rep_level() {
        0 => chunk.rows,
        _ => chunk.column.num_values(),
    }
}

fn check_page(
    header: &PageHeader,
    data: &[u8],
    chunk: &Chunk<'_>,
    expansion_max: u64,
) -> Result<(), String> {
    if let Some(checksum) = header.checksum
        && crc32fast::hash(data) != checksum
    {
        return Err("its checksum is wrong".into());
    }
    let is_compressed = chunk.column.compression() != Compression::UNCOMPRESSED;
    let bytes_max = expansion_max.saturating_mul(data.len() as u64);
    if is_compressed && header.uncompressed_bytes > bytes_max.max(PAGE_BYTES_FREE) {
        let (stored, becomes) = (data.len() as u64, header.uncompressed_bytes);
        let text = too_large("data", stored, becomes, PAGE_BYTES_FREE, expansion_max);
        return Err(text);
    }
    let value_bytes = value_bytes_min(chunk.column);
    let fits = (header.values as u64).saturating_mul(value_bytes) <= header.uncompressed_bytes;
    if header.is_dictionary && !fits {
        return Err(format!(
            "a dictionary of {} values does not fit",
            header.values
        ));
    }
    Ok(())
}

/// Returns how many bytes a value in a dictionary has at least.
pub(super) fn value_bytes_min(column: &ColumnChunkMetaData) -> u64 {
    match column.column_type() {
        Type::BOOLEAN => 0,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => {
            u64::try_from(column.column_descr().type_length()).unwrap_or_default()
        }
    }
}

/// Returns the bytes of a dictionary's usual text, if its page begins with these bytes.
pub(super) fn usual_bytes_in_dictionary(bytes: &[u8]) -> Option<u64> {
    let header = PageHeader::read(bytes).ok()?;
    let values = header.values.cast_unsigned().max(1);
    header
        .is_dictionary
        .then_some(header.uncompressed_bytes / values)
}

/// Returns the number of values of a data page that begins with these bytes, if it may be decompressed
/// before its column is checked.
pub(super) fn values_of_usual_page(bytes: &[u8]) -> Option<u64> {
    let header = PageHeader::read(bytes).ok()?;
    let is_usual = header.uncompressed_bytes <= PAGE_BYTES_FREE
        && header.compressed_bytes as u64 <= PAGE_BYTES_FREE
        && header.values <= USUAL_VALUES_MAX;
    (is_usual && !header.is_dictionary).then_some(header.values.cast_unsigned())
}

/// Returns how many bytes the pages of a column have, for which `read` returns the bytes from an
/// offset; `None` if they do not add up to the column's values.
pub(super) fn true_bytes(chunk: &Chunk<'_>, read: impl Fn(u64) -> Option<Vec<u8>>) -> Option<u64> {
    let (mut offset, mut values) = (0, 0_i64);
    let wanted = stated_values(chunk);
    while values < wanted {
        let header = PageHeader::read(&read(offset)?).ok()?;
        offset += header.total_bytes() as u64;
        if !header.is_dictionary {
            values = values.saturating_add(header.values);
        }
    }
    (values == wanted).then_some(offset)
}
