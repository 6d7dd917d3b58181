//! What bounds a query: memory, spill space and time; and what bounds none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Connection, End, Response, encode};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, last_transfer};
use crate::support::wait;

/// What takes a second or two on an idle machine.
const LIMIT: Duration = Duration::from_secs(40);

/// More than 48 MiB, before it is sorted.
const SORTED: &str =
    "SELECT source_id, name, ra, dec, parallax FROM big WHERE ra < 180 ORDER BY name, source_id";

/// A server of the large table and `/sql`, with these lines in its section `tables`.
fn serve_big(scratch: &Scratch, settings: &str) -> Daemon {
    serve_file(&tables::big(scratch.path(), "big"), settings)
}

fn serve_file(big: &Path, settings: &str) -> Daemon {
    Daemon::start(&format!(
        "[sql]\nenabled = true\n[tables]\nthreads = 2\n{settings}\n\
         [routes.big]\nkind = \"table\"\npath = \"{}\"\n",
        big.display()
    ))
}

fn ask(server: &Daemon, sql: &str) -> Response {
    http::get(server.port(), &format!("/sql.csv?query={}", encode(sql)))
}

/// The settings of little memory, and of temporary files in this folder.
fn spilling_into(folder: &Path) -> String {
    let folder = folder.display();
    format!("memory_bytes = \"32MiB\"\nspill_folder = \"{folder}\"")
}

#[test]
fn a_sort_beyond_its_memory_spills_to_disk() {
    let scratch = Scratch::new("spills");
    let folder = scratch.join("spill");
    fs::create_dir(&folder).expect("directories can be made");
    let server = serve_big(&scratch, &spilling_into(&folder));
    let spilled = || server.files_open_below(&folder);
    let sorted = thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&server, SORTED));
        wait::until("something is spilled", LIMIT, || spilled() > 0);
        asked.join().expect("nobody panics")
    });
    assert_eq!((sorted.status, sorted.end), (200, End::Whole));
    let rows: Vec<(&str, u64)> = sorted.text().lines().skip(1).map(key).collect();
    assert!(rows.is_sorted_by(|one, other| is_in_order(*one, *other)));
    let filtered = http::get(server.port(), "/big.csv?ra=lt.180&select=ra");
    assert_eq!(rows.len(), filtered.text().lines().count() - 1);
    wait::until("what was spilled is gone", LIMIT, || spilled() == 0);
}

/// Returns name and identifier of a line of the sorted table.
fn key(line: &str) -> (&str, u64) {
    let mut fields = line.split(',');
    let id = fields.next().expect("an identifier").parse();
    (fields.next().expect("a name"), id.expect("a number"))
}

/// Nulls, here empty, are last.
fn is_in_order(one: (&str, u64), other: (&str, u64)) -> bool {
    let rank = |(name, id): (&str, u64)| (name.is_empty(), name.to_owned(), id);
    rank(one) <= rank(other)
}

/// Counts what has a name in a folder, without the empty folders of servers that run.
fn names_in(folder: &Path, servers: usize) -> usize {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let files: Vec<_> = entries.map(|entry| entry.path()).collect();
    let of_server = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("datastreamer-queries-")
            && fs::read_dir(path).is_ok_and(|mut it| it.next().is_none())
    };
    let of_servers = files.iter().filter(of_server).count();
    assert!(of_servers <= servers, "{files:?}");
    files.len() - of_servers
}

#[test]
fn a_killed_server_leaves_no_temporary_file_and_takes_none_from_another() {
    let scratch = Scratch::new("temporary");
    let folder = scratch.join("temporary");
    fs::create_dir(&folder).expect("directories can be made");
    let start = |name: &str| {
        let own = scratch.join(name);
        fs::create_dir(&own).expect("directories can be made");
        let big = tables::big(&own, "big");
        serve_file(&big, &spilling_into(&folder))
    };
    let (mut killed, other) = (start("killed"), start("other"));
    let target = |suffix: &str, sql: &str| format!("/sql.{suffix}?query={}", encode(sql));
    let sort = |server: &Daemon| {
        let mut client = Connection::open(server.port());
        client.ask(&target("csv", SORTED));
        wait::until("it spills", LIMIT, || server.files_open_below(&folder) > 0);
        client
    };
    let mut goes_on = sort(&other);
    let _sorts = sort(&killed);
    // The width of these texts is not known: the file waits for its last row.
    let spilled = killed.files_open_below(&folder);
    let mut waits = Connection::open(killed.port());
    waits.ask(&target("fits", "SELECT name || '' AS name, ra FROM big"));
    wait::until("it spools as well", LIMIT, || {
        killed.files_open_below(&folder) > spilled
    });
    killed.signal("KILL");
    killed.wait(LIMIT);
    assert_eq!(names_in(&folder, 2), 0);
    let _next = start("next");
    let sorted = goes_on.read_response();
    assert_eq!((sorted.status, sorted.end), (200, End::Whole));
    let filtered = http::get(other.port(), "/big.csv?ra=lt.180&select=ra");
    assert_eq!(
        sorted.text().lines().count(),
        filtered.text().lines().count()
    );
    // That of the killed one went with the start of the next.
    assert_eq!(names_in(&folder, 2), 0);
}

#[test]
fn a_sort_that_may_neither_remember_nor_spill_is_422() {
    let scratch = Scratch::new("no-spill");
    let server = serve_big(
        &scratch,
        // A busy machine may sort for longer than a head usually waits.
        "memory_bytes = \"32MiB\"\nspill_bytes = 0\n[stream]\ncommit_after = \"60s\"",
    );
    let detail = ask(&server, SORTED).problem(422);
    assert!(detail.to_lowercase().contains("memory"), "{detail}");
    // Others are served: the memory is free again.
    let few = ask(&server, "SELECT ra FROM big ORDER BY ra LIMIT 3");
    assert_eq!(few.text().lines().count(), 4);
}

