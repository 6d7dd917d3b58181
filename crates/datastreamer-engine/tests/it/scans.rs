//! Files of all kinds as tables.

use std::{collections::BTreeMap, fs};

use arrow::{
    datatypes::DataType,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_engine::{EngineErrorKind, Query, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::support::{
    block_on, collect, engine, engine_of, ids, scan, stars, texts, write_parquet,
};

#[test]
fn a_parquet_file_is_read_completely_and_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    let batch = stars(0, 25_000);
    write_parquet(&file, &batch);
    let engine = engine_of(&file);
    assert_eq!(engine.table("stars").unwrap().rows(), Some(25_000));
    let rows = scan(&engine, &[]).unwrap();
    assert_eq!(rows.known_rows(), Some(25_000));
    let read = collect(rows);
    assert_eq!(ids(&read), ids(&batch));
    assert_eq!(texts(&read, "name"), texts(&batch, "name"));
}

#[test]
fn text_files_are_tables_too() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("t.csv", "id,RA,name\n1,0.5,\"a,b\"\n2,1.5,\n"),
        ("t.tsv", "id\tRA\tname\n1\t0.5\ta,b\n2\t1.5\t\n"),
        (
            "t.ndjson",
            "{\"id\":1,\"RA\":0.5,\"name\":\"a,b\"}\n{\"id\":2,\"RA\":1.5}\n",
        ),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let read = collect(scan(&engine_of(&file), &[("select", "id,RA,name")]).unwrap());
        assert_eq!(ids(&read), [1, 2], "{name}");
        assert_eq!(texts(&read, "name"), [Some("a,b".into()), None], "{name}");
        assert_eq!(
            read.schema().field(1).data_type(),
            &DataType::Float64,
            "{name}"
        );
    }
}

#[test]
fn files_of_a_glob_come_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for part in [2, 0, 1] {
        let file = folder.path().join(format!("part {part}.parquet"));
        write_parquet(&file, &stars(part * 1500, 1500));
    }
    fs::write(folder.path().join("notes.txt"), "no table").unwrap();
    let engine = engine_of(&folder.path().join("*.parquet"));
    assert_eq!(engine.table("stars").unwrap().rows(), Some(4500));
    let read = collect(scan(&engine, &[]).unwrap());
    assert_eq!(ids(&read), (0..4500).collect::<Vec<_>>());
}

#[test]
fn hive_partitions_are_columns() {
    let folder = tempfile::tempdir().unwrap();
    for (year, band) in [(2025, "g"), (2026, "g"), (2026, "i")] {
        let file = folder
            .path()
            .join(format!("year={year}/band={band}/a.parquet"));
        write_parquet(&file, &stars(i64::from(year), 3));
    }
    for glob in [
        "",
        "*/*/*.parquet",
        "**/a.parquet",
        "year=*/band=*/?.parquet",
    ] {
        let engine = engine_of(&folder.path().join(glob));
        let narrowed = [("year", "gt.2025"), ("select", "band,year,id")];
        let read = collect(scan(&engine, &narrowed).unwrap());
        let bands: Vec<_> = texts(&read, "band").into_iter().flatten().collect();
        assert_eq!(bands, ["g", "g", "g", "i", "i", "i"], "{glob}");
        assert_eq!(read.schema().field(1).data_type(), &DataType::Int64);
    }
    let some = TableFiles::find(&folder.path().join("year=202*/*/*.parquet")).unwrap_err();
    assert!(
        some.to_string().contains("only some of the partitions"),
        "{some}"
    );
}

