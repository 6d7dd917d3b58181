//! Facts about rows before they are read.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Int64Array, StringArray},
    datatypes::{DataType, Field},
    record_batch::RecordBatch,
};
use datastreamer_engine::{Query, Rows};
use datastreamer_table::{ColumnStatistics, meta};

use crate::support::{block_on, collect, engine_of, scan, stars, write_fits, write_parquet};

fn of(rows: &Rows) -> (Option<u64>, &[ColumnStatistics]) {
    (rows.known_rows(), rows.column_statistics())
}

#[test]
fn a_parquet_file_tells_nulls_and_extremes_of_all_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    let whole = stars(0, 2500);
    let (id, name) = (whole.column(0), whole.column(2));
    let some_nulls = Int64Array::from_iter((5..2505).map(|n| (n % 2 == 1).then_some(n)));
    let columns = [
        ("id", Arc::clone(id)),
        ("odd", Arc::new(some_nulls) as ArrayRef),
        ("name", Arc::clone(name)),
    ];
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    let id = ColumnStatistics {
        no_nulls: true,
        integers: Some((0, 2499)),
        text_bytes_max: None,
    };
    let odd = ColumnStatistics {
        no_nulls: false,
        integers: Some((5, 2503)),
        text_bytes_max: None,
    };
    let name = ColumnStatistics::default();
    let all = scan(&engine, &[]).unwrap();
    assert_eq!(of(&all), (Some(2500), [id, odd, name].as_slice()));
    let two = scan(&engine, &[("select", "odd,id")]).unwrap();
    assert_eq!(of(&two), (Some(2500), [odd, id].as_slice()));
    // Of some rows only the nulls might be known, and they need not be.
    let some = scan(&engine, &[("id", "gt.100")]).unwrap();
    assert_eq!(some.known_rows(), None);
    assert!(
        some.column_statistics()
            .iter()
            .all(|of| of.integers.is_none())
    );
    // The columns of a query may have any names.
    let query = Query::new("SELECT id AS name FROM stars");
    let rows = block_on(engine.query(&query, None)).unwrap();
    assert_eq!(of(&rows), (Some(2500), [].as_slice()));
}

#[test]
fn files_of_text_have_as_many_rows_as_were_read_for_the_types() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text, rows) in [
        ("quoted.csv", "a,b\n1,\"x\ny\"\n\n2,\"\"\r\n3,z", 3),
        ("blank.csv", "a\n1\n\n2\n", 3),
        ("none.csv", "a,b\n", 0),
        ("semicolon.csv", "a;b\n1;2\n3;4\n", 2),
        ("escaped.tsv", "a\tb\n1\tx\\ny\n", 1),
        ("objects.ndjson", "{\"a\":1}\n\n{}\n{\"a\":[2]}", 3),
    ] {
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        let engine = engine_of(&path);
        assert_eq!(engine.table("stars").unwrap().rows(), Some(rows), "{file}");
        let all = scan(&engine, &[]).unwrap();
        assert_eq!(all.known_rows(), Some(rows), "{file}");
        assert_eq!(collect(all).num_rows() as u64, rows, "{file}");
        let counted = Query::new("SELECT count(*) AS n FROM stars");
        let counted = collect(block_on(engine.query(&counted, None)).unwrap());
        let wanted: ArrayRef = Arc::new(Int64Array::from(vec![rows.cast_signed()]));
        assert_eq!(counted.column(0), &wanted, "{file}");
        let filtered = scan(&engine, &[("a", "is.not_null")]).unwrap();
        assert_eq!(filtered.known_rows(), (rows == 0).then_some(0), "{file}");
    }
    // A file that changes has the rows that it has then.
    let path = folder.path().join("grows.csv");
    std::fs::write(&path, "a\n1\n").unwrap();
    let engine = engine_of(&path);
    std::fs::write(&path, "a\n1\n2\n3\n").unwrap();
    let all = scan(&engine, &[]).unwrap();
    assert_eq!((all.known_rows(), collect(all).num_rows()), (Some(3), 3));
    // Of several files all are counted.
    for (file, text) in [("m1.csv", "a\n1\n"), ("m2.csv", "a\n2\n3\n")] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let all = scan(&engine_of(&folder.path().join("m*.csv")), &[]).unwrap();
    assert_eq!((all.known_rows(), collect(all).num_rows()), (Some(3), 3));
}

