//! Parameters of a URL that narrow a table.

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, DictionaryArray,
        FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
        ListArray, RecordBatchReader, RunArray, StringArray, Time32SecondArray,
        TimestampMicrosecondArray, TimestampMillisecondArray, UInt64Array, make_array,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema},
    ipc::writer::FileWriter,
    record_batch::RecordBatch,
};
use datastreamer_engine::{Engine, EngineErrorKind, Narrowing, Query};
use datastreamer_table::uuid;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    schema::{parser::parse_message_type, types::SchemaDescriptor},
};

use crate::support::{block_on, collect, engine_of, ids, scan, stars, texts, write_parquet};

/// What a narrowing gives of ids 0 to 99, or its error.
fn narrowed(parameters: &[(&str, &str)]) -> Result<Vec<i64>, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 100));
    match scan(&engine_of(&file), parameters) {
        Ok(rows) => Ok(ids(&collect(rows))),
        Err(error) => {
            assert_eq!(error.kind(), EngineErrorKind::BadQuery);
            Err(error.to_string())
        }
    }
}

#[test]
fn each_operator_narrows() {
    for (column, condition, wanted) in [
        ("id", "eq.7", vec![7]),
        ("id", "lt.2", vec![0, 1]),
        ("id", "lte.1", vec![0, 1]),
        ("id", "gt.97", vec![98, 99]),
        ("id", "gte.98", vec![98, 99]),
        ("id", "in.(5,3)", vec![3, 5]),
        ("id", "not.gte.2", vec![0, 1]),
        ("RA", "eq.0.125", vec![1]),
        ("name", "eq.star 4", vec![4]),
        ("name", "in.(\"star 4\",\"star 5\")", vec![4, 5]),
        ("name", "like.*7*7", vec![77]),
        ("name", "ilike.STAR 3", vec![3]),
        ("name", "is.null", (0..100).step_by(10).collect()),
    ] {
        assert_eq!(
            narrowed(&[(column, condition)]),
            Ok(wanted),
            "{column}={condition}"
        );
    }
    let most = narrowed(&[("id", "neq.7")]).unwrap();
    assert_eq!(most.len(), 99);
    assert_eq!(narrowed(&[("name", "is.not_null")]).unwrap().len(), 90);
}

#[test]
fn conditions_of_several_columns_are_joined() {
    for (name, value, wanted) in [
        ("or", "(id.lt.2,id.gt.97)", vec![0, 1, 98, 99]),
        ("and", "(id.lt.9,id.gt.7)", vec![8]),
        ("not.or", "(id.lt.98,id.eq.99)", vec![98]),
        ("not.and", "(id.gte.1,id.lte.98)", vec![0, 99]),
        (
            "or",
            "(id.eq.1,and(id.gt.5,not.or(id.gt.7,name.eq.star 6)))",
            vec![1, 7],
        ),
        (
            "or",
            "(name.eq.\"star 4\",id.in.(1,2),RA.not.gt.0)",
            vec![0, 1, 2, 4],
        ),
        (
            "or",
            "(\"id\".eq.3,name.in.(\"star 5\",\"a,)\"))",
            vec![3, 5],
        ),
        ("and", "(id.lt.21,or(name.is.null))", vec![0, 10, 20]),
    ] {
        assert_eq!(narrowed(&[(name, value)]), Ok(wanted), "{name}={value}");
    }
    let deep =
        |levels: usize| format!("({}id.eq.3{}", "or(".repeat(levels), ")".repeat(levels + 1));
    assert_eq!(narrowed(&[("and", &deep(15))]), Ok(vec![3]));
    for (value, text) in [
        (
            "()",
            "a condition, for example COLUMN.gt.1, is missing before `)`",
        ),
        ("(id.lt.1", "closing parenthesis is missing at the end"),
        ("(id.lt.1)x", "the end is missing before `x`"),
        (
            "(id.lt.1,)",
            "a condition, for example COLUMN.gt.1, is missing",
        ),
        ("(id.lt)", "a dot and a value is missing"),
        ("(id.below.1)", "there is no operator `below`; there are eq"),
        (
            "(idd.lt.1)",
            "there is no column `idd`; there are id, RA, name",
        ),
        (
            "(id.lt.x)",
            "parameter `or`: `id`: `x` is not a value of type",
        ),
        ("(name.eq.\"a)", "a quote is not closed"),
        ("(id.in.(1,2)", "closing parenthesis is missing"),
        (&deep(16), "more than 16 levels"),
        (
            &format!("({}id.eq.1)", "id.eq.1,".repeat(100)),
            "more than 100 conditions",
        ),
    ] {
        let error = narrowed(&[("or", value)]).unwrap_err();
        assert!(error.contains(text), "or={value}: {error}");
    }
    for (name, value) in [("or", "eq.1"), ("or", "id.eq.1"), ("not.and", "id.eq.1")] {
        let error = narrowed(&[(name, value)]).unwrap_err();
        for text in [
            format!("there is no column `{name}`"),
            format!("{name}=(...)"),
        ] {
            assert!(error.contains(&text), "{name}={value}: {error}");
        }
    }
}

