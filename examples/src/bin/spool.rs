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
    http::Response,
    routing::get,
};
use datastreamer_http::{
    Download, DownloadBody, Problem, Serve,
    datastreamer::{PoolOptions, StreamOptions, StreamPool, StreamWriter},
};
use datastreamer_spool::{Beginning, Keep, Key, Spool, SpoolOptions};
use tokio::net::TcpListener;

const KEPT: Duration = Duration::from_secs(3600);

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
    let key = Key::new(request.uri().to_string());
    let production = match reports.spool.join_or_begin(key, begin) {
        Ok((production, _)) => production,
        Err(error) => {
            eprintln!("{error}");
            return Problem::from(&error).into_response();
        }
    };
    Download::new("text/csv")
        .file_name("stars.csv")
        .respond_production(&request, production)
        .await
}

async fn runs(State(reports): State<Reports>) -> String {
    reports.runs.load(Ordering::Relaxed).to_string()
}

fn write_stars(out: &mut StreamWriter) -> io::Result<()> {
    writeln!(out, "id,name")?;
    (0..200_000).try_for_each(|id| writeln!(out, "{id},star {id}"))
}
