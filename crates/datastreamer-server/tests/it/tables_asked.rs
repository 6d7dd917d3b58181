//! Tables as they are asked for: the format, the columns and rows, and how many of them.

use std::fs;

use serde_json::Value;

use crate::support::http::{self, Connection, End, Response};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, STARS, last_transfer, records};

/// Name, suffix and media type of every format.
const FORMATS: [(&str, &str, &str); 13] = [
    (
        "votable",
        "vot",
        "application/x-votable+xml;serialization=tabledata",
    ),
    (
        "votable-binary",
        "vot",
        "application/x-votable+xml;serialization=BINARY",
    ),
    (
        "votable-binary2",
        "vot",
        "application/x-votable+xml;serialization=BINARY2",
    ),
    ("fits", "fits", "application/fits"),
    ("csv", "csv", "text/csv;charset=utf-8;header=present"),
    ("tsv", "tsv", "text/tab-separated-values;charset=utf-8"),
    ("ndjson", "ndjson", "application/x-ndjson"),
    ("json", "json", "application/json"),
    ("parquet", "parquet", "application/vnd.apache.parquet"),
    ("arrow", "arrow", "application/vnd.apache.arrow.stream"),
    ("arrow-file", "arrow", "application/vnd.apache.arrow.file"),
    ("html", "html", "text/html;charset=utf-8"),
    ("text", "txt", "text/plain;charset=utf-8"),
];

/// A server of `/stars`, and where its file is.
struct Stars {
    server: Server,
    scratch: Scratch,
}

impl Stars {
    fn serve() -> Self {
        let scratch = Scratch::new("stars");
        let server = Server::start([tables::stars(scratch.path(), "stars", STARS)]);
        Self { server, scratch }
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.server.port(), path)
    }

    /// Gets what must be there, whole.
    #[track_caller]
    fn get_good(&self, path: &str) -> Response {
        let response = self.get(path);
        assert_eq!((response.status, response.end), (200, End::Whole), "{path}");
        response
    }

    #[track_caller]
    fn refused(&self, path: &str, words: &[&str]) {
        let detail = self.get(path).problem(400);
        for word in words {
            assert!(detail.contains(word), "{path}: no {word:?} in: {detail}");
        }
    }
}

#[test]
fn every_format_has_its_media_type_and_its_file_name() {
    let stars = Stars::serve();
    for (name, suffix, media_type) in FORMATS {
        let response = stars.get_good(&format!("/stars?format={name}"));
        assert_eq!(response.header("content-type"), Some(media_type), "{name}");
        let kind = match name {
            "html" | "text" => "inline",
            _ => "attachment",
        };
        let saved_as = format!("{kind}; filename=\"stars.{suffix}\"");
        let disposition = response.header("content-disposition");
        assert_eq!(disposition, Some(saved_as.as_str()), "{name}");
        assert!(!response.body.is_empty(), "{name}");
    }
    let listed = program::run(&["formats"]);
    listed.assert_good();
    assert_eq!(listed.text().lines().count(), FORMATS.len());
    for ((name, suffix, media_type), line) in FORMATS.iter().zip(listed.text().lines()) {
        for word in [name, suffix, media_type] {
            assert!(line.contains(word), "no {word} in: {line}");
        }
    }
}

#[test]
fn cat_writes_the_bytes_that_the_server_sends() {
    let stars = Stars::serve();
    let file = stars.scratch.join("stars.parquet");
    let file = file.to_str().expect("text");
    for (name, ..) in FORMATS {
        // The file itself is sent by the server, and written anew by `cat`, which reads every row.
        let sent = stars
            .get_good(&format!("/stars?format={name}&offset=0"))
            .body;
        let said = program::run(&["cat", file, "--format", name]);
        said.assert_good();
        // Its page has no links, which would lead nowhere.
        assert_eq!(said.stdout == sent, name != "html", "{name}");
    }
    // Narrowed, and by the suffix of a route.
    let narrowed = "dec=gt.30&select=source_id,name&order=source_id";
    let sent = stars.get_good(&format!("/stars.csv?{narrowed}")).body;
    let by_file = program::run(&["cat", &format!("{file}?{narrowed}"), "--format", "csv"]);
    let by_route = program::run(&["cat", &format!("stars.csv?{narrowed}"), file]);
    for said in [by_file, by_route] {
        said.assert_good();
        assert!(said.stdout == sent);
    }
}

