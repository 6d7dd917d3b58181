//! Receipts: what the server says of one transfer, to whoever knows its identity; and who may cancel.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::get::Folder;
use crate::support::http::{self, Connection, End, Response};
use crate::support::program::Daemon;
use crate::support::{noise, tools, wait};

const LIMIT: Duration = Duration::from_secs(20);
const NOISE: &str = "[routes.noise]\nkind = \"noise\"\n";
const KEPT: &str = "[spool]\nfolder = \"spool\"\n[routes.kept]\nkind = \"noise\"\nkeep = \"10m\"\n\
                    [routes.auto]\nkind = \"noise\"\nkeep = \"auto\"\n\
                    [routes.running]\nkind = \"noise\"\nkeep = \"while_running\"\n\
                    [routes.noise]\nkind = \"noise\"\n\
                    [routes.random]\nkind = \"command\"\nkeep = \"10m\"\n\
                    argv = [\"sh\", \"-c\", \"head -c 3000000 /dev/urandom\"]\n";
/// Until it is cancelled.
const ENDLESS: &str = "/noise.bin?n=1e15&piece=65536&delay=5ms";
/// Two seconds.
const PACED: &str = "n=2000000&piece=10000&delay=10ms";

/// Returns the path of the receipt that a response names.
#[track_caller]
fn receipt_of(response: &Response) -> String {
    let link = response.header("link").expect("a link");
    let (path, rest) = link.split_once('>').expect("a target");
    assert_eq!(rest, "; rel=\"status\"");
    let path = path.strip_prefix('<').expect("a target").to_owned();
    let id = path.strip_prefix("/transfers/").expect("a receipt");
    assert_eq!(id.len(), 32, "{id}");
    path
}

/// Waits for a state, and returns the receipt.
#[track_caller]
fn wait_for(port: u16, path: &str, state: &str) -> Value {
    wait::until(&format!("{path} is {state}"), LIMIT, || {
        http::get(port, path).json()["state"] == state
    });
    http::get(port, path).json()
}

/// Asks with a method from an address of this machine.
fn ask_from(client: Ipv4Addr, port: u16, line: &str, headers: &str) -> Response {
    let mut connection = Connection::open_from(client, port);
    connection.send(&format!("{line} HTTP/1.1\r\n{headers}\r\n\r\n"));
    match line.starts_with("HEAD") {
        true => connection.read_head(),
        false => connection.read_response(),
    }
}

fn delete(port: u16, path: &str, headers: &str) -> Response {
    let line = format!("DELETE {path}");
    let mut connection = Connection::open(port);
    connection.send(&format!("{line} HTTP/1.1\r\n{headers}\r\n\r\n"));
    let mut head = connection.read_head();
    if head.status != 204 {
        head.end = match connection.read_body(&mut head) {
            Ok(()) => End::Whole,
            Err(end) => end,
        };
    }
    head
}

fn base64_sha256(bytes: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, bytes))
}

