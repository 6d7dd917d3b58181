//! The count of attempts and of failures that a client took for success: client × failure.
//!
//! With `DATASTREAMER_ABORT_REPORT` in the environment each table is appended to that file as
//! Markdown; a relative path starts at the checkout.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use super::clients::{Client, Report};
use super::tools;

#[derive(Default)]
struct Tally {
    tried: u32,
    undetected: u32,
    hung: u32,
}

/// Counts per client and way of failing; shared by the threads that run the clients.
pub(crate) struct Table {
    title: &'static str,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// In the order in which they were first recorded.
    failures: Vec<String>,
    tallies: BTreeMap<(Client, String), Tally>,
    /// One line for each transfer that was not seen to fail.
    wrong: Vec<String>,
}

impl Table {
    /// Makes an empty table; what is recorded gives it its rows and columns.
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            counts: Mutex::default(),
        }
    }

    /// Counts one attempt; `detail` is what somebody needs who wants to repeat it.
    pub(crate) fn record(&self, client: Client, failure: &str, report: &Report, detail: &str) {
        let mut counts = self
            .counts
            .lock()
            .expect("nobody panics with the table locked");
        if !counts.failures.iter().any(|known| known == failure) {
            counts.failures.push(failure.to_owned());
        }
        let tally = counts
            .tallies
            .entry((client, failure.to_owned()))
            .or_default();
        tally.tried += 1;
        match report {
            Report::Failure(_) => return,
            Report::Success => tally.undetected += 1,
            Report::Nothing => tally.hung += 1,
        }
        let line = format!("{client} reported {report}: {failure}: {detail}");
        counts.wrong.push(line);
    }

    /// Returns how many attempts were made, and how many of them ended with a report of success.
    pub(crate) fn tried_and_undetected(&self) -> (u32, u32) {
        let counts = self
            .counts
            .lock()
            .expect("nobody panics with the table locked");
        let sum = |figure: fn(&Tally) -> u32| counts.tallies.values().map(figure).sum();
        (sum(|tally| tally.tried), sum(|tally| tally.undetected))
    }

    /// Prints and reports the table, and panics unless every client reported every failure.
    pub(crate) fn assert_every_failure_was_seen(&self) {
        println!("{}", self.render());
        if let Some(file) = env::var_os("DATASTREAMER_ABORT_REPORT") {
            self.append_to(&tools::checkout().join(file));
        }
        let counts = self
            .counts
            .lock()
            .expect("nobody panics with the table locked");
        assert!(
            !counts.tallies.is_empty(),
            "{}: nothing was tried",
            self.title
        );
        assert!(
            counts.wrong.is_empty(),
            "{}: {} failed transfers were not reported as failed:\n{}",
            self.title,
            counts.wrong.len(),
            counts.wrong.join("\n")
        );
    }

    /// Appends the table as Markdown, in one write: other processes may do the same now.
    fn append_to(&self, file: &Path) {
        let report = File::options().create(true).append(true).open(file);
        let written = report.and_then(|mut report| report.write_all(self.markdown().as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// One row for each client and way of failing.
    fn markdown(&self) -> String {
        let (tried, undetected) = self.tried_and_undetected();
        let counts = self
            .counts
            .lock()
            .expect("nobody panics with the table locked");
        let mut text = format!(
            "## {}\n{tried} tried, {undetected} undetected.\n\n\
             | client | way | tried | undetected | hung |\n|---|---|---:|---:|---:|\n",
            self.title
        );
        for ((client, failure), tally) in &counts.tallies {
            let Tally {
                tried,
                undetected,
                hung,
            } = tally;
            let _ = writeln!(
                text,
                "| {client} | {failure} | {tried} | {undetected} | {hung} |"
            );
        }
        text.push('\n');
        text
    }

    /// Renders one row per client, one column per failure, `tried/undetected` in each cell.
    pub(crate) fn render(&self) -> String {
        let counts = self
            .counts
            .lock()
            .expect("nobody panics with the table locked");
        let mut text = format!("\n{}: tried/undetected\n", self.title);
        for (number, failure) in counts.failures.iter().enumerate() {
            let _ = writeln!(text, "  [{}] {failure}", number + 1);
        }
        let _ = write!(text, "{:<24}", "");
        for number in 1..=counts.failures.len() {
            let _ = write!(text, "{:>9}", format!("[{number}]"));
        }
        text.push('\n');
        let mut clients: Vec<Client> = counts.tallies.keys().map(|(client, _)| *client).collect();
        clients.dedup();
        for client in clients {
            let _ = write!(text, "{:<24}", client.to_string());
            for failure in &counts.failures {
                let cell = match counts.tallies.get(&(client, failure.clone())) {
                    None => "-".to_owned(),
                    Some(Tally {
                        tried,
                        undetected,
                        hung: 0,
                    }) => format!("{tried}/{undetected}"),
                    Some(Tally {
                        tried,
                        undetected,
                        hung,
                    }) => {
                        format!("{tried}/{undetected}+{hung}h")
                    }
                };
                let _ = write!(text, "{cell:>9}");
            }
            text.push('\n');
        }
        text
    }
}

#[test]
fn the_report_has_a_row_for_each_client_and_way() {
    let table = Table::new("sources that fail");
    let failed = Report::Failure("exit code 1".into());
    table.record(Client::Curl, "panic", &failed, "");
    table.record(Client::Curl, "panic", &Report::Success, "");
    table.record(Client::Wget, "panic", &Report::Nothing, "");
    let scratch = super::scratch::Scratch::new("report");
    let file = scratch.join("aborts.md");
    table.append_to(&file);
    table.append_to(&file);
    let report = std::fs::read_to_string(file).expect("a report");
    assert_eq!(report.matches("## sources that fail").count(), 2);
    assert!(report.contains("3 tried, 1 undetected."), "{report}");
    assert!(report.contains("| curl | panic | 2 | 1 | 0 |"), "{report}");
    assert!(report.contains("| wget | panic | 1 | 0 | 1 |"), "{report}");
}
