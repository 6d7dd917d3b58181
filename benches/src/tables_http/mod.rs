//! Tables over HTTP: how soon a download begins, and what streams cost the
//! server in memory. A fresh server for each format, so that what one format
//! leaves in the allocator does not hide what the next one takes.

use std::ffi::OsString;
use std::io;

use crate::cli::{Program, Scale, TablesHttp};
use crate::client;
use crate::contender;
use crate::process::{self, Server};
use crate::report::{Bar, Report, Table};
use crate::tables::TableInput;

mod first_byte;
mod growth;

/// What follows the table's name in the URL: a suffix names its format, others
/// are asked for.
const PATHS: [&str; 9] = [
    ".vot",
    ".vot?format=votable-binary2",
    ".fits",
    ".csv",
    ".tsv",
    ".ndjson",
    ".json",
    ".parquet",
    ".arrow",
];

/// Measures every path that is wanted.
pub(crate) fn measure(wanted: &TablesHttp, scale: Scale) -> io::Result<Vec<Report>> {
    let input = TableInput::prepare(wanted.rows.unwrap_or_else(|| scale.table_rows()))?;
    let command = serve_command(&wanted.program, &input)?;
    let table = input.parquet.file_stem().unwrap_or_default();
    let all = PATHS.map(str::to_owned);
    let endings = if wanted.paths.is_empty() {
        &all[..]
    } else {
        &wanted.paths
    };
    let (mut first_bytes, mut growths) = (Findings::default(), Findings::default());
    for ending in endings {
        let path = format!("/{}{ending}", table.display());
        eprintln!("{path}");
        first_bytes.add(first_byte::measure(&started(&command)?, &path, scale));
        for load in growth::LOADS {
            growths.add(growth::measure(&started(&command)?, &path, load, scale)?);
        }
    }
    Ok(vec![
        first_bytes.report(
            "First byte",
            first_byte::method(input.rows),
            &first_byte::HEADER,
        ),
        growths.report("Memory of streams", growth::method(scale), &growth::HEADER),
    ])
}

/// A row of a table, and what it promises.
struct Finding {
    cells: Vec<String>,
    bar: Bar,
}

#[derive(Default)]
struct Findings {
    rows: Vec<Vec<String>>,
    bars: Vec<Bar>,
}

impl Findings {
    fn add(&mut self, Finding { cells, bar }: Finding) {
        eprintln!("{}", cells.join(" | "));
        self.rows.push(cells);
        self.bars.push(bar);
    }

    fn report(self, title: &str, method: String, header: &[&'static str]) -> Report {
        Report {
            title: title.into(),
            notes: vec![method],
            tables: vec![Table {
                header: header.to_vec(),
                rows: self.rows,
            }],
            bars: self.bars,
        }
    }
}

fn serve_command(program: &Program, input: &TableInput) -> io::Result<Vec<OsString>> {
    let mut command = vec![
        contender::program_path(program)?.into(),
        "serve".into(),
        input.parquet.clone().into(),
    ];
    command.extend(["--listen", "127.0.0.1:0"].map(Into::into));
    if let Some(config) = &program.config {
        command.extend(["--config".into(), config.into()]);
    }
    Ok(command)
}

/// Starts the server and lets it answer once, so that its threads exist.
fn started(command: &[OsString]) -> io::Result<Server> {
    let server = process::start(command)?;
    client::get(server.address(), "/")?.count()?;
    Ok(server)
}