#[test]
fn an_error_proposes_a_name_and_a_value() {
    for (name, value, text) in [
        ("ID", "gt.1", "did you mean `id`?"),
        ("nmae", "gt.1", "did you mean `name`?"),
        ("order", "ra", "did you mean `RA`?"),
        ("id", "eq.five", "write for example 12"),
        ("RA", "gt.high", "write for example 1.5"),
        ("id", "eq.null", "is.null"),
    ] {
        let error = narrowed(&[(name, value)]).unwrap_err();
        assert!(error.contains(text), "{name}={value}: {error}");
    }
    let far = narrowed(&[("colour", "gt.1")]).unwrap_err();
    assert!(!far.contains("did you mean"), "{far}");
    // A text, as any other.
    assert_eq!(narrowed(&[("name", "eq.null")]), Ok(vec![]));
}

#[test]
fn conditions_order_and_limit_go_together() {
    let given = [
        ("id", "gte.10"),
        ("id", "lt.20"),
        ("order", "name.desc,id"),
        ("offset", "2"),
    ];
    let read = narrowed(&given).unwrap();
    assert_eq!(
        read,
        [18, 17, 16, 15, 14, 13, 12, 11],
        "after the null, which comes first"
    );
    // One more than the limit, so that the reader sees that there are more.
    assert_eq!(narrowed(&[("limit", "3")]), Ok(vec![0, 1, 2, 3]));
    assert_eq!(narrowed(&[("limit", "0")]), Ok(vec![0]));
    let order = [("order", "name.nullsfirst,id.desc"), ("limit", "1")];
    assert_eq!(narrowed(&order), Ok(vec![90, 80]));
}

#[test]
fn columns_are_selected_and_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 2));
    let rows = scan(&engine_of(&file), &[("select", "id,label:name")]).unwrap();
    let read = collect(rows);
    assert_eq!(texts(&read, "label"), [None, Some("star 1".into())]);
    assert_eq!(read.num_columns(), 2);
}

/// A table of this many columns, `c0` to the last one.
fn wide(columns: usize) -> Schema {
    let field = |place| Field::new(format!("c{place}"), DataType::Int64, true);
    Schema::new((0..columns).map(field).collect::<Vec<_>>())
}

/// Selects one column by this many names.
fn aliases(count: usize) -> [(String, String); 1] {
    let aliases: Vec<_> = (0..count).map(|place| format!("a{place}:c0")).collect();
    [("select".to_owned(), aliases.join(","))]
}

#[test]
fn a_result_has_at_most_twice_the_columns_of_its_table_and_a_table_is_never_too_wide_for_itself() {
    for (columns, most) in [
        (1, 2),
        (3, 6),
        (999, 1998),
        (1_500, 2_000),
        (2_000, 2_000),
        (65_536, 65_536),
    ] {
        let table = wide(columns);
        assert!(
            Narrowing::parse(&aliases(most), &table).is_ok(),
            "{columns}"
        );
        let error = Narrowing::parse(&aliases(most + 1), &table).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::BadQuery);
        let wanted = format!("parameter `select`: more than {most} columns are selected");
        assert!(error.to_string().starts_with(&wanted), "{error}");
        let all = [("select".to_owned(), "*".to_owned())];
        assert!(Narrowing::parse(&all, &table).is_ok(), "{columns}");
    }
}

/// A URL has at most 64 KiB.
#[test]
fn the_time_of_a_check_is_linear_in_the_request_and_in_the_table() {
    let table = wide(65_536);
    let names: Vec<_> = (0..10_000)
        .map(|place| format!("c{}", 65_535 - place))
        .collect();
    let words = format!("c0{}", ".asc".repeat(16_000));
    let hostile = [
        vec![("select".to_owned(), names.join(","))],
        vec![("select".to_owned(), "*,".repeat(32_000))],
        vec![("order".to_owned(), words.clone())],
        vec![("order".to_owned(), words.replace("c0", "no"))],
        vec![("order".to_owned(), vec!["c65535"; 100].join(","))],
        vec![("c65535".to_owned(), "gt.1".to_owned()); 20_000],
        vec![("no".to_owned(), "gt.1".to_owned()); 20_000],
        vec![("n".repeat(64_000), "gt.1".to_owned())],
        vec![(
            "or".to_owned(),
            format!("({})", "c65535.gt.1,".repeat(5_000)),
        )],
        vec![("or".to_owned(), format!("({})", "c.".repeat(32_000)))],
        vec![("or".to_owned(), "(".repeat(64_000))],
        vec![("or".to_owned(), format!("({}", "or(".repeat(20_000)))],
    ];
    for parameters in hostile {
        let started = Instant::now();
        let _refused_or_not = Narrowing::parse(&parameters, &table);
        let took = started.elapsed();
        let (name, value) = &parameters[0];
        let value = value.get(..20).unwrap_or(value);
        assert!(took < Duration::from_secs(2), "{name}={value}: {took:?}");
    }
}

