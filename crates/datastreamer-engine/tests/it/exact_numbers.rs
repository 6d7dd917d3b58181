//! Numbers with more digits than a float holds: compared as they are written, and converted to the
//! nearest float. The expected values are those of PostgreSQL's `numeric`, and of a correctly rounding
//! parser for conversions.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Decimal256Array, Float64Array, Int64Array, UInt64Array,
        cast::AsArray,
    },
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, i256},
    record_batch::RecordBatch,
};
use datastreamer_engine::{Engine, Query};
use tempfile::TempDir;

use crate::support::{block_on, collect, engine_of, write_parquet};

const AMOUNTS: [i128; 5] = [
    123_456_789_012_345, // 1234567890123.45
    123_456_789_012_346,
    9_999_999_999_999_999, // 99999999999999.99
    10,                    // 0.10
    -123_456_789_012_345,
];

fn table() -> (TempDir, Engine) {
    let decimals = |values: Vec<i128>, precision, scale| {
        let values = Decimal128Array::from(values);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let whole: Vec<i128> = vec![
        123_456_789_012_345_678_901,
        123_456_789_012_345_678_902,
        99_999_999_999_999_999_999_999_999_999_999_999_999,
        5,
        -123_456_789_012_345_678_901,
    ];
    let deep = Decimal256Array::from(vec![
        i256::from_string("1000000000000000000000000000000000000000000000000000000001").unwrap(),
        i256::from_string("1000000000000000000000000000000000000000000000000000000002").unwrap(),
        i256::from_i128(1),
        i256::from_i128(0),
        i256::from_i128(-1),
    ]);
    let batch = RecordBatch::try_from_iter(vec![
        (
            "k",
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef,
        ),
        ("m", decimals(AMOUNTS.to_vec(), 18, 2)),
        ("c", decimals(whole, 38, 0)),
        ("d", Arc::new(deep.with_precision_and_scale(60, 5).unwrap())),
        (
            "i",
            Arc::new(Int64Array::from(vec![
                (1 << 53) + 1,
                1 << 53,
                i64::MAX,
                i64::MIN,
                7,
            ])),
        ),
        (
            "u",
            Arc::new(UInt64Array::from(vec![
                u64::MAX,
                u64::MAX - 1,
                1 << 53,
                0,
                7,
            ])),
        ),
        (
            "f",
            Arc::new(Float64Array::from(vec![0.1, 0.2, 1e300, -0.5, 7.0])),
        ),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    write_parquet(&file, &batch.unwrap());
    let engine = engine_of(&file);
    (folder, engine)
}

fn select(engine: &Engine, sql: &str) -> RecordBatch {
    let rows = block_on(engine.query(&Query::new(sql), None));
    collect(rows.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

/// The keys of the rows for which a condition holds.
fn keys(engine: &Engine, condition: &str) -> Vec<i64> {
    let batch = select(
        engine,
        &format!("SELECT k FROM stars WHERE {condition} ORDER BY k"),
    );
    let keys = cast(batch.column(0), &DataType::Int64).unwrap();
    keys.as_primitive::<arrow::datatypes::Int64Type>()
        .values()
        .to_vec()
}

#[test]
fn a_number_is_compared_with_all_of_its_digits() {
    let (_folder, engine) = table();
    for (condition, expected) in [
        // Amounts of money with sixteen digits, and fewer.
        ("m = 1234567890123.45", &[1][..]),
        ("1234567890123.45 = m", &[1]),
        ("m = 1234567890123.46", &[2]),
        ("m = -1234567890123.45", &[5]),
        ("m = 1234567890123.450000000000000000000000000", &[1]),
        ("m <> 1234567890123.45", &[2, 3, 4, 5]),
        ("m >= 99999999999999.99", &[3]),
        ("m > 99999999999999.98", &[3]),
        ("m > 99999999999999.985", &[3]),
        ("m < 99999999999999.985", &[1, 2, 4, 5]),
        ("m = 0.1", &[4]),
        ("m = 0.10000000000000000001", &[]),
        ("m > 0.09999999999999999999", &[1, 2, 3, 4]),
        ("m BETWEEN 1234567890123.45 AND 1234567890123.455", &[1]),
        (
            "m NOT BETWEEN 1234567890123.45 AND 1234567890123.46",
            &[3, 4, 5],
        ),
        ("m IN (0.1, 99999999999999.99)", &[3, 4]),
        ("m NOT IN (1234567890123.45, 1234567890123.46)", &[3, 4, 5]),
        ("m IS DISTINCT FROM 1234567890123.45", &[2, 3, 4, 5]),
        ("m IS NOT DISTINCT FROM 1234567890123.45", &[1]),
        (
            "CASE m WHEN 1234567890123.45 THEN true ELSE false END",
            &[1],
        ),
        ("nullif(m, 1234567890123.45) IS NULL", &[1]),
        ("m + 1 = 1234567890124.45", &[1]),
        // Integers beyond 64 bits.
        ("c = 123456789012345678901", &[1]),
        ("c <> 123456789012345678901", &[2, 3, 4, 5]),
        ("c >= 123456789012345678902", &[2, 3]),
        ("c IN (123456789012345678901, 5)", &[1, 4]),
        ("c = -123456789012345678901", &[5]),
        ("c = 99999999999999999999999999999999999999", &[3]),
        ("c = 99999999999999999999999999999999999998", &[]),
        // More digits than 38 in all.
        ("c = 5.5", &[]),
        ("c > 4.5 AND c < 5.000000000000001", &[4]),
        ("c < 123456789012345678901.5", &[1, 4, 5]),
        ("c = m", &[]),
        ("c > m", &[1, 2, 3, 4]),
        ("c = k + 1", &[4]),
        (
            "d = 10000000000000000000000000000000000000000000000000000.00001",
            &[1],
        ),
        (
            "d > 10000000000000000000000000000000000000000000000000000.00001",
            &[2],
        ),
        ("d = 0.00001", &[3]),
        // Integers that floats cannot tell apart.
        ("i = 9007199254740993", &[1]),
        ("i = 9007199254740992.0", &[2]),
        ("i > 9007199254740992.0", &[1, 3]),
        ("i > 9007199254740992.5", &[1, 3]),
        ("i = 9223372036854775807.0", &[3]),
        ("i < 9223372036854775808.0", &[1, 2, 3, 4, 5]),
        ("i = 9223372036854775808", &[]),
        ("i > 1e300", &[]),
        ("i < 1e18", &[1, 2, 4, 5]),
        ("i = 7.0", &[5]),
        ("i < 7.5", &[4, 5]),
        ("u = 18446744073709551615", &[1]),
        ("u = 18446744073709551614.0", &[2]),
        ("u < 18446744073709551615.5", &[1, 2, 3, 4, 5]),
        // Floats are compared as floats.
        ("f = 0.1", &[1]),
        ("f = 0.1000000000000000055511151231257827", &[1]),
        ("f > 1e299", &[3]),
        ("f < 1e-300 AND f < 0.0", &[4]),
        ("f = 1e300", &[3]),
        ("f = m", &[]),
        ("f - 6.9 < m", &[1, 2, 4]),
        ("m IN (f, 0.1)", &[4]),
        ("c < f", &[3, 5]),
    ] {
        assert_eq!(keys(&engine, condition), expected, "{condition}");
    }
}

#[test]
fn a_decimal_and_a_float_are_joined_as_floats() {
    let (_folder, engine) = table();
    for join in [
        "stars a JOIN stars b ON a.m = b.f",
        "stars b JOIN stars a ON b.f = a.m",
        "stars a, stars b WHERE a.m = b.f",
    ] {
        let batch = select(&engine, &format!("SELECT a.k * 10 + b.k FROM {join}"));
        let pairs = cast(batch.column(0), &DataType::Utf8).unwrap();
        let pairs: Vec<_> = pairs.as_string::<i32>().iter().flatten().collect();
        assert_eq!(pairs, ["41"], "{join}");
    }
}

#[test]
fn a_decimal_becomes_the_nearest_float() {
    let (_folder, engine) = table();
    let batch = select(
        &engine,
        "SELECT m::double, m * 1.0, c::double, d::double, m::real FROM stars ORDER BY k",
    );
    let doubles = |column: usize| {
        batch
            .column(column)
            .as_primitive::<Float64Type>()
            .values()
            .to_vec()
    };
    let amounts = AMOUNTS.map(|value| format!("{value}e-2").parse::<f64>().unwrap());
    assert_eq!(doubles(0), amounts);
    assert_eq!(doubles(0)[2], 99_999_999_999_999.98);
    assert_eq!(doubles(1), amounts, "conversions that nobody has written");
    let whole = [
        123_456_789_012_345_678_901_f64,
        123_456_789_012_345_678_902.0,
        1e38,
        5.0,
        -123_456_789_012_345_678_901.0,
    ];
    assert_eq!(doubles(2), whole);
    assert_eq!(doubles(3), [1e52, 1e52, 0.00001, 0.0, -0.00001]);
    let reals = |column: usize| {
        batch
            .column(column)
            .as_primitive::<Float32Type>()
            .values()
            .to_vec()
    };
    let amounts = AMOUNTS.map(|value| format!("{value}e-2").parse::<f32>().unwrap());
    assert_eq!(reals(4), amounts);
}

#[test]
fn a_decimal_beyond_all_floats_is_no_infinity() {
    let (_folder, engine) = table();
    let query = Query::new("SELECT (d * 1)::real FROM stars WHERE k = 1");
    let rows = block_on(engine.query(&query, None));
    let error = match rows {
        Err(error) => error.to_string(),
        Ok(mut rows) => rows.find_map(Result::err).expect("no infinity").to_string(),
    };
    assert!(error.contains("out of range"), "{error}");
}
