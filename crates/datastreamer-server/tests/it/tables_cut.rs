//! Whether a limit has cut a table: in the head wherever the head is made once that is known, in the name of
//! the saved file, and again when the same file is sent once more.

use std::{fs, path::PathBuf, thread, time::Duration};

use datastreamer_testkit::Postgres;
use serde_json::json;

use crate::get::Folder;
use crate::support::{
    http::{self, Response},
    nginx::{Nginx, Upstream},
    program::Daemon,
    scratch::Scratch,
    server::Server,
    tables::{self, STARS},
    wait,
};

const LIMIT: Duration = Duration::from_secs(20);
/// More than the two seconds for which a file that was changed has no tag.
const SETTLING: Duration = Duration::from_millis(3200);
/// All that a client downloads.
const FORMATS: [&str; 8] = [
    "csv", "tsv", "json", "ndjson", "vot", "fits", "parquet", "arrow",
];

fn limit(table: &Response) -> Option<&str> {
    table.header("datastreamer-row-limit")
}

/// Returns the name under which the response is saved.
fn saved_as(table: &Response) -> &str {
    let disposition = table.header("content-disposition").expect("a name");
    disposition.split('"').nth(1).expect("a quoted name")
}

#[test]
fn a_head_with_a_length_tells_a_cut_table_from_a_complete_one() {
    let scratch = Scratch::new("heads");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let database = Postgres::start();
    let server = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n\
         [routes.capped]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 150\n\
         [routes.query]\nkind = \"query\"\nsql = \"SELECT * FROM capped WHERE ra > 0\"\nmax_rows = 150\n\
         [routes.postgres]\nkind = \"postgres\"\nmax_rows = 150\n\
         sql = \"SELECT i::float8 / 25 AS ra FROM generate_series(1, 9000) AS i\"\n\
         [sql]\nenabled = true\nmax_rows = 150\n\
         [routes.kept]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 150\nkeep = \"10m\"\n",
        database.url(),
        file.display(),
        file.display(),
    ));
    let port = server.port();
    let sql = |condition: &str| format!("sql.SUFFIX?query=SELECT+*+FROM+capped+WHERE+{condition}");
    for (cut, complete, name) in [
        (
            "capped.SUFFIX?ra=gt.1",
            "capped.SUFFIX?ra=lt.1",
            "capped-ra.gt.1-first-150",
        ),
        (
            "query.SUFFIX?ra=gt.1",
            "query.SUFFIX?ra=lt.1",
            "query-ra.gt.1-first-150",
        ),
        (
            "postgres.SUFFIX?ra=gt.1",
            "postgres.SUFFIX?ra=lt.1",
            "postgres-ra.gt.1-first-150",
        ),
        (&sql("ra%3E1"), &sql("ra%3C1"), "sql-first-150"),
        (
            "kept.SUFFIX?ra=gt.1",
            "kept.SUFFIX?ra=lt.1",
            "kept-ra.gt.1-first-150",
        ),
    ] {
        for suffix in FORMATS {
            let [cut, complete] = [cut, complete].map(|path| path.replace("SUFFIX", suffix));
            for _ in 0..2 {
                let table = http::get(port, &format!("/{cut}"));
                assert_eq!(table.status, 200, "{cut}: {}", table.text());
                assert!(table.header("content-length").is_some(), "{cut}");
                assert_eq!(limit(&table), Some("150 of more; set-by=server"), "{cut}");
                assert_eq!(saved_as(&table), format!("{name}.{suffix}"), "{cut}");
                let table = http::get(port, &format!("/{complete}"));
                assert_eq!(table.status, 200, "{complete}: {}", table.text());
                assert!(table.header("content-length").is_some(), "{complete}");
                assert_eq!(limit(&table), None, "{complete}");
                assert!(!saved_as(&table).contains("first"), "{complete}");
            }
        }
    }
}

