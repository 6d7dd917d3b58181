//! Files that changed, or that differ from the other files of the table.

use std::{fs, future::poll_fn, path::Path, pin::pin, sync::Arc, task::Poll, thread};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, new_empty_array},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_engine::{EngineError, Narrowing, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;
use futures_util::future::select;

use crate::support::{
    ColumnReads, block_on, collect, engine, engine_of, ids, scan, stars, texts, write_fits,
    write_parquet,
};

fn register(path: &Path) -> Result<(), EngineError> {
    let files = TableFiles::find(path)?;
    block_on(engine().register("stars", files, &ColumnMetadata::default())).map(drop)
}

/// The error of a scan, whether in planning or in reading.
fn refused(engine: &datastreamer_engine::Engine) -> String {
    match scan(engine, &[]) {
        Err(error) => error.to_string(),
        Ok(mut rows) => rows.find_map(Result::err).unwrap().to_string(),
    }
}

fn last(path: &Path, column: &str) -> Option<String> {
    let read = collect(scan(&engine_of(path), &[]).unwrap());
    texts(&read, column).pop().unwrap()
}

#[test]
fn types_are_inferred_from_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    for (name, first, late, column, expected) in [
        ("a.ndjson", "{\"a\":1}", "{\"a\":1.5}", "a", "1.5"),
        ("b.ndjson", "{\"a\":1}", "{\"a\":1,\"b\":7}", "b", "7"),
        (
            "c.csv",
            "2020-01-02T03:04:05",
            "2020-01-02T03:04:05.678",
            "a",
            "2020-01-02T03:04:05.678",
        ),
        (
            "d.csv",
            "2020-01-02",
            "2020-01-02T03:04:05",
            "a",
            "2020-01-02T03:04:05",
        ),
        ("e.csv", "\"\"", "abc", "a", "abc"),
        ("f.csv", "1", "1.5", "a", "1.5"),
    ] {
        let path = folder.path().join(name);
        let head = if name.ends_with("csv") { "a\n" } else { "" };
        let many = format!("{first}\n").repeat(60_000);
        fs::write(&path, format!("{head}{many}{late}\n")).unwrap();
        assert_eq!(last(&path, column).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn columns_in_another_order_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("both")).unwrap();
    fs::write(path("both/a.csv"), "ra,dec\n10,20\n").unwrap();
    fs::write(path("both/b.csv"), "dec,ra\n-5,200\n").unwrap();
    let error = register(&path("both")).unwrap_err().to_string();
    assert!(error.contains("b.csv: has the columns dec, ra"), "{error}");
    let single = path("single.csv");
    fs::write(&single, "ra,dec\n10,20\n").unwrap();
    let engine = engine_of(&single);
    fs::write(&single, "dec,ra\n20,10\n").unwrap();
    let error = refused(&engine);
    assert!(error.contains("has the columns dec, ra"), "{error}");
}

#[test]
fn a_replaced_file_must_have_the_columns_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let of = |columns: Vec<(&str, ArrayRef)>| {
        let fields = columns.iter();
        let fields = fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(schema, columns).unwrap()
    };
    let integers = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let doubles = || Arc::new(Float64Array::from(vec![1.25, 2.5])) as ArrayRef;
    write_parquet(&file, &of(vec![("id", integers()), ("x", doubles())]));
    let engine = engine_of(&file);
    for (columns, expected) in [
        (
            vec![("id", doubles()), ("x", doubles())],
            "has 64-bit float in column \"id\", the table 64-bit integer",
        ),
        (vec![("id", integers())], "has no column \"x\""),
        (
            vec![("id", integers()), ("x", doubles()), ("y", doubles())],
            "has a column \"y\"",
        ),
    ] {
        write_parquet(&file, &of(columns));
        let error = refused(&engine);
        assert!(error.contains(expected), "{error}");
    }
    write_parquet(&file, &of(vec![("x", doubles()), ("id", integers())]));
    assert_eq!(ids(&collect(scan(&engine, &[]).unwrap())), [1, 2]);
}