#[test]
fn an_error_names_the_alternatives() {
    for (name, value, text) in [
        (
            "ra",
            "gt.1",
            "there is no column `ra`; there are id, RA, name",
        ),
        (
            "id",
            "above.1",
            "there is no operator `above`; there are eq, neq, gt, gte",
        ),
        ("id", "5", "there is no operator `5`"),
        (
            "id",
            "eq.five",
            "`five` is not a value of type 64-bit integer",
        ),
        ("id", "eq.", "`` is not a value of type 64-bit integer"),
        ("id", "like.1*", "`like` is for texts"),
        ("id", "in.1,2", "in.(1,2,3)"),
        ("name", "in.(\"a)", "a quote is not closed"),
        ("id", "is.true", "for booleans"),
        ("select", "id,no", "there is no column `no`"),
        ("select", "id,id", "selected twice"),
        (
            "order",
            "id.down.nullslast",
            "parameter `order`: `id.down`: behind the column `id` may be .asc, .desc, .nullsfirst, \
             .nullslast",
        ),
        (
            "order",
            "id.desc.asc",
            "`id.desc.asc`: a column has one of .asc and .desc",
        ),
        (
            "order",
            "id.nullslast.nullslast",
            "and one of .nullsfirst and .nullslast",
        ),
        (
            "order",
            "no.down",
            "there is no column `no.down`; there are",
        ),
        ("limit", "-1", "`-1` is not a number of rows"),
    ] {
        let error = narrowed(&[(name, value)]).unwrap_err();
        assert!(error.contains(text), "{name}={value}: {error}");
    }
    assert!(
        narrowed(&[("limit", "1"), ("limit", "2")])
            .unwrap_err()
            .contains("twice")
    );
}

#[test]
fn a_value_never_becomes_sql() {
    let hostile = "eq.' OR 1=1; DROP TABLE stars; --";
    assert_eq!(narrowed(&[("name", hostile)]), Ok(vec![]));
}

