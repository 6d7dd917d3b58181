//! What a Parquet file says of its values never replaces them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float16Array, Float32Array,
        Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{ArrowPrimitiveType, DataType, Field, Float16Type, Schema},
    record_batch::RecordBatch,
};
use datastreamer_engine::{Engine, Query};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::SortingColumn, properties::WriterProperties},
};
use tempfile::TempDir;

use crate::support::{block_on, collect, engine_of, scan, write_parquet};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// An engine with the table `stars` of one Parquet file.
fn engine_with(columns: Vec<(&str, ArrayRef)>) -> (TempDir, Engine, RecordBatch) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let fields = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, values)| values).collect();
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    write_parquet(&path, &batch);
    let engine = engine_of(&path);
    (folder, engine, batch)
}

fn query(engine: &Engine, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = block_on(engine.query(&Query::new(sql), None)).unwrap();
    let batch = collect(rows);
    let columns = batch.columns().iter();
    let columns = columns.map(|column| {
        let column = cast(column, &DataType::Utf8).unwrap();
        let texts = arrow::array::cast::AsArray::as_string::<i32>(&column).iter();
        texts.map(|text| text.map(Into::into)).collect()
    });
    columns.collect()
}

fn text(value: &str) -> Option<String> {
    Some(value.into())
}

/// The bits of each value, as `NaN` equals nothing and `-0.0` equals `0.0`.
fn bits(column: &dyn Array) -> Vec<Option<u64>> {
    let column = cast(column, &DataType::Float64).unwrap();
    let column = column.as_any().downcast_ref::<Float64Array>().unwrap();
    column.iter().map(|value| value.map(f64::to_bits)).collect()
}

#[test]
fn values_of_a_constant_column_are_read_from_the_file() {
    let nan = vec![Some(1.0), Some(f64::NAN), Some(1.0)];
    let zeros = vec![Some(-0.0), Some(-0.0), Some(-0.0)];
    let with_null = vec![Some(1.5), None, Some(f64::NAN)];
    let only_nan = vec![Some(f64::NAN), Some(f64::NAN), None];
    let half = |values: &[Option<f64>]| -> ArrayRef {
        let values = values.iter().map(|value| value.map(F16::from_f64));
        Arc::new(values.collect::<Float16Array>())
    };
    let single = |values: &[Option<f64>]| -> ArrayRef {
        let values = values.iter().map(|value| value.map(|value| value as f32));
        Arc::new(values.collect::<Float32Array>())
    };
    let double = |values: &[Option<f64>]| -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Float64Array>())
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let cases = [("n", nan), ("z", zeros), ("v", with_null), ("o", only_nan)];
    for (name, values) in &cases {
        columns.push((format!("{name}16"), half(values)));
        columns.push((format!("{name}32"), single(values)));
        columns.push((format!("{name}64"), double(values)));
    }
    let columns = columns.iter();
    let columns = columns.map(|(name, values)| (name.as_str(), Arc::clone(values)));
    let (_folder, engine, batch) = engine_with(columns.collect());
    let read = collect(scan(&engine, &[]).unwrap());
    for (column, values) in batch.columns().iter().enumerate() {
        let name = batch.schema().field(column).name().clone();
        assert_eq!(bits(read.column(column)), bits(values), "{name}");
    }
}

#[test]
fn constants_of_every_type_are_read_as_they_are() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int32Array::from(vec![7, 7, 7]))),
        ("t", Arc::new(StringArray::from(vec!["a", "a", "a"]))),
        (
            "long",
            Arc::new(StringArray::from(vec!["x".repeat(200); 3])),
        ),
        ("b", Arc::new(BooleanArray::from(vec![true, true, true]))),
        ("d", Arc::new(Date32Array::from(vec![19_000; 3]))),
        ("u", Arc::new(TimestampMicrosecondArray::from(vec![1; 3]))),
        (
            "m",
            Arc::new(
                Decimal128Array::from(vec![-5_i128; 3])
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
        ("null", Arc::new(Int64Array::from(vec![None, None, None]))),
        (
            "some",
            Arc::new(Int64Array::from(vec![Some(4), None, Some(4)])),
        ),
    ];
    let (_folder, engine, batch) = engine_with(columns);
    let read = collect(scan(&engine, &[]).unwrap());
    assert_eq!(read.columns(), batch.columns());
}

