//! Folders of files whose columns differ: one lacks a column, or has narrower types.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
        ListArray, RecordBatch, RunArray, Scalar, StringArray, UInt8Array, cast::AsArray,
        new_null_array,
    },
    compute::{CastOptions, cast, cast_with_options, concat, kernels::cmp},
    datatypes::{DataType, Field, Float64Type, Int8Type, Int32Type, Int64Type, Schema, TimeUnit},
    ipc,
    util::display::array_value_to_string,
};
use datastreamer_engine::{Query, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::support::{block_on, collect, engine, engine_of, ids, scan, texts, write_parquet};

fn batch(columns: Vec<(&str, ArrayRef, bool)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, values, nullable)| Field::new(*name, values.data_type().clone(), *nullable));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, values, _)| values).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn rows(path: &Path, parameters: &[(&str, &str)]) -> RecordBatch {
    collect(scan(&engine_of(path), parameters).unwrap())
}

#[test]
fn a_column_that_a_file_lacks_is_null_there_even_if_others_require_it() {
    let without = || batch(vec![("id", integers(&[1, 2]), false)]);
    let with = || {
        let more = vec![
            ("id", integers(&[3]), false),
            ("more", integers(&[30]), false),
        ];
        batch(more)
    };
    for names in [["a", "b"], ["b", "a"]] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(format!("{name}.parquet"));
        write_parquet(&path(names[0]), &without());
        write_parquet(&path(names[1]), &with());
        let all = rows(folder.path(), &[("order", "id")]);
        assert_eq!(ids(&all), [1, 2, 3]);
        let more = texts(&all, "more");
        assert_eq!(more, [None, None, Some("30".to_owned())]);
        for (filter, expected) in [
            ("is.null", &[1, 2][..]),
            ("not.is.null", &[3]),
            ("eq.30", &[3]),
            ("neq.31", &[3]),
            ("gt.0", &[3]),
        ] {
            let parameters = [("more", filter), ("order", "id")];
            assert_eq!(ids(&rows(folder.path(), &parameters)), expected, "{filter}");
        }
        let only = rows(
            folder.path(),
            &[("select", "more"), ("order", "more.desc.nullslast")],
        );
        let only = texts(&only, "more");
        assert_eq!(only, [Some("30".to_owned()), None, None]);
    }
}

#[test]
fn a_column_that_a_line_of_another_file_lacks_is_null_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.ndjson"), "{\"id\":1}\n").unwrap();
    fs::write(
        folder.path().join("b.ndjson"),
        "{\"more\":\"x\",\"id\":2}\n",
    )
    .unwrap();
    let all = rows(folder.path(), &[]);
    assert_eq!(ids(&all), [1, 2]);
    assert_eq!(texts(&all, "more"), [None, Some("x".to_owned())]);
}

#[test]
fn objects_without_members_are_rows_of_nulls() {
    for names in [["a", "b"], ["b", "a"]] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(format!("{name}.ndjson"));
        fs::write(path(names[0]), "{}\n{}\n").unwrap();
        let alone = TableFiles::find(folder.path()).unwrap();
        let alone = block_on(engine().register("stars", alone, &ColumnMetadata::default()));
        let error = alone.map(drop).unwrap_err().to_string();
        assert!(error.contains("has no columns"), "{error}");
        fs::write(path(names[1]), "{\"id\":1,\"more\":\"x\"}\n").unwrap();
        let engine = engine_of(folder.path());
        let all = collect(scan(&engine, &[("order", "id.asc.nullslast")]).unwrap());
        assert_eq!(texts(&all, "more"), [Some("x".to_owned()), None, None]);
        assert_eq!(
            collect(scan(&engine, &[("id", "is.null")]).unwrap()).num_rows(),
            2
        );
        // A file that comes later may be one too.
        fs::write(path("c"), "{}\n").unwrap();
        assert_eq!(collect(scan(&engine, &[]).unwrap()).num_rows(), 4);
    }
}

