//! Columns as VOTable can have them: nested ones that are no arrays as texts of JSON, arrays of one
//! element as single values (`single.rs`).
//!
//! [`Conversion`] makes the columns of a batch anew, a few rows at a time where there are texts to be
//! made. Called by `votable.rs`; `json_value.rs` writes the texts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{field::is_array, single};
use crate::{
    TableError,
    column::{Column, cast_columns, cell_types, check_kind, typed_columns},
    gather::BadCell,
    json_value,
};

/// Rows are made until their texts have so many bytes, as many as are gathered before they are written.
const PIECE_BYTES: usize = 64 * 1024;

/// How the columns of a table become those of a VOTable.
pub(super) struct Conversion {
    /// Of the table, cast.
    types: Vec<DataType>,
    /// Of the VOTable.
    schema: SchemaRef,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AsItIs,
    /// Arrays of one element.
    Single,
    Json,
}

impl Conversion {
    /// Decides what each column of a table becomes.
    ///
    /// # Errors
    /// The first column that JSON cannot hold either.
    pub(super) fn new(schema: &Schema) -> Result<Self, TableError> {
        let types = cell_types(schema);
        let columns = schema.fields().iter().zip(&types);
        let converted = columns.map(|(field, data_type)| {
            convert(field, data_type).map_err(|problem| TableError::Column {
                column: field.name().clone(),
                problem,
            })
        });
        let converted: Vec<_> = converted.collect::<Result<_, _>>()?;
        let (fields, kinds): (Vec<_>, Vec<_>) = converted.into_iter().unzip();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        Ok(Self {
            types,
            schema: Arc::new(schema),
            kinds,
        })
    }

    /// The columns of the VOTable.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Hands on the rows of a batch as those of the VOTable, in their order.
    ///
    /// # Errors
    /// Those of `write`. A value that JSON cannot hold becomes one by `bad`, once the rows before its
    /// own were handed on.
    pub(super) fn write<W>(
        &self,
        batch: &RecordBatch,
        to: &mut W,
        mut write: impl FnMut(&mut W, &RecordBatch) -> Result<(), TableError>,
        bad: impl Fn(&W, BadCell) -> TableError,
    ) -> Result<(), TableError> {
        if self.kinds.iter().all(|kind| *kind == Kind::AsItIs) {
            return write(to, batch);
        }
        let arrays = cast_columns(batch)?;
        let columns = typed_columns(&arrays, &self.types)?;
        let others = arrays.iter().zip(&self.kinds);
        let others = others.map(|(array, kind)| match kind {
            Kind::Single => single::single(ArrayRef::clone(array)),
            Kind::AsItIs | Kind::Json => Ok(ArrayRef::clone(array)),
        });
        let others: Vec<_> = others.collect::<Result<_, _>>().map_err(no_batch)?;
        let mut from = 0;
        while from < batch.num_rows() {
            let (texts, problem) = self.texts(&columns, from, batch.num_rows());
            let rows = texts.rows;
            let mut texts = texts.columns.into_iter();
            let piece = others.iter().zip(&self.kinds).map(|(array, kind)| {
                Ok(match kind {
                    Kind::Json => texts.next().unwrap_or_default().array(rows)?,
                    Kind::AsItIs | Kind::Single => array.slice(from, rows),
                })
            });
            let piece = piece.collect::<Result<Vec<_>, TableError>>()?;
            write(to, &self.batch(piece)?)?;
            if let Some(problem) = problem {
                return Err(bad(to, problem));
            }
            from += rows;
        }
        Ok(())
    }

    fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, TableError> {
        let fields = self.schema.fields().iter().zip(&columns);
        let fields =
            fields.map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).map_err(no_batch)
    }

    /// Makes the texts of the next rows, up to one that JSON cannot hold.
    fn texts(&self, columns: &[Column<'_>], from: usize, to: usize) -> (Piece, Option<BadCell>) {
        let nested = columns.iter().zip(&self.kinds).enumerate();
        let nested = nested.filter(|(_, (_, kind))| **kind == Kind::Json);
        let nested: Vec<_> = nested.map(|(place, (column, _))| (place, column)).collect();
        let mut piece = Piece {
            rows: 0,
            columns: nested.iter().map(|_| Texts::default()).collect(),
        };
        if nested.is_empty() {
            piece.rows = to - from;
            return (piece, None);
        }
        let mut bytes = 0;
        for row in from..to {
            for ((place, column), texts) in nested.iter().zip(&mut piece.columns) {
                let begun = texts.bytes.len();
                if let Err(problem) = texts.push(column, row) {
                    return (piece, Some((*place, problem)));
                }
                bytes += texts.bytes.len() - begun;
            }
            piece.rows += 1;
            if bytes >= PIECE_BYTES {
                break;
            }
        }
        (piece, None)
    }
}

/// What a column becomes, by its type once it is cast.
fn convert(field: &Field, data_type: &DataType) -> Result<(Field, Kind), String> {
    let single = single::field(field, data_type.clone());
    let is_held = !single.data_type().is_nested() || is_array(field, single.data_type());
    if !is_held {
        check_kind(data_type, "VOTable")?;
        let text = field.clone().with_data_type(DataType::Utf8);
        return Ok((text, Kind::Json));
    }
    let kind = match single.data_type() == data_type {
        true => Kind::AsItIs,
        false => Kind::Single,
    };
    Ok((single, kind))
}

fn no_batch(error: arrow::error::ArrowError) -> TableError {
    TableError::Schema(error.to_string())
}

/// The texts of some rows, of each column that has any.
struct Piece {
    rows: usize,
    columns: Vec<Texts>,
}

/// The texts of a column.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends.
    ends: Vec<usize>,
    are_valid: Vec<bool>,
}

impl Texts {
    /// Appends the text of a row; none if it is null.
    fn push(&mut self, column: &Column<'_>, row: usize) -> Result<(), &'static str> {
        let is_valid = !column.is_null(row);
        if is_valid {
            json_value::append_bare(&mut self.bytes, column, row, json_value::SPECIALS)?;
        }
        self.ends.push(self.bytes.len());
        self.are_valid.push(is_valid);
        Ok(())
    }

    /// Makes an array of the first rows.
    fn array(mut self, rows: usize) -> Result<ArrayRef, TableError> {
        self.ends.truncate(rows);
        self.are_valid.truncate(rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        let lengths = begins.zip(&self.ends).map(|(begin, end)| end - begin);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = NullBuffer::from(self.are_valid);
        let texts = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), Some(nulls));
        Ok(Arc::new(texts.map_err(no_batch)?))
    }
}
