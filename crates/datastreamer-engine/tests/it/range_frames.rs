//! Window frames of RANGE with an offset. PostgreSQL and DuckDB have the expected values.

use crate::support::{answers, engine};

/// The number of rows in the frame of each row.
fn counts(key: &str, frame: &str) -> Result<String, String> {
    let sql = format!(
        "SELECT count(*) OVER (ORDER BY k RANGE BETWEEN {frame}) \
         FROM (SELECT value AS i, {key} AS k FROM range(4)) ORDER BY i"
    );
    answers(&engine(), &sql).map(|rows| rows.join(","))
}

#[test]
fn an_offset_beyond_the_type_of_the_rows_leaves_nulls_out() {
    // 1, 101, null, 3.
    let key = |data_type: &str| {
        format!(
            "arrow_cast(CASE WHEN value = 0 THEN 1 WHEN value = 1 THEN 101 WHEN value = 3 THEN 3 END, '{data_type}')"
        )
    };
    for data_type in ["Int8", "UInt8", "Int16", "Int32", "UInt32", "Int64"] {
        let key = key(data_type);
        for (frame, wanted) in [
            ("200 PRECEDING AND 200 FOLLOWING", "3,3,1,3"),
            ("CURRENT ROW AND 127 FOLLOWING", "3,1,1,2"),
            ("2 PRECEDING AND CURRENT ROW", "1,1,1,2"),
            ("UNBOUNDED PRECEDING AND 300 FOLLOWING", "3,3,4,3"),
        ] {
            assert_eq!(counts(&key, frame).unwrap(), wanted, "{data_type} {frame}");
        }
    }
    let reals = key("Float32");
    let frame = "1e300 PRECEDING AND 1 FOLLOWING";
    assert_eq!(counts(&reals, frame).unwrap(), "1,3,1,2");
}

#[test]
fn an_offset_that_is_no_difference_of_two_values_is_refused() {
    let days = "arrow_cast(CAST(value AS INT), 'Date32')";
    let decimals = "CAST(value AS DECIMAL(10, 2)) / 100";
    let decimals = format!("CAST({decimals} AS DECIMAL(10, 2))");
    for (key, offset, wanted) in [
        (
            decimals.as_str(),
            "0.005",
            "no more digits behind the point",
        ),
        (&decimals, "1e-3", "no more digits behind the point"),
        ("value", "0.5", "must be a whole number"),
        (days, "1", "must be an INTERVAL"),
        (
            "arrow_cast(value, 'Timestamp(Second, None)')",
            "1",
            "must be an INTERVAL",
        ),
        ("CAST(value AS DOUBLE)", "'NaN'", "must be a number"),
        (
            "CAST(value AS VARCHAR)",
            "1",
            "only numbers and times have one",
        ),
        ("value > 1", "1", "only numbers and times have one"),
    ] {
        let frame = format!("{offset} PRECEDING AND CURRENT ROW");
        let error = counts(key, &frame).unwrap_err();
        assert!(error.contains(wanted), "{key} {offset}: {error}");
    }
    for (key, offset, wanted) in [
        (&decimals[..], "0.01", "1,2,2,2"),
        (&decimals, "0.010", "1,2,2,2"),
        (days, "INTERVAL '1 day'", "1,2,2,2"),
        ("CAST(value AS DOUBLE)", "0.5", "1,1,1,1"),
    ] {
        let frame = format!("{offset} PRECEDING AND CURRENT ROW");
        assert_eq!(counts(key, &frame).unwrap(), wanted, "{key} {offset}");
    }
}
