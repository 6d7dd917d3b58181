//! Tables in every format, from a Parquet file to `/dev/null`, compared by rows per CPU second of
//! the complete process. Owns the plan and the report.
//!
//! Reading order: [`contenders`] (the programs and their commands), [`rounds`] (how they run),
//! [`meter`] (what one run costs), [`bars`] (the bars).

use std::io;
use std::process::Command;

use clap::ValueEnum;

use crate::cli::{Scale, Tables};
use crate::contender;
use crate::quiet::FOREIGN_CPU_SHARE_MAX;
use crate::report::{Report, Table, quantity};
use crate::stats::Sample;
use crate::table_format::TableFormat;
use contenders::OURS;
use input::Input;
use python::PYTHON;
use rounds::{Effort, Outcome};

mod bars;
mod contenders;
mod encoders;
mod input;
pub(crate) mod meter;
mod python;
mod rounds;

pub(crate) use input::Input as TableInput;

/// More than one row group of the input, so that their order is checked too.
const CHECKED_ROWS: u64 = 120_000;

/// With `--quick`: enough to check columns, nulls and the end.
const CHECKED_ROWS_QUICK: u64 = 20_000;

/// An odd number, so that the median is a round that was run.
const ROUNDS: usize = 7;

/// Runs the rounds of every requested format; returns a report for each, after one that describes
/// the method.
pub(crate) fn measure(wanted: &Tables, scale: Scale) -> io::Result<Vec<Report>> {
    // Fail now rather than after the peers have run if the program is missing.
    contender::program_path(&wanted.program)?;
    let rounds = if scale.quick { 1 } else { ROUNDS };
    let checked_rows = if scale.quick {
        CHECKED_ROWS_QUICK
    } else {
        CHECKED_ROWS
    };
    let effort = Effort {
        rounds: wanted.repeats.count(rounds),
        patience: wanted.repeats.patience(),
        input: Input::prepare(wanted.rows.unwrap_or_else(|| scale.table_rows()))?,
        checked: Input::prepare(checked_rows)?,
        single: Input::prepare(1)?,
        program: wanted.program.clone(),
    };
    let formats = if wanted.formats.is_empty() {
        TableFormat::value_variants()
    } else {
        &wanted.formats
    };
    let mut reports = vec![method(&effort)];
    for format in formats {
        let report = report(&rounds::compare(*format, &effort)?, effort.rounds);
        eprintln!("{}", report.markdown());
        reports.push(report);
    }
    if wanted.formats.is_empty() {
        reports.push(encoders::measure()?);
    }
    Ok(reports)
}

fn report(outcome: &Outcome, rounds: usize) -> Report {
    let mut notes = vec![format!(
        "{rounds} rounds; others used {:.0} % of the machine (rounds dropped: {}).",
        100.0 * outcome.foreign_cpu_share(),
        outcome.dropped
    )];
    let absent = outcome.absent.iter();
    notes.extend(absent.map(|one| format!("Absent: {}: {}", one.name, one.reason)));
    let places = 0..outcome.present.len();
    Report {
        title: outcome.format.title().into(),
        notes,
        tables: vec![Table {
            header: vec![
                "program",
                "M rows/CPU s (quartiles)",
                "ours to it (quartiles)",
                "CPU s",
                "of it to start",
                "wall s",
                "M rows/wall s",
                "peak RSS MB",
                "M rows",
            ],
            rows: places.map(|place| row(outcome, place)).collect(),
        }],
        bars: bars::of(outcome),
    }
}

fn row(outcome: &Outcome, place: usize) -> Vec<String> {
    let quartiles = |sample: Sample| {
        let text = |share| quantity(sample.quantile(share), "");
        format!("{} ({}–{})", text(0.5), text(0.25), text(0.75))
    };
    let median = |sample: Sample| quantity(sample.median(), "");
    let million_rows = outcome.rows[place] / 1e6;
    let ratio = match outcome.place(OURS) {
        Some(ours) if ours != place => quartiles(outcome.ratio(ours, place)),
        _ => "–".into(),
    };
    let wall = |figure: fn(f64, f64) -> f64| {
        median(outcome.sample(place, |usage| figure(million_rows, usage.wall_seconds)))
    };
    vec![
        outcome.present[place].name.into(),
        quartiles(outcome.rate(place)),
        ratio,
        median(outcome.sample(place, |usage| usage.cpu_seconds)),
        quantity(outcome.start_cpu_seconds(place), ""),
        wall(|_, seconds| seconds),
        wall(|rows, seconds| rows / seconds),
        median(outcome.sample(place, |usage| usage.peak_rss_bytes / 1e6)),
        quantity(million_rows, ""),
    ]
}

fn method(effort: &Effort) -> Report {
    let checked_rows = effort.checked.rows;
    let notes = vec![
        format!(
            "A table of {} rows (`benches/make_stars.py`: i64, 4 f64, f32, a string of up to 11 \
             characters, a timestamp in microseconds; 2 % nulls in four of them) is read from a \
             Parquet file and written in another format to `/dev/null`, by a complete process, start \
             included. CPU is the user and system time of the process and its children; peak RSS \
             that of the largest of them. In each round every contender of a format runs once, in \
             turning order; ratios are taken within rounds, and the median and the quartiles over \
             rounds are shown. A round during which others used more than {:.0} % of the machine \
             is run again, at most as many as there are rounds; the quietest are kept.",
            effort.input.rows,
            FOREIGN_CPU_SHARE_MAX * 100.0
        ),
        format!(
            "Before, every program writes a table of {checked_rows} rows to a file, and \
             `benches/peers/tables/check.py` compares every value of every row with the source; \
             a program that writes a wrong value, or is not installed, is named as absent. \"Of \
             it to start\" is the CPU time for a table of one row, measured once."
        ),
        "Debian's STILTS cannot read Parquet: it reads the same table as FITS, in which times are \
         text already; ours is measured on that file as well. Its TSV is the Tab-Separated Table \
         of STIL. DaCHS reads FITS too; it and astropy's VOTable hold all rows in memory and get \
         the first tenth of them (column \"M rows\"): their rates are per row, with the start. \
         Every Parquet writer uses zstd at level 1."
            .into(),
        format!("Versions: {}.", versions()),
    ];
    Report {
        title: "Tables, from Parquet to /dev/null".into(),
        notes,
        ..Report::default()
    }
}

/// What is installed of the peers.
fn versions() -> String {
    let list = "from importlib import metadata as m\n\
                for n in 'astropy chdb-core duckdb polars pyarrow'.split():\n\
                \ttry: print(n, m.version(n))\n\
                \texcept m.PackageNotFoundError: print(n, 'not installed')";
    let python = output(PYTHON, &["-c", list]);
    let debian = ["stilts", "python3-gavo"].map(|package| {
        let found = output(
            "dpkg-query",
            &["-W", "-f", "${Package} ${Version}", package],
        );
        if found.is_empty() {
            format!("{package} not installed")
        } else {
            found
        }
    });
    let lines = python.lines().map(str::to_owned).chain(debian);
    lines.collect::<Vec<_>>().join(", ")
}

/// A command's stdout, empty when it cannot run.
fn output(program: &str, arguments: &[&str]) -> String {
    let found = Command::new(program).args(arguments).output();
    found.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