#[test]
fn a_filter_on_partitions_alone_decides_which_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (year, band) in [(9, "g"), (10, "g"), (10, "a%2Fb")] {
        let file = folder
            .path()
            .join(format!("year={year}/band={band}/a=b.parquet"));
        write_parquet(&file, &stars(year, 3));
    }
    let engine = engine_of(folder.path());
    for (parameters, rows) in [
        (&[("year", "gt.9")][..], 6),
        (&[("year", "gt.9"), ("band", "eq.a/b")], 3),
        (&[("band", "in.(g,h)")], 6),
        (&[("band", "not.like.g*"), ("year", "lt.10")], 0),
        (&[("year", "is.null")], 0),
    ] {
        let narrowed = scan(&engine, parameters).unwrap();
        // Known, as each row of the files that are read is part of the result.
        assert_eq!(narrowed.known_rows(), Some(rows), "{parameters:?}");
        assert_eq!(collect(narrowed).num_rows() as u64, rows, "{parameters:?}");
    }
    let both = scan(&engine, &[("year", "eq.10"), ("id", "eq.11")]).unwrap();
    assert_eq!(both.known_rows(), None);
    assert_eq!(ids(&collect(both)), [11, 11]);
    for (sql, expected) in [
        (
            "SELECT id FROM stars WHERE year = (SELECT min(year) FROM stars) ORDER BY id",
            3,
        ),
        ("SELECT id FROM stars WHERE year = id ORDER BY id", 3),
        (
            "SELECT id FROM stars WHERE year + 1 > 10 AND upper(band) = 'G' ORDER BY id",
            3,
        ),
        ("SELECT id FROM stars WHERE year < '10' OR id = 12", 5),
    ] {
        let rows = block_on(engine.query(&Query::new(sql), None)).unwrap();
        assert_eq!(collect(rows).num_rows(), expected, "{sql}");
    }
}

#[test]
fn a_partition_is_found_by_its_value_however_its_folder_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    for (month, part) in [("01", 1), ("2", 2), ("010", 3)] {
        let file = folder.path().join(format!("month={month}/t.parquet"));
        write_parquet(&file, &stars(part * 100, 3));
    }
    let engine = engine_of(folder.path());
    for (filter, first) in [("eq.1", 100), ("eq.01", 100), ("eq.2", 200), ("eq.10", 300)] {
        let rows = collect(scan(&engine, &[("month", filter)]).unwrap());
        let expected = [first, first + 1, first + 2];
        assert_eq!(ids(&rows), expected, "{filter}");
    }
    let rows = collect(scan(&engine, &[("month", "in.(01,2)")]).unwrap());
    assert_eq!(rows.num_rows(), 6);
}

#[test]
fn a_link_to_a_directory_above_it_is_refused_and_repeats_no_row() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("inner/t.parquet"), &stars(0, 3));
    std::os::unix::fs::symlink("..", folder.path().join("inner/loop")).unwrap();
    let glob = folder.path().join("**/*.parquet");
    for path in [folder.path(), &glob] {
        let error = TableFiles::find(path).unwrap_err().to_string();
        assert!(error.contains("a link to a directory above it"), "{error}");
    }
    // So is one by way of another directory.
    std::fs::remove_file(folder.path().join("inner/loop")).unwrap();
    let other = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), other.path().join("back")).unwrap();
    std::os::unix::fs::symlink(other.path(), folder.path().join("there")).unwrap();
    for path in [folder.path(), &glob] {
        let error = TableFiles::find(path).unwrap_err().to_string();
        assert!(error.contains("a link to a directory above it"), "{error}");
    }
    std::fs::remove_file(folder.path().join("there")).unwrap();
    // A link to another directory is followed.
    let other = tempfile::tempdir().unwrap();
    write_parquet(&other.path().join("t.parquet"), &stars(10, 3));
    std::os::unix::fs::symlink(other.path(), folder.path().join("linked")).unwrap();
    let rows = collect(scan(&engine_of(folder.path()), &[]).unwrap());
    assert_eq!(ids(&rows), [0, 1, 2, 10, 11, 12]);
}