#[test]
fn a_value_with_more_digits_than_the_column_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "d",
            Arc::new(
                Decimal128Array::from(vec![110])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("day", Arc::new(Date32Array::from(vec![0]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![0]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write_parquet(&file, &batch);
    let engine = engine_of(&file);
    for (column, value) in [
        ("d", "1.096"),
        ("day", "1970-01-01T12:00:00"),
        ("t", "1970-01-01T00:00:00.0005"),
    ] {
        let error = scan(&engine, &[(column, &format!("eq.{value}"))])
            .err()
            .unwrap();
        assert_eq!(error.kind(), EngineErrorKind::BadQuery, "{error}");
    }
    for (column, value) in [
        ("d", "1.10"),
        ("d", "1.100"),
        ("day", "1970-01-01"),
        ("t", "1970-01-01T00:00:00.0000"),
    ] {
        let rows = scan(&engine, &[(column, &format!("eq.{value}"))]).unwrap();
        assert_eq!(collect(rows).num_rows(), 1, "{column} {value}");
    }
}

/// An engine with a table of one column, `v`.
fn engine_of_column(folder: &Path, values: ArrayRef) -> Engine {
    let file = folder.join("t.parquet");
    let batch = RecordBatch::try_from_iter_with_nullable([("v", values, true)]).unwrap();
    write_parquet(&file, &batch);
    engine_of(&file)
}

/// How many rows a filter finds, or its error.
fn count(engine: &Engine, filter: &str) -> Result<usize, String> {
    match scan(engine, &[("v", filter)]) {
        Ok(rows) => Ok(collect(rows).num_rows()),
        Err(error) => {
            assert_eq!(error.kind(), EngineErrorKind::BadQuery);
            Err(error.to_string())
        }
    }
}

#[test]
fn a_time_without_a_zone_is_in_utc_and_one_with_a_zone_is_that_instant() {
    let folder = tempfile::tempdir().unwrap();
    // 2024-01-01T00:00:00Z, and half an hour before.
    let seconds = [1_704_067_200_000_000, 1_704_065_400_000_000];
    for zone in [None, Some("UTC"), Some("+02:00"), Some("America/New_York")] {
        let times = TimestampMicrosecondArray::from(seconds.to_vec()).with_timezone_opt(zone);
        let engine = engine_of_column(folder.path(), Arc::new(times));
        for (filter, rows) in [
            ("eq.2024-01-01T00:00:00", 1),
            ("eq.2024-01-01 00:00:00", 1),
            ("eq.2024-01-01", 1),
            ("eq.2024-01-01T00:00:00Z", 1),
            ("eq.2024-01-01T00:00:00z", 1),
            ("eq.2024-01-01T02:00:00+02:00", 1),
            // A plus sign that was not encoded in a URL.
            ("eq.2024-01-01T02:00:00 02:00", 1),
            ("eq.2023-12-31T23:30:00-00:30", 1),
            ("eq.2024-01-01T01:00:00 Europe/Berlin", 1),
            ("lt.2024-01-01T00:00:00", 1),
            ("lt.2023-12-31T23:30:00", 0),
            ("gt.2023-12-31T23:30:00", 1),
            ("gte.2023-12-31T23:30:00", 2),
            ("neq.2024-01-01", 1),
            ("not.lte.2023-12-31T23:30:00", 1),
            ("in.(2023-12-31T23:30:00,2024-01-01T00:00:00.000000Z)", 2),
            ("is.not_null", 2),
        ] {
            assert_eq!(count(&engine, filter), Ok(rows), "{zone:?} {filter}");
        }
        for (filter, problem) in [
            ("eq.2024-01-01T00:00:00.0000001", "has more digits than"),
            ("lt.2024-01-01T00:00:00.0000001Z", "has more digits than"),
            ("eq.2024-01-01T00:00:00.0000000001", "has more digits than"),
            ("eq.2023-12-31T23:59:60", "is not a value of type timestamp"),
            ("eq.2023-02-30", "is not a value of type timestamp"),
            (
                "eq.2024-01-01T00:00:00 Nowhere",
                "is not a value of type timestamp",
            ),
        ] {
            let error = count(&engine, filter).unwrap_err();
            assert!(error.contains(problem), "{filter}: {error}");
        }
    }
}

#[test]
fn a_number_that_the_column_cannot_hold_is_refused_and_never_another_number() {
    let folder = tempfile::tempdir().unwrap();
    let decimal = Decimal128Array::from(vec![12_000]);
    let decimal = decimal.with_precision_and_scale(5, 2).unwrap();
    let cases: Vec<(ArrayRef, Vec<&str>, Vec<&str>)> = vec![
        (
            Arc::new(Int8Array::from(vec![44])),
            vec!["eq.44", "lt.127", "in.(44,-128)"],
            vec![
                "eq.300", "eq.-129", "eq.44.0", "eq.1.5", "eq.1e3", "in.(300)", "eq.0x2c",
            ],
        ),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            vec!["eq.18446744073709551615", "gt.9223372036854775808"],
            vec!["eq.-1", "eq.18446744073709551616"],
        ),
        (
            Arc::new(Float32Array::from(vec![0.1])),
            vec!["eq.0.1", "eq.1e-1", "lt.inf", "gt.-inf"],
            vec!["eq.1e39", "lt.1e400", "eq.0,1", "eq."],
        ),
        // What is below the least number, and integers between two floats.
        (
            Arc::new(Float32Array::from(vec![0.0])),
            vec![
                "eq.0e5",
                "lt.1e-45",
                "in.(0,16777216)",
                "not.gt.123456790000",
            ],
            vec!["eq.1e-46", "gt.-1e-400", "eq.16777217", "in.(0,1e-60)"],
        ),
        (
            cast(&Float32Array::from(vec![0.0]), &DataType::Float16).unwrap(),
            vec!["eq.0", "lt.6e-8"],
            vec!["eq.1e-9", "eq.2049"],
        ),
        (
            Arc::new(Float64Array::from(vec![-0.0])),
            vec![
                "eq.0",
                "eq.-0.0",
                "gte.0",
                "lte.-0",
                "in.(0,1)",
                "not.lt.0",
                "not.gt.-0",
            ],
            vec!["eq.1e309", "eq.5e-400", "lt.9007199254740993"],
        ),
        (
            Arc::new(decimal),
            vec![
                "eq.120",
                "eq.1.2e2",
                "eq.120.000",
                "eq.+120",
                "lt.120.01",
                "eq.12000E-2",
            ],
            vec![
                "eq.120.001",
                "eq.1.2e-3",
                "lt.1000",
                "eq.1e99999999",
                "eq.1e-99999999",
                "eq..",
            ],
        ),
        (
            Arc::new(Date32Array::from(vec![0])),
            vec!["eq.1970-01-01", "lt.1970-01-02"],
            vec![
                "eq.1970-01-01T00:00:00",
                "eq.1970-01-01 120000",
                "eq.1970-01-01Z",
            ],
        ),
        (
            Arc::new(Time32SecondArray::from(vec![45_060])),
            vec!["eq.12:31:00"],
            vec!["eq.12:30:60", "eq.12:31:00.5", "eq.24:00:00"],
        ),
    ];
    for (values, found, refused) in cases {
        let what = values.data_type().to_string();
        let engine = engine_of_column(folder.path(), values);
        for filter in found {
            assert_eq!(count(&engine, filter), Ok(1), "{what}: {filter}");
        }
        for filter in refused {
            let found = count(&engine, filter);
            assert!(found.is_err(), "{what}: {filter} found {found:?}");
        }
    }
}

#[test]
fn bytes_are_found_by_their_hexadecimal_digits() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<&[u8]> = vec![b"", b"\x00\xff", b"abc"];
    let engine = engine_of_column(folder.path(), Arc::new(BinaryArray::from(bytes)));
    for (filter, rows) in [
        ("eq.", 1),
        ("eq.00ff", 1),
        ("eq.00FF", 1),
        ("gt.00ff", 1),
        ("in.(\"\",616263)", 2),
        ("eq.ff00", 0),
    ] {
        assert_eq!(count(&engine, filter), Ok(rows), "{filter}");
    }
    for filter in ["eq.abc", "eq.0x00ff", "eq.xy", "like.*a*"] {
        let error = count(&engine, filter).unwrap_err();
        assert!(error.contains("type binary"), "{filter}: {error}");
    }
}

#[test]
fn a_list_of_values_may_have_quotes_and_empty_texts_and_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let texts = vec![Some(""), Some("a,b"), Some("\"q\""), Some("()"), None];
    let engine = engine_of_column(folder.path(), Arc::new(StringArray::from(texts)));
    for (filter, rows) in [
        ("in.()", 0),
        ("not.in.()", 5),
        ("in.(\"\")", 1),
        ("in.(,x)", 1),
        ("in.(\"a,b\")", 1),
        ("in.(a,b)", 0),
        ("in.(\"\\\"q\\\"\",())", 2),
        ("not.in.(\"\",())", 2),
        ("eq.", 1),
    ] {
        assert_eq!(count(&engine, filter), Ok(rows), "{filter}");
    }
}