#[test]
fn a_narrower_type_is_widened_in_either_order_and_when_it_comes_later() {
    let list = |values: ArrayRef| -> ArrayRef {
        let lists = vec![Some(vec![Some(1), Some(i32::MAX)])];
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
        let field = Field::new("item", values.data_type().clone(), true);
        cast(&list, &DataType::List(Arc::new(field))).unwrap()
    };
    let narrow = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![i32::MIN])), false),
        ("small", Arc::new(UInt8Array::from(vec![255])), true),
        ("real", Arc::new(Float32Array::from(vec![0.1])), true),
        ("list", list(Arc::new(Int32Array::from(vec![0]))), true),
    ]);
    let wide = batch(vec![
        ("id", integers(&[i64::MAX]), false),
        ("small", integers(&[-1]), true),
        ("real", Arc::new(Float64Array::from(vec![0.1])), true),
        ("list", list(integers(&[0])), true),
    ]);
    let check = |all: &RecordBatch| {
        assert_eq!(ids(all), [i64::from(i32::MIN), i64::MAX]);
        let small = all.column_by_name("small").unwrap();
        assert_eq!(small.as_primitive::<Int64Type>().values(), &[255, -1]);
        let real = all.column_by_name("real").unwrap();
        let real = real.as_primitive::<Float64Type>().values();
        assert_eq!(real, &[f64::from(0.1_f32), 0.1]);
        let list = all
            .column_by_name("list")
            .unwrap()
            .as_list::<i32>()
            .values();
        let largest = i64::from(i32::MAX);
        assert_eq!(
            list.as_primitive::<Int64Type>().values(),
            &[1, largest, 1, largest]
        );
    };
    for names in [["a", "b"], ["b", "a"]] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(format!("{name}.parquet"));
        write_parquet(&path(names[1]), &wide);
        let opened_before = engine_of(folder.path());
        write_parquet(&path(names[0]), &narrow);
        for engine in [&engine_of(folder.path()), &opened_before] {
            check(&collect(scan(engine, &[("order", "id")]).unwrap()));
            for (filter, count) in [
                ("eq.-2147483648", 1),
                ("lt.0", 1),
                ("gte.0", 1),
                ("gt.2147483647", 1),
            ] {
                let found = collect(scan(engine, &[("id", filter)]).unwrap());
                assert_eq!(found.num_rows(), count, "{filter}");
            }
        }
    }
}

#[test]
fn files_whose_types_no_column_can_hold_are_refused_alike_at_the_start_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let whole = batch(vec![("id", integers(&[1]), false)]);
    write_parquet(&folder.path().join("a.parquet"), &whole);
    let opened_before = engine_of(folder.path());
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    write_parquet(
        &folder.path().join("b.parquet"),
        &batch(vec![("id", doubles, false)]),
    );
    let files = TableFiles::find(folder.path()).unwrap();
    let start = block_on(engine().register("stars", files, &ColumnMetadata::default()));
    let start = start.map(drop).unwrap_err().to_string();
    let later = scan(&opened_before, &[]).err().unwrap().to_string();
    for error in [start, later] {
        assert!(
            error.contains("b.parquet") && error.contains("64-bit float in column \"id\""),
            "{error}"
        );
    }
}

/// Types of two files of a folder, texts of values of each, and the type of the column.
type Mixture = (
    DataType,
    Vec<&'static str>,
    DataType,
    Vec<&'static str>,
    DataType,
);

