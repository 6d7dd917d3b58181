//! Queries against a real PostgreSQL, through the program.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use datastreamer_testkit::Postgres;
use serde_json::Value;

use crate::support::{
    http::{self, Connection, End},
    program::{Daemon, Said, command, finish},
    scratch::Scratch,
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);

/// `/rows` gives `rows` rows, one after the other (a series behind FROM would be stored first), and fails at row `bad`; `/named` is of a text.
fn start(database: &Postgres) -> Daemon {
    let configuration = format!(
        "[databases.archive]\nurl = \"{}\"\nmax_connections = 2\n\
         [routes.rows]\nkind = \"postgres\"\n\
         sql = \"SELECT i, i / 8.0::float8 AS ra, 'star ' || i AS name, 1 / (i - $bad) AS x \
         FROM (SELECT generate_series(1, $rows) AS i) AS numbers\"\n\
         parameters = [{{ name = \"rows\", type = \"integer\", default = 1000, min = 0 }}, \
         {{ name = \"bad\", type = \"integer\", default = -1 }}]\n\
         [routes.rows.columns.ra]\nunit = \"deg\"\n\
         [routes.named]\nkind = \"postgres\"\nsql = \"SELECT $name::text AS name\"\n\
         parameters = [{{ name = \"name\", type = \"text\" }}]\n\
         [routes.none]\nkind = \"postgres\"\nsql = \"SELECT * FROM nowhere\"\n",
        database.url()
    );
    Daemon::start(&configuration)
}

#[test]
fn a_query_is_a_table_in_every_format() {
    let database = Postgres::start();
    let daemon = start(&database);
    let csv = http::get(daemon.port(), "/rows.csv?rows=3");
    assert_eq!(
        csv.text(),
        "i,ra,name,x\r\n1,0.125,star 1,0\r\n2,0.25,star 2,0\r\n3,0.375,star 3,0\r\n"
    );
    let votable = http::get(daemon.port(), "/rows.vot?MAXREC=2");
    assert!(
        votable
            .text()
            .contains("name=\"ra\" datatype=\"double\" unit=\"deg\""),
        "{}",
        votable.text()
    );
    assert!(votable.text().contains("OVERFLOW"));
    let fits = http::get(daemon.port(), "/rows.fits?rows=100000");
    assert!(fits.header("content-length").is_some());
    assert!(fits.body.starts_with(b"SIMPLE  ="));
}

#[test]
fn values_are_bound_and_never_text_of_the_query() {
    let database = Postgres::start();
    let daemon = start(&database);
    let hostile = http::get(daemon.port(), "/named.csv?name=%27%3B+DROP+TABLE+x%3B+--");
    assert_eq!(hostile.text(), "name\r\n'; DROP TABLE x; --\r\n");
    let missing = http::get(daemon.port(), "/named.csv").problem(400);
    assert!(missing.contains("name"), "{missing}");
    let range = http::get(daemon.port(), "/rows.csv?rows=-1").problem(400);
    assert!(range.contains("at least 0"), "{range}");
    let unknown = http::get(daemon.port(), "/rows.csv?row=1").problem(400);
    assert!(
        unknown.contains("rows") && unknown.contains("bad"),
        "{unknown}"
    );
}

#[test]
fn an_early_failure_has_a_status() {
    let mut database = Postgres::start();
    let daemon = start(&database);
    // The SQL and the server's message are the operator's; the code is not.
    for (path, told, logged) in [
        (
            "/none.csv",
            "/none.csv: PostgreSQL: the query cannot be run (SQLSTATE 42P01)",
            "nowhere",
        ),
        (
            "/rows.csv?bad=2",
            "PostgreSQL: the query failed (SQLSTATE 22012)",
            "division by zero",
        ),
    ] {
        let response = http::get(daemon.port(), path);
        assert_eq!(response.problem(500), told);
        let stream = response.json()["stream"].clone();
        let stream = stream.as_str().expect("the stream's identity");
        wait::until("it is logged", LIMIT, || {
            let log = daemon.log();
            log.lines()
                .any(|line| line.contains(stream) && line.contains(logged))
        });
    }
    database.stop();
    let down = http::get(daemon.port(), "/rows.csv").problem(502);
    assert_eq!(down, "/rows.csv: PostgreSQL: the server cannot be reached");
}

