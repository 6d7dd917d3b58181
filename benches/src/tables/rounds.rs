//! Rounds: in each, every contender of a format runs once, in rotating order, so that other load on
//! the machine affects all. Owns the check before, the rounds, and the ratios within them;
//! `bars.rs` owns the bars.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::contenders::{self, Contender};
use super::input::Input;
use super::meter::{self, Usage};
use super::python::{PYTHON, script_path};
use crate::cli::Program;
use crate::process;
use crate::quiet::{self, Watched};
use crate::stats::Sample;
use crate::table_format::TableFormat;

/// Where every contender writes in the measured runs.
const NOWHERE: &str = "/dev/null";

/// What is measured, and how often.
#[derive(Debug)]
pub(super) struct Effort {
    pub(super) rounds: usize,
    /// How long one format waits until other processes are idle.
    pub(super) patience: Duration,
    /// The table of the rounds.
    pub(super) input: Input,
    /// A smaller table, on which every contender's output is checked.
    pub(super) checked: Input,
    /// A table of one row: its cost is the start-up.
    pub(super) single: Input,
    pub(super) program: Program,
}

/// A contender that could not run, and why.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) name: &'static str,
    pub(super) reason: String,
}

/// The results of the rounds of one format.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) format: TableFormat,
    pub(super) present: Vec<Contender>,
    pub(super) absent: Vec<Absent>,
    /// Rows that each contender writes, in the order of `present`.
    pub(super) rows: Vec<f64>,
    /// What a table of one row costs, in the order of `present`.
    starts: Vec<Usage>,
    /// Of each round the usage of each contender, in the order of `present`.
    rounds: Vec<Watched<Vec<Usage>>>,
    /// Rounds not counted because other processes used the machine.
    pub(super) dropped: usize,
}

/// Checks and warms up every contender, then runs the rounds.
pub(super) fn compare(format: TableFormat, effort: &Effort) -> io::Result<Outcome> {
    let (mut present, mut starts, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for contender in contenders::of(format) {
        eprintln!("{}: checking {}", format.title(), contender.name);
        match admit(contender, format, effort) {
            Ok(start) => {
                present.push(*contender);
                starts.push(start);
            }
            Err(error) => absent.push(Absent {
                name: contender.name,
                reason: error.to_string(),
            }),
        }
    }
    let mut number = 0;
    let (rounds, dropped) = quiet::undisturbed(effort.rounds, effort.patience, || {
        number += 1;
        eprintln!("{}: round {number}", format.title());
        let run = |at: usize| cost(&present[at], &effort.input, effort);
        watched(|| turn(present.len(), number, run))
    })?;
    let rows = present.iter().map(|one| one.rows(&effort.input) as f64);
    Ok(Outcome {
        format,
        rows: rows.collect(),
        present,
        absent,
        starts,
        rounds,
        dropped,
    })
}

/// Checks a contender and runs it once on the complete table: success on a small table does not
/// guarantee that, and it fills the page cache. Returns the cost of a table of one row.
fn admit(contender: &Contender, format: TableFormat, effort: &Effort) -> io::Result<Usage> {
    check(contender, format, effort)?;
    cost(contender, &effort.input, effort)?;
    cost(contender, &effort.single, effort)
}

/// Runs a contender once, with its output discarded.
fn cost(contender: &Contender, input: &Input, effort: &Effort) -> io::Result<Usage> {
    let command = contender.command(input, &effort.program)?;
    meter::run(&command, Path::new(NOWHERE))
}

/// Lets a contender write to a file and compares every value.
fn check(contender: &Contender, format: TableFormat, effort: &Effort) -> io::Result<()> {
    let input = &effort.checked;
    let written = input.parquet.with_extension("written");
    meter::run(&contender.command(input, &effort.program)?, &written)?;
    let output = Command::new(PYTHON)
        .arg(script_path("check.py"))
        .arg(format.check_name())
        .arg(&written)
        .arg(&input.parquet)
        .arg(contender.rows(input).to_string())
        .output()?;
    std::fs::remove_file(&written)?;
    if output.status.success() {
        return Ok(());
    }
    let what = meter::reason(&output.stderr);
    Err(io::Error::other(format!("what it writes is wrong: {what}")))
}

/// Runs `count` contenders once, beginning with another one in each round;
/// returns their figures in their own order.
fn turn<T>(
    count: usize,
    first: usize,
    mut run: impl FnMut(usize) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    let mut found = (0..count)
        .map(|place| (first + place) % count)
        .map(|at| Ok((at, run(at)?)))
        .collect::<io::Result<Vec<_>>>()?;
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, usage)| usage).collect())
}

