//! The levels of columns: whether they are as the schema allows, whether there are as many values as
//! they say, and whether columns of one list or struct agree. The decoder takes any level, and gives a
//! value to another row.
//!
//! A definition level says how many of the optional and repeated parts of a path are there, a
//! repetition level which list goes on.
//! <https://parquet.apache.org/docs/file-format/nestedencoding/>

use std::collections::HashMap;

use bytes::Bytes;
use datafusion::parquet::{
    basic::{Compression, Repetition},
    column::page::PageReader,
    file::metadata::FileMetaData,
    schema::types::Type,
};

use super::{
    batch_bytes::{DataPage, pages_of},
    deltas::Runs,
    pages::Chunk,
};

/// A writer that puts zeros behind the values of each page, as its `created_by` begins. Elsewhere zeros are
/// values, one of which has no level.
const PADDING_WRITER: &str = "fastparquet";
const PADDING: [u8; 8] = [0; 8];

/// A part of a column's path: a struct, a list, and at last the column itself.
#[derive(Debug)]
struct Part {
    /// How many names of the path lead to it.
    depth: usize,
    /// From this level on it is there.
    definition: u64,
    /// Up to this level another one begins.
    repetition: u64,
}

/// The levels of a part, one after the other, in a number (FxHash, as rustc has it): damage is to be
/// found, and no attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape(u64);

impl Shape {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

    fn add(&mut self, repetition: u64, definition: u64) {
        let levels = repetition << 32 | definition;
        self.0 = (self.0.rotate_left(5) ^ levels).wrapping_mul(Self::FACTOR);
    }
}

/// The shapes of the parts of a row group, by their paths, as the columns within them have it.
#[derive(Debug, Default)]
pub(super) struct Shapes(HashMap<Vec<String>, Shape>);

impl Shapes {
    /// Checks a column all of whose pages were read. Flat columns only if they are not compressed: to
    /// decompress each twice would cost more than it finds, as damage rarely leaves compressed pages
    /// readable.
    ///
    /// # Errors
    /// The text of what is wrong.
    pub(super) fn check(
        &mut self,
        bytes: &Bytes,
        chunk: &Chunk<'_>,
        footer: &FileMetaData,
    ) -> Result<(), String> {
        let root = footer.schema_descr().root_schema();
        let pads = footer
            .created_by()
            .is_some_and(|writer| writer.starts_with(PADDING_WRITER));
        let column = chunk.column.column_descr();
        let is_flat = column.max_rep_level() == 0 && column.max_def_level() < 2;
        let is_plain = chunk.column.compression() == Compression::UNCOMPRESSED;
        if column.max_def_level() == 0 || is_flat && !is_plain {
            return Ok(());
        }
        let path = chunk.column.column_path().parts();
        let mut parts = parts_of(root, path);
        let lists: Vec<u64> = lists_of(&parts);
        // No other column has the last part.
        parts.pop();
        let most = (column.max_rep_level(), column.max_def_level());
        let most = (most.0.cast_unsigned().into(), most.1.cast_unsigned().into());
        // The first level must count, which may be 0.
        let mut shapes = vec![Shape(1); parts.len()];
        // What cannot be read here is told by the decoder.
        let Some(mut pages) = pages_of(bytes, chunk) else {
            return Ok(());
        };
        // The levels of the value before.
        let mut before = None;
        while let Ok(Some(page)) = pages.get_next_page() {
            let Some(mut page) = DataPage::of(&page, chunk) else {
                continue;
            };
            if pads {
                page.remove_padding(&PADDING);
            }
            each_level(page, chunk, most, |repetition, definition| {
                if repetition > 0 {
                    let there = lists.get(repetition as usize - 1).copied();
                    let goes_on = |definition| there.is_some_and(|there| definition >= there);
                    // DuckDB writes an array that is null with as many levels as it has elements.
                    let is_null_array = before == Some(definition) && !goes_on(definition);
                    if !is_null_array && (!goes_on(definition) || !before.is_some_and(goes_on)) {
                        return Err("a list goes on that is empty".to_owned());
                    }
                }
                before = Some(definition);
                for (part, shape) in parts.iter().zip(&mut shapes) {
                    if repetition <= part.repetition {
                        shape.add(repetition, definition.min(part.definition));
                    }
                }
                Ok(())
            })?;
        }
        for (part, shape) in parts.iter().zip(shapes) {
            let known = self.0.entry(path[..part.depth].to_vec());
            if *known.or_insert(shape) != shape {
                let name = path[..part.depth].join(".");
                return Err(format!(
                    "it has other lists or nulls of {name:?} than the columns beside it"
                ));
            }
        }
        Ok(())
    }
}

/// Calls `on` with the levels of each value.
fn each_level(
    mut page: DataPage<'_>,
    chunk: &Chunk<'_>,
    (repetition_max, definition_max): (u64, u64),
    mut on: impl FnMut(u64, u64) -> Result<(), String>,
) -> Result<(), String> {
    let mut values = 0_usize;
    for _ in 0..page.values {
        let repetition = next(&mut page.repetitions, repetition_max)?;
        let definition = next(&mut page.definitions, definition_max)?;
        on(repetition, definition)?;
        values += usize::from(definition == definition_max);
    }
    let is_over = |levels: &Option<Runs<'_>>| levels.as_ref().is_none_or(Runs::is_over);
    if !is_over(&page.repetitions) || !is_over(&page.definitions) {
        return Err("a page has more levels than values".into());
    }
    match page.may_have(values, chunk) {
        true => Ok(()),
        false => Err(format!(
            "a page has other values than the {values} that its levels state"
        )),
    }
}

/// Returns the next level; 0 of a column without levels.
fn next(levels: &mut Option<Runs<'_>>, most: u64) -> Result<u64, String> {
    let Some(levels) = levels else {
        return Ok(0);
    };
    match levels.next() {
        Some(level) if level <= most => Ok(level),
        Some(level) => Err(format!("a level is {level}, and {most} is the highest")),
        None => Err("a page has fewer levels than values".into()),
    }
}

/// Returns the parts of a path.
fn parts_of(root: &Type, path: &[String]) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut of, mut definition, mut repetition) = (root, 0, 0);
    for (depth, name) in (1..).zip(path) {
        let mut fields = of.get_fields().iter();
        let Some(field) = fields.find(|field| field.name() == name) else {
            break;
        };
        of = field;
        match of.get_basic_info().repetition() {
            Repetition::OPTIONAL => definition += 1,
            Repetition::REPEATED => (definition, repetition) = (definition + 1, repetition + 1),
            Repetition::REQUIRED => {}
        }
        parts.push(Part {
            depth,
            definition,
            repetition,
        });
        if of.is_primitive() {
            break;
        }
    }
    parts
}

/// Returns from which definition level on each list of a path has an element, the outermost first.
fn lists_of(parts: &[Part]) -> Vec<u64> {
    let mut lists: Vec<u64> = Vec::new();
    for part in parts {
        if part.repetition as usize > lists.len() {
            lists.push(part.definition);
        }
    }
    lists
}