#[test]
fn conditions_find_nan_and_zeros_with_and_without_statistics() {
    // One row group each: numbers and NaN of both signs, in files that exclude NaN from statistics.
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
    let values = vec![1.0, f64::NAN, negative_nan, -0.0];
    let (_folder, engine, _) = engine_with(vec![
        ("f", Arc::new(Float64Array::from(values.clone()))),
        (
            "g",
            Arc::new(Float32Array::from_iter_values(
                values.iter().map(|value| *value as f32),
            )),
        ),
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
    ]);
    for sql in [
        // `+ 0` hides the column from the statistics.
        "f > 5",
        "f < -5",
        "f <> 1",
        "f >= 0",
        "f <= 0",
        "f = 0",
        "f < 0",
        "f > 0",
        "NOT f <= 5",
        "f > 5 OR f < -5",
        "f NOT IN (1, 2, 3, 4)",
        "f > -5 AND f < 0.5",
        "f BETWEEN 0.5 AND 2",
        "f = 'NaN'::DOUBLE",
        "f > 5 AND f <= 'NaN'::DOUBLE",
        "f IN (0.0, 3.0, 4.0, 7.0)",
        "-0.0 <= f",
        "abs(f) > 5",
        "5 < f",
    ] {
        for column in ["f", "g"] {
            let sql = sql.replace('f', column);
            let hidden = sql.replace(column, &format!("({column} * 1)"));
            let ids = |condition: &str| {
                let sql = format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
                query(&engine, &sql)
            };
            assert_eq!(ids(&sql), ids(&hidden), "{sql}");
        }
    }
}

#[test]
fn the_largest_values_are_found_where_statistics_hide_them() {
    // Row groups of 1000 rows: the first has larger numbers, only the second has NaN.
    let mut values = vec![10.0; 1000];
    values.extend(vec![1.0; 999]);
    values.push(f64::NAN);
    let (_folder, engine, _) = engine_with(vec![
        ("f", Arc::new(Float64Array::from(values))),
        ("id", Arc::new((0..2000).collect::<Int64Array>())),
    ]);
    let first = scan(&engine, &[("order", "f.desc"), ("limit", "1")]).unwrap();
    let ids = crate::support::ids(&collect(first));
    assert_eq!(ids.first(), Some(&1999));
    let sql = "SELECT id FROM stars ORDER BY f DESC LIMIT 1";
    assert_eq!(query(&engine, sql), [[text("1999")]]);
    let found = scan(&engine, &[("f", "eq.NaN")]).unwrap();
    assert_eq!(crate::support::ids(&collect(found)), [1999]);
    let found = scan(&engine, &[("f", "gt.5"), ("id", "gt.998")]).unwrap();
    assert_eq!(crate::support::ids(&collect(found)), [999]);
}

#[test]
fn aggregates_are_of_the_values() {
    let (_folder, engine, _) = engine_with(vec![
        (
            "f",
            Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None])),
        ),
        ("z", Arc::new(Float64Array::from(vec![-0.0, -0.0, -0.0]))),
    ]);
    let sql = "SELECT max(f), min(f), count(*), count(f), max(z) FROM stars";
    let wanted = ["NaN", "1.0", "3", "2", "-0.0"].map(|value| vec![text(value)]);
    assert_eq!(query(&engine, sql), wanted);
}

#[test]
fn rows_are_sorted_whatever_order_a_footer_states() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 1, 2]));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let order = SortingColumn {
        column_idx: 0,
        descending: false,
        nulls_first: false,
    };
    let properties = WriterProperties::builder().set_sorting_columns(Some(vec![order]));
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let engine = engine_of(&path);
    let sorted = scan(&engine, &[("order", "id")]).unwrap();
    assert_eq!(crate::support::ids(&collect(sorted)), [1, 2, 3]);
    let sorted = query(&engine, "SELECT id FROM stars ORDER BY id");
    assert_eq!(sorted, [["1", "2", "3"].map(text)]);
}

