//! Pages of other origins: what their scripts may read, and what browsers are told before they ask.

use std::fs;
use std::time::Duration;

use crate::support::chromium::{Chromium, Way};
use crate::support::clients::Report;
use crate::support::http::{self, Connection, End, Response};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);
const ORIGIN: &str = "Origin: https://example.org";

/// A server of a file and of test bytes.
struct Server {
    daemon: Daemon,
    _scratch: Scratch,
}

impl Server {
    fn port(&self) -> u16 {
        self.daemon.port()
    }
}

fn start(cors: &str) -> Server {
    let scratch = Scratch::new("cors");
    let path = scratch.join("data.txt");
    fs::write(&path, "what everybody may read").expect("files can be written");
    let daemon = Daemon::start(&format!(
        "[server]\n{cors}\n[routes.data]\nkind = \"file\"\npath = {path:?}\n\
         [routes.noise]\nkind = \"noise\"\n"
    ));
    Server {
        daemon,
        _scratch: scratch,
    }
}

fn preflight(server: &Server, path: &str, headers: &str) -> Response {
    let mut client = Connection::open(server.port());
    client.send(&format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    ));
    let mut response = client.read_head();
    // A 204 has no body, and no length of one.
    if response.status != 204 {
        let read = client.read_body(&mut response);
        read.expect("the response is complete");
        response.end = End::Whole;
    }
    response
}

const ASK: &str = "Origin: https://example.org\r\nAccess-Control-Request-Method: GET\r\n\
                   Access-Control-Request-Headers: if-range,range\r\n";

#[test]
fn without_the_setting_nothing_is_said_and_options_are_refused() {
    let server = start("");
    for path in ["/data.txt", "/noise.bin?n=10", "/", "/healthz"] {
        let response = http::get_with(server.port(), path, ORIGIN);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), None);
        let refused = preflight(&server, path, ASK);
        assert_eq!(refused.status, 405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn a_page_of_any_origin_may_read_and_is_told_so_beforehand() {
    let server = start("cors = \"*\"");
    for path in ["/data.txt", "/noise.bin?n=10", "/no-such", "/healthz", "/"] {
        let response = http::get_with(server.port(), path, ORIGIN);
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        let exposed = response.header("access-control-expose-headers");
        let exposed = exposed.expect("some are").to_lowercase();
        for name in [
            "accept-ranges",
            "content-disposition",
            "content-range",
            "datastreamer-row-limit",
            "etag",
            "link",
            "preference-applied",
            "repr-digest",
            "retry-after",
        ] {
            assert!(exposed.split(',').any(|one| one.trim() == name), "{name}");
        }
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
    let allowed = preflight(&server, "/data.txt", ASK);
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("content-length"), None);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    let methods = allowed.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET,HEAD,POST"));
    let headers = allowed.header("access-control-allow-headers");
    let headers = headers.expect("some are").to_lowercase();
    for name in [
        "range",
        "if-range",
        "if-none-match",
        "content-type",
        "prefer",
        "want-repr-digest",
    ] {
        assert!(headers.split(',').any(|one| one == name), "{headers}");
    }
    assert_eq!(allowed.header("access-control-max-age"), Some("86400"));
    let of_network = "access-control-allow-private-network";
    assert_eq!(allowed.header(of_network), None);
    let ask = format!("{ASK}Access-Control-Request-Private-Network: true\r\n");
    let allowed = preflight(&server, "/data.txt", &ask);
    assert_eq!(allowed.header(of_network), Some("true"));
}

#[test]
fn an_options_request_that_is_no_preflight_is_refused_as_ever() {
    let server = start("cors = \"*\"");
    for headers in ["", "Origin: https://example.org\r\n"] {
        let refused = preflight(&server, "/data.txt", headers);
        refused.problem(405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn the_transfers_of_this_machine_are_for_no_other_origin() {
    let server = start("cors = \"*\"");
    let response = http::get_with(server.port(), "/transfers", ORIGIN);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), None);
    assert_eq!(preflight(&server, "/transfers", ASK).status, 405);
}

#[test]
fn of_a_list_each_origin_is_answered_with_itself_and_others_with_nothing() {
    let server = start("cors = [\"https://example.org\", \"http://localhost:8000\"]");
    let private = "Access-Control-Request-Private-Network: true\r\n";
    for origin in ["https://example.org", "http://localhost:8000"] {
        let header = format!("Origin: {origin}");
        let response = http::get_with(server.port(), "/data.txt", &header);
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, Some(origin));
        let vary = response.header("vary").unwrap_or_default();
        assert!(vary.contains("origin"), "{vary}");
        let ask = ASK.replace("https://example.org", origin) + private;
        let response = preflight(&server, "/data.txt", &ask);
        assert_eq!(response.status, 204);
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, Some(origin));
        let network = response.header("access-control-allow-private-network");
        assert_eq!(network, Some("true"));
    }
    for origin in ["https://example.com", "null", "https://example.org.evil"] {
        let header = format!("Origin: {origin}");
        let response = http::get_with(server.port(), "/data.txt", &header);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), None);
        let ask = ASK.replace("https://example.org", origin) + private;
        let response = preflight(&server, "/data.txt", &ask);
        assert_eq!(response.header("access-control-allow-origin"), None);
        let network = response.header("access-control-allow-private-network");
        assert_eq!(network, None);
    }
    // A cache must not give the answer for one origin to another.
    let response = http::get(server.port(), "/data.txt");
    let vary = response.header("vary").unwrap_or_default();
    assert!(vary.contains("origin"), "{vary}");
}

#[test]
fn a_late_failure_is_still_a_reset() {
    let server = start("cors = \"*\"");
    let path = "/noise.bin?n=5000000&fail_after=3000000";
    let response = http::get_with(server.port(), path, ORIGIN);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.status, 200);
    assert_eq!(response.end, End::Reset);
    // An early one can be read by the page.
    let path = "/noise.bin?n=5000000&fail_after=0";
    let response = http::get_with(server.port(), path, ORIGIN);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    response.problem(500);
}

#[test]
fn the_script_of_a_page_of_another_origin_reads_the_file_in_chromium() {
    let scratch = Scratch::new("chromium-cors");
    // Its page is of another origin, because its port is another one.
    let elsewhere = start("");
    let page = format!("http://127.0.0.1:{}/healthz", elsewhere.port());
    let read = |server: &Server| {
        // The ETag shows that the file has rested.
        wait::until("there is an ETag", LIMIT, || {
            let response = http::get(server.port(), "/data.txt");
            response.header("etag").is_some()
        });
        let url = format!("http://127.0.0.1:{}/data.txt", server.port());
        let file = scratch.join("got");
        let report = Chromium::running().get(Way::FetchFrom(&page), &url, &file);
        (report, fs::read_to_string(&file).unwrap_or_default())
    };
    let (report, text) = read(&start("cors = \"*\""));
    assert!(matches!(report, Report::Success), "{report:?}");
    assert_eq!(text, "what everybody may read");
    let origin = page.trim_end_matches("/healthz");
    let (report, _) = read(&start(&format!("cors = [{origin:?}]")));
    assert!(matches!(report, Report::Success), "{report:?}");
    for off in ["", "cors = [\"http://127.0.0.1:1\"]"] {
        match read(&start(off)) {
            (Report::Failure(text), _) => assert!(text.contains("Failed to fetch"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
