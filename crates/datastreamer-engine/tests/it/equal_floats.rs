//! Zeros of floats are equal in SQL, and all NaNs are one value, greater than all numbers. The values
//! are those of DuckDB and PostgreSQL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StructArray},
    compute::cast,
    datatypes::{DataType, Field, Float64Type},
};
use datastreamer_engine::{Engine, Query};
use tempfile::TempDir;

use crate::support::{block_on, collect, engine_of, ids, scan, write_parquet};

const NAN: u64 = 0x7ff8_0000_0000_0000;
const NAN_WITH_SIGN: u64 = 0xfff8_0000_0000_0000;
const NAN_WITH_PAYLOAD: u64 = 0x7ff8_0000_0000_0123;

/// Rows of three files: `id` counts them, `g` is 0 or 1 in turns, `f` has zeros in 0, 1 and 8, NaN
/// in 2, 3, 4 and 9, and 1, 2 and 1 in 5, 6 and 7. `l` is a list and `s` a struct of `f`.
fn floats() -> (TempDir, Engine) {
    let (nan, signed, payload) = (NAN, NAN_WITH_SIGN, NAN_WITH_PAYLOAD);
    let bits = [0.0, -0.0].map(f64::to_bits).into_iter();
    let bits = bits.chain([nan, signed, payload]);
    let bits = bits
        .chain([1.0, 2.0, 1.0, -0.0].map(f64::to_bits))
        .chain([signed]);
    let values: Vec<f64> = bits.map(f64::from_bits).collect();
    let folder = tempfile::tempdir().unwrap();
    for (part, rows) in [(0, 0..4), (1, 4..7), (2, 7..10)] {
        let f: ArrayRef = Arc::new(Float64Array::from(values[rows.clone()].to_vec()));
        let lists = values[rows.clone()].iter();
        let lists = lists.map(|value| Some(vec![Some(*value)]));
        let field = Arc::new(Field::new("f", DataType::Float64, true));
        let ids = || rows.clone().map(|id| id as i64);
        let columns: [(&str, ArrayRef); 6] = [
            ("id", Arc::new(ids().collect::<Int64Array>())),
            (
                "g",
                Arc::new(ids().map(|id| id % 2).collect::<Int64Array>()),
            ),
            ("f32", cast(&f, &DataType::Float32).unwrap()),
            ("f", Arc::clone(&f)),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists)),
            ),
            ("s", Arc::new(StructArray::from(vec![(field, f)]))),
        ];
        let file = folder.path().join(format!("{part}.parquet"));
        write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    }
    let engine = engine_of(folder.path());
    (folder, engine)
}

/// Returns the rows, values joined by commas.
fn answer(engine: &Engine, sql: &str) -> String {
    let rows = block_on(engine.query(&Query::new(sql), None));
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batch = collect(rows);
    let columns = batch.columns().iter();
    let columns: Vec<_> = columns
        .map(|column| cast(column, &DataType::Utf8).unwrap())
        .collect();
    let row = |row: usize| {
        let values = columns.iter().map(|column| {
            let column = column.as_string::<i32>();
            let value = (!arrow::array::Array::is_null(column, row)).then(|| column.value(row));
            value.unwrap_or("null").to_owned()
        });
        values.collect::<Vec<_>>().join(",")
    };
    let rows: Vec<_> = (0..batch.num_rows()).map(row).collect();
    rows.join(" ")
}

fn check(answers: &[(&str, &str)]) {
    let (_folder, engine) = floats();
    for (sql, wanted) in answers {
        assert_eq!(answer(&engine, sql), *wanted, "{sql}");
    }
}

