//! The columns of one file, and whether they fit those of a table. It reads a file's own schema, or
//! infers it; it keeps nothing.

use std::{
    collections::HashSet,
    fs::File,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use arrow::datatypes::{DataType, Field, Fields, Schema};

use datafusion::parquet::{arrow::arrow_reader::ArrowReaderMetadata, basic::LogicalType};
use datastreamer_table::{column_metadata::column_names, uuid};
use datastreamer_text::{self as text, TextForm, TextFormat, TextOptions, check_same_columns};
use serde::{Deserialize, Serialize};

use crate::{
    arrow_columns::arrow_columns,
    common_type::{common_type, is_held},
    error::EngineError,
    file_kind::FileKind,
    parquet::{footer, row_bytes::RowBytes},
    type_difference::Differing,
};

/// The columns of one file.
pub(crate) struct FileColumns {
    pub(crate) columns: Schema,
    pub(crate) rows: FileRows,
    /// How a file of text is written.
    pub(crate) text: Option<TextFound>,
}

/// What is known of the rows of a file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct FileRows {
    /// How many there are, of text of which every row was read.
    pub(crate) count: Option<u64>,
    /// What one usually takes, of Parquet.
    pub(crate) bytes: RowBytes,
}

/// How a file of text is written, as it was found.
pub(crate) struct TextFound {
    /// The options with what was found.
    pub(crate) options: TextOptions,
    /// Whether it is as usual, by no option.
    pub(crate) is_usual: bool,
    /// What was found and not set, for people.
    pub(crate) notes: Vec<String>,
}

/// Reads the columns of a file: from its header, or from all its rows where it is a text file with columns
/// that have no type in the options; `read` counts its bytes.
/// **Blocks**; for a text file as long as it takes to read it.
///
/// # Errors
/// The file cannot be read; it is empty, as it is while it is written anew; it has two columns of the
/// same name, or none, if it is no NDJSON.
pub(crate) fn columns_of_file(
    path: &Path,
    kind: FileKind,
    options: &TextOptions,
    expansion_max: u64,
    read: Option<&Arc<AtomicU64>>,
) -> Result<FileColumns, EngineError> {
    tracing::debug!(path = %path.display(), "reading the columns of a file");
    let wrong = |text: String| EngineError::of_file(path, text);
    if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(wrong("is empty".into()));
    }
    let (mut rows, mut found) = (FileRows::default(), None);
    let columns = match kind {
        FileKind::Parquet => {
            let columns;
            (columns, rows.bytes) = parquet_columns(path, expansion_max).map_err(wrong)?;
            columns
        }
        FileKind::Arrow => arrow_columns(path, expansion_max).map_err(wrong)?,
        FileKind::Text(format, compression) => {
            let form = TextForm {
                format,
                compression,
                expansion_max,
                options,
                read,
            };
            let inferred = File::open(path).and_then(|file| text::infer(file, form));
            let inferred = inferred.map_err(|error| wrong(error.to_string()))?;
            found = Some(TextFound {
                options: inferred.settle(format, options),
                is_usual: inferred.is_usual(options),
                notes: inferred.notes,
            });
            rows.count = inferred.rows;
            inferred.columns
        }
        FileKind::Fits(_) => return Err(wrong("internal error: FITS has its own table".into())),
    };
    let mut names = HashSet::new();
    let mut fields = columns.fields().iter();
    if let Some(field) = fields.find(|field| !names.insert(field.name())) {
        return Err(wrong(match kind.is_binary() {
            true => format!("has two columns called {:?}", field.name()),
            false => format!(
                "has two columns called {:?}: set header = true and names to call them otherwise",
                field.name()
            ),
        }));
    }
    if !matches!(kind, FileKind::Text(TextFormat::Ndjson, _)) {
        check_any(&columns).map_err(wrong)?;
    }
    Ok(FileColumns {
        columns,
        rows,
        text: found,
    })
}