#[test]
fn the_row_that_a_plan_has_behind_its_limit_is_never_taken_for_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 2500));
    let engine = engine_of(&file);
    for (parameters, known) in [
        (&[("limit", "2499")][..], Some(2500)),
        (&[("limit", "2500")], Some(2500)),
        (&[("limit", "2501")], Some(2500)),
        (&[("limit", "10"), ("order", "name")], Some(2500)),
        (&[("limit", "10"), ("offset", "5")], Some(2495)),
        (&[("limit", "10"), ("offset", "2490")], Some(10)),
        (&[("limit", "10"), ("offset", "2491")], Some(9)),
        (&[("limit", "10"), ("offset", "5000")], Some(0)),
        (
            &[("limit", "10"), ("offset", "5"), ("order", "name.desc")],
            Some(2495),
        ),
        (&[("limit", "10"), ("select", "name")], Some(2500)),
        (&[("limit", "10"), ("id", "gt.100")], None),
        (
            &[("limit", "10"), ("id", "gt.100"), ("order", "name")],
            None,
        ),
    ] {
        let rows = scan(&engine, parameters).unwrap();
        assert_eq!(rows.known_rows(), known, "{parameters:?}");
    }
}

#[test]
fn the_rows_of_a_query_that_has_a_limit_are_known_or_unknown_and_never_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 2500));
    let engine = engine_of(&file);
    for (sql, limit, known) in [
        ("SELECT id FROM stars", None, Some(2500)),
        ("SELECT id FROM stars", Some(5), Some(2500)),
        ("SELECT id FROM stars LIMIT 20", None, Some(20)),
        ("SELECT id FROM stars LIMIT 20", Some(5), Some(20)),
        ("SELECT id FROM stars LIMIT 20", Some(19), Some(20)),
        ("SELECT id FROM stars ORDER BY name", Some(5), Some(2500)),
        ("SELECT id FROM stars OFFSET 100", Some(5), Some(2400)),
        ("SELECT id FROM stars LIMIT 20", Some(100), Some(20)),
        ("SELECT id FROM stars LIMIT 5000", None, Some(2500)),
        ("SELECT id FROM stars LIMIT 20 OFFSET 2490", None, Some(10)),
        (
            "SELECT id FROM (SELECT id FROM stars LIMIT 20) AS t OFFSET 15",
            None,
            Some(5),
        ),
        (
            "SELECT id FROM stars ORDER BY name LIMIT 20",
            None,
            Some(20),
        ),
        (
            "SELECT id FROM (SELECT id FROM stars LIMIT 20) AS t UNION ALL SELECT id FROM stars",
            None,
            Some(2520),
        ),
        (
            "SELECT t.id FROM (SELECT id FROM stars LIMIT 20) AS t \
             CROSS JOIN (SELECT id AS other FROM stars LIMIT 3) AS u",
            None,
            Some(60),
        ),
        (
            "SELECT id FROM stars WHERE id IN (SELECT id FROM stars LIMIT 7)",
            None,
            None,
        ),
    ] {
        let rows = block_on(engine.query(&Query::new(sql), limit)).unwrap();
        let of_rows = rows.known_rows();
        let read = collect(rows).num_rows() as u64;
        let is_cut = limit.is_some_and(|limit| read > limit);
        // Nobody needs to know it, but what is known is so.
        assert!(
            of_rows.is_none_or(|known| known == read || is_cut && known > read),
            "{sql}"
        );
        assert_eq!(of_rows, known, "{sql}");
    }
}

#[test]
fn fits_files_tell_how_long_their_texts_are_at_most() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("a.fits", "abc"), ("b.fits", "abcdefg")] {
        let columns = [
            ("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec![text])) as ArrayRef),
            ("other", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        write_fits(&folder.path().join(file), &batch);
    }
    let engine = engine_of(&folder.path().join("*.fits"));
    let widths = |select| {
        let rows = scan(&engine, &[("select", select)]).unwrap();
        assert_eq!(rows.known_rows(), Some(2));
        let known = rows.column_statistics().iter();
        known.map(|of| of.text_bytes_max).collect::<Vec<_>>()
    };
    // Of the widest file.
    assert_eq!(widths("text,n,other"), [Some(7), None, Some(1)]);
    // A name in the result does not tell the column of the table.
    assert_eq!(widths("other:text,text:other"), [Some(7), Some(1)]);
}

#[test]
fn lists_of_texts_are_as_wide_as_those_of_the_widest_file() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("a.fits", "abc"), ("b.fits", "abcdefg")] {
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let texts = Arc::new(StringArray::from(vec![text, "x"]));
        let pairs = FixedSizeListArray::new(item, 2, texts, None);
        let batch = RecordBatch::try_from_iter([("pairs", Arc::new(pairs) as ArrayRef)]).unwrap();
        write_fits(&folder.path().join(file), &batch);
    }
    let engine = engine_of(&folder.path().join("*.fits"));
    let read = collect(scan(&engine, &[]).unwrap());
    assert_eq!(
        meta::of_column(read.schema().field(0), meta::WIDTH),
        Some("7")
    );
    let copy = folder.path().join("copy.fits");
    write_fits(&copy, &read);
    assert_eq!(collect(scan(&engine_of(&copy), &[]).unwrap()), read);
}