fn mixtures() -> Vec<Mixture> {
    use DataType as T;
    let seconds = |zone: Option<&str>| T::Timestamp(TimeUnit::Second, zone.map(Into::into));
    let millis = |zone: Option<&str>| T::Timestamp(TimeUnit::Millisecond, zone.map(Into::into));
    let nanos = |zone: Option<&str>| T::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    let of_texts = |key: T, values: T| T::Dictionary(Box::new(key), Box::new(values));
    let words = || vec!["", "a b", "\u{fc}", "a longer text than a view holds"];
    let more = || vec!["z", "", "another text that is longer", "a b"];
    vec![
        (T::Utf8, words(), T::LargeUtf8, more(), T::LargeUtf8),
        (T::Utf8, words(), T::Utf8View, more(), T::Utf8View),
        (T::LargeUtf8, words(), T::Utf8View, more(), T::LargeUtf8),
        (
            T::Utf8,
            words(),
            of_texts(T::Int8, T::Utf8),
            more(),
            T::Utf8,
        ),
        (
            of_texts(T::Int32, T::Utf8),
            words(),
            T::LargeUtf8,
            more(),
            T::LargeUtf8,
        ),
        (
            of_texts(T::Int32, T::Utf8),
            words(),
            T::Utf8View,
            more(),
            T::Utf8View,
        ),
        (
            of_texts(T::Int32, T::Utf8),
            words(),
            of_texts(T::Int8, T::Utf8),
            more(),
            of_texts(T::Int32, T::Utf8),
        ),
        (T::Binary, words(), T::LargeBinary, more(), T::LargeBinary),
        (T::Binary, words(), T::BinaryView, more(), T::BinaryView),
        (
            nanos(Some("UTC")),
            vec![
                "1677-09-21T00:12:43.145224193Z",
                "2024-01-01T00:00:00.000000001Z",
            ],
            millis(Some("+00:00")),
            vec![
                "2024-01-01T00:00:00Z",
                "2262-04-11T23:47:16.854Z",
                "1969-12-31T23:59:59.999Z",
            ],
            nanos(Some("UTC")),
        ),
        (
            seconds(Some("Europe/Berlin")),
            vec!["2024-03-31T02:30:00Z", "1900-01-01T00:00:00Z"],
            seconds(Some("Etc/UTC")),
            vec!["2024-03-31T01:30:00Z", "2024-10-27T01:00:00Z"],
            seconds(Some("Europe/Berlin")),
        ),
        (
            seconds(None),
            vec!["0001-01-01T00:00:00", "9999-12-31T23:59:59"],
            millis(None),
            vec!["0001-01-01T00:00:00.001", "2024-02-29T12:00:00.999"],
            millis(None),
        ),
        (
            T::Time32(TimeUnit::Millisecond),
            vec!["00:00:00", "23:59:59.999"],
            T::Time64(TimeUnit::Microsecond),
            vec!["00:00:00.000001", "23:59:59.999999"],
            T::Time64(TimeUnit::Microsecond),
        ),
        (
            T::Time32(TimeUnit::Millisecond),
            vec!["00:00:00", "23:59:59.999"],
            T::Time64(TimeUnit::Nanosecond),
            vec!["00:00:00.000000001", "23:59:59.999999999"],
            T::Time64(TimeUnit::Nanosecond),
        ),
        (
            T::Date32,
            vec!["0001-01-01", "9999-12-31"],
            T::Date64,
            vec!["1969-12-31", "2024-02-29"],
            T::Date64,
        ),
        (
            T::Decimal128(10, 2),
            vec!["99999999.99", "-99999999.99", "1.50"],
            T::Decimal128(12, 6),
            vec!["-999999.999999", "0.000001", "1.500000"],
            T::Decimal128(14, 6),
        ),
        (
            T::Decimal128(38, 0),
            vec!["99999999999999999999999999999999999999", "-1"],
            T::Decimal128(38, 38),
            vec!["0.99999999999999999999999999999999999999", "-0.5"],
            T::Decimal256(76, 38),
        ),
        (
            T::Int32,
            vec!["-2147483648", "2147483647", "-1"],
            T::UInt32,
            vec!["4294967295", "0"],
            T::Int64,
        ),
        (T::Int8, vec!["-128"], T::UInt8, vec!["255"], T::Int16),
        (
            T::Int64,
            vec!["-9223372036854775808"],
            T::UInt32,
            vec!["4294967295"],
            T::Int64,
        ),
        (
            T::Int32,
            vec!["-2147483648", "2147483647"],
            T::Float64,
            vec!["2147483647.5", "-0.0", "1e300"],
            T::Float64,
        ),
        (
            T::Int16,
            vec!["-32768", "32767", "0"],
            T::Float32,
            vec!["0.1", "16777216", "-0.0"],
            T::Float32,
        ),
        (
            T::UInt32,
            vec!["4294967295"],
            T::Float32,
            vec!["0.1", "3e38"],
            T::Float64,
        ),
        (
            T::Float16,
            vec!["65504", "0.1"],
            T::Float32,
            vec!["0.1", "1e38"],
            T::Float32,
        ),
    ]
}

fn values(texts: &[&str], data_type: &DataType) -> ArrayRef {
    let texts = texts.iter().copied().map(Some).chain([None]);
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    let exact = CastOptions {
        safe: false,
        ..Default::default()
    };
    let between = match data_type {
        DataType::Float16 => DataType::Float32,
        _ => data_type.clone(),
    };
    let values = cast_with_options(&texts, &between, &exact).unwrap();
    cast_with_options(&values, data_type, &exact).unwrap()
}

