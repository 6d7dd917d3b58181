//! Options of CSV, TSV and NDJSON files: how they are written, and the types of their columns.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::record_batch::{RecordBatch, RecordBatchReader};
use datastreamer_engine::{
    Engine, EngineError, TableFiles,
    text::{DecimalMark, TextEncoding, TextOptions, parse_type},
};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::support::{block_on, collect, engine, scan, texts};

fn usual() -> TextOptions {
    TextOptions::default()
}

fn types(types: &[(&str, &str)]) -> TextOptions {
    let types = types.iter();
    let types = types.map(|(name, text)| ((*name).to_owned(), parse_type(text).unwrap()));
    TextOptions {
        types: BTreeMap::from_iter(types),
        ..usual()
    }
}

fn open(path: &Path, options: TextOptions) -> Result<Engine, EngineError> {
    let engine = engine();
    let files = TableFiles::find(path)?.with_text_options(options)?;
    block_on(engine.register("stars", files, &ColumnMetadata::default()))?;
    Ok(engine)
}

fn read(path: &Path, options: TextOptions) -> Result<RecordBatch, String> {
    let engine = open(path, options).map_err(|error| error.to_string())?;
    let rows = scan(&engine, &[]).map_err(|error| error.to_string())?;
    let schema = rows.schema();
    let batches = rows.collect::<Result<Vec<_>, _>>();
    let batches = batches.map_err(|error| error.to_string())?;
    Ok(arrow::compute::concat_batches(&schema, &batches).unwrap())
}

fn read_text(name: &str, text: &str, options: TextOptions) -> Result<RecordBatch, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    read(&path, options)
}

/// The columns as `name: type`, and the values as text, row by row.
fn shown(batch: &RecordBatch) -> (Vec<String>, Vec<String>) {
    let schema = batch.schema();
    let names = schema.fields().iter();
    let columns = names.clone();
    let columns = columns.map(|field| format!("{}: {}", field.name(), field.data_type()));
    let values: Vec<_> = names.map(|field| texts(batch, field.name())).collect();
    let rows = (0..batch.num_rows()).map(|row| {
        let values = values.iter().map(|column| column[row].as_deref());
        let values: Vec<_> = values.map(|value| value.unwrap_or("null")).collect();
        values.join("|")
    });
    (columns.collect(), rows.collect())
}

#[test]
fn another_delimiter_is_taken_if_every_row_agrees() {
    for (name, text, columns, rows) in [
        (
            "t.csv",
            "a;b\n1,5;x\n2;\"y;z\"\n",
            &["a: Utf8", "b: Utf8"][..],
            &["1,5|x", "2|y;z"][..],
        ),
        (
            "t.csv",
            "a|b|c\n1|2|3\n",
            &["a: Int64", "b: Int64", "c: Int64"],
            &["1|2|3"],
        ),
        (
            "t.csv",
            "a\tb\n1\t2\n\n",
            &["a: Int64", "b: Int64"],
            &["1|2"],
        ),
        ("t.tsv", "a;b\n1;2\n", &["a: Int64", "b: Int64"], &["1|2"]),
        // A row disagrees: one column, as it is.
        ("t.csv", "a;b\n1;2\n3\n", &["a;b: Utf8"], &["1;2", "3"]),
        // Both agree.
        ("t.csv", "a;b|c\n1;2|3\n", &["a;b|c: Utf8"], &["1;2|3"]),
        // The header is one field.
        ("t.csv", "\"a;b\"\n1\n", &["a;b: Int64"], &["1"]),
        // There are columns already.
        (
            "t.csv",
            "a;b,c\n1;2,3\n",
            &["a;b: Utf8", "c: Int64"],
            &["1;2|3"],
        ),
    ] {
        let batch = read_text(name, text, usual()).unwrap();
        let expected = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(
            shown(&batch),
            (expected(columns), expected(rows)),
            "{text:?}"
        );
    }
    let error = read_text("t.csv", "a;b\n1,5;2\n3,5\n", usual()).unwrap_err();
    assert!(
        error.contains("line 2 has 2 fields, and the header 1 (with \";\": line 3 has 1"),
        "{error}"
    );
    let commas = TextOptions {
        delimiter: Some(b','),
        ..usual()
    };
    let batch = read_text("t.csv", "a;b\n1;2\n", commas).unwrap();
    assert_eq!(shown(&batch).0, ["a;b: Utf8"]);
}