#[test]
fn every_stream_has_a_receipt_that_tells_its_state_and_its_end() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask(&format!("/noise.bin?{PACED}"));
    let mut response = client.read_head();
    let path = receipt_of(&response);
    let running = http::get(port, &path);
    assert_eq!(running.header("cache-control"), Some("no-store"));
    assert_eq!(running.json()["state"], "running");
    assert_eq!(running.json()["outcome"], Value::Null);
    assert_eq!(client.read_body(&mut response), Ok(()));
    let receipt = wait_for(port, &path, "complete");
    assert_eq!(receipt["bytes"], 2_000_000);
    assert_eq!(receipt["outcome"], "complete");
    assert_eq!(receipt["route"], "noise.bin");
    assert_eq!(receipt["request"], format!("/noise.bin?{PACED}"));
    assert_eq!(
        (&receipt["capped"], &receipt["reason"]),
        (&false.into(), &Value::Null)
    );
    assert!(
        receipt["blocked_on_source_seconds"].as_f64() > Some(0.5),
        "{receipt}"
    );
    // Nobody has kept the bytes.
    assert_eq!(receipt["digests"], serde_json::json!({}));
    // The address is that of everybody on this machine, but nobody else's.
    assert_eq!(receipt["peer"], Value::Null);

    let head = ask_from(
        Ipv4Addr::LOCALHOST,
        port,
        &format!("HEAD {path}"),
        "Host: a",
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(http::head(port, "/noise.bin?n=5").header("link"), None);
    let other = http::get(port, "/noise.bin?n=5");
    assert_ne!(receipt_of(&other), path);
    http::get(port, "/transfers/0123456789abcdef0123456789abcdef").problem(404);
    http::get(port, &path.to_uppercase()).problem(404);
    let posted = http::send(port, "POST", &path, "text/plain", "");
    posted.problem(405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD, DELETE"));
}

#[test]
fn a_receipt_of_a_failure_tells_the_client_no_more_than_the_response() {
    let daemon = Daemon::start(
        "[routes.fails]\nkind = \"command\"\n\
         argv = [\"sh\", \"-c\", \"head -c 200000 /dev/zero; echo hush >&2; exit 3\"]\n",
    );
    let response = http::get(daemon.port(), "/fails.bin");
    assert_eq!((response.status, response.end), (200, End::Reset));
    let receipt = wait_for(daemon.port(), &receipt_of(&response), "failed");
    assert_eq!(receipt["outcome"], "source_error");
    let reason = receipt["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("exit code 3") && !reason.contains("hush"),
        "{reason}"
    );
}

#[test]
fn a_receipt_of_a_kept_file_has_the_digests_of_its_bytes() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    let whole = http::get(port, "/random.bin");
    let receipt = wait_for(port, &receipt_of(&whole), "complete");
    assert_eq!(receipt["digests"]["sha-256"], base64_sha256(&whole.body));
    let blake3 = receipt["digests"]["blake3"].as_str().expect("a digest");
    assert_eq!(blake3.len(), 64);
    assert_eq!(receipt["etag"].as_str(), whole.header("etag"));
    // That of a range has those of the file.
    let range = http::get_with(port, "/random.bin", "Range: bytes=100-199");
    assert_eq!(range.status, 206);
    let of_range = wait_for(port, &receipt_of(&range), "complete");
    assert_eq!(of_range["bytes"], 100);
    assert_eq!(of_range["digests"], receipt["digests"]);
    let failed = http::get(port, "/kept.bin?n=3000000&fail_after=2000000");
    let failed = wait_for(port, &receipt_of(&failed), "failed");
    assert_eq!(
        (&failed["digests"], &failed["etag"]),
        (&serde_json::json!({}), &Value::Null)
    );
}

#[test]
fn get_verifies_a_file_by_its_receipt() {
    let daemon = Daemon::start(KEPT);
    let folder = Folder::new();
    // It is committed before its end, so no head has its digest, and a body of known length no trailers.
    let url = format!(
        "http://127.0.0.1:{}/kept.bin?{PACED}&length=known",
        daemon.port()
    );
    let said = folder.get(&["--json", "-q", &url]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let report: Value = serde_json::from_slice(&said.stdout).expect("a report");
    assert_eq!(report["verified"], true, "{report}");
    folder.assert_only("kept.bin", &noise::bytes(0, 2_000_000));
}

#[test]
fn a_browser_gets_a_page_that_asks_again_while_the_transfer_runs() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask(ENDLESS);
    let path = receipt_of(&client.read_head());
    let page = || http::get_with(port, &path, "Accept: text/html,*/*;q=0.8");
    let running = page();
    assert_eq!(
        running.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(running.text().contains("http-equiv=\"refresh\""));
    assert!(!running.text().contains("<script"));
    drop(client);
    let receipt = wait_for(port, &path, "failed");
    assert_eq!(receipt["outcome"], "client_gone");
    let reason = "the client closed the connection before the file was complete";
    assert_eq!(receipt["reason"], reason);
    assert!(!page().text().contains("http-equiv") && page().text().contains("client_gone"));
}

#[test]
fn a_cancelled_transfer_is_an_abort_for_its_client_and_stops_the_source() {
    let daemon = Daemon::start(
        "[stream]\ncommit_bytes = 1\n[routes.slow]\nkind = \"command\"\nargv = [\"sh\", \"-c\", \
         \"echo $$ > leader; while :; do echo data; sleep 0.01; done\"]\n",
    );
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask("/slow.bin");
    let mut response = client.read_head();
    let path = receipt_of(&response);
    let leader = crate::support::program::pid_in(&daemon.folder().join("leader"));
    assert_eq!(delete(port, &path, "Host: localhost").status, 204);
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    wait::until("the program is stopped", LIMIT, || {
        !crate::support::program::is_running(leader)
    });
    let receipt = wait_for(port, &path, "cancelled");
    assert_eq!(receipt["outcome"], "cancelled");
    assert_eq!(receipt["reason"], "the transfer was cancelled");
    delete(port, &path, "Host: localhost").problem(409);
    delete(
        port,
        "/transfers/0123456789abcdef0123456789abcdef",
        "Host: localhost",
    )
    .problem(404);
}

/// Waits until a transfer runs; returns its identity in the list, which a program on this machine sees.
fn listed_identity(port: u16) -> String {
    let running = || http::transfers(port)["running"][0].clone();
    wait::until("it runs", LIMIT, || running()["bytes"].as_u64() > Some(0));
    running()["id"].as_str().expect("an identity").to_owned()
}

#[test]
fn a_cancelled_transfer_is_an_abort_for_curl_over_http_2() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let url = format!("http://127.0.0.1:{port}{ENDLESS}");
    let mut curl = tools::program("curl")
        .args(["-sS", "--http2-prior-knowledge", "-o", "/dev/null", &url])
        .spawn()
        .expect("curl runs");
    let id = listed_identity(port);
    assert_eq!(
        delete(port, &format!("/transfers/{id}"), "Host: localhost").status,
        204
    );
    let status = wait::for_exit(&mut curl, LIMIT).expect("curl ends");
    // CURLE_HTTP2_STREAM.
    assert_eq!(status.code(), Some(92));
}