#[test]
fn a_length_is_stated_where_it_is_known_and_ranges_are_those_of_one_production() {
    let stars = Stars::serve();
    for (path, has_length) in [
        ("/stars.csv", false),
        ("/stars.csv?limit=10", true),
        ("/stars.vot", false),
        ("/stars.arrow", false),
        ("/stars.fits", true),
    ] {
        let complete = stars.get_good(path);
        let length = has_length.then(|| complete.body.len().to_string());
        // What another test has left is not known here, but the files are older than two seconds or not.
        let stated = complete.header("content-length");
        assert_eq!(stated, length.as_deref(), "{path}");
        let has_tag = complete.header("etag").is_some();
        let ranges = if has_tag { "bytes" } else { "none" };
        assert_eq!(complete.header("accept-ranges"), Some(ranges), "{path}");
        let head = http::head(stars.server.port(), path);
        assert_eq!(head.header("accept-ranges"), Some("bytes"), "{path}");
        let range = http::get_with(stars.server.port(), path, "Range: bytes=5-99");
        assert_eq!((range.status, range.end), (206, End::Whole), "{path}");
        assert!(range.body == complete.body[5..100], "{path}");
        // The last bytes are known when all are.
        let last = http::get_with(stars.server.port(), path, "Range: bytes=-5");
        assert_eq!(last.status, 206, "{path}");
        let head = http::head(stars.server.port(), path);
        let length = complete.body.len().to_string();
        assert_eq!(
            head.header("content-length"),
            Some(length.as_str()),
            "{path}"
        );
        assert_eq!(head.header("etag"), range.header("etag"), "{path}");
    }
}

#[test]
fn fits_has_a_length_and_is_padded_to_blocks() {
    let fits = Stars::serve().get_good("/stars.fits");
    let length = fits.header("content-length").expect("a length");
    assert_eq!(length, fits.body.len().to_string());
    assert_eq!(fits.body.len() % 2880, 0);
    let header = String::from_utf8_lossy(&fits.body[2880..5760]).into_owned();
    assert!(
        header.contains(&format!("NAXIS2  = {STARS:>20}")),
        "{header}"
    );
}

#[test]
fn a_head_runs_nothing() {
    let stars = Stars::serve();
    let before = stars.server.bytes_read();
    for (name, _, media_type) in FORMATS {
        let head = http::head(stars.server.port(), &format!("/stars?format={name}"));
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some(media_type));
    }
    let transfers = http::transfers(stars.server.port());
    assert_eq!(transfers["recent"], Value::Array(Vec::new()));
    let read = stars.server.bytes_read() - before;
    assert!(read < 100_000, "{read} bytes were read for heads");
    let refused = http::head(stars.server.port(), "/stars?format=nope");
    assert_eq!(refused.status, 400);
}

#[test]
fn a_parameter_goes_before_the_suffix_and_that_before_accept() {
    let stars = Stars::serve();
    let port = stars.server.port();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (path, accept, given) in [
        ("/stars.fits?format=csv", "application/json", "text/csv"),
        (
            "/stars.fits?RESPONSEFORMAT=csv",
            "application/json",
            "text/csv",
        ),
        ("/stars.fits?responseformat=text/csv", "*/*", "text/csv"),
        (
            "/stars.tsv",
            "application/json",
            "text/tab-separated-values",
        ),
        ("/stars", "application/json", "application/json"),
        (
            "/stars",
            "text/csv;q=0.5, application/json;q=0.9",
            "application/json",
        ),
        (
            "/stars",
            "text/csv;q=0.9, application/json;q=0.5",
            "text/csv",
        ),
        ("/stars", browser, "text/html"),
        ("/stars", "*/*", "application/x-votable+xml"),
        ("/stars", "image/png", "application/x-votable+xml"),
        ("/stars.vot", browser, "application/x-votable+xml"),
    ] {
        let response = http::get_with(port, path, &format!("Accept: {accept}"));
        assert_eq!(response.status, 200, "{path} {accept}");
        let media_type = response.header("content-type").expect("a type");
        assert!(
            media_type.starts_with(given),
            "{path} {accept}: {media_type}"
        );
    }
    assert!(stars.get_good("/stars").text().contains("<VOTABLE"));
}

