//! Every wait has an end and everything that is held has a bound.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::h2;
use crate::support::http::{self, Connection, End};
use crate::support::program::Daemon;
use crate::support::tools;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// An endless transfer for whoever reads it.
const ENDLESS: &str = "/noise.bin?n=1e15&piece=65536";

fn start(limits: &str) -> Daemon {
    Daemon::start(&format!(
        "[server]\ndrain = 0\n[limits]\n{limits}\n[routes.noise]\nkind = \"noise\"\n\
         [routes.silent]\nkind = \"command\"\nargv = [\"sleep\", \"1000\"]\n\
         [routes.stops]\nkind = \"command\"\n\
         argv = [\"sh\", \"-c\", \"head -c 200000 /dev/zero; sleep 1000\"]\n\
         [routes.stars]\nkind = \"stars\"\n[sql]\nenabled = true\n"
    ))
}

/// Waits until the first transfer is over, and returns its record.
fn recent(port: u16) -> Value {
    nth(port, 0)
}

/// Waits until a transfer behind `earlier` others is over, and returns its record.
fn nth(port: u16, earlier: usize) -> Value {
    let mut found = Value::Null;
    wait::until("the transfer is over", LIMIT, || {
        let transfers = http::transfers(port);
        let recent = transfers["recent"].as_array().expect("a list");
        found = recent.first().cloned().unwrap_or_default();
        recent.len() > earlier
    });
    found
}

#[test]
fn beyond_the_last_place_and_the_waiting_room_clients_are_asked_to_come_again() {
    let daemon = start("max_active = 1\nmax_waiting = 0");
    let mut first = Connection::open(daemon.port());
    first.ask(ENDLESS);
    assert_eq!(first.read_head().status, 200);
    let refused = http::get(daemon.port(), "/noise.bin");
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(recent(daemon.port())["outcome"], "shed");
    // The pages are no streams.
    assert_eq!(http::get(daemon.port(), "/healthz").status, 200);
    drop(first);
    wait::until("the place is free", LIMIT, || {
        http::transfers(daemon.port())["active"] == 0
    });
    assert_eq!(http::get(daemon.port(), "/noise.bin").status, 200);
}

#[test]
fn a_request_is_checked_at_once_and_planned_when_it_has_its_place() {
    let daemon = start("max_active = 1\nmax_waiting = 0");
    let port = daemon.port();
    let wrong_sql = "/sql.csv?query=SELEC+1";
    let mut first = Connection::open(port);
    first.ask(ENDLESS);
    assert_eq!(first.read_head().status, 200);
    // Names and values need no place.
    http::get(port, "/stars.csv?colour=red").problem(400);
    http::get(port, "/noise.bin?piece=0").problem(400);
    http::get(port, "/sql.csv?colour=red").problem(400);
    // SQL is parsed, and files are opened, by whoever has one.
    http::get(port, wrong_sql).problem(503);
    assert_eq!(http::head(port, "/stars.csv").status, 503);
    drop(first);
    wait::until("the place is free", LIMIT, || {
        http::transfers(port)["active"] == 0
    });
    http::get(port, wrong_sql).problem(400);
    assert_eq!(http::head(port, wrong_sql).status, 400);
    // No row is read.
    assert_eq!(http::head(port, "/stars.csv?rows=1e15").status, 200);
    wait::until("the place is free again", LIMIT, || {
        http::transfers(port)["active"] == 0
    });
}

