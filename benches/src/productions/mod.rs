//! What a file costs that is kept in the spool: to its first reader, while it is made; to those that
//! come later; and to a hundred at once. The first is compared with the same source without a spool,
//! the others with nginx, which serves the same bytes as a static file.

use std::cell::Cell;
use std::io;
use std::thread;

use crate::cli::{Productions, Program, Scale};
use crate::client;
use crate::compared::{Comparison, Found, Repeated, assert_same, one, report, same_length, serve};
use crate::pairs::{Pair, Run};
use crate::pattern::PEER_PERIOD_BYTES;
use crate::process::Server;
use crate::quiet::FOREIGN_CPU_SHARE_MAX;
use crate::report::Report;
use crate::scratch::Scratch;
use nginx::Nginx;

mod nginx;

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

/// Runs the comparisons that are possible here.
pub(crate) fn measure(wanted: &Productions, scale: Scale) -> io::Result<Vec<Report>> {
    let files = Scratch::new()?;
    let bench = Bench {
        program: start(&wanted.program, &files, scale)?,
        repeated: Repeated::of(wanted.repeats, scale),
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
    Ok(vec![report("Files in the spool", notes, found)])
}

struct Bench {
    program: Server,
    repeated: Repeated,
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
            name: name.into(),
            candidate: IN_THE_SPOOL,
            against: "without a spool",
            least: 0.6,
        };
        comparison.measure(self.repeated, &[&self.program], || {
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
            name: "one reader of a complete file".into(),
            candidate: IN_THE_SPOOL,
            against: "nginx",
            least: 0.8,
        };
        comparison.measure(self.repeated, &[&self.program, nginx], || {
            same_length(one(nginx, "/whole.bin")?, one(&self.program, &path)?)
        })
    }

    /// A hundred readers that ask for the same file, which is made for them.
    fn joined_readers(&self, nginx: &Server, files: &Scratch) -> io::Result<Found> {
        let size = self.bytes() / 20;
        let path = noise("whole", size);
        files.copy(self.program.address(), &path, "joined.bin")?;
        let comparison = Comparison {
            name: "100 readers at once of a file that is made meanwhile".into(),
            candidate: IN_THE_SPOOL,
            against: "nginx, the complete file",
            least: 0.9,
        };
        comparison.measure(self.repeated, &[&self.program, nginx], || {
            Ok(Pair {
                baseline: at_once(nginx, "/joined.bin")?,
                candidate: at_once(&self.program, &noise("kept", self.fresh(size)))?,
            })
        })
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

fn noise(route: &str, bytes: u64) -> String {
    format!("/{route}.bin?n={bytes}&piece=65536&period={PEER_PERIOD_BYTES}")
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