#[test]
fn a_transfer_that_waits_for_a_place_says_so_and_can_be_cancelled() {
    let daemon = Daemon::start(&format!("[limits]\nmax_active = 1\n{NOISE}"));
    let port = daemon.port();
    let mut first = Connection::open(port);
    first.ask(ENDLESS);
    let running = receipt_of(&first.read_head());
    let mut second = Connection::open(port);
    second.ask("/noise.bin?n=7");
    let waiting = || {
        let list = http::transfers(port);
        let mut running = list["running"].as_array().expect("a list").clone();
        running.retain(|it| it["request"] == "/noise.bin?n=7");
        running.pop()
    };
    wait::until("it waits", LIMIT, || waiting().is_some());
    let id = waiting().expect("it waits")["id"]
        .as_str()
        .expect("an identity")
        .to_owned();
    let path = format!("/transfers/{id}");
    assert_eq!(wait_for(port, &path, "waiting")["bytes"], 0);
    assert_eq!(delete(port, &path, "Host: localhost").status, 204);
    second.read_response().problem(500);
    wait_for(port, &path, "cancelled");
    assert_eq!(http::get(port, &running).json()["state"], "running");
}

#[test]
fn the_receipt_of_another_client_can_be_read_and_not_cancelled() {
    let daemon = Daemon::start(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n{NOISE}"
    ));
    let port = daemon.port();
    let of = |client: &str| format!("Host: localhost\r\nX-Forwarded-For: {client}");
    let [first, second] = ["192.0.2.1", "192.0.2.2"];
    let mut client = Connection::open(port);
    client.send(&format!("GET {ENDLESS} HTTP/1.1\r\n{}\r\n\r\n", of(first)));
    let mut response = client.read_head();
    let path = receipt_of(&response);
    let local = Ipv4Addr::LOCALHOST;
    let read = ask_from(local, port, &format!("GET {path}"), &of(second));
    assert_eq!(read.json()["state"], "running");
    delete(port, &path, &of(second)).problem(403);
    // The identity of the list is for those who see the list.
    let program = Ipv4Addr::new(127, 0, 0, 2);
    let list = ask_from(program, port, "GET /transfers", "Host: localhost").json();
    let id = list["running"][0]["id"]
        .as_str()
        .expect("an identity")
        .to_owned();
    ask_from(local, port, &format!("GET /transfers/{id}"), &of(second)).problem(404);
    delete(port, &format!("/transfers/{id}"), &of(second)).problem(404);
    let own = ask_from(local, port, &format!("GET /transfers/{id}"), &of(first));
    assert_eq!(own.json()["state"], "running");
    // One of which only the address of a proxy is known is nobody's.
    let rebound = "Host: files.example.org";
    ask_from(program, port, &format!("DELETE {path}"), rebound).problem(403);
    for site in ["cross-site", "same-site"] {
        let headers = format!("{}\r\nSec-Fetch-Site: {site}", of(first));
        delete(port, &path, &headers).problem(403);
    }
    assert_eq!(http::get(port, &path).json()["state"], "running");
    let headers = format!("{}\r\nSec-Fetch-Site: same-origin", of(first));
    assert_eq!(delete(port, &path, &headers).status, 204);
    assert_eq!(client.discard_body(&mut response), Err(End::Reset));
    delete(port, &path, &of(second)).problem(403);
}