#[test]
fn a_client_that_leaves_ends_the_statement() {
    let database = Postgres::start();
    let daemon = start(&database);
    let mut client = Connection::open_narrow(daemon.port());
    client.ask("/rows.csv?rows=1000000000");
    client.read_head();
    assert_eq!(database.active_statements("datastreamer"), 1);
    drop(client);
    let left = Instant::now();
    wait::until("the statement is over", LIMIT, || {
        database.active_statements("datastreamer") == 0
    });
    // 250 ms, and what a busy machine and psql's start take.
    assert!(
        left.elapsed() < Duration::from_secs(2),
        "{:?}",
        left.elapsed()
    );
    wait::until("it is on record", LIMIT, || {
        http::transfers(daemon.port())["recent"][0]["outcome"] == "client_gone"
    });
}

#[test]
fn a_backend_that_is_ended_in_mid_stream_aborts_the_file() {
    let database = Postgres::start();
    let daemon = start(&database);
    let mut client = Connection::open_narrow(daemon.port());
    client.ask("/rows.vot?rows=1000000000");
    let mut response = client.read_head();
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'datastreamer'",
    );
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    let text = response.text();
    assert!(
        text.contains("value=\"ERROR\""),
        "{}",
        &text[text.len().saturating_sub(400)..]
    );

    let url = format!(
        "http://127.0.0.1:{}/rows.csv?rows=1000000000",
        daemon.port()
    );
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "--limit-rate", "1M", &url]);
    let terminating = thread::spawn(move || {
        thread::sleep(Duration::from_millis(1500));
        database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'datastreamer'",
        );
        database
    });
    let said = finish(curl);
    assert!(said.code != Some(0), "{}", said.text());
    drop(terminating.join());
}

#[test]
fn clients_that_crawl_do_not_keep_a_fast_one_from_the_database() {
    const CRAWLING: u8 = 20;
    let database = Postgres::start();
    // With the usual `client_stall` of a minute it is the same, a minute later.
    let daemon = Daemon::start(&format!(
        "[limits]\nclient_stall = \"2s\"\nqueue_timeout = \"30s\"\n\
         [databases.archive]\nurl = \"{}\"\n[routes.rows]\nkind = \"postgres\"\n\
         sql = \"SELECT i FROM (SELECT generate_series(1, $rows) AS i) AS numbers\"\n\
         parameters = [{{ name = \"rows\", type = \"integer\" }}]\n",
        database.url()
    ));
    let port = daemon.port();
    let all_dropped = Arc::new(AtomicBool::new(false));
    let crawling: Vec<_> = (1..=CRAWLING)
        .map(|number| {
            let address = Ipv4Addr::new(127, 0, 4, number);
            let mut connection = Connection::open_narrow_from(address, port);
            connection.ask("/rows.csv?rows=1000000000");
            let all_dropped = Arc::clone(&all_dropped);
            thread::spawn(move || {
                // 500 bytes a second. What the system has received it reads after the reset, too.
                while !all_dropped.load(Relaxed) && connection.read_some(50).is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
            })
        })
        .collect();
    wait::until("eight have all connections", LIMIT, || {
        let transfers = http::transfers(port);
        transfers["active"] == 8 && transfers["waiting"] == 12
    });
    let asked = Instant::now();
    let fast = http::get(port, "/rows.csv?rows=100000");
    println!("the fast client has all rows after {:?}", asked.elapsed());
    assert_eq!((fast.status, fast.end), (200, End::Whole));
    assert_eq!(fast.text().lines().count(), 100_001);
    wait::until("all others are dropped", 3 * LIMIT, || {
        let transfers = http::transfers(port);
        let recent = transfers["recent"].as_array().expect("a list");
        let dropped = |transfer: &&Value| transfer["outcome"] == "client_stalled";
        recent.iter().filter(dropped).count() == usize::from(CRAWLING)
    });
    all_dropped.store(true, Relaxed);
    for client in crawling {
        client.join().expect("no panic");
    }
}

