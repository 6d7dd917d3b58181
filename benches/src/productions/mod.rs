//! What a file costs that is kept in the spool: to its first reader, while it is made; to those that
//! come later; and to a hundred at once. The first is compared with the same source without a spool,
//! the others with nginx, which serves the same bytes as a static file.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::{Productions, Program, Scale};
use crate::client;
use crate::contender;
use crate::pairs::{Pair, Pairs, Run};
use crate::pattern::PEER_PERIOD_BYTES;
use crate::process::{self, Server};
use crate::quiet::FOREIGN_CPU_SHARE_MAX;
use crate::report::{Bar, Limit, Report, Table, extremes, quantity, quartiles};
use nginx::Nginx;
use scratch::Scratch;

mod nginx;
mod scratch;

/// The same source with and without a spool.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/productions.toml");

/// Below the spool's usual limit of one production, 2 GiB, and that of a client, 1 GiB.
const BYTES: u64 = 1_000_000_000;
const BYTES_QUICK: u64 = 100_000_000;

/// Rows of the catalogue as CSV, 88 bytes each.
const ROWS: u64 = 5_000_000;
const ROWS_QUICK: u64 = 500_000;

const READERS: usize = 100;

/// How the program is called in the table.
const IN_THE_SPOOL: &str = "in the spool";

/// The readers' buffers are the client's; their threads need no more.
const STACK_BYTES: usize = 128 * 1024;

/// What is read, the server that the program is compared with, and how much of its rate is the bar.
struct Comparison {
    name: &'static str,
    against: &'static str,
    least: f64,
}

/// Runs the comparisons that are possible here.
pub(crate) fn measure(wanted: &Productions, scale: Scale) -> io::Result<Vec<Report>> {
    let files = Scratch::new()?;
    let bench = Bench {
        program: start(&wanted.program, &files, scale)?,
        pairs: wanted.repeats.count(if scale.quick { 2 } else { 7 }),
        patience: wanted.repeats.patience(),
        scale,
        runs: Cell::new(0),
    };
    let mut notes = vec![method()];
    let mut found = vec![bench.first_reader_of_bytes()?];
    found.extend(bench.first_reader_of_tables()?);
    match Nginx::obstacle() {
        Some(obstacle) => notes.push(format!(
            "Left out: the comparisons with nginx, because {obstacle}."
        )),
        None => {
            let nginx = Nginx::start(&files)?;
            found.push(bench.later_readers(&nginx.server, &files)?);
            found.push(bench.joined_readers(&nginx.server, &files)?);
        }
    }
    Ok(vec![report(notes, found)])
}

struct Bench {
    program: Server,
    pairs: usize,
    patience: Duration,
    scale: Scale,
    /// Each run asks for another file, which no spool has.
    runs: Cell<u64>,
}

impl Bench {
    /// A number of bytes or rows that no run has asked for.
    fn fresh(&self, about: u64) -> u64 {
        self.runs.set(self.runs.get() + 1);
        about + self.runs.get()
    }

    const fn bytes(&self) -> u64 {
        if self.scale.quick { BYTES_QUICK } else { BYTES }
    }

    fn first_reader_of_bytes(&self) -> io::Result<Found> {
        let bytes = self.bytes();
        self.first_reader("first reader, test bytes", bytes, ["plain", "kept"], noise)
    }

    fn first_reader_of_tables(&self) -> io::Result<[Found; 2]> {
        let rows = rows(self.scale);
        let path = |route: &str, rows| format!("/{route}.csv?rows={rows}");
        let routes = ["plain-stars", "kept-stars"];
        let name = "first reader, an invented table as CSV";
        let invented = self.first_reader(name, rows, routes, path)?;
        let path = |route: &str, rows| format!("/{route}.csv?limit={rows}");
        let routes = ["plain-table", "kept-table"];
        // No run wants all of its rows.
        let parquet = self.first_reader("first reader, Parquet as CSV", rows / 2, routes, path)?;
        Ok([invented, parquet])
    }

