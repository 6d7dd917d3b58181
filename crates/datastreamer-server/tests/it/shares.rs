//! Nobody takes the places of all others: the shares of a client and of a route, and who waits.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Connection, Response};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// An endless transfer for whoever reads it.
const ENDLESS: &str = "/noise.bin?n=1e15&piece=65536";

fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// A client that asks, and reads the head if it gets one at once.
fn ask(daemon: &Daemon, number: u8, path: &str) -> Connection {
    let mut connection = Connection::open_from(client(number), daemon.port());
    connection.ask(path);
    connection
}

fn begin(daemon: &Daemon, number: u8, path: &str) -> Connection {
    let mut connection = ask(daemon, number, path);
    assert_eq!(connection.read_head().status, 200, "client {number}");
    connection
}

fn get(daemon: &Daemon, number: u8, path: &str) -> Response {
    ask(daemon, number, path).read_response()
}

fn wait_for(daemon: &Daemon, active: usize, waiting: usize) {
    wait::until("so many run and wait", LIMIT, || {
        let transfers = http::transfers(daemon.port());
        transfers["active"] == active && transfers["waiting"] == waiting
    });
}

fn start(limits: &str) -> Daemon {
    Daemon::start(&format!(
        "[server]\ndrain = 0\n[limits]\n{limits}\n[routes.noise]\nkind = \"noise\"\n\
         [routes.few]\nkind = \"noise\"\nmax_active = 1\n\
         [routes.program]\nkind = \"command\"\nargv = [\"sleep\", \"1000\"]\n"
    ))
}

#[test]
fn a_client_beyond_its_share_waits_and_is_asked_to_come_again() {
    let daemon = start("max_active_per_client = 2\nqueue_timeout = \"500ms\"");
    let running = [(); 2].map(|()| begin(&daemon, 1, ENDLESS));
    let asked = Instant::now();
    let mut waiting = [(); 2].map(|()| ask(&daemon, 1, ENDLESS));
    wait_for(&daemon, 2, 2);
    // Neither a place nor a place to wait in.
    let refused = get(&daemon, 1, ENDLESS);
    assert!(asked.elapsed() < Duration::from_millis(500));
    let detail = refused.problem(429);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(
        detail.contains("client 127.0.1.1: 2 active, 2 waiting"),
        "{detail}"
    );
    // Nobody else is concerned.
    assert_eq!(get(&daemon, 2, "/noise.bin").body.len(), 1_000_000);
    for waiting in &mut waiting {
        let refused = waiting.read_response();
        refused.problem(429);
        assert_eq!(refused.header("retry-after"), Some("5"));
    }
    assert!(asked.elapsed() >= Duration::from_millis(500));
    let [first, _second] = running;
    let mut next = ask(&daemon, 1, "/noise.bin?n=10");
    wait_for(&daemon, 2, 1);
    drop(first);
    assert_eq!(next.read_response().body.len(), 10);
}

#[test]
fn a_full_route_is_busy_and_the_others_are_not() {
    let daemon = start("queue_timeout = \"300ms\"");
    let few = "/few.bin?n=1e15&piece=65536";
    let _running = begin(&daemon, 1, few);
    let refused = get(&daemon, 2, few);
    let detail = refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(detail.contains("route few: 1 active"), "{detail}");
    assert_eq!(get(&daemon, 2, "/noise.bin?n=10").body.len(), 10);
}

#[test]
fn of_programs_eight_run_at_once_and_one_client_has_four() {
    let daemon = start("max_waiting = 100\nqueue_timeout = \"3s\"");
    let greedy: Vec<_> = (0..10).map(|_| ask(&daemon, 1, "/program.bin")).collect();
    wait_for(&daemon, 4, 6);
    let other: Vec<_> = (0..4).map(|_| ask(&daemon, 2, "/program.bin")).collect();
    wait_for(&daemon, 8, 6);
    let _third = ask(&daemon, 3, "/program.bin");
    wait_for(&daemon, 8, 7);
    // Those of the first were there before, but the third has none.
    drop(greedy);
    wait_for(&daemon, 5, 0);
    drop(other);
    wait_for(&daemon, 1, 0);
}

