//! Hive partitions: the columns that folders `name=value` make, and their values.
//!
//! `files.rs` calls it with the paths of a table's files. No other code makes typed values of a
//! path, so that they are the same for all kinds of files.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datastreamer_table::type_name;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::EngineError;

/// How Hive and Spark write a null, or an empty text, as a folder's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A partition of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Partition {
    pub(crate) name: String,
    /// Int64 if all values are integers, else Utf8; `None` if all are null.
    #[serde(
        serialize_with = "is_integer_type",
        deserialize_with = "integer_or_text"
    )]
    data_type: Option<DataType>,
    has_nulls: bool,
    /// Whether the files have a column of this name: its values are the table's, and the partition
    /// is a folder like others.
    pub(crate) is_in_files: bool,
}

impl Partition {
    fn data_type(&self) -> DataType {
        self.data_type.clone().unwrap_or(DataType::Utf8)
    }

    /// Returns the column.
    pub(crate) fn field(&self) -> FieldRef {
        Arc::new(Field::new(&self.name, self.data_type(), self.has_nulls))
    }

    /// Widens the column, so that it holds one more value.
    fn take(&mut self, value: Option<&str>) {
        let Some(value) = value else {
            self.has_nulls = true;
            return;
        };
        let of_value = match is_integer(value) {
            true => DataType::Int64,
            false => DataType::Utf8,
        };
        if self.data_type != Some(DataType::Utf8) {
            self.data_type = Some(of_value);
        }
    }

    /// Returns whether this column holds the values of another.
    fn holds(&self, other: &Self) -> bool {
        let types_fit = match &other.data_type {
            None => true,
            Some(data_type) => self.data_type() == *data_type || self.data_type() == DataType::Utf8,
        };
        let values_fit = types_fit && (self.has_nulls || !other.has_nulls);
        self.name == other.name && (self.is_in_files || values_fit)
    }

    fn value(&self, text: Option<String>) -> Result<ScalarValue, EngineError> {
        let data_type = self.data_type();
        Ok(match text {
            Some(text) => ScalarValue::try_from_string(text, &data_type)?,
            None => ScalarValue::try_new_null(&data_type)?,
        })
    }
}

fn is_integer_type<S: Serializer>(data_type: &Option<DataType>, out: S) -> Result<S::Ok, S::Error> {
    let is_integer = data_type.as_ref().map(|it| *it == DataType::Int64);
    is_integer.serialize(out)
}

fn integer_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DataType>, D::Error> {
    let is_integer = Option::deserialize(from)?;
    Ok(is_integer.map(|is_integer| match is_integer {
        true => DataType::Int64,
        false => DataType::Utf8,
    }))
}

/// Returns whether a text is an integer that `i64` holds. `01` is one: month 1, as for Spark and
/// Arrow. A text with a plus sign is none, as for Arrow.
fn is_integer(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<i64>().is_ok()
}

/// Reads the partitions of a table from the paths of its files, which must have the same ones.
///
/// # Errors
/// The text of what is wrong with a path.
pub(crate) fn find(root: &Path, files: &[PathBuf]) -> Result<Vec<Partition>, String> {
    let mut found: Option<Vec<Partition>> = None;
    for file in files {
        let pairs = pairs(root, file)?;
        let partitions = found.get_or_insert_with(|| pairs.iter().map(new).collect());
        let here = || pairs.iter().map(|(name, _)| name);
        let others = || partitions.iter().map(|partition| &partition.name);
        if !here().eq(others()) {
            return Err(format!(
                "the partitions of {} are {:?}, those of other files {:?}",
                file.display(),
                here().collect::<Vec<_>>(),
                others().collect::<Vec<_>>()
            ));
        }
        for (partition, (_, value)) in partitions.iter_mut().zip(&pairs) {
            partition.take(value.as_deref());
        }
    }
    let found = found.unwrap_or_default();
    let mut names = BTreeSet::new();
    match found
        .iter()
        .find(|partition| !names.insert(&partition.name))
    {
        Some(partition) => Err(format!("has two partitions called {:?}", partition.name)),
        None => Ok(found),
    }
}

fn new((name, _): &(String, Option<String>)) -> Partition {
    Partition {
        name: name.clone(),
        data_type: None,
        has_nulls: false,
        is_in_files: false,
    }
}

/// Checks that the partitions of a table hold those that its files have now.
///
/// # Errors
/// The text of both.
pub(crate) fn check(then: &[Partition], now: &[Partition]) -> Result<(), String> {
    let mut both = then.iter().zip(now);
    match then.len() == now.len() && both.all(|(then, now)| then.holds(now)) {
        true => Ok(()),
        false => Err(format!(
            "the partitions are {} now, and were {} when the table was opened",
            described(now),
            described(then)
        )),
    }
}

