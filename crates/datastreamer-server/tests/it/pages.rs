//! What is no file: the index, the health, the list of transfers, and the refusals.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::chromium::{Chromium, Way};
use crate::support::clients::Report;
use crate::support::h2;
use crate::support::http::{self, Connection, End};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_index_lists_the_routes_with_lines_to_copy() {
    let scratch = Scratch::new("index");
    fs::create_dir(scratch.join("photos")).expect("directories can be made");
    let server = Server::start(["--demo".into(), scratch.join("photos")]);
    let page = http::get(server.port(), "/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let text = page.text();
    for part in [
        "<!doctype html>",
        "href=\"/noise.bin?n=1e6\"",
        "href=\"/photos.tar\"",
        "curl -fOJ 'http://localhost/photos.tar'",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_balanced(text);
}

#[test]
fn nothing_of_the_index_is_blocked_by_its_policy_in_chromium() {
    let server = Server::start(["--demo"]);
    let page = http::get(server.port(), "/");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let report = Chromium::running().get(Way::View, &server.url("/"), "".as_ref());
    assert!(matches!(report, Report::Success), "{report:?}");
}

#[test]
fn the_index_tells_how_large_a_file_was_the_last_time() {
    let scratch = Scratch::new("sizes");
    let photos = scratch.join("photos");
    fs::create_dir(&photos).expect("directories can be made");
    let server = Server::start(["--demo".into(), photos]);
    assert!(
        !http::get(server.port(), "/")
            .text()
            .contains("the last time")
    );
    // A directory's head and the end of an archive: 3 blocks of 512 bytes.
    assert_eq!(http::get(server.port(), "/photos.tar").body.len(), 1536);
    http::get(server.port(), "/noise.bin?n=5000");
    wait::until("both are over", LIMIT, || {
        let transfers = http::transfers(server.port());
        transfers["recent"].as_array().map(Vec::len) == Some(2)
    });
    let page = http::get(server.port(), "/");
    assert!(
        page.text().contains("1.50 KiB the last time"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("as many bytes as n asks for"));
}

/// Names that mean something to HTML, to URLs and to shells.
const NAMES: [&str; 7] = [
    "<b>&amp;",
    "it's",
    "\"quoted\"",
    "two words",
    "a&b",
    "für",
    "$(id)",
];

#[test]
fn every_name_is_escaped_and_its_link_works() {
    let routes: String = NAMES
        .iter()
        .map(|name| {
            format!(
                "[routes.{name:?}]\nkind = \"noise\"\ndescription = {:?}\n",
                format!("<i>{name}"),
            )
        })
        .collect();
    let daemon = Daemon::start(&routes);
    let page = http::get(daemon.port(), "/");
    let text = page.text();
    assert_balanced(text);
    for bad in ["<b>", "<i>", "'$(id)", "\"quoted"] {
        assert!(!text.contains(bad), "{bad} in {text}");
    }
    // A quote in a tag might end an attribute.
    for tag in text.split('<').map(|rest| rest.split('>').next()) {
        assert!(
            !tag.is_some_and(|tag| tag.contains('\'')),
            "{tag:?} in {text}"
        );
    }
    let links: Vec<&str> = text
        .split("<li><a href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().expect("an end"))
        .collect();
    assert_eq!(links.len(), NAMES.len());
    for link in links {
        let response = http::get(daemon.port(), link);
        assert_eq!(response.status, 200, "{link}");
        assert_eq!(response.body.len(), 1_000_000, "{link}");
    }
    // Each line can be given to a shell.
    for line in text.split("<code>").skip(1) {
        let line = line.split("</code>").next().expect("an end");
        let line = line.replace("&#39;", "'").replace("&amp;", "&");
        assert_eq!(line.matches('\'').count(), 2, "{line}");
    }
}

#[test]
fn the_host_of_the_request_is_escaped() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    client.send("GET / HTTP/1.1\r\nHost: <script>alert(1)</script>\r\n\r\n");
    let page = client.read_response();
    assert!(!page.text().contains("<script"), "{}", page.text());
}

/// Panics unless each element that is opened is closed again, in order.
pub(crate) fn assert_balanced(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None if name.starts_with('!') || matches!(name, "meta" | "link") => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are left open");
}

#[test]
fn health_is_told() {
    let server = Server::start(["--demo"]);
    let health = http::get(server.port(), "/healthz").json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].as_f64().expect("a number") < 100.0);
}

#[test]
fn a_browser_at_a_wrong_address_gets_a_page_that_leads_to_the_files() {
    let server = Server::start(["--demo"]);
    for (path, way) in [("/no-such.bin", "./"), ("/a/%3Cb%3E/c.csv?x=1", "../../")] {
        let detail = http::get(server.port(), path).problem(404);
        let page = http::get_with(server.port(), path, http::BROWSER);
        assert_eq!((page.status, page.end), (404, End::Whole), "{path}");
        assert_eq!(page.header("content-type"), Some("text/html;charset=utf-8"));
        assert_eq!(page.header("vary"), Some("accept"));
        let detail = detail.replace('<', "&lt;").replace('>', "&gt;");
        for part in [
            &format!("<p role=\"alert\">{detail}</p>")[..],
            &format!("<a href=\"{way}\">all files</a>"),
        ] {
            assert!(
                page.text().contains(part),
                "{path}: no {part} in {}",
                page.text()
            );
        }
    }
}

#[test]
fn refusals_are_problems() {
    let server = Server::start(["--demo"]);
    let get = |path: &str| http::get(server.port(), path);
    let detail = get("/no-such.bin").problem(404);
    assert!(detail.contains("/noise.bin"), "{detail}");
    get("/noise.bin/").problem(404);
    get("/no%00such").problem(404);
    let detail = get("/noise%ff.bin").problem(404);
    assert!(detail.contains("no /noise%FF.bin"), "{detail}");
    for (path, wanted) in [
        ("/no%zzse.bin", "the path: `%zz`"),
        ("/noise.bin%", "the path: `%`"),
        ("/noise.bin%2", "the path: `%2`"),
        ("/noise.bin?n=1%", "parameter `n`: `%`"),
        ("/noise.bin?n=1&p%4=%41", "parameter `p%4`: `%4=`"),
        ("/noise.bin?n=%%31&piece=1", "parameter `n`: `%%3`"),
    ] {
        let wanted = format!("{wanted} is no percent-escape: write %25 for a percent sign");
        assert_eq!(get(path).problem(400), wanted, "{path}");
    }
    for (query, word) in [
        ("?m=1", "`m`"),
        ("?n=many", "many"),
        ("?n=1&n=1", "twice"),
        ("?piece=0", "`piece`"),
        ("?n=99999999999999999999", "`n`"),
        ("?delay=-1s", "`delay`"),
        ("?length=perhaps", "`length`"),
        ("?=", "``"),
    ] {
        let detail = get(&format!("/noise.bin{query}")).problem(400);
        assert!(detail.contains(word), "{query}: {detail}");
    }
}

#[test]
fn other_methods_are_refused_everywhere() {
    let server = Server::start(["--demo"]);
    for path in ["/noise.bin", "/", "/healthz", "/transfers", "/no-such.bin"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let mut client = Connection::open(server.port());
            client.send(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            ));
            let response = client.read_response();
            response.problem(405);
            assert_eq!(
                response.header("allow"),
                Some("GET, HEAD"),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn head_is_answered_everywhere_without_a_body() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    for (path, status) in [
        ("/", 200),
        ("/healthz", 200),
        ("/transfers", 200),
        ("/noise.bin?n=1e15&length=known", 200),
    ] {
        client.send(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(client.read_head().status, status, "{path}");
    }
    assert_eq!(client.get("/healthz").end, End::Whole);
    let transfers = http::transfers(server.port());
    assert_eq!(transfers["recent"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_head_that_is_no_head_is_refused() {
    let server = Server::start(["--demo"]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-A: b\r\n".repeat(20_000)
    );
    for text in [
        "nonsense\r\n\r\n",
        "GET /\r\n\r\n",
        "\0\0\0\r\n\r\n",
        &long,
        &many,
    ] {
        let mut client = Connection::open(server.port());
        client.send_if_wanted(text);
        if let Ok(response) = client.try_read_head() {
            assert!((400..=505).contains(&response.status));
        }
    }
    assert_eq!(http::get(server.port(), "/healthz").status, 200);
}

/// Waits for the only running transfer to look so, and returns it.
fn running(port: u16, what: &str, looks_so: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    wait::until(what, LIMIT, || {
        found = http::transfers(port)["running"][0].clone();
        looks_so(&found)
    });
    found
}

#[test]
fn a_transfer_that_waits_for_its_source_says_so() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    client.ask("/noise.bin?n=1e6&piece=1000&delay=500ms");
    let seen = running(server.port(), "it waits for the source", |transfer| {
        transfer["blocked_on"] == "source" && transfer["bytes"] != 0
    });
    assert_eq!(seen["route"], "noise.bin");
    assert_eq!(seen["request"], "/noise.bin?n=1e6&piece=1000&delay=500ms");
    assert_eq!(seen["outcome"], Value::Null);
    assert!(
        seen["peer"]
            .as_str()
            .expect("a peer")
            .starts_with("127.0.0.1:")
    );
    let transfers = http::transfers(server.port());
    assert_eq!(
        (&transfers["active"], &transfers["waiting"]),
        (&1.into(), &0.into())
    );
    // What the client does not wait for it does not get.
    drop(client);
    let seen = recent(server.port());
    assert_eq!(seen["outcome"], "client_gone");
    let waited = seen["blocked_on_source_seconds"].as_f64().expect("seconds");
    let other = seen["blocked_on_consumer_seconds"]
        .as_f64()
        .expect("seconds");
    assert!(waited > other, "{seen}");
}

#[test]
fn a_transfer_that_waits_for_its_client_says_so() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open_narrow(server.port());
    client.ask("/noise.bin?n=1e9&piece=1000000");
    running(server.port(), "it waits for the client", |transfer| {
        transfer["blocked_on"] == "consumer"
    });
    std::thread::sleep(Duration::from_millis(300));
    drop(client);
    let seen = recent(server.port());
    assert_eq!(seen["outcome"], "client_gone");
    let waited = seen["blocked_on_consumer_seconds"]
        .as_f64()
        .expect("seconds");
    assert!(waited >= 0.25, "{seen}");
}

/// Waits for the latest transfer to be over, and returns its record.
fn recent(port: u16) -> Value {
    let mut found = Value::Null;
    wait::until("the transfer is over", LIMIT, || {
        let transfers = http::transfers(port);
        found = transfers["recent"][0].clone();
        transfers["running"] == Value::Array(Vec::new()) && !found.is_null()
    });
    found
}

#[test]
fn a_transfer_that_is_over_is_remembered_with_its_outcome() {
    let server = Server::start(["--demo"]);
    let mut client = Connection::open(server.port());
    for (query, outcome, bytes) in [
        ("n=300000", "complete", 300_000),
        ("n=300000&length=known", "complete", 300_000),
        ("n=0", "complete", 0),
        ("n=300000&fail_after=0", "source_error", 0),
        ("n=300000&fail_after=200000", "source_error", 200_000),
        ("n=300000&panic_after=200000", "source_error", 200_000),
    ] {
        if outcome == "complete" || bytes == 0 {
            client.get(&format!("/noise.bin?{query}"));
        } else {
            let response = http::get(server.port(), &format!("/noise.bin?{query}"));
            assert_eq!(response.end, End::Reset);
        }
        let request = format!("/noise.bin?{query}");
        wait::until("it is remembered", LIMIT, || {
            http::transfers(server.port())["recent"][0]["request"] == request
        });
        let seen = recent(server.port());
        assert_eq!(seen["outcome"], outcome, "{seen}");
        assert_eq!(seen["bytes"], bytes, "{seen}");
        assert_eq!(seen["blocked_on"], Value::Null);
        assert_eq!(seen["error"].is_null(), outcome == "complete", "{seen}");
        let expected = query.contains("known").then_some(300_000);
        assert_eq!(seen["bytes_expected"], Value::from(expected));
    }
    let log = server.log();
    assert_eq!(log.matches("outcome=\"complete\"").count(), 3, "{log}");
    assert_eq!(log.matches("outcome=\"source_error\"").count(), 3, "{log}");
    crate::support::program::assert_no_backtrace(&log.replace("the source panicked", ""));
}

#[test]
fn a_request_is_shown_alike_whatever_the_protocol() {
    let server = Server::start(["--demo"]);
    h2::get_all(server.port(), &["/noise.bin?n=1000".into()]);
    assert_eq!(recent(server.port())["request"], "/noise.bin?n=1000");
}

#[test]
fn a_long_request_is_cut_before_it_is_kept_and_logged() {
    let server = Server::start(["--demo"]);
    // A million, and as many zeros before it as a head may hold.
    let long = format!("/noise.bin?n={}1000000", "0".repeat(30_000));
    assert_eq!(http::get(server.port(), &long).body.len(), 1_000_000);
    let seen = recent(server.port());
    let request = seen["request"].as_str().expect("text");
    assert!(request.len() < 1100, "{}", request.len());
    assert!(request.starts_with("/noise.bin?n=000") && request.ends_with("0…"));
    wait::until("it is logged", LIMIT, || server.log().contains("transfer"));
    assert!(server.log().len() < 3000);
}

#[test]
fn nobody_needs_to_read_what_it_prints() {
    use std::process::Stdio;
    let mut server = crate::support::program::command(&["serve", "--demo"])
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let port = crate::support::program::port_of(&mut server).expect("a URL");
    drop(server.stderr.take());
    // Each is a line in the log that nobody can read any more.
    for _ in 0..3 {
        assert_eq!(http::get(port, "/noise.bin").body.len(), 1_000_000);
        assert_eq!(
            http::get(port, "/noise.bin?panic_after=300000").end,
            End::Reset
        );
    }
    assert!(server.try_wait().expect("a child").is_none());
    server.kill().expect("a child can be killed");
    server.wait().expect("a child can be waited for");
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    use std::process::Stdio;
    let scratch = Scratch::new("unread");
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, "[routes.noise]\nkind = \"noise\"\n").expect("files can be written");
    let mut server = crate::support::program::command(&["serve", "--listen", "127.0.0.1:0"])
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let port = crate::support::program::port_of(&mut server).expect("a URL");
    // More lines than a pipe (64 KiB) and the queue hold.
    let mut client = Connection::open(port);
    for _ in 0..2000 {
        assert_eq!(client.get("/noise.bin?n=100").body.len(), 100);
    }
    assert!(server.try_wait().expect("a child").is_none());
    let unread = server.stderr.take().expect("a pipe");
    // Whoever reads again is told what is missing.
    let lines = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(unread).lines().map_while(Result::ok);
        lines.collect::<Vec<_>>()
    });
    assert_eq!(http::get(port, "/noise.bin?n=100").body.len(), 100);
    assert!(crate::support::program::signal(server.id(), "TERM"));
    server.wait().expect("a child can be waited for");
    let lines = lines.join().expect("no panic");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("log lines were lost"))
    );
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let server = Server::start(["--demo", "--log-format", "json"]);
    assert_eq!(
        http::get(server.port(), "/noise.bin?n=1000").body.len(),
        1000
    );
    let lines = || -> Vec<Value> {
        let log = server.log();
        let whole = log
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    };
    let mut seen = Value::Null;
    wait::until("the transfer is logged", LIMIT, || {
        let transfer = lines()
            .into_iter()
            .find(|line| line["message"] == "transfer");
        seen = transfer.unwrap_or_default();
        !seen.is_null()
    });
    assert_eq!(seen["level"], "INFO", "{seen}");
    assert_eq!(seen["outcome"], "complete", "{seen}");
    assert_eq!(seen["bytes"], 1000, "{seen}");
    assert_eq!(seen["request"], "/noise.bin?n=1000", "{seen}");
}
