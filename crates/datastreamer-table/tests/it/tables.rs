//! Tables that hold everything, and other people's readers of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
        FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
        Int16Array, Int32Array, Int64Array, ListArray, StringArray, Time64MicrosecondArray,
        TimestampMicrosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array,
        UInt64Array,
    },
    datatypes::{Field, Float32Type, Int16Type, Schema},
    ipc::writer::StreamWriter,
    record_batch::RecordBatch,
};
use datastreamer_table::{
    TableEnd, TableWriter,
    csv::{CsvWriter, Delimiter},
    fits::FitsSpool,
    votable::{Serialization, Version, VotableOptions, VotableWriter},
};

/// Room for every table of the tests.
const SPOOL_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Votable(Serialization),
    Fits,
    Csv,
    Tsv,
}

pub(crate) const ALL: [Format; 6] = [
    Format::Votable(Serialization::Tabledata),
    Format::Votable(Serialization::Binary),
    Format::Votable(Serialization::Binary2),
    Format::Fits,
    Format::Csv,
    Format::Tsv,
];

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Votable(Serialization::Tabledata) => "votable-tabledata",
            Self::Votable(Serialization::Binary) => "votable-binary",
            Self::Votable(Serialization::Binary2) => "votable-binary2",
            Self::Fits => "fits",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        }
    }

    /// The whole table as a file's bytes.
    pub(crate) fn encode(self, batches: &[RecordBatch]) -> Vec<u8> {
        let mut file = Vec::new();
        let schema = batches[0].schema();
        let mut writer: Box<dyn TableWriter> = match self {
            Self::Votable(serialization) => {
                let options = VotableOptions {
                    serialization,
                    version: Version::V1_4,
                };
                Box::new(VotableWriter::new(&mut file, schema, options).unwrap())
            }
            Self::Csv => Box::new(CsvWriter::new(&mut file, schema, Delimiter::Comma).unwrap()),
            Self::Tsv => Box::new(CsvWriter::new(&mut file, schema, Delimiter::Tab).unwrap()),
            Self::Fits => return fits(batches),
        };
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish(TableEnd::Complete).unwrap();
        file
    }

    /// Encodes a table and has others compare it with its source, value by value.
    pub(crate) fn reads_back(self, batches: &[RecordBatch]) {
        all_read_back([self], &[batches]);
    }
}

/// Encodes each table in each format and has others compare them with their sources, value by
/// value.
pub(crate) fn all_read_back(formats: impl IntoIterator<Item = Format>, tables: &[&[RecordBatch]]) {
    compare_all(formats.into_iter().flat_map(|format| {
        let cases = tables.iter();
        cases.map(move |&batches| (format.name(), batches, format.encode(batches)))
    }));
}

/// Has others compare a file with its source, value by value.
pub(crate) fn reads_back(format: Format, batches: &[RecordBatch], encoded: &[u8]) {
    compare(format.name(), batches, encoded);
}

/// The same, of a format that only has its name.
pub(crate) fn compare(format: &str, batches: &[RecordBatch], encoded: &[u8]) {
    compare_all([(format, batches, encoded)]);
}

/// The same, of many files: the name of the format, the source, the file. Python starts once for
/// all of them, which takes longer than to compare a small table.
pub(crate) fn compare_all<'a>(
    cases: impl IntoIterator<Item = (&'a str, &'a [RecordBatch], impl AsRef<[u8]>)>,
) {
    let directory = tempfile::tempdir().unwrap();
    for (number, (format, batches, encoded)) in cases.into_iter().enumerate() {
        let source = directory.path().join(format!("{number}.arrows"));
        write_source(&source, batches);
        let file = directory.path().join(format!("{number}.{format}"));
        fs::write(&file, encoded).unwrap();
    }
    compare_directory(directory.path()).unwrap_or_else(|said| panic!("{said}"));
}

