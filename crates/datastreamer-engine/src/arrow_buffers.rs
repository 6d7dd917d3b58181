//! How many buffers the columns of an Arrow file have in its messages, by its schema. `arrow_file.rs`
//! compares each batch with it; the decoder says of one that differs only that it does.
//!
//! <https://arrow.apache.org/docs/format/Columnar.html#buffer-listing-for-each-layout>

use std::{collections::HashMap, ops::AddAssign};

use arrow::ipc::{Field, MetadataVersion, RecordBatch, Schema, Type, UnionMode};

/// A column of two buffers: whether values are there, and the values.
const FIXED: Buffers = Buffers {
    columns: 1,
    buffers: 2,
    views: 0,
};

/// What batches of rows, and those of dictionaries, have.
#[derive(Default)]
pub(crate) struct Layout {
    rows: Buffers,
    /// By the number of the dictionary: its column, and its values.
    dictionaries: HashMap<i64, (String, Buffers)>,
}

/// What a batch has, of the columns and all that is in them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Buffers {
    columns: usize,
    /// Without those of views, whose number each batch states.
    buffers: usize,
    views: usize,
}

impl Layout {
    pub(crate) fn of(schema: Option<Schema<'_>>, version: MetadataVersion) -> Self {
        let mut layout = Self::default();
        let fields = schema.and_then(|schema| schema.fields());
        for field in fields.into_iter().flatten() {
            let column = field.name().unwrap_or_default();
            let buffers = layout.buffers_of(field, column, version);
            layout.rows += buffers;
        }
        layout
    }

    /// Returns the buffers of a column in a batch, and notes those of its dictionaries.
    fn buffers_of(&mut self, field: Field<'_>, column: &str, version: MetadataVersion) -> Buffers {
        let mut values = own_buffers(field, version);
        for inner in field.children().into_iter().flatten() {
            values += self.buffers_of(inner, column, version);
        }
        match field.dictionary() {
            Some(dictionary) => {
                let values = (column.to_owned(), values);
                self.dictionaries.insert(dictionary.id(), values);
                FIXED
            }
            None => values,
        }
    }

    /// Checks that a batch of rows has all buffers of its columns.
    ///
    /// # Errors
    /// The text of what it lacks.
    pub(crate) fn check_rows(&self, batch: &RecordBatch<'_>) -> Result<(), String> {
        match self.rows.are_in(batch) {
            true => Ok(()),
            false => Err("is damaged Arrow: a batch lacks buffers of its columns".into()),
        }
    }

    /// Checks that a batch has all buffers of a dictionary's values.
    ///
    /// # Errors
    /// The text of what it lacks.
    pub(crate) fn check_dictionary(&self, id: i64, batch: &RecordBatch<'_>) -> Result<(), String> {
        let Some((column, values)) = self.dictionaries.get(&id) else {
            return Err("is damaged Arrow: it has a dictionary of no column".into());
        };
        if values.are_in(batch) {
            return Ok(());
        }
        // The format names the values of the inner dictionary, and has no place for them: pyarrow
        // writes the keys alone.
        Err(match FIXED.are_all_of(batch) {
            true => format!(
                "column {column:?} has a dictionary of a dictionary, whose values are not in the file"
            ),
            false => {
                format!("is damaged Arrow: the dictionary of column {column:?} lacks buffers")
            }
        })
    }
}

impl Buffers {
    fn are_in(self, batch: &RecordBatch<'_>) -> bool {
        let there = Self::of(batch);
        self.columns <= there.columns && self.buffers <= there.buffers && self.views <= there.views
    }

    fn are_all_of(self, batch: &RecordBatch<'_>) -> bool {
        self == Self::of(batch)
    }

    fn of(batch: &RecordBatch<'_>) -> Self {
        let views = batch.variadicBufferCounts();
        let of_views = views.into_iter().flatten();
        let of_views = of_views.fold(0, |sum: usize, count| {
            sum.saturating_add(usize::try_from(count).unwrap_or(usize::MAX))
        });
        let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
        Self {
            columns: batch.nodes().map_or(0, |nodes| nodes.len()),
            buffers: buffers.saturating_sub(of_views),
            views: views.map_or(0, |views| views.len()),
        }
    }
}

impl AddAssign for Buffers {
    fn add_assign(&mut self, other: Self) {
        self.columns += other.columns;
        self.buffers += other.buffers;
        self.views += other.views;
    }
}

/// Returns the buffers of a column without those of the columns in it.
fn own_buffers(field: Field<'_>, version: MetadataVersion) -> Buffers {
    let (buffers, views) = match field.type_type() {
        Type::Null | Type::RunEndEncoded => (0, 0),
        Type::Struct_ | Type::FixedSizeList => (1, 0),
        Type::Utf8 | Type::LargeUtf8 | Type::Binary | Type::LargeBinary => (3, 0),
        Type::ListView | Type::LargeListView => (3, 0),
        Type::Utf8View | Type::BinaryView => (2, 1),
        Type::Union => {
            let dense = field
                .type_as_union()
                .is_some_and(|it| it.mode() == UnionMode::Dense);
            // Before version 5 unions said which of their values are there.
            let is_old = version < MetadataVersion::V5;
            (1 + usize::from(dense) + usize::from(is_old), 0)
        }
        _ => (2, 0),
    };
    Buffers {
        columns: 1,
        buffers,
        views,
    }
}