fn write_arrow(path: &Path, batch: &RecordBatch, is_stream: bool) {
    let file = fs::File::create(path).unwrap();
    if is_stream {
        let mut writer = ipc::writer::StreamWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
    } else {
        let mut writer = ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
    }
}

/// The right values are Arrow's casts of each file's values, and the right rows of a filter are those
/// of Arrow's comparison of the complete column.
#[test]
fn columns_whose_types_hold_the_same_values_are_one_in_parquet_and_arrow() {
    for (one, ones, other, others, both) in mixtures() {
        for (first, second, suffix) in [
            ("a", "b", "parquet"),
            ("b", "a", "parquet"),
            ("a", "b", "arrow"),
            ("b", "a", "arrow"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let files = [(first, &one, &ones, false), (second, &other, &others, true)];
            for (name, data_type, texts, is_stream) in files {
                let batch = batch(vec![("x", values(texts, data_type), true)]);
                let path = folder.path().join(format!("{name}.{suffix}"));
                match suffix {
                    "parquet" => write_parquet(&path, &batch),
                    _ => write_arrow(&path, &batch, is_stream),
                }
            }
            let what = format!("{one} and {other}, {suffix}, {first}");
            let files = TableFiles::find(folder.path()).unwrap();
            let engine = engine();
            let opened = block_on(engine.register("stars", files, &ColumnMetadata::default()));
            opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            let all = collect(scan(&engine, &[]).unwrap());
            let column = all.column(0);
            let is_zoned = matches!(both, DataType::Timestamp(_, Some(_)));
            // Times have the zone of the first file.
            let both = match (is_zoned, first) {
                (true, "b") => match (&both, &other) {
                    (DataType::Timestamp(unit, _), DataType::Timestamp(_, zone)) => {
                        DataType::Timestamp(*unit, zone.clone())
                    }
                    _ => unreachable!(),
                },
                _ => both.clone(),
            };
            assert_eq!(*column.data_type(), both, "{what}");
            let of = |texts, data_type| cast(&values(texts, data_type), &both).unwrap();
            let expected = match first {
                "a" => [of(&ones, &one), of(&others, &other)],
                _ => [of(&others, &other), of(&ones, &one)],
            };
            let expected = concat(&[&expected[0], &expected[1]]).unwrap();
            assert_eq!(column, &expected, "{what}");
            check_filters(&engine, column, &what);
        }
    }
}

/// Each value is found by what Arrow shows of it, and compares as Arrow's kernels do.
fn check_filters(engine: &datastreamer_engine::Engine, column: &ArrayRef, what: &str) {
    for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
        let value = Scalar::new(column.slice(row, 1));
        let shown = match array_value_to_string(column, row).unwrap() {
            shown if *column.data_type() == DataType::Date64 => shown.replace("T00:00:00", ""),
            shown if column.data_type().is_temporal() => shown.replace(' ', "T"),
            shown => shown,
        };
        // Both zeros are equal for a reader.
        if column.data_type().is_floating() && shown.trim_start_matches('-') == "0.0" {
            continue;
        }
        for (operator, expected) in [
            ("eq", cmp::eq(column, &value)),
            ("gt", cmp::gt(column, &value)),
            ("lte", cmp::lt_eq(column, &value)),
        ] {
            let filter = format!("{operator}.{shown}");
            let found = scan(engine, &[("x", &filter)]);
            let found = found.unwrap_or_else(|error| panic!("{what}: {filter}: {error}"));
            let expected = expected.unwrap().true_count();
            assert_eq!(collect(found).num_rows(), expected, "{what}: {filter}");
        }
    }
}

