//! Folders of files whose columns differ: one lacks a column, or has narrower types.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
        RecordBatch, UInt8Array, cast::AsArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema},
};
use datastreamer_engine::TableFiles;
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
            error.contains("b.parquet") && error.contains("Float64 in column \"id\""),
            "{error}"
        );
    }
}
