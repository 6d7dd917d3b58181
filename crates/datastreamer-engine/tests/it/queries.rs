//! SQL over registered tables.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Int64Array, RecordBatchReader, StringArray,
        Time32SecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    },
    datatypes::{DataType, Int64Type, TimeUnit},
    record_batch::RecordBatch,
};
use datastreamer_engine::{
    Engine, EngineError, EngineErrorKind, EngineOptions, Position, Query, Rows, TableFiles,
};
use datastreamer_table::column_metadata::ColumnMetadata;
use tempfile::TempDir;

use crate::support::{
    answers, block_on, collect, engine_of, ids, memory_bytes_max, scan, stars, texts, write_parquet,
};

fn engine_with(rows: i64, options: EngineOptions) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, rows));
    let engine = Engine::new(options).unwrap();
    let files = TableFiles::find(&file).unwrap();
    block_on(engine.register("stars", files, &ColumnMetadata::default())).unwrap();
    (folder, engine)
}

fn query(engine: &Engine, sql: &str) -> Result<Rows, EngineError> {
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
fn an_error_has_its_position() {
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
        error
            .to_string()
            .to_lowercase()
            .contains("division by zero"),
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

/// A query that returns no row for a long time.
const ENDLESS: &str =
    "SELECT count(*) FROM stars a, stars b, stars c WHERE a.id + b.id + c.id = -1";

#[test]
fn a_query_that_takes_too_long_fails() {
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
fn a_slow_reader_does_not_use_up_the_time_limit() {
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

#[test]
fn functions_that_make_values_of_any_size_are_removed() {
    let (_folder, engine) = engine_with(10, EngineOptions::default());
    for sql in [
        "SELECT length(repeat('x', 1500000000))",
        "SELECT array_length(range(0, 100000000))",
        "SELECT length(lpad('a', 2000000000, 'b'))",
    ] {
        let error = query(&engine, sql).err().unwrap();
        assert_eq!(error.kind(), EngineErrorKind::BadQuery, "{error}");
    }
}

#[test]
fn a_table_has_exactly_the_name_that_was_registered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let engine = Engine::new(EngineOptions::default()).unwrap();
    for (rows, name) in [(1, "Gaia"), (2, "gaia"), (3, "gaia.dr3"), (4, "gaia")] {
        let file = file.with_file_name(format!("{rows}.parquet"));
        write_parquet(&file, &stars(0, rows));
        let files = TableFiles::find(&file).unwrap();
        block_on(engine.register(name, files, &ColumnMetadata::default())).unwrap();
    }
    for (name, rows) in [("Gaia", 1), ("gaia", 4), ("\"gaia.dr3\"", 3)] {
        let all = query(&engine, &format!("SELECT * FROM {name}")).unwrap();
        assert_eq!(collect(all).num_rows(), rows, "{name}");
    }
    let narrowing = datastreamer_engine::Narrowing::default();
    let all = block_on(engine.scan("gaia.dr3", &narrowing)).unwrap();
    assert_eq!(collect(all).num_rows(), 3);
}

#[test]
fn a_join_beyond_the_memory_spills() {
    let options = EngineOptions {
        memory_bytes: 64 << 20,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(1_500_000, options);
    let sql = "SELECT a.id, b.name, a.name AS other FROM stars a JOIN stars b ON a.id = b.id + 1";
    let rows = query(&engine, sql).unwrap();
    let counted: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(counted, 1_499_999);
}

/// DataFusion 55 runs the first input of such a join once more when it does not fit in memory, and
/// a join in that input then gives no rows: the count was 0.
#[test]
fn a_join_of_all_pairs_beyond_the_memory_counts_all_or_fails() {
    let options = |memory_bytes| EngineOptions {
        memory_bytes,
        threads: Some(2),
        ..EngineOptions::default()
    };
    let sql = "SELECT count(*) AS n FROM \
               (SELECT a.id AS x, b.name AS y FROM stars a JOIN stars b ON a.id = b.id) AS c \
               JOIN (SELECT id AS z FROM stars WHERE id < 3) AS d ON c.x < d.z * 1000000";
    for memory_bytes in [256 << 20, 64 << 20, 32 << 20, 16 << 20, 8 << 20] {
        let (_folder, engine) = engine_with(100_000, options(memory_bytes));
        let rows = query(&engine, sql).unwrap();
        let batches: Result<Vec<_>, _> = rows.collect();
        match batches {
            Ok(batches) => {
                let counts = batches.iter().filter(|batch| batch.num_rows() > 0);
                let counts =
                    counts.map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
                assert_eq!(counts.collect::<Vec<_>>(), [200_000], "{memory_bytes}");
            }
            Err(error) => assert!(error.to_string().contains("memory"), "{error}"),
        }
    }
}

#[test]
fn a_sort_with_a_large_limit_spills_too() {
    let options = EngineOptions {
        memory_bytes: 16 << 20,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(600_000, options);
    let sql = Query::new("SELECT id, name, RA FROM stars ORDER BY name, id");
    let rows = block_on(engine.query(&sql, Some(500_000))).unwrap();
    let counted: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
    assert!(counted > 500_000, "{counted}");
}

#[test]
fn a_query_that_never_waits_times_out_too() {
    let limit = EngineOptions {
        time_limit: Duration::from_millis(300),
        threads: Some(1),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(100_000, limit);
    for sql in [
        "SELECT value FROM generate_series(1, 100000000000) ORDER BY value DESC LIMIT 10",
        "SELECT count(*) FROM generate_series(1, 100000000000)",
        "SELECT count(*) FROM stars a, stars b, stars c WHERE a.RA + b.RA + c.RA = -1",
    ] {
        let began = Instant::now();
        let error = query(&engine, sql).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("longer than 300ms"), "{error}");
        // The one thread computes something else.
        let count = query(&engine, "SELECT count(*) FROM stars").unwrap();
        assert_eq!(collect(count).num_rows(), 1);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{sql}: {took:?}");
    }
}

#[test]
fn nothing_runs_before_the_first_row_is_asked_for() {
    let (_folder, engine) = engine_with(20_000, EngineOptions::default());
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split(' ').collect();
        fields[12].parse::<u64>().unwrap()
    };
    let rows: Vec<_> = (0..4).map(|_| query(&engine, ENDLESS).unwrap()).collect();
    let before = cpu();
    std::thread::sleep(Duration::from_secs(1));
    // Ticks of 10 ms: four queries would take a hundred or more.
    assert!(cpu() - before < 20, "{}", cpu() - before);
    drop(rows);
}

#[test]
fn plans_that_nobody_waits_for_leave_the_queue_of_the_planner() {
    use std::{future::Future, pin::pin, task::Context, task::Waker};

    let (_folder, engine) = engine_with(10, EngineOptions::default());
    let list: Vec<_> = (0..10_000).map(|id| id.to_string()).collect();
    let slow = Query::new(format!(
        "SELECT id FROM stars WHERE id IN ({})",
        list.join(",")
    ));
    let plan = || {
        let started = Instant::now();
        drop(block_on(engine.query(&slow, None)).unwrap());
        started.elapsed()
    };
    let one = plan();
    assert!(one > Duration::from_millis(20), "too fast to see: {one:?}");
    let given_up = 20;
    for _ in 0..given_up {
        // Its place in the queue is taken, and then it is dropped.
        let planned = pin!(engine.query(&slow, None));
        assert!(
            planned
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    let behind = plan();
    assert!(
        behind < one * given_up / 2,
        "{behind:?} behind {given_up} plans of {one:?}"
    );
}

#[test]
fn a_time_without_a_zone_in_a_query_is_in_utc() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    // Midnight of 2024 in UTC, and half an hour before.
    let seconds = vec![1_704_067_200_000_000, 1_704_065_400_000_000];
    let local = TimestampMicrosecondArray::from(seconds);
    let batch = RecordBatch::try_from_iter([
        (
            "t",
            Arc::new(local.clone().with_timezone("Europe/Berlin")) as ArrayRef,
        ),
        ("offset", Arc::new(local.clone().with_timezone("-05:00"))),
        ("local", Arc::new(local)),
    ]);
    write_parquet(&file, &batch.unwrap());
    let engine = engine_of(&file);
    for (condition, rows) in [
        ("t = '2024-01-01T00:00:00Z'", 1),
        ("t = '2024-01-01T00:00:00'", 1),
        ("t = '2024-01-01'", 1),
        ("t = '2024-01-01T01:00:00+01:00'", 1),
        ("'2023-12-31T23:30:00' = t", 1),
        ("t < '2023-12-31T23:30:00'", 0),
        ("t <= '2023-12-31T23:30:00'", 1),
        ("t IN ('2023-12-31T23:30:00', '2024-01-01 00:00:00')", 2),
        (
            "t BETWEEN '2023-12-31T23:30:00' AND '2023-12-31T23:59:59'",
            1,
        ),
        ("t = TIMESTAMP '2024-01-01T00:00:00'", 1),
        ("t = CAST('2024-01-01T00:00:00' AS TIMESTAMP)", 1),
        ("t >= DATE '2024-01-01'", 1),
        ("t < to_timestamp('2024-01-01T00:00:00')", 1),
        ("CAST(t AS DATE) = DATE '2023-12-31'", 1),
        ("CAST(t AS TIMESTAMP) = TIMESTAMP '2023-12-31T23:30:00'", 1),
        ("CAST(t AS TEXT) = '2023-12-31T23:30:00Z'", 1),
        ("t = local", 2),
        ("t = offset", 2),
        ("offset = local", 2),
        ("local = '2024-01-01T00:00:00'", 1),
        ("local = '2024-01-01T01:00:00+01:00'", 1),
        ("t = (SELECT max(local) FROM stars)", 1),
        ("EXISTS (SELECT 1 FROM stars s WHERE s.local = stars.t)", 2),
        ("t > INTERVAL '1 hour' + TIMESTAMP '2023-12-31T22:45:00'", 1),
    ] {
        let sql = format!("SELECT t FROM stars WHERE {condition}");
        let found = query(&engine, &sql).map(|rows| collect(rows).num_rows());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, Ok(rows), "{condition}");
    }
    let rows = query(&engine, "SELECT t, CAST(t AS DATE) AS d FROM stars").unwrap();
    let zone = Some("Europe/Berlin".into());
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, zone);
    assert_eq!(*rows.schema().field(0).data_type(), zoned);
}

#[test]
fn a_constant_with_more_digits_than_its_column_is_compared_with_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let times = TimestampMillisecondArray::from(vec![0, -1]);
    let batch = RecordBatch::try_from_iter([
        (
            "t",
            Arc::new(times.clone().with_timezone("Europe/Berlin")) as ArrayRef,
        ),
        ("local", Arc::new(times)),
        ("day", Arc::new(Date32Array::from(vec![0, -1]))),
        ("time", Arc::new(Time32SecondArray::from(vec![0, 1]))),
    ]);
    write_parquet(&file, &batch.unwrap());
    let engine = engine_of(&file);
    for condition in [
        "day = '1970-01-01T12:00:00'",
        "time = '00:00:00.5'",
        "t = '1969-12-31T23:59:60'",
    ] {
        let sql = format!("SELECT t FROM stars WHERE {condition}");
        let error = query(&engine, &sql).err().expect(condition);
        assert_eq!(
            error.kind(),
            EngineErrorKind::BadQuery,
            "{condition}: {error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("has more digits than") || text.contains("is not a value of type"),
            "{condition}: {text}"
        );
    }
    // Rows are compared in the unit of the constant.
    for (condition, rows) in [
        ("t = '1970-01-01T00:00:00.0000001'", 0),
        ("t < '1969-12-31T23:59:59.9995'", 1),
        ("'1970-01-01T00:00:00.0001' > local", 2),
        ("t IN ('1970-01-01', '1970-01-01T00:00:00.0001')", 1),
        (
            "local BETWEEN '1969-12-31T23:59:59.9999' AND '1970-01-01'",
            1,
        ),
        (
            "local < TIMESTAMP '1970-01-01' AND local > TIMESTAMP '1969-12-31T23:59:59.9985'",
            1,
        ),
        ("local = TIMESTAMP '1970-01-01T00:00:00.0000001'", 0),
        ("local <> TIMESTAMP '1970-01-01T00:00:00.0000001'", 2),
        ("local >= TIMESTAMP '1969-12-31T23:59:59.9995'", 1),
        (
            "t = arrow_cast(1, 'Timestamp(ns, \"UTC\")') OR t = '1970-01-01T00:00:00.0001'",
            0,
        ),
        ("day < TIMESTAMP '1969-12-31T12:00:00'", 1),
        ("TIMESTAMP '1969-12-31T12:00:00' < day", 1),
        (
            "day IN (TIMESTAMP '1969-12-31T12:00:00', TIMESTAMP '1970-01-01')",
            1,
        ),
        ("day <= arrow_cast(-1, 'Timestamp(ns)')", 1),
        ("CAST(local AS TIME) > TIME '04:00:00'", 1),
        ("local::time = '23:59:59.999'::time", 1),
        ("t = arrow_cast(1, 'Timestamp(ns, \"UTC\")')", 0),
        ("t = TIMESTAMP '1970-01-01' + INTERVAL '1 nanosecond'", 0),
        ("t = TIMESTAMP '1970-01-02' - INTERVAL '1 day'", 1),
        ("day >= TIMESTAMP '1970-01-01' + INTERVAL '1 second'", 0),
        (
            "t < now() AND day < current_date AND local < now() - INTERVAL '1 day'",
            2,
        ),
        ("t = '1970-01-01T00:00:00.000000'", 1),
        ("day = '1970-01-01'", 1),
        ("time = '00:00:01'", 1),
    ] {
        let sql = format!("SELECT t FROM stars WHERE {condition}");
        let found = collect(query(&engine, &sql).unwrap()).num_rows();
        assert_eq!(found, rows, "{condition}");
    }
}

#[test]
fn the_error_of_a_query_is_for_its_author() {
    let (_folder, engine) = engine_with(10, EngineOptions::default());
    for (sql, words) in [
        ("SELECT sum(name) FROM stars", "argument types 'sum(text)'"),
        (
            "SELECT date_trunc('day', id) FROM stars",
            "(text, 64-bit integer)",
        ),
        ("SELECT name + 1 FROM stars", "text + 64-bit integer"),
        (
            "SELECT id FROM stars WHERE id LIKE 'a'",
            "LIKE is for texts, not for 64-bit integer and text",
        ),
        (
            "SELECT id FROM stars WHERE id = TIMESTAMP '2024-01-01'",
            "= timestamp in nanoseconds",
        ),
        (
            "SELECT id FROM stars WHERE name = 'a",
            "Unterminated string literal",
        ),
        ("SELECT TIMESTAMP 'yesterday'", "'yesterday'"),
        ("SELECT id FROM stars WHERE id = 'a'", "'a'"),
    ] {
        let error = query(&engine, sql).err().expect(sql);
        assert_ne!(error.kind(), EngineErrorKind::Data, "{sql}: {error}");
        let text = error.to_string();
        assert!(text.contains(words), "{sql}: {text}");
        for word in ["Utf8", "Int64", "Timestamp(", "bug", "Internal", "Line:"] {
            assert!(!text.contains(word), "{sql}: {text}");
        }
    }
}

#[test]
fn any_and_all_may_read_the_table_that_is_queried() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 5));
    let engine = engine_of(&file);
    for (condition, wanted) in [
        ("id = ANY (SELECT id FROM stars WHERE id = 3)", vec![3]),
        ("id > ALL (SELECT id FROM stars WHERE id < 3)", vec![3, 4]),
        ("id < SOME (SELECT id FROM stars WHERE id < 3)", vec![0, 1]),
        (
            "id <> ALL (SELECT id FROM stars WHERE id = ANY (SELECT id FROM stars WHERE id > 1))",
            vec![0, 1],
        ),
        (
            "id >= ALL (SELECT b.id FROM stars b WHERE b.id <= stars.id)",
            vec![0, 1, 2, 3, 4],
        ),
    ] {
        let sql = format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
        let found = collect(block_on(engine.query(&Query::new(sql), None)).unwrap());
        assert_eq!(ids(&found), wanted, "{condition}");
    }
}

