//! SQLite: rows of a cursor as CSV, and a query that writes nothing for long and yet stops as soon as
//! its client disconnects.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin sqlite
//! curl -O http://127.0.0.1:3004/squares.csv
//! curl -m 2 http://127.0.0.1:3004/slow.csv # after 2 s the query is interrupted
//! ```

use std::{
    env,
    error::Error,
    io::{self, Write},
};

use axum::{Router, extract::Request, http::Response, routing::get};
use datastreamer_http::{Download, DownloadBody, datastreamer::StreamWriter, serve};
use rusqlite::Connection;
use tokio::net::TcpListener;

const SQUARES: &str = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 200000)
                       SELECT i, i * i FROM n";
/// Counts for minutes before it has its one row.
const SLOW: &str =
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 4000000000)
                    SELECT count(*), max(i) FROM n";

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3004".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/squares.csv", get(|request| query(request, SQUARES)))
        .route("/slow.csv", get(|request| query(request, SLOW)));
    serve(listener, app).await
}

async fn query(request: Request, sql: &'static str) -> Response<DownloadBody> {
    Download::new("text/csv")
        .respond(&request, |options| {
            options.stream_out(move |out| write_rows(sql, out))
        })
        .await
}

fn write_rows(sql: &str, out: &mut StreamWriter) -> Result<(), Box<dyn Error + Send + Sync>> {
    let database = Connection::open_in_memory()?;
    // While the query computes, this thread is inside SQLite: the stop comes from another one. The
    // guard lives as long as the query.
    let interrupt = database.get_interrupt_handle();
    let _interrupts = out.on_stop(move |why| {
        eprintln!("interrupted: {why}");
        interrupt.interrupt();
    });
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query(())?;
    writeln!(out, "number,square")?;
    while let Some(row) = rows.next()? {
        let (number, square): (i64, i64) = (row.get(0)?, row.get(1)?);
        writeln!(out, "{number},{square}")?;
        out.add_rows(1);
    }
    Ok(())
}
