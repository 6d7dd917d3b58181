//! What clients are not told: the transfers of others; paths, programs and the texts of systems.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{self, Connection, Response};
use crate::support::nginx::Nginx;
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);
const NOISE: &str = "[routes.noise]\nkind = \"noise\"\n";

/// Asks from an address of this machine, as whoever reads the head takes it.
fn ask(client: Ipv4Addr, port: u16, path: &str, headers: &str) -> Response {
    let mut connection = Connection::open_from(client, port);
    connection.send(&format!("GET {path} HTTP/1.1\r\n{headers}\r\n\r\n"));
    connection.read_response()
}

/// Returns the targets of the transfers that are shown.
fn shown(response: &Response) -> Vec<String> {
    let transfers = response.json();
    let lists = ["running", "recent"].map(|key| transfers[key].as_array().expect("a list"));
    let all = lists.into_iter().flatten();
    let target = |transfer: &Value| transfer["request"].as_str().unwrap_or_default().to_owned();
    all.map(target).collect()
}

#[test]
fn a_client_sees_its_own_transfers_and_a_program_on_this_machine_all_of_them() {
    let daemon = Daemon::start(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n{NOISE}"
    ));
    let port = daemon.port();
    // This is the proxy.
    let ask_for = |client: &str, path: &str| {
        let headers = format!("Host: localhost\r\nX-Forwarded-For: {client}");
        ask(Ipv4Addr::LOCALHOST, port, path, &headers)
    };
    let program = Ipv4Addr::new(127, 0, 2, 1);
    let all = || ask(program, port, "/transfers", "Host: localhost");
    let [first, second] = ["192.0.2.1", "192.0.2.2"];
    ask_for(first, "/noise.bin?n=1");
    ask_for(first, "/noise.bin?n=10&fail_after=5").problem(500);
    ask_for(second, "/noise.bin?n=2");
    let mut running = Connection::open(port);
    let endless = "GET /noise.bin?n=1e15 HTTP/1.1\r\nHost: localhost";
    running.send(&format!("{endless}\r\nX-Forwarded-For: {first}\r\n\r\n"));
    running.read_head();
    wait::until("all are on record", LIMIT, || shown(&all()).len() == 4);
    wait::until("three are over", LIMIT, || {
        all().json()["recent"][2].is_object()
    });

    let own = ask_for(first, "/transfers");
    let mut targets = shown(&own);
    assert_eq!(targets.remove(0), "/noise.bin?n=1e15");
    targets.sort();
    assert_eq!(targets, ["/noise.bin?n=1", "/noise.bin?n=10&fail_after=5"]);
    assert_eq!(
        (&own.json()["active"], &own.json()["waiting"]),
        (&1.into(), &0.into())
    );
    let own = ask_for(second, "/transfers");
    assert_eq!(shown(&own), ["/noise.bin?n=2"]);
    assert_eq!(own.json()["active"], 0);
    // The address of a proxy is that of all its clients: whoever has only that sees nothing.
    ask(program, port, "/noise.bin?n=3", "Host: files.example.org");
    assert_eq!(shown(&ask_for("unknown", "/transfers")).len(), 0);
    for headers in [
        "Host: localhost\r\nForwarded: for=127.0.0.1",
        "Host: localhost\r\nX-Forwarded-For: 127.0.0.1",
        "Host: localhost\r\nVia: 1.1 proxy",
        "Host: localhost\r\nX-Real-IP: 127.0.0.1",
        "Host: localhost.example.org",
    ] {
        let seen = ask(program, port, "/transfers", headers);
        assert_eq!(shown(&seen).len(), 0, "{headers}");
    }
    // Once, however often they come. The log is written beside the requests.
    wait::until("the warning", LIMIT, || {
        daemon.log().contains("server.trusted_proxies")
    });
    assert_eq!(daemon.log().matches("server.trusted_proxies").count(), 1);
}

