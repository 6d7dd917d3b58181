//! An invented catalogue of stars, made while it is read: something to download where there is
//! no data yet.
//!
//! [`Stars`] owns the columns and their batches. `stars/draw.rs` owns the random numbers.

mod draw;

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBufferBuilder, Float32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_table::meta;

use self::draw::Draw;
use datastreamer_table::Metadata;

/// Rows of a batch: about half a megabyte, which stays in a core's cache.
const BATCH_ROWS: u64 = 8192;

/// Of the nullable columns so many rows in 10 000 are null.
const NULLS_PER_10_000: u64 = 200;

/// Names are a type and a number below [`NAME_NUMBERS`]; one of the types is hard on XML.
const NAME_TYPES: [&str; 8] = [
    "GAL", "STAR", "QSO", "RRLyr", "MIRA*", "EB", "<UV&X>", "SN Ia",
];
const NAME_NUMBERS: u64 = 10_000;

/// Bytes that a name has at most.
const NAME_BYTES_MAX: usize = 11;

/// Epochs, in microseconds since 1970: May 2014 to November 2023.
const EPOCHS: Range<i64> = 1_400_000_000_000_000..1_700_000_000_000_000;

/// What is drawn: each has random numbers of its own.
mod draws {
    pub(super) const SOURCE_ID: u64 = 1;
    pub(super) const RA: u64 = 2;
    pub(super) const DEC: u64 = 3;
    pub(super) const PARALLAX: u64 = 4;
    pub(super) const PMRA: u64 = 5;
    pub(super) const PMRA_NULL: u64 = 6;
    pub(super) const G_MAG: u64 = 7;
    pub(super) const G_MAG_NULL: u64 = 8;
    pub(super) const NAME: u64 = 9;
    pub(super) const NAME_NULL: u64 = 10;
    pub(super) const EPOCH: u64 = 11;
    pub(super) const EPOCH_NULL: u64 = 12;
}

/// Reads an invented catalogue: `source_id`, `ra`, `dec`, `parallax`, `pmra`, `g_mag`, `name`,
/// `epoch`, with units, UCDs, descriptions and systems in the columns' metadata.
///
/// Positions are uniform on the sphere, parallaxes exponential (1 mas), proper motions normal
/// (10 mas/yr), magnitudes normal (18, 2). About 2 % of `pmra`, `g_mag`, `name` and `epoch` are
/// null. A row depends on its number alone, so every range of rows can be made by itself, and is
/// the same each time; between platforms the last digit of a float may differ, as their
/// logarithms and cosines do. Nothing blocks.
///
/// ```
/// use arrow::record_batch::RecordBatchReader;
/// use datastreamer_rows::stars::Stars;
///
/// let stars = Stars::new(20_000);
/// assert_eq!(stars.schema().field(1).name(), "ra");
/// let mut rows = 0;
/// for batch in stars {
///     rows += batch?.num_rows();
/// }
/// assert_eq!(rows, 20_000);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stars {
    schema: SchemaRef,
    rows: Range<u64>,
}

impl Stars {
    /// Makes a catalogue of so many rows.
    pub fn new(rows: u64) -> Self {
        Self::range(0..rows)
    }

    /// Makes these rows of the catalogue, counted from 0.
    pub fn range(rows: Range<u64>) -> Self {
        Self {
            schema: schema(),
            rows,
        }
    }
}

impl Iterator for Stars {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty() {
            return None;
        }
        let end = self
            .rows
            .end
            .min(self.rows.start.saturating_add(BATCH_ROWS));
        let rows = self.rows.start..end;
        self.rows.start = end;
        Some(RecordBatch::try_new(
            Arc::clone(&self.schema),
            columns(&rows),
        ))
    }
}

impl RecordBatchReader for Stars {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn columns(rows: &Range<u64>) -> Vec<ArrayRef> {
    let floats = |what: u64, of: fn(Draw) -> f64| -> Vec<f64> {
        rows.clone().map(|row| of(Draw::of(row, what))).collect()
    };
    let ids: Vec<i64> = rows
        .clone()
        .map(|row| 1 + Draw::of(row, draws::SOURCE_ID).below((1 << 62) - 1) as i64)
        .collect();
    let magnitudes: Vec<f32> = rows
        .clone()
        .map(|row| (18.0 + 2.0 * Draw::of(row, draws::G_MAG).normal()) as f32)
        .collect();
    let span = EPOCHS.end.abs_diff(EPOCHS.start);
    let epochs: Vec<i64> = rows
        .clone()
        .map(|row| EPOCHS.start + Draw::of(row, draws::EPOCH).below(span) as i64)
        .collect();
    vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(Float64Array::from(floats(draws::RA, |draw| {
            360.0 * draw.unit()
        }))),
        Arc::new(Float64Array::from(floats(draws::DEC, |draw| {
            (2.0 * draw.unit() - 1.0).asin().to_degrees()
        }))),
        Arc::new(Float64Array::from(floats(
            draws::PARALLAX,
            Draw::exponential,
        ))),
        Arc::new(Float64Array::new(
            floats(draws::PMRA, |draw| 10.0 * draw.normal()).into(),
            nulls(rows, draws::PMRA_NULL),
        )),
        Arc::new(Float32Array::new(
            magnitudes.into(),
            nulls(rows, draws::G_MAG_NULL),
        )),
        Arc::new(names(rows)),
        Arc::new(TimestampMicrosecondArray::new(
            epochs.into(),
            nulls(rows, draws::EPOCH_NULL),
        )),
    ]
}