/// As in a folder: a member that no line has is a column of nulls.
#[test]
fn a_replaced_ndjson_file_may_lack_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.ndjson");
    fs::write(
        &file,
        "{\"id\":1,\"o\":{\"x\":1,\"y\":\"a\"},\"t\":\"b\"}\n",
    )
    .unwrap();
    let engine = engine_of(&file);
    fs::write(&file, "{\"id\":2}\n{\"id\":3}\n").unwrap();
    let read = collect(scan(&engine, &[]).unwrap());
    assert_eq!(ids(&read), [2, 3]);
    assert_eq!(texts(&read, "t"), [None, None]);
    assert_eq!(read.column_by_name("o").unwrap().null_count(), 2);
    fs::write(&file, "{\"id\":4,\"o\":{\"y\":\"c\"}}\n").unwrap();
    let read = collect(scan(&engine, &[("select", "id,o")]).unwrap());
    let members = read.column_by_name("o").unwrap().as_struct();
    assert_eq!(members.column(0).null_count(), 1);
    assert_eq!(members.column(1).as_string::<i32>().value(0), "c");
    for (line, wanted) in [
        (
            "{\"id\":4,\"o\":{\"x\":\"a\"}}",
            "has text in field \"x\" of column \"o\", the table 64-bit integer",
        ),
        (
            "{\"id\":4,\"o\":{\"z\":1,\"x\":2}}",
            "has a field \"z\" of column \"o\", unlike the table",
        ),
        (
            "{\"o\":1}",
            "has 64-bit integer in column \"o\", the table struct",
        ),
        ("{\"id\":4,\"n\":1}", "has a column \"n\""),
    ] {
        fs::write(&file, line).unwrap();
        let error = refused(&engine);
        let beginning = " no longer fits the table as it was opened: it ";
        assert!(
            error.ends_with(&format!("{beginning}{wanted}")),
            "{line}: {error}"
        );
    }
}

#[test]
fn the_part_of_a_nested_column_that_differs_is_named() {
    use DataType as T;
    let fields = |parts: &[(&str, DataType)]| {
        let parts = parts.iter();
        let parts = parts.map(|(name, of)| Field::new(*name, of.clone(), true));
        T::Struct(parts.collect())
    };
    let list = |of: DataType| T::List(Arc::new(Field::new("item", of, true)));
    let pair = |size| T::FixedSizeList(Arc::new(Field::new("item", T::Int64, true)), size);
    let map = |values: DataType| {
        let keys = Field::new("key", T::Utf8, false);
        let entries = T::Struct(vec![keys, Field::new("value", values, true)].into());
        T::Map(Arc::new(Field::new("entries", entries, false)), false)
    };
    let inner = fields(&[("x", T::Int64), ("y", T::Utf8)]);
    for (first, second, wanted) in [
        (
            fields(&[("a", T::Int64), ("b", list(inner.clone()))]),
            fields(&[
                ("a", T::Int32),
                ("b", list(fields(&[("x", T::Utf8), ("y", T::Utf8)]))),
            ]),
            "has text in field \"b.x\" of column \"c\", other files 64-bit integer",
        ),
        (
            inner.clone(),
            fields(&[("x", T::Int64)]),
            "lacks the field \"y\" of column \"c\", unlike other files",
        ),
        (
            list(fields(&[("x", T::Int64)])),
            list(inner.clone()),
            "has a field \"y\" of column \"c\", unlike other files",
        ),
        (
            inner.clone(),
            fields(&[("y", T::Utf8), ("x", T::Int64)]),
            "has the fields of column \"c\" in another order than other files",
        ),
        (
            fields(&[("p", pair(2))]),
            fields(&[("p", pair(3))]),
            "has lists of 3 elements in field \"p\" of column \"c\", other files of 2",
        ),
        (
            map(T::Int64),
            map(T::Utf8),
            "has text in field \"value\" of column \"c\", other files 64-bit integer",
        ),
        (
            list(T::Int64),
            list(T::Utf8),
            "has text in column \"c\", other files 64-bit integer",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, of) in [("a.parquet", first), ("b.parquet", second)] {
            let column = new_empty_array(&of);
            let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
            write_parquet(&folder.path().join(name), &batch);
        }
        let error = register(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("b.parquet: {wanted}")), "{error}");
    }
}

