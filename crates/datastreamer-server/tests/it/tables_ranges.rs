//! Tables in ranges: a table that is one file is that file, other formats are kept for programs that read
//! parts of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::http::{self, Connection};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, STARS};
use crate::support::{program, tools};

/// More than the two seconds for which a file that was changed has no tag.
const SETTLING: Duration = Duration::from_millis(3200);
/// A table in CSV as no encoder of ours writes it.
const CSV: &str = "id,\"name\"\r\n01,\"a\"\r\n2,b\r\n";

fn ask(port: u16, method: &str, path: &str, headers: &str) -> http::Response {
    let mut client = Connection::open(port);
    client.send(&format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    ));
    match method {
        "HEAD" => client.read_head(),
        _ => client.read_response(),
    }
}

/// Runs polars with the URL of a table, and returns what it prints.
fn polars(script: &str, url: &str) -> String {
    let mut python = tools::python();
    python.args([
        "-c",
        &format!("import polars, sys\nurl = sys.argv[1]\n{script}"),
    ]);
    python.arg(url);
    let said = program::finish_within(python, Duration::from_secs(120));
    said.assert_good();
    said.text()
}

#[test]
fn a_table_that_is_one_file_is_that_file_in_its_own_format() {
    let scratch = Scratch::new("own");
    let csv = scratch.join("people.csv");
    fs::write(&csv, CSV).expect("a file can be written");
    let stars = tables::stars(scratch.path(), "stars", STARS);
    std::thread::sleep(SETTLING);
    let server = Server::start([&csv, &stars]);
    let port = server.port();
    let file = http::get(port, "/people.csv");
    assert_eq!(file.text(), CSV);
    assert_eq!(file.header("accept-ranges"), Some("bytes"));
    let parquet = fs::read(&stars).expect("a file");
    assert!(http::get(port, "/stars.parquet").body == parquet);
    let head = ask(port, "HEAD", "/stars.parquet", "");
    assert_eq!(
        head.header("content-length"),
        Some(parquet.len().to_string().as_str())
    );
    let last = ask(port, "GET", "/stars.parquet", "Range: bytes=-4\r\n");
    assert_eq!((last.status, last.text()), (206, "PAR1"));
    // Whatever is asked of it, it is written anew.
    assert_ne!(http::get(port, "/people.csv?limit=10").text(), CSV);
    assert_ne!(http::get(port, "/people.csv?select=id,name").text(), CSV);
}

#[test]
fn what_the_configuration_says_of_a_table_is_not_lost() {
    let scratch = Scratch::new("said");
    let csv = scratch.join("people.csv");
    fs::write(&csv, CSV).expect("a file can be written");
    let path = csv.display();
    let server = Daemon::start(&format!(
        "[routes.few]\nkind = \"table\"\npath = \"{path}\"\nmax_rows = 1\n\
         [routes.told]\nkind = \"table\"\npath = \"{path}\"\ndescription = \"people\"\n\
         [routes.units]\nkind = \"table\"\npath = \"{path}\"\ncolumns.id.unit = \"m\"\n"
    ));
    for path in ["/few.csv", "/told.csv", "/units.csv"] {
        let answer = http::get(server.port(), path);
        assert_eq!(answer.status, 200);
        assert_ne!(answer.text(), CSV, "{path}");
    }
}

#[test]
fn polars_reads_parts_of_a_file_and_of_a_production() {
    let scratch = Scratch::new("polars");
    let stars = tables::stars(scratch.path(), "stars", STARS);
    let csv = scratch.join("numbers.csv");
    let rows: String = (0..5000).map(|n| format!("{n},{}\n", n * 2)).collect();
    fs::write(&csv, format!("n,m\n{rows}")).expect("a file can be written");
    std::thread::sleep(SETTLING);
    let server = Server::start([&stars, &csv]);
    let count = "print(polars.scan_parquet(url).select(polars.len()).collect().item())";
    let counted = polars(count, &server.url("/stars.parquet"));
    assert_eq!(counted.trim(), STARS.to_string());
    let sum = "print(polars.scan_parquet(url).select(polars.col('m').sum()).collect().item())";
    let summed = polars(sum, &server.url("/numbers.parquet"));
    assert_eq!(summed.trim(), (4999_u64 * 5000).to_string());
    let read = "print(polars.read_parquet(url).shape)";
    assert_eq!(
        polars(read, &server.url("/numbers.parquet")).trim(),
        "(5000, 2)"
    );
}

