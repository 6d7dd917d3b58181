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
