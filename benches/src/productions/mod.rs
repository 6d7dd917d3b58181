//! What a file costs that is kept in the spool: to its first reader, while it is made; to those that
//! come later; and to a hundred at once. The first is compared with the same source without a spool,
//! the others with nginx, which serves the same bytes as a static file.

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
use crate::report::{Bar, Limit, Report, Table, quantity};
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

/// The readers' buffers are the client's; their threads need no more.
const STACK_BYTES: usize = 128 * 1024;

/// What the two of a pair read.
struct Comparison<'a> {
    name: &'static str,
    baseline: (&'static str, &'a Server),
    candidate: (&'static str, &'a Server),
    least: f64,
}

/// Runs the comparisons that are possible here.
pub(crate) fn measure(wanted: &Productions, scale: Scale) -> io::Result<Vec<Report>> {
    let files = Scratch::new()?;
    let mut bench = Bench {
        program: start(&wanted.program, &files, scale)?,
        pairs: wanted
            .pairs
            .unwrap_or(if scale.quick { 2 } else { 7 })
            .max(1),
        patience: Duration::from_secs(wanted.patience),
        scale,
        runs: 0,
        report: Report {
            title: "Files in the spool".into(),
            notes: vec![method()],
            ..Report::default()
        },
        rows: Vec::new(),
    };
    bench.first_reader_of_bytes()?;
    bench.first_reader_of_tables()?;
    match Nginx::obstacle() {
        Some(obstacle) => {
            let note = format!("Left out: the comparisons with nginx, because {obstacle}.");
            bench.report.notes.push(note);
        }
        None => {
            let nginx = Nginx::start(&files)?;
            bench.later_readers(&nginx, &files)?;
            bench.joined_readers(&nginx, &files)?;
        }
    }
    Ok(vec![bench.finish()])
}

struct Bench {
    program: Server,
    pairs: usize,
    patience: Duration,
    scale: Scale,
    /// Each run asks for another file, which no spool has.
    runs: u64,
    report: Report,
    rows: Vec<Vec<String>>,
}

impl Bench {
    /// A number of bytes or rows that no run has asked for.
    fn fresh(&mut self, about: u64) -> u64 {
        self.runs += 1;
        about + self.runs
    }

    const fn bytes(&self) -> u64 {
        if self.scale.quick { BYTES_QUICK } else { BYTES }
    }

    fn first_reader_of_bytes(&mut self) -> io::Result<()> {
        let bytes = self.bytes();
        let path = |route: &str, bytes| noise(route, bytes);
        self.first_reader("first reader, test bytes", bytes, ["plain", "kept"], path)
    }

    fn first_reader_of_tables(&mut self) -> io::Result<()> {
        let rows = rows(self.scale);
        let path = |route: &str, rows| format!("/{route}.csv?rows={rows}");
        let routes = ["plain-stars", "kept-stars"];
        self.first_reader("first reader, an invented table as CSV", rows, routes, path)?;
        let path = |route: &str, rows| format!("/{route}.csv?limit={rows}");
        let routes = ["plain-table", "kept-table"];
        // No run wants all of its rows.
        self.first_reader("first reader, Parquet as CSV", rows / 2, routes, path)
    }

    /// The reader of a file that is made for it, without a spool and with one.
    fn first_reader(
        &mut self,
        name: &'static str,
        size: u64,
        [plain, kept]: [&str; 2],
        path: impl Fn(&str, u64) -> String,
    ) -> io::Result<()> {
        let address = self.program.address();
        let checked = self.fresh(size / 20);
        assert_same(address, [plain, kept].map(|route| path(route, checked)))?;
        let sizes: Vec<u64> = (0..2 * self.pairs).map(|_| self.fresh(size)).collect();
        let mut sizes = sizes.into_iter();
        let pairs = Pairs::measure(self.pairs, self.patience, &[&self.program], || {
            let size = sizes.next().unwrap_or(size);
            let run = |route| {
                Run::timed(&self.program, || {
                    client::get(address, &path(route, size))?.count()
                })
            };
            same_length(run(plain)?, run(kept)?)
        })?;
        let comparison = Comparison {
            name,
            baseline: ("without a spool", &self.program),
            candidate: ("in the spool", &self.program),
            least: 0.6,
        };
        let (row, bar) = comparison.found(&pairs);
        self.add(row, bar);
        Ok(())
    }

