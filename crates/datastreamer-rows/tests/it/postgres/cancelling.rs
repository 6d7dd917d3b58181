//! Who leaves stops the statement, at once.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer_rows::postgres::{PostgresErrorKind, PostgresRows};
use datastreamer_testkit::{eventually, promptly};

use super::{Fixture, failure};

/// From a hang-up to no active statement.
const HANG_UP: Duration = Duration::from_millis(250);
/// What the server works at: rows without end, and none.
const ENDLESS: &str = "SELECT generate_series(1, 1000000000) AS n, repeat('x', 100) AS t";
const SILENT: &str = "SELECT 1 AS n FROM pg_sleep(600)";

impl Fixture {
    /// How long the statement is active after a deed. Each look takes a `psql`, 20 ms or more:
    /// the time is to the start of the look that saw none.
    fn activity_after(&self, deed: impl FnOnce()) -> Duration {
        eventually("the statement is active", || self.active() == 1);
        let start = Instant::now();
        deed();
        loop {
            let looked = start.elapsed();
            if self.active() == 0 {
                return looked;
            }
            assert!(looked < Duration::from_secs(20), "the statement stays");
        }
    }

    fn active(&self) -> usize {
        self.server.active_statements("datastreamer")
    }

    /// Rows that are on the way, with nobody who takes them.
    fn stalled(&self) -> PostgresRows {
        let mut rows = self.query(ENDLESS).unwrap();
        rows.next().unwrap().unwrap();
        rows
    }
}

#[test]
fn dropping_the_rows_in_mid_stream_stops_the_statement() {
    let fixture = Fixture::start();
    promptly("the statement ends", HANG_UP, || {
        let rows = fixture.stalled();
        fixture.activity_after(|| drop(rows))
    });
}

#[test]
fn cancelling_stops_a_statement_whose_rows_nobody_takes() {
    let fixture = Fixture::start();
    promptly("the statement ends", HANG_UP, || {
        let mut rows = fixture.stalled();
        let canceller = rows.canceller();
        let delay = fixture.activity_after(|| canceller.cancel());
        let last = rows.by_ref().find(Result::is_err).unwrap();
        assert_eq!(failure(last).kind(), PostgresErrorKind::Cancelled);
        assert!(rows.next().is_none());
        delay
    });
}

fn cancels_a_silent_statement(fixture: &Fixture) {
    promptly("the statement ends", HANG_UP, || {
        let mut rows = fixture.query(SILENT).unwrap();
        let canceller = rows.canceller();
        let reading = thread::spawn(move || rows.next().unwrap());
        let delay = fixture.activity_after(|| canceller.cancel());
        let error = failure(reading.join().unwrap());
        assert_eq!(error.kind(), PostgresErrorKind::Cancelled);
        delay
    });
}

#[test]
fn cancelling_stops_a_statement_that_gives_no_rows() {
    cancels_a_silent_statement(&Fixture::start());
}

#[test]
fn cancelling_stops_a_statement_of_an_encrypted_connection() {
    cancels_a_silent_statement(&Fixture::encrypted());
}

#[test]
fn a_late_cancel_does_not_hit_the_next_query() {
    let fixture = Fixture::start_with(|options| options.max_connections = 1);
    let mut first = fixture.query("SELECT pg_backend_pid() AS id").unwrap();
    let canceller = first.canceller();
    first.next().unwrap().unwrap();
    let mut second = fixture.stalled();
    canceller.cancel();
    assert!(first.next().is_none());
    for _ in 0..20 {
        second.next().unwrap().unwrap();
    }
}

#[test]
fn a_cancel_before_the_first_row_is_seen() {
    let fixture = Fixture::start();
    let mut rows = fixture.query(ENDLESS).unwrap();
    rows.canceller().cancel();
    let error = failure(rows.next().unwrap());
    assert_eq!(error.kind(), PostgresErrorKind::Cancelled);
}
