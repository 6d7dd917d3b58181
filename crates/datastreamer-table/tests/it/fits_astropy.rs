//! Tables that astropy has written, read here and compared with what astropy reads.

use std::{fs::File, path::Path, path::PathBuf, process::Command};

use arrow::{
    array::{Array, AsArray, Int32Array},
    compute::concat_batches,
    datatypes::{DataType, Int32Type},
    ipc::writer::FileWriter,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_table::fits::{FitsFile, TTYPE, TableChoice};
use datastreamer_table::meta;

/// Directory of the tables that astropy wrote.
pub(crate) fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    script(&["write".as_ref(), directory.path()]);
    directory
}

fn script(arguments: &[impl AsRef<Path> + std::fmt::Debug]) {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // The Python that `scripts/install-test-tools` has set up.
    let output = Command::new(manifest.join("../../.tools/venv/bin/python"))
        .arg(manifest.join("tests/readers/fits_tables.py"))
        .args(arguments.iter().map(AsRef::as_ref))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// Compares the second extension of each file with what was read of it; Python starts once.
fn compare<R: RecordBatchReader>(tables: impl IntoIterator<Item = (PathBuf, R)>) {
    let mut arguments = vec![PathBuf::from("compare")];
    for (file, batches) in tables {
        let found = file.with_extension("arrow");
        let schema = batches.schema();
        let mut writer = FileWriter::try_new(File::create(&found).unwrap(), &schema).unwrap();
        for batch in batches {
            writer.write(&batch.unwrap()).unwrap();
        }
        writer.finish().unwrap();
        arguments.extend([file, "2".into(), found]);
    }
    script(&arguments);
}

pub(crate) fn whole(table: &FitsFile, batch_rows: usize) -> RecordBatch {
    let reader = table.reader(None, 0..table.rows(), batch_rows).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&table.schema(), &batches).unwrap()
}

#[test]
fn every_kind_of_column_reads_as_astropy_reads_it() {
    let directory = written();
    let names = [
        "numbers",
        "one_row",
        "no_rows",
        "scaled",
        "arrays",
        "texts",
        "heap",
        "wide_heap",
        "wide_rows",
        "ascii",
    ];
    compare(names.map(|name| {
        let file = directory.path().join(format!("{name}.fits"));
        let table = FitsFile::open(&file).unwrap();
        let batches = table.reader(None, 0..table.rows(), 64).unwrap();
        (file, batches)
    }));
}

#[test]
fn columns_have_the_types_that_are_promised() {
    let directory = written();
    let types = |name: &str| -> Vec<String> {
        let table = FitsFile::open(&directory.path().join(name)).unwrap();
        let schema = table.schema();
        let types = schema.fields().iter().map(|field| field.data_type());
        types.map(DataType::to_string).collect()
    };
    assert_eq!(
        types("numbers.fits")[..12],
        [
            "Boolean", "Boolean", "UInt8", "Int16", "Int32", "Int64", "Int8", "UInt16", "UInt32",
            "UInt64", "Float32", "Float64"
        ]
    );
    let scaled = types("scaled.fits");
    // The fourth is K with a whole TZERO: floats would lose digits.
    assert_eq!(
        scaled[..5],
        ["Float64", "Float64", "Float64", "Int64", "Float64"]
    );
    assert_eq!(scaled[5], "FixedSizeList(2 x non-null Float64)");
    let arrays = types("arrays.fits");
    assert_eq!(arrays[1], "FixedSizeList(13 x non-null Boolean)");
    assert_eq!(arrays[7], "FixedSizeList(3 x Int16)");
    assert_eq!(
        arrays[8],
        "FixedSizeList(2 x non-null FixedSizeList(2 x non-null Float32))"
    );
    assert_eq!(types("heap.fits")[2], "List(non-null Int16)");
    assert_eq!(types("texts.fits")[2], "FixedSizeList(2 x Utf8)");
    assert_eq!(
        types("ascii.fits"),
        [
            "Int16", "Utf8", "Int32", "Int64", "Int64", "Float64", "Float64", "Float64"
        ]
    );
}

