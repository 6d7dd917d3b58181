//! A value that is shown can be filtered with: the text of a cell in each text format, as the value of
//! a filter, finds its row again.

use std::{collections::HashSet, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
        Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray,
        FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array,
        Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, NullArray, RunArray,
        StringArray, StringViewArray, Time32MillisecondArray, Time32SecondArray,
        Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
        UInt64Array,
    },
    compute::cast,
    datatypes::{DataType, Field, Int32Type, Schema, i256},
    ipc::writer::FileWriter,
    record_batch::RecordBatch,
};
use datastreamer_engine::{Engine, EngineErrorKind};
use datastreamer_table::{Format, TableEnd, WriterOptions};
use parquet::arrow::ArrowWriter;

use crate::support::{collect, engine_of, ids, scan};

const TEXT_FORMATS: [Format; 6] = [
    Format::Csv,
    Format::Tsv,
    Format::Json,
    Format::Ndjson,
    Format::Html,
    Format::Text,
];

/// A column `v` with these values beside their `id`, counted from 0.
fn table_of(values: ArrayRef) -> RecordBatch {
    let ids = Int64Array::from_iter_values(0..values.len() as i64);
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", values.data_type().clone(), true),
    ];
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), values];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn write_arrow(path: &Path, batch: &RecordBatch) {
    let mut writer = FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
}

/// Writes a Parquet file; `false`: Parquet cannot hold the type.
fn try_write_parquet(path: &Path, batch: &RecordBatch) -> bool {
    let file = File::create(path).unwrap();
    let Ok(mut writer) = ArrowWriter::try_new(file, batch.schema(), None) else {
        return false;
    };
    writer.write(batch).is_ok() && writer.close().is_ok()
}

/// The ids of the rows that a filter finds.
fn found(engine: &Engine, filter: &str) -> Result<Vec<i64>, String> {
    found_by_all(engine, &[filter])
}

fn found_by_all(engine: &Engine, filters: &[&str]) -> Result<Vec<i64>, String> {
    let filters = filters.iter().map(|filter| ("v", *filter));
    let parameters: Vec<_> = filters.chain([("select", "id"), ("order", "id")]).collect();
    let rows = scan(engine, &parameters).map_err(|error| {
        assert_eq!(error.kind(), EngineErrorKind::BadQuery, "{parameters:?}");
        error.to_string()
    })?;
    Ok(ids(&collect(rows)))
}

/// The text of the only cell of a table with one row and one column; `None`: the format cannot hold
/// the value.
fn shown(format: Format, cell: &RecordBatch) -> Option<String> {
    let mut file = Vec::new();
    let options = WriterOptions::default();
    let mut writer = format.writer(&mut file, cell.schema(), &options).unwrap();
    writer.write(cell).ok()?;
    writer.finish(TableEnd::Complete).unwrap();
    let file = String::from_utf8(file).unwrap();
    let text = match format {
        Format::Json | Format::Ndjson => {
            let (_, value) = file.split_once("\"v\":").unwrap();
            let (value, _) = value.rsplit_once('}').unwrap();
            if value == "null" {
                return None;
            }
            value.trim_matches('"').to_owned()
        }
        Format::Html => {
            let (_, value) = file.split_once("<td>")?;
            value.split_once("</td>").unwrap().0.to_owned()
        }
        // Below the name and a rule.
        Format::Text => file.lines().nth(2).unwrap().trim().to_owned(),
        _ => file.lines().nth(1).unwrap().trim_matches('"').to_owned(),
    };
    Some(text)
}

/// Checks that each cell is found by its text, beside those that are shown alike.
fn check_found(what: &str, path: &Path) {
    let engine = engine_of(path);
    let all = collect(scan(&engine, &[("order", "id"), ("select", "v")]).unwrap());
    let nulls = all.column(0).logical_nulls();
    let mut checked = HashSet::new();
    for format in TEXT_FORMATS {
        let cells = (0..all.num_rows()).map(|row| {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            (!is_null)
                .then(|| shown(format, &all.slice(row, 1)))
                .flatten()
        });
        let cells: Vec<_> = cells.collect();
        // Most formats show most values alike.
        for text in cells.iter().flatten() {
            let context = format!("{what} as {}", format.name());
            let is_alike = |cell: &Option<String>| is_equal(cell.as_deref(), text);
            let rows = (0..).zip(&cells).filter(|(_, cell)| is_alike(cell));
            let wanted: Vec<i64> = rows.map(|(row, _)| row).collect();
            if checked.insert((text.clone(), wanted.clone())) {
                assert_eq!(
                    found(&engine, &format!("eq.{text}")),
                    Ok(wanted),
                    "{context}"
                );
            }
        }
        if let Some(text) = cells.iter().flatten().next()
            && format == Format::Csv
        {
            check_operators(&engine, what, text);
        }
    }
}

/// Returns whether a cell is equal to the value of a text. Both zeros are equal.
fn is_equal(cell: Option<&str>, text: &str) -> bool {
    let is_zero = |text: &str| ["0.0", "-0.0"].contains(&text);
    cell.is_some_and(|cell| cell == text || (is_zero(cell) && is_zero(text)))
}