#[test]
fn a_limit_of_no_rows_cuts_no_table_without_rows() {
    let scratch = Scratch::new("none");
    let file = tables::stars(scratch.path(), "stars", 100);
    let server = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{0}\"\nmax_rows = 0\n\
         [routes.asked]\nkind = \"query\"\nsql = \"SELECT * FROM stars\"\nmax_rows = 0\n\
         [routes.open]\nkind = \"query\"\nsql = \"SELECT * FROM stars\"\n\
         [routes.all]\nkind = \"table\"\npath = \"{0}\"\n",
        file.display(),
    ));
    let port = server.port();
    for suffix in FORMATS {
        for route in ["stars", "asked"] {
            let empty = http::get(port, &format!("/{route}.{suffix}?ra=lt.-1"));
            assert_eq!(
                (empty.status, limit(&empty)),
                (200, None),
                "{route}.{suffix}"
            );
            let cut = http::get(port, &format!("/{route}.{suffix}?ra=gt.0"));
            let expected = Some("0 of more; set-by=server");
            assert_eq!(
                (cut.status, limit(&cut)),
                (200, expected),
                "{route}.{suffix}"
            );
        }
        // It asks for the columns: whether there are rows is not looked at, and told where it is known.
        for (path, expected) in [
            ("open.SUFFIX?limit=0&ra=lt.-1", Some("0; set-by=request")),
            ("open.SUFFIX?limit=0&ra=gt.0", Some("0; set-by=request")),
            ("all.SUFFIX?limit=0&ra=gt.0", Some("0; set-by=request")),
            ("all.SUFFIX?limit=0", Some("0 of 100; set-by=request")),
            (
                "all.SUFFIX?limit=0&offset=90",
                Some("0 of 10; set-by=request"),
            ),
            ("all.SUFFIX?limit=0&offset=100", None),
            ("open.SUFFIX?limit=0", Some("0 of 100; set-by=request")),
        ] {
            let path = format!("/{}", path.replace("SUFFIX", suffix));
            for columns in [http::get(port, &path), http::head(port, &path)] {
                let found = (columns.status, limit(&columns));
                assert_eq!(found, (200, expected), "{path}");
            }
        }
    }
}

#[test]
fn a_repeat_whose_length_is_known_says_what_the_first_run_saw() {
    let scratch = Scratch::new("repeats");
    let file = tables::stars(scratch.path(), "stars", STARS);
    thread::sleep(SETTLING);
    let path = file.display();
    let server = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{path}\"\n\
         [routes.kept]\nkind = \"table\"\npath = \"{path}\"\nkeep = \"10m\"\n\
         [routes.again]\nkind = \"table\"\npath = \"{path}\"\nresume = \"rerun\"\n\
         [routes.asked]\nkind = \"query\"\nsql = \"SELECT * FROM stars WHERE ra > 0\"\nkeep = \"10m\"\n"
    ));
    let port = server.port();
    for route in ["stars", "again", "kept", "asked"] {
        for (rows, header) in [
            (8000, Some("8000 of more; set-by=request")),
            (STARS + 10, None),
        ] {
            let path = format!("/{route}.csv?limit={rows}&ra=gt.0");
            let first = http::get(port, &path);
            assert!(first.body.len() > 200_000, "{path}");
            wait::until("its length is known", LIMIT, || {
                let head = http::head(port, &path);
                head.header("content-length").is_some()
            });
            for answer in [http::get(port, &path), http::head(port, &path)] {
                if answer.header("content-length").is_some() {
                    assert_eq!(limit(&answer), header, "{path}");
                    let is_named = saved_as(&answer).contains(&format!("-first-{rows}."));
                    assert_eq!(is_named, header.is_some(), "{path}: {}", saved_as(&answer));
                } else {
                    assert_eq!(route, "again", "{path}");
                }
            }
            let range = http::get_with(port, &path, "Range: bytes=0-9");
            assert_eq!((range.status, limit(&range)), (206, header), "{path}");
        }
    }
}

#[test]
fn a_production_of_an_earlier_process_says_whether_it_is_cut() {
    let scratch = Scratch::new("restarted");
    let file = tables::stars(scratch.path(), "stars", STARS);
    thread::sleep(SETTLING);
    let config: PathBuf = scratch.join("datastreamer.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[spool]\nfolder = \"spool\"\n\
         [routes.kept]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 150\nkeep = \"10m\"\n",
        file.display()
    );
    fs::write(&config, text).expect("a configuration can be written");
    let serve = || Server::start(["--config".into(), config.clone().into_os_string()]);
    let all = format!("150 of {STARS}; set-by=server");
    let cases = [
        ("/kept.csv", Some(all.as_str()), "kept-first-150.csv"),
        (
            "/kept.csv?ra=gt.1",
            Some("150 of more; set-by=server"),
            "kept-ra.gt.1-first-150.csv",
        ),
        ("/kept.csv?ra=lt.1", None, "kept-ra.lt.1.csv"),
    ];
    let check = |server: &Server| {
        let answers = cases.map(|(path, header, name)| {
            let table = http::get(server.port(), path);
            assert_eq!(limit(&table), header, "{path}");
            assert_eq!(saved_as(&table), name, "{path}");
            table
        });
        answers.map(|table| table.header("etag").expect("a tag").to_owned())
    };
    let first = serve();
    let tags = check(&first);
    wait::until("all are on the storage", LIMIT, || {
        let files = fs::read_dir(scratch.join("spool")).expect("a folder");
        let names = files.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| name.as_encoded_bytes().ends_with(b".json"))
            .count()
            == cases.len()
    });
    drop(first);
    let second = serve();
    // These are read from what the first process has made: HEAD begins nothing.
    for (path, header, name) in cases {
        let head = http::head(second.port(), path);
        assert!(head.header("content-length").is_some(), "{path}");
        assert_eq!(limit(&head), header, "{path}");
        assert_eq!(saved_as(&head), name, "{path}");
    }
    assert_eq!(check(&second), tags);
}

