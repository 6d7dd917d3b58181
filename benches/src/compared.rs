//! Downloads of the program compared with others of the same bytes, in pairs: the line of the table and
//! the bar of each comparison. What is compared is decided by the measurements.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::cli::{Program, Repeats, Scale};
use crate::client;
use crate::contender;
use crate::pairs::{Pair, Pairs, Run};
use crate::process::{self, Server};
use crate::report::{Bar, Limit, Report, Table, extremes, quantity, quartiles};

/// What is compared with what, and how much of its rate is the bar.
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) candidate: &'static str,
    pub(crate) against: &'static str,
    pub(crate) least: f64,
}

/// The line of a comparison, and its bar.
pub(crate) type Found = (Vec<String>, Bar);

/// How many pairs, and how long to wait for a quiet machine.
#[derive(Clone, Copy)]
pub(crate) struct Repeated {
    pairs: usize,
    patience: Duration,
}

impl Repeated {
    pub(crate) fn of(wanted: Repeats, scale: Scale) -> Self {
        Self {
            pairs: wanted.count(if scale.quick { 2 } else { 7 }),
            patience: wanted.patience(),
        }
    }
}

impl Comparison {
    /// Runs the pairs of these servers.
    pub(crate) fn measure(
        &self,
        repeated: Repeated,
        servers: &[&Server],
        pair: impl FnMut() -> io::Result<Pair>,
    ) -> io::Result<Found> {
        let pairs = Pairs::measure(repeated.pairs, repeated.patience, servers, pair)?;
        let found = self.found(&pairs);
        eprintln!("{}", found.0.join(" | "));
        Ok(found)
    }

    fn found(&self, pairs: &Pairs) -> Found {
        let cpu =
            |run: fn(&Pair) -> &Run| quantity(pairs.sample(|pair| run(pair).cpu()).median(), "");
        let ratio = pairs.rate_ratio();
        let row = vec![
            self.name.clone(),
            self.candidate.into(),
            self.against.into(),
            extremes(&pairs.sample(|pair| pair.candidate.rate())),
            extremes(&pairs.sample(|pair| pair.baseline.rate())),
            quartiles(&ratio),
            cpu(|pair| &pair.candidate),
            cpu(|pair| &pair.baseline),
            pairs.used_by_others(),
        ];
        let bar = Bar {
            promise: format!(
                "{}: rate of {} to {}",
                self.name, self.candidate, self.against
            ),
            figure: ratio.median(),
            limit: Limit::AtLeast(self.least),
            unit: "",
        };
        (row, bar)
    }
}

/// Makes the report of some comparisons.
pub(crate) fn report(title: &str, notes: Vec<String>, found: Vec<Found>) -> Report {
    let (rows, bars) = found.into_iter().unzip();
    let header = vec![
        "what",
        "server",
        "against",
        "MB/s (min–max)",
        "the other's",
        "ratio (quartiles)",
        "CPU s/GB",
        "the other's",
        "used by others (pairs dropped)",
    ];
    Report {
        title: title.into(),
        notes,
        tables: vec![Table { header, rows }],
        bars,
    }
}

/// Starts the program with a configuration.
pub(crate) fn serve(program: &Program, config: &Path) -> io::Result<Server> {
    let mut command = vec![contender::program_path(program)?.into()];
    command.extend(["serve", "--listen", "127.0.0.1:0", "--config"].map(Into::into));
    command.push(config.into());
    process::start(&command)
}

/// Compares two small downloads: what is fast and wrong must not win.
pub(crate) fn assert_same(address: SocketAddr, paths: [String; 2]) -> io::Result<()> {
    let mut bodies = Vec::new();
    for path in &paths {
        let mut body = Vec::new();
        client::get(address, path)?.drain(|payload| body.extend_from_slice(payload))?;
        bodies.push(body);
    }
    if bodies[0] == bodies[1] && !bodies[0].is_empty() {
        return Ok(());
    }
    let lengths = [bodies[0].len(), bodies[1].len()];
    Err(io::Error::other(format!(
        "{} and {} differ: they have {} and {} bytes",
        paths[0], paths[1], lengths[0], lengths[1]
    )))
}

/// Makes a pair of two runs that must have as many bytes.
pub(crate) fn same_length(baseline: Run, candidate: Run) -> io::Result<Pair> {
    if baseline.bytes != candidate.bytes {
        let what = format!("{} bytes instead of {}", candidate.bytes, baseline.bytes);
        return Err(io::Error::other(what));
    }
    Ok(Pair {
        baseline,
        candidate,
    })
}

/// A download.
pub(crate) fn one(server: &Server, path: &str) -> io::Result<Run> {
    Run::timed(server, || client::get(server.address(), path)?.count())
}
