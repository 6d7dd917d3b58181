//! The columns of one file, and whether they fit those of a table. It reads a file's own schema, or
//! infers it; it keeps nothing.

use std::{collections::HashSet, fs::File, io::BufReader, path::Path, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, Fields, Schema},
    ipc::reader::{FileReader, StreamReader},
};

use crate::{
    error::EngineError,
    files::FileKind,
    footer,
    inferred::{check_same_columns, infer, merge_inferred},
};

/// Reads the columns of a file: from its header, or from all its rows where it is a text file.
/// **Blocks**; for a text file as long as it takes to read it.
///
/// # Errors
/// The file cannot be read; it is empty, as it is while it is written anew; it has no columns, or
/// two of the same name.
pub(crate) fn columns_of_file(path: &Path, kind: FileKind) -> Result<Schema, EngineError> {
    tracing::debug!(path = %path.display(), "reading the columns of a file");
    let wrong = |error: String| EngineError::data(format!("{}: {error}", path.display()));
    if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(wrong("is empty".into()));
    }
    let columns = match kind {
        FileKind::Parquet => parquet_columns(path).map_err(wrong)?,
        FileKind::Arrow => arrow_columns(path).map_err(wrong)?,
        _ => infer(path, kind)?,
    };
    let mut names = HashSet::new();
    let mut fields = columns.fields().iter();
    if let Some(field) = fields.find(|field| !names.insert(field.name())) {
        return Err(wrong(format!("has two columns called {:?}", field.name())));
    }
    match columns.fields().is_empty() {
        true => Err(wrong("has no columns".into())),
        false => Ok(columns),
    }
}

/// Reads the columns of a Parquet file without their metadata, which may differ between the files
/// of a table.
fn parquet_columns(path: &Path) -> Result<Schema, String> {
    let read = footer::read(path).map_err(|error| error.to_string())?;
    let fields = read.schema().fields().iter();
    let fields = fields.map(|field| Field::clone(field).with_metadata(Default::default()));
    Ok(Schema::new(fields.collect::<Fields>()))
}

/// Reads the columns of an Arrow file, or of a stream in a file.
fn arrow_columns(path: &Path) -> Result<Schema, String> {
    let open = || File::open(path).map_err(|error| error.to_string());
    let of_file = FileReader::try_new(BufReader::new(open()?), None).map(|file| file.schema());
    let schema = match of_file {
        Ok(schema) => Ok(schema),
        Err(_) => StreamReader::try_new(BufReader::new(open()?), None).map(|file| file.schema()),
    };
    let schema = schema.map_err(|error| error.to_string())?;
    Ok(Schema::clone(&schema))
}

/// Merges the columns of two files of a table that is being opened.
///
/// # Errors
/// The text of why there is no table of both.
pub(crate) fn merge(one: Schema, other: Schema, kind: FileKind) -> Result<Schema, String> {
    if !kind.is_binary() {
        return merge_inferred(one, &other, kind);
    }
    if kind == FileKind::Arrow {
        check_same_columns(&one, &other)?;
    }
    Schema::try_merge([one, other]).map_err(|error| error.to_string())
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
    let merged = match kind.is_binary() {
        true => table.clone(),
        false => merge_inferred(table.clone(), columns, kind)?,
    };
    if kind == FileKind::Arrow {
        check_same_columns(table, columns)?;
    }
    let missing = |field: &&Arc<Field>| columns.field_with_name(field.name()).is_err();
    let missing = table.fields().iter().find(missing);
    if let Some(field) = missing.filter(|field| !may_lack_columns || !field.is_nullable()) {
        return Err(format!("has no column {:?}", field.name()));
    }
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
            let (theirs, ours) = (field.data_type(), ours.data_type());
            let nulls = if may_be_null { " with nulls" } else { "" };
            return Err(format!(
                "has {theirs}{nulls} in column {name:?}, the table {ours}"
            ));
        }
    }
    Ok(())
}

/// Returns whether one type can hold every value of another, unchanged.
fn is_held(theirs: &DataType, ours: &DataType) -> bool {
    use DataType as T;
    let is_wider = matches!(
        (theirs, ours),
        (T::Int8, T::Int16 | T::Int32 | T::Int64)
            | (T::Int16, T::Int32 | T::Int64)
            | (T::Int32, T::Int64)
            | (T::UInt8, T::UInt16 | T::UInt32 | T::UInt64)
            | (T::UInt16, T::UInt32 | T::UInt64)
            | (T::UInt32, T::UInt64)
            | (T::Float32, T::Float64)
            | (T::Null, _)
    );
    is_wider || theirs.equals_datatype(ours)
}
