//! What the operator sees of failures: a line in the log for each refused request, and in `/healthz`
//! the routes that are broken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{self, Connection, End, Response};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::tables;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// Returns the lines of the log that have a word, once there are as many as that.
fn lines_with(server: &Daemon, word: &str, count: usize) -> Vec<String> {
    let find = || -> Vec<String> {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains(word));
        lines.map(str::to_owned).collect()
    };
    wait::until("the lines are in the log", LIMIT, || find().len() >= count);
    find()
}

fn health(server: &Daemon) -> Response {
    http::get(server.port(), "/healthz")
}

/// Waits until the health has a status, and returns it.
fn health_once(server: &Daemon, code: u16, name: &str) -> Value {
    wait::until("the health changes", LIMIT, || {
        let health = health(server);
        health.status == code && health.json()["status"] == name
    });
    health(server).json()
}

#[test]
fn every_refused_request_is_one_line_in_the_log() {
    let server = Daemon::start("[routes.noise]\nkind = \"noise\"\n");
    let port = server.port();
    http::get(port, "/no-such.csv?a=b").problem(404);
    http::get(port, "/noise.bin?m=1").problem(400);
    http::send(port, "DELETE", "/noise.bin", "text/plain", "").problem(405);
    http::send(port, "POST", "/healthz", "text/plain", "").problem(405);
    let lines = lines_with(&server, "refused", 4);
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, parts) in lines.iter().zip([
        [
            "\"GET\"",
            "\"/no-such.csv?a=b\"",
            "status=404",
            "there is no /no-such.csv",
        ],
        ["\"GET\"", "\"/noise.bin?m=1\"", "status=400", "`m`"],
        [
            "\"DELETE\"",
            "\"/noise.bin\"",
            "status=405",
            "the methods here are GET, HEAD",
        ],
        [
            "\"POST\"",
            "\"/healthz\"",
            "status=405",
            "the methods here are GET, HEAD",
        ],
    ]) {
        assert!(line.contains(" INFO "), "{line}");
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
        for part in parts {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    // What is served is no refusal.
    assert_eq!(http::get(port, "/noise.bin?n=10").end, End::Whole);
    lines_with(&server, "complete", 1);
    assert_eq!(lines_with(&server, "refused", 4).len(), 4);
}

#[test]
fn a_line_of_a_refusal_is_bounded_and_shows_no_control_characters() {
    let server = Daemon::start("[routes.noise]\nkind = \"noise\"\n");
    let long = format!("/{}", "x".repeat(15_000));
    http::get(server.port(), &long).problem(404);
    let name = "%1b%5b31m%0a%E2%80%AE%D8%9C%E2%80%8E%E2%80%8F";
    http::get(server.port(), &format!("/{name}")).problem(404);
    let lines = lines_with(&server, "refused", 2);
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.len() < 4000), "{lines:?}");
    let log = server.log();
    for character in ['\u{1b}', '\u{202e}', '\u{61c}', '\u{200e}', '\u{200f}'] {
        assert!(!log.contains(character), "{character:?} in {log:?}");
    }
}

