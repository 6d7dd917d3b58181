//! Parameters of a URL that narrow a table.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, TimestampMillisecondArray},
    record_batch::RecordBatch,
};
use datastreamer_engine::EngineErrorKind;

use crate::support::{collect, engine_of, ids, scan, stars, texts, write_parquet};

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
        ("id", "eq.five", "`five` is not a value of type Int64"),
        ("id", "eq.", "`` is not a value of type Int64"),
        ("id", "like.1*", "`like` is for texts"),
        ("id", "in.1,2", "in.(1,2,3)"),
        ("name", "in.(\"a)", "a quote is not closed"),
        ("id", "is.true", "for booleans"),
        ("select", "id,no", "there is no column `no`"),
        ("select", "id,id", "selected twice"),
        ("order", "id.down", "there is no column `id.down`"),
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

#[test]
fn only_the_name_nan_finds_nan() {
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
        ("not.lte.5", 1),
        ("neq.1", 1),
        ("in.(1,7)", 2),
        ("is.not_null", 4),
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