#[test]
fn who_waits_gets_the_place_or_is_refused_in_time() {
    let daemon = start("max_active = 1\nmax_waiting = 2\nqueue_timeout = \"500ms\"");
    let mut first = Connection::open(daemon.port());
    first.ask(ENDLESS);
    first.read_head();
    let asked = Instant::now();
    let refused = http::get(daemon.port(), "/noise.bin");
    let waited = asked.elapsed();
    refused.problem(503);
    assert!(refused.header("retry-after").is_some());
    let in_time = Duration::from_millis(500)..Duration::from_millis(1500);
    assert!(in_time.contains(&waited), "{waited:?}");

    let port = daemon.port();
    let waiting = thread::spawn(move || http::get(port, "/noise.bin"));
    wait::until("it waits", LIMIT, || {
        let transfers = http::transfers(daemon.port());
        let last = transfers["running"].as_array().and_then(|all| all.last());
        transfers["waiting"] == 1 && last.is_some_and(|last| last["blocked_on"] == "admission")
    });
    drop(first);
    assert_eq!(waiting.join().expect("no panic").body.len(), 1_000_000);
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let daemon = start("header_timeout = \"500ms\"");
    // Nothing; the beginning of either version; a head without its end.
    for begin in [
        "",
        "G",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n",
    ] {
        let opened = Instant::now();
        let mut client = Connection::open(daemon.port());
        client.send(begin);
        if let Ok(response) = client.try_read_head() {
            assert_eq!(response.status, 408, "{begin:?}");
        }
        let waited = opened.elapsed();
        assert!(waited < Duration::from_secs(5), "{begin:?}: {waited:?}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let daemon = start("header_timeout = \"500ms\"");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port())).expect("it accepts");
    client.set_nodelay(true).expect("an option");
    let opened = Instant::now();
    let drip = "GET / HTTP/1.1\r\n".bytes().chain(b"X".repeat(10_000));
    for byte in drip {
        if client.write_all(&[byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        assert!(opened.elapsed() < LIMIT, "it is still read");
    }
}

#[test]
fn an_idle_connection_does_not_hold_its_place_for_ever() {
    let daemon = start("header_timeout = \"500ms\"\nmax_connections = 1");
    let mut idle = Connection::open(daemon.port());
    assert_eq!(idle.get("/healthz").status, 200);
    assert_eq!(idle.read_close(), End::Fin);
    assert_eq!(http::get(daemon.port(), "/healthz").status, 200);
}

#[test]
fn an_idle_http_2_connection_does_not_hold_its_place_for_ever() {
    let daemon = start("header_timeout = \"500ms\"\nmax_connections = 1");
    let mut idle = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port())).expect("it accepts");
    // The preface and an empty SETTINGS frame (RFC 9113, 3.4).
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("it reads");
    let asked = Instant::now();
    assert_eq!(http::get(daemon.port(), "/healthz").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_http_2_connection_that_has_asked_once_and_answers_pings_does_not_stay() {
    let daemon = start("idle_timeout = \"500ms\"\nmax_connections = 1");
    // Its driver acknowledges whatever the server sends.
    let idle = h2::ask_and_stay(daemon.port(), "/healthz");
    let asked = Instant::now();
    assert_eq!(http::get(daemon.port(), "/healthz").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(idle.has_ended_well(), "it is told to go, not cut off");
}

#[test]
fn an_http_2_connection_that_never_takes_its_response_does_not_stay() {
    let limits = "idle_timeout = \"500ms\"\nclient_stall = \"500ms\"\nmax_connections = 1";
    for path in [
        "/healthz",
        "/noise.bin?n=1000",
        "/noise.bin?n=many",
        ENDLESS,
    ] {
        let daemon = start(limits);
        let address = (Ipv4Addr::LOCALHOST, daemon.port());
        let mut shut = TcpStream::connect(address).expect("it accepts");
        // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0: there is never room for a body.
        let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
        shut.write_all(settings).expect("it reads");
        shut.write_all(&http_2_get(path)).expect("it reads");
        let asked = Instant::now();
        assert_eq!(http::get(daemon.port(), "/healthz").status, 200, "{path}");
        assert!(asked.elapsed() < Duration::from_secs(15), "{path}");
    }
}

#[test]
fn a_slow_source_is_not_an_idle_connection() {
    let daemon = start("header_timeout = \"500ms\"\nidle_timeout = \"500ms\"");
    let response = http::get(
        daemon.port(),
        "/noise.bin?n=3000&piece=1000&delay=700ms&length=known",
    );
    assert_eq!((response.body.len(), response.end), (3000, End::Whole));
    let mut curl = tools::program("curl");
    curl.args(["-q", "--silent", "--fail", "--http2-prior-knowledge"]);
    curl.arg(format!(
        "http://127.0.0.1:{}/noise.bin?n=3000&piece=1000&delay=700ms",
        daemon.port()
    ));
    assert!(curl.status().expect("curl runs").success());
}

#[test]
fn a_client_that_takes_nothing_is_dropped_in_time() {
    let daemon = start("client_stall = \"600ms\"");
    for (earlier, query) in ["", "&length=known"].into_iter().enumerate() {
        let mut client = Connection::open_narrow(daemon.port());
        let asked = Instant::now();
        client.ask(&format!("{ENDLESS}{query}"));
        let mut response = client.read_head();
        let seen = nth(daemon.port(), earlier);
        let waited = asked.elapsed();
        assert_eq!(seen["outcome"], "client_stalled", "{seen}");
        assert!(waited >= Duration::from_millis(600), "{waited:?}");
        assert!(waited < Duration::from_secs(4), "{waited:?}");
        wait::until("the place is free", LIMIT, || {
            http::transfers(daemon.port())["active"] == 0
        });
        assert_eq!(client.read_body(&mut response), Err(End::Reset));
    }
}

#[test]
fn no_stall_is_too_long_where_none_is_set() {
    let mut daemon = start("client_stall = 0\nsource_stall = 0");
    let mut client = Connection::open_narrow(daemon.port());
    client.ask(ENDLESS);
    let mut silent = Connection::open(daemon.port());
    silent.ask("/silent.bin");
    client.read_head();
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(http::transfers(daemon.port())["active"], 2);
    // In order, so that the silent program ends with it.
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
}

#[test]
fn a_client_that_takes_nothing_over_http_2_is_dropped_too() {
    let daemon = start("client_stall = \"600ms\"");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port())).expect("it accepts");
    // The preface and an empty SETTINGS frame: the window of 65,535 bytes stays as it is.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.write_all(preface).expect("it reads");
    client.write_all(&http_2_get(ENDLESS)).expect("it reads");
    let asked = Instant::now();
    let seen = recent(daemon.port());
    assert_eq!(seen["outcome"], "client_stalled", "{seen}");
    wait::until("the place is free", LIMIT, || {
        http::transfers(daemon.port())["active"] == 0
    });
    assert!(asked.elapsed() < Duration::from_secs(8));
}