/// Has others compare each file `NAME.FORMAT` with its source, `NAME.arrows`.
///
/// # Errors
/// The first file that differs, and how. A directory without sources is an error too.
pub(crate) fn compare_directory(directory: &Path) -> Result<(), String> {
    let output = Command::new(python())
        .arg(manifest().join("tests/readers/compare_table.py"))
        .arg(directory)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Writes what a table is compared with.
pub(crate) fn write_source(path: &Path, batches: &[RecordBatch]) {
    let file = File::create(path).unwrap();
    let mut writer = StreamWriter::try_new(file, &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

fn fits(batches: &[RecordBatch]) -> Vec<u8> {
    let directory = std::env::temp_dir();
    let mut spool = FitsSpool::new(batches[0].schema(), &directory, SPOOL_BYTES_MAX).unwrap();
    for batch in batches {
        spool.write(batch).unwrap();
    }
    let table = spool.finish().unwrap();
    let (mut file, bytes) = (Vec::new(), table.bytes());
    table.write_to(&mut file).unwrap();
    assert_eq!(file.len() as u64, bytes, "the length that was told");
    file
}

pub(crate) fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that `scripts/install-test-tools` has set up.
pub(crate) fn python() -> PathBuf {
    manifest().join("../../.tools/venv/bin/python")
}

/// A table of these columns, all nullable.
pub(crate) fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(schema, arrays).unwrap()
}

/// Every number and time that all formats hold, with nulls and the extremes that BINARY, whose
/// nulls are values, leaves free.
pub(crate) fn numbers() -> RecordBatch {
    table(vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                Some(true),
            ])),
        ),
        (
            "i8",
            Arc::new(Int8Array::from(vec![
                Some(i8::MIN),
                None,
                Some(i8::MAX),
                Some(0),
            ])),
        ),
        (
            "i16",
            Arc::new(Int16Array::from(vec![
                Some(i16::MIN + 1),
                None,
                Some(i16::MAX),
                Some(-1),
            ])),
        ),
        (
            "i32",
            Arc::new(Int32Array::from(vec![
                Some(i32::MIN + 1),
                None,
                Some(i32::MAX),
                Some(7),
            ])),
        ),
        (
            "i64",
            Arc::new(Int64Array::from(vec![
                Some(i64::MIN + 1),
                None,
                Some(i64::MAX),
                Some(7),
            ])),
        ),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![Some(0), None, Some(254), Some(7)])),
        ),
        (
            "u16",
            Arc::new(UInt16Array::from(vec![
                Some(0),
                None,
                Some(u16::MAX),
                Some(7),
            ])),
        ),
        (
            "u32",
            Arc::new(UInt32Array::from(vec![
                Some(0),
                None,
                Some(u32::MAX),
                Some(7),
            ])),
        ),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![
                Some(1),
                Some(u64::MAX),
                Some(1 << 63),
                Some(7),
            ])),
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![
                Some(f32::MIN_POSITIVE),
                None,
                Some(f32::INFINITY),
                Some(f32::NAN),
            ])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![
                Some(-0.0),
                None,
                Some(f64::NEG_INFINITY),
                Some(f64::MAX),
            ])),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), None, Some(5), Some(0)])
                    .with_precision_and_scale(20, 3)
                    .unwrap(),
            ),
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![
                Some(-719_528),
                None,
                Some(2_932_896),
                Some(0),
            ])),
        ),
        (
            "second",
            Arc::new(TimestampSecondArray::from(vec![
                Some(-1),
                None,
                Some(1_700_000_000),
                Some(0),
            ])),
        ),
        (
            "micro",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(-1),
                None,
                Some(1_700_000_000_123_456),
                Some(0),
            ])),
        ),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999_999),
                Some(1),
            ])),
        ),
    ])
}

/// Texts that are hard on XML, quotes and lines; none that FITS, which holds ASCII, cannot hold.
pub(crate) fn printable_texts() -> RecordBatch {
    table(vec![
        (
            "text",
            Arc::new(StringArray::from(vec![
                Some("plain"),
                None,
                Some("<a href=\"x\">&amp;]]></a>"),
                Some("comma, \"quote\" 'n' \\t \\"),
                Some(""),
            ])),
        ),
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]))),
    ])
}

/// Texts beyond ASCII, with what lines end with.
pub(crate) fn unicode_texts() -> RecordBatch {
    table(vec![
        (
            "text",
            Arc::new(StringArray::from(vec![
                Some("déjà vu \u{2603} \u{1f680} \u{feff}\u{fdd0}"),
                Some("two\r\nlines\tand a tab."),
                None,
            ])),
        ),
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3]))),
    ])
}

/// Lists of numbers, and bytes.
pub(crate) fn lists() -> RecordBatch {
    let list = vec![
        Some(vec![Some(1), Some(-2), Some(3)]),
        None,
        Some(vec![]),
        Some(vec![Some(7)]),
    ];
    let fixed = vec![
        Some(vec![Some(0.5), Some(-1.5)]),
        Some(vec![Some(f32::INFINITY), Some(0.0)]),
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(3.0), Some(4.0)]),
    ];
    table(vec![
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(list)),
        ),
        (
            "pair",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(fixed, 2)),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(b"\x00\xff"),
                Some(b"a"),
                None,
                Some(b""),
            ])),
        ),
    ])
}

/// Fixed-size arrays of one element, null as a whole or within.
pub(crate) fn arrays_of_one() -> RecordBatch {
    let bytes = [Some([0_u8]), None, Some([254])];
    let bytes = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 1);
    let ints = [Some([Some(1)]), None, Some([None])];
    let floats = [Some([Some(0.5)]), None, Some([None])];
    table(vec![
        ("byte", Arc::new(bytes.unwrap())),
        (
            "int",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Int16Type, _, _>(
                ints, 1,
            )),
        ),
        (
            "float",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(floats, 1)),
        ),
    ])
}