#[test]
fn values_that_functions_make_are_bounded() {
    let options = EngineOptions {
        // A busy machine takes long over those that are folded while planning.
        plan_timeout: Duration::from_secs(300),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(2_000, options);
    let before = memory_bytes_max();
    let a = |count: usize| "a".repeat(count);
    for sql in [
        // Folded while planning: 100 to the power of five.
        (0..5).fold("'a'".to_owned(), |text, _| {
            format!("replace({text}, 'a', '{}')", a(100))
        }),
        format!(
            "replace(replace(replace(name, 'a', '{0}'), 'a', '{0}'), 'a', '{0}')",
            a(300)
        ),
        format!(
            "regexp_replace(regexp_replace(name, '.', '{0}', 'g'), '.', '{0}', 'g')",
            a(300)
        ),
        format!(
            "regexp_replace(replace(name, 'a', '{}'), '.*', '{}')",
            a(900),
            "\\0".repeat(300)
        ),
        format!(
            "array_to_string(string_to_array(replace(name, 'a', '{0}'), NULL), '{0}')",
            a(900)
        ),
        format!(
            "array_replace_all(string_to_array(replace(name, 'a', '{0}'), NULL), 'a', '{0}')",
            a(900)
        ),
    ] {
        let error = match query(&engine, &format!("SELECT {sql} AS long FROM stars")) {
            Err(error) => error.to_string(),
            Ok(mut rows) => match rows.find_map(Result::err) {
                Some(error) => error.to_string(),
                None => panic!("{}", sql.get(..60).unwrap()),
            },
        };
        assert!(error.contains("become too long"), "{error}");
    }
    let grown = memory_bytes_max() - before;
    assert!(grown < 1 << 30, "{grown}");
}

#[test]
fn a_function_that_is_called_for_some_rows_at_a_time_gives_the_same_values() {
    let (_folder, engine) = engine_with(20_000, EngineOptions::default());
    let a = "b".repeat(600);
    // Each may become 4 kB long, and none does.
    let sql = format!(
        "SELECT id, replace(name, 'q', '{a}') AS same, regexp_replace(name, 'star', '{a}') AS long, \
         array_to_string(array_replace(make_array(name, 'x'), 'x', '{a}'), '-') AS list \
         FROM stars"
    );
    let rows = collect(query(&engine, &sql).unwrap());
    assert_eq!(rows.num_rows(), 20_000);
    let (same, long) = (texts(&rows, "same"), texts(&rows, "long"));
    let list = texts(&rows, "list");
    for (row, id) in ids(&rows).into_iter().enumerate() {
        let name = (id % 10 != 0).then(|| format!("star {id}"));
        assert_eq!(same[row], name);
        assert_eq!(long[row], name.as_ref().map(|_| format!("{a} {id}")));
        let joined = name.map_or(a.clone(), |name| format!("{name}-{a}"));
        assert_eq!(list[row].as_deref(), Some(joined.as_str()));
    }
}

const SORTED: &str = "SELECT id, name, RA FROM stars ORDER BY name, id";

fn count(rows: Rows) -> Result<usize, String> {
    let mut counted = 0;
    for batch in rows {
        counted += batch.map_err(|error| error.to_string())?.num_rows();
    }
    Ok(counted)
}

/// Each sort has more rows than fit into half of the memory.
#[test]
fn two_sorts_at_once_both_end() {
    let options = EngineOptions {
        memory_bytes: 128 << 20,
        threads: Some(2),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(1_500_000, options);
    std::thread::scope(|scope| {
        let sorts: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| count(query(&engine, SORTED).unwrap())))
            .collect();
        for sort in sorts {
            assert_eq!(sort.join().unwrap(), Ok(1_500_000));
        }
    });
}