#[test]
fn a_file_that_is_gone_or_empty_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["t.parquet", "t.csv", "t.fits"] {
        let file = folder.path().join(name);
        match name {
            "t.csv" => fs::write(&file, "id\n1\n").unwrap(),
            "t.fits" => write_fits(&file, &stars(0, 5)),
            _ => write_parquet(&file, &stars(0, 5)),
        }
        let engine = engine_of(&file);
        fs::write(&file, "").unwrap();
        assert!(refused(&engine).contains(name), "{name}");
        fs::remove_file(&file).unwrap();
        let error = refused(&engine);
        assert!(
            error.ends_with(&format!("{name}: has been removed")),
            "{error}"
        );
    }
    let parts = folder.path().join("parts");
    write_parquet(&parts.join("a.parquet"), &stars(0, 5));
    let engine = engine_of(&parts);
    fs::write(parts.join("b.parquet"), "").unwrap();
    assert!(refused(&engine).contains("b.parquet: is empty"));
    fs::remove_dir_all(&parts).unwrap();
    assert!(refused(&engine).contains("parts"));
}

#[test]
fn a_file_that_has_just_been_replaced_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parts/a.parquet");
    write_parquet(&file, &stars(0, 1000));
    let engine = engine_of(file.parent().unwrap());
    for first in [5000, 9000, 20_000] {
        write_parquet(&file, &stars(first, 1000));
        let value = format!("gte.{first}");
        let rows = scan(&engine, &[("id", value.as_str())]).unwrap();
        assert_eq!(collect(rows).num_rows(), 1000, "{first}");
    }
}

#[test]
fn hidden_files_are_not_part_of_a_table() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["flat", "hive/y=1"] {
        let parts = folder.path().join(place);
        write_parquet(&parts.join("a.parquet"), &stars(0, 5));
        write_parquet(&parts.join(".b.parquet"), &stars(5, 5));
    }
    for place in ["flat", "flat/*", "hive", "hive/*/*.parquet"] {
        let engine = engine_of(&folder.path().join(place));
        let read = collect(scan(&engine, &[]).unwrap());
        assert_eq!(ids(&read), [0, 1, 2, 3, 4], "{place}");
    }
}

#[test]
fn a_partition_that_comes_to_a_table_without_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &stars(0, 3));
    let engine = engine_of(folder.path());
    fs::create_dir(folder.path().join("k=1")).unwrap();
    write_parquet(&folder.path().join("k=1/b.parquet"), &stars(3, 3));
    let error = refused(&engine);
    assert!(error.contains("partitions"), "{error}");
    // And where all files are in one.
    fs::remove_file(folder.path().join("a.parquet")).unwrap();
    let error = refused(&engine);
    assert!(error.contains("partitions"), "{error}");
}

#[test]
fn a_file_outside_the_partitions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("y=1/a.parquet"), &stars(0, 5));
    let engine = engine_of(folder.path());
    write_parquet(&folder.path().join("b.parquet"), &stars(5, 5));
    let error = refused(&engine);
    assert!(error.contains("partitions"), "{error}");
    fs::remove_file(folder.path().join("b.parquet")).unwrap();
    write_parquet(&folder.path().join("y=abc/a.parquet"), &stars(5, 5));
    let error = refused(&engine);
    assert!(error.contains("partitions"), "{error}");
}

#[test]
fn a_path_may_go_up() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &stars(0, 5));
    fs::create_dir(folder.path().join("below")).unwrap();
    for path in ["below/../a.parquet", "below/../*.parquet", "below/.."] {
        let engine = engine_of(&folder.path().join(path));
        assert_eq!(collect(scan(&engine, &[]).unwrap()).num_rows(), 5, "{path}");
    }
}

#[test]
fn tsv_has_no_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.tsv");
    fs::write(&file, "id\tname\n1\t5\" wide\n2\t\"q\n3\t\"z\"\n").unwrap();
    let read = collect(scan(&engine_of(&file), &[]).unwrap());
    assert_eq!(ids(&read), [1, 2, 3]);
    let names = ["5\" wide", "\"q", "\"z\""].map(|name| Some(name.to_owned()));
    assert_eq!(texts(&read, "name"), names);
}