#[test]
fn the_files_of_a_folder_have_one_delimiter() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.csv"), "a;b\n1;2\n").unwrap();
    fs::write(folder.path().join("2.csv"), "a;b\n3;4\n").unwrap();
    let batch = read(folder.path(), usual()).unwrap();
    assert_eq!(shown(&batch).1, ["1|2", "3|4"]);
    // A file that comes later is read in the same way, or refused.
    let engine = open(folder.path(), usual()).unwrap();
    fs::write(folder.path().join("3.csv"), "a;b\n5;6\n").unwrap();
    assert_eq!(
        shown(&collect(scan(&engine, &[]).unwrap())).1,
        ["1|2", "3|4", "5|6"]
    );
    fs::write(folder.path().join("4.csv"), "a;b\n7\n").unwrap();
    let error = scan(&engine, &[]).map(drop).unwrap_err().to_string();
    assert!(error.contains("4.csv: line 2 has 1 fields"), "{error}");
    // One that disagrees from the start makes all of them one column.
    let batch = read(folder.path(), usual()).unwrap();
    assert_eq!(shown(&batch).1, ["1;2", "3;4", "5;6", "7"]);
}

#[test]
fn a_file_that_declares_another_delimiter_than_the_first_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.csv"), "sep=;\na;b\n1;2\n").unwrap();
    fs::write(folder.path().join("2.csv"), "a;b\n3;4\n").unwrap();
    let engine = open(folder.path(), usual()).unwrap();
    assert_eq!(
        shown(&collect(scan(&engine, &[]).unwrap())).1,
        ["1|2", "3|4"]
    );
    // Both columns are in its only one, by semicolons.
    fs::write(folder.path().join("3.csv"), "sep=|\na;b\n5;6\n").unwrap();
    let later = scan(&engine, &[]).map(drop).unwrap_err().to_string();
    let first = open(folder.path(), usual())
        .map(drop)
        .unwrap_err()
        .to_string();
    for error in [later, first] {
        assert!(
            error.contains("3.csv: line 1 declares the delimiter"),
            "{error}"
        );
    }
}

#[test]
fn utf_16_without_a_byte_order_mark_is_refused_until_it_is_declared() {
    let text = "a,b\n1,2\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    for (name, encoded) in [
        ("utf-16be", u16::to_be_bytes as fn(u16) -> [u8; 2]),
        ("utf-16le", u16::to_le_bytes),
    ] {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(encoded).collect();
        fs::write(&path, bytes).unwrap();
        read(&path, usual()).expect_err(name);
        let declared = TextOptions {
            encoding: TextEncoding::parse(name).ok(),
            ..usual()
        };
        assert_eq!(shown(&read(&path, declared).unwrap()).1, ["1|2"], "{name}");
    }
}