    /// The reader of a file that is made for it, without a spool and with one.
    fn first_reader(
        &self,
        name: &'static str,
        size: u64,
        routes: [&str; 2],
        path: impl Fn(&str, u64) -> String,
    ) -> io::Result<Found> {
        let checked = self.fresh(size / 20);
        assert_same(
            self.program.address(),
            routes.map(|route| path(route, checked)),
        )?;
        let comparison = Comparison {
            name,
            against: "without a spool",
            least: 0.6,
        };
        self.compare(comparison, None, || {
            let size = self.fresh(size);
            let [plain, kept] = routes.map(|route| one(&self.program, &path(route, size)));
            same_length(plain?, kept?)
        })
    }

    /// One reader of a complete production.
    fn later_readers(&self, nginx: &Server, files: &Scratch) -> io::Result<Found> {
        let path = noise("whole", self.bytes());
        files.copy(self.program.address(), &path, "whole.bin")?;
        let comparison = Comparison {
            name: "one reader of a complete file",
            against: "nginx",
            least: 0.8,
        };
        self.compare(comparison, Some(nginx), || {
            same_length(one(nginx, "/whole.bin")?, one(&self.program, &path)?)
        })
    }

    /// A hundred readers that ask for the same file, which is made for them.
    fn joined_readers(&self, nginx: &Server, files: &Scratch) -> io::Result<Found> {
        let size = self.bytes() / 20;
        let path = noise("whole", size);
        files.copy(self.program.address(), &path, "joined.bin")?;
        let comparison = Comparison {
            name: "100 readers at once of a file that is made meanwhile",
            against: "nginx, the complete file",
            least: 0.9,
        };
        self.compare(comparison, Some(nginx), || {
            Ok(Pair {
                baseline: at_once(nginx, "/joined.bin")?,
                candidate: at_once(&self.program, &noise("kept", self.fresh(size)))?,
            })
        })
    }

    /// Runs the pairs of the program, and of another server if it is not compared with itself.
    fn compare(
        &self,
        comparison: Comparison,
        other: Option<&Server>,
        pair: impl FnMut() -> io::Result<Pair>,
    ) -> io::Result<Found> {
        let servers: Vec<_> = std::iter::once(&self.program).chain(other).collect();
        let pairs = Pairs::measure(self.pairs, self.patience, &servers, pair)?;
        let found = comparison.found(&pairs);
        eprintln!("{}", found.0.join(" | "));
        Ok(found)
    }
}

/// The row of a comparison, and its bar.
type Found = (Vec<String>, Bar);

impl Comparison {
    fn found(&self, pairs: &Pairs) -> Found {
        let cpu =
            |run: fn(&Pair) -> &Run| quantity(pairs.sample(|pair| run(pair).cpu()).median(), "");
        let ratio = pairs.rate_ratio();
        let row = vec![
            self.name.into(),
            IN_THE_SPOOL.into(),
            self.against.into(),
            extremes(&pairs.sample(|pair| pair.candidate.rate())),
            extremes(&pairs.sample(|pair| pair.baseline.rate())),
            quartiles(&ratio),
            cpu(|pair| &pair.candidate),
            cpu(|pair| &pair.baseline),
            pairs.used_by_others(),
        ];
        let bar = Bar {
            promise: format!("{}: rate of {IN_THE_SPOOL} to {}", self.name, self.against),
            figure: ratio.median(),
            limit: Limit::AtLeast(self.least),
            unit: "",
        };
        (row, bar)
    }
}

fn report(notes: Vec<String>, found: Vec<Found>) -> Report {
    let (rows, bars) = found.into_iter().unzip();
    let table = Table {
        header: vec![
            "what",
            "server",
            "against",
            "MB/s (min–max)",
            "the other's",
            "ratio (quartiles)",
            "CPU s/GB",
            "the other's",
            "used by others (pairs dropped)",
        ],
        rows,
    };
    Report {
        title: "Files in the spool".into(),
        notes,
        tables: vec![table],
        bars,
    }
}

