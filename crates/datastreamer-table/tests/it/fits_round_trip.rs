//! Tables that our own writer makes come back as they were.

use std::{fs::File, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
        Int8Array, Int16Array, Int64Array, ListArray, StringArray, UInt8Array, UInt16Array,
        UInt32Array, UInt64Array,
    },
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Float32Type, Int16Type, Schema, TimeUnit},
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_rows::stars::Stars;
use datastreamer_table::fits::FitsFile;
use datastreamer_table::{fits::FitsSpool, meta};

use crate::fits_astropy::whole;

/// Writes a table, and opens it.
pub(crate) fn written(batches: &[RecordBatch]) -> (tempfile::TempDir, FitsFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    let schema = batches[0].schema();
    let mut spool = FitsSpool::new(schema, directory.path(), 1 << 30).unwrap();
    for batch in batches {
        spool.write(batch).unwrap();
    }
    let mut file = File::create(&path).unwrap();
    spool.finish().unwrap().write_to(&mut file).unwrap();
    let table = FitsFile::open(&path).unwrap();
    (directory, table)
}

#[test]
fn the_stars_come_back_with_their_nulls_and_what_is_known_of_them() {
    let stars = Stars::new(20_000);
    let schema = stars.schema();
    let batches: Vec<RecordBatch> = stars.map(Result::unwrap).collect();
    let (_directory, table) = written(&batches);
    let found = whole(&table, 4096);
    let source = concat_batches(&schema, &batches).unwrap();
    for (column, (found, source)) in found.columns().iter().zip(source.columns()).enumerate() {
        match column {
            // A float that is null is NaN in FITS.
            4 | 5 => {
                let found = cast(found, &DataType::Float64).unwrap();
                let source = cast(source, &DataType::Float64).unwrap();
                assert_eq!(floats(&found), floats(&source));
            }
            // A time is text in FITS.
            7 => assert_eq!(&cast(found, source.data_type()).unwrap(), source),
            _ => assert_eq!(found, source),
        }
    }
    for (found, own) in found.schema().fields().iter().zip(schema.fields()) {
        for key in [
            meta::UNIT,
            meta::UCD,
            meta::DESCRIPTION,
            meta::COOSYS,
            meta::TIMESCALE,
            meta::REFPOSITION,
        ] {
            assert_eq!(meta::of_column(found, key), meta::of_column(own, key));
        }
    }
    let name = |schema: &Schema| meta::of_table(schema, meta::NAME).map(str::to_owned);
    assert_eq!(name(&found.schema()), Some("stars".to_owned()));
}

fn floats(array: &dyn Array) -> Vec<u64> {
    let array = array.as_any().downcast_ref::<Float64Array>().unwrap();
    let bits = array.iter().map(|value| value.map(f64::to_bits));
    let nan = f64::NAN.to_bits();
    bits.map(|bits| bits.unwrap_or(nan)).collect()
}

#[test]
fn integers_logicals_texts_and_lists_come_back() {
    let list = vec![
        Some(vec![Some(1), Some(-2)]),
        Some(vec![]),
        Some(vec![Some(i16::MAX)]),
    ];
    let pairs = vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(f32::INFINITY), Some(-0.0)]),
        Some(vec![Some(3.0), Some(4.0)]),
    ];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        ("i8", Arc::new(Int8Array::from(vec![i8::MIN, 0, i8::MAX]))),
        (
            "u8",
            Arc::new(UInt8Array::from(vec![Some(0), None, Some(255)])),
        ),
        (
            "i16",
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)])),
        ),
        ("u16", Arc::new(UInt16Array::from(vec![0, 1, u16::MAX]))),
        ("u32", Arc::new(UInt32Array::from(vec![0, 1, u32::MAX]))),
        (
            "i64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        ),
        (
            "u64",
            Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)])),
        ),
        (
            "f32",
            Arc::new(Float32Array::from(vec![f32::MIN_POSITIVE, -0.0, f32::MAX])),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("a 'b'"), None, Some("<&>")])),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(list)),
        ),
        (
            "pair",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(pairs, 2)),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"a"])),
        ),
    ];
    let source = RecordBatch::try_from_iter(columns).unwrap();
    let (_directory, table) = written(std::slice::from_ref(&source));
    let found = whole(&table, 2);
    for (place, field) in source.schema().fields().iter().enumerate() {
        let (found, source) = (found.column(place), source.column(place));
        assert_eq!(
            text_of(found, source),
            text_of(source, source),
            "{}",
            field.name()
        );
    }
}

/// Values as text: what differs is only whether elements may be null, and that bytes are a list.
fn text_of(array: &ArrayRef, source: &ArrayRef) -> Vec<String> {
    let bytes = source.as_any().is::<BinaryArray>() && !array.as_any().is::<BinaryArray>();
    (0..array.len())
        .map(|row| match array.as_any().downcast_ref::<ListArray>() {
            Some(list) if bytes => {
                let value = list.value(row);
                let value = value.as_any().downcast_ref::<UInt8Array>().unwrap();
                value
                    .values()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect()
            }
            _ => arrow::util::display::array_value_to_string(array, row).unwrap(),
        })
        .collect()
}

#[test]
fn timestamps_and_dates_come_back_as_texts_that_say_so() {
    let zone = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    let boxed = Box::new(DataType::Timestamp(TimeUnit::Nanosecond, None));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), boxed);
    for (data_type, expected) in [
        (zone, Some("timestamp")),
        (dictionary, Some("timestamp")),
        (DataType::Date32, Some("timestamp")),
        (DataType::Date64, Some("timestamp")),
        (DataType::Time32(TimeUnit::Second), None),
        (DataType::Utf8, None),
    ] {
        let schema = Arc::new(Schema::new(vec![Field::new("t", data_type, true)]));
        let (_directory, table) = written(&[RecordBatch::new_empty(schema)]);
        let schema = table.schema();
        let field = schema.field(0);
        assert_eq!(field.data_type(), &DataType::Utf8);
        assert_eq!(meta::of_column(field, meta::XTYPE), expected);
    }
}

#[test]
fn a_table_without_rows_and_one_without_columns_are_read() {
    let (_directory, table) = written(&[Stars::new(1).next().unwrap().unwrap().slice(0, 0)]);
    assert_eq!(table.rows(), 0);
    assert_eq!(table.reader(None, 0..0, 10).unwrap().count(), 0);
    assert_eq!(table.read(0..0, None).unwrap().num_columns(), 8);
}
