//! A setting takes effect, in the file or in the environment: `configuration.rs` shows only that
//! it is read.

use std::time::{Duration, Instant};

use crate::support::http::{Connection, End, get};
use crate::support::program::Daemon;

const NOISE: &str = "[routes.noise]\nkind = \"noise\"\n";

fn start(settings: &str) -> Daemon {
    Daemon::start(&format!("{settings}{NOISE}"))
}

/// Two pieces with a second between them and behind them.
const PACED: &str = "/noise.bin?n=2000&piece=1000&delay=1s";

#[test]
fn a_failure_behind_commit_bytes_is_an_abort_and_before_them_a_status() {
    let path = "/noise.bin?n=3000&piece=1000&fail_after=2000";
    let response = get(start("[stream]\ncommit_bytes = 1000\n").port(), path);
    assert_eq!(
        (response.status, response.body.len(), response.end),
        (200, 2000, End::Reset)
    );
    get(start("[stream]\ncommit_bytes = 2001\n").port(), path).problem(500);
}

#[test]
fn after_commit_after_the_head_goes_out_with_what_there_is() {
    // Committed at the end, the length is known.
    for (commit_after, length) in [("100ms", None), ("30s", Some("2000"))] {
        let daemon = start(&format!("[stream]\ncommit_after = \"{commit_after}\"\n"));
        let response = get(daemon.port(), PACED);
        assert_eq!(response.header("content-length"), length, "{commit_after}");
        assert_eq!((response.body.len(), response.end), (2000, End::Whole));
    }
}

#[test]
fn after_flush_after_bytes_go_out_although_the_source_is_silent() {
    for (flush_after, is_soon) in [("50ms", true), ("1h", false)] {
        let daemon = start(&format!(
            "[stream]\ncommit_bytes = 1\nflush_after = \"{flush_after}\"\n"
        ));
        let mut client = Connection::open(daemon.port());
        let asked = Instant::now();
        client.ask(PACED);
        client.read_head();
        let waited = asked.elapsed();
        assert_eq!(waited < Duration::from_millis(900), is_soon, "{waited:?}");
    }
}

#[test]
fn the_environment_rules_over_the_file() {
    let daemon = Daemon::start_with(
        &format!("[limits]\nmax_active = 5\nmax_waiting = 0\n{NOISE}"),
        &[("DATASTREAMER_LIMITS__MAX_ACTIVE", "1")],
    );
    let mut first = Connection::open(daemon.port());
    first.ask("/noise.bin?n=1e15&piece=65536");
    assert_eq!(first.read_head().status, 200);
    get(daemon.port(), "/noise.bin").problem(503);
}
