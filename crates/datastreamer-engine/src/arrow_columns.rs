//! The columns of an Arrow file, as a table has them. `columns.rs` calls it; `arrow_opener.rs` casts
//! the values to them.

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, FieldRef, Fields, Schema},
    ipc::reader::{FileReader, StreamReader},
};
use datastreamer_table::nested::{find_type, map_leaves};

use crate::{
    arrow_file::{self, Framing},
    common_type::with_long_keys,
    guard::UNREAD,
};

/// Extension types of plain values. pyarrow writes these names for dictionaries of them too, and
/// refuses what it has written.
const OF_PLAIN_VALUES: [&str; 3] = ["arrow.bool8", "arrow.json", "arrow.uuid"];

/// Reads the columns of an Arrow file, or of a stream in a file.
///
/// # Errors
/// The text of what is wrong with the file.
pub(crate) fn arrow_columns(path: &Path, expansion_max: u64) -> Result<Schema, String> {
    let framing = arrow_file::check(path, expansion_max)?;
    let file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let schema = match framing {
        Framing::File => FileReader::try_new(file, None).map(|file| file.schema()),
        Framing::Stream => StreamReader::try_new(file, None).map(|file| file.schema()),
    };
    let schema = schema.map_err(|error| {
        tracing::warn!(path = %path.display(), %error, "an Arrow file cannot be decoded");
        UNREAD.to_owned()
    })?;
    // No value has such a type, and Arrow's own code counts on one.
    let is_empty = |of: &DataType| matches!(of, DataType::Union(types, _) if types.is_empty());
    let mut fields = schema.fields().iter();
    if let Some(field) = fields.find(|field| find_type(field.data_type(), &is_empty).is_some()) {
        return Err(format!("column {:?} has a union of no types", field.name()));
    }
    let fields = schema.fields().iter();
    let fields: Fields = fields.map(|field| map_leaves(field, &mut plain)).collect();
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Makes plain values of what others do not take for the same: runs whose values have metadata, which
/// sorts and filters lose, and dictionaries with the name of an extension type that has none. Other
/// dictionaries get long keys.
fn plain(leaf: &FieldRef) -> FieldRef {
    match leaf.data_type() {
        DataType::RunEndEncoded(_, values) if !values.metadata().is_empty() => {
            let mut metadata = leaf.metadata().clone();
            metadata.extend(values.metadata().clone());
            let nullable = leaf.is_nullable() || values.is_nullable();
            let field = Field::new(leaf.name(), values.data_type().clone(), nullable);
            map_leaves(&Arc::new(field.with_metadata(metadata)), &mut plain)
        }
        DataType::Dictionary(_, values)
            if leaf
                .extension_type_name()
                .is_some_and(|name| OF_PLAIN_VALUES.contains(&name)) =>
        {
            let field = Field::clone(leaf).with_data_type(DataType::clone(values));
            Arc::new(field.with_nullable(true))
        }
        // The field says that no key is null. The value of a key may be.
        DataType::Dictionary(_, _) => {
            Arc::new(Field::clone(&with_long_keys(leaf)).with_nullable(true))
        }
        // A run has no other null than its value.
        DataType::RunEndEncoded(_, values) if values.is_nullable() => {
            Arc::new(Field::clone(leaf).with_nullable(true))
        }
        _ => with_long_keys(leaf),
    }
}
