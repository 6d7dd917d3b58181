//! The invented catalogue.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray},
    compute::concat_batches,
    datatypes::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType},
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_rows::stars::Stars;
use datastreamer_table::meta;

fn whole(stars: Stars) -> RecordBatch {
    let schema = stars.schema();
    let batches: Vec<RecordBatch> = stars.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn the_same_row_is_made_every_time_and_in_every_range() {
    let all = whole(Stars::new(50_000));
    assert_eq!(all, whole(Stars::new(50_000)));
    for (from, to) in [(0, 1), (8191, 8193), (10_000, 45_000), (49_999, 50_000)] {
        let part = whole(Stars::range(from..to));
        assert_eq!(part, all.slice(from as usize, (to - from) as usize));
    }
    assert_eq!(whole(Stars::new(0)).num_rows(), 0);
    assert_eq!(whole(Stars::range(u64::MAX - 3..u64::MAX)).num_rows(), 3);
}

#[test]
fn values_are_spread_as_promised() {
    let rows = 200_000;
    let all = whole(Stars::new(rows));
    let doubles = |column: usize| -> Vec<f64> {
        let array = all.column(column).as_primitive::<Float64Type>();
        array.iter().flatten().collect()
    };
    let (ra, dec, parallax, pmra) = (doubles(1), doubles(2), doubles(3), doubles(4));
    assert!(ra.iter().all(|ra| (0.0..360.0).contains(ra)));
    near(mean(&ra), 180.0, 1.0);
    near(deviation(&ra), 360.0 / 12.0_f64.sqrt(), 0.5);
    let heights: Vec<f64> = dec.iter().map(|dec| dec.to_radians().sin()).collect();
    assert!(dec.iter().all(|dec| (-90.0..=90.0).contains(dec)));
    near(mean(&heights), 0.0, 0.01);
    near(deviation(&heights), 1.0 / 3.0_f64.sqrt(), 0.005);
    assert!(parallax.iter().all(|parallax| *parallax >= 0.0));
    near(mean(&parallax), 1.0, 0.01);
    near(deviation(&parallax), 1.0, 0.02);
    near(mean(&pmra), 0.0, 0.1);
    near(deviation(&pmra), 10.0, 0.1);
    let magnitudes = all.column(5).as_primitive::<Float32Type>();
    let magnitudes: Vec<f64> = magnitudes.iter().flatten().map(f64::from).collect();
    near(mean(&magnitudes), 18.0, 0.03);
    near(deviation(&magnitudes), 2.0, 0.03);
    // Neighbours know nothing of each other, nor do columns.
    let neighbours: Vec<f64> = pmra.windows(2).map(|pair| pair[0] * pair[1]).collect();
    near(mean(&neighbours), 0.0, 1.0);
    let columns: Vec<f64> = ra
        .iter()
        .zip(&heights)
        .map(|(a, b)| (a - 180.0) * b)
        .collect();
    near(mean(&columns), 0.0, 0.6);
}

#[test]
fn identifiers_epochs_and_names_are_in_their_ranges() {
    let rows = 100_000;
    let all = whole(Stars::new(rows));
    let ids = all.column(0).as_primitive::<Int64Type>().values();
    assert!(ids.iter().all(|id| (1..1 << 62).contains(id)));
    let mut distinct = ids.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len() as u64, rows);
    let epochs = all.column(7).as_primitive::<TimestampMicrosecondType>();
    let range = 1_400_000_000_000_000..1_700_000_000_000_000;
    assert!(epochs.iter().flatten().all(|epoch| range.contains(&epoch)));
    let mut types: HashMap<&str, u64> = HashMap::new();
    for name in all.column(6).as_string::<i32>().iter().flatten() {
        let (kind, number) = name.rsplit_once(' ').unwrap();
        let parsed: u64 = number.parse().unwrap();
        assert!(parsed < 10_000 && parsed.to_string() == number, "{name}");
        *types.entry(kind).or_default() += 1;
    }
    assert_eq!(types.len(), 8);
    assert!(types["<UV&X>"] > rows / 10 && types["<UV&X>"] < rows / 7);
}

#[test]
fn about_two_in_a_hundred_are_null_where_null_is_possible() {
    let all = whole(Stars::new(100_000));
    for (field, column) in all.schema().fields().iter().zip(all.columns()) {
        let nulls = column.null_count();
        match field.is_nullable() {
            true => assert!((1800..2200).contains(&nulls), "{}: {nulls}", field.name()),
            false => assert_eq!(nulls, 0, "{}", field.name()),
        }
    }
    let names = all
        .schema()
        .fields()
        .iter()
        .filter(|field| field.is_nullable())
        .count();
    assert_eq!(names, 4);
}

#[test]
fn every_column_says_what_it_is() {
    let schema = Stars::new(0).schema();
    for field in schema.fields() {
        assert!(meta::of_column(field, meta::UCD).is_some(), "{field}");
        assert!(
            meta::of_column(field, meta::DESCRIPTION).is_some(),
            "{field}"
        );
    }
    let ra = schema.field(1);
    assert_eq!(meta::of_column(ra, meta::UNIT), Some("deg"));
    assert_eq!(meta::of_column(ra, meta::COOSYS), Some("ICRS"));
    assert_eq!(meta::of_table(&schema, meta::NAME), Some("stars"));
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    let squares = values.iter().map(|value| (value - middle).powi(2));
    (squares.sum::<f64>() / values.len() as f64).sqrt()
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() < tolerance,
        "{found} is not {expected}"
    );
}
