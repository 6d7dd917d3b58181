//! File systems that do not answer: a named pipe stands for them, as opening one blocks until
//! another program writes to it.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use datastreamer_engine::{
    Engine, EngineError, EngineErrorKind, EngineOptions, Narrowing, Query, TableFiles,
};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::support::{block_on, collect, stars, write_fits, write_parquet};

const TIMEOUT: Duration = Duration::from_secs(2);

fn hang(file: &Path) {
    fs::remove_file(file).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
}

fn scan(engine: &Engine, table: &str) -> Result<usize, EngineError> {
    let rows = block_on(engine.scan(table, &Narrowing::default()))?;
    Ok(collect(rows).num_rows())
}

fn count(engine: &Engine, table: &str) -> Result<usize, EngineError> {
    let query = Query::new(format!("SELECT id FROM {table}"));
    Ok(collect(block_on(engine.query(&query, None))?).num_rows())
}

#[test]
fn a_file_that_hangs_stops_its_table_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(EngineOptions {
        plan_timeout: TIMEOUT,
        ..EngineOptions::default()
    })
    .unwrap();
    let (hung, other) = ("hung.fits", "other.parquet");
    write_fits(&folder.path().join(hung), &stars(0, 10));
    write_parquet(&folder.path().join(other), &stars(0, 10));
    for (name, file) in [("hung", hung), ("other", other)] {
        let files = TableFiles::find(&folder.path().join(file)).unwrap();
        block_on(engine.register(name, files, &ColumnMetadata::default())).unwrap();
        assert_eq!(scan(&engine, name).unwrap(), 10);
    }
    hang(&folder.path().join(hung));
    let begun = Instant::now();
    thread::scope(|scope| {
        let waiting = || scope.spawn(|| scan(&engine, "hung"));
        let queries = || scope.spawn(|| count(&engine, "hung"));
        let mut hanging: Vec<_> = (0..8).map(|_| waiting()).collect();
        hanging.extend((0..8).map(|_| queries()));
        thread::sleep(TIMEOUT / 4);
        for _ in 0..10 {
            let begun = Instant::now();
            assert_eq!(scan(&engine, "other").unwrap(), 10);
            assert_eq!(count(&engine, "other").unwrap(), 10);
            let took = begun.elapsed();
            assert!(took < Duration::from_millis(500), "{took:?}");
        }
        for hanging in hanging {
            let error = hanging.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::Busy, "{error}");
        }
    });
    let took = begun.elapsed();
    assert!(took < TIMEOUT * 2, "{took:?}");
    // Whoever opens it now comes back, and it is there again.
    drop(
        fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join(hung))
            .unwrap(),
    );
    fs::remove_file(folder.path().join(hung)).unwrap();
    write_fits(&folder.path().join(hung), &stars(0, 20));
    let begun = Instant::now();
    while scan(&engine, "hung").ok() != Some(20) {
        assert!(begun.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(20));
    }
}
