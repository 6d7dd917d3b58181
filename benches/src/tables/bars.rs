//! The bars of tables: ratios of rows per CPU second within a round.

use super::contenders::{OURS, OURS_FROM_FITS, PYARROW_LIKE_OURS, STILTS};
use super::rounds::Outcome;
use crate::report::{Bar, Limit};
use crate::table_format::TableFormat;

/// What STILTS makes of TABLEDATA on the machine that the absolute bar is
/// stated for, in million rows a CPU second.
const REFERENCE_STILTS_RATE: f64 = 0.66;

/// The program's bar on that machine.
const REFERENCE_OURS_RATE: f64 = 3.5;

/// The bars of a format.
pub(super) fn of(outcome: &Outcome) -> Vec<Bar> {
    let ours = |least, peer: &str| ratio(outcome, OURS, peer, least);
    let against = |peers: &[&'static str]| peers.iter().map(|peer| ours(1.0, peer)).collect();
    let stilts = |least| {
        vec![
            ours(least, STILTS),
            ratio(outcome, OURS_FROM_FITS, STILTS, least),
        ]
    };
    match outcome.format {
        TableFormat::Votable => {
            let mut bars = stilts(5.0);
            bars.push(scaled(outcome));
            bars
        }
        TableFormat::VotableBinary2 => stilts(6.0),
        TableFormat::Fits => stilts(4.0),
        TableFormat::Csv => against(&[
            "ClickHouse, 1 thread",
            "ClickHouse",
            "polars write_csv",
            "polars sink_csv",
        ]),
        TableFormat::Ndjson => against(&[
            "DuckDB, 1 thread",
            "DuckDB",
            "ClickHouse, 1 thread",
            "ClickHouse",
        ]),
        TableFormat::ParquetSnappy | TableFormat::ParquetZstd => against(&[
            PYARROW_LIKE_OURS,
            "pyarrow, no dictionary",
            "pyarrow, dictionary on all",
        ]),
        TableFormat::Tsv | TableFormat::Json | TableFormat::Arrow => Vec::new(),
    }
}

/// Missed if one of the two is absent.
fn ratio(outcome: &Outcome, one: &str, other: &str, least: f64) -> Bar {
    Bar {
        promise: format!("{}: {one} to {other}", outcome.format.title()),
        figure: median_ratio(outcome, one, other),
        limit: Limit::AtLeast(least),
        unit: "",
    }
}

fn scaled(outcome: &Outcome) -> Bar {
    Bar {
        promise: format!(
            "{}: {OURS}, where STILTS makes {REFERENCE_STILTS_RATE}",
            outcome.format.title()
        ),
        figure: median_ratio(outcome, OURS, STILTS) * REFERENCE_STILTS_RATE,
        limit: Limit::AtLeast(REFERENCE_OURS_RATE),
        unit: "M rows/CPU s",
    }
}

fn median_ratio(outcome: &Outcome, one: &str, other: &str) -> f64 {
    match (outcome.place(one), outcome.place(other)) {
        (Some(one), Some(other)) => outcome.ratio(one, other).median(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::super::contenders;
    use super::super::rounds::tests::outcome;
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_bar_names_contenders_of_its_format() {
        for format in TableFormat::value_variants() {
            let all = vec![1.0; contenders::of(*format).len()];
            for bar in of(&outcome(*format, &[&all])) {
                assert!(!bar.figure.is_nan(), "{}", bar.promise);
            }
        }
    }

    #[test]
    fn a_bar_against_an_absent_peer_is_missed() {
        let format = TableFormat::ParquetSnappy;
        let mut all = vec![2.0; contenders::of(format).len()];
        all[0] = 1.0;
        let mut outcome = outcome(format, &[&all]);
        assert!(of(&outcome).iter().all(Bar::met));
        outcome.present.truncate(1);
        assert!(!of(&outcome).iter().any(Bar::met));
    }
}