#[test]
fn a_slow_client_of_a_production_does_not_hold_the_database() {
    const ROWS: usize = 1_000_000;
    let database = Postgres::start();
    let daemon = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n\
         [routes.rows]\nkind = \"postgres\"\nkeep = \"while_running\"\n\
         sql = \"SELECT i FROM (SELECT generate_series(1, {ROWS}) AS i) AS numbers\"\n",
        database.url()
    ));
    let mut slow = Connection::open_narrow(daemon.port());
    slow.ask("/rows.csv");
    let mut response = slow.read_head();
    assert_eq!(response.status, 200);
    let statements = || database.active_statements("datastreamer");
    wait::until("the query has ended", LIMIT, || statements() == 0);
    wait::until("its source is no longer active", LIMIT, || {
        http::transfers(daemon.port())["active"] == 0
    });
    // Its client has taken next to nothing.
    let transfers = http::transfers(daemon.port());
    let running = &transfers["running"][0];
    let delivered = running["bytes"].as_u64().expect("a number");
    assert!(delivered < 3_000_000, "{transfers}");
    assert_eq!(slow.read_body(&mut response), Ok(()));
    assert_eq!(response.text().lines().count(), ROWS + 1);
    assert!(response.text().ends_with(&format!("\n{ROWS}\r\n")));
}

#[test]
fn connections_are_bounded_and_given_back_at_the_last_row() {
    let database = Postgres::start();
    let daemon = start(&database);
    // More than there are connections, one after the other, none of them waited for.
    for _ in 0..8 {
        assert_eq!(http::get(daemon.port(), "/rows.csv").status, 200);
    }
    assert!(
        database
            .sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'datastreamer'")
            .trim()
            .parse::<u32>()
            .is_ok_and(|open| open <= 2)
    );
}

/// Runs `check` on a configuration: it connects to nothing.
fn check(text: &str) -> Said {
    let scratch = Scratch::new("databases");
    let file = scratch.join("datastreamer.toml");
    std::fs::write(&file, text).expect("files can be written");
    finish(command(&["check", &file.to_string_lossy()]))
}

#[test]
fn a_database_that_is_not_declared_is_named() {
    let said =
        check("[routes.rows]\nkind = \"postgres\"\ndatabase = \"other\"\nsql = \"SELECT 1\"\n");
    said.assert_refused(3, &["routes.rows", "[databases]", ":1:"]);
}

#[test]
fn a_parameter_that_the_query_does_not_use_and_a_name_that_is_none_are_refused() {
    let query = |sql: &str| {
        check(&format!(
            "[databases.archive]\nurl = \"postgresql://nobody@localhost/none\"\n\
             [routes.rows]\nkind = \"postgres\"\nsql = \"{sql}\"\n\
             parameters = [{{ name = \"since\", type = \"date\" }}]\n"
        ))
    };
    query("SELECT $since").assert_good();
    let unused = "sql: the query does not use the parameter since";
    query("SELECT '$since'").assert_refused(3, &["routes.rows", unused, ":3:"]);
    let unknown = "sql, line 1, column 16: $until is not declared";
    query("SELECT $since, $until").assert_refused(3, &["routes.rows", unknown, ":3:"]);
}

/// Three databases: one with what a role of few rights may read, the same with another role, and none.
fn three_databases(database: &Postgres, routes: &str) -> String {
    let url = database.url();
    let (_, server) = url.split_once('@').expect("a password");
    format!(
        "[databases.archive]\nurl = \"{url}\"\n\
         [databases.limited]\nurl = \"postgresql://reader:secret@{server}\"\n\
         [databases.gone]\nurl = \"postgresql://nobody@127.0.0.1:1/none\"\n{routes}"
    )
}