#[test]
fn the_name_of_a_file_states_the_rows_that_it_has() {
    let scratch = Scratch::new("names");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let path = file.display();
    let server = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{path}\"\n\
         [routes.capped]\nkind = \"table\"\npath = \"{path}\"\nmax_rows = 150\n"
    ));
    let port = server.port();
    for (target, name) in [
        ("/capped.csv?limit=1000", "capped-first-150.csv"),
        ("/capped.csv?limit=10", "capped-first-10.csv"),
        ("/capped.csv?order=ra", "capped-order.ra-first-150.csv"),
        ("/capped.csv?select=ra", "capped-select.ra-first-150.csv"),
        (
            "/capped.csv?offset=8800",
            "capped-offset.8800-first-150.csv",
        ),
        ("/capped.csv?offset=8850", "capped-offset.8850.csv"),
        (
            "/capped.csv?offset=8850&limit=1000",
            "capped-offset.8850.csv",
        ),
        ("/capped.csv?limit=1000&ra=lt.1", "capped-ra.lt.1.csv"),
        ("/capped.csv?limit=1000&filename=mine", "mine.csv"),
        ("/stars.csv?limit=10", "stars-first-10.csv"),
        ("/stars.csv?limit=9001", "stars.csv"),
    ] {
        for answer in [http::get(port, target), http::head(port, target)] {
            // What a filter leaves is not known to HEAD.
            if !target.contains("ra=lt") || answer.header("content-length").is_some() {
                assert_eq!(saved_as(&answer), name, "{target}");
            }
        }
    }
}

#[test]
fn the_number_of_rows_is_told_wherever_it_is_known() {
    let scratch = Scratch::new("numbers");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let path = file.display();
    let server = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{path}\"\n\
         [routes.all]\nkind = \"query\"\nsql = \"SELECT * FROM stars\"\n\
         [sql]\nenabled = true\n"
    ));
    let port = server.port();
    let request = |cut: &str| format!("{cut}; set-by=request");
    for (target, header) in [
        ("/stars.csv?limit=8998", request("8998 of 9000")),
        ("/stars.csv?limit=8999", request("8999 of 9000")),
        ("/all.csv?limit=8999", request("8999 of 9000")),
        (
            "/sql.csv?query=SELECT+*+FROM+stars&limit=8999",
            request("8999 of 9000"),
        ),
        ("/stars.csv?limit=10&order=ra", request("10 of 9000")),
        ("/all.csv?limit=10&order=ra", request("10 of 9000")),
        // Behind the offset.
        ("/stars.csv?limit=10&offset=5", request("10 of 8995")),
        ("/stars.csv?limit=10&offset=8989", request("10 of 11")),
        ("/stars.csv?limit=10&offset=8990", String::new()),
    ] {
        for answer in [http::get(port, target), http::head(port, target)] {
            let told = limit(&answer).unwrap_or_default();
            assert_eq!(told, header, "{target}");
        }
    }
}

