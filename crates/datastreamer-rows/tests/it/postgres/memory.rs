//! Memory is bounded, whatever the number of rows and the pace of who takes them; rows come as
//! they are made.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::Fixture;

const STARS: &str = "SELECT n AS source_id, n * 1e-6 AS ra, -n * 1e-6 AS dec, n / 7.0::float8 AS p, \
    n / 9.0::float8 AS pmra, n::float4 AS g, 'STAR ' || n AS name, \
    timestamp '2020-01-01' + n * interval '1 s' AS epoch \
    FROM (SELECT generate_series(1::int8, ROWS) AS n) t";

/// Above what a batch, the socket and the allocator take; far below 3 million rows (240 MB).
const GROWTH_BYTES: usize = 24 << 20;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn millions_of_rows_take_no_more_memory_than_a_batch() {
    let fixture = Fixture::start();
    let mut rows = fixture.query(&STARS.replace("ROWS", "3000000")).unwrap();
    // A batch may be short: rows that have waited are handed on.
    let mut count = rows.next().unwrap().unwrap().num_rows();
    let mut largest = 0;
    let before = resident_bytes();
    for batch in rows {
        count += batch.unwrap().num_rows();
        largest = largest.max(resident_bytes());
    }
    assert_eq!(count, 3_000_000);
    assert!(largest < before + GROWTH_BYTES, "{before} to {largest}");
}

#[test]
fn rows_that_nobody_takes_stay_in_the_server() {
    let fixture = Fixture::start();
    let mut rows = fixture.query(&STARS.replace("ROWS", "10000000")).unwrap();
    rows.next().unwrap().unwrap();
    let before = resident_bytes();
    // The server makes a million rows in this time.
    thread::sleep(Duration::from_secs(1));
    let after = resident_bytes();
    assert!(after < before + GROWTH_BYTES / 4, "{before} to {after}");
}

#[test]
fn wide_rows_make_small_batches() {
    let fixture = Fixture::start();
    let sql = "SELECT repeat('x', 300000) AS wide FROM generate_series(1, 200)";
    let batches = fixture.batches(sql);
    let rows: usize = batches
        .iter()
        .map(arrow::array::RecordBatch::num_rows)
        .sum();
    assert_eq!(rows, 200);
    // The fourth passes 1 MiB.
    assert!(batches.iter().all(|batch| batch.num_rows() <= 4));
}

#[test]
fn rows_of_a_slow_query_come_before_the_batch_is_full() {
    let fixture = Fixture::start();
    // Each row fills the server's own buffer of 8 KiB, so that it is sent.
    let sql = "SELECT n, repeat('x', 9000) AS t FROM generate_series(1, 2) n, pg_sleep(0) \
        UNION ALL SELECT 3, repeat('x', 9000) FROM pg_sleep(2)";
    let mut rows = fixture.query(sql).unwrap();
    let start = Instant::now();
    let first = rows.next().unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(first.num_rows() >= 1);
    assert_eq!(first.num_rows() + super::count(rows), 3);
}