#[test]
fn what_the_header_says_of_columns_is_kept() {
    let directory = written();
    let table = FitsFile::open(&directory.path().join("known.fits")).unwrap();
    let schema = table.schema();
    assert_eq!(meta::of_table(&schema, meta::NAME), Some("CATALOGUE"));
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["ra", "dec", "flux", "flux_2", "flux_3", "col6"]);
    let get = |column: usize, key: &str| meta::of_column(schema.field(column), key);
    assert_eq!(get(0, meta::UNIT), Some("deg"));
    assert_eq!(get(0, meta::UCD), Some("pos.eq.ra;meta.main"));
    assert_eq!(get(0, meta::UTYPE), Some("char.spatial"));
    assert_eq!(get(0, meta::XTYPE), Some("angle"));
    assert_eq!(get(0, meta::COOSYS), Some("FK5"));
    assert_eq!(get(0, meta::NULL), Some("-9"));
    let description = get(0, meta::DESCRIPTION).unwrap();
    assert!(
        description.contains("'quoted', and far far"),
        "{description}"
    );
    assert!(description.ends_with("far far"), "{description}");
    assert_eq!(
        get(1, meta::DESCRIPTION),
        Some("declination, from the comment")
    );
    assert_eq!(get(1, meta::COOSYS), None);
    assert_eq!(get(2, meta::DESCRIPTION), None, "says nothing");
    assert_eq!(get(3, TTYPE), Some("flux"));
    assert_eq!(get(2, TTYPE), None);
    let arrays = FitsFile::open(&directory.path().join("arrays.fits")).unwrap();
    let matrix = arrays.schema().field(4).clone();
    assert_eq!(meta::of_column(&matrix, meta::SHAPE), Some("(3,2)"));
    let texts = FitsFile::open(&directory.path().join("texts.fits")).unwrap();
    let schema = texts.schema();
    let pairs = schema.field_with_name("pairs").unwrap();
    assert_eq!(meta::of_column(pairs, meta::SHAPE), Some("(2)"));
}

#[test]
fn a_table_is_found_by_its_name_or_its_number_and_images_are_passed_over() {
    let directory = written();
    let file = directory.path().join("several.fits");
    let value = |choice| {
        let table = FitsFile::open_table(&file, choice).unwrap();
        whole(&table, 10)
            .column(0)
            .as_primitive::<Int32Type>()
            .value(0)
    };
    assert_eq!(value(TableChoice::First), 1);
    assert_eq!(value(TableChoice::Name("two")), 2);
    assert_eq!(value(TableChoice::Number(3)), 2);
    let refused = |choice| FitsFile::open_table(&file, choice).unwrap_err().to_string();
    assert_eq!(
        refused(TableChoice::Name("three")),
        "no table \"three\": the tables are 2 (ONE), 3 (TWO)"
    );
    assert_eq!(
        refused(TableChoice::Number(0)),
        "HDU 0 (PRIMARY) is an image; the tables are 2 (ONE), 3 (TWO)"
    );
    assert_eq!(
        refused(TableChoice::Name("compressed")),
        "HDU 1 (COMPRESSED) is an image in compressed tiles (ZIMAGE); the tables are 2 (ONE), 3 (TWO)"
    );
}

#[test]
fn any_rows_and_columns_are_the_same_as_in_the_whole() {
    let directory = written();
    for name in ["numbers", "heap", "texts", "wide_rows", "ascii"] {
        let table = FitsFile::open(&directory.path().join(format!("{name}.fits"))).unwrap();
        let (all, rows) = (whole(&table, 100), table.rows());
        let last = all.num_columns() - 1;
        for columns in [vec![], vec![0], vec![last], vec![last, 0, 2], vec![1, 1]] {
            for (from, to) in [(0, rows), (1, 2), (rows - 1, rows), (5, 5), (3, rows - 2)] {
                let part = table.read(from..to, Some(&columns)).unwrap();
                let same = all.project(&columns).unwrap();
                let same = same.slice(from as usize, (to - from) as usize);
                // NaN is not equal to itself: texts of both are.
                assert_eq!(part.schema(), same.schema());
                assert_eq!(part.num_rows(), same.num_rows());
                for (one, other) in part.columns().iter().zip(same.columns()) {
                    assert_eq!(
                        format!("{one:?}"),
                        format!("{other:?}"),
                        "{name} {from}..{to}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_and_columns_that_do_not_exist_are_refused() {
    let directory = written();
    let table = FitsFile::open(&directory.path().join("known.fits")).unwrap();
    let error = table.read(1..3, None).unwrap_err().to_string();
    assert_eq!(error, "rows 1 to 3 of a table of 2 rows");
    assert!(table.read(0..1, Some(&[6])).is_err());
    assert!(table.reader(Some(&[6]), 0..1, 10).is_err());
    let first = table.read(0..1, Some(&[0])).unwrap();
    let first: &Int32Array = first.column(0).as_primitive();
    assert_eq!(first.null_count(), 0);
}