#[test]
fn a_link_to_a_directory_above_it_is_harmless_where_no_file_matches_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    write_parquet(&root.join("a/t.parquet"), &stars(0, 3));
    write_parquet(&root.join("b/other/u.parquet"), &stars(10, 3));
    std::os::unix::fs::symlink(".", root.join("b/loop")).unwrap();
    std::os::unix::fs::symlink("..", root.join("b/other/up")).unwrap();
    for (glob, expected) in [("**/a/*.parquet", 0), ("*/t.parquet", 0), ("**/t.*", 0)] {
        let read = collect(scan(&engine_of(&root.join(glob)), &[]).unwrap());
        assert_eq!(ids(&read), [expected, expected + 1, expected + 2], "{glob}");
    }
    for glob in [
        "**/u.parquet",
        "b/**/u.*",
        "**/other/*.parquet",
        "**/*.parquet",
    ] {
        let error = TableFiles::find(&root.join(glob)).unwrap_err().to_string();
        assert!(error.contains("a link to a directory above it"), "{error}");
    }
    // So is one that leads out of the folders of the glob.
    let inner = root.join("c/inner");
    write_parquet(&inner.join("v.parquet"), &stars(20, 3));
    std::os::unix::fs::symlink(&root, inner.join("out")).unwrap();
    for (glob, refusal) in [
        ("**/c/**/v.parquet", "a link to a directory above it"),
        ("**/none.parquet", "matches no file"),
    ] {
        let error = TableFiles::find(&inner.join(glob)).unwrap_err().to_string();
        assert!(error.contains(refusal), "{glob}: {error}");
    }
}

#[test]
fn a_glob_reaches_into_folders_that_it_names_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    for (part, place) in [(0, "a/b/t.parquet"), (1, "c/t.parquet"), (2, "t.parquet")] {
        write_parquet(&folder.path().join(place), &stars(part * 10, 10));
    }
    for (glob, expected) in [
        ("*/t.parquet", 10..20),
        ("*/b/t.parquet", 0..10),
        ("*.parquet", 20..30),
        ("**/*.parquet", 0..30),
    ] {
        let engine = engine_of(&folder.path().join(glob));
        let read = collect(scan(&engine, &[]).unwrap());
        assert_eq!(ids(&read), expected.collect::<Vec<_>>(), "{glob}");
    }
}

#[test]
fn a_glob_takes_the_files_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &stars(0, 10));
    let engine = engine_of(&folder.path().join("*.parquet"));
    write_parquet(&folder.path().join("b.parquet"), &stars(10, 10));
    let read = collect(scan(&engine, &[]).unwrap());
    assert_eq!(ids(&read), (0..20).collect::<Vec<_>>());
    for name in ["a.parquet", "b.parquet"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    // A disk that is not mounted is an error, not an empty table.
    let error = scan(&engine, &[]).err().unwrap();
    assert!(error.to_string().contains("there are no files"), "{error}");
}

/// Many files, so that their footers are not read in the order of their names.
#[test]
fn pages_of_many_files_are_disjoint_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for part in 0..40 {
        let name = format!("{part:02}.parquet");
        write_parquet(&folder.path().join(name), &stars(part * 10, 10));
    }
    for place in [folder.path().to_owned(), folder.path().join("*.parquet")] {
        for offset in [0, 95, 200, 395] {
            let engine = engine_of(&place);
            let (offset_text, limit) = (offset.to_string(), "5");
            let parameters = [("offset", offset_text.as_str()), ("limit", limit)];
            let page = collect(scan(&engine, &parameters).unwrap());
            // One row more than the limit, if there is one.
            let expected: Vec<_> = (offset..(offset + 6).min(400)).collect();
            assert_eq!(ids(&page), expected, "{place:?} from {offset}");
        }
    }
}

#[test]
fn columns_keep_the_types_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    let batch = stars(0, 10);
    write_parquet(&file, &batch);
    let read = collect(scan(&engine_of(&file), &[]).unwrap());
    let types = |batch: &RecordBatch| {
        let fields = batch.schema().fields().clone();
        fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(types(&read), types(&batch));
}

