//! Tables of CSV and TSV files: their columns, and their rows as record batches.

use std::io;

use arrow::{
    array::RecordBatchOptions,
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use crate::{
    TextColumns,
    batch::{BATCH_BYTES_MAX, Values},
    fields::{Dialect, Rows},
    input::Input,
    options::TextOptions,
    seen::Seen,
};

/// The key of the columns' metadata with the header that names of the options replace.
pub(crate) const REPLACED_HEADER: &str = "replaced header";
/// ASCII's separator of units, which is in no name.
pub(crate) const BETWEEN_NAMES: &str = "\u{1f}";

/// Infers the types of the columns that have none in the options from all rows, and counts these; reads
/// no row if each has one.
///
/// # Errors
/// The file cannot be read or split into rows.
pub(crate) fn infer(
    input: Input,
    dialect: Dialect,
    options: &TextOptions,
) -> io::Result<(Schema, Option<u64>)> {
    let mut rows = Rows::new(input, dialect, options)?;
    if options.encoding.is_none() && rows.names().iter().any(|name| name.contains('\0')) {
        return Err(io::Error::other(
            "has NUL characters in its header, as UTF-16 without a byte order mark has: set encoding \
             (utf-16le or utf-16be; utf-8 if they are meant)",
        ));
    }
    let mut columns = vec![Seen::default(); rows.names().len()];
    let places = rows.names().iter().enumerate();
    let places = places.filter(|(_, name)| !options.types.contains_key(*name));
    let places: Vec<_> = places.map(|(place, _)| place).collect();
    let mut count = None;
    if !options.has_types_of(rows.names()) {
        let count = count.insert(0);
        while let Some(row) = rows.next()? {
            *count += 1;
            for place in &places {
                let seen = &mut columns[*place];
                if seen.is_text() {
                    continue;
                }
                let field = row.get(*place);
                match (options.is_null(&field.text), field.is_quoted) {
                    (true, false) => {}
                    (true, true) => seen.add_nothing(),
                    (false, _) => seen.add(&field.text, options.decimal()),
                }
            }
        }
    }
    let fields = rows.names().iter().zip(columns);
    let fields = fields.map(|(name, seen)| match options.types.get(name) {
        Some(data_type) => Field::new(name, data_type.clone(), true),
        None => seen.field(name),
    });
    let header = rows.replaced().map(|header| header.join(BETWEEN_NAMES));
    let metadata = header.map(|header| (REPLACED_HEADER.to_owned(), header));
    let fields = fields.collect::<Vec<_>>();
    let columns = Schema::new_with_metadata(fields, metadata.into_iter().collect());
    Ok((columns, count))
}

/// Reads rows as record batches.
pub(crate) struct CsvReader {
    rows: Rows,
    /// Places of the columns in the file.
    places: Vec<usize>,
    schema: SchemaRef,
    rows_max: usize,
    options: TextOptions,
}

impl CsvReader {
    /// Reads the header. A batch has up to `rows_max` rows.
    ///
    /// # Errors
    /// The file cannot be read, or has another number of columns.
    pub(crate) fn new(
        input: Input,
        dialect: Dialect,
        options: &TextOptions,
        columns: TextColumns,
        rows_max: usize,
    ) -> io::Result<Self> {
        let rows = Rows::new(input, dialect, options)?;
        // A row is compared with its file's header only, which may be of another delimiter.
        let count = rows.names().len();
        if count != columns.count {
            return Err(io::Error::other(format!(
                "has {count} columns, and the table {}",
                columns.count
            )));
        }
        Ok(Self {
            rows,
            places: columns.places,
            schema: columns.schema,
            rows_max,
            options: options.clone(),
        })
    }

    /// Reads the next batch.
    ///
    /// # Errors
    /// The file cannot be read, or a field is not of its column's type.
    pub(crate) fn read(&mut self) -> io::Result<Option<RecordBatch>> {
        let fields = self.schema.fields().iter();
        let decimal = self.options.decimal();
        let values = fields.map(|field| Values::new(field.data_type(), self.rows_max, decimal));
        let mut values = values.collect::<io::Result<Vec<_>>>()?;
        let (mut count, mut bytes) = (0, 0);
        while count < self.rows_max && bytes < BATCH_BYTES_MAX {
            let Some(row) = self.rows.next()? else {
                break;
            };
            let columns = self.schema.fields().iter().zip(&self.places);
            for ((column, place), values) in columns.zip(&mut values) {
                let field = row.get(*place);
                bytes += field.text.len();
                let is_text = field.is_quoted && values.are_texts();
                let is_null = self.options.is_null(&field.text) && !is_text;
                match is_null {
                    true => values.append_null(),
                    false => values.append(&field.text).map_err(|text| {
                        let (line, name) = (row.line, column.name());
                        io::Error::other(format!("line {line}, column {name:?}: {text}"))
                    })?,
                }
            }
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let columns = values.into_iter().map(Values::finish);
        let columns = columns.collect::<io::Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        batch.map(Some).map_err(io::Error::other)
    }
}
