//! VOTable 1.4 and 1.5: TABLEDATA, BINARY and BINARY2.
//!
//! [`VotableWriter`] owns the frame: head, rows in the chosen serialization, and the status after
//! them. `field.rs` decides what each column becomes; `head.rs` writes the XML before the rows,
//! `json_text.rs` makes texts of nested columns, `single.rs` values of arrays of one element,
//! `tabledata.rs` and `binary.rs` encode the rows.
//!
//! Sources: VOTable 1.5 (REC), DALI 1.2 for QUERY_STATUS and timestamps.

mod binary;
mod field;
mod head;
mod json_text;
mod single;
mod tabledata;

use std::{io::Write, sync::Arc};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};

use self::{
    binary::BinaryRows, field::VotableField, json_text::Conversion, tabledata::TabledataCells,
};
use super::{
    TableEnd, TableError, TableWriter,
    gather::{Frames, Gather},
};

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Serialization {
    /// XML elements: larger, and read by everything.
    #[default]
    Tabledata,
    /// Binary, base64, without a way to say null: integers need a value that stands for it.
    Binary,
    /// Binary, base64, with a mask of nulls.
    Binary2,
}

/// The version that the document declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Version {
    /// What every reader knows.
    #[default]
    V1_4,
    /// The recommendation of 2025.
    V1_5,
}

/// What a VOTable is to be like.
#[derive(Clone, Debug, Default)]
pub struct VotableOptions {
    /// How the rows are written.
    pub serialization: Serialization,
    /// The version that the document declares.
    pub version: Version,
}

/// Writes one table as a VOTable document.
///
/// Columns become fields by their Arrow type:
///
/// | Arrow | VOTable |
/// |---|---|
/// | Boolean | boolean |
/// | UInt8; Int8, Int16; UInt16, Int32; UInt32, Int64 | unsignedByte; short; int; long |
/// | UInt64, decimals | char: digits, as no number type holds them all |
/// | Float16, Float32; Float64 | float; double |
/// | Utf8 | unicodeChar, or char where [`CHARSET`](super::meta::CHARSET) says `ascii` |
/// | Binary | unsignedByte, `*` |
/// | Timestamp, Date | char with xtype `timestamp`, in UTC without a zone |
/// | Time | char |
/// | FixedSizeList, List of booleans, numbers | the same with an arraysize, unless it is 1 |
/// | the same of texts | char or unicodeChar, as `8x3` or `8x*`, if the [`WIDTH`](super::meta::WIDTH) is known |
/// | Duration, Interval | char, ISO 8601: `P1DT2H3.5S` |
/// | Struct, Map, Union, other lists | unicodeChar, JSON as of [`JsonWriter`](super::json::JsonWriter) |
///
/// In lists UInt64 is long: an element that is too large fails the write, with its row and column.
///
/// TABLEDATA holds no control characters but tab and line breaks (XML 1.0, 2.2): others become
/// U+FFFD, and an INFO at the end says how many.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, votable::VotableWriter};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(VotableWriter::new(&mut file, schema, Default::default())?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert!(String::from_utf8(file)?.contains("<TR><TD>7</TD></TR>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VotableWriter<W> {
    rows: Gather<W>,
    conversion: Conversion,
    fields: Vec<VotableField>,
    encoder: Encoder,
    /// Characters of TABLEDATA that XML cannot hold.
    replaced: u64,
    /// What is said where a limit has cut the table.
    limit: Option<String>,
}

/// The encoder of the rows.
enum Encoder {
    Tabledata(Frames),
    Binary(BinaryRows),
    Binary2(BinaryRows),
}