#[test]
fn a_production_of_a_table_lasts_until_its_files_change() {
    let scratch = Scratch::new("changed");
    let csv = scratch.join("numbers.csv");
    let write = |rows: &str| fs::write(Path::new(&csv), rows).expect("a file can be written");
    write("n\n1\n2\n");
    let server = Server::start([&csv]);
    let tag = |range: &str| {
        // As programs that read parts do.
        ask(server.port(), "HEAD", "/numbers.json", "");
        let answer = ask(
            server.port(),
            "GET",
            "/numbers.json",
            &format!("Range: {range}\r\n"),
        );
        assert_eq!(answer.status, 206, "{}", answer.text());
        answer.header("etag").expect("a tag").to_owned()
    };
    let first = tag("bytes=0-1");
    assert_eq!(tag("bytes=1-2"), first);
    write("n\n1\n2\n3\n");
    // It has bytes of another version: only one that begins anew is safe.
    let range = ask(
        server.port(),
        "GET",
        "/numbers.json",
        "Range: bytes=1-2\r\n",
    );
    assert_eq!(range.status, 412);
    assert_ne!(tag("bytes=0-1"), first);
    let whole = http::get(server.port(), "/numbers.json");
    assert!(whole.text().contains('3'), "{}", whole.text());
}

/// Formats whose bytes depend on the rows alone.
const REPEATABLE: [&str; 10] = [
    "/numbers.csv",
    "/numbers.tsv",
    "/numbers.json",
    "/numbers.ndjson",
    "/numbers.html",
    "/numbers.txt",
    "/numbers.vot",
    "/numbers?format=votable-binary",
    "/numbers?format=votable-binary2",
    "/numbers.fits",
];

/// A table in three files, settled.
fn numbers(scratch: &Scratch) -> std::path::PathBuf {
    let folder = scratch.join("numbers");
    for part in 0..3 {
        let below = folder.join(format!("part={part}"));
        fs::create_dir_all(&below).expect("a folder can be made");
        let rows: String = (0..6_000)
            .map(|n| format!("{n},text {},{}.5\n", n * 7 % 1000, part))
            .collect();
        fs::write(below.join("rows.csv"), format!("n,t,f\n{rows}")).expect("a file can be written");
    }
    std::thread::sleep(SETTLING);
    folder
}

fn serve_table(folder: &Path) -> Server {
    Server::start(["--table".as_ref(), folder.as_os_str()])
}

#[test]
fn a_table_that_was_sent_before_has_its_length_and_its_tag_again() {
    let scratch = Scratch::new("before");
    let folder = numbers(&scratch);
    let server = serve_table(&folder);
    let port = server.port();
    let mut tags = std::collections::BTreeSet::new();
    for path in REPEATABLE.iter().map(|path| (*path).to_owned()).chain([
        "/numbers.csv?n=lt.4000&select=n,t".to_owned(),
        "/numbers.csv?limit=10000".to_owned(),
        "/numbers.csv?order=t".to_owned(),
    ]) {
        let first = http::get(port, &path);
        assert_eq!(first.status, 200, "{path}");
        let tag = first.header("etag").expect("a tag").to_owned();
        assert_eq!(first.header("accept-ranges"), Some("bytes"), "{path}");
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
        for _ in 0..2 {
            let again = http::get(port, &path);
            assert!(again.body == first.body, "{path}");
            let length = first.body.len().to_string();
            assert_eq!(
                again.header("content-length"),
                Some(length.as_str()),
                "{path}"
            );
            assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}");
        }
        let head = http::head(port, &path);
        assert_eq!(
            head.header("content-length"),
            Some(first.body.len().to_string().as_str())
        );
        assert_eq!(head.header("etag"), Some(tag.as_str()), "{path}");
        let fresh = ask(port, "GET", &path, &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((fresh.status, fresh.body.len()), (304, 0), "{path}");
        assert!(tags.insert(tag), "{path}");
    }
    // Arrow and Parquet depend on how rows come in batches.
    for path in ["/numbers.parquet", "/numbers.arrow"] {
        let first = http::get(port, path);
        assert_eq!((first.status, first.header("etag")), (200, None), "{path}");
    }
}

