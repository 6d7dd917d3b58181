//! Bytes, paths and schemas as messages between processes have them. Called by `table_copy.rs` and
//! `isolate/protocol.rs`.

use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
    ser::Error as _,
};

/// Bytes that a message has as they are, and not number by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfBytes;
        impl Visitor<'_> for OfBytes {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        from.deserialize_byte_buf(OfBytes)
    }
}

impl Bytes {
    /// Returns the bytes of a path, which need not be UTF-8.
    pub(crate) fn of(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }

    pub(crate) fn into_path(self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.0))
    }
}

/// Paths, which need not be UTF-8: `#[serde(with = "packed::path")]`.
pub(crate) mod path {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(path.as_os_str().as_bytes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Bytes::deserialize(from).map(Bytes::into_path)
    }
}

/// Schemas with their metadata, as the head of an Arrow stream: `#[serde(with = "packed::schema")]`.
pub(crate) mod schema {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(schema: &SchemaRef, out: S) -> Result<S::Ok, S::Error> {
        let head = bytes_of_schema(schema).map_err(S::Error::custom)?;
        out.serialize_bytes(&head)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SchemaRef, D::Error> {
        let Bytes(head) = Bytes::deserialize(from)?;
        schema_of(&head).map_err(D::Error::custom)
    }
}

/// Returns the head of an Arrow stream.
///
/// # Errors
/// The format has no such types.
pub(crate) fn bytes_of_schema(schema: &SchemaRef) -> Result<Vec<u8>, ArrowError> {
    let mut head = Vec::new();
    StreamWriter::try_new(&mut head, schema)?;
    Ok(head)
}

/// Reads the schema in the head of an Arrow stream.
///
/// # Errors
/// It is no such head.
pub(crate) fn schema_of(head: &[u8]) -> Result<SchemaRef, ArrowError> {
    let stream = StreamReader::try_new(head, None)?;
    Ok(stream.schema())
}