/// HEADERS of a GET that end stream 1: `:path` is literal with an indexed name (RFC 7541, 6.2.2).
fn http_2_get(path: &str) -> Vec<u8> {
    let path_bytes = u8::try_from(path.len()).expect("a short path");
    let mut frame = vec![0, 0, 4 + path_bytes, 1, 5, 0, 0, 0, 1];
    frame.extend([0x82, 0x86, 0x04, path_bytes]);
    frame.extend(path.as_bytes());
    frame
}

#[test]
fn a_client_below_the_minimum_rate_is_dropped() {
    let daemon = start("client_stall = \"500ms\"\nclient_min_rate = \"40MB\"");
    let mut curl = tools::program("curl");
    // Before it sees the reset, curl reads what its kernel has received: up to 33 MB, at its own rate.
    curl.args(["-q", "--silent", "--limit-rate", "2M", "--max-time", "60"]);
    curl.arg(format!("http://127.0.0.1:{}{ENDLESS}", daemon.port()));
    let status = curl.status().expect("curl runs");
    assert!(!status.success());
    assert_ne!(status.code(), Some(28), "it ran until curl gave up");
    assert_eq!(recent(daemon.port())["outcome"], "client_stalled");
}

#[test]
fn a_source_that_says_nothing_is_a_gateway_timeout() {
    let daemon = start("source_stall = \"500ms\"");
    let asked = Instant::now();
    http::get(daemon.port(), "/silent.bin").problem(504);
    assert!(asked.elapsed() < Duration::from_secs(4));
    assert_eq!(recent(daemon.port())["outcome"], "source_stalled");
}

#[test]
fn a_source_that_falls_silent_is_an_abort() {
    let daemon = start("source_stall = \"500ms\"");
    let response = http::get(daemon.port(), "/stops.bin");
    assert_eq!(response.status, 200);
    assert_eq!((response.body.len(), response.end), (200_000, End::Reset));
    assert_eq!(recent(daemon.port())["outcome"], "source_stalled");
}

#[test]
fn beyond_the_last_connection_the_next_one_waits() {
    let daemon = start("max_connections = 2");
    let mut first = Connection::open(daemon.port());
    let mut second = Connection::open(daemon.port());
    assert_eq!(first.get("/healthz").status, 200);
    assert_eq!(second.get("/healthz").status, 200);
    let port = daemon.port();
    let third = thread::spawn(move || http::get(port, "/healthz"));
    thread::sleep(Duration::from_millis(300));
    assert!(!third.is_finished());
    assert_eq!(first.get("/healthz").status, 200, "the others are served");
    drop(first);
    assert_eq!(third.join().expect("no panic").status, 200);
}