#[test]
fn get_tells_a_cut_table_from_a_complete_one_although_nginx_removes_the_trailer() {
    let scratch = Scratch::new("cut behind nginx");
    // More than is written before the head is sent.
    let file = tables::shared_stars(scratch.path(), "stars", 60_000);
    let table = format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{}\"\n",
        file.display()
    );
    for (receipts, complete, cut) in [
        ("1h", (Some(0), ""), (Some(10), "its rows are cut")),
        // Without a receipt nobody can tell them apart.
        (
            "0s",
            (Some(10), "its rows may be cut"),
            (Some(10), "its rows may be cut"),
        ),
    ] {
        let server = Daemon::start(&format!("[server]\nreceipts = \"{receipts}\"\n{table}"));
        let nginx = Nginx::start(server.port());
        for (limit, (code, words)) in [(70_000, complete), (50_000, cut)] {
            let path = format!("/stars.csv?ra=gt.0&limit={limit}");
            let folder = Folder::new();
            let said = folder.get(&["-o", "f", &nginx.url(Upstream::Http11, &path)]);
            assert_eq!(said.code, code, "{path}, receipts {receipts}: {said:?}");
            assert!(said.stderr.contains(words), "{path}: {said:?}");
            let all = http::get(server.port(), &path).body;
            assert!(fs::read(folder.path("f")).expect("a file") == all, "{path}");
        }
    }
}

#[test]
fn the_record_counts_the_rows_that_were_sent_and_none_that_was_read_to_see_whether_there_are_more()
{
    let scratch = Scratch::new("counted");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let database = Postgres::start();
    let server = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n[sql]\nenabled = true\n\
         [routes.stars]\nkind = \"table\"\npath = \"{}\"\n\
         [routes.query]\nkind = \"query\"\nsql = \"SELECT * FROM stars WHERE ra > 0\"\n\
         [routes.postgres]\nkind = \"postgres\"\n\
         sql = \"SELECT i::float8 / 25 AS ra FROM generate_series(1, 9000) AS i\"\n",
        database.url(),
        file.display(),
    ));
    let port = server.port();
    let counted = |path: &str| {
        let table = http::get(port, path);
        assert_eq!(table.status, 200, "{path}: {}", table.text());
        let record = tables::last_transfer(port);
        (
            table,
            record["rows"].clone(),
            record["rows_expected"].clone(),
        )
    };
    for (path, rows) in [
        ("/stars.html", 1000),
        ("/stars.html?ra=gt.0", 1000),
        ("/stars.html?offset=8500", 500),
        ("/stars.html?limit=10", 10),
        ("/stars.html?limit=5000", 1000),
        ("/query.html", 1000),
        ("/postgres.html", 1000),
        ("/sql.html?query=SELECT+*+FROM+stars", 1000),
        ("/sql.html?query=SELECT+*+FROM+stars+LIMIT+3", 3),
    ] {
        let (page, counted, expected) = counted(path);
        let shown = page.text().matches("<tr>").count() - 1;
        assert_eq!((shown, &counted), (rows, &json!(rows)), "{path}");
        assert!(expected.is_null() || expected == rows, "{path}: {expected}");
    }
    for format in FORMATS {
        for path in ["stars.SUFFIX?ra=gt.1&limit=10", "postgres.SUFFIX?limit=10"] {
            let path = format!("/{}", path.replace("SUFFIX", format));
            let (_, counted, expected) = counted(&path);
            assert_eq!(counted, 10, "{path}");
            assert!(expected.is_null() || expected == 10, "{path}: {expected}");
        }
    }
}

#[test]
fn head_refuses_what_get_refuses_wherever_the_number_of_rows_is_known_without_reading_them() {
    let scratch = Scratch::new("heads that refuse");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let database = Postgres::start();
    let server = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n\
         [routes.few]\nkind = \"table\"\npath = \"{}\"\nmax_rows = 100\non_more = \"refuse\"\n\
         [routes.all]\nkind = \"query\"\nsql = \"SELECT * FROM few\"\nmax_rows = 100\n\
         on_more = \"refuse\"\n\
         [routes.postgres]\nkind = \"postgres\"\nmax_rows = 100\non_more = \"refuse\"\n\
         sql = \"SELECT i::float8 / 25 AS ra FROM generate_series(1, 9000) AS i\"\n",
        database.url(),
        file.display(),
    ));
    let port = server.port();
    for format in FORMATS {
        for path in ["few.SUFFIX", "few.SUFFIX?order=ra&offset=10", "all.SUFFIX"] {
            let path = format!("/{}", path.replace("SUFFIX", format));
            assert_eq!(http::get(port, &path).status, 422, "{path}");
            assert_eq!(http::head(port, &path).status, 422, "{path}");
        }
        // Nobody knows before that there are more.
        for path in ["few.SUFFIX?ra=gt.1", "postgres.SUFFIX"] {
            let path = format!("/{}", path.replace("SUFFIX", format));
            assert_eq!(http::get(port, &path).status, 422, "{path}");
            assert_eq!(http::head(port, &path).status, 200, "{path}");
        }
    }
}