#[test]
fn texts_in_a_dictionary_are_compared_and_matched_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let texts: DictionaryArray<Int32Type> = vec![Some("Vega"), Some("Deneb"), None, Some("Vega")]
        .into_iter()
        .collect();
    let engine = engine_of_column(folder.path(), Arc::new(texts));
    for (filter, rows) in [
        ("like.V*", 2),
        ("ilike.*EB", 1),
        ("not.like.V*", 1),
        ("eq.Vega", 2),
        ("in.(Vega,Deneb)", 3),
        ("gt.E", 2),
        ("is.null", 1),
    ] {
        assert_eq!(count(&engine, filter), Ok(rows), "{filter}");
    }
}

/// What patterns match of these texts, which are stored in one way or another.
#[test]
fn a_backslash_in_a_pattern_makes_the_next_character_itself() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "a*b", "a%b", "a_b", "axb", "axxb", "a\\b", "a\\*b", "a\\xb", "*", "\\",
    ];
    let plain: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    for values in [plain, Arc::new(dictionary)] {
        let engine = engine_of_column(folder.path(), values);
        for (pattern, matching) in [
            (r"a\*b", &["a*b"][..]),
            (r"a\%b", &["a%b"]),
            (r"a\_b", &["a_b"]),
            (r"a\\b", &[r"a\b"]),
            (r"a\\\*b", &[r"a\*b"]),
            (r"a\\*b", &[r"a\b", r"a\*b", r"a\xb"]),
            (r"a\xb", &["axb"]),
            (r"*\*b", &["a*b", r"a\*b"]),
            (r"a\**", &["a*b"]),
            (r"\*", &["*"]),
            (r"\**", &["*"]),
            (r"*\*", &["*"]),
            (r"*\**", &["a*b", r"a\*b", "*"]),
            (r"\\", &[r"\"]),
            (r"a_b", &["a*b", "a%b", "a_b", "axb", r"a\b"]),
            (r"a*b", &texts[..8]),
            (r"a%b", &texts[..8]),
            (r"*", &texts),
        ] {
            let rest = texts.len() - matching.len();
            for operator in ["like", "ilike"] {
                let filter = format!("{operator}.{pattern}");
                assert_eq!(count(&engine, &filter), Ok(matching.len()), "{filter}");
                let filter = format!("not.{filter}");
                assert_eq!(count(&engine, &filter), Ok(rest), "{filter}");
            }
            for text in matching {
                let (like, eq) = (format!("like.{pattern}"), format!("eq.{text}"));
                let found = scan(&engine, &[("v", &like), ("v", &eq)]).unwrap();
                assert_eq!(collect(found).num_rows(), 1, "{pattern} {text}");
            }
            let capitals = format!("ilike.{}", pattern.to_uppercase());
            assert_eq!(count(&engine, &capitals), Ok(matching.len()), "{capitals}");
        }
        for pattern in [r"a\", r"\", r"*\\\"] {
            for operator in ["like", "ilike", "not.like", "not.ilike"] {
                let wanted = format!(
                    "parameter `v`: `{pattern}` ends with a lone backslash: write `\\\\` for one"
                );
                assert_eq!(
                    count(&engine, &format!("{operator}.{pattern}")),
                    Err(wanted)
                );
            }
        }
    }
}

#[test]
fn a_pattern_without_wildcards_and_a_comparison_agree_in_dictionaries() {
    let folder = tempfile::tempdir().unwrap();
    let texts: DictionaryArray<Int32Type> = ["abc", "x", "a%c"].into_iter().collect();
    let engine = engine_of_column(folder.path(), Arc::new(texts));
    for (condition, rows) in [
        ("v LIKE 'abc' AND v = 'abc'", 1),
        ("v IN ('abc') AND v LIKE 'abc'", 1),
        ("v LIKE 'abc' AND v ~ '^abc$'", 1),
        ("v BETWEEN 'abc' AND 'b' AND v LIKE 'abc'", 1),
        ("v NOT LIKE 'abc' AND v <> 'x'", 1),
        ("v LIKE 'a\\%c' AND v = 'a%c'", 1),
        ("v LIKE 'a%c' AND v = 'a%c'", 1),
        ("v ILIKE 'ABC' AND v = 'abc'", 1),
        ("v LIKE 'abc' AND v = 'x'", 0),
    ] {
        let sql = format!("SELECT v FROM stars WHERE {condition}");
        let found = block_on(engine.query(&Query::new(sql), None)).unwrap();
        assert_eq!(collect(found).num_rows(), rows, "{condition}");
    }
    let sql = "SELECT v LIKE 'x' FROM stars";
    let found = collect(block_on(engine.query(&Query::new(sql), None)).unwrap());
    assert!(found.schema().field(0).name().contains("LIKE"));
}

#[test]
fn a_column_that_has_no_single_values_is_refused_by_the_name_of_its_type() {
    let folder = tempfile::tempdir().unwrap();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let engine = engine_of_column(folder.path(), Arc::new(lists));
    for filter in ["eq.1", "in.(1,2)", "neq.[1]", "gt.0"] {
        let error = count(&engine, filter).unwrap_err();
        assert_eq!(
            error,
            "parameter `v`: a column of type list of 32-bit integers cannot be compared"
        );
    }
    assert_eq!(count(&engine, "is.not_null"), Ok(1));
}

#[test]
fn nan_is_neither_less_than_a_number_nor_equal_nor_greater() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let values = Float64Array::from(vec![
        Some(f64::NAN),
        Some(1.0),
        Some(7.0),
        None,
        Some(-f64::NAN),
    ]);
    let batch = RecordBatch::try_from_iter([("f", Arc::new(values) as ArrayRef)]).unwrap();
    write_parquet(&file, &batch);
    let engine = engine_of(&file);
    for (condition, rows) in [
        ("eq.NaN", 2),
        ("neq.NaN", 2),
        ("not.eq.NaN", 2),
        ("gt.5", 1),
        ("lt.5", 1),
        ("not.lte.5", 3),
        ("neq.1", 3),
        ("not.eq.1", 3),
        ("in.(1,7)", 2),
        ("is.not_null", 4),
        ("in.(NaN)", 2),
        ("in.(nan,7)", 3),
        ("not.in.(NaN)", 2),
        ("not.in.(NaN,7)", 1),
        ("not.in.(7)", 3),
        ("not.neq.NaN", 2),
    ] {
        let found = collect(scan(&engine, &[("f", condition)]).unwrap());
        assert_eq!(found.num_rows(), rows, "{condition}");
    }
    assert!(scan(&engine, &[("f", "gt.NaN")]).is_err());
}

