//! Walks Thrift's compact protocol, in which the footers and page headers of Parquet are written. It
//! knows no structure, and allocates nothing.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use std::ops::Range;

/// At most 32 structs and lists inside each other; Parquet has 6.
const DEPTH_MAX: usize = 32;
const INTEGER_BYTES_MAX: usize = 10;

/// A position in bytes.
#[derive(Clone, Debug)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One field of a struct; the walk stands behind its head.
#[derive(Clone, Debug)]
pub(super) struct FieldHead {
    pub(super) id: i64,
    kind: Kind,
    /// Where the head is.
    pub(super) head: Range<usize>,
}

/// The type of a field, or of the elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    True,
    False,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Result<Self, String> {
        Ok(match code {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(format!("the Thrift type {code} does not exist")),
        })
    }
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes that were walked.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte_at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// Walks a struct. `on` gets each field, and either reads its value or calls
    /// [`skip`](Self::skip).
    pub(super) fn fields(
        &mut self,
        mut on: impl FnMut(&mut Self, &FieldHead) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut id = 0;
        while let Some(field) = self.field(id)? {
            id = field.id;
            on(self, &field)?;
        }
        Ok(())
    }

    /// Reads the head of the next field; `None` at the end of the struct.
    fn field(&mut self, id_before: i64) -> Result<Option<FieldHead>, String> {
        let start = self.at;
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let kind = Kind::of(head & 0x0f)?;
        let id = match head >> 4 {
            0 => self.zigzag()?,
            more => id_before + i64::from(more),
        };
        let head = start..self.at;
        Ok(Some(FieldHead { id, kind, head }))
    }

    /// Reads the integer of a field.
    pub(super) fn integer(&mut self, field: &FieldHead) -> Result<i64, String> {
        match field.kind {
            Kind::Integer => self.zigzag(),
            kind => Err(format!("field {} is {kind:?}, not an integer", field.id)),
        }
    }

    /// Reads the byte of a field, without a sign.
    pub(super) fn byte_of(&mut self, field: &FieldHead) -> Result<u8, String> {
        match field.kind {
            Kind::Byte => self.byte(),
            kind => Err(format!("field {} is {kind:?}, not a byte", field.id)),
        }
    }

    /// Reads the text of a field.
    pub(super) fn text(&mut self, field: &FieldHead) -> Result<String, String> {
        if field.kind != Kind::Binary {
            return Err(format!(
                "field {} is {:?}, not a text",
                field.id, field.kind
            ));
        }
        let length = self.varint()?;
        let start = self.at;
        self.skip_bytes(length)?;
        Ok(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned())
    }

    /// Walks the struct of a field, as [`fields`](Self::fields).
    pub(super) fn fields_of(
        &mut self,
        field: &FieldHead,
        on: impl FnMut(&mut Self, &FieldHead) -> Result<(), String>,
    ) -> Result<(), String> {
        match field.kind {
            Kind::Struct => self.fields(on),
            kind => Err(format!("field {} is {kind:?}, not a struct", field.id)),
        }
    }

    /// Walks the structs in the list of a field.
    pub(super) fn structs(
        &mut self,
        field: &FieldHead,
        mut on: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if field.kind != Kind::List {
            return Err(format!(
                "field {} is {:?}, not a list",
                field.id, field.kind
            ));
        }
        let (length, kind) = self.list()?;
        if length > 0 && kind != Kind::Struct {
            return Err(format!("field {} is no list of structs", field.id));
        }
        (0..length).try_for_each(|_| on(self))
    }

    /// Walks over the value of a field.
    pub(super) fn skip(&mut self, field: &FieldHead) -> Result<(), String> {
        match field.kind {
            Kind::True | Kind::False => Ok(()),
            kind => self.skip_value(kind, 0),
        }
    }

    fn skip_value(&mut self, kind: Kind, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels"));
        }
        match kind {
            Kind::True | Kind::False | Kind::Byte => self.skip_bytes(1),
            Kind::Integer => self.varint().map(drop),
            Kind::Double => self.skip_bytes(8),
            Kind::Uuid => self.skip_bytes(16),
            Kind::Binary => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            Kind::List => {
                let (length, kind) = self.list()?;
                (0..length).try_for_each(|_| self.skip_value(kind, depth + 1))
            }
            Kind::Map => {
                let length = self.varint()?;
                if length == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                let (keys, values) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
                (0..length).try_for_each(|_| {
                    self.skip_value(keys, depth + 1)?;
                    self.skip_value(values, depth + 1)
                })
            }
            Kind::Struct => self.fields(|walk, field| match field.kind {
                Kind::True | Kind::False => Ok(()),
                kind => walk.skip_value(kind, depth + 1),
            }),
        }
    }

    /// Reads the head of a list. Each element has at least a byte, so that a walk over all of them
    /// ends with the bytes.
    fn list(&mut self) -> Result<(u64, Kind), String> {
        let head = self.byte()?;
        // Some writers give an empty list no type.
        if head == 0 {
            return Ok((0, Kind::Byte));
        }
        let length = match head >> 4 {
            15 => self.varint()?,
            length => length.into(),
        };
        Ok((length, Kind::of(head & 0x0f)?))
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for index in 0..INTEGER_BYTES_MAX {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * index as u32);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an integer does not end".into())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).ok_or("it ends too early")?;
        self.at += 1;
        Ok(*byte)
    }

    fn skip_bytes(&mut self, count: u64) -> Result<(), String> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(count).ok().filter(|count| *count <= left) {
            Some(count) => {
                self.at += count;
                Ok(())
            }
            None => Err("it ends too early".into()),
        }
    }
}
