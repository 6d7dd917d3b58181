//! VOTable 1.4 and 1.5: TABLEDATA, BINARY and BINARY2.
//!
//! [`VotableWriter`] owns the frame: head, rows in the chosen serialization, and the status after
//! them. `field.rs` decides what each column becomes; `head.rs` writes the XML before the rows,
//! `tabledata.rs` and `binary.rs` encode them.
//!
//! Sources: VOTable 1.5 (REC), DALI 1.2 for QUERY_STATUS and timestamps.

mod binary;
mod field;
mod head;
mod tabledata;

use std::io::Write;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use self::{binary::Base64Lines, field::VotableField};
use super::{
    GATHER_BYTES, TableEnd, TableError, TableWriter,
    column::{Column, cast_columns},
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

/// The version that the document says it is.
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
    /// The version that the document says it is.
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
/// | UInt64, Decimal128 | char: digits, as no number type holds them all |
/// | Float16, Float32; Float64 | float; double |
/// | Utf8 | unicodeChar, or char where [`CHARSET`](super::meta::CHARSET) says `ascii` |
/// | Binary | unsignedByte, `*` |
/// | Timestamp, Date | char with xtype `timestamp`, in UTC without a zone |
/// | Time | char |
/// | FixedSizeList, List of booleans, numbers | the same with an arraysize |
///
/// TABLEDATA holds no control characters but tab and line breaks (XML 1.0, 2.2): others become
/// U+FFFD, and an INFO at the end says how many.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_formats::table::{TableEnd, TableWriter, votable::VotableWriter};
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
    out: W,
    fields: Vec<VotableField>,
    schema: SchemaRef,
    rows: Rows,
    /// Encoded, and not yet written.
    gathered: Vec<u8>,
    rows_written: u64,
    /// Characters of TABLEDATA that XML cannot hold.
    replaced: u64,
}

/// The encoder of the rows.
enum Rows {
    Tabledata,
    Binary(Base64Lines),
    Binary2(Base64Lines),
}

impl<W: Write> VotableWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// A column that VOTable cannot hold, before anything is written; what the output says.
    pub fn new(out: W, schema: SchemaRef, options: VotableOptions) -> Result<Self, TableError> {
        let fields = field::fields(&schema, options.serialization)?;
        let mut gathered = Vec::with_capacity(GATHER_BYTES + GATHER_BYTES / 4);
        head::append(&mut gathered, &schema, &fields, &options);
        let mut writer = Self {
            out,
            fields,
            schema,
            rows: match options.serialization {
                Serialization::Tabledata => Rows::Tabledata,
                Serialization::Binary => Rows::Binary(Base64Lines::default()),
                Serialization::Binary2 => Rows::Binary2(Base64Lines::default()),
            },
            gathered,
            rows_written: 0,
            replaced: 0,
        };
        writer.hand_over()?;
        Ok(writer)
    }

    fn hand_over(&mut self) -> Result<(), TableError> {
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    fn append_row(&mut self, columns: &[Column<'_>], row: usize) -> Result<(), TableError> {
        let fields = self.fields.iter().zip(columns);
        let appended = match &mut self.rows {
            Rows::Tabledata => {
                tabledata::append_row(&mut self.gathered, &mut self.replaced, fields, row)
            }
            Rows::Binary(lines) => binary::append_row(&mut lines.raw, fields, row)
                .map(|()| lines.encode(&mut self.gathered)),
            Rows::Binary2(lines) => binary::append_row_with_mask(&mut lines.raw, fields, row)
                .map(|()| lines.encode(&mut self.gathered)),
        };
        appended.map_err(|(column, problem)| TableError::Value {
            row: self.rows_written,
            column: self.schema.field(column).name().clone(),
            problem: problem.into(),
        })
    }

    /// Everything after the last row.
    fn end(mut self, status: &[u8]) -> Result<(), TableError> {
        if let Rows::Binary(lines) | Rows::Binary2(lines) = &mut self.rows {
            lines.encode_rest(&mut self.gathered);
        }
        self.gathered.extend_from_slice(match self.rows {
            Rows::Tabledata => b"</TABLEDATA>\n".as_slice(),
            Rows::Binary(_) => b"</STREAM></BINARY>\n",
            Rows::Binary2(_) => b"</STREAM></BINARY2>\n",
        });
        self.gathered.extend_from_slice(b"</DATA>\n</TABLE>\n");
        self.gathered.extend_from_slice(status);
        if self.replaced > 0 {
            let text = format!(
                "<INFO name=\"warning\" value=\"{} characters that XML cannot hold were replaced by \
                 U+FFFD\"/>\n",
                self.replaced
            );
            self.gathered.extend_from_slice(text.as_bytes());
        }
        self.gathered
            .extend_from_slice(b"</RESOURCE>\n</VOTABLE>\n");
        self.hand_over()?;
        Ok(self.out.flush()?)
    }
}

impl<W: Write> TableWriter for VotableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns: Option<Vec<_>> = arrays.iter().map(|array| Column::of(array)).collect();
        let columns = columns
            .filter(|columns| columns.len() == self.fields.len())
            .ok_or_else(|| {
                TableError::Schema("a batch has another schema than its table".into())
            })?;
        for row in 0..batch.num_rows() {
            let kept = self.gathered.len();
            if let Err(error) = self.append_row(&columns, row) {
                // Half a row is no row.
                self.gathered.truncate(kept);
                return Err(error);
            }
            self.rows_written += 1;
            if self.gathered.len() >= GATHER_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        self.end(match end {
            TableEnd::Complete => b"",
            TableEnd::Overflow => b"<INFO name=\"QUERY_STATUS\" value=\"OVERFLOW\"/>\n",
        })
    }

    /// The document is closed with QUERY_STATUS ERROR and the reason.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError> {
        let mut status = b"<INFO name=\"QUERY_STATUS\" value=\"ERROR\">".to_vec();
        head::append_escaped(&mut status, reason);
        status.extend_from_slice(b"</INFO>\n");
        self.end(&status)
    }
}