#[test]
fn another_site_gets_no_permission_to_cancel() {
    let daemon = Daemon::start(NOISE);
    let response = http::get(daemon.port(), "/noise.bin?n=5");
    let path = receipt_of(&response);
    let asked =
        "Host: localhost\r\nOrigin: http://example.org\r\nAccess-Control-Request-Method: DELETE";
    let preflight = ask_from(
        Ipv4Addr::LOCALHOST,
        daemon.port(),
        &format!("OPTIONS {path}"),
        asked,
    );
    assert_eq!(preflight.status, 405);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(preflight.header("access-control-allow-methods"), None);
}

#[test]
fn cancelling_one_reader_of_a_shared_run_leaves_the_others_complete() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    let path = format!("/running.bin?{PACED}");
    let [mut first, mut second] = [(); 2].map(|()| Connection::open(port));
    first.ask(&path);
    let mut cancelled = first.read_head();
    second.ask(&path);
    let mut complete = second.read_head();
    assert_eq!(complete.header("etag"), cancelled.header("etag"));
    assert_eq!(
        delete(port, &receipt_of(&cancelled), "Host: localhost").status,
        204
    );
    assert_eq!(first.read_body(&mut cancelled), Err(End::Reset));
    assert_eq!(second.read_body(&mut complete), Ok(()));
    assert!(complete.body == noise::bytes(0, 2_000_000));
    let receipt = wait_for(port, &receipt_of(&complete), "complete");
    assert_eq!(receipt["digests"]["sha-256"], base64_sha256(&complete.body));
}

#[test]
fn the_last_thousand_receipts_are_kept() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    let mut paths = Vec::new();
    for _ in 0..1001 {
        let path = receipt_of(&client.get("/noise.bin?n=1"));
        wait_for(port, &path, "complete");
        paths.push(path);
    }
    http::get(port, &paths[0]).problem(404);
    for path in [&paths[1], &paths[1000]] {
        assert_eq!(http::get(port, path).json()["state"], "complete");
    }
}

#[test]
fn a_receipt_is_gone_after_its_time() {
    let daemon = Daemon::start(&format!("[server]\nreceipts = \"1s\"\n{NOISE}"));
    let port = daemon.port();
    let path = receipt_of(&http::get(port, "/noise.bin?n=5"));
    let begun = Instant::now();
    wait_for(port, &path, "complete");
    wait::until("it is gone", LIMIT, || http::get(port, &path).status == 404);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    delete(port, &path, "Host: localhost").problem(404);
    // The list is not that of receipts.
    assert_eq!(http::transfers(port)["recent"][0]["bytes"], 5);
}

#[test]
fn without_receipts_no_response_names_one() {
    let daemon = Daemon::start(&format!("[server]\nreceipts = 0\n{KEPT}"));
    let port = daemon.port();
    let response = http::get(port, "/noise.bin?n=5");
    assert_eq!((response.header("link"), response.body.len()), (None, 5));
    // So a file that is made for later could not be followed.
    let response = http::get_with(port, "/kept.bin?n=5", "Prefer: respond-async");
    assert_eq!((response.status, response.body.len()), (200, 5));
}