#[test]
fn of_sorted_tables_one_client_has_two_at_once() {
    let scratch = Scratch::new("sorted");
    let file = scratch.join("table.csv");
    let rows = (0..300_000).map(|row| format!("{row},a text of some length\n"));
    let table = format!("number,text\n{}", rows.collect::<String>());
    fs::write(&file, table).unwrap();
    let daemon = Daemon::start(&format!(
        "[server]\ndrain = 0\n[limits]\nqueue_timeout = \"3s\"\n\
         [routes.table]\nkind = \"table\"\npath = \"{}\"\n",
        file.display()
    ));
    let sorted = "/table.csv?order=number.desc";
    let ask_slowly = |path: &str| {
        let mut connection = Connection::open_narrow_from(client(1), daemon.port());
        connection.ask(path);
        connection
    };
    let _slow = [(); 4].map(|()| ask_slowly(sorted));
    wait_for(&daemon, 2, 2);
    // Neither another client nor another kind of request is concerned.
    let first = get(&daemon, 2, &format!("{sorted}&limit=1"));
    assert_eq!(
        first.body,
        b"number,text\r\n299999,a text of some length\r\n"
    );
    assert_eq!(get(&daemon, 1, "/table.csv?limit=1").status, 200);
    let refused = get(&daemon, 1, sorted);
    let detail = refused.problem(429);
    assert!(detail.contains("sorted tables"), "{detail}");
}

#[test]
fn one_client_with_all_it_can_open_keeps_a_hundred_others_from_nothing() {
    const FIRST_BYTE: Duration = Duration::from_secs(2);
    let daemon = start("max_active = 24\nmax_waiting = 128");
    let greedy: Vec<_> = (0..500)
        .map(|_| {
            let mut connection = Connection::open_narrow_from(client(1), daemon.port());
            connection.ask(ENDLESS);
            connection
        })
        .collect();
    wait_for(&daemon, 16, 16);
    let others: Vec<_> = (2..=101)
        .map(|number| {
            let port = daemon.port();
            thread::spawn(move || {
                let mut connection = Connection::open_from(client(number), port);
                let asked = Instant::now();
                connection.ask("/noise.bin");
                let head = connection.read_head();
                (head.status, asked.elapsed())
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for other in others {
        let (status, first_byte) = other.join().expect("no panic");
        assert_eq!(status, 200);
        slowest = slowest.max(first_byte);
    }
    println!("the slowest first byte of 100 others: {slowest:?}");
    assert!(slowest < FIRST_BYTE, "{slowest:?}");
    drop(greedy);
    wait_for(&daemon, 0, 0);
}

#[test]
fn whatever_ends_a_request_gives_its_shares_back() {
    let daemon = start("max_active_per_client = 3\nclient_stall = \"1s\"");
    let port = daemon.port();
    for round in 0..40_usize {
        let paths = [
            "/noise.bin?n=1000",
            "/noise.bin?n=1e6&fail_after=1000",
            "/noise.bin?n=1e6&panic_after=500000",
            "/noise.bin?n=wrong",
            ENDLESS,
        ];
        let ends: Vec<_> = paths.iter().map(|path| ask(&daemon, 1, path)).collect();
        for (nth, mut connection) in ends.into_iter().enumerate() {
            // Half of them hang up, also while they wait.
            if nth < 4 && (nth + round) % 2 == 0 {
                let mut head = connection.read_head();
                let _end = connection.read_body(&mut head);
            }
        }
        assert_eq!(http::head(port, "/noise.bin").status, 200);
    }
    wait_for(&daemon, 0, 0);
    let all = [(); 3].map(|()| begin(&daemon, 1, ENDLESS));
    wait_for(&daemon, 3, 0);
    drop(all);
    wait_for(&daemon, 0, 0);
}

#[test]
fn a_route_may_ask_for_more_speed_than_the_others() {
    let daemon = Daemon::start(
        "[server]\ndrain = 0\n[limits]\nclient_stall = \"1s\"\n[routes.noise]\nkind = \"noise\"\n\
         [routes.fast]\nkind = \"noise\"\nmin_rate = \"50MB\"\n",
    );
    let slow = |path: &str| {
        let mut connection = Connection::open_narrow_from(client(1), daemon.port());
        connection.ask(path);
        connection
    };
    let (mut fast, mut other) = (slow("/fast.bin?n=1e15"), slow(ENDLESS));
    for connection in [&mut fast, &mut other] {
        assert_eq!(connection.read_head().status, 200);
    }
    let asked = Instant::now();
    let dropped = loop {
        // Some kilobytes every 20 ms.
        let moved = [&mut fast, &mut other].map(|connection| connection.read_some(8192));
        if moved[0].is_err() {
            break moved;
        }
        assert!(asked.elapsed() < LIMIT, "it is not dropped");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(dropped[1].is_ok(), "the other route has no such limit");
    let record = http::transfers(daemon.port())["recent"][0].clone();
    assert_eq!(record["outcome"], "client_stalled", "{record}");
    let error = record["error"].as_str().unwrap_or_default();
    assert!(error.contains("below 50000000 B/s"), "{error}");
}