fn described(partitions: &[Partition]) -> String {
    let described = partitions.iter().map(|partition| {
        let nulls = if partition.has_nulls {
            " with nulls"
        } else {
            ""
        };
        let data_type = type_name(&partition.data_type());
        format!("{:?} ({data_type}{nulls})", partition.name)
    });
    match partitions.is_empty() {
        true => "none".into(),
        false => described.collect::<Vec<_>>().join(", "),
    }
}

/// Returns the values of the partitions in a file's path, without those that its own columns have.
///
/// # Errors
/// A text is not a value of the partition's type.
pub(crate) fn values(
    partitions: &[Partition],
    root: &Path,
    file: &Path,
) -> Result<Vec<ScalarValue>, EngineError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = pairs(root, file).map_err(EngineError::data)?.into_iter();
    let values = partitions.iter().zip(pairs);
    values
        .filter(|(partition, _)| !partition.is_in_files)
        .map(|(partition, (_, text))| partition.value(text))
        .collect()
}

/// Reads the names and values of the folders `name=value` above a file and below the root; `None`
/// is a null. Other folders, and the file's own name, say nothing.
///
/// # Errors
/// A folder's name is not UTF-8: two of them could become one text.
fn pairs(root: &Path, file: &Path) -> Result<Vec<(String, Option<String>)>, String> {
    let below = file.strip_prefix(root).unwrap_or(file);
    let folders = below.parent().unwrap_or(Path::new("")).components();
    let mut pairs = Vec::new();
    for folder in folders {
        let Component::Normal(name) = folder else {
            continue;
        };
        let Some(name) = name.to_str() else {
            match name.as_encoded_bytes().contains(&b'=') {
                true => return Err(format!("the folder {} is not UTF-8", name.display())),
                false => continue,
            }
        };
        if let Some((name, value)) = name.split_once('=').filter(|(name, _)| !name.is_empty()) {
            let value = (value != NULL).then(|| decoded(value));
            pairs.push((decoded(name), value));
        }
    }
    Ok(pairs)
}

/// Decodes the characters that Hive writes as %XX, as a folder's name must not contain them. A text
/// that would not be UTF-8 stays as it is.
fn decoded(text: &str) -> String {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map_or_else(|_| text.to_owned(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Result<Vec<(String, DataType, bool)>, String> {
        let root = Path::new("/t");
        let files: Vec<_> = names.iter().map(|name| root.join(name)).collect();
        let columns = find(root, &files)?;
        let fields = columns.iter().map(Partition::field);
        let columns =
            fields.map(|it| (it.name().clone(), it.data_type().clone(), it.is_nullable()));
        Ok(columns.collect())
    }

    #[test]
    fn partitions_are_integers_if_all_their_values_are() {
        let two = columns(&["y=1/b=x/f.csv", "y=2/b=3/f.csv"]);
        let wanted = vec![
            ("y".into(), DataType::Int64, false),
            ("b".into(), DataType::Utf8, false),
        ];
        assert_eq!(two, Ok(wanted));
        assert_eq!(columns(&["a/f.csv", "f.csv"]), Ok(Vec::new()));
        assert!(columns(&["y=1/f.csv", "f.csv"]).is_err());
        assert!(columns(&["y=1/y=2/f.csv"]).is_err());
        for (value, data_type) in [
            ("-5", DataType::Int64),
            ("007", DataType::Int64),
            ("9223372036854775807", DataType::Int64),
            ("9223372036854775808", DataType::Utf8),
            ("+5", DataType::Utf8),
            ("", DataType::Utf8),
            ("1.5", DataType::Utf8),
            ("2024-01", DataType::Utf8),
        ] {
            let found = columns(&[&format!("a=1/p={value}/f.csv"), "a=1/p=1/f.csv"]);
            assert_eq!(found.unwrap()[1].1, data_type, "{value}");
        }
    }

    #[test]
    fn the_other_values_decide_the_type_of_a_column_with_nulls() {
        let null = format!("y={NULL}/f.csv");
        for (files, data_type) in [
            (["y=1/f.csv", &null], DataType::Int64),
            ([&null, "y=1/f.csv"], DataType::Int64),
            ([&null, "y=x/f.csv"], DataType::Utf8),
            ([&null, &null], DataType::Utf8),
        ] {
            let wanted = vec![("y".into(), data_type, true)];
            assert_eq!(columns(&files), Ok(wanted), "{files:?}");
        }
    }

    #[test]
    fn names_and_values_are_decoded_and_files_are_no_partitions() {
        let root = Path::new("/t");
        let file = root.join("plain/a%20b=c%2Fd%25/bad=%FF/=x/Npix=11.parquet");
        let wanted = [("a b", "c/d%"), ("bad", "%FF")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        assert_eq!(pairs(root, &file), Ok(wanted.to_vec()));
    }
}
