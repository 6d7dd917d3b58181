//! A report that takes long to make: made once, shared by its clients, resumed and read in ranges.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin spool -- 127.0.0.1:3000
//! curl -O http://127.0.0.1:3000/stars.csv
//! curl -r 10-19 http://127.0.0.1:3000/stars.csv
//! ```

use std::{
    env,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{Response, StatusCode},
    routing::get,
};
use datastreamer_http::{
    Download, DownloadBody, Needs, Planned, Problem, Serve,
    datastreamer::{PoolOptions, StreamOptions, StreamPool, StreamWriter},
};
use datastreamer_spool::{Beginning, Keep, Key, Production, Spool, SpoolOptions};
use tokio::{net::TcpListener, time::timeout};

const KEPT: Duration = Duration::from_secs(3600);
/// How long a head waits for what its request needs: proxies give up after a minute.
const KNOWN_WAIT: Duration = Duration::from_secs(30);

/// The spool, and the places of the sources. Readers have those of the process's global pool: if they
/// waited for places that sources hold, nobody would read what these write.
#[derive(Clone)]
struct Reports {
    spool: Spool,
    sources: StreamPool,
    /// How often the source has run.
    runs: Arc<AtomicU32>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    // A service has a folder that lasts: then complete files outlive a restart.
    let folder = tempfile::tempdir()?;
    let reports = Reports {
        spool: Spool::open(folder.path(), SpoolOptions::new())?,
        sources: StreamPool::new(PoolOptions::default()),
        runs: Arc::default(),
    };
    let sources = reports.sources.clone();
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/stars.csv", get(stars))
        .route("/runs", get(runs))
        .with_state(reports);
    Serve::new(listener, app)
        .pool(StreamPool::global())
        .pool(&sources)
        .until(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    Ok(())
}

async fn stars(State(reports): State<Reports>, request: Request) -> Response<DownloadBody> {
    let begin = || {
        reports.runs.fetch_add(1, Ordering::Relaxed);
        let source = StreamOptions::new().pool(&reports.sources);
        Beginning::new(source.stream_out(write_stars)).keep(Keep::For(KEPT))
    };
    // Whatever the bytes depend on belongs to the key.
    let key: Arc<str> = request.uri().to_string().into();
    let (production, _) = match reports.spool.join_or_begin(Key::new(key), begin) {
        Ok(joined) => joined,
        Err(error) => {
            eprintln!("{error}");
            let text = "there is no room for the file at the moment";
            return Problem::new(StatusCode::INSUFFICIENT_STORAGE, text).into_response();
        }
    };
    let needs = Needs::of(request.method(), request.headers());
    // What is not known in time is answered as far as it is.
    let _in_time = timeout(KNOWN_WAIT, known(&production, needs)).await;
    Download::new("text/csv")
        .file_name("stars.csv")
        .respond_planned(&request, move |options, report| {
            let planned = Planned::new()
                .length(production.length())
                .length_at_least(production.bytes_so_far())
                .etag(production.etag().clone())
                .ranges(true);
            match report.done(planned) {
                Some(pieces) => {
                    production.open(pieces.as_slice().to_vec(), options)
                }
                None => options.stream_out(|_| ()), // HEAD, 304, 412 or 416
            }
        })
        .await
}

async fn runs(State(reports): State<Reports>) -> String {
    reports.runs.load(Ordering::Relaxed).to_string()
}

fn write_stars(out: &mut StreamWriter) -> io::Result<()> {
    writeln!(out, "id,name")?;
    (0..200_000).try_for_each(|id| writeln!(out, "{id},star {id}"))
}

/// Waits until enough is known for a request: of a GET whether there is a first byte, so that an early
/// failure has its status.
async fn known(production: &Production, needs: Needs) {
    match needs {
        Needs::Nothing => production.reached(1).await,
        Needs::Bytes(bytes) => production.reached(bytes.max(1)).await,
        Needs::Length => drop(production.known_length().await),
    }
}
