//! Columns and values of CSV, TSV and NDJSON files: what a file's characters say, or the characters.

use std::{fs, io::Write, path::Path};

use arrow::{datatypes::DataType, record_batch::RecordBatch};
use datastreamer_engine::{EngineError, TableFiles};
use datastreamer_table::{
    TableEnd, TableWriter,
    column_metadata::ColumnMetadata,
    csv::{CsvWriter, Delimiter},
};
use flate2::{Compression, write::GzEncoder};

use crate::support::{block_on, collect, engine, engine_of, scan, texts};

fn read(path: &Path) -> RecordBatch {
    collect(scan(&engine_of(path), &[]).unwrap())
}

fn read_bytes(name: &str, bytes: &[u8]) -> RecordBatch {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path)
}

fn refusal(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let files = TableFiles::find(&path).unwrap();
    let registered = block_on(engine().register("t", files, &ColumnMetadata::default()));
    let error: EngineError = registered.map(drop).unwrap_err();
    error.to_string()
}

/// The type of a column of these texts, and its values as text.
fn column(fields: &[&str]) -> (String, Vec<String>) {
    let rows: String = fields.iter().map(|field| format!("{field},x\n")).collect();
    let batch = read_bytes("t.csv", format!("c,last\n{rows}").as_bytes());
    (batch.column(0).data_type().to_string(), shown(&batch, "c"))
}

fn shown(batch: &RecordBatch, column: &str) -> Vec<String> {
    let values = texts(batch, column).into_iter();
    values
        .map(|value| value.unwrap_or_else(|| "null".into()))
        .collect()
}

#[test]
fn a_type_holds_every_value_exactly() {
    for (fields, data_type, values) in [
        (&["1", "", "-17"][..], "Int64", &["1", "null", "-17"][..]),
        (&["+5", " 6", "7 "], "Int64", &["5", "6", "7"]),
        (
            &["9223372036854775808", "1"],
            "UInt64",
            &["9223372036854775808", "1"],
        ),
        (
            &["18446744073709551616", "-1"],
            "Decimal128(38, 0)",
            &["18446744073709551616", "-1"],
        ),
        (
            &["9223372036854775808", "-1"],
            "Decimal128(38, 0)",
            &["9223372036854775808", "-1"],
        ),
        (&["+41.2", "-5.0"], "Float64", &["41.2", "-5.0"]),
        (&["1", ".5", "5."], "Float64", &["1.0", "0.5", "5.0"]),
        (&["-00.5", "+05.25"], "Float64", &["-0.5", "5.25"]),
        (&["1", "-0"], "Float64", &["1.0", "-0.0"]),
        (
            &["1.5", "NaN", "-inf", "Infinity", "+Inf"],
            "Float64",
            &["1.5", "NaN", "-inf", "inf", "inf"],
        ),
        (
            &["true", "FALSE", "True"],
            "Boolean",
            &["true", "false", "true"],
        ),
        (
            &["2024-02-29", "0001-01-01"],
            "Date32",
            &["2024-02-29", "0001-01-01"],
        ),
        (
            &["2024-01-01", "2024-01-01T12:00:00.5"],
            "Timestamp(ms)",
            &["2024-01-01T00:00:00", "2024-01-01T12:00:00.500"],
        ),
        (
            &["2024-01-01T12:00:00+02:00", "2024-01-01 12:00:00Z"],
            "Timestamp(s, \"UTC\")",
            &["2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z"],
        ),
        (
            &["9999-12-31T23:59:59.5", "0001-01-01T00:00:00.25"],
            "Timestamp(ms)",
            &["9999-12-31T23:59:59.500", "0001-01-01T00:00:00.250"],
        ),
        (
            &["2024-01-01T00:00:00.123456789"],
            "Timestamp(ns)",
            &["2024-01-01T00:00:00.123456789"],
        ),
        (
            &["9999-12-31T00:00:00.123456000"],
            "Timestamp(µs)",
            &["9999-12-31T00:00:00.123456"],
        ),
        (&["", ""], "Null", &["null", "null"]),
        (&["\"\"", "", "1"], "Int64", &["null", "null", "1"]),
        (&["\"\"", "", "a"], "Utf8", &["", "null", "a"]),
        (&["\"\"", ""], "Utf8", &["", "null"]),
    ] {
        let values = values.iter().map(|value| (*value).to_owned());
        let expected = (data_type.to_owned(), values.collect::<Vec<_>>());
        assert_eq!(column(fields), expected, "{fields:?}");
    }
}