/// Checks that a table of text files has the columns of which the options have types.
///
/// # Errors
/// The text of the column that it lacks.
pub(crate) fn check_declared(columns: &Schema, options: &TextOptions) -> Result<(), String> {
    let mut declared = options.types.keys();
    match declared.find(|name| columns.field_with_name(name).is_err()) {
        Some(name) => Err(format!(
            "has no column {name:?}, of which the type is set; there are {}",
            column_names(columns)
        )),
        None => Ok(()),
    }
}

/// Checks that there are columns: one file of objects without members may stand beside others.
///
/// # Errors
/// The text of why there is no table.
pub(crate) fn check_any(columns: &Schema) -> Result<(), String> {
    match columns.fields().is_empty() {
        true => Err("has no columns".into()),
        false => Ok(()),
    }
}

/// Reads the columns of a Parquet file without their metadata, which may differ between the files
/// of a table. UUIDs alone are marked, by Parquet's type or Arrow's.
fn parquet_columns(path: &Path, expansion_max: u64) -> Result<(Schema, RowBytes), String> {
    let footer = Arc::new(footer::read(path, expansion_max)?);
    let row_bytes = RowBytes::of(&footer, path);
    let read = ArrowReaderMetadata::try_new(footer, Default::default());
    let read = read.map_err(|error| error.to_string())?;
    let leaves = read.parquet_schema().columns().iter();
    let are_uuids = leaves.map(|leaf| leaf.logical_type_ref() == Some(&LogicalType::Uuid));
    let fields = read.schema().fields().iter();
    let plain = fields.map(|field| match uuid::is_uuid(field) {
        true => uuid::with_extension(Field::clone(field).with_metadata(Default::default())),
        false => Field::clone(field).with_metadata(Default::default()),
    });
    let plain: Fields = plain.collect();
    let columns = Schema::new(uuid::with_extensions(&plain, are_uuids));
    Ok((columns, row_bytes))
}

/// Merges the columns of two files of a table that is being opened. A column that one of them lacks
/// is null there. [`check_fit`] holds for both files and the merged columns.
///
/// # Errors
/// The text of why there is no table of both.
pub(crate) fn merge(one: Schema, other: Schema, kind: FileKind) -> Result<Schema, String> {
    match kind {
        FileKind::Parquet => merge_by_name(&one, &other),
        FileKind::Arrow => merge_by_place(&one, &other),
        FileKind::Text(format, _) => text::merge(one, &other, format),
        FileKind::Fits(_) => Err("internal error: FITS has its own table".into()),
    }
}

fn merge_by_name(one: &Schema, other: &Schema) -> Result<Schema, String> {
    let mut fields = Vec::new();
    for field in one.fields() {
        fields.push(match other.field_with_name(field.name()) {
            Ok(theirs) => merge_field(field, theirs)?,
            Err(_) => Field::clone(field).with_nullable(true),
        });
    }
    let new = other.fields().iter();
    let new = new.filter(|field| one.field_with_name(field.name()).is_err());
    fields.extend(new.map(|field| Field::clone(field).with_nullable(true)));
    Ok(Schema::new_with_metadata(fields, one.metadata().clone()))
}

/// Merges the columns of files whose reader does not look at names.
fn merge_by_place(one: &Schema, other: &Schema) -> Result<Schema, String> {
    check_same_columns(one, other)?;
    let fields = one.fields().iter().zip(other.fields());
    let fields = fields.map(|(one, other)| merge_field(one, other));
    let fields = fields.collect::<Result<Fields, _>>()?;
    Ok(Schema::new_with_metadata(fields, one.metadata().clone()))
}

fn merge_field(ours: &Field, theirs: &Field) -> Result<Field, String> {
    let data_type = common_type(ours.data_type(), theirs.data_type());
    let data_type = data_type.ok_or_else(|| {
        let (column, theirs, ours) = (ours.name(), theirs.data_type(), ours.data_type());
        let (others, fits) = ("other files", have_common_type as _);
        Differing {
            column,
            others,
            fits,
        }
        .text(theirs, theirs, ours)
    })?;
    let nullable = ours.is_nullable() || theirs.is_nullable();
    Ok(Field::clone(ours)
        .with_data_type(data_type)
        .with_nullable(nullable))
}