#[test]
fn a_limit_may_be_any_number() {
    for limit in [i64::MAX as u64, u64::MAX] {
        let limit = limit.to_string();
        let all = narrowed(&[("limit", &limit)]).unwrap();
        assert_eq!(all.len(), 100);
        assert_eq!(narrowed(&[("offset", &limit)]), Ok(Vec::new()));
    }
    assert!(narrowed(&[("select", &vec!["*"; 1000].join(","))]).is_err());
    assert!(narrowed(&[("select", ":id")]).is_err());
}

#[test]
fn pages_of_an_order_have_both_zeros_of_all_row_groups() {
    const ROWS: i64 = 4000;
    const PAGE: usize = 700;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let zero = |id: i64| if id % 2 == 0 { 0.0 } else { -0.0 };
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new((0..ROWS).collect::<Int64Array>())),
        ("f", Arc::new((0..ROWS).map(zero).collect::<Float64Array>())),
    ];
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    for order in ["f", "f.desc", "f,id"] {
        let mut found = Vec::new();
        for offset in (0..ROWS as usize).step_by(PAGE) {
            let (from, most) = (offset.to_string(), PAGE.to_string());
            let page = [("order", order), ("offset", &from), ("limit", &most)];
            let page = ids(&collect(scan(&engine, &page).unwrap()));
            found.extend(page.into_iter().take(PAGE));
        }
        found.sort_unstable();
        assert!(found.into_iter().eq(0..ROWS), "{order}");
    }
    let query = Query::new("SELECT id FROM stars ORDER BY f, id LIMIT 2500");
    let found = ids(&collect(block_on(engine.query(&query, None)).unwrap()));
    assert!(found.into_iter().eq(0..2500));
}