#[test]
fn an_unknown_format_is_refused_with_all_that_there_are() {
    let names = FORMATS.map(|(name, ..)| name);
    let stars = Stars::serve();
    stars.refused("/stars.csv?format=xlsx", &["`xlsx`"]);
    stars.refused("/stars?RESPONSEFORMAT=application/pdf", &names);
    stars.refused("/stars?format=xlsx", &names);
    stars.refused("/stars?format=csv&format=tsv", &["`format`", "twice"]);
    stars.refused("/stars?format=csv&RESPONSEFORMAT=tsv", &["twice"]);
    let detail = stars.get("/stars.xlsx").problem(404);
    assert!(detail.contains("/stars.vot"), "{detail}");
    let said = program::run(&["cat", "stars.vot", "--format", "xlsx"]);
    assert_eq!(said.code, Some(2));
    for name in names {
        assert!(said.stderr.contains(name), "{}", said.stderr);
    }
}

#[test]
fn what_is_narrowed_by_a_column_that_is_not_there_is_refused_with_those_that_are() {
    let stars = Stars::serve();
    let columns = [
        "source_id",
        "ra",
        "dec",
        "parallax",
        "pmra",
        "g_mag",
        "name",
        "epoch",
    ];
    for path in [
        "nope=eq.1",
        "select=ra,nope",
        "order=nope.desc",
        "select=x:nope",
    ] {
        let path = format!("/stars.csv?{path}");
        stars.refused(&path, &["nope"]);
        stars.refused(&path, &columns);
    }
    stars.refused(
        "/stars.csv?ra=between.1",
        &["`between`", "eq, neq, gt, gte, lt, lte, like"],
    );
    stars.refused("/stars.csv?ra=10", &["`10`", "gte.10"]);
    stars.refused("/stars.csv?ra=gt.many", &["`ra`", "`many`", "64-bit float"]);
    stars.refused("/stars.csv?source_id=eq.1.5", &["`1.5`", "64-bit integer"]);
    stars.refused("/stars.csv?ra=like.1*", &["texts"]);
    stars.refused("/stars.csv?name=in.GAL", &["in.(1,2,3)"]);
    stars.refused("/stars.csv?name=is.true", &["booleans"]);
    stars.refused("/stars.csv?limit=few", &["few"]);
    stars.refused("/stars.csv?offset=-1", &["`offset`", "-1"]);
    stars.refused("/stars.csv?select=ra,ra", &["`ra`", "twice"]);
    for path in ["name=eq.%ff", "na%c3me=eq.a", "name=in.(a,%e2%82)"] {
        stars.refused(&format!("/stars.csv?{path}"), &["not UTF-8"]);
    }
}

#[test]
fn rows_and_columns_are_those_that_were_asked_for() {
    let stars = Stars::serve();
    let all = records(&stars.get_good("/stars.json").body);
    assert_eq!(all.len() as u64, STARS);
    let number = |row: &Value, column: &str| row[column].as_f64();
    let keep = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        all.iter().filter(|row| wanted(row)).cloned().collect()
    };
    let north = |row: &Value| number(row, "dec") >= Some(30.0);
    let has_name = |row: &Value, part: &str| {
        row["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(part))
    };
    for (query, expected) in [
        ("dec=gte.30", keep(&north)),
        ("dec=not.gte.30", keep(&|row| !north(row))),
        (
            "dec=gte.30&ra=lt.180",
            keep(&|row| north(row) && number(row, "ra") < Some(180.0)),
        ),
        ("g_mag=is.null", keep(&|row| row["g_mag"].is_null())),
        ("name=like.QSO*", keep(&|row| has_name(row, "QSO"))),
        (
            "name=ilike.qso*&g_mag=is.not_null",
            keep(&|row| has_name(row, "QSO") && !row["g_mag"].is_null()),
        ),
        (
            "name=like.%3CUV%26X%3E*",
            keep(&|row| has_name(row, "<UV&X>")),
        ),
        (
            "epoch=lt.2016-01-01T00:00:00",
            keep(&|row| row["epoch"].as_str().is_some_and(|epoch| epoch < "2016")),
        ),
    ] {
        let found = records(&stars.get_good(&format!("/stars.json?{query}")).body);
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{query}"
        );
        assert!(
            found == expected,
            "{query}: {} rows, not {}",
            found.len(),
            expected.len()
        );
    }
    let mut sorted = keep(&north);
    sorted.sort_by(|one, other| {
        other["ra"]
            .as_f64()
            .partial_cmp(&one["ra"].as_f64())
            .expect("numbers")
    });
    let expected: Vec<Value> = sorted[5..12]
        .iter()
        .map(|row| serde_json::json!({ "id": row["source_id"], "ra": row["ra"] }))
        .collect();
    let query = "/stars.json?dec=gte.30&order=ra.desc&offset=5&limit=7&select=id:source_id,ra";
    assert_eq!(records(&stars.get_good(query).body), expected);
}