    /// One reader of a complete production.
    fn later_readers(&mut self, nginx: &Nginx, files: &Scratch) -> io::Result<()> {
        let path = noise("whole", self.bytes());
        files.copy(self.program.address(), &path, "whole.bin")?;
        let pairs = Pairs::measure(
            self.pairs,
            self.patience,
            &[&self.program, &nginx.server],
            || {
                let get = |server: &Server, path: &str| {
                    Run::timed(server, || client::get(server.address(), path)?.count())
                };
                same_length(
                    get(&nginx.server, "/whole.bin")?,
                    get(&self.program, &path)?,
                )
            },
        )?;
        let comparison = Comparison {
            name: "one reader of a complete file",
            baseline: ("nginx", &nginx.server),
            candidate: ("in the spool", &self.program),
            least: 0.8,
        };
        let (row, bar) = comparison.found(&pairs);
        self.add(row, bar);
        Ok(())
    }

    /// A hundred readers that ask for the same file, which is made for them.
    fn joined_readers(&mut self, nginx: &Nginx, files: &Scratch) -> io::Result<()> {
        let size = self.bytes() / 20;
        let path = noise("whole", size);
        files.copy(self.program.address(), &path, "joined.bin")?;
        let sizes: Vec<u64> = (0..2 * self.pairs).map(|_| self.fresh(size)).collect();
        let mut sizes = sizes.into_iter();
        let pairs = Pairs::measure(
            self.pairs,
            self.patience,
            &[&self.program, &nginx.server],
            || {
                let size = sizes.next().unwrap_or(size);
                Ok(Pair {
                    baseline: at_once(&nginx.server, "/joined.bin")?,
                    candidate: at_once(&self.program, &noise("kept", size))?,
                })
            },
        )?;
        let comparison = Comparison {
            name: "100 readers at once of a file that is made meanwhile",
            baseline: ("nginx, the complete file", &nginx.server),
            candidate: ("in the spool", &self.program),
            least: 0.9,
        };
        let (row, bar) = comparison.found(&pairs);
        self.add(row, bar);
        Ok(())
    }

    fn add(&mut self, row: Vec<String>, bar: Bar) {
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
        self.report.bars.push(bar);
    }

    fn finish(mut self) -> Report {
        self.report.tables.push(Table {
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
            rows: self.rows,
        });
        self.report
    }
}

impl Comparison<'_> {
    fn found(&self, pairs: &Pairs) -> (Vec<String>, Bar) {
        let short = |figure| quantity(figure, "");
        let spread =
            |median, low, high| format!("{} ({}–{})", short(median), short(low), short(high));
        let rate = |run: fn(&Pair) -> &Run| {
            let sample = pairs.sample(|pair| run(pair).rate());
            spread(sample.median(), sample.min(), sample.max())
        };
        let cpu = |run: fn(&Pair) -> &Run| short(pairs.sample(|pair| run(pair).cpu()).median());
        let ratio = pairs.rate_ratio();
        let row = vec![
            self.name.into(),
            self.candidate.0.into(),
            self.baseline.0.into(),
            rate(|pair| &pair.candidate),
            rate(|pair| &pair.baseline),
            spread(ratio.median(), ratio.quantile(0.25), ratio.quantile(0.75)),
            cpu(|pair| &pair.candidate),
            cpu(|pair| &pair.baseline),
            format!(
                "{:.0} % ({})",
                100.0 * pairs.foreign_cpu_share(),
                pairs.repeated
            ),
        ];
        let bar = Bar {
            promise: format!(
                "{}: rate of {} to {}",
                self.name, self.candidate.0, self.baseline.0
            ),
            figure: ratio.median(),
            limit: Limit::AtLeast(self.least),
            unit: "",
        };
        (row, bar)
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