/// Several files, so that a merge of sorted parts compares the zeros too.
#[test]
fn orders_and_ranks_of_sql_have_one_zero() {
    const ROWS: i64 = 24_000;
    const PAGE: i64 = 4000;
    let folder = tempfile::tempdir().unwrap();
    let value = |id: i64| match id % 8 {
        0 => Some(-1.5),
        1 | 4 | 5 => Some(0.0),
        2 | 3 => Some(-0.0),
        6 => Some(f64::NAN),
        _ => None,
    };
    for part in 0..6 {
        let ids = || (0..ROWS).filter(move |id| id * 7 % 6 == part);
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(ids().collect::<Int64Array>())),
            ("f", Arc::new(ids().map(value).collect::<Float64Array>())),
        ];
        let file = folder.path().join(format!("{part}.parquet"));
        write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    }
    let engine = engine_of(folder.path());
    let query = |sql: &str| collect(block_on(engine.query(&Query::new(sql), None)).unwrap());
    let place = |id: &i64| match id % 8 {
        0 => 0,
        1..=5 => 1,
        6 => 2,
        _ => 3,
    };
    let types = ["DOUBLE", "REAL"];
    for data_type in types {
        for (order, is_descending) in [("", false), ("DESC NULLS FIRST", true)] {
            let mut right: Vec<i64> = (0..ROWS).collect();
            right.sort_by_key(|id| match is_descending {
                false => (place(id), *id),
                true => (-place(id), *id),
            });
            let sql = format!(
                "SELECT id, f FROM (SELECT id, CAST(f AS {data_type}) AS f FROM stars) \
                 ORDER BY f {order}, id"
            );
            let all = query(&sql);
            assert_eq!(all.schema().field(1).name(), "f");
            assert_eq!(ids(&all), right, "{sql}");
            let mut pages = Vec::new();
            for offset in (0..ROWS).step_by(PAGE as usize) {
                pages.extend(ids(&query(&format!("{sql} LIMIT {PAGE} OFFSET {offset}"))));
            }
            assert_eq!(pages, right, "{sql}");
        }
    }
    let sql = "SELECT DISTINCT ON (f, id) id, f FROM stars ORDER BY f, id";
    let all = ids(&query(sql));
    let mut pages = Vec::new();
    for offset in (0..ROWS).step_by(PAGE as usize) {
        pages.extend(ids(&query(&format!("{sql} LIMIT {PAGE} OFFSET {offset}"))));
    }
    assert_eq!(pages, all, "{sql}");
    pages.sort_unstable();
    assert!(pages.into_iter().eq(0..ROWS), "{sql}");
    let ranks = query(
        "SELECT CAST(rank() OVER (ORDER BY f) AS BIGINT) AS id, \
         CAST(dense_rank() OVER (ORDER BY f DESC) AS BIGINT) AS dense, \
         row_number() OVER (ORDER BY f, id) FROM stars WHERE f = 0 ORDER BY dense",
    );
    assert_eq!(ids(&ranks), vec![1; ROWS as usize / 8 * 5]);
    let dense = ranks.column(1).as_primitive::<Int64Type>();
    assert!(dense.values().iter().all(|rank| *rank == 1));
    let name = "row_number() OVER (ORDER BY f, id)";
    assert_eq!(ranks.schema().field(2).name(), name);
    let numbers = query(
        "SELECT id, CAST(row_number() OVER (ORDER BY f, id) AS BIGINT) AS n FROM stars \
         ORDER BY f, id",
    );
    let numbers = numbers.column(1).as_primitive::<Int64Type>();
    assert!(numbers.values().iter().copied().eq(1..=ROWS));
    let near = query(
        "SELECT count(*) OVER (ORDER BY f RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS id \
         FROM stars WHERE f = 0",
    );
    assert!(ids(&near).into_iter().all(|rows| rows == ROWS / 8 * 5));
}

#[test]
fn rows_that_are_equal_in_an_order_keep_the_order_of_the_files_on_each_page() {
    let folder = tempfile::tempdir().unwrap();
    const ROWS: i64 = 20_000;
    for part in 0..2 {
        let ids = || part * ROWS / 2..(part + 1) * ROWS / 2;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(ids().collect::<Int64Array>())),
            (
                "k",
                Arc::new(
                    ids()
                        .map(|id| (id % 7 != 0).then_some(id % 3))
                        .collect::<Int64Array>(),
                ),
            ),
            // A name that the engine would use itself.
            (
                "position",
                Arc::new(ids().map(|id| id % 2).collect::<Int64Array>()),
            ),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, values)| (name, values, true)),
        );
        write_parquet(
            &folder.path().join(format!("{part}.parquet")),
            &batch.unwrap(),
        );
    }
    let engine = engine_of(folder.path());
    let key = |id: i64| if id % 7 == 0 { 3 } else { id % 3 };
    for (order, sign) in [("k", 1), ("k.desc", -1)] {
        let mut expected: Vec<_> = (0..ROWS).collect();
        expected.sort_by_key(|id| sign * key(*id));
        let all = collect(scan(&engine, &[("order", order)]).unwrap());
        assert_eq!(all.num_columns(), 3);
        assert_eq!(ids(&all), expected, "{order}");
        for (offset, limit) in [(0, 10), (10, 10), (1000, 500), (9_990, 5), (19_995, 100)] {
            let (from, most) = (offset.to_string(), limit.to_string());
            let page = [
                ("order", order),
                ("offset", &from),
                ("limit", &most),
                ("select", "id"),
            ];
            let page = collect(scan(&engine, &page).unwrap());
            // One row more than the limit, if there is one.
            let end = expected.len().min(offset + limit + 1);
            assert_eq!(ids(&page), expected[offset..end], "{order} from {offset}");
        }
    }
}

/// UUIDs by Parquet's own type, without Arrow's, as most writers have them.
#[test]
fn uuids_are_found_by_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let texts = [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    let uuids = texts.map(|text| uuid::parse(text).unwrap());
    let uuids = FixedSizeBinaryArray::try_from_iter(uuids.into_iter()).unwrap();
    let batch = RecordBatch::try_from_iter([("v", Arc::new(uuids) as ArrayRef)]).unwrap();
    let stored = "message m { required fixed_len_byte_array(16) v (UUID); }";
    let stored = SchemaDescriptor::new(Arc::new(parse_message_type(stored).unwrap()));
    let options = ArrowWriterOptions::new()
        .with_parquet_schema(stored)
        .with_skip_arrow_metadata(true);
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let engine = engine_of(&path);
    let rows = scan(&engine, &[]).unwrap();
    assert!(uuid::is_uuid(rows.schema().field(0)));
    let bytes = texts[0].replace('-', "");
    for (filter, rows) in [
        (format!("eq.{}", texts[0]), 1),
        (format!("eq.{}", texts[0].to_uppercase()), 1),
        (format!("eq.{bytes}"), 1),
        (format!("gt.{}", texts[0]), 1),
        (format!("in.({},{})", texts[1], texts[0]), 2),
        ("eq.00000000-0000-0000-0000-000000000000".to_owned(), 0),
    ] {
        assert_eq!(count(&engine, &filter), Ok(rows), "{filter}");
    }
    let error = count(&engine, "eq.a0eebc99").unwrap_err();
    assert!(error.contains("is not a value of type UUID"), "{error}");
}

