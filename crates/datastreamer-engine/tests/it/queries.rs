//! SQL over registered tables.

use std::time::{Duration, Instant};

use datastreamer_engine::{
    Engine, EngineError, EngineErrorKind, EngineOptions, Position, Query, TableFiles,
};
use datastreamer_rows::notes::Notes;
use tempfile::TempDir;

use crate::support::{block_on, collect, engine_of, ids, stars, write_parquet};

fn engine_with(rows: i64, options: EngineOptions) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, rows));
    let engine = Engine::new(options).unwrap();
    let files = TableFiles::find(&file).unwrap();
    block_on(engine.register("stars", files, &Notes::default())).unwrap();
    (folder, engine)
}

fn query(engine: &Engine, sql: &str) -> Result<datastreamer_engine::Rows, EngineError> {
    block_on(engine.query(&Query::new(sql), None))
}

#[test]
fn a_select_is_answered() {
    let (_folder, engine) = engine_with(100, EngineOptions::default());
    let rows = query(
        &engine,
        "SELECT id FROM stars WHERE RA > 12 ORDER BY id DESC",
    )
    .unwrap();
    assert_eq!(ids(&collect(rows)), [99, 98, 97]);
    let cut = block_on(engine.query(&Query::new("SELECT id FROM stars ORDER BY id"), Some(2)));
    assert_eq!(
        ids(&collect(cut.unwrap())),
        [0, 1, 2],
        "one more than the limit"
    );
}

#[test]
fn only_one_select_is_allowed() {
    let (folder, engine) = engine_with(10, EngineOptions::default());
    let outside = folder.path().join("out.csv");
    let copy = format!("COPY stars TO '{}'", outside.display());
    let external = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'";
    for sql in [
        "DROP TABLE stars",
        "CREATE TABLE t AS SELECT 1",
        external,
        "INSERT INTO stars VALUES (1, 2, 'x')",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        &copy,
        "",
    ] {
        let error = query(&engine, sql)
            .err()
            .unwrap_or_else(|| panic!("{sql} was allowed"));
        assert_eq!(error.kind(), EngineErrorKind::BadQuery, "{sql}: {error}");
    }
    assert!(!outside.exists());
    assert!(query(&engine, "SELECT * FROM '/etc/passwd'").is_err());
}

#[test]
fn an_error_says_where_it_is() {
    let (_folder, engine) = engine_with(10, EngineOptions::default());
    for (sql, line, column) in [
        ("SELECT id\nFROM stars WHERE", 2, 17),
        ("SELECT id, nothing FROM stars", 1, 12),
        ("SELECT id FROM nowhere", 1, 16),
    ] {
        let error = query(&engine, sql).err().unwrap();
        assert_eq!(error.kind(), EngineErrorKind::BadQuery);
        assert_eq!(
            error.position(),
            Some(Position { line, column }),
            "{sql}: {error}"
        );
    }
}

#[test]
fn a_division_by_zero_fails_late_and_visibly() {
    let (_folder, engine) = engine_with(50_000, EngineOptions::default());
    let rows = query(&engine, "SELECT 1 / (id - 40000) AS x FROM stars").unwrap();
    let error = rows.into_iter().find_map(Result::err).expect("it fails");
    let arrow::error::ArrowError::ExternalError(error) = error else {
        panic!("{error}")
    };
    let error = error.downcast_ref::<EngineError>().unwrap();
    assert_eq!(error.kind(), EngineErrorKind::Computation);
    assert!(
        error.to_string().to_lowercase().contains("divide by zero"),
        "{error}"
    );
}

#[test]
fn a_sort_beyond_the_memory_spills() {
    let options = EngineOptions {
        memory_bytes: 24 << 20,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let sql = "SELECT id, name, RA FROM stars ORDER BY name, id";
    let (_folder, engine) = engine_with(600_000, options.clone());
    let rows = collect(query(&engine, sql).unwrap());
    assert_eq!(rows.num_rows(), 600_000);
    let (_folder, engine) = engine_with(
        600_000,
        EngineOptions {
            spill_bytes: 0,
            ..options
        },
    );
    let error = query(&engine, sql)
        .unwrap()
        .find_map(Result::err)
        .expect("no room");
    let arrow::error::ArrowError::ExternalError(error) = error else {
        panic!("{error}")
    };
    let error = error.downcast_ref::<EngineError>().unwrap();
    assert_eq!(error.kind(), EngineErrorKind::Exhausted, "{error}");
}

#[test]
fn a_sort_spills_however_many_threads_and_however_little_memory_there_is() {
    let sql = "SELECT id, name, RA FROM stars ORDER BY name, id";
    for (threads, memory_bytes) in [(1, 8 << 20), (2, 16 << 20), (64, 96 << 20)] {
        let options = EngineOptions {
            memory_bytes,
            threads: Some(threads),
            ..EngineOptions::default()
        };
        let (_folder, engine) = engine_with(600_000, options);
        let rows = query(&engine, sql).unwrap();
        let counted: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(counted, 600_000, "{threads} threads, {memory_bytes} bytes");
    }
}

/// A query that gives no row for a long time.
const ENDLESS: &str =
    "SELECT count(*) FROM stars a, stars b, stars c WHERE a.id + b.id + c.id = -1";

#[test]
fn a_query_that_takes_too_long_is_ended() {
    let limit = EngineOptions {
        time_limit: Duration::from_millis(300),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(2_000, limit);
    let began = Instant::now();
    let error = query(&engine, ENDLESS)
        .unwrap()
        .find_map(Result::err)
        .unwrap();
    assert!(error.to_string().contains("longer than 300ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
    // Its threads are free again.
    let began = Instant::now();
    assert_eq!(
        collect(query(&engine, "SELECT count(*) FROM stars").unwrap()).num_rows(),
        1
    );
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn rows_are_stopped_from_another_thread() {
    let (_folder, engine) = engine_with(20_000, EngineOptions::default());
    let mut rows = query(&engine, ENDLESS).unwrap();
    let stopper = rows.stopper();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stopper.stop();
        Instant::now()
    });
    assert!(rows.next().unwrap().is_err());
    let stopped = stopping.join().unwrap();
    assert!(
        stopped.elapsed() < Duration::from_secs(2),
        "{:?}",
        stopped.elapsed()
    );
    assert!(rows.next().is_none());
}

#[test]
fn a_slow_reader_is_no_slow_query() {
    let (_folder, engine) = engine_with(
        20_000,
        EngineOptions {
            time_limit: Duration::from_secs(1),
            ..EngineOptions::default()
        },
    );
    let mut rows = query(&engine, "SELECT * FROM stars").unwrap();
    assert!(rows.next().unwrap().is_ok());
    std::thread::sleep(Duration::from_millis(1500));
    assert!(rows.all(|batch| batch.is_ok()));
}

#[test]
fn the_tables_can_be_listed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 2));
    let sql = "SELECT column_name FROM information_schema.columns WHERE table_name = 'stars'";
    assert_eq!(
        collect(query(&engine_of(&file), sql).unwrap()).num_rows(),
        3
    );
}