#[test]
fn a_failure_that_a_record_has_is_not_logged_twice() {
    let server = Daemon::start(
        "[routes.noise]\nkind = \"noise\"\n\
         [routes.fails]\nkind = \"command\"\nargv = [\"false\"]\n",
    );
    let port = server.port();
    http::get(port, "/fails.bin").problem(500);
    http::get(port, "/noise.bin?n=100&fail_after=0").problem(500);
    let end = http::get(port, "/noise.bin?n=900000&fail_after=800000").end;
    assert_eq!(end, End::Reset);
    lines_with(&server, "source_error", 3);
    assert_eq!(server.log().matches("source_error").count(), 3);
    assert_eq!(server.log().matches("fail_after").count(), 2);
    let lines = lines_with(&server, "/fails.bin", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");

    let server = Daemon::start(
        "[limits]\nmax_active = 1\nmax_waiting = 0\n[routes.noise]\nkind = \"noise\"\n",
    );
    let mut held = Connection::open_narrow(server.port());
    held.ask("/noise.bin?n=50000000");
    assert_eq!(held.read_head().status, 200);
    http::get(server.port(), "/noise.bin?n=17").problem(503);
    let lines = lines_with(&server, "n=17", 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn a_route_is_broken_from_its_first_failure_to_its_next_success() {
    let server = Daemon::start(
        "[routes.noise]\nkind = \"noise\"\n\
         [routes.late]\nkind = \"command\"\nargv = [\"sh\", \"-c\", \"cat data && test -e good\"]\n",
    );
    let (data, good) = (server.folder().join("data"), server.folder().join("good"));
    fs::write(&data, "data").expect("files can be written");
    let port = server.port();
    let told = health(&server).json();
    assert_eq!(
        (&told["status"], &told["broken"]),
        (&json!("ok"), &json!([]))
    );

    http::get(port, "/late.bin").problem(500);
    // The only one that was tried.
    let told = health_once(&server, 503, "broken");
    assert_eq!(told["broken"][0]["route"], "late.bin", "{told}");
    let since = told["broken"][0]["since"].clone();
    let error = told["broken"][0]["error"].as_str().expect("a text");
    assert!(!error.is_empty() && !error.contains("sh"), "{error}");
    assert!(humantime_like(&since), "{since}");
    // Health that is bad is no refused request.
    assert!(!server.log().contains("/healthz"), "{}", server.log());

    assert_eq!(http::get(port, "/noise.bin?n=10").end, End::Whole);
    health_once(&server, 200, "degraded");
    http::get(port, "/late.bin").problem(500);
    lines_with(&server, "source_error", 2);
    let told = health_once(&server, 200, "degraded");
    assert_eq!(told["broken"][0]["since"], since, "{told}");
    // Neither a client's mistake nor a HEAD, which runs nothing, says that it works.
    http::get(port, "/late.bin?a=1").problem(400);
    http::head(port, "/late.bin");
    health_once(&server, 200, "degraded");

    fs::write(&good, "").expect("files can be written");
    assert_eq!(http::get(port, "/late.bin").text(), "data");
    let told = health_once(&server, 200, "ok");
    assert_eq!(told["broken"], json!([]), "{told}");
}

#[test]
fn a_success_of_before_a_failure_says_nothing_of_it() {
    let server = Daemon::start(
        "[routes.slow]\nkind = \"command\"\n\
         argv = [\"sh\", \"-c\", \"test ! -e bad && echo data && until test -e go; do sleep 0.01; done\"]\n",
    );
    let (bad, go) = (server.folder().join("bad"), server.folder().join("go"));
    let mut early = Connection::open(server.port());
    early.send("GET /slow.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait::until("the program runs", LIMIT, || {
        http::transfers(server.port())["running"][0]["bytes_written"] == 5
    });
    fs::write(&bad, "").expect("files can be written");
    http::get(server.port(), "/slow.bin").problem(500);
    health_once(&server, 503, "broken");
    fs::write(&go, "").expect("files can be written");
    assert_eq!(early.read_response().text(), "data\n");
    wait::until("its record is complete", LIMIT, || {
        http::transfers(server.port())["running"] == json!([])
    });
    health_once(&server, 503, "broken");
    fs::remove_file(&bad).expect("files can be removed");
    assert_eq!(http::get(server.port(), "/slow.bin").text(), "data\n");
    health_once(&server, 200, "ok");
}

fn humantime_like(time: &Value) -> bool {
    let time = time.as_str().unwrap_or_default();
    time.starts_with("20") && time.ends_with('Z')
}

#[test]
fn a_file_that_is_gone_is_seen_in_the_health_and_the_log() {
    for (kind, name, path) in [
        ("file", "data.txt", "data.txt"),
        ("directory", "data.tar", "tree"),
    ] {
        let scratch = crate::support::scratch::Scratch::new("gone");
        let path = scratch.join(path);
        match kind {
            "file" => fs::write(&path, "data").expect("files can be written"),
            _ => fs::create_dir(&path).expect("directories can be made"),
        }
        let server = Daemon::start(&format!(
            "[routes.data]\nkind = {kind:?}\npath = {path:?}\n"
        ));
        assert_eq!(http::get(server.port(), &format!("/{name}")).status, 200);
        health_once(&server, 200, "ok");
        let aside = scratch.join("aside");
        fs::rename(&path, &aside).expect("a name can be changed");
        http::get(server.port(), &format!("/{name}")).problem(500);
        let told = health_once(&server, 503, "broken");
        assert_eq!(told["broken"][0]["route"], name, "{told}");
        // The path is for the operator.
        assert!(!told.to_string().contains("gone-"), "{told}");
        let lines = lines_with(&server, "No such file", 1);
        assert!(lines[0].contains("ERROR"), "{lines:?}");
        assert!(lines[0].contains(&*path.to_string_lossy()), "{lines:?}");
        fs::rename(&aside, &path).expect("a name can be changed");
        assert_eq!(http::get(server.port(), &format!("/{name}")).status, 200);
        health_once(&server, 200, "ok");
    }
}

#[test]
fn a_client_does_not_take_a_server_out_of_service_with_its_parameters() {
    let server = Daemon::start("[routes.noise]\nkind = \"noise\"\n");
    http::get(server.port(), "/noise.bin?fail_after=0").problem(500);
    let told = health_once(&server, 200, "degraded");
    assert_eq!(told["broken"][0]["route"], "noise.bin", "{told}");
}

#[test]
fn a_spool_that_fails_is_seen_in_the_health_until_it_keeps_files_again() {
    let server = Daemon::start(
        "[spool]\nfolder = \"kept\"\n[routes.noise]\nkind = \"noise\"\nkeep = \"1h\"\n",
    );
    let (port, folder) = (server.port(), server.folder().join("kept"));
    assert_eq!(http::get(port, "/noise.bin?n=10").end, End::Whole);
    assert_eq!(health(&server).json()["spool"], Value::Null);

    // A folder that somebody has removed is made again, for its owner alone; what was in it is made again.
    let is_closed = || {
        let names = fs::read_dir(&folder).expect("a folder").flatten();
        let is_complete = |name: &[u8]| name.ends_with(b".json");
        let lock_and_journal = 2;
        names
            .map(|it| it.file_name())
            .any(|it| is_complete(it.as_encoded_bytes()))
            && server.files_open_below(&folder) <= lock_and_journal
    };
    for path in ["/noise.bin?n=11", "/noise.bin?n=11", "/noise.bin?n=11"] {
        wait::until("what was made is closed", LIMIT, is_closed);
        fs::remove_dir_all(&folder).expect("a folder can be removed");
        let response = http::get(port, path);
        assert_eq!((response.status, response.end), (200, End::Whole), "{path}");
        let mode = fs::metadata(&folder)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
    health_once(&server, 200, "ok");

    fs::remove_dir_all(&folder).expect("a folder can be removed");
    fs::write(&folder, "").expect("files can be written");
    http::get(port, "/noise.bin?n=12").problem(503);
    let told = health_once(&server, 200, "degraded");
    assert!(humantime_like(&told["spool"]["since"]), "{told}");
    assert!(!told.to_string().contains("kept\""), "{told}");
    lines_with(&server, "kept", 1);

    fs::remove_file(&folder).expect("files can be removed");
    assert_eq!(http::get(port, "/noise.bin?n=13").end, End::Whole);
    let told = health_once(&server, 200, "ok");
    assert_eq!(told["spool"], Value::Null, "{told}");
}

#[test]
fn check_says_that_the_folder_of_the_spool_cannot_be_used() {
    let scratch = Scratch::new("spool");
    let file = scratch.join("file");
    fs::write(&file, "").expect("files can be written");
    let config = scratch.join("datastreamer.toml");
    let check = |folder: &str| {
        let text = format!("[spool]\nfolder = \"{folder}\"\n[routes.a]\nkind = \"noise\"\n");
        fs::write(&config, text).expect("files can be written");
        program::run(&["check", config.to_str().expect("text")])
    };
    for folder in ["file", "file/below"] {
        check(folder).assert_refused(3, &["spool.folder", "file", "not a directory"]);
    }
    check("new/below").assert_good();
    assert!(!scratch.join("new").exists());
}

#[test]
fn a_query_that_fails_on_its_own_rows_is_broken_and_one_with_values_of_a_client_is_not() {
    let scratch = Scratch::new("own-rows");
    let file = tables::stars(scratch.path(), "stars", 20_000);
    let server = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = {file:?}\n\
         [routes.late]\nkind = \"query\"\n\
         sql = 'SELECT n, 100 / (n - 15000) AS q FROM \
         (SELECT row_number() OVER () AS n FROM stars) AS rows'\n\
         [routes.soon]\nkind = \"query\"\nsql = 'SELECT 1 / (source_id - source_id) AS q FROM stars'\n\
         [routes.asked]\nkind = \"query\"\nsql = 'SELECT 1 / ($by + source_id - source_id) AS q FROM stars'\n\
         parameters = [{{ name = \"by\", type = \"integer\", default = 1 }}]\n\
         [routes.texts]\nkind = \"query\"\nsql = \"SELECT 'ä' AS t\"\n",
    ));
    let port = server.port();
    let broken = || {
        let told = health(&server).json();
        let broken = told["broken"].as_array().expect("a list").clone();
        let routes = broken.iter().map(|route| route["route"].clone());
        routes.collect::<Vec<_>>()
    };
    // A client's own values, formats and conditions are its own matter.
    http::get(port, "/asked.csv?by=0").problem(422);
    http::get(port, "/asked.csv?by=x").problem(400);
    http::get(port, "/texts.fits").problem(422);
    http::get(port, "/late.csv?nothing=eq.1").problem(400);
    for ended in ["asked.csv?by=0", "texts.fits", "late.csv?nothing"] {
        lines_with(&server, ended, 1);
    }
    assert_eq!(broken(), Vec::<Value>::new());
    http::get(port, "/soon.csv").problem(422);
    wait::until("it is broken", LIMIT, || broken() == ["soon.vot"]);
    let late = http::get(port, "/late.csv");
    assert!(
        late.status == 422 || late.end == End::Reset,
        "{}",
        late.status
    );
    wait::until("it is broken", LIMIT, || {
        broken() == ["late.vot", "soon.vot"]
    });
    let told = health(&server).json();
    let error = told["broken"][0]["error"].as_str().expect("a text");
    assert!(
        error.contains("the query of this route fails on its rows"),
        "{told}"
    );
    // Rows before the one that fails say that the route works.
    let few = http::get(port, "/late.csv?limit=10");
    assert_eq!((few.status, few.end), (200, End::Whole));
    wait::until("it works", LIMIT, || broken() == ["soon.vot"]);
    // Its defaults are the operator's.
    assert_eq!(http::get(port, "/asked.csv").end, End::Whole);
}

#[test]
fn a_file_for_later_whose_source_fails_breaks_its_route() {
    let server = Daemon::start(
        "[routes.late]\nkind = \"command\"\nkeep = \"10m\"\n\
         argv = [\"sh\", \"-c\", \"cat data && test -e good\"]\n",
    );
    let (data, good) = (server.folder().join("data"), server.folder().join("good"));
    fs::write(&data, "data").expect("files can be written");
    let port = server.port();
    let accepted = http::get_with(port, "/late.bin", "Prefer: respond-async");
    assert_eq!(accepted.status, 202);
    let told = health_once(&server, 503, "broken");
    assert_eq!(told["broken"][0]["route"], "late.bin", "{told}");
    fs::write(&good, "").expect("files can be written");
    let accepted = http::get_with(port, "/late.bin", "Prefer: respond-async");
    assert_eq!(accepted.status, 202);
    health_once(&server, 200, "ok");
}
