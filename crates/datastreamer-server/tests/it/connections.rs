//! Several requests on one connection: one after the other, at once, and over HTTP/2.

use std::time::Duration;

use ::h2::Reason;

use crate::support::http::{self, Connection, End};
use crate::support::program::Daemon;
use crate::support::server::Server;
use crate::support::{h2, noise, wait};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn two_requests_at_once_are_answered_in_order() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    let request = |bytes: usize| {
        format!("GET /noise.bin?n={bytes}&piece=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    client.send(&(request(400_000) + &request(70_000)));
    for bytes in [400_000, 70_000] {
        let response = client.read_response();
        assert_eq!(response.end, End::Whole);
        assert!(response.body == noise::bytes(0, bytes));
    }
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn a_failure_before_a_pipelined_request_is_no_answer_to_it() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    client.send(
        "GET /noise.bin?n=1e6&fail_after=300000 HTTP/1.1\r\nHost: localhost\r\n\r\n\
         GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let response = client.read_response();
    assert_eq!((response.body.len(), response.end), (300_000, End::Reset));
}

/// Paced, so that the streams run at the same time.
fn paced(bytes: usize, more: &str) -> String {
    format!("/noise.bin?n={bytes}&piece=200000&delay=20ms{more}")
}

#[test]
fn twenty_http_2_streams_at_once_are_all_right() {
    const BYTES: usize = 2_000_000;
    let server = Server::start(["--demo"]);
    let framings = ["", "&length=known"];
    let paths: Vec<_> = (0..20).map(|n| paced(BYTES, framings[n % 2])).collect();
    let expected = noise::bytes(0, BYTES);
    for (body, reset) in h2::get_all(server.port(), &paths) {
        assert_eq!((body.len(), reset), (BYTES, None));
        assert!(body == expected);
    }
    wait::until("all are complete", LIMIT, || {
        let transfers = http::transfers(server.port());
        let recent = transfers["recent"].as_array().expect("a list");
        recent.len() == 20 && recent.iter().all(|one| one["outcome"] == "complete")
    });
}

#[test]
fn a_failed_http_2_stream_is_no_harm_to_the_others() {
    let server = Server::start(["--demo"]);
    let paths = [
        paced(2_000_000, ""),
        paced(2_000_000, "&fail_after=1000000"),
        paced(2_000_000, "&panic_after=1000000"),
        paced(2_000_000, ""),
    ];
    let got = h2::get_all(server.port(), &paths);
    for (index, (body, reset)) in got.iter().enumerate() {
        let (bytes, reason) = match index {
            1 | 2 => (1_000_000, Some(Reason::INTERNAL_ERROR)),
            _ => (2_000_000, None),
        };
        assert_eq!((body.len(), *reset), (bytes, reason), "stream {index}");
        assert!(*body == noise::bytes(0, bytes), "stream {index}");
    }
}

#[test]
fn a_request_of_http_1_1_has_one_host() {
    let daemon = Daemon::start("[routes.noise]\nkind = \"noise\"\n");
    for (headers, status) in [
        ("Host: localhost\r\n", 200),
        ("", 400),
        ("Host: a\r\nHost: b\r\n", 400),
    ] {
        for path in ["/", "/healthz", "/noise.bin?n=10"] {
            let mut connection = Connection::open(daemon.port());
            connection.send(&format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
            let response = connection.read_response();
            assert_eq!(response.status, status, "{path} {headers:?}");
        }
    }
    // Older clients need none (RFC 9112, 3.2).
    let mut connection = Connection::open(daemon.port());
    connection.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn a_client_that_half_closes_gets_its_file_where_that_is_allowed() {
    for (setting, is_served) in [("allow", true), ("hang-up", false)] {
        let daemon = Daemon::start(&format!(
            "[server]\nhalf_close = \"{setting}\"\n[routes.noise]\nkind = \"noise\"\n"
        ));
        let mut connection = Connection::open(daemon.port());
        connection.send("GET /noise.bin?n=5000000&delay=1ms HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.half_close();
        let response = connection.try_read_head();
        match is_served {
            false => assert!(response.is_err()),
            true => {
                let mut response = response.unwrap();
                connection.read_body(&mut response).unwrap();
                assert_eq!(response.body.len(), 5_000_000);
            }
        }
    }
}