#[test]
fn a_column_without_such_a_type_keeps_its_characters() {
    for fields in [
        &["01569", "94107"][..],
        &["\"00042\"", "1"],
        &["007", "1.5"],
        &["9007199254740993", "1.5"],
        &["-9007199254740993", "NaN"],
        &["9007199254740993", "-0"],
        &["100000000000000000000000000000000000000", "1"],
        &["123456789012345678901234567890123456789012", "1.5"],
        &["1e400", "1"],
        &["1e-400", "1"],
        &["1_000", "1"],
        &["0x10", "1"],
        &["1", "x"],
        &["true", "1"],
        &["2024-01-01", "1"],
        &["2024-02-29", "2024-02-30"],
        &["2024-01-01", "0000-00-00"],
        &["2016-12-31 23:59:60", "2016-12-31 23:59:59"],
        &["2024-06-30 24:00:00", "2024-06-30 23:00:00"],
        &["2024-06-30T23:00:00Z", "2024-06-30T23:00:00"],
        &["2024-06-30T23:00:00Z", "2024-06-30"],
        &[
            "2024-01-01 00:00:00.123456789",
            "9999-12-31 23:59:59.999999999",
        ],
        &["2024-01-01 00:00:00.1234567891"],
        &["2004-01-02 08:00:00", "2004-01-02 08:01:00 (estimated)"],
        &["2020-01-01 01:02:03 and", "2020-01-01 01:02:03"],
        &["12:34:56"],
        &[" a ", "NaNa"],
    ] {
        let expected: Vec<_> = fields
            .iter()
            .map(|field| field.trim_matches('"').to_owned())
            .collect();
        assert_eq!(column(fields), ("Utf8".to_owned(), expected), "{fields:?}");
    }
}

#[test]
fn several_files_have_the_type_that_holds_all_of_them() {
    for (one, other, data_type) in [
        ("9007199254740993", "0.5", DataType::Utf8),
        ("9007199254740992", "0.5", DataType::Float64),
        ("9223372036854775808", "-1", DataType::Decimal128(38, 0)),
        ("\"\"", "7", DataType::Int64),
        ("01", "7", DataType::Utf8),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, field) in [("a.csv", one), ("b.csv", other)] {
            fs::write(folder.path().join(name), format!("c,x\n{field},y\n")).unwrap();
        }
        let batch = read(folder.path());
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.column(0).data_type(), &data_type, "{one} {other}");
        assert!(batch.schema().field(0).metadata().is_empty());
    }
}

#[test]
fn our_csv_and_tsv_read_back_as_they_were() {
    let nasty = "n,text\n1,\"\"\n2,\n3,\"a,\"\"b\"\"\"\n4,\"tab\there\nline\r\nend\"\n5,back\\slash\\n\n6, blanks \n";
    let original = read_bytes("t.csv", nasty.as_bytes());
    for (delimiter, name) in [(Delimiter::Comma, "u.csv"), (Delimiter::Tab, "u.tsv")] {
        let written = written(&original, delimiter);
        let again = read_bytes(name, &written);
        let mut expected = shown(&original, "text");
        if delimiter == Delimiter::Tab {
            // TSV has nothing for an empty text.
            expected[0] = "null".into();
        }
        assert_eq!(shown(&again, "text"), expected, "{name}");
        assert_eq!(shown(&again, "n"), ["1", "2", "3", "4", "5", "6"]);
    }
    for alone in ["c\n1\n\n2\n\n", "c\na\n\"  \"\nb\n"] {
        let original = read_bytes("t.csv", alone.as_bytes());
        for (delimiter, name) in [(Delimiter::Comma, "u.csv"), (Delimiter::Tab, "u.tsv")] {
            let again = read_bytes(name, &written(&original, delimiter));
            assert_eq!(again, original, "{name}: {alone:?}");
        }
    }
}

fn written(batch: &RecordBatch, delimiter: Delimiter) -> Vec<u8> {
    let mut file = Vec::new();
    let mut table = Box::new(CsvWriter::new(&mut file, batch.schema(), delimiter).unwrap());
    table.write(batch).unwrap();
    table.finish(TableEnd::Complete).unwrap();
    file
}

