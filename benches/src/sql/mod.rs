//! What it costs that a client's query runs in a process of its own: all rows of a table by `/sql`,
//! compared with the same query as a route; and the time to the first byte of a small query.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{Program, Scale, Sql};
use crate::client;
use crate::compared::{Comparison, Found, Repeated, assert_same, one, report, same_length, serve};
use crate::pairs::Pair;
use crate::process::Server;
use crate::quiet::FOREIGN_CPU_SHARE_MAX;
use crate::report::{Bar, Limit, Report, quantity};
use crate::scratch::Scratch;
use crate::stats::Sample;

/// Those that people ask for most, and the one whose encoder does least.
const FORMATS: [&str; 4] = ["csv", "ndjson", "vot", "arrow"];

/// An Arrow stream has a head for each batch, and the two have other batches.
const LENGTHS_DIFFER_MAX: f64 = 0.01;

/// The part of a route's rate that a query of a client has at least.
const RATE_MIN: f64 = 0.9;

/// What is compared first, byte by byte.
const ROWS_CHECKED: u64 = 1_000;

const REQUESTS: usize = 200;
const REQUESTS_QUICK: usize = 20;

/// The server starts the process of the next query meanwhile.
const REST: Duration = Duration::from_millis(300);

/// A delay that a person takes for none.
const FIRST_BYTE_MAX_MS: f64 = 100.0;

/// Runs the comparisons.
pub(crate) fn measure(wanted: &Sql, scale: Scale) -> io::Result<Vec<Report>> {
    let rows = wanted.rows.unwrap_or_else(|| scale.table_rows());
    let files = Scratch::new()?;
    let server = start(&wanted.program, &files, rows)?;
    let repeated = Repeated::of(wanted.repeats, scale);
    let mut found = Vec::new();
    for format in FORMATS {
        found.push(compare(&server, format, repeated)?);
    }
    let (first_byte, note) = first_byte(&server, scale)?;
    let mut report = report("Queries of clients", vec![method(rows), note], found);
    report.bars.extend(first_byte);
    Ok(vec![report])
}

/// Starts the program with a table of Parquet that it has made, and a query of the operator.
fn start(program: &Program, files: &Scratch, rows: u64) -> io::Result<Server> {
    let made = "[routes.made]\nkind = \"stars\"\nkeep = \"none\"\n";
    let maker = serve(program, &files.write("made.toml", made)?)?;
    let path = format!("/made.parquet?rows={rows}");
    let table = files.copy(maker.address(), &path, "table.parquet")?;
    let text = format!(
        "[sql]\nenabled = true\n\
         [routes.stars]\nkind = \"table\"\npath = \"{}\"\n\
         [routes.all]\nkind = \"query\"\nsql = \"SELECT * FROM stars\"\n",
        table.display()
    );
    serve(program, &files.write("datastreamer.toml", &text)?)
}

fn compare(server: &Server, format: &str, repeated: Repeated) -> io::Result<Found> {
    let of_client = format!("/sql.{format}?query=SELECT+*+FROM+stars");
    let of_route = format!("/all.{format}");
    // Without an order a query may give its rows in any.
    let few = [
        format!("{of_route}?order=source_id&limit={ROWS_CHECKED}"),
        format!("{of_client}+ORDER+BY+source_id&limit={ROWS_CHECKED}"),
    ];
    assert_same(server.address(), few)?;
    let comparison = Comparison {
        name: format!("all rows as {format}"),
        candidate: "/sql",
        against: "the query as a route",
        least: RATE_MIN,
    };
    comparison.measure(repeated, &[server], || {
        let (baseline, candidate) = (one(server, &of_route)?, one(server, &of_client)?);
        if format != "arrow" {
            return same_length(baseline, candidate);
        }
        let ratio = candidate.bytes as f64 / baseline.bytes as f64;
        match (ratio - 1.0).abs() <= LENGTHS_DIFFER_MAX {
            true => Ok(Pair {
                baseline,
                candidate,
            }),
            false => same_length(baseline, candidate),
        }
    })
}

fn first_byte(server: &Server, scale: Scale) -> io::Result<([Bar; 1], String)> {
    let path = "/sql.csv?query=SELECT+*+FROM+stars+LIMIT+1";
    let requests = if scale.quick {
        REQUESTS_QUICK
    } else {
        REQUESTS
    };
    let times = (0..requests).map(|_| -> io::Result<f64> {
        thread::sleep(REST);
        let started = Instant::now();
        client::get(server.address(), path)?.read_some(1, 1_024)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    });
    let times = Sample::new(times.collect::<io::Result<Vec<_>>>()?);
    let p99 = times.nearest_rank(0.99);
    let note = format!(
        "First byte of a query for one row, {requests} requests one after the other, {} ms apart: p50 {}, \
         p99 {}, worst {}.",
        REST.as_millis(),
        quantity(times.nearest_rank(0.5), "ms"),
        quantity(p99, "ms"),
        quantity(times.max(), "ms"),
    );
    let bar = Bar {
        promise: "first byte of a small query, p99".into(),
        figure: p99,
        limit: Limit::AtMost(FIRST_BYTE_MAX_MS),
        unit: "ms",
    };
    Ok(([bar], note))
}

fn method(rows: u64) -> String {
    format!(
        "`datastreamer serve` with a Parquet file of the invented catalogue, {rows} rows, which it has made. \
         `SELECT * FROM stars` is asked by a client (`/sql`, a process of its own for each query) and is \
         the query of a route. The first {ROWS_CHECKED} rows of both, in an order, are compared byte by \
         byte, and the lengths of all. Loopback HTTP/1.1, a connection a download, the client of the other measurements. \
         CPU is the server's user and system time, its children's included. A ratio is the median of the \
         pairs' ratios. A pair during which other processes used more than {:.0} % of the machine is run \
         again.",
        FOREIGN_CPU_SHARE_MAX * 100.0
    )
}