impl<W: Write> VotableWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// A column that VOTable cannot hold, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, options: VotableOptions) -> Result<Self, TableError> {
        let conversion = Conversion::new(&schema)?;
        let schema = Arc::clone(conversion.schema());
        let fields = field::fields(&schema, options.serialization)?;
        let mut rows = Gather::new(out, Arc::clone(&schema));
        rows.append(|out| head::append(out, &schema, &fields, &options));
        rows.hand_over()?;
        Ok(Self {
            rows,
            encoder: match options.serialization {
                Serialization::Tabledata => Encoder::Tabledata(tabledata::frames(fields.len())),
                Serialization::Binary => Encoder::Binary(BinaryRows::new(false)),
                Serialization::Binary2 => Encoder::Binary2(BinaryRows::new(true)),
            },
            conversion,
            fields,
            replaced: 0,
            limit: None,
        })
    }

    /// Says, where a limit has cut the table, which one it was.
    pub fn with_limit(self, limit: Option<String>) -> Self {
        Self { limit, ..self }
    }

    /// Everything after the last row.
    fn end(mut self, status: &[u8]) -> Result<(), TableError> {
        let (encoder, replaced) = (&mut self.encoder, self.replaced);
        self.rows.append(|out| {
            if let Encoder::Binary(rows) | Encoder::Binary2(rows) = encoder {
                rows.encode_rest(out);
            }
            out.extend_from_slice(match encoder {
                Encoder::Tabledata(_) => b"</TABLEDATA>\n".as_slice(),
                Encoder::Binary(_) => b"</STREAM></BINARY>\n",
                Encoder::Binary2(_) => b"</STREAM></BINARY2>\n",
            });
            out.extend_from_slice(b"</DATA>\n</TABLE>\n");
            out.extend_from_slice(status);
            if replaced > 0 {
                tracing::warn!(
                    characters = replaced,
                    "a VOTable has U+FFFD in the place of characters that XML cannot hold"
                );
                let text = format!(
                    "<INFO name=\"warning\" value=\"{replaced} characters that XML cannot hold were \
                     replaced by U+FFFD\"/>\n"
                );
                out.extend_from_slice(text.as_bytes());
            }
            out.extend_from_slice(b"</RESOURCE>\n</VOTABLE>\n");
        });
        self.rows.end()
    }
}

/// Refuses columns that VOTable cannot hold.
///
/// # Errors
/// The first such column.
pub(super) fn check(schema: &Schema, serialization: Serialization) -> Result<(), TableError> {
    field::fields(Conversion::new(schema)?.schema(), serialization).map(drop)
}

/// A document that describes a table and has none of its rows: what other formats keep beside
/// theirs (VOParquet 1.0, 2.1). Nested columns are no texts there. Texts are as wide as `widths` says, in
/// the order of the columns, where that is known: astropy takes others for objects.
///
/// # Errors
/// A column that VOTable cannot hold as it is.
pub(super) fn without_rows(
    schema: &Schema,
    version: Version,
    end: TableEnd,
    limit: Option<&str>,
    widths: &[Option<usize>],
) -> Result<Vec<u8>, TableError> {
    let schema = single::schema(schema);
    let mut fields = field::fields(&schema, Serialization::Binary2)?;
    // The other format has nulls of its own.
    fields.iter_mut().for_each(|field| field.null = None);
    for (field, width) in fields.iter_mut().zip(widths) {
        if let (field::Size::Variable, Some(width)) = (field.size, width) {
            field.size = field::Size::UpTo((*width).max(1));
        }
    }
    let mut document = Vec::new();
    head::append_table(&mut document, &schema, &fields, version);
    document.extend_from_slice(b"</TABLE>\n");
    document.extend_from_slice(&status(end, limit));
    document.extend_from_slice(b"</RESOURCE>\n</VOTABLE>\n");
    Ok(document)
}

/// What stands behind a table's rows.
fn status(end: TableEnd, limit: Option<&str>) -> Vec<u8> {
    match (end, limit) {
        (TableEnd::Complete, _) => Vec::new(),
        (TableEnd::Overflow, None) => {
            b"<INFO name=\"QUERY_STATUS\" value=\"OVERFLOW\"/>\n".to_vec()
        }
        (TableEnd::Overflow, Some(limit)) => info("OVERFLOW", limit),
    }
}

fn info(status: &str, text: &str) -> Vec<u8> {
    let mut info = format!("<INFO name=\"QUERY_STATUS\" value=\"{status}\">").into_bytes();
    head::append_escaped(&mut info, text);
    info.extend_from_slice(b"</INFO>\n");
    info
}

impl<W: Write> TableWriter for VotableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let Self {
            rows,
            conversion,
            fields,
            encoder,
            replaced,
            limit: _,
        } = self;
        let fields = &*fields;
        conversion.write(
            batch,
            rows,
            |rows, batch| match encoder {
                Encoder::Tabledata(frames) => {
                    let mut cells = TabledataCells { fields, replaced };
                    rows.write_text_rows(batch, frames, &mut cells)
                }
                Encoder::Binary(encoder) | Encoder::Binary2(encoder) => rows
                    .write_blocks(batch, |out, columns, rows| {
                        encoder.append_block(out, fields, columns, rows)
                    }),
            },
            Gather::bad_cell,
        )
    }

    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        let status = status(end, self.limit.as_deref());
        self.end(&status)
    }

    /// The document is closed with QUERY_STATUS ERROR and the reason.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError> {
        self.end(&info("ERROR", reason))
    }
}