/// The events of a text, each with its name and its data.
fn events(text: &str) -> Vec<(String, Value)> {
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    events
        .map(|event| {
            let field = |name: &str| {
                let mut lines = event.lines();
                lines
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let name = field("event:").unwrap_or("message").to_owned();
            let data = serde_json::from_str(field("data:").expect("data")).expect("JSON");
            (name, data)
        })
        .collect()
}

#[test]
fn events_tell_the_progress_and_end_with_the_transfer() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    // It ends soon after a tick.
    client.ask("/noise.bin?n=2200000&piece=10000&delay=10ms");
    let mut response = client.read_head();
    let path = format!("{}/events", receipt_of(&response));
    let listening = thread::spawn({
        let path = path.clone();
        move || http::get(port, &path)
    });
    assert_eq!(client.read_body(&mut response), Ok(()));
    let told = Instant::now();
    let listened = listening.join().expect("events");
    assert!(
        told.elapsed() < Duration::from_millis(500),
        "the end waits for no tick"
    );
    assert_eq!(listened.end, End::Whole);
    assert_eq!(listened.header("content-type"), Some("text/event-stream"));
    assert_eq!(listened.header("cache-control"), Some("no-store"));
    let events = events(listened.text());
    assert!((3..6).contains(&events.len()), "{events:?}");
    let (end, before) = events.split_last().expect("an event");
    assert!(
        before
            .iter()
            .all(|(name, it)| name == "message" && it["state"] == "running")
    );
    let bytes: Vec<_> = before.iter().map(|(_, it)| it["bytes"].as_u64()).collect();
    assert!(bytes.is_sorted_by(|a, b| a < b), "{bytes:?}");
    assert_eq!(end.0, "end");
    assert_eq!(end.1, http::get(port, &path.replace("/events", "")).json());
    // One that comes late hears the end, and a browser that comes again nothing.
    let late = http::get(port, &path);
    assert_eq!(self::events(late.text()).len(), 1);
    let again = ask_from(
        Ipv4Addr::LOCALHOST,
        port,
        &format!("HEAD {path}"),
        "Host: a\r\nLast-Event-ID: end",
    );
    assert_eq!(again.status, 204);
    http::get(port, "/transfers/0123456789abcdef0123456789abcdef/events").problem(404);
}

#[test]
fn a_python_client_reads_the_events() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask(&format!("/noise.bin?{PACED}"));
    let mut response = client.read_head();
    let url = format!("http://127.0.0.1:{port}{}/events", receipt_of(&response));
    let script = "import json, sys, requests\n\
                  name = None\n\
                  for line in requests.get(sys.argv[1], stream=True, timeout=20).iter_lines():\n\
                  \x20   name = line[7:] if line.startswith(b'event: ') else name\n\
                  \x20   if line.startswith(b'data: '): last = json.loads(line[6:])\n\
                  print(name.decode(), last['state'], last['bytes'])\n";
    let python = tools::python()
        .args(["-c", script, &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python runs");
    assert_eq!(client.read_body(&mut response), Ok(()));
    let said = python.wait_with_output().expect("python ends");
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "end complete 2000000\n"
    );
}

#[test]
fn listeners_are_bounded_and_one_that_leaves_gives_its_place_back() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask(ENDLESS);
    let path = format!("{}/events", receipt_of(&client.read_head()));
    let listen = |connection: &mut Connection| {
        connection.ask(&path);
        connection.read_head().status
    };
    let mut listeners: Vec<_> = (0..8).map(|_| Connection::open(port)).collect();
    for listener in &mut listeners {
        assert_eq!(listen(listener), 200);
    }
    let refused = http::get(port, &path);
    refused.problem(429);
    assert!(refused.header("retry-after").is_some());
    let mut other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), port);
    assert_eq!(listen(&mut other), 200);
    drop(listeners);
    wait::until("there is a place", LIMIT, || {
        listen(&mut Connection::open(port)) == 200
    });
}

#[test]
fn all_listeners_together_are_bounded() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask(ENDLESS);
    let path = format!("{}/events", receipt_of(&client.read_head()));
    let mut listeners = Vec::new();
    for number in 0..256u32 {
        let [.., last] = (number / 8).to_be_bytes();
        let mut listener = Connection::open_from(Ipv4Addr::new(127, 0, 7, last + 1), port);
        listener.ask(&path);
        assert_eq!(listener.read_head().status, 200, "{number}");
        listeners.push(listener);
    }
    http::get(port, &path).problem(503);
}