#[test]
fn groups_and_distinct_have_one_zero_and_one_nan() {
    let counts = "2.0,1 1.0,2 0.0,3 NaN,4";
    check(&[
        (
            "SELECT f, count(*) AS n FROM stars GROUP BY f ORDER BY n",
            counts,
        ),
        (
            "SELECT f32, count(*) AS n FROM stars GROUP BY f32 ORDER BY n",
            counts,
        ),
        (
            "SELECT -f AS f, count(*) AS n FROM stars GROUP BY -f ORDER BY n, f",
            "-2.0,1 -1.0,2 0.0,3 NaN,4",
        ),
        (
            "SELECT f, g, count(*) AS n FROM stars GROUP BY f, g ORDER BY f, g",
            "0.0,0,2 0.0,1,1 1.0,1,2 2.0,0,1 NaN,0,2 NaN,1,2",
        ),
        (
            "SELECT f, count(*) AS n FROM stars GROUP BY ROLLUP(f) ORDER BY n",
            "2.0,1 1.0,2 0.0,3 NaN,4 null,10",
        ),
        (
            "SELECT f, g, count(*) FROM stars GROUP BY GROUPING SETS ((f), (g)) ORDER BY g, f",
            "null,0,5 null,1,5 0.0,null,3 1.0,null,2 2.0,null,1 NaN,null,4",
        ),
        (
            "SELECT count(*) AS n FROM stars GROUP BY l ORDER BY n",
            "1 2 3 4",
        ),
        (
            "SELECT count(*) AS n FROM stars GROUP BY s ORDER BY n",
            "1 2 3 4",
        ),
        ("SELECT DISTINCT f FROM stars ORDER BY f", "0.0 1.0 2.0 NaN"),
        (
            "SELECT f FROM stars UNION SELECT f FROM stars ORDER BY f",
            "0.0 1.0 2.0 NaN",
        ),
        (
            "SELECT DISTINCT ON (f) f, id FROM stars ORDER BY f, id",
            "0.0,0 1.0,5 2.0,6 NaN,2",
        ),
        (
            "SELECT f FROM stars INTERSECT SELECT f FROM stars WHERE id IN (1, 3) ORDER BY f",
            "0.0 NaN",
        ),
        (
            "SELECT f FROM stars EXCEPT SELECT f FROM stars WHERE id IN (1, 3) ORDER BY f",
            "1.0 2.0",
        ),
        (
            "SELECT count(DISTINCT f), count(DISTINCT f32), count(DISTINCT l) FROM stars",
            "4,4,4",
        ),
        (
            "SELECT g, count(DISTINCT f) FROM stars GROUP BY g ORDER BY g",
            "0,3 1,3",
        ),
        (
            "SELECT sum(DISTINCT f), avg(DISTINCT f) FROM stars WHERE f < 10",
            "3.0,1.0",
        ),
        (
            "SELECT array_to_string(array_agg(DISTINCT f ORDER BY f), ' ') FROM stars",
            "0 1 2 NaN",
        ),
        // Only what is compared changes.
        (
            "SELECT f FROM stars WHERE f = 0 ORDER BY id",
            "0.0 -0.0 -0.0",
        ),
    ]);
}

#[test]
fn comparisons_know_one_zero_and_one_nan() {
    let (zeros, nans) = ("0 1 8", "2 3 4 9");
    let of = |condition: &str| format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
    let (_folder, engine) = floats();
    let nan = "CAST('NaN' AS DOUBLE)";
    for (condition, wanted) in [
        ("f = 0", zeros),
        ("f32 = -0.0", zeros),
        ("f IN (0.0, 5)", zeros),
        ("f IN (-0.0, 5, 6, 7, 8, 9)", zeros),
        ("f NOT IN (0.0, 5, 6, 7, 8, 9)", "2 3 4 5 6 7 9"),
        ("f BETWEEN 0 AND 0", zeros),
        ("l = [-0.0]", zeros),
        ("f IS NOT DISTINCT FROM -0.0", zeros),
        ("NOT f > 0", zeros),
        ("f < 1.5", "0 1 5 7 8"),
        ("1.5 > f", "0 1 5 7 8"),
        ("f32 <= 1", "0 1 5 7 8"),
        ("f > 1.5", "2 3 4 6 9"),
        ("1.5 <= f", "2 3 4 6 9"),
        ("f32 > 1.5", "2 3 4 6 9"),
        ("f > 1.5 AND f < 10", "6"),
        ("f NOT BETWEEN 0 AND 1", "2 3 4 6 9"),
        ("f > (SELECT max(f) FROM stars WHERE f < 2)", "2 3 4 6 9"),
        ("f = NAN", nans),
        ("f32 = NAN", nans),
        ("NAN = f", nans),
        ("f >= NAN", nans),
        ("f <> NAN", "0 1 5 6 7 8"),
        ("f < NAN", "0 1 5 6 7 8"),
        ("f IN (NAN, 5)", nans),
        ("f IN (NAN, 5, 6, 7, 8, 9)", nans),
        ("f / 0 = NAN", "0 1 2 3 4 8 9"),
        ("f IN (SELECT f FROM stars WHERE id = 2)", nans),
        ("f NOT IN (SELECT f FROM stars WHERE id = 3)", "0 1 5 6 7 8"),
        ("f = ANY (SELECT f FROM stars WHERE id = 3)", nans),
        (
            "EXISTS (SELECT 1 FROM stars b WHERE b.id = 3 AND b.f = stars.f)",
            nans,
        ),
        (
            "CASE f WHEN 0.0 THEN true WHEN NAN THEN true END",
            "0 1 2 3 4 8 9",
        ),
        ("nullif(f, 0.0) IS NULL", zeros),
        ("nullif(f, NAN) IS NULL", nans),
        ("greatest(f, 1.0) = NAN", nans),
        ("least(f, 1.0) = 1", "2 3 4 5 6 7 9"),
        ("array_has([0.0, NAN], f)", "0 1 2 3 4 8 9"),
        ("array_position([1.0, NAN], f) = 2", nans),
        ("array_has(l, -0.0)", zeros),
    ] {
        let sql = of(&condition.replace("NAN", nan));
        assert_eq!(answer(&engine, &sql), wanted, "{sql}");
    }
    check(&[
        (
            "SELECT b.id FROM stars a JOIN stars b ON a.f = b.f WHERE a.id = 3 ORDER BY b.id",
            nans,
        ),
        (
            "SELECT b.id FROM stars a JOIN stars b ON a.l = b.l WHERE a.id = 8 ORDER BY b.id",
            zeros,
        ),
        (
            "SELECT b.id FROM stars a JOIN stars b ON a.f < b.f WHERE a.id = 6 ORDER BY b.id",
            nans,
        ),
        (
            "SELECT array_to_string(array_distinct([0.0, -0.0]), ' ')",
            "0",
        ),
        (
            "SELECT array_to_string(array_union([0.0], [-0.0]), ' ')",
            "0",
        ),
        ("SELECT [0.0] = [-0.0]", "true"),
    ]);
}