const fn rows(scale: Scale) -> u64 {
    if scale.quick { ROWS_QUICK } else { ROWS }
}

/// Starts the program with the routes of the configuration, and with a table of Parquet that it has
/// made.
fn start(program: &Program, files: &Scratch, scale: Scale) -> io::Result<Server> {
    let config = program.config.clone().unwrap_or_else(|| CONFIG.into());
    let maker = serve(program, &config)?;
    let path = format!("/plain-stars.parquet?rows={}", rows(scale));
    let table = files.copy(maker.address(), &path, "table.parquet")?;
    let mut text = std::fs::read_to_string(&config)?;
    for (route, keep) in [("plain-table", "none"), ("kept-table", "while_running")] {
        let table = table.display();
        text += &format!(
            "\n[routes.{route}]\nkind = \"table\"\npath = \"{table}\"\nkeep = \"{keep}\"\n"
        );
    }
    serve(program, &files.write("datastreamer.toml", &text)?)
}

fn serve(program: &Program, config: &Path) -> io::Result<Server> {
    let mut command = vec![contender::program_path(program)?.into()];
    command.extend(["serve", "--listen", "127.0.0.1:0", "--config"].map(Into::into));
    command.push(config.into());
    process::start(&command)
}

fn noise(route: &str, bytes: u64) -> String {
    format!("/{route}.bin?n={bytes}&piece=65536&period={PEER_PERIOD_BYTES}")
}

/// Compares two small downloads: what is fast and wrong must not win.
fn assert_same(address: SocketAddr, paths: [String; 2]) -> io::Result<()> {
    let mut bodies = Vec::new();
    for path in &paths {
        let mut body = Vec::new();
        client::get(address, path)?.drain(|payload| body.extend_from_slice(payload))?;
        bodies.push(body);
    }
    if bodies[0] == bodies[1] && !bodies[0].is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} and {} differ",
        paths[0], paths[1]
    )))
}

fn same_length(baseline: Run, candidate: Run) -> io::Result<Pair> {
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
fn one(server: &Server, path: &str) -> io::Result<Run> {
    Run::timed(server, || client::get(server.address(), path)?.count())
}

/// A hundred downloads of one path at the same time, each with its thread.
fn at_once(server: &Server, path: &str) -> io::Result<Run> {
    let address = server.address();
    Run::timed(server, || {
        thread::scope(|scope| {
            let read = || client::get(address, path)?.count();
            let builder = || thread::Builder::new().stack_size(STACK_BYTES);
            let readers: io::Result<Vec<_>> = (0..READERS)
                .map(|_| builder().spawn_scoped(scope, read))
                .collect();
            let mut total = 0;
            let mut lengths = Vec::new();
            for reader in readers? {
                let panicked = |_| Err(io::Error::other("a reader panicked"));
                let bytes = reader.join().unwrap_or_else(panicked)?;
                lengths.push(bytes);
                total += bytes;
            }
            match lengths.iter().all(|bytes| *bytes == lengths[0]) {
                true => Ok(total),
                false => Err(io::Error::other("the readers have different lengths")),
            }
        })
    })
}

fn method() -> String {
    format!(
        "All of `datastreamer serve` with `benches/productions.toml`: noise of 1 GB in writes of \
         64 KiB, the invented catalogue of 5,000,000 rows as CSV, computed and read from Parquet, and 50 MB \
         for 100 readers (a tenth with --quick). Each production is new, except the complete one. Its file is \
         synchronized only where it is kept longer than its readers. Loopback HTTP/1.1, a \
         connection a reader, the client of the other measurements. CPU is the server's user and \
         system time, its children's included. A ratio is the median of the pairs' ratios. A pair \
         during which other processes used more than {:.0} % of the machine is run again.",
        FOREIGN_CPU_SHARE_MAX * 100.0
    )
}