#[test]
fn check_lets_databases_plan_the_queries_of_routes_if_it_is_to_connect() {
    let database = Postgres::start();
    database.sql(
        "CREATE TABLE stars (id integer, ra float8); \
         CREATE ROLE reader LOGIN PASSWORD 'secret'",
    );
    let route = |name: &str, of: &str, sql: &str| {
        format!("[routes.{name}]\nkind = \"postgres\"\ndatabase = \"{of}\"\nsql = \"{sql}\"\n")
    };
    // None of them is run: the first would take an hour.
    let good = [
        route("slow", "archive", "SELECT pg_sleep(3600)::text AS t"),
        route("shown", "archive", "SHOW server_version"),
        route(
            "near",
            "archive",
            "SELECT id, '1 day'::interval AS i FROM stars WHERE ra < $ra; --",
        ) + "parameters = [{ name = \"ra\", type = \"number\" }]\n",
    ]
    .concat();
    let scratch = Scratch::new("connect");
    let file = scratch.join("datastreamer.toml");
    let check = |text: &str, flags: &[&str]| {
        std::fs::write(&file, text).expect("files can be written");
        finish(command(
            &[&["check", &file.to_string_lossy()], flags].concat(),
        ))
    };
    let one = format!("[databases.archive]\nurl = \"{}\"\n{good}", database.url());
    let said = check(&one, &["--connect"]);
    said.assert_good();
    let line = "database archive: connected, 3 queries planned";
    assert!(
        said.text().lines().any(|said| said == line),
        "{}",
        said.text()
    );
    assert_eq!(database.active_statements("datastreamer"), 0);

    let bad = three_databases(
        &database,
        &[
            good,
            route("typo", "archive", "SELECT id, rb FROM stars"),
            route("closed", "limited", "SELECT id FROM stars"),
            route("unknown", "gone", "SELECT 1 AS x"),
            route("writes", "archive", "DELETE FROM stars RETURNING id"),
            route(
                "hidden",
                "archive",
                "WITH d AS (DELETE FROM stars RETURNING id) SELECT * FROM d",
            ),
            route("locks", "archive", "SELECT id FROM stars FOR UPDATE"),
            route(
                "named",
                "archive",
                "SELECT '\\\"Node Type\\\": \\\"ModifyTable\\\"' AS x",
            ),
        ]
        .concat(),
    );
    // Without the flag no database is asked.
    check(&bad, &[]).assert_good();
    let said = check(&bad, &["--connect"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let lines: Vec<_> = said.stderr.lines().collect();
    for (line, words) in [
        (5, ["databases.gone", "cannot be reached", "refused"]),
        (
            20,
            ["routes.typo", "\"rb\" does not exist", "line 1, column 12"],
        ),
        (24, ["routes.closed", "permission denied", "42501"]),
        (32, ["routes.writes", "DELETE", "read-only transaction"]),
        (36, ["routes.hidden", "SELECT", "read-only transaction"]),
        (40, ["routes.locks", "FOR UPDATE", "read-only transaction"]),
    ] {
        let place = format!("datastreamer.toml:{line}: ");
        let found = lines.iter().find(|said| said.contains(&place));
        let found = found.unwrap_or_else(|| panic!("no {place} in {lines:?}"));
        for word in words {
            assert!(found.contains(word), "no {word} in {found}");
        }
    }
    // The one that is gone is named once, and not again for its route.
    assert_eq!(lines.len(), 6, "{lines:?}");
}

#[test]
fn databases_that_do_not_answer_are_asked_at_the_same_time() {
    // They take connections and say nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let databases = (0..4).map(|number| {
        format!("[databases.d{number}]\nurl = \"postgresql://nobody@127.0.0.1:{port}/none\"\n")
    });
    let scratch = Scratch::new("silent");
    let file = scratch.join("datastreamer.toml");
    std::fs::write(&file, databases.collect::<String>()).expect("files can be written");
    let started = std::time::Instant::now();
    let said = finish(command(&["check", &file.to_string_lossy(), "--connect"]));
    let took = started.elapsed();
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 4, "{}", said.stderr);
    // One after the other they take four times the 8 s of a connection.
    assert!(took < std::time::Duration::from_secs(16), "{took:?}");
}

#[test]
fn a_database_that_cannot_be_reached_is_a_warning_when_a_server_starts() {
    let daemon = Daemon::start(
        "[databases.gone]\nurl = \"postgresql://nobody@127.0.0.1:1/none\"\n\
         [routes.rows]\nkind = \"postgres\"\nsql = \"SELECT 1 AS x\"\n\
         [routes.noise]\nkind = \"noise\"\n",
    );
    let warned = |log: &str| {
        let mut lines = log.lines();
        lines.any(|line| {
            let parts = [
                " WARN ",
                "database=\"gone\"",
                "cannot be reached",
                "refused",
            ];
            parts.iter().all(|part| line.contains(part))
        })
    };
    wait::until("it is in the log", LIMIT, || warned(&daemon.log()));
    assert_eq!(http::get(daemon.port(), "/noise.bin?n=10").end, End::Whole);
    http::get(daemon.port(), "/rows.csv").problem(502);
}