#[test]
fn a_file_that_is_added_later_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &stars(0, 10));
    let engine = engine_of(folder.path());
    assert_eq!(collect(scan(&engine, &[]).unwrap()).num_rows(), 10);
    write_parquet(&folder.path().join("b.parquet"), &stars(10, 10));
    assert_eq!(collect(scan(&engine, &[]).unwrap()).num_rows(), 20);
}

#[test]
fn notes_are_the_columns_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 10));
    let note = |key: &str, text: &str| BTreeMap::from([(key.to_owned(), text.to_owned())]);
    let notes = ColumnMetadata {
        table: note("description", "invented"),
        columns: BTreeMap::from([("RA".into(), note("unit", "deg"))]),
    };
    let engine = engine();
    let files = TableFiles::find(&file).unwrap();
    block_on(engine.register("stars", files.clone(), &notes)).unwrap();
    for select in [vec![], vec![("select", "name,RA"), ("RA", "lt.1")]] {
        let rows = scan(&engine, &select).unwrap();
        let schema = rows.schema();
        assert_eq!(schema.metadata()["description"], "invented");
        assert_eq!(
            schema.field_with_name("RA").unwrap().metadata()["unit"],
            "deg"
        );
        assert_eq!(collect(rows).schema(), schema);
    }
    let notes = ColumnMetadata {
        columns: BTreeMap::from([("ra".into(), note("unit", "deg"))]),
        ..ColumnMetadata::default()
    };
    let refused = block_on(engine.register("other", files, &notes))
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "no column \"ra\"; there are id, RA, name");
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 100_000));
    let mut rows = scan(&engine_of(&file), &[]).unwrap();
    rows.next().unwrap().unwrap();
    let other = folder.path().join("other.parquet");
    write_parquet(&other, &stars(7, 100_000));
    fs::rename(other, &file).unwrap();
    let error = rows.find_map(Result::err).expect("the change is seen");
    assert!(
        error.to_string().contains("changed while it was read"),
        "{error}"
    );
}

#[test]
fn a_corrupt_row_group_fails_after_the_rows_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 50_000));
    let mut bytes = fs::read(&file).unwrap();
    let late = bytes.len() * 9 / 10;
    let footer = bytes.len() - 8;
    let footer_bytes = u32::from_le_bytes(bytes[footer..footer + 4].try_into().unwrap()) as usize;
    let end = (footer - footer_bytes).min(late + 4000);
    let start = end - 4000;
    bytes[start..end].fill(0xAA);
    fs::write(&file, bytes).unwrap();
    let mut rows = scan(&engine_of(&file), &[]).unwrap();
    let good = rows
        .by_ref()
        .map_while(Result::ok)
        .map(|batch| batch.num_rows())
        .sum::<usize>();
    assert!(good > 0 && good < 50_000, "{good}");
    assert!(rows.next().is_none(), "nothing follows the error");
}

#[test]
fn a_file_that_is_not_a_table_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.txt"), "x").unwrap();
    fs::write(path("b.parquet"), "x").unwrap();
    fs::create_dir(path("mixed")).unwrap();
    fs::write(path("mixed/a.csv"), "x").unwrap();
    fs::write(path("mixed/b.parquet"), "x").unwrap();
    for (name, text) in [
        ("a.txt", "has an unknown suffix"),
        ("none.parquet", "no such file"),
        ("none*.parquet", "matches no file"),
        (
            "mixed",
            "has files of several kinds, such as b.parquet and a.csv",
        ),
    ] {
        let error = TableFiles::find(&path(name)).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Data);
        let told = error.to_string();
        assert!(told.contains(name) || name == "mixed", "{told}");
        assert!(told.contains(text), "{told}");
    }
    let files = TableFiles::find(&path("b.parquet")).unwrap();
    assert!(block_on(engine().register("b", files, &ColumnMetadata::default())).is_err());
}