/// pyarrow writes the type of the values of runs within them, and that of a dictionary's values at the
/// column.
#[test]
fn runs_and_dictionaries_of_uuids_are_uuids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let texts = [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    let uuids = texts.map(|text| uuid::parse(text).unwrap());
    let uuids = FixedSizeBinaryArray::try_from_iter(uuids.into_iter()).unwrap();
    let bytes: ArrayRef = Arc::new(uuids);
    let values = Field::new("values", bytes.data_type().clone(), true);
    let values = Arc::new(uuid::with_extension(values));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let runs = RunArray::try_new(&Int32Array::from(vec![2, 5]), &bytes).unwrap();
    let runs = runs.into_data().into_builder();
    let runs = runs.data_type(DataType::RunEndEncoded(ends, values));
    let runs = make_array(runs.build().unwrap());
    let keys = Int8Array::from(vec![0, 0, 1, 1, 1]);
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::clone(&bytes)));
    let of_dictionary = Field::new("v", dictionary.data_type().clone(), true);
    let extension = uuid::with_extension(Field::new("v", DataType::FixedSizeBinary(16), true));
    let of_dictionary = of_dictionary.with_metadata(extension.metadata().clone());
    let of_runs = Field::new("v", runs.data_type().clone(), false);
    for (field, column) in [(of_runs, runs), (of_dictionary, dictionary)] {
        let element = Arc::new(field.clone());
        let offsets = OffsetBuffer::from_lengths([1; 5]);
        let lists = ListArray::new(element, offsets, Arc::clone(&column), None);
        let lists_of = Field::new("l", lists.data_type().clone(), true);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
        let id = Field::new("id", DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field, lists_of, id]));
        let columns = vec![column, Arc::new(lists), numbers];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let engine = engine_of(&path);
        let read = collect(scan(&engine, &[("order", "v.desc,id.desc")]).unwrap());
        assert_eq!(ids(&read), [4, 3, 2, 1, 0]);
        assert!(uuid::is_uuid(read.schema().field(0)));
        let uuids = read.column(0).as_fixed_size_binary();
        assert_eq!(uuids.value(2), [0xff; 16]);
        assert_eq!(uuids.value(3)[0], 0xa0);
        let lists: &ListArray = read.column(1).as_list();
        let DataType::List(element) = lists.data_type() else {
            unreachable!();
        };
        assert!(uuid::is_uuid(element));
        let uuids = lists.values().as_fixed_size_binary();
        assert_eq!(uuids.value(2), [0xff; 16]);
        assert_eq!(uuids.value(3)[0], 0xa0);
        for (filter, rows) in [
            (format!("eq.{}", texts[0]), 2),
            (format!("gt.{}", texts[0]), 3),
        ] {
            assert_eq!(count(&engine, &filter), Ok(rows), "{filter}");
        }
    }
}

#[test]
fn joins_and_partitions_of_sql_have_one_zero() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let columns: [(&str, ArrayRef); 2] = [
        (
            "f",
            Arc::new(Float64Array::from(vec![-0.0, 0.0, 0.0, -0.0])),
        ),
        ("id", Arc::new(Int64Array::from(vec![0, 1, 1, 2]))),
    ];
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    let rows = |sql: &str| {
        let found = block_on(engine.query(&Query::new(sql), None)).unwrap();
        collect(found).num_rows()
    };
    for (sql, right) in [
        ("SELECT 1 FROM stars a JOIN stars b ON a.f = b.f", 16),
        (
            "SELECT 1 FROM stars a JOIN stars b ON a.f = b.f AND a.id = b.id",
            6,
        ),
        ("SELECT 1 FROM stars a JOIN stars b USING (f, id)", 6),
        ("SELECT * FROM stars a JOIN stars b USING (f)", 16),
        (
            "SELECT 1 FROM stars a, stars b WHERE a.f = b.f AND a.id = b.id",
            6,
        ),
        (
            "SELECT 1 FROM stars a LEFT JOIN stars b ON a.f = b.f AND a.id = b.id",
            6,
        ),
        (
            "SELECT 1 FROM stars a FULL JOIN stars b ON a.f = b.f AND a.id = b.id + 1",
            6,
        ),
        (
            "SELECT 1 FROM stars a WHERE EXISTS \
             (SELECT 1 FROM stars b WHERE a.f = b.f AND b.id = 2 - a.id)",
            4,
        ),
        (
            "SELECT f, id FROM stars INTERSECT SELECT -f, id FROM stars",
            3,
        ),
        ("SELECT f, id FROM stars EXCEPT SELECT -f, id FROM stars", 0),
        ("SELECT 1 FROM stars WHERE f IN (SELECT -f FROM stars)", 4),
        (
            "SELECT 1 FROM (SELECT count(*) OVER (PARTITION BY f) AS n FROM stars) WHERE n = 4",
            4,
        ),
    ] {
        assert_eq!(rows(sql), right, "{sql}");
    }
}