#[test]
fn a_file_that_cannot_be_a_table_is_refused_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, expected) in [
        ("cut.csv", "a,b\n1,\"x\n2,y\n", "ends within quotes"),
        ("two.ndjson", "", "is empty"),
        ("two.csv", "a,a\n1,2\n", "two columns called \"a\""),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let error = register(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let one = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let fields = ["d", "d"].map(|name| Field::new(name, DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(&one), one]).unwrap();
    let path = folder.path().join("two.parquet");
    write_parquet(&path, &batch);
    let error = register(&path).unwrap_err().to_string();
    assert!(error.contains("two columns called \"d\""), "{error}");
}

#[test]
fn fits_files_have_partitions_and_notes() {
    let folder = tempfile::tempdir().unwrap();
    for year in [2025, 2026] {
        let file = folder.path().join(format!("year={year}/a.fits"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        write_fits(&file, &stars(year, 2));
    }
    let notes = ColumnMetadata {
        columns: [(
            "RA".to_owned(),
            [("unit".to_owned(), "rad".to_owned())].into(),
        )]
        .into(),
        ..ColumnMetadata::default()
    };
    let engine = engine();
    let files = TableFiles::find(folder.path()).unwrap();
    block_on(engine.register("stars", files, &notes)).unwrap();
    let read = collect(scan(&engine, &[("select", "year,id,RA")]).unwrap());
    assert_eq!(ids(&read), [2025, 2026, 2026, 2027]);
    let years = ["2025", "2025", "2026", "2026"].map(|year| Some(year.to_owned()));
    assert_eq!(texts(&read, "year"), years);
    let schema = read.schema();
    let unit = &schema.field_with_name("RA").unwrap().metadata()["unit"];
    assert_eq!(unit, "rad");
    let read = collect(scan(&engine, &[("select", "year"), ("year", "eq.2026")]).unwrap());
    assert_eq!(read.num_rows(), 2);
}

#[test]
fn the_columns_of_a_file_are_read_once_however_many_scans_wait_for_them() {
    let reads = ColumnReads::count();
    let folder = tempfile::tempdir().unwrap();
    let fits = folder.path().join("fits.csv");
    let other = folder.path().join("other.csv");
    for (file, more, rows) in [(&fits, "7\n", Some(200_001)), (&other, "1.5\n", None)] {
        let text = format!("id\n{}", "1\n".repeat(200_000));
        fs::write(file, &text).unwrap();
        let engine = engine_of(file);
        assert_eq!(reads.of(file), 1);
        fs::write(file, text + more).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| match rows {
                    Some(rows) => {
                        let read = collect(scan(&engine, &[]).unwrap());
                        assert_eq!(read.num_rows(), rows);
                    }
                    None => {
                        let error = refused(&engine);
                        assert!(error.contains("no longer fits the table"), "{error}");
                    }
                });
            }
        });
        assert_eq!(reads.of(file), 2);
    }
}

#[test]
fn whoever_gives_up_neither_stops_the_run_for_others_nor_starts_another() {
    let reads = ColumnReads::count();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("given_up.csv");
    let text = format!("id\n{}", "1\n".repeat(200_000));
    fs::write(&file, &text).unwrap();
    let engine = engine_of(&file);
    fs::write(&file, text + "7\n").unwrap();
    let narrowing = Narrowing::default();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            while reads.of(&file) < 2 {
                thread::yield_now();
            }
            collect(scan(&engine, &[]).unwrap()).num_rows()
        });
        for _ in 0..20 {
            // Begins the run or waits for it, and gives up.
            let scan = pin!(engine.scan("stars", &narrowing));
            let begun = poll_fn(|cx| match reads.of(&file) {
                0 | 1 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            });
            block_on(select(scan, begun));
        }
        assert_eq!(waits.join().unwrap(), 200_001);
    });
    assert_eq!(collect(scan(&engine, &[]).unwrap()).num_rows(), 200_001);
    assert_eq!(reads.of(&file), 2);
}
