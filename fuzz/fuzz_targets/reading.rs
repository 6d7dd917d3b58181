//! A file on its whole way: opened by the engine, planned, read, and written as CSV.
//!
//! What a file does to a reader must be an error. A panic that the engine's guard has caught is one;
//! any other reaches libFuzzer's hook, which aborts. Memory is bounded by `-rss_limit_mb`.

use std::{
    fs, io,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::record_batch::RecordBatchReader;
use datastreamer_engine::{Engine, EngineOptions, Narrowing, Rows, TableFiles};
use datastreamer_table::{
    TableEnd, TableError, TableWriter, column_metadata::ColumnMetadata, csv::CsvWriter,
    csv::Delimiter, json, json::JsonWriter,
};

/// A file of a few kilobytes takes milliseconds: longer is a loop. libFuzzer's own limit is greater.
const TIME_LIMIT: Duration = Duration::from_secs(20);

struct Reader {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let options = EngineOptions {
        time_limit: TIME_LIMIT,
        threads: Some(1),
        ..EngineOptions::default()
    };
    Reader {
        engine: Engine::new(options).expect("an engine"),
        runtime: tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime"),
        folder: tempfile::tempdir().expect("a folder"),
    }
});

/// Reads a file of this suffix, and writes its rows as CSV. What CSV cannot hold is written as JSON.
pub fn to_csv(file: &[u8], suffix: &str) {
    // A name for each file: nothing that was kept of one is used for another.
    static FILES: AtomicU64 = AtomicU64::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = READER.folder.path().join(format!("{number}.{suffix}"));
    fs::write(&path, file).expect("files can be written");
    if let Some(rows) = rows(&path) {
        // What cannot be read or held is an error, and nothing more.
        let _ = write(rows);
    }
    fs::remove_file(&path).expect("files can be removed");
}

fn rows(path: &std::path::Path) -> Option<Rows> {
    let Reader {
        engine, runtime, ..
    } = &*READER;
    let files = TableFiles::find(path).ok()?;
    let notes = ColumnMetadata::default();
    runtime.block_on(engine.register("t", files, &notes)).ok()?;
    runtime
        .block_on(engine.scan("t", &Narrowing::default()))
        .ok()
}

fn write(rows: Rows) -> Result<(), TableError> {
    let schema = rows.schema();
    let mut table: Box<dyn TableWriter> =
        match CsvWriter::new(io::sink(), schema.clone(), Delimiter::Comma) {
            Ok(table) => Box::new(table),
            Err(_) => Box::new(JsonWriter::new(io::sink(), schema, json::Framing::Lines)?),
        };
    for batch in rows {
        match batch {
            Ok(batch) => table.write(&batch)?,
            Err(error) => return table.abort(&error.to_string()),
        }
    }
    table.finish(TableEnd::Complete)
}