fn have_common_type(theirs: &DataType, ours: &DataType) -> bool {
    common_type(ours, theirs).is_some()
}

/// Checks that a table can hold each value of a file with these columns, unchanged. A column that
/// the file lacks is null, if `may_lack_columns` and the table allows nulls there.
///
/// # Errors
/// The text of what the file has or lacks.
pub(crate) fn check_fit(
    table: &Schema,
    columns: &Schema,
    kind: FileKind,
    may_lack_columns: bool,
) -> Result<(), String> {
    let merged = match kind {
        FileKind::Text(format, _) => text::merge(table.clone(), columns, format)?,
        _ => table.clone(),
    };
    if kind == FileKind::Arrow {
        check_same_columns(table, columns)?;
    }
    let missing = |field: &&Arc<Field>| columns.field_with_name(field.name()).is_err();
    let missing = table.fields().iter().find(missing);
    if let Some(field) = missing.filter(|field| !may_lack_columns || !field.is_nullable()) {
        return Err(format!("has no column {:?}", field.name()));
    }
    let differs = |column| Differing {
        column,
        others: "the table",
        fits: is_held,
    };
    for field in columns.fields() {
        let name = field.name();
        let Ok(ours) = table.field_with_name(name) else {
            return Err(format!("has a column {name:?}"));
        };
        let theirs = match kind.is_binary() {
            true => field.data_type(),
            false => merged.field_with_name(name).unwrap_or(ours).data_type(),
        };
        let may_be_null = field.is_nullable() && !ours.is_nullable();
        if may_be_null || !is_held(theirs, ours.data_type()) {
            return Err(match is_held(theirs, ours.data_type()) {
                true => format!("has nulls in column {name:?}, the table has none"),
                false => differs(name).text(field.data_type(), theirs, ours.data_type()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule for a table that is opened, and one for a file that comes later: what fits in one
    /// fits in the other.
    #[test]
    fn files_that_are_merged_fit_the_table_that_they_make() {
        use DataType as T;
        let list = |of: DataType, nullable| T::List(Arc::new(Field::new("item", of, nullable)));
        let pair = |names: [&str; 2], of: DataType| {
            T::Struct(
                names
                    .map(|name| Field::new(name, of.clone(), true))
                    .to_vec()
                    .into(),
            )
        };
        let schema =
            |data_type: &DataType| Schema::new(vec![Field::new("x", data_type.clone(), false)]);
        for (one, other, both) in [
            (T::Int32, T::Int64, Some(T::Int64)),
            (T::UInt8, T::Int16, Some(T::Int16)),
            (T::UInt64, T::Int64, None),
            (T::Int64, T::Float64, None),
            (T::Float32, T::Float64, Some(T::Float64)),
            (T::Null, T::Utf8, Some(T::Utf8)),
            (T::Utf8, T::Int64, None),
            (
                list(T::Int32, false),
                list(T::Int64, true),
                Some(list(T::Int64, true)),
            ),
            (
                list(T::Int64, false),
                list(T::Int32, true),
                Some(list(T::Int64, true)),
            ),
            (list(T::Int64, true), T::Int64, None),
            (
                pair(["a", "b"], T::Int32),
                pair(["a", "b"], T::Int64),
                Some(pair(["a", "b"], T::Int64)),
            ),
            (pair(["a", "b"], T::Int32), pair(["b", "a"], T::Int32), None),
        ] {
            for (one, other) in [(&one, &other), (&other, &one)] {
                let merged = merge(schema(one), schema(other), FileKind::Parquet);
                let found = merged
                    .as_ref()
                    .ok()
                    .map(|it| it.field(0).data_type().clone());
                assert_eq!(found, both, "{one} {other}");
                let table = merged.unwrap_or_else(|_| schema(one));
                let fits = |it| check_fit(&table, &schema(it), FileKind::Parquet, true).is_ok();
                assert_eq!(fits(one) && fits(other), both.is_some(), "{one} {other}");
            }
        }
    }
}
