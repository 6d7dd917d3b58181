//! Figures, bars and verdicts as Markdown. A bar is a goal with a limit: its figure is always
//! printed, whether the bar was met or missed. Measures nothing.

use std::fmt::Write;

use crate::cli::Scale;
use crate::stats::Sample;

/// The results of one measurement.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// How it was measured and what was left out; one paragraph each.
    pub(crate) notes: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) bars: Vec<Bar>,
}

/// Rows of cells under a header.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// A goal with a limit.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) promise: String,
    /// As measured; NaN if it could not be measured, which counts as missed.
    pub(crate) figure: f64,
    pub(crate) limit: Limit,
    /// Of the figure and of the limit; empty for ratios.
    pub(crate) unit: &'static str,
}

/// Which side of the limit is good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    pub(crate) fn admits(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}", quantity(least, unit)),
            Self::AtMost(most) => format!("≤ {}", quantity(most, unit)),
        }
    }
}

impl Bar {
    pub(crate) fn met(&self) -> bool {
        self.limit.admits(self.figure)
    }

    /// The limit and whether it was kept, for a verdict column.
    pub(crate) fn verdict(&self) -> String {
        let limit = self.limit.text(self.unit);
        if self.met() {
            format!("{limit}: met")
        } else {
            format!("{limit}: **missed**")
        }
    }

    fn line(&self) -> String {
        let figure = quantity(self.figure, self.unit);
        format!("{}: {figure}, {}", self.promise, self.verdict())
    }
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        self.bars.iter().all(Bar::met)
    }

    pub(crate) fn missed(&self) -> Vec<String> {
        self.bars
            .iter()
            .filter(|bar| !bar.met())
            .map(Bar::line)
            .collect()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut parts = vec![format!("## {}", self.title)];
        parts.extend(self.notes.iter().cloned());
        parts.extend(self.tables.iter().map(Table::markdown));
        if !self.bars.is_empty() {
            parts.push(self.bar_table().markdown());
        }
        parts.join("\n\n") + "\n"
    }

    fn bar_table(&self) -> Table {
        let row = |bar: &Bar| {
            vec![
                bar.promise.clone(),
                quantity(bar.figure, bar.unit),
                bar.verdict(),
            ]
        };
        Table {
            header: vec!["promise", "measured", "bar"],
            rows: self.bars.iter().map(row).collect(),
        }
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!(
            "| {} |\n|{}",
            self.header.join(" | "),
            "---|".repeat(self.header.len())
        );
        for row in &self.rows {
            // Writing into a String cannot fail.
            let _ = write!(text, "\n| {} |", row.join(" | "));
        }
        text
    }
}

/// One document out of all reports of a command.
pub(crate) fn document(
    command: &str,
    facts: &[(&str, String)],
    scale: Scale,
    reports: &[Report],
) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    let quick = if scale.quick { " --quick" } else { "" };
    let _ = writeln!(
        text,
        "Written by `cargo run --release -p datastreamer-bench -- {command}{quick}`.\n"
    );
    for (name, value) in facts {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let bars = reports
        .iter()
        .map(|report| report.bars.len())
        .sum::<usize>();
    let missed: Vec<String> = reports.iter().flat_map(Report::missed).collect();
    let _ = writeln!(text, "\n{} of {bars} bars were met.", bars - missed.len());
    for line in missed {
        let _ = writeln!(text, "- missed: {line}");
    }
    for report in reports {
        let _ = write!(text, "\n{}", report.markdown());
    }
    text
}

/// Three significant digits or all before the point, at most three after it, and
/// the unit.
pub(crate) fn quantity(figure: f64, unit: &str) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size > 0.0 && size < 0.1 => 3,
        _ => 2,
    };
    let number = format!("{figure:.decimals$}");
    if unit.is_empty() {
        number
    } else {
        format!("{number} {unit}")
    }
}

/// The median of a sample and its extremes.
pub(crate) fn extremes(sample: &Sample) -> String {
    spread(sample, sample.min(), sample.max())
}

/// The median of a sample and its quartiles.
pub(crate) fn quartiles(sample: &Sample) -> String {
    spread(sample, sample.quantile(0.25), sample.quantile(0.75))
}

fn spread(sample: &Sample, low: f64, high: f64) -> String {
    let [median, low, high] = [sample.median(), low, high].map(|figure| quantity(figure, ""));
    format!("{median} ({low}–{high})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(figure: f64) -> Bar {
        Bar {
            promise: "speed".into(),
            figure,
            limit: Limit::AtLeast(2.0),
            unit: "",
        }
    }

    #[test]
    fn a_missed_bar_is_shown_with_its_figure() {
        let report = Report {
            bars: vec![bar(2.0), bar(1.987)],
            ..Report::default()
        };
        assert!(!report.passed());
        assert_eq!(report.missed(), ["speed: 1.99, ≥ 2.00: **missed**"]);
    }

    #[test]
    fn small_figures_keep_two_digits() {
        assert_eq!(quantity(0.034, ""), "0.034");
        assert_eq!(quantity(0.0, "s"), "0.00 s");
    }

    #[test]
    fn what_could_not_be_measured_is_missed() {
        assert!(!bar(f64::NAN).met());
        assert!(
            !Bar {
                limit: Limit::AtMost(1.0),
                ..bar(f64::NAN)
            }
            .met()
        );
    }
}