#[test]
fn behind_nginx_a_client_is_its_own_address_and_sees_its_own_transfers() {
    let daemon = Daemon::start(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nmax_active_per_client = 1\n\
         queue_timeout = \"200ms\"\n{NOISE}"
    ));
    let nginx = Nginx::start(daemon.port());
    let path = Nginx::forwarding;
    let [first, second] = [1, 2].map(|number| Ipv4Addr::new(127, 0, 3, number));
    let host = "Host: localhost";
    let mut running = Connection::open_narrow_from(first, nginx.port());
    running.ask(&path("/noise.bin?n=1e15"));
    assert_eq!(running.read_head().status, 200);
    // What a client writes itself is not believed.
    let forged = "Host: localhost\r\nX-Forwarded-For: 127.0.3.9";
    ask(first, nginx.port(), &path("/noise.bin?n=1"), forged).problem(429);
    let other = ask(second, nginx.port(), &path("/noise.bin?n=2"), host);
    assert_eq!(other.body.len(), 2);
    wait::until("it is on record", LIMIT, || {
        let seen = ask(second, nginx.port(), &path("/transfers"), host);
        shown(&seen) == ["/noise.bin?n=2"] && seen.json()["recent"][0]["peer"] == "127.0.3.2"
    });
    // The proxy's address is no way in, without nginx either; that of another program is.
    let direct = http::get(daemon.port(), "/transfers");
    assert_eq!(shown(&direct).len(), 0);
    let program = ask(
        Ipv4Addr::new(127, 0, 3, 4),
        daemon.port(),
        "/transfers",
        host,
    );
    assert_eq!(shown(&program).len(), 3);
}

#[test]
fn a_source_that_fails_tells_clients_neither_paths_nor_arguments() {
    let scratch = Scratch::new("private of nobody");
    let tree = scratch.join("tree");
    fs::create_dir(&tree).expect("directories can be made");
    let program = scratch.join("secret-tool");
    fs::copy("/bin/true", &program).expect("files can be copied");
    let daemon = Daemon::start(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.9\"]\n[routes.tree]\nkind = \"directory\"\npath = \"{}\"\n\
         [routes.gone]\nkind = \"command\"\nargv = [\"{}\", \"--key=hush\"]\n\
         [routes.fails]\nkind = \"command\"\n\
         argv = [\"sh\", \"-c\", \"echo /etc/hush >&2; exit 3\", \"--key=hush\"]\n",
        tree.display(),
        program.display()
    ));
    fs::remove_dir(&tree).expect("it is there");
    fs::remove_file(&program).expect("it is there");
    let port = daemon.port();
    for (path, told, logged) in [
        (
            "/tree.tar",
            "the directory cannot be read",
            "private of nobody",
        ),
        ("/gone.bin", "the program cannot be started", "secret-tool"),
        (
            "/fails.bin",
            "the program ended with exit code 3",
            "/etc/hush",
        ),
    ] {
        let forwarded = "Host: localhost\r\nForwarded: for=192.0.2.1";
        let ask = |path| ask(Ipv4Addr::new(127, 0, 0, 9), port, path, forwarded);
        let response = ask(path);
        assert_eq!(response.problem(500), told);
        let stream = response.json()["stream"].clone();
        let stream = stream.as_str().expect("the stream's identity");
        wait::until("it is logged", LIMIT, || {
            let log = daemon.log();
            log.lines()
                .any(|line| line.contains(stream) && line.contains(logged))
        });
        // Its own transfers say no more, and the operator's do.
        wait::until("it is on record", LIMIT, || {
            let own = ask("/transfers").json();
            own["recent"][0]["id"] == stream && own["recent"][0]["error"] == told
        });
    }
    let all = http::get(port, "/transfers");
    assert!(all.text().contains("secret-tool"), "{}", all.text());
}

#[test]
fn the_text_of_a_client_is_no_line_of_the_log() {
    let daemon = Daemon::start("[sql]\nenabled = true\n[routes.noise]\nkind = \"noise\"\n");
    let forged = "2026-01-01T00:00:00Z  INFO transfer id=forged";
    let sql = format!("select cast('x\n{forged}\r\u{1b}[2K\u{202e}\0' as int)");
    let path = format!("/sql.csv?query={}", http::encode(&sql));
    http::get(daemon.port(), &path).problem(422);
    wait::until("the record", LIMIT, || daemon.log().contains("forged"));
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("forged")).unwrap();
    assert!(!line.starts_with("2026-01-01"), "{log}");
    for raw in ["\u{1b}", "\r", "\0", "\u{202e}"] {
        assert!(!log.contains(raw), "{log:?}");
    }
    assert!(line.contains("x\\n2026-01-01"), "{line}");
}