#[test]
fn nan_is_the_greatest_in_orders_windows_and_aggregates() {
    let order = "0 1 8 5 7 6 2 3 4 9";
    check(&[
        ("SELECT id FROM stars ORDER BY f, id", order),
        ("SELECT id FROM stars ORDER BY f32, id", order),
        ("SELECT id FROM stars ORDER BY l, id", order),
        (
            "SELECT id FROM stars ORDER BY f DESC, id LIMIT 5",
            "2 3 4 9 6",
        ),
        (
            "SELECT string_agg(CAST(id AS VARCHAR), ' ' ORDER BY f, id) FROM stars",
            order,
        ),
        (
            "SELECT rank() OVER (ORDER BY f) FROM stars ORDER BY id",
            "1 1 7 7 7 4 6 4 1 7",
        ),
        (
            "SELECT count(*) OVER (PARTITION BY f) FROM stars ORDER BY id",
            "3 3 4 4 4 2 1 2 3 4",
        ),
        (
            "SELECT lag(id) OVER (ORDER BY f, id), lead(id) OVER (ORDER BY f, id) FROM stars \
             ORDER BY id",
            "null,1 0,8 6,3 2,4 3,9 8,7 7,2 5,6 1,5 4,null",
        ),
        (
            "SELECT first_value(id ORDER BY f, id), last_value(id ORDER BY f, id), \
             nth_value(id, 2 ORDER BY f, id) FROM stars",
            "0,9,1",
        ),
        ("SELECT min(f), max(f) FROM stars", "-0.0,NaN"),
        (
            "SELECT min(f), max(f) FROM stars WHERE id IN (3, 6)",
            "2.0,NaN",
        ),
        (
            "SELECT min(f32), max(f32) FROM stars WHERE id IN (3, 6)",
            "2.0,NaN",
        ),
        (
            "SELECT g, min(f), max(f) FROM stars WHERE id < 8 GROUP BY g ORDER BY g",
            "0,0.0,NaN 1,-0.0,NaN",
        ),
        (
            "SELECT min(f) OVER w, max(f) OVER w FROM stars \
             WINDOW w AS (ORDER BY id ROWS 1 PRECEDING) ORDER BY id",
            "0.0,0.0 -0.0,0.0 -0.0,NaN NaN,NaN NaN,NaN 1.0,NaN 1.0,2.0 1.0,2.0 -0.0,1.0 -0.0,NaN",
        ),
        ("SELECT median(f) FROM stars", "1.5"),
        (
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM stars",
            "1.5",
        ),
        (
            "SELECT array_to_string(array_sort(array_agg(f)), ' ') FROM stars WHERE id < 7",
            "-0 0 1 2 NaN NaN NaN",
        ),
    ]);
    let (_folder, engine) = floats();
    let ordered = ids(&collect(scan(&engine, &[("order", "f,id")]).unwrap()));
    assert_eq!(ordered, [0, 1, 8, 5, 7, 6, 2, 3, 4, 9]);
}

/// The first of three row groups is damaged, so that a query which reads it fails.
#[test]
fn bounds_on_floats_skip_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    let floats: ArrayRef = Arc::new(
        (0..3000)
            .map(|row| Some(f64::from(row)))
            .collect::<Float64Array>(),
    );
    write_parquet(&file, &RecordBatch::try_from_iter([("f", floats)]).unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4..1000].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let engine = engine_of(&file);
    for (condition, rows) in [
        ("f > 2500 AND f < 2600", "99"),
        ("f BETWEEN 1500 AND 1600", "101"),
        ("f = 2000", "1"),
        ("f IN (2000, 2001)", "2"),
    ] {
        let sql = format!("SELECT count(f) FROM stars WHERE {condition}");
        assert_eq!(answer(&engine, &sql), rows, "{sql}");
    }
    let all = block_on(engine.query(&Query::new("SELECT sum(f) FROM stars"), None)).unwrap();
    assert!(all.into_iter().any(|batch| batch.is_err()));
}