#[test]
fn a_file_of_another_delimiter_than_the_first_is_refused_whatever_columns_are_asked_for() {
    let no_header = TextOptions {
        header: Some(false),
        ..usual()
    };
    let declared = types(&[("a", "text"), ("b", "text")]);
    for (suffix, options, first, other) in [
        ("csv", usual(), "a,b\nx,y\n", "a;b\np;q\n"),
        ("csv", usual(), "a,b\nx,y\n", "a|b\np|q\n"),
        ("csv", usual(), "a,b\nx,y\n", "a\tb\np\tq\n"),
        ("csv", usual(), "a;b\nx;y\n", "a,b\np,q\n"),
        ("tsv", usual(), "a\tb\nx\ty\n", "a;b\np;q\n"),
        ("csv", no_header, "x,y\n", "p;q\n"),
        ("csv", declared, "a,b\nx,y\n", "a;b\np;q\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(format!("{name}.{suffix}"));
        fs::write(path("1"), first).unwrap();
        fs::write(path("2"), other).unwrap();
        let error = open(folder.path(), options.clone()).err().expect(other);
        assert!(
            error.to_string().contains(&format!("2.{suffix}")),
            "{error}"
        );

        // One that is added, or replaced, while the table is served.
        fs::remove_file(path("2")).unwrap();
        let engine = open(folder.path(), options).unwrap();
        let column = match first.starts_with('a') {
            true => "a",
            false => "column1",
        };
        fs::write(path("2"), other).unwrap();
        let parameters = [("select", column)];
        scan(&engine, &parameters).err().expect(other);
        fs::remove_file(path("2")).unwrap();
        fs::write(path("1"), other).unwrap();
        scan(&engine, &parameters).err().expect(other);
    }
}

#[test]
fn a_declared_type_holds_what_the_text_says() {
    let text = "a,b,c,d,e,f,g,h,i,j\n\
                007,1,-5,0.1,12.5,2024-02-29,23:59:59.5,2024-02-29 12:00:00.25,2024-02-29T12:00:00+01:00,t\n\
                ,,,,,,,,,\n\
                \"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"\n";
    let options = types(&[
        ("a", "text"),
        ("b", "uint8"),
        ("c", "int16"),
        ("d", "float32"),
        ("e", "decimal(5,2)"),
        ("f", "date"),
        ("g", "time"),
        ("h", "timestamp(ms)"),
        ("i", "timestamp with zone"),
        ("j", "boolean"),
    ]);
    let (columns, rows) = shown(&read_text("t.csv", text, options).unwrap());
    assert_eq!(
        columns,
        [
            "a: Utf8",
            "b: UInt8",
            "c: Int16",
            "d: Float32",
            "e: Decimal128(5, 2)",
            "f: Date32",
            "g: Time64(µs)",
            "h: Timestamp(ms)",
            "i: Timestamp(µs, \"UTC\")",
            "j: Boolean",
        ]
    );
    assert_eq!(
        rows,
        [
            "007|1|-5|0.1|12.50|2024-02-29|23:59:59.500|2024-02-29T12:00:00.250|\
             2024-02-29T11:00:00Z|true",
            "null|null|null|null|null|null|null|null|null|null",
            "|null|null|null|null|null|null|null|null|null",
        ]
    );
}

#[test]
fn a_value_of_another_type_is_an_error_with_file_line_and_column() {
    for (data_type, wrong) in [
        ("int8", "128"),
        ("uint8", "-1"),
        ("uint64", "18446744073709551616"),
        ("int32", "1.0"),
        ("float32", "16777217"),
        ("float64", "1e400"),
        ("float64", "9007199254740993"),
        ("decimal(3,1)", "1.25"),
        ("decimal(3,1)", "100"),
        ("date", "2023-02-29"),
        ("time(s)", "12:00:00.5"),
        ("timestamp(s)", "2024-01-01T00:00:00.5"),
        ("timestamp", "2024-01-01T00:00:00Z"),
        ("timestamp with zone", "2024-01-01T00:00:00"),
        ("boolean", "yes"),
    ] {
        let text = format!("c,x\n\"\",\"a\n\"\n{wrong},b\n");
        let error = read_text("t.csv", &text, types(&[("c", data_type)])).unwrap_err();
        let expected =
            format!("t.csv: line 4, column \"c\": {wrong:?} is not of the column's type, ");
        assert!(error.contains(&expected), "{data_type}: {error}");
    }
}

#[test]
fn strings_of_ndjson_are_values_of_a_declared_type() {
    let text = "{\"d\":\"2024-02-29\",\"n\":\"12.50\",\"t\":1,\"x\":[1]}\n{\"n\":3,\"t\":\"a\"}\n";
    let declared = types(&[
        ("d", "date"),
        ("n", "decimal(4,2)"),
        ("t", "text"),
        ("x", "text"),
    ]);
    let (columns, rows) = shown(&read_text("t.ndjson", text, declared).unwrap());
    assert_eq!(
        columns,
        ["d: Date32", "n: Decimal128(4, 2)", "t: Utf8", "x: Utf8"]
    );
    assert_eq!(rows, ["2024-02-29|12.50|1|[1]", "null|3.00|a|null"]);
    let error = read_text("t.ndjson", text, types(&[("t", "int8")])).unwrap_err();
    assert!(
        error.contains("line 2: column \"t\": \"a\" is not of"),
        "{error}"
    );
    let closed = TextOptions {
        names: Some(vec!["d".into(), "n".into()]),
        ..types(&[("d", "date"), ("n", "float64")])
    };
    let error = read_text("t.ndjson", text, closed).unwrap_err();
    assert!(
        error.contains("line 1: \"t\" is not among names"),
        "{error}"
    );
}

#[test]
fn a_declared_column_that_is_not_there_is_an_error() {
    for (name, text) in [("t.csv", "a,b\n1,2\n"), ("t.ndjson", "{\"a\":1,\"b\":2}\n")] {
        let error = read_text(name, text, types(&[("c", "text")])).unwrap_err();
        let expected = "has no column \"c\", of which the type is set; there are a, b";
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn options_of_text_are_refused_for_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    fs::write(&path, "PAR1").unwrap();
    let semicolons = TextOptions {
        delimiter: Some(b';'),
        ..usual()
    };
    for (options, option) in [
        (semicolons.clone(), "delimiter"),
        (types(&[("a", "text")]), "type"),
    ] {
        let error = read(&path, options).unwrap_err();
        let expected = format!("{option} is an option of CSV, TSV and NDJSON, and this is Parquet");
        assert!(error.contains(&expected), "{error}");
    }
    let error = read_text("t.ndjson", "{}\n", semicolons).unwrap_err();
    assert!(
        error.contains("delimiter is no option of NDJSON"),
        "{error}"
    );
    let comma = TextOptions {
        decimal: Some(DecimalMark::Comma),
        ..usual()
    };
    let error = read_text("t.csv", "a,b\n1,2\n", comma).unwrap_err();
    assert!(error.contains("needs another delimiter"), "{error}");
}

/// The buffers of a header that is looked at once, and read once more, are 1 MiB each.
const HEADER_BYTES_MAX: u64 = 3 << 20;

#[test]
fn a_file_of_declared_columns_is_opened_without_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 400_000;
    let fields = "12345,text\n".repeat(rows);
    let objects = "{\"a\":12345,\"b\":\"text\"}\n".repeat(rows);
    let names = TextOptions {
        names: Some(vec!["a".into(), "b".into()]),
        ..types(&[("a", "int32"), ("b", "text")])
    };
    for (name, text, options, most) in [
        (
            "t.csv",
            format!("a,b\n{fields}"),
            types(&[("a", "int32"), ("b", "text")]),
            HEADER_BYTES_MAX,
        ),
        ("t.ndjson", objects, names, HEADER_BYTES_MAX),
        (
            "part.csv",
            format!("a,b\n{fields}"),
            types(&[("a", "int32")]),
            u64::MAX,
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &text).unwrap();
        let read = Arc::new(AtomicU64::new(0));
        let files = TableFiles::find(&path).unwrap().with_text_options(options);
        let files = files.unwrap().counting(Arc::clone(&read));
        let engine = engine();
        let info = block_on(engine.register("stars", files, &ColumnMetadata::default())).unwrap();
        assert!(!info.is_checked());
        let read = read.load(Ordering::Relaxed);
        assert!(read <= most, "{name}: {read}");
        assert!(
            most < u64::MAX || read >= text.len() as u64,
            "{name}: {read}"
        );
        let count: usize = scan(&engine, &[])
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(count, rows, "{name}");
    }
}

#[test]
fn names_replace_one_header_only() {
    let folder = tempfile::tempdir().unwrap();
    let options = || TextOptions {
        header: Some(true),
        names: Some(vec!["x".into(), "y".into()]),
        ..TextOptions::default()
    };
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("1.csv", "a,b\n1,2\n");
    write("2.csv", "a,b\n3,4\n");
    let both = read(folder.path(), options()).unwrap();
    assert_eq!(both.num_rows(), 2);
    // The columns of this file are called otherwise: its values would be those of others.
    write("2.csv", "b,a\n3,4\n");
    let error = read(folder.path(), options()).unwrap_err();
    for word in ["2.csv", "names replace one header only"] {
        assert!(error.contains(word), "{error}");
    }
    // So they would be if the file is replaced while the table is there.
    let file = folder.path().join("1.csv");
    let engine = open(&file, options()).unwrap();
    write("1.csv", "b,a\n1,2\n");
    let is_refused = match scan(&engine, &[]) {
        Ok(mut rows) => rows.next().unwrap().is_err(),
        Err(_) => true,
    };
    assert!(is_refused);
}
