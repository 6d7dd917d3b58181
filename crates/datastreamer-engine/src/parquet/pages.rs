//! The pages of a column, before they are decoded: their sizes, the number of their values and their
//! checksums. It decompresses and decodes nothing.
//!
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, `PageHeader`

use datafusion::parquet::{
    basic::{Compression, Type},
    file::metadata::ColumnChunkMetaData,
};

use super::thrift::Thrift;
use crate::scan::BATCH_ROWS;

/// A page may always have 64 MiB: writers that put a row group in one page have some tens.
const PAGE_BYTES_FREE: u64 = 64 << 20;
/// Beyond that, a page may have 1100 times its compressed size: more than gzip can compress (1032
/// times), while a page of zeros in Brotli or Zstandard, a few bytes long, could fill the memory.
const PAGE_EXPANSION_MAX: u64 = 1100;

/// A decoder holds a page and the dictionary of each column that is read, decompressed, and the batch
/// that it makes of them: of a thousand columns these are a thousand pages, each of which may be
/// large. 512 MiB of them may always be: a thousand columns with pages of usual size, half a megabyte.
const HELD_BYTES_FREE: u64 = 512 << 20;
/// Beyond that, they may take 64 times what is stored of a row group: tables of numbers and texts are
/// compressed to a twentieth at best, and more than 8 MiB are stored of those that come here.
const HELD_EXPANSION_MAX: u64 = 64;

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
                    walk.fields(|walk, field| match field.id {
                        1 => walk.integer(field).map(|values| header.values = values),
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

/// What a decoder holds of a column at once: at most so much of any of its pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    dictionary_bytes: u64,
    page_bytes: u64,
    batch_bytes: u64,
}

impl Held {
    fn add(&mut self, page: &PageHeader, chunk: &Chunk<'_>) {
        let bytes = match chunk.column.compression() {
            // It stays where it was read.
            Compression::UNCOMPRESSED => 0,
            _ => page.uncompressed_bytes,
        };
        let rows = (BATCH_ROWS as u64).min(chunk.rows.try_into().unwrap_or_default());
        let of_batch = match (chunk.column.column_type(), page.is_dictionary) {
            (Type::FIXED_LEN_BYTE_ARRAY, _) => value_bytes_min(chunk.column).saturating_mul(rows),
            // Each row may have any of its texts: those of usual length are counted.
            (Type::BYTE_ARRAY, true) => {
                let values = u64::try_from(page.values).unwrap_or_default().max(1);
                (page.uncompressed_bytes / values).saturating_mul(rows)
            }
            (Type::BYTE_ARRAY, false) => page.uncompressed_bytes,
            _ => 0,
        };
        match page.is_dictionary {
            true => self.dictionary_bytes = self.dictionary_bytes.max(bytes),
            false => self.page_bytes = self.page_bytes.max(bytes),
        }
        self.batch_bytes = self.batch_bytes.max(of_batch);
    }

    /// Returns what is held of all pages of a column, some of which are those of another.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            dictionary_bytes: self.dictionary_bytes.max(other.dictionary_bytes),
            page_bytes: self.page_bytes.max(other.page_bytes),
            batch_bytes: self.batch_bytes.max(other.batch_bytes),
        }
    }
}

/// Checks what a decoder holds of columns that are read together, of which so many bytes are stored.
///
/// # Errors
/// The text of how much it is.
pub(super) fn check_held(
    columns: impl ExactSizeIterator<Item = Held>,
    stored_bytes: u64,
) -> Result<(), String> {
    let count = columns.len();
    let bytes = columns
        .flat_map(|held| [held.dictionary_bytes, held.page_bytes, held.batch_bytes])
        .fold(0, u64::saturating_add);
    match bytes <= HELD_BYTES_FREE.max(HELD_EXPANSION_MAX.saturating_mul(stored_bytes)) {
        true => Ok(()),
        false => Err(format!(
            "the pages and a batch of {count} columns would become {bytes} bytes, of {stored_bytes}"
        )),
    }
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
) -> Result<Held, String> {
    let mut held = Held::default();
    let mut values = 0_i64;
    let mut page = 0_usize;
    while !bytes.is_empty() {
        let wrong = |text: String| format!("page {page}: {text}");
        let header =
            PageHeader::read(bytes).map_err(|text| wrong(format!("its header: {text}")))?;
        let end = header.total_bytes();
        let data = bytes.get(header.header_bytes..end);
        let data = data.ok_or_else(|| wrong("it ends behind its column".into()))?;
        check_page(&header, data, chunk).map_err(wrong)?;
        held.add(&header, chunk);
        if !header.is_dictionary {
            values = values.saturating_add(header.values);
        }
        bytes = &bytes[end..];
        page += 1;
    }
    let wanted = stated_values(chunk);
    match !is_complete || values == wanted {
        true => Ok(held),
        false => Err(format!(
            "its pages have {values} values, and it states {wanted}"
        )),
    }
}

/// Returns how many values a column has in its row group: as many as rows, unless it is nested.
fn stated_values(chunk: &Chunk<'_>) -> i64 {
    match chunk.column.column_descr().max_rep_level() {
        0 => chunk.rows,
        _ => chunk.column.num_values(),
    }
}

fn check_page(header: &PageHeader, data: &[u8], chunk: &Chunk<'_>) -> Result<(), String> {
    if let Some(checksum) = header.checksum
        && crc32fast::hash(data) != checksum
    {
        return Err("its checksum is wrong".into());
    }
    let is_compressed = chunk.column.compression() != Compression::UNCOMPRESSED;
    let bytes_max = PAGE_EXPANSION_MAX.saturating_mul(data.len() as u64);
    if is_compressed && header.uncompressed_bytes > bytes_max.max(PAGE_BYTES_FREE) {
        let (compressed, uncompressed) = (data.len(), header.uncompressed_bytes);
        return Err(format!("{compressed} bytes would become {uncompressed}"));
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
fn value_bytes_min(column: &ColumnChunkMetaData) -> u64 {
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