/// Runs a round and measures how much of the machine other processes used meanwhile.
fn watched(round: impl FnOnce() -> io::Result<Vec<Usage>>) -> io::Result<Watched<Vec<Usage>>> {
    let (started, before) = (Instant::now(), process::machine_cpu_seconds()?);
    let found = round()?;
    let concerned: f64 = found.iter().map(|usage| usage.cpu_seconds).sum();
    let foreign = process::machine_cpu_seconds()? - before - concerned;
    Ok(Watched {
        found,
        foreign_cpu_share: foreign / quiet::capacity(started.elapsed()),
    })
}

impl Outcome {
    /// The place of a contender, unless it is absent.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.present.iter().position(|one| one.name == name)
    }

    /// A figure of one contender over all rounds.
    pub(super) fn sample(&self, place: usize, figure: impl Fn(&Usage) -> f64) -> Sample {
        Sample::new(self.rounds.iter().map(|round| figure(&round.found[place])))
    }

    /// Million rows per CPU second.
    pub(super) fn rate(&self, place: usize) -> Sample {
        let rows = self.rows[place];
        self.sample(place, |usage| rows / 1e6 / usage.cpu_seconds)
    }

    /// The ratio of one contender's rows per CPU second to those of `other`, for each round.
    pub(super) fn ratio(&self, one: usize, other: usize) -> Sample {
        let cost = |usages: &[Usage], at: usize| usages[at].cpu_seconds / self.rows[at];
        let rounds = self.rounds.iter().map(|round| &round.found);
        Sample::new(rounds.map(|usages| cost(usages, other) / cost(usages, one)))
    }

    pub(super) fn start_cpu_seconds(&self, place: usize) -> f64 {
        self.starts[place].cpu_seconds
    }

    pub(super) fn foreign_cpu_share(&self) -> f64 {
        let shares = self.rounds.iter().map(|round| round.foreign_cpu_share);
        Sample::new(shares).median().max(0.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The first contenders of a format, with their CPU seconds round by round.
    pub(in crate::tables) fn outcome(format: TableFormat, rounds: &[&[f64]]) -> Outcome {
        let usage = |&cpu_seconds: &f64| Usage {
            cpu_seconds,
            wall_seconds: cpu_seconds,
            peak_rss_bytes: 1e6,
        };
        let watched = |round: &&[f64]| Watched {
            found: round.iter().map(usage).collect(),
            foreign_cpu_share: 0.0,
        };
        let count = rounds.first().map_or(0, |round| round.len());
        Outcome {
            format,
            present: contenders::of(format)[..count].to_vec(),
            absent: Vec::new(),
            rows: vec![1e6; count],
            starts: vec![usage(&0.1); count],
            rounds: rounds.iter().map(watched).collect(),
            dropped: 0,
        }
    }

    #[test]
    fn every_round_begins_with_another_contender_and_keeps_the_order() {
        for first in 0..5 {
            let mut order = Vec::new();
            let found = turn(3, first, |at| {
                order.push(at);
                Ok(at * 10)
            });
            assert_eq!(found.unwrap(), [0, 10, 20]);
            assert_eq!(order[0], first % 3);
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round runs at half the speed for both.
        let outcome = outcome(TableFormat::Ndjson, &[&[1.0, 3.0], &[2.0, 6.0]]);
        let ratio = outcome.ratio(0, 1);
        assert_eq!((ratio.min(), ratio.max()), (3.0, 3.0));
    }
}
