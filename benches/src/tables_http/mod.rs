//! Tables over HTTP: time to the first byte, and the memory that streams cost the server. Each
//! format has a fresh server, so that memory kept by the allocator after one format does not hide
//! the growth of the next.

use std::ffi::OsString;
use std::io;

use crate::cli::{Program, Scale, TablesHttp};
use crate::client;
use crate::contender;
use crate::process::{self, Server};
use crate::report::Report;
use crate::tables::TableInput;
use finding::Findings;

mod finding;
mod first_byte;
mod growth;

/// What follows the table's name in the URL: a suffix or a parameter selects the format.
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

/// Measures every requested path.
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

/// Starts the server and makes one request, so that its threads exist.
fn started(command: &[OsString]) -> io::Result<Server> {
    let server = process::start(command)?;
    client::get(server.address(), "/")?.count()?;
    Ok(server)
}