#[test]
fn a_query_waits_for_the_memory_of_another_one_and_a_scan_does_not() {
    let options = EngineOptions {
        memory_bytes: 100 << 20,
        memory_timeout: Duration::from_secs(1),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(1000, options);
    // There is memory for one query.
    let mut first = query(&engine, SORTED).unwrap();
    assert!(first.next().unwrap().is_ok());
    let began = Instant::now();
    let error = query(&engine, SORTED).err().unwrap();
    assert_eq!(error.kind(), EngineErrorKind::Busy);
    assert!(
        error.to_string().contains("other queries need all memory"),
        "{error}"
    );
    assert!(began.elapsed() >= Duration::from_secs(1));
    let began = Instant::now();
    let scanned = query(&engine, "SELECT id * 2 FROM stars WHERE RA > 3 LIMIT 5").unwrap();
    assert_eq!(count(scanned), Ok(5));
    assert!(began.elapsed() < Duration::from_secs(1));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| count(query(&engine, SORTED).unwrap()));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(count(first), Ok(0));
        assert_eq!(waits.join().unwrap(), Ok(1000));
    });
}

#[test]
fn a_sort_with_a_large_limit_of_its_own_spills() {
    let options = EngineOptions {
        memory_bytes: 16 << 20,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let (_folder, engine) = engine_with(600_000, options);
    for (limit, counted) in [("LIMIT 500000", 500_000), ("LIMIT 10 OFFSET 500000", 10)] {
        let sql = format!("{SORTED} {limit}");
        assert_eq!(count(query(&engine, &sql).unwrap()), Ok(counted), "{limit}");
    }
}

/// 9,000 rows of 10 kB that are to be kept, and 20,000 that are sorted: several times the memory.
#[test]
fn a_few_rows_that_are_wide_spill_if_they_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    let rows = 20_000;
    let wide = StringArray::from_iter_values((0..rows).map(|id| {
        let seed = (id * 7919) % rows;
        format!("{seed:010}").repeat(1000)
    }));
    let ids = (0..rows).collect::<Int64Array>();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("wide", Arc::new(wide))];
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = Engine::new(EngineOptions {
        memory_bytes: 64 << 20,
        threads: Some(1),
        ..EngineOptions::default()
    })
    .unwrap();
    let files = TableFiles::find(&file).unwrap();
    block_on(engine.register("stars", files, &ColumnMetadata::default())).unwrap();
    let sql = "SELECT * FROM stars WHERE id > 5 ORDER BY wide LIMIT 9000";
    let parameters = [("order", "wide"), ("limit", "9000")];
    for in_url in [false, true] {
        let sorted = match in_url {
            true => scan(&engine, &parameters),
            false => query(&engine, sql),
        };
        // In a URL it is one more, by which the reader knows that there are more.
        let expected = 9000 + usize::from(in_url);
        let (mut counted, mut last) = (0, String::new());
        for batch in sorted.unwrap() {
            for text in texts(&batch.unwrap(), "wide") {
                let text = text.unwrap();
                assert!(text >= last);
                last = text;
                counted += 1;
            }
        }
        assert_eq!(counted, expected);
    }
}

#[test]
fn a_key_that_is_sorted_by_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("stars.parquet"), &stars(0, 6));
    let engine = engine_of(&folder.path().join("stars.parquet"));
    for (sql, wanted) in [
        (
            "SELECT DISTINCT ON (g) g, id FROM (SELECT id % 2 AS g, id FROM stars) AS s ORDER BY g, g DESC, id DESC",
            vec!["0,4", "1,5"],
        ),
        (
            "SELECT id % 2 AS g, first_value(id ORDER BY id % 2, id % 2 DESC, id DESC) AS f FROM stars GROUP BY g ORDER BY g",
            vec!["0,4", "1,5"],
        ),
        (
            "SELECT array_agg(id ORDER BY id DESC, id) AS a FROM stars WHERE id < 3",
            vec!["[2, 1, 0]"],
        ),
    ] {
        let wanted = wanted.into_iter().map(str::to_owned).collect();
        assert_eq!(answers(&engine, sql), Ok(wanted), "{sql}");
    }
}