#[test]
fn a_sort_that_needs_more_temporary_files_than_allowed_is_422() {
    let scratch = Scratch::new("small-spill");
    let server = serve_big(
        &scratch,
        "memory_bytes = \"32MiB\"\nspill_bytes = \"1MiB\"\n[stream]\ncommit_after = \"60s\"",
    );
    let detail = ask(&server, SORTED).problem(422);
    assert!(detail.contains("temporary files"), "{detail}");
    // The space is free again.
    wait::until("all files are dropped", LIMIT, || {
        server.files_open_below(&std::env::temp_dir()) == 0
    });
    let few = ask(&server, "SELECT ra FROM big ORDER BY ra LIMIT 3");
    assert_eq!(few.text().lines().count(), 4);
}

#[test]
fn a_slow_client_does_not_use_up_the_query_s_time() {
    let scratch = Scratch::new("slow");
    let stars = tables::stars(scratch.path(), "stars", 60_000);
    let server = Daemon::start(&format!(
        "[tables]\ntime_limit = \"2s\"\n[routes.stars]\nkind = \"table\"\npath = \"{}\"\n",
        stars.display()
    ));
    let mut client = Connection::open_narrow(server.port());
    client.ask("/stars.vot");
    thread::sleep(Duration::from_secs(3));
    let table = client.read_response();
    assert_eq!((table.status, table.end), (200, End::Whole));
    let told = last_transfer(server.port());
    assert_eq!(told["outcome"], "complete");
    let waited = told["blocked_on_consumer_seconds"].as_f64();
    assert!(waited.is_some_and(|seconds| seconds > 2.0), "{told}");
}

#[test]
fn texts_are_compressed_where_that_is_wanted_and_binary_formats_never() {
    let scratch = Scratch::new("compressed");
    let stars = tables::stars(scratch.path(), "stars", 20_000);
    let server = Daemon::start(&format!(
        "[routes.plain]\nkind = \"table\"\npath = \"{0}\"\n\
         [routes.stars]\nkind = \"table\"\npath = \"{0}\"\ncompress = true\n",
        stars.display()
    ));
    let coding = |path: &str| {
        let response = http::get_with(server.port(), path, "Accept-Encoding: gzip");
        assert_eq!((response.status, response.end), (200, End::Whole));
        response.header("content-encoding").map(str::to_owned)
    };
    for form in ["vot", "csv", "tsv", "ndjson", "json", "html", "txt"] {
        assert_eq!(
            coding(&format!("/stars.{form}")).as_deref(),
            Some("gzip"),
            "{form}"
        );
        assert_eq!(coding(&format!("/plain.{form}")), None, "{form}");
    }
    for form in ["fits", "parquet", "arrow"] {
        assert_eq!(coding(&format!("/stars.{form}")), None, "{form}");
    }
}

#[test]
fn joins_that_compute_for_long_do_not_keep_others_waiting() {
    let scratch = Scratch::new("joins");
    // More joins than threads, each in the midst of a batch against a million rows.
    let server = serve_big(&scratch, "time_limit = \"4s\"");
    let join = "SELECT count(*) FROM big a, big b WHERE a.ra < b.ra";
    thread::scope(|scope| {
        let joins: Vec<_> = (0..3).map(|_| scope.spawn(|| ask(&server, join))).collect();
        wait::until("all joins run", LIMIT, || {
            http::transfers(server.port())["active"] == 3
        });
        for join in joins {
            join.join().expect("nobody panics").problem(504);
        }
    });
    let few = http::get(server.port(), "/big.csv?limit=3");
    assert_eq!((few.status, few.text().lines().count()), (200, 4));
}

/// A named pipe stands for a file system that does not answer: opening it blocks.
#[test]
fn a_table_whose_file_does_not_answer_is_503_and_no_other_table_waits_for_it() {
    let scratch = Scratch::new("hangs");
    let other = tables::stars(scratch.path(), "other", 1000);
    let hung = scratch.join("hung.fits");
    let first = Server::start([&other]);
    fs::write(&hung, http::get(first.port(), "/other.fits").body).expect("files can be written");
    let server = Daemon::start(&format!(
        "[tables]\nplan_timeout = \"2s\"\n\
         [routes.other]\nkind = \"table\"\npath = \"{}\"\n\
         [routes.hung]\nkind = \"table\"\npath = \"{}\"\n",
        other.display(),
        hung.display()
    ));
    assert_eq!(http::get(server.port(), "/hung.csv").status, 200);
    fs::remove_file(&hung).expect("it is there");
    let made = Command::new("mkfifo").arg(&hung).status();
    assert!(made.expect("mkfifo is there").success());
    thread::scope(|scope| {
        let ask = || scope.spawn(|| http::get(server.port(), "/hung.csv"));
        let asked: Vec<_> = (0..8).map(|_| ask()).collect();
        wait::until("all wait for the file", LIMIT, || {
            http::transfers(server.port())["active"] == 8
        });
        for _ in 0..5 {
            let began = Instant::now();
            let few = http::get(server.port(), "/other.csv?limit=3");
            assert_eq!((few.status, few.text().lines().count()), (200, 4));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
        for asked in asked {
            let refused = asked.join().expect("nobody panics");
            let detail = refused.problem(503);
            assert!(detail.contains("there is no plan after 2s"), "{detail}");
            assert!(refused.header("retry-after").is_some());
        }
    });
}