#[test]
fn a_listener_on_http_2_is_not_idle() {
    let daemon = Daemon::start(&format!("[limits]\nidle_timeout = \"500ms\"\n{NOISE}"));
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask("/noise.bin?n=1000&piece=500&delay=10s");
    let path = receipt_of(&client.read_head());
    let curl = tools::program("curl")
        .args(["-sN", "--http2-prior-knowledge", "--max-time", "2"])
        .arg(format!("http://127.0.0.1:{port}{path}/events"))
        .stdout(std::process::Stdio::piped())
        .output();
    let said = curl.expect("curl runs");
    // CURLE_OPERATION_TIMEDOUT: it was curl that gave up.
    assert_eq!(said.status.code(), Some(28));
    let text = String::from_utf8(said.stdout).expect("text");
    // Nothing changed but the times.
    assert_eq!(events(&text).len(), 1, "{text}");
}

#[test]
fn a_listener_to_whom_nothing_is_told_gets_comments() {
    let daemon = Daemon::start(NOISE);
    let port = daemon.port();
    let mut client = Connection::open(port);
    client.ask("/noise.bin?n=1000&piece=500&delay=17s");
    let path = receipt_of(&client.read_head());
    let listened = http::get(port, &format!("{path}/events"));
    let comments = listened.text().lines().filter(|line| line.starts_with(':'));
    assert_eq!(comments.count(), 1, "{}", listened.text());
}

#[test]
fn listeners_do_not_hold_up_the_end_of_the_server() {
    let mut daemon = Daemon::start(&format!("[server]\ndrain = 0\n{NOISE}"));
    let port = daemon.port();
    // It leaves as soon as it sees the abort.
    let url = format!("http://127.0.0.1:{port}{ENDLESS}");
    let mut curl = tools::program("curl")
        .args(["-sf", "-o", "/dev/null", &url])
        .spawn()
        .expect("curl runs");
    let id = listed_identity(port);
    let mut listener = Connection::open(port);
    listener.ask(&format!("/transfers/{id}/events"));
    let mut events = listener.read_head();
    daemon.signal("TERM");
    let begun = Instant::now();
    assert_eq!(listener.read_body(&mut events), Ok(()));
    assert_eq!(daemon.wait(LIMIT).code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_millis(1800),
        "{:?}",
        begun.elapsed()
    );
    assert!(events.text().contains("event: end"), "{}", events.text());
    let status = wait::for_exit(&mut curl, LIMIT).expect("curl ends");
    assert!(!status.success());
}

#[test]
fn a_file_that_is_preferred_later_is_made_without_its_client_and_then_read() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    for name in ["kept", "auto", "running"] {
        let path = format!("/{name}.bin?{PACED}");
        let accepted = http::get_with(port, &path, "Prefer: respond-async, wait=5");
        assert_eq!(accepted.status, 202, "{name}");
        assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
        assert_eq!(accepted.header("location"), Some(path.as_str()));
        let status = receipt_of(&accepted);
        let running = wait_for(port, &status, "running");
        assert_eq!(running["file"], path);
        let receipt = wait_for(port, &status, "complete");
        assert_eq!(
            (&receipt["bytes"], &receipt["bytes_expected"]),
            (&2_000_000.into(), &2_000_000.into())
        );
        let begun = Instant::now();
        let file = http::get(port, &path);
        // It was there: nothing ran for two seconds.
        assert!(begun.elapsed() < Duration::from_secs(1), "{name}");
        assert!(file.body == noise::bytes(0, 2_000_000));
        assert_eq!(file.header("etag"), receipt["etag"].as_str());
        assert_eq!(receipt["digests"]["sha-256"], base64_sha256(&file.body));
    }
    // A long URL would be kept for as long as the receipt.
    let long = format!("/kept.bin?n={}5", "0".repeat(1100));
    assert_eq!(
        http::get_with(port, &long, "Prefer: respond-async").status,
        200
    );
    // A route that keeps nothing has no later.
    let plain = http::get_with(port, "/noise.bin?n=5", "Prefer: respond-async");
    assert_eq!(
        (plain.status, plain.header("preference-applied")),
        (200, None)
    );
    // The list is that of readers.
    wait_for(port, &receipt_of(&plain), "complete");
    let list = http::transfers(port);
    assert_eq!(list["recent"].as_array().map(Vec::len), Some(5), "{list}");
}