/// Two files of the same layout: the index of the pages of one is put into the other, so it states
/// other values than the pages have.
#[test]
fn an_index_of_pages_that_lies_loses_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, first: i64| {
        let path = folder.path().join(name);
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 1000));
        let batch = RecordBatch::try_from_iter([("id", values)]).unwrap();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_write_batch_size(100)
            .set_data_page_row_count_limit(100);
        let file = std::fs::File::create(&path).unwrap();
        let properties = Some(properties.build());
        let mut writer = ArrowWriter::try_new(file, batch.schema(), properties).unwrap();
        writer.write(&batch).unwrap();
        let column = writer.close().unwrap().row_group(0).column(0).clone();
        let start = usize::try_from(column.column_index_offset().unwrap()).unwrap();
        let length = usize::try_from(column.column_index_length().unwrap()).unwrap();
        (path, start..start + length)
    };
    let (path, index) = write("stars.parquet", 1_000_000);
    let (other, same_place) = write("other.parquet", 2_000_000);
    assert_eq!(index, same_place);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[index.clone()].copy_from_slice(&std::fs::read(other).unwrap()[index]);
    std::fs::write(&path, bytes).unwrap();
    let engine = engine_of(&path);
    for (filter, rows) in [
        ("eq.1000123", 1),
        ("lt.1000123", 123),
        ("not.is.null", 1000),
    ] {
        let found = collect(scan(&engine, &[("id", filter)]).unwrap());
        assert_eq!(found.num_rows(), rows, "{filter}");
    }
}

#[test]
fn nan_is_greater_than_all_numbers_in_groups() {
    let (nan, inf) = (Some(f64::NAN), Some(f64::INFINITY));
    let minus = Some(f64::NEG_INFINITY);
    let groups = [
        vec![Some(-2.0), nan, Some(1.5), None],
        vec![nan, Some(1.5), minus, nan, Some(2.0)],
        vec![inf, inf],
        vec![minus, None, minus],
        vec![nan, None, nan],
        vec![None, None],
        vec![None, Some(7.5), Some(-0.5), inf],
    ];
    let least = ["-2.0", "-inf", "inf", "-inf", "NaN", "", "-0.5"];
    let greatest = ["NaN", "NaN", "inf", "-inf", "NaN", "", "inf"];
    let of = |values: [&'static str; 7]| {
        let values = values.into_iter();
        values.map(|value| (!value.is_empty()).then(|| value.to_string()))
    };
    let rows = groups.iter().enumerate();
    let rows = rows.flat_map(|(group, values)| values.iter().map(move |value| (group, *value)));
    let (group, values): (Vec<_>, Vec<_>) = rows.unzip();
    let group: Int64Array = group.iter().map(|group| Some(*group as i64)).collect();
    let double: ArrayRef = Arc::new(Float64Array::from(values));
    let (_folder, engine, _) = engine_with(vec![
        ("g", Arc::new(group)),
        ("f16", cast(&double, &DataType::Float16).unwrap()),
        ("f32", cast(&double, &DataType::Float32).unwrap()),
        ("f64", double),
    ]);
    for column in ["f16", "f32", "f64"] {
        let extremes = format!("CAST(min({column}) AS DOUBLE), CAST(max({column}) AS DOUBLE)");
        let found = query(
            &engine,
            &format!("SELECT {extremes} FROM stars GROUP BY g ORDER BY g"),
        );
        assert!(
            found[0].iter().cloned().eq(of(least)),
            "{column}: {found:?}"
        );
        assert!(
            found[1].iter().cloned().eq(of(greatest)),
            "{column}: {found:?}"
        );
        for (group, least) in found[0].iter().enumerate() {
            let alone = query(
                &engine,
                &format!("SELECT {extremes} FROM stars WHERE g = {group}"),
            );
            assert_eq!(&alone[0][0], least, "{column}");
            assert_eq!(alone[1][0], found[1][group], "{column}");
        }
        let filtered = format!(
            "SELECT CAST(min({column}) FILTER (WHERE {column} < 0) AS DOUBLE) FROM stars \
             GROUP BY g ORDER BY g"
        );
        let negative = ["-2.0", "-inf", "", "-inf", "", "", "-0.5"];
        assert!(
            query(&engine, &filtered)[0]
                .iter()
                .cloned()
                .eq(of(negative)),
            "{column}"
        );
    }
    let names =
        collect(block_on(engine.query(&Query::new("SELECT min(f64) FROM stars"), None)).unwrap());
    assert_eq!(names.schema().field(0).name(), "min(f64)");
}