#[test]
fn a_time_between_those_of_a_coarser_file_is_compared_exactly() {
    for suffix in ["parquet", "arrow"] {
        let folder = tempfile::tempdir().unwrap();
        for (name, unit, text) in [
            ("a", TimeUnit::Millisecond, "2024-01-01T00:00:00.001"),
            ("b", TimeUnit::Nanosecond, "2024-01-01T00:00:00.001000001"),
        ] {
            let path = folder.path().join(format!("{name}.{suffix}"));
            let times = values(&[text], &DataType::Timestamp(unit, None));
            let batch = batch(vec![("x", times, true)]);
            match suffix {
                "parquet" => write_parquet(&path, &batch),
                _ => write_arrow(&path, &batch, false),
            }
        }
        for (filter, expected) in [
            ("eq.2024-01-01T00:00:00.001", 1),
            ("gt.2024-01-01T00:00:00.001", 1),
            ("gt.2024-01-01T00:00:00.000999999", 2),
            ("gte.2024-01-01T00:00:00.000999999", 2),
            ("gte.2024-01-01T00:00:00.001000001", 1),
            ("lt.2024-01-01T00:00:00.001000001", 1),
            ("lte.2024-01-01T00:00:00.000999999", 0),
            ("eq.2024-01-01T00:00:00.001000999", 0),
            ("lte.2024-01-01T00:00:00.001000999", 2),
            ("neq.2024-01-01T00:00:00.001000001", 1),
        ] {
            let found = rows(folder.path(), &[("x", filter)]).num_rows();
            assert_eq!(found, expected, "{suffix} {filter}");
        }
    }
}

#[test]
fn a_time_that_the_finer_unit_of_another_file_does_not_hold_is_an_error() {
    for suffix in ["parquet", "arrow"] {
        let folder = tempfile::tempdir().unwrap();
        for (name, unit, text) in [
            ("a", TimeUnit::Nanosecond, "2024-01-01T00:00:00.000000001"),
            ("b", TimeUnit::Microsecond, "9999-12-31T00:00:00"),
        ] {
            let path = folder.path().join(format!("{name}.{suffix}"));
            let batch = batch(vec![(
                "x",
                values(&[text], &DataType::Timestamp(unit, None)),
                true,
            )]);
            match suffix {
                "parquet" => write_parquet(&path, &batch),
                _ => write_arrow(&path, &batch, false),
            }
        }
        for filter in [&[][..], &[("x", "gt.2024-01-01")], &[("x", "not.is.null")]] {
            let mut rows = scan(&engine_of(folder.path()), filter).unwrap();
            let error = rows.find_map(Result::err);
            let error = error.expect("no value is wrapped").to_string();
            assert!(error.contains("253402214400000000"), "{suffix}: {error}");
        }
    }
}