#[test]
fn a_limit_is_told_and_overflow_only_where_rows_were_cut() {
    let stars = Stars::serve();
    for (limit, rows, is_cut) in [
        (0, 0, true),
        (1, 1, true),
        (STARS - 1, STARS - 1, true),
        (STARS, STARS, false),
        (STARS + 1, STARS, false),
    ] {
        for name in ["MAXREC", "limit", "maxrec"] {
            let path = format!("/stars.vot?{name}={limit}");
            let table = stars.get_good(&path);
            let announced = table.header("datastreamer-row-limit");
            // It is known how many rows there are.
            let cut = is_cut.then(|| format!("{limit} of {STARS}; set-by=request"));
            assert_eq!(announced, cut.as_deref(), "{path}");
            let text = table.text();
            assert_eq!(text.matches("<TR>").count() as u64, rows, "{path}");
            assert_eq!(text.contains("value=\"OVERFLOW\""), is_cut, "{path}");
            assert!(text.contains("<FIELD name=\"ra\""), "{path}");
            let told = last_transfer(stars.server.port());
            let outcome = if is_cut { "capped" } else { "complete" };
            assert_eq!(told["outcome"], outcome, "{path}: {told}");
            // Of nothing there is no count.
            let counted = told["rows"].as_u64().unwrap_or_default();
            assert_eq!(counted, rows, "{path}: {told}");
        }
    }
    // Of both the smaller one holds.
    for (query, rows) in [
        ("limit=3&MAXREC=10", 3),
        ("limit=10&MAXREC=3", 3),
        ("MAXREC=0&LIMIT=5", 0),
        ("MAXREC=3&limit=3", 3),
    ] {
        let table = stars.get_good(&format!("/stars.vot?{query}"));
        let table = table.text();
        assert_eq!(table.matches("<TR>").count(), rows, "{query}");
        assert!(table.contains("value=\"OVERFLOW\""), "{query}");
    }
    let whole = stars.get_good("/stars.vot");
    assert_eq!(whole.header("datastreamer-row-limit"), None);
    assert!(!whole.text().contains("OVERFLOW"));
    // The order and the limit together: the first rows in the order.
    let cut = records(&stars.get_good("/stars.json?order=ra&MAXREC=3").body);
    let all = records(&stars.get_good("/stars.json?order=ra").body);
    assert_eq!(cut, all[..3]);
}

#[test]
fn a_route_s_own_limit_holds_for_everybody() {
    let scratch = Scratch::new("limited");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let server = Daemon::start(&format!(
        "[routes.few]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 100\n",
        file.display()
    ));
    for (query, rows, limit) in [
        ("", 100, "server"),
        ("?limit=1000", 100, "server"),
        ("?MAXREC=10", 10, "request"),
    ] {
        let table = http::get(server.port(), &format!("/few.json{query}"));
        assert_eq!(records(&table.body).len(), rows, "{query}");
        let limit = format!("{rows} of {STARS}; set-by={limit}");
        assert_eq!(table.header("datastreamer-row-limit"), Some(limit.as_str()));
        assert_eq!(last_transfer(server.port())["outcome"], "capped");
    }
    let sorted = http::get(server.port(), "/few.json?order=ra");
    assert_eq!(records(&sorted.body).len(), 100);
    let told = sorted.header("datastreamer-row-limit");
    let limit = format!("100 of {STARS}; set-by=server");
    assert_eq!(told, Some(limit.as_str()));
    let few = http::get(server.port(), "/few.json?ra=lt.1");
    assert!(records(&few.body).len() < 100);
    assert_eq!(last_transfer(server.port())["outcome"], "complete");
}

/// Returns the name under which the response is saved.
fn saved_as(table: &Response) -> &str {
    let disposition = table.header("content-disposition").expect("a name");
    disposition.split('"').nth(1).expect("a quoted name")
}