#[test]
fn a_broken_download_of_a_table_is_resumed_from_a_production_of_the_same_bytes() {
    let scratch = Scratch::new("broken");
    let folder = numbers(&scratch);
    for path in REPEATABLE {
        if path.ends_with("html") {
            // It is shorter than what is cut.
            continue;
        }
        let server = serve_table(&folder);
        let port = server.port();
        let all = http::get(port, path).body;
        let mut client = Connection::open_narrow(port);
        client.ask(path);
        let head = client.read_head();
        let tag = head.header("etag").expect("a tag").to_owned();
        assert_eq!(
            head.header("content-length"),
            Some(all.len().to_string().as_str())
        );
        let part = client.read_part(100_000);
        drop(client);
        // As curl and wget do, and as browsers and `get` do.
        let bare = ask(port, "GET", path, "Range: bytes=100000-\r\n");
        assert_eq!(
            bare.status,
            206,
            "{path}: {}",
            String::from_utf8_lossy(&bare.body)
        );
        assert_eq!(bare.header("etag"), Some(tag.as_str()), "{path}");
        assert!([part.clone(), bare.body].concat() == all, "{path}");
        let headers = format!("Range: bytes=100000-\r\nIf-Range: {tag}\r\n");
        let rest = ask(port, "GET", path, &headers);
        assert_eq!(rest.status, 206, "{path}");
        assert!([part, rest.body].concat() == all, "{path}");
    }
}

#[test]
fn a_table_that_has_changed_is_not_resumed() {
    let scratch = Scratch::new("unresumed");
    let folder = numbers(&scratch);
    let server = serve_table(&folder);
    let port = server.port();
    let path = "/numbers.csv";
    let mut client = Connection::open_narrow(port);
    client.ask(path);
    let tag = client.read_head().header("etag").expect("a tag").to_owned();
    drop(client);
    let changed = folder.join("part=2/rows.csv");
    let text = fs::read_to_string(&changed).expect("a file");
    fs::write(&changed, text.replace("2.5\n", "2.6\n")).expect("a file can be written");
    let bare = ask(port, "GET", path, "Range: bytes=100000-\r\n");
    assert_eq!(bare.status, 412);
    let headers = format!("Range: bytes=100000-\r\nIf-Range: {tag}\r\n");
    let complete = ask(port, "GET", path, &headers);
    assert_eq!(complete.status, 200);
    assert!(complete.text().contains("2.6"));
    let fresh = ask(port, "GET", path, &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(fresh.status, 200);
}

#[test]
fn formats_of_one_suffix_are_productions_of_their_own() {
    let scratch = Scratch::new("accept");
    let folder = numbers(&scratch);
    let server = serve_table(&folder);
    let get = |accept: &str| {
        let headers = format!("Accept: {accept}\r\nRange: bytes=0-999\r\n");
        let answer = ask(server.port(), "GET", "/numbers", &headers);
        assert_eq!(answer.status, 206, "{accept}: {}", answer.text());
        answer.text().to_owned()
    };
    assert!(get("application/x-votable+xml").contains("<TABLEDATA>"));
    let binary = get("application/x-votable+xml;serialization=BINARY2");
    assert!(!binary.contains("<TABLEDATA>"));
}
