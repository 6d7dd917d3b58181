//! The end of the server: running transfers end well or visibly, and nothing else delays it.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Connection, End};
use crate::support::program::{Daemon, is_running, pid_in};
use crate::support::{noise, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// A second and a half, in pieces that go out as they come.
const PACED: &str = "/noise.bin?n=3000000&piece=100000&delay=50ms";
const PACED_BYTES: usize = 3_000_000;

const ENDLESS: &str = "/noise.bin?n=1e15&piece=65536&delay=5ms";

fn start(drain: &str) -> Daemon {
    Daemon::start(&format!(
        "[server]\ndrain = \"{drain}\"\n[stream]\ncommit_bytes = 1\n[routes.noise]\n\
         kind = \"noise\"\n[routes.deaf]\nkind = \"command\"\nargv = [\"sh\", \"-c\", \
         \"trap '' TERM; echo $$ > leader; echo data; while :; do sleep 0.1; done\"]\n"
    ))
}

#[test]
fn a_running_transfer_may_end_and_is_whole() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut daemon = start("20s");
        let mut client = Connection::open(daemon.port());
        client.ask(PACED);
        let mut response = client.read_head();
        daemon.signal(signal);
        assert_eq!(client.read_body(&mut response), Ok(()));
        assert!(response.body == noise::bytes(0, PACED_BYTES));
        assert_eq!(client.read_close(), End::Fin);
        assert_eq!(daemon.wait(LIMIT).code(), Some(0));
        assert!(
            daemon.log().contains("outcome=\"complete\""),
            "{}",
            daemon.log()
        );
    }
}

#[test]
fn a_server_that_stops_takes_nothing_new() {
    let mut daemon = start("20s");
    let mut running = Connection::open(daemon.port());
    running.ask(PACED);
    let mut response = running.read_head();
    // Two that are there already: one has been used, one has not.
    let mut used = Connection::open(daemon.port());
    assert_eq!(used.get("/healthz").status, 200);
    let mut unused = Connection::open(daemon.port());
    wait::until("both are accepted", LIMIT, || {
        http::get(daemon.port(), "/healthz").status == 200
    });
    daemon.signal("TERM");
    wait::until("it is shutting down", LIMIT, || {
        daemon.log().contains("shutting down")
    });
    wait::until("the port is closed", LIMIT, || {
        Connection::try_open(daemon.port()).is_err()
    });
    for client in [&mut used, &mut unused] {
        client.send_if_wanted("GET /noise.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if let Ok(head) = client.try_read_head() {
            assert_eq!(head.status, 503);
        }
    }
    assert_eq!(running.read_body(&mut response), Ok(()));
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut daemon = start("20s");
    let mut clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = Connection::open(daemon.port());
            assert_eq!(client.get("/noise.bin").status, 200);
            client
        })
        .collect();
    clients.extend((0..5).map(|_| Connection::open(daemon.port())));
    let told = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(3),
        "{:?}",
        told.elapsed()
    );
    for client in &mut clients[..5] {
        assert_eq!(client.read_close(), End::Fin);
    }
}

/// Starts a transfer that never ends, tells the server to stop, and returns the client's end of
/// it with what it got.
fn stop_with_an_endless_transfer(daemon: &mut Daemon, twice: bool) -> (End, Vec<u8>, Duration) {
    let mut client = Connection::open(daemon.port());
    client.ask(ENDLESS);
    let mut response = client.read_head();
    daemon.signal("TERM");
    let told = Instant::now();
    let reading = thread::spawn(move || {
        let end = client.read_body(&mut response);
        (end.expect_err("it never ends"), response.body)
    });
    if twice {
        wait::until("it is shutting down", LIMIT, || {
            daemon.log().contains("shutting down")
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!daemon.has_ended());
        daemon.signal("TERM");
    }
    let (end, body) = reading.join().expect("no panic");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    (end, body, told.elapsed())
}

#[test]
fn what_still_runs_at_the_deadline_is_aborted_visibly() {
    let mut daemon = start("500ms");
    let (end, body, took) = stop_with_an_endless_transfer(&mut daemon, false);
    assert_eq!(end, End::Reset);
    assert!(body == noise::bytes(0, body.len()));
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = daemon.log();
    assert!(log.contains("outcome=\"cancelled\""), "{log}");
    assert!(log.contains("aborted=1"), "{log}");
}

#[test]
fn a_second_signal_aborts_at_once() {
    let mut daemon = start("1h");
    let (end, body, took) = stop_with_an_endless_transfer(&mut daemon, true);
    assert_eq!(end, End::Reset);
    assert!(body == noise::bytes(0, body.len()));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_client_that_takes_nothing_does_not_delay_the_abort() {
    let mut daemon = start("300ms");
    let mut client = Connection::open_narrow(daemon.port());
    client.ask("/noise.bin?n=1e15&piece=65536");
    let mut response = client.read_head();
    thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
}

#[test]
fn a_slow_head_does_not_delay_the_end_beyond_the_deadline() {
    let mut daemon = start("500ms");
    let mut client = Connection::open(daemon.port());
    client.send("GET / HTTP/1.1\r\nHost: ");
    wait::until("it is accepted", LIMIT, || {
        http::get(daemon.port(), "/healthz").status == 200
    });
    let told = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "{:?}",
        told.elapsed()
    );
}

#[test]
fn no_program_outlives_the_server() {
    let mut daemon = start("100ms");
    let mut client = Connection::open(daemon.port());
    client.ask("/deaf.bin");
    let mut response = client.read_head();
    let pid = pid_in(&daemon.folder().join("leader"));
    daemon.signal("TERM");
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    // It ignores SIGTERM: only a SIGKILL in time ends it.
    assert!(!is_running(pid));
}

#[test]
fn no_program_of_a_client_that_has_left_outlives_the_server() {
    let mut daemon = start("20s");
    let mut client = Connection::open(daemon.port());
    client.ask("/deaf.bin");
    client.read_head();
    let pid = pid_in(&daemon.folder().join("leader"));
    drop(client);
    wait::until("the source is told", LIMIT, || {
        http::transfers(daemon.port())["running"][0]["outcome"] != serde_json::Value::Null
    });
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(!is_running(pid));
}