fn nulls(rows: &Range<u64>, what: u64) -> Option<NullBuffer> {
    let mut valid = BooleanBufferBuilder::new(BATCH_ROWS as usize);
    for row in rows.clone() {
        valid.append(Draw::of(row, what).below(10_000) >= NULLS_PER_10_000);
    }
    Some(NullBuffer::new(valid.finish()))
}

fn names(rows: &Range<u64>) -> StringArray {
    let count = (rows.end - rows.start) as usize;
    let mut bytes = Vec::with_capacity(count * NAME_BYTES_MAX);
    let mut offsets = Vec::with_capacity(count + 1);
    offsets.push(0);
    let nulls = nulls(rows, draws::NAME_NULL);
    for (place, row) in rows.clone().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(place)) {
            let drawn = Draw::of(row, draws::NAME).below(NAME_TYPES.len() as u64 * NAME_NUMBERS);
            append_name(&mut bytes, drawn);
        }
        offsets.push(bytes.len() as i32);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    StringArray::new(offsets, bytes.into(), nulls)
}

fn append_name(out: &mut Vec<u8>, drawn: u64) {
    let number = drawn % NAME_NUMBERS;
    out.extend_from_slice(NAME_TYPES[(drawn / NAME_NUMBERS) as usize].as_bytes());
    out.push(b' ');
    for (least, power) in [(1000, 1000), (100, 100), (10, 10), (0, 1)] {
        if number >= least {
            out.push(b'0' + (number / power % 10) as u8);
        }
    }
}

fn schema() -> SchemaRef {
    let id = [
        (meta::UCD, "meta.id;meta.main"),
        (meta::DESCRIPTION, "Identifier, invented"),
    ];
    let name = [
        (meta::UCD, "meta.id"),
        (meta::DESCRIPTION, "Type of object and a number"),
        (meta::CHARSET, "ascii"),
    ];
    let epoch = [
        (meta::UCD, "time.epoch"),
        (meta::DESCRIPTION, "Time of observation"),
        (meta::TIMESCALE, "TCB"),
        (meta::REFPOSITION, "BARYCENTER"),
    ];
    let motion = "Proper motion in right ascension, times the cosine of the declination";
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = vec![
        column("source_id", DataType::Int64, false, &id),
        place("ra", "pos.eq.ra;meta.main", "Right ascension"),
        place("dec", "pos.eq.dec;meta.main", "Declination"),
        column(
            "parallax",
            DataType::Float64,
            false,
            &measured("mas", "pos.parallax", "Parallax"),
        ),
        column(
            "pmra",
            DataType::Float64,
            true,
            &measured("mas/yr", "pos.pm;pos.eq.ra", motion),
        ),
        column(
            "g_mag",
            DataType::Float32,
            true,
            &measured("mag", "phot.mag;em.opt", "Magnitude in G"),
        ),
        column("name", DataType::Utf8, true, &name),
        column("epoch", micros, true, &epoch),
    ];
    let known = [
        (meta::NAME, "stars"),
        (
            meta::DESCRIPTION,
            "An invented catalogue of stars: no row is real",
        ),
    ];
    let known = known.map(|(key, text)| (key.to_owned(), text.to_owned()));
    Arc::new(Schema::new_with_metadata(fields, Metadata::from(known)))
}

/// A coordinate.
fn place(name: &str, ucd: &str, description: &str) -> Field {
    let mut known = measured("deg", ucd, description).to_vec();
    known.extend([(meta::COOSYS, "ICRS"), (meta::EPOCH, "J2016.0")]);
    column(name, DataType::Float64, false, &known)
}

fn measured<'a>(unit: &'a str, ucd: &'a str, description: &'a str) -> [(&'a str, &'a str); 3] {
    [
        (meta::UNIT, unit),
        (meta::UCD, ucd),
        (meta::DESCRIPTION, description),
    ]
}

fn column(name: &str, data_type: DataType, nullable: bool, known: &[(&str, &str)]) -> Field {
    let known = known
        .iter()
        .map(|(key, text)| (String::from(*key), String::from(*text)));
    let known: Metadata = known.collect();
    Field::new(name, data_type, nullable).with_metadata(known)
}