#[test]
fn a_cut_is_seen_in_every_format_before_or_behind_the_rows() {
    let scratch = Scratch::new("cut");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let path = file.display();
    let (text, declared) = (scratch.join("text.csv"), scratch.join("declared.csv"));
    let lines: String = (0..STARS).map(|n| format!("{n}\n")).collect();
    fs::write(&text, format!("n\n{lines}")).expect("files can be written");
    fs::write(&declared, "a\n1\n2\n3\n").expect("files can be written");
    let server = Daemon::start(&format!(
        "[routes.few]\nkind = \"table\"\npath = \"{path}\"\nmax_rows = 100\n\
         [routes.enough]\nkind = \"table\"\npath = \"{path}\"\nmax_rows = {STARS}\n\
         [routes.text]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 100\n\
         [routes.declared]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 2\n\
         columns = {{ a = {{ type = \"int64\" }} }}\n\
         [routes.asked]\nkind = \"query\"\nsql = \"SELECT * FROM few WHERE ra > 1\"\nmax_rows = 100\n",
        text.display(),
        declared.display()
    ));
    let port = server.port();
    for suffix in [
        "csv", "tsv", "json", "ndjson", "vot", "fits", "parquet", "arrow",
    ] {
        let known = http::get(port, &format!("/few.{suffix}"));
        let limit = format!("100 of {STARS}; set-by=server");
        assert_eq!(
            known.header("datastreamer-row-limit"),
            Some(limit.as_str()),
            "{suffix}"
        );
        assert_eq!(saved_as(&known), format!("few-first-100.{suffix}"));
        let head = http::head(port, &format!("/few.{suffix}"));
        assert_eq!(
            head.header("datastreamer-row-limit"),
            Some(limit.as_str()),
            "{suffix}"
        );
        assert_eq!(saved_as(&head), format!("few-first-100.{suffix}"));
        // A range begins a production, and a second request joins it.
        for _ in 0..2 {
            let range = http::get_with(port, &format!("/few.{suffix}"), "Range: bytes=0-9");
            assert_eq!(
                range.header("datastreamer-row-limit"),
                Some(limit.as_str()),
                "{suffix}"
            );
        }
        // The rows of text were counted when their types were inferred.
        let text = http::get(port, &format!("/text.{suffix}"));
        assert_eq!(
            text.header("datastreamer-row-limit"),
            Some(limit.as_str()),
            "{suffix}"
        );
        let declared = http::get(port, &format!("/declared.{suffix}"));
        let of_declared = declared.header("datastreamer-row-limit").expect("a limit");
        assert!(
            [
                "2; set-by=server",
                "2 of more; set-by=server",
                "2 of 3; set-by=server"
            ]
            .contains(&of_declared),
            "{suffix}: {of_declared}"
        );
        let enough = http::get(port, &format!("/enough.{suffix}"));
        assert_eq!(enough.header("datastreamer-row-limit"), None, "{suffix}");
        assert_eq!(saved_as(&enough), format!("enough.{suffix}"));
        // Known at the end only, which is in the head where that is behind the rows.
        let unknown = http::get(port, &format!("/asked.{suffix}"));
        let limit = unknown.header("datastreamer-row-limit").expect("a limit");
        assert!(
            limit.starts_with("100") && limit.ends_with("; set-by=server"),
            "{limit}"
        );
        assert_eq!(saved_as(&unknown), format!("asked-first-100.{suffix}"));
        assert_eq!(last_transfer(port)["outcome"], "capped", "{suffix}");
    }
    let index = http::get(port, "/");
    assert!(
        index
            .text()
            .contains(&format!("{STARS} rows, of which 100 are sent at most"))
    );
}