#[test]
fn a_column_without_a_name_gets_one() {
    let batch = read_bytes("t.csv", b",a,\n0,1,2\n");
    let names: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["column1", "a", "column3"]);
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_refused_when_it_is_opened() {
    for (name, bytes, expected) in [
        (
            "t.csv",
            &b"a,b\n1,2\n3\n"[..],
            "t.csv: line 3 has 1 fields, and the header 2",
        ),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "t.csv: line 3 has 3 fields"),
        (
            "t.tsv",
            b"a\tb\n1\t2\n\xff\t3\n",
            "t.tsv: line 3 is not UTF-8",
        ),
        ("t.csv", b"a,b\n1,\"2\n", "t.csv: ends within quotes"),
        (
            "t.csv.gz",
            &gzip(b"a,b\n1,2\n")[..20],
            "t.csv.gz: is damaged or cut short: it is not complete gzip",
        ),
        (
            "t.csv.gz",
            &[gzip(b"a,b\n1,2\n"), b"x".to_vec()].concat(),
            "t.csv.gz: has other bytes behind its gzip data",
        ),
    ] {
        let error = refusal(name, bytes);
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn gzip_of_several_members_and_zeros_behind_it_is_one_file() {
    let zeros = vec![0; 3 << 20];
    for bytes in [
        [gzip(b"\xef\xbb\xbfc,d\n1,"), gzip(b"2\n3,4\n")].concat(),
        [gzip(b"c,d\n1,2\n3,4"), zeros].concat(),
    ] {
        let batch = read_bytes("t.csv.gz", &bytes);
        assert_eq!(shown(&batch, "c"), ["1", "3"]);
        assert_eq!(shown(&batch, "d"), ["2", "4"]);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = GzEncoder::new(Vec::new(), Compression::default());
    file.write_all(bytes).unwrap();
    file.finish().unwrap()
}

/// The type of the column `v` of these values, and its values as text.
fn json_column(values: &[&str]) -> (String, Vec<String>) {
    let lines = values
        .iter()
        .map(|value| format!("{{\"v\": {value}, \"w\": 1}}\n"));
    let batch = read_bytes("t.ndjson", lines.collect::<String>().as_bytes());
    (batch.column(0).data_type().to_string(), shown(&batch, "v"))
}

#[test]
fn a_json_column_has_the_type_of_its_values_or_is_text() {
    for (values, data_type, expected) in [
        (
            &["1", "null", "-17"][..],
            "Int64",
            &["1", "null", "-17"][..],
        ),
        (&["1", "1.0", "1e5"], "Float64", &["1.0", "1.0", "100000.0"]),
        (&["9223372036854775808"], "UInt64", &["9223372036854775808"]),
        (
            &["18446744073709551616", "-1"],
            "Decimal128(38, 0)",
            &["18446744073709551616", "-1"],
        ),
        (&["true", "false"], "Boolean", &["true", "false"]),
        (&["null", "null"], "Null", &["null", "null"]),
        (
            &["\"\"", "null", "\"é\\n\\u20ac\""],
            "Utf8",
            &["", "null", "é\n€"],
        ),
        (&["\"2024-01-01\""], "Utf8", &["2024-01-01"]),
        (
            &["9007199254740993", "0.5"],
            "Utf8",
            &["9007199254740993", "0.5"],
        ),
        (&["1e400", "1"], "Utf8", &["1e400", "1"]),
        (
            &["1", "\"x\"", "1.50", "true"],
            "Utf8",
            &["1", "x", "1.50", "true"],
        ),
        (&["true", "1"], "Utf8", &["true", "1"]),
        (
            &["[1, 2]", "3", "\"[x]\"", "{\"a\": [ ]}"],
            "Utf8",
            &["[1, 2]", "3", "[x]", "{\"a\": [ ]}"],
        ),
        (&["[]", "{}"], "Utf8", &["[]", "{}"]),
        (&["{}"], "Utf8", &["{}"]),
    ] {
        let expected = expected.iter().map(|value| (*value).to_owned());
        let expected = (data_type.to_owned(), expected.collect::<Vec<_>>());
        assert_eq!(json_column(values), expected, "{values:?}");
    }
}

#[test]
fn nested_json_has_the_types_of_all_its_rows() {
    let lines = concat!(
        "{\"l\": [1, null], \"s\": {\"a\": 1}, \"d\": [[1], []]}\n",
        "\n",
        "{\"d\": null, \"l\": [], \"s\": {\"b\": [true], \"a\": 0.5}}\r\n",
        "{\"s\": null, \"l\": [\"x\", 2, {}], \"late\": 7}",
    );
    let batch = read_bytes("t.jsonl", lines.as_bytes());
    let types =
        |field: &arrow::datatypes::FieldRef| format!("{}: {}", field.name(), field.data_type());
    let types: Vec<_> = batch.schema().fields().iter().map(types).collect();
    assert_eq!(
        types,
        [
            "l: List(Utf8)",
            "s: Struct(\"a\": Float64, \"b\": List(Boolean))",
            "d: List(List(Int64))",
            "late: Int64",
        ]
    );
    assert_eq!(shown(&batch, "late"), ["null", "null", "7"]);
    let mut rows = arrow::json::LineDelimitedWriter::new(Vec::new());
    rows.write(&batch).unwrap();
    assert_eq!(
        String::from_utf8(rows.into_inner()).unwrap(),
        concat!(
            "{\"l\":[\"1\",null],\"s\":{\"a\":1.0},\"d\":[[1],[]]}\n",
            "{\"l\":[],\"s\":{\"a\":0.5,\"b\":[true]}}\n",
            "{\"l\":[\"x\",\"2\",\"{}\"],\"late\":7}\n",
        )
    );
}

#[test]
fn a_line_that_is_no_json_object_is_refused_by_its_number() {
    for (text, expected) in [
        (
            "{\"a\":1}\n{\"a\":NaN}\n",
            "line 2: 'N' at byte 6, where a value is expected",
        ),
        ("{\"a\":1}\n\n[1]\n", "line 3: '[' at byte 1"),
        ("{\"a\":1}\n{\"a\":1", "line 2: the line ends"),
        (
            "{\"a\":1} {\"a\":2}\n",
            "line 1: '{' at byte 9, where the end of the line",
        ),
        ("{\"a\":1,\"a\":2}\n", "line 1: \"a\" is there twice"),
        (
            "{\"a\":{\"b\":1,\"b\":1}}\n",
            "line 1: \"b\" is there twice",
        ),
        ("{\"a\":01}\n", "line 1: '1' at byte 7"),
        ("{\"a\":\"x\ty\"}\n", "line 1: '\\t' at byte 8"),
    ] {
        let error = refusal("t.ndjson", text.as_bytes());
        assert!(
            error.contains(&format!("t.ndjson: {expected}")),
            "{text}: {error}"
        );
    }
    let error = refusal("t.ndjson", b"{\"a\":1}\n{\"a\":\"\xff\"}\n");
    assert!(
        error.contains("line 2 is not UTF-8 at byte 14, "),
        "{error}"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let batch = read_bytes("t.ndjson", b"\xef\xbb\xbf{\"a\":1}\n");
    assert_eq!(shown(&batch, "a"), ["1"]);
    let batch = read_bytes("t.tsv", b"\xef\xbb\xbfa\tb\n1\t2\n");
    assert_eq!(shown(&batch, "a"), ["1"]);
}

/// The header alone would take memory: it is refused where its 65,537th field begins.
#[test]
fn more_columns_than_a_table_has_are_refused() {
    const MOST: usize = 1 << 16;
    let row = |count| vec!["1"; count].join(",") + "\n";
    let wide = refusal("t.csv", row(MOST + 1).as_bytes());
    assert!(wide.ends_with("line 1 has over 65536 fields"), "{wide}");
    let later = format!("a,b\n1,2\n{}", row(MOST + 1));
    let later = refusal("t.csv", later.as_bytes());
    assert!(later.ends_with("line 3 has over 65536 fields"), "{later}");
    let names: String = (0..MOST)
        .map(|at| format!("{{\"o\":{{\"k{at}\":1}}}}\n"))
        .collect();
    let nested = refusal("t.ndjson", names.as_bytes());
    let expected = "line 65536: the objects have over 65536 names in all";
    assert!(nested.ends_with(expected), "{nested}");
}

#[test]
fn a_column_without_a_name_among_many_gets_one() {
    let header = ",".repeat(9_999);
    let row = vec!["1"; 10_000].join(",");
    let batch = read_bytes("t.csv", format!("{header}\n{row}\n").as_bytes());
    assert_eq!(batch.num_columns(), 10_000);
    assert_eq!(batch.schema().field(9_999).name(), "column10000");
}