#[test]
fn a_file_for_later_ends_its_events_and_tells_its_failure() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    let path = "/kept.bin?n=2000000&piece=10000&delay=5ms&fail_after=1500000";
    let accepted = http::get_with(port, path, "Prefer: respond-async");
    assert_eq!(accepted.status, 202);
    let status = receipt_of(&accepted);
    let listened = http::get(port, &format!("{status}/events"));
    let events = events(listened.text());
    assert!(events.len() > 1);
    let (name, last) = events.last().expect("an event");
    assert_eq!((name.as_str(), &last["state"]), ("end", &"failed".into()));
    assert_eq!(last["outcome"], "source_error");
    assert_eq!(*last, http::get(port, &status).json());
}

#[test]
fn cancelling_a_file_for_later_stops_its_source_unless_others_read_it() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    let prefer = |path: &str| {
        let accepted = http::get_with(port, path, "Prefer: respond-async");
        assert_eq!(accepted.status, 202);
        receipt_of(&accepted)
    };
    let alone = prefer("/kept.bin?n=1e9&piece=10000&delay=10ms");
    assert_eq!(delete(port, &alone, "Host: localhost").status, 204);
    wait_for(port, &alone, "cancelled");
    wait::until("the source is stopped", LIMIT, || {
        daemon.log().contains("outcome=\"cancelled\"")
    });
    let path = format!("/kept.bin?{PACED}");
    let shared = prefer(&path);
    let mut reader = Connection::open(port);
    reader.ask(&path);
    let mut response = reader.read_head();
    assert_eq!(delete(port, &shared, "Host: localhost").status, 204);
    wait_for(port, &shared, "cancelled");
    delete(port, &shared, "Host: localhost").problem(409);
    assert_eq!(reader.read_body(&mut response), Ok(()));
    assert!(response.body == noise::bytes(0, 2_000_000));
}

#[test]
fn a_client_that_wants_too_many_files_for_later_gets_the_next_one_now() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    let ask = |number: usize| {
        let path = format!("/kept.bin?n={}", number + 1);
        http::get_with(port, &path, "Prefer: respond-async")
    };
    for number in 0..64 {
        let accepted = ask(number);
        assert_eq!(accepted.status, 202, "{number}");
        wait_for(port, &receipt_of(&accepted), "complete");
    }
    let now = ask(64);
    assert_eq!((now.status, now.body.len()), (200, 65));
    assert_eq!(now.header("preference-applied"), None);
}

#[test]
fn a_production_is_in_the_log_from_its_beginning_to_its_end() {
    let daemon = Daemon::start(KEPT);
    let port = daemon.port();
    assert_eq!(http::get(port, "/kept.bin?n=100000").body.len(), 100_000);
    http::get(port, "/kept.bin?n=3000000&fail_after=2000000");
    let line = |words: &[&str]| {
        let log = daemon.log();
        let mut lines = log.lines();
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        lines.any(has_all)
    };
    let id_of = |words: &[&str]| {
        let log = daemon.log();
        let line = log
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)));
        let line = line.expect("a line").to_owned();
        let (_, rest) = line.split_once("id=").expect("an identity");
        rest[..16].to_owned()
    };
    let complete = [
        " production ",
        "outcome=\"complete\"",
        "bytes=100000",
        "seconds=",
    ];
    let failed = [
        "ERROR",
        " production ",
        "outcome=\"source_error\"",
        "kept.bin",
    ];
    wait::until("both ends are there", LIMIT, || {
        line(&complete) && line(&failed)
    });
    for end in [&complete, &failed] {
        let id = id_of(end);
        assert!(
            line(&["production begins", &id, "route=\"kept.bin\""]),
            "{}",
            daemon.log()
        );
    }
}

#[test]
fn the_log_does_not_tell_the_identity_of_a_receipt() {
    let daemon = Daemon::start(NOISE);
    let path = receipt_of(&http::get(daemon.port(), "/noise.bin?n=5"));
    wait_for(daemon.port(), &path, "complete");
    let id = path.strip_prefix("/transfers/").expect("an identity");
    assert!(!daemon.log().contains(id));
}