/// Checks the other operators against `eq`.
fn check_operators(engine: &Engine, what: &str, text: &str) {
    let rows = |filter: &str| found(engine, filter).unwrap();
    let equal = rows(&format!("eq.{text}"));
    for filter in [format!("in.(\"{text}\")"), format!("not.neq.{text}")] {
        assert_eq!(rows(&filter), equal, "{what}: {filter}");
    }
    let has_all = |filter: &str| equal.iter().all(|row| rows(filter).contains(row));
    let has_none = |filter: &str| !equal.iter().any(|row| rows(filter).contains(row));
    assert!(has_all(&format!("gte.{text}")), "{what}: gte.{text}");
    assert!(has_all(&format!("lte.{text}")), "{what}: lte.{text}");
    let [eq, one_of] = [format!("eq.{text}"), format!("in.(\"{text}\")")];
    for other in [&one_of, &format!("gte.{text}"), &format!("lte.{text}")] {
        let both = found_by_all(engine, &[&eq, other]).unwrap();
        assert_eq!(both, equal, "{what}: {eq} and {other}");
    }
    for operator in ["gt", "lt", "neq", "not.eq"] {
        let filter = format!("{operator}.{text}");
        assert!(has_none(&filter), "{what}: {filter}");
    }
}

fn check_values(what: &str, values: ArrayRef) {
    let folder = tempfile::tempdir().unwrap();
    let batch = table_of(values);
    let file = folder.path().join("t.arrow");
    write_arrow(&file, &batch);
    check_found(&format!("{what} in Arrow"), &file);
    // The reader of Parquet lacks some dictionaries, and refuses them. One zone is enough.
    if what.starts_with("Dictionary") || what.contains("+02:00") || what.contains("UTC") {
        return;
    }
    let file = folder.path().join("t.parquet");
    if try_write_parquet(&file, &batch) {
        check_found(&format!("{what} in Parquet"), &file);
    }
}

/// Before 1970, and within the hour that Berlin's clocks repeated in 2023 and the one that they left
/// out.
const SECONDS: [i64; 5] = [
    -2_208_988_801,
    -1,
    1_679_792_400,
    1_698_537_600,
    1_698_541_200,
];

#[test]
fn a_time_that_is_shown_is_found_whatever_the_zone_of_its_column() {
    for zone in [None, Some("UTC"), Some("+02:00"), Some("Europe/Berlin")] {
        let times = |per_second: i64, odd: i64| {
            let seconds = SECONDS.iter();
            let mut values: Vec<_> = seconds.map(|time| Some(time * per_second + odd)).collect();
            values.push(None);
            values
        };
        macro_rules! check {
            ($array:ty, $per_second:expr, $odd:expr) => {
                let values = <$array>::from(times($per_second, $odd)).with_timezone_opt(zone);
                check_values(&format!("{}", values.data_type()), Arc::new(values));
            };
        }
        check!(TimestampSecondArray, 1, 0);
        check!(TimestampMillisecondArray, 1_000, 1);
        check!(TimestampMicrosecondArray, 1_000_000, 999_999);
        check!(TimestampNanosecondArray, 1_000_000_000, 123_456_789);
    }
}

