//! A setting takes effect, in the file or in the environment: `configuration.rs` shows only that
//! it is read.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::http::{Connection, End, get};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::wait;

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

/// A FITS file with a name in Latin-1: what the program writes, with a byte that it would not write.
fn fits_with_latin1(scratch: &Scratch) -> PathBuf {
    let (csv, fits) = (scratch.join("names.csv"), scratch.join("names.fits"));
    fs::write(&csv, "id,name\n1,plain\n2,?strom\n").expect("files can be written");
    let written = program::run(&["cat", csv.to_str().expect("text"), "--format", "fits"]);
    written.assert_good();
    let mut bytes = written.stdout;
    let at = bytes.windows(6).rposition(|bytes| bytes == b"?strom");
    bytes[at.expect("the name is in the file")] = 0xc5;
    fs::write(&fits, bytes).expect("files can be written");
    fits
}

#[test]
fn fits_strict_refuses_what_is_else_read_and_counted_in_the_log() {
    let scratch = Scratch::new("strict");
    let fits = fits_with_latin1(&scratch);
    let route = format!("[routes.names]\nkind = \"table\"\npath = {fits:?}\n");
    let daemon = Daemon::start(&route);
    let response = get(daemon.port(), "/names.csv");
    let text = String::from_utf8(response.body).expect("UTF-8");
    assert_eq!(text.replace('\r', ""), "id,name\n1,plain\n2,\u{c5}strom\n");
    wait::until("the count", Duration::from_secs(20), || {
        let log = daemon.log();
        log.contains("texts_latin1=1") && log.contains("names.fits")
    });
    let cat = |environment: &[(&str, &str)]| {
        let mut command =
            program::command(&["cat", fits.to_str().expect("text"), "--format", "csv"]);
        command.envs(environment.iter().copied());
        program::finish(command)
    };
    let said = cat(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("texts_latin1=1"), "{said:?}");
    let words = ["names.fits", "row 1", "\"name\"", "0xc5 is not ASCII"];
    cat(&[("DATASTREAMER_TABLES__FITS_STRICT", "true")]).assert_refused(7, &words);
    let strict = Daemon::start(&format!("[tables]\nfits_strict = true\n{route}"));
    let refused = get(strict.port(), "/names.csv");
    assert!(
        refused.status == 500 || refused.end == End::Reset,
        "{}",
        refused.status
    );
}