#[test]
fn a_cut_that_shows_at_the_end_is_in_a_trailer() {
    let stars = Stars::serve();
    let mut client = Connection::open(stars.server.port());
    // More than is written before the head is sent, and a filter, so that nobody knows the rows.
    client.send(
        "GET /stars.csv?ra=gt.0&limit=20000 HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    );
    let head = client.read_head();
    if head.header("content-length").is_none() {
        assert_eq!(head.header("trailer"), Some("datastreamer-row-limit"));
    }
    assert_eq!(
        head.header("datastreamer-row-limit"),
        Some("20000; set-by=request")
    );
}

#[test]
fn an_operator_may_refuse_what_would_be_cut() {
    let scratch = Scratch::new("refuse");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let path = file.display();
    let server = Daemon::start(&format!(
        "[routes.few]\nkind = \"table\"\npath = \"{path}\"\nmax_rows = 100\non_more = \"refuse\"\n\
         [routes.asked]\nkind = \"query\"\nsql = \"SELECT * FROM few WHERE ra > 1\"\nmax_rows = 100\n\
         on_more = \"refuse\"\n\
         [routes.limited]\nkind = \"query\"\nsql = \"SELECT 1 AS one FROM few LIMIT 20\"\n\
         max_rows = 100\non_more = \"refuse\"\n\
         [routes.none]\nkind = \"query\"\nsql = \"SELECT * FROM few WHERE ra > 1\"\nmax_rows = 0\n\
         on_more = \"refuse\"\n"
    ));
    let port = server.port();
    let refused = http::get(port, "/few.csv").problem(422);
    for word in [&STARS.to_string(), "at most 100", "limit=100"] {
        assert!(refused.contains(word), "{refused}");
    }
    http::get(port, "/few.csv?limit=101").problem(422);
    let cut = http::get(port, "/few.csv?limit=100");
    let limit = format!("100 of {STARS}; set-by=request");
    assert_eq!(cut.header("datastreamer-row-limit"), Some(limit.as_str()));
    assert_eq!(http::get(port, "/few.csv?ra=lt.1").status, 200);
    let refused = http::get(port, "/asked.csv").problem(422);
    assert!(refused.contains("there are more rows"), "{refused}");
    assert_eq!(http::get(port, "/asked.csv?limit=100").status, 200);
    http::get(port, "/none.csv").problem(422);
    // The limit of the query itself is below.
    for path in ["/limited.csv", "/limited.fits", "/limited.vot"] {
        let limited = http::get(port, path);
        assert_eq!((limited.status, limited.end), (200, End::Whole), "{path}");
        assert_eq!(limited.header("datastreamer-row-limit"), None, "{path}");
        let record = last_transfer(port);
        assert_eq!(
            (&record["rows"], &record["rows_expected"]),
            (&20.into(), &20.into())
        );
    }
    let index = http::get(port, "/");
    assert!(
        index
            .text()
            .contains("of which 100 may be asked for at once")
    );
}

#[test]
fn the_name_of_a_saved_file_says_what_is_in_it_or_is_the_one_that_was_asked_for() {
    let stars = Stars::serve();
    for (path, name) in [
        ("/stars.csv", "stars.csv"),
        ("/stars.csv?limit=10", "stars-first-10.csv"),
        (
            "/stars.fits?ra=gt.1&order=dec.desc",
            "stars-ra.gt.1-order.dec.desc.fits",
        ),
        ("/stars.csv?filename=mine", "mine.csv"),
        ("/stars.csv?filename=mine.csv&ra=gt.1", "mine.csv"),
        ("/stars.csv?filename=mine.CSV", "mine.CSV"),
        // Not another kind of file than it is, and no folder.
        ("/stars.csv?filename=mine.exe", "mine.exe.csv"),
        (
            "/stars.csv?filename=..%2F..%2Fetc%2Fpasswd",
            "_.._etc_passwd.csv",
        ),
    ] {
        let table = stars.get_good(path);
        assert_eq!(saved_as(&table), name, "{path}");
    }
    let long = "1".repeat(80);
    let one = stars.get_good(&format!("/stars.csv?ra=gt.0.{long}"));
    let other = stars.get_good(&format!("/stars.csv?ra=gt.0.{long}2"));
    assert_ne!(saved_as(&one), saved_as(&other));
    assert!(saved_as(&one).len() < 100, "{}", saved_as(&one));
    let port = stars.server.port();
    for name in ["", "%00", "%20%20", ".."] {
        http::get(port, &format!("/stars.csv?filename={name}")).problem(400);
    }
    http::get(port, &format!("/stars.csv?filename={}", "a".repeat(201))).problem(400);
}

#[test]
fn names_of_parameters_have_no_case_unless_a_column_has_this_name() {
    let stars = Stars::serve();
    let wanted = stars
        .get_good("/stars.csv?select=ra,dec&order=ra.desc&offset=2&limit=5")
        .body;
    for query in [
        "SELECT=ra,dec&ORDER=ra.desc&OFFSET=2&LIMIT=5",
        "Select=ra,dec&oRDER=ra.desc&Offset=2&maxRec=5&Format=csv",
        "SELECT=ra,dec&order=ra.desc&offset=2&LIMIT=5&limit=5&MAXREC=5&FORMAT=csv",
    ] {
        let narrowed = stars.get_good(&format!("/stars.csv?{query}")).body;
        assert!(narrowed == wanted, "{query}");
    }
    for (query, name) in [
        ("select=ra&SELECT=dec", "select"),
        ("Select=ra&SELECT=ra", "select"),
        ("order=ra&ORDER=dec", "order"),
        ("OFFSET=1&offset=2", "offset"),
        ("LIMIT=1&limit=2", "limit"),
        ("MAXREC=1&maxrec=2", "MAXREC"),
        ("FORMAT=csv&format=tsv", "format"),
    ] {
        let detail = stars.get(&format!("/stars.csv?{query}")).problem(400);
        let wanted = format!("/stars.csv: parameter `{name}` is given twice");
        assert_eq!(detail, wanted, "{query}");
    }
}

#[test]
fn a_column_that_is_called_like_a_parameter_in_another_case_is_meant_by_its_own_spelling() {
    let scratch = Scratch::new("columns");
    let file = scratch.join("odd.csv");
    let text = "ORDER,Format,MaxRec,limit\n1,a,5,7\n2,b,6,8\n3,b,6,9\n";
    std::fs::write(&file, text).expect("files can be written");
    let server = Server::start([file]);
    let rows = |query: &str| {
        let table = http::get(server.port(), &format!("/odd.json?{query}"));
        assert_eq!(table.status, 200, "{query}: {}", table.text());
        let rows = records(&table.body);
        let orders = rows
            .iter()
            .map(|row| row["ORDER"].as_i64().expect("a number"));
        orders.collect::<Vec<_>>()
    };
    for (query, found) in [
        ("ORDER=gt.1", &[2, 3][..]),
        ("ORDER=gt.1&order=ORDER.desc", &[3, 2]),
        ("Order=ORDER.desc", &[3, 2, 1]),
        ("Format=eq.b&FORMAT=json", &[2, 3]),
        ("MaxRec=eq.6&MAXREC=1", &[2]),
        // This spelling is the parameter's, whatever the columns are called.
        ("limit=2", &[1, 2]),
        ("LIMIT=2", &[1, 2]),
    ] {
        assert_eq!(rows(query), found, "{query}");
    }
    let detail = http::get(server.port(), "/odd.json?limit=eq.7").problem(400);
    assert!(detail.contains("and=(limit.eq.7)"), "{detail}");
    assert_eq!(rows("and=(limit.eq.7)"), [1]);
}

#[test]
fn a_malformed_escape_is_refused_and_never_taken_for_itself() {
    let stars = Stars::serve();
    let file = stars.scratch.join("stars.parquet");
    let file = file.to_str().expect("text");
    for (query, wanted) in [
        ("name=eq.%zz", "parameter `name`: `%zz`"),
        ("name=eq.%", "parameter `name`: `%`"),
        ("ra=gt.1&name=like.%4", "parameter `name`: `%4`"),
        ("name=like.QSO%&ra=gt.1", "parameter `name`: `%`"),
        ("na%me=eq.a", "parameter `na%me`: `%me`"),
    ] {
        let wanted = format!("{wanted} is no percent-escape: write %25 for a percent sign");
        let path = format!("/stars.csv?{query}");
        assert_eq!(stars.get(&path).problem(400), wanted, "{query}");
        let head = http::head(stars.server.port(), &path);
        assert_eq!(head.status, 400, "{query}");
        let said = program::run(&["cat", &format!("{file}?{query}"), "--format", "csv"]);
        said.assert_refused(3, &[&wanted]);
        assert!(said.stdout.is_empty(), "{query}");
    }
    stars.get_good("/stars.csv?name=like.QSO%25");
}

#[test]
fn a_request_with_too_many_parameters_or_columns_is_refused_with_the_bound() {
    let stars = Stars::serve();
    let many = "&limit=1".repeat(1000);
    let detail = stars.get(&format!("/stars.csv?LIMIT=1{many}")).problem(400);
    assert_eq!(detail, "more than 1000 parameters");
    let aliases: Vec<_> = (0..5000).map(|place| format!("a{place}:ra")).collect();
    let began = std::time::Instant::now();
    let select = format!("/stars.csv?select={}", aliases.join(","));
    let detail = stars.get(&select).problem(400);
    assert!(
        detail.contains("columns are selected, the most of"),
        "{detail}"
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(1));
}