/// A column of each type that a text format shows.
fn columns() -> Vec<ArrayRef> {
    let half = |value: f32| {
        let values = Float32Array::from(vec![value]);
        let values = cast(&values, &DataType::Float16).unwrap();
        values
            .as_any()
            .downcast_ref::<Float16Array>()
            .unwrap()
            .value(0)
    };
    let floats = [
        0.1,
        -0.0,
        0.0,
        1e-30,
        16_777_217.0,
        f32::MAX,
        f32::NAN,
        f32::INFINITY,
    ];
    let bytes: [&[u8]; 4] = [b"", b"\x00", b"\x00\xff", b"caf\xc3\xa9"];
    let fixed = [*b"\x00\x01\x02", *b"abc", *b"\xff\xff\xff"];
    let texts = ["a", "b.c", "d,e", "(f)", "not.g", "h:i", "NaN", "null", "0"];
    let nines = i256::from_string(&"9".repeat(76)).unwrap();
    let one = i256::ONE;
    let large = |scale| -> ArrayRef {
        let values = [
            nines,
            nines - one,
            one - nines,
            -nines,
            i256::ZERO,
            one,
            -one,
        ];
        let values = values.into_iter().map(Some).chain([None]);
        let values = Decimal256Array::from_iter(values);
        Arc::new(values.with_precision_and_scale(76, scale).unwrap())
    };
    vec![
        large(0),
        large(1),
        large(40),
        large(75),
        large(76),
        large(-1),
        large(-76),
        Arc::new(
            Decimal32Array::from(vec![-12, -11, 0, 1, 2])
                .with_precision_and_scale(5, -2)
                .unwrap(),
        ),
        Arc::new(
            Decimal64Array::from(vec![-12, -11, 0, 1, 2])
                .with_precision_and_scale(12, -9)
                .unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![10_i128.pow(38) - 1, 10_i128.pow(38) - 2, 1, -1, 0])
                .with_precision_and_scale(38, -38)
                .unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![10_i128.pow(38) - 1, 10_i128.pow(38) - 2, 1, -1, 0])
                .with_precision_and_scale(38, 38)
                .unwrap(),
        ),
        Arc::new(Float16Array::from_iter_values(
            [65504.0, 65472.0, 6e-8, 1.2e-7, 0.333, f32::INFINITY, -0.1].map(half),
        )),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![
            Some(i8::MIN),
            Some(0),
            Some(i8::MAX),
            None,
        ])),
        Arc::new(Int16Array::from(vec![i16::MIN, -1, i16::MAX])),
        Arc::new(Int32Array::from(vec![i32::MIN, 300, i32::MAX])),
        Arc::new(Int64Array::from(vec![i64::MIN, (1 << 53) + 1, i64::MAX])),
        Arc::new(UInt8Array::from(vec![0, 255])),
        Arc::new(UInt64Array::from(vec![0, 1 << 63, u64::MAX - 1, u64::MAX])),
        Arc::new(Float16Array::from_iter_values(
            [0.1, -0.0, 0.0, 65504.0, f32::NAN].map(half),
        )),
        Arc::new(Float32Array::from(floats.to_vec())),
        Arc::new(Float64Array::from(vec![
            Some(0.1),
            Some(-0.0),
            Some(0.0),
            Some(5e-324),
            Some(f64::MAX),
            Some(f64::NAN),
            Some(-f64::NAN),
            Some(f64::NEG_INFINITY),
            Some(f64::INFINITY),
            None,
        ])),
        Arc::new(
            Decimal32Array::from(vec![-5, 0, 110])
                .with_precision_and_scale(9, 2)
                .unwrap(),
        ),
        Arc::new(
            Decimal64Array::from(vec![-5, 0, 110])
                .with_precision_and_scale(18, 3)
                .unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![-10_i128.pow(38) + 1, 0, 10_i128.pow(38) - 1])
                .with_precision_and_scale(38, 10)
                .unwrap(),
        ),
        Arc::new(
            Decimal256Array::from(vec![i256::from_i128(-7), i256::from_i128(10_i128.pow(38))])
                .with_precision_and_scale(76, 40)
                .unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![-12, 0, 12])
                .with_precision_and_scale(5, -2)
                .unwrap(),
        ),
        Arc::new(Date32Array::from(vec![
            Some(-719_162),
            Some(-1),
            Some(0),
            Some(19_783),
            None,
        ])),
        // The second is no midnight, and is shown as its day.
        Arc::new(Date64Array::from(vec![-86_400_000, -1, 0, 86_400_000])),
        Arc::new(Time32SecondArray::from(vec![0, 86_399])),
        Arc::new(Time32MillisecondArray::from(vec![0, 1, 86_399_999])),
        Arc::new(Time64MicrosecondArray::from(vec![0, 1, 86_399_999_999])),
        Arc::new(Time64NanosecondArray::from(vec![0, 1, 86_399_999_999_999])),
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(BinaryArray::from(bytes.to_vec())),
        Arc::new(LargeBinaryArray::from(bytes.to_vec())),
        Arc::new(BinaryViewArray::from(bytes.to_vec())),
        Arc::new(FixedSizeBinaryArray::try_from_iter(fixed.iter()).unwrap()),
        Arc::new(NullArray::new(2)),
    ]
}

#[test]
fn a_value_that_is_shown_is_found_whatever_its_type() {
    for values in columns() {
        check_values(&values.data_type().to_string(), values);
    }
}

#[test]
fn a_value_that_is_shown_is_found_in_dictionaries_and_runs() {
    for values in columns() {
        let data_type = Box::new(values.data_type().clone());
        let in_dictionary = DataType::Dictionary(Box::new(DataType::Int32), data_type);
        if let Ok(values) = cast(&values, &in_dictionary) {
            check_values(&in_dictionary.to_string(), values);
        }
    }
    let ends = Int32Array::from(vec![1, 3]);
    let runs = Float32Array::from(vec![Some(0.1), None]);
    check_values("runs", Arc::new(RunArray::try_new(&ends, &runs).unwrap()));
}

/// What docs/tables.md says of categories: pandas and polars mark those that have an order.
#[test]
fn the_flag_of_ordered_dictionaries_is_not_kept() {
    let values: DictionaryArray<Int32Type> = ["low", "high"].into_iter().collect();
    let values: ArrayRef = Arc::new(values);
    let field = Field::new("v", values.data_type().clone(), false).with_dict_is_ordered(true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![values]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [arrow, parquet] = ["t.arrow", "t.parquet"].map(|name| folder.path().join(name));
    write_arrow(&arrow, &batch);
    assert!(try_write_parquet(&parquet, &batch));
    for file in [arrow, parquet] {
        let rows = collect(scan(&engine_of(&file), &[]).unwrap());
        assert_eq!(rows.schema().field(0).dict_is_ordered(), Some(false));
    }
}