#[test]
fn types_without_a_cast_that_is_known_to_be_exact_are_refused() {
    use DataType as T;
    let zoned = || T::Timestamp(TimeUnit::Second, Some("UTC".into()));
    for suffix in ["parquet", "arrow"] {
        for (one, other) in [
            (T::Int64, T::Float64),
            (T::UInt64, T::Int64),
            (T::Int32, T::Utf8),
            (T::Utf8, T::Binary),
            (T::Date32, T::Timestamp(TimeUnit::Second, None)),
            (T::Timestamp(TimeUnit::Second, None), zoned()),
            (
                T::Time64(TimeUnit::Microsecond),
                T::Time64(TimeUnit::Nanosecond),
            ),
            (T::Decimal128(9, 2), T::Int32),
            (T::FixedSizeBinary(2), T::FixedSizeBinary(3)),
            (T::FixedSizeBinary(2), T::Binary),
            (T::Decimal256(76, 0), T::Decimal128(2, 1)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for (name, data_type) in [("a", &one), ("b", &other)] {
                let path = folder.path().join(format!("{name}.{suffix}"));
                let batch = batch(vec![("x", new_null_array(data_type, 1), true)]);
                match suffix {
                    "parquet" => write_parquet(&path, &batch),
                    _ => write_arrow(&path, &batch, false),
                }
            }
            let files = TableFiles::find(folder.path()).unwrap();
            let opened = block_on(engine().register("stars", files, &ColumnMetadata::default()));
            let error = opened.map(drop).unwrap_err().to_string();
            assert!(
                error.contains("in column \"x\", other files"),
                "{one} {other}: {error}"
            );
        }
    }
}

/// Nulls of a fixed size take it too: a row group of 1000 of them would be 1 GB.
#[test]
fn wide_values_that_a_file_lacks_are_null_in_small_batches() {
    const WIDTH: i32 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<i64> = (0..1000).collect();
    let without = batch(vec![("id", integers(&many), false)]);
    let wide = new_null_array(&DataType::FixedSizeBinary(WIDTH), 1);
    let with = batch(vec![("id", integers(&[-1]), false), ("wide", wide, true)]);
    write_parquet(&folder.path().join("a.parquet"), &without);
    write_parquet(&folder.path().join("b.parquet"), &with);
    let engine = engine_of(folder.path());
    let (mut rows, mut largest) = (0, 0);
    for batch in scan(&engine, &[]).unwrap() {
        let batch = batch.unwrap();
        rows += batch.num_rows();
        largest = largest.max(batch.num_rows());
    }
    assert_eq!(rows, 1001);
    assert_eq!(largest, (128 << 20) / WIDTH as usize);
    let alone = scan(&engine, &[("select", "id")]).unwrap();
    assert_eq!(
        alone.map(|batch| batch.unwrap().num_rows()).max(),
        Some(1000)
    );
}

/// Keys of 8 bits number 128 texts, which one file has; three have more, in a column of the table.
#[test]
fn files_with_short_keys_of_dictionaries_have_more_texts_together() {
    let texts_of = |file: i32| (0..100).map(move |at| format!("{:03}", 100 * file + at));
    let wanted: Vec<_> = (0..3).flat_map(texts_of).map(Some).collect();
    for kind in ["arrow", "arrows", "parquet"] {
        let folder = tempfile::tempdir().unwrap();
        for file in 0..3 {
            let names: Vec<_> = texts_of(file).collect();
            let short: DictionaryArray<Int8Type> = names.iter().map(String::as_str).collect();
            let numbers = Int64Array::from_iter_values((0..100).map(|at| 100 * file as i64 + at));
            let batch = batch(vec![
                ("x", Arc::new(short), false),
                ("id", Arc::new(numbers), false),
            ]);
            let path = folder.path().join(format!("{file}.{kind}"));
            match kind {
                "parquet" => write_parquet(&path, &batch),
                _ => write_arrow(&path, &batch, kind == "arrows"),
            }
        }
        let engine = engine_of(folder.path());
        for order in ["x", "id", "x.desc,id"] {
            let rows = collect(scan(&engine, &[("order", order)]).unwrap());
            let mut found = texts(&rows, "x");
            if order.contains("desc") {
                found.reverse();
            }
            assert_eq!(found, wanted, "{kind} by {order}");
        }
        let sql = Query::new("SELECT count(DISTINCT x) AS n FROM stars");
        let rows = collect(block_on(engine.query(&sql, None)).unwrap());
        assert_eq!(texts(&rows, "n"), [Some("300".to_owned())], "{kind}");
    }
}

/// A field says of a dictionary that no key is null, and nothing of its values.
#[test]
fn values_of_dictionaries_and_runs_may_be_null_whatever_their_column_says() {
    let keys = Int32Array::from(vec![0, 1, 2, 1]);
    let numbers = Int64Array::from(vec![Some(7), None, Some(9)]);
    let names = StringArray::from(vec![Some("a"), None, Some("c")]);
    let ends = Int32Array::from(vec![1, 2, 3, 4]);
    let runs = Int64Array::from(vec![Some(7), None, Some(9), None]);
    let batch = batch(vec![
        (
            "n",
            Arc::new(DictionaryArray::new(keys.clone(), Arc::new(numbers))),
            false,
        ),
        (
            "s",
            Arc::new(DictionaryArray::new(keys, Arc::new(names))),
            false,
        ),
        (
            "r",
            Arc::new(RunArray::try_new(&ends, &runs).unwrap()),
            false,
        ),
    ]);
    for is_stream in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.arrow");
        write_arrow(&path, &batch, is_stream);
        let engine = engine_of(&path);
        let schema = engine.table("stars").unwrap().schema().clone();
        assert!(
            schema.fields().iter().all(|field| field.is_nullable()),
            "{schema}"
        );
        let rows = collect(scan(&engine, &[]).unwrap());
        for (column, wanted) in [("n", ["7", "9"]), ("s", ["a", "c"]), ("r", ["7", "9"])] {
            let wanted = [
                Some(wanted[0].to_owned()),
                None,
                Some(wanted[1].to_owned()),
                None,
            ];
            assert_eq!(texts(&rows, column), wanted, "{column}");
            let nulls = collect(scan(&engine, &[(column, "is.null")]).unwrap());
            assert_eq!(nulls.num_rows(), 2, "{column}");
        }
    }
}
