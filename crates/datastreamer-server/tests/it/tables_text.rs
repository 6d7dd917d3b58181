//! Options of CSV, TSV and NDJSON files, as flags and in a configuration, and tables that are not ready
//! yet.

use std::fs;
use std::time::Duration;

use crate::support::http;
use crate::support::program::{self, Daemon, Said};
use crate::support::scratch::Scratch;
use crate::support::{tools, wait};

/// Exit code 3: the configuration, a path, or a flag that does not fit it.
const CONFIGURATION: i32 = 3;
/// Exit code 7: rows that cannot be read.
const INCOMPLETE: i32 = 7;
/// Some twenty runs of the program beside those of other readers.
const COMPARED_LIMIT: Duration = Duration::from_secs(180);
/// For a table that takes seconds to be read in a debug build on an idle machine.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Runs `cat` on a file of these bytes.
fn cat(name: &str, bytes: &[u8], flags: &[&str]) -> Said {
    let scratch = Scratch::new("text");
    let path = scratch.join(name);
    fs::write(&path, bytes).unwrap();
    let mut command = program::command(&["cat", "--format", "ndjson"]);
    command.arg(&path).args(flags);
    program::finish(command)
}

/// Runs `cat` on a route of these keys over a file of these bytes.
fn cat_route(name: &str, bytes: &[u8], keys: &str) -> Said {
    let scratch = Scratch::new("text");
    fs::write(scratch.join(name), bytes).unwrap();
    let file = scratch.join("datastreamer.toml");
    let text = format!("[routes.t]\nkind = \"table\"\npath = \"{name}\"\n{keys}\n");
    fs::write(&file, text).unwrap();
    let mut command = program::command(&["cat", "/t.ndjson", "--config"]);
    command.arg(&file);
    program::finish(command)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn each_option_is_a_flag_and_a_key() {
    for (name, bytes, flags, keys, rows) in [
        (
            "t.csv",
            &b"a:b\n1:x\n"[..],
            &["--delimiter", ":"][..],
            "delimiter = \":\"",
            "{\"a\":1,\"b\":\"x\"}\n",
        ),
        (
            "t.csv",
            b"a\tb\n1\t2\n",
            &["--delimiter", "tab"],
            "delimiter = \"tab\"",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            "t.csv",
            b"a,b\n'x,\n''y',\"z\n",
            &["--quote", "'"],
            "quote = \"'\"",
            "{\"a\":\"x,\\n'y\",\"b\":\"\\\"z\"}\n",
        ),
        (
            "t.tsv",
            b"a\tb\nC:\\new\t\"\n",
            &["--quote", ""],
            "quote = \"\"",
            "{\"a\":\"C:\\\\new\",\"b\":\"\\\"\"}\n",
        ),
        (
            "t.csv",
            b"1,2\n",
            &["--header", "false"],
            "header = false",
            "{\"column1\":1,\"column2\":2}\n",
        ),
        (
            "t.csv",
            b"a,a\n1,2\n",
            &["--header", "true", "--names", "x,y"],
            "header = true\nnames = [\"x\", \"y\"]",
            "{\"x\":1,\"y\":2}\n",
        ),
        (
            "t.csv",
            b"a,b\n1,NA\n-,\"NA\"\n",
            &["--null", "NA", "--null", "-"],
            "null = [\"NA\", \"-\"]",
            "{\"a\":1,\"b\":null}\n{\"a\":null,\"b\":\"NA\"}\n",
        ),
        (
            "t.csv",
            b"# made by hand\na,b\n#\n1,\"x\n#y\"\n",
            &["--comment", "#"],
            "comment = \"#\"",
            "{\"a\":1,\"b\":\"x\\n#y\"}\n",
        ),
        (
            "t.csv",
            b"a\n\xfc\n",
            &["--encoding", "latin-1"],
            "encoding = \"latin-1\"",
            "{\"a\":\"ü\"}\n",
        ),
        (
            "t.csv",
            &utf16("a\nü\n"),
            &["--encoding", "utf-16le"],
            "encoding = \"utf-16le\"",
            "{\"a\":\"ü\"}\n",
        ),
        (
            "t.csv",
            b"a;b\n1,5;1.500\n",
            &["--delimiter", ";", "--decimal", ","],
            "delimiter = \";\"\ndecimal = \",\"",
            "{\"a\":1.5,\"b\":\"1.500\"}\n",
        ),
        (
            "t.csv",
            b"a,b\n7,8\n",
            &["--type", "a=text", "--type", "b=decimal(4,2)"],
            "columns.a.type = \"text\"\ncolumns.b.type = \"decimal(4,2)\"",
            "{\"a\":\"7\",\"b\":8.00}\n",
        ),
        (
            "t.ndjson",
            b"{\"a\":\"2024-02-29\"}\n",
            &["--type", "a=date", "--names", "a"],
            "names = [\"a\"]\ncolumns.a.type = \"date\"\ncolumns.a.unit = \"d\"",
            "{\"a\":\"2024-02-29\"}\n",
        ),
    ] {
        for said in [cat(name, bytes, flags), cat_route(name, bytes, keys)] {
            said.assert_good();
            assert_eq!(said.text(), rows, "{flags:?}");
        }
    }
}

#[test]
fn what_is_found_in_a_file_is_said() {
    for (bytes, words, rows) in [
        (
            b"a;b\n1;2\n".to_vec(),
            "2 with \\\";\\\", in every row",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            b"\"a\";\"b\"\n\"1\";\"2\"\n".to_vec(),
            "2 with \\\";\\\", in every row",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            b"sep=;\r\na;b\r\n1;2\r\n".to_vec(),
            "declares the delimiter \\\";\\\" in its first line",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            b"\"sep=,\"\na,b\n1,2\n".to_vec(),
            "declares the delimiter \\\",\\\" in its first line",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            utf16("\u{feff}sep=;\na;b\n1;2\n"),
            "declares the delimiter",
            "{\"a\":1,\"b\":2}\n",
        ),
        (
            b"a;b\n1;2\n3\n".to_vec(),
            "one column",
            "{\"a;b\":\"1;2\"}\n{\"a;b\":\"3\"}\n",
        ),
        (
            utf16("\u{feff}a\n1\n"),
            "utf-16le by its byte order mark",
            "{\"a\":1}\n",
        ),
    ] {
        let said = cat("t.csv", &bytes, &[]);
        assert_eq!(
            (said.code, said.text().as_str()),
            (Some(0), rows),
            "{said:?}"
        );
        let notes = 1 + usize::from(words == "declares the delimiter");
        assert_eq!(said.stderr.lines().count(), notes, "{said:?}");
        assert!(said.stderr.contains(words), "{said:?}");
    }
}

#[test]
fn a_folder_whose_files_disagree_is_one_column_and_that_is_said() {
    let scratch = Scratch::new("text");
    let folder = scratch.join("parts");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [("1.csv", "a;b\n1;2\n"), ("2.csv", "a;b\n3\n")] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = program::command(&["cat", "--format", "ndjson"]);
    command.arg(&folder);
    let said = program::finish(command);
    assert_eq!(said.text(), "{\"a;b\":\"1;2\"}\n{\"a;b\":\"3\"}\n");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    for words in ["one column", "2.csv: line 2 has 1 fields"] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    for (name, flags, words) in [
        (
            "t.ndjson",
            &["--delimiter", ";"][..],
            &["delimiter is no option of NDJSON"][..],
        ),
        (
            "t.arrow",
            &["--type", "a=text"],
            &["type is an option of CSV, TSV and NDJSON", "Arrow"],
        ),
        (
            "t.csv",
            &["--delimiter", ",", "--decimal", ","],
            &["another delimiter than the comma"],
        ),
        ("t.csv", &["--names", "a,b"], &["names needs header"]),
        (
            "t.csv",
            &["--type", "z=text"],
            &["no column \"z\"", "there are a, b"],
        ),
        (
            "t.csv",
            &["--type", "a=text", "--type", "a=int32"],
            &["--type: column \"a\" has two types"],
        ),
        (
            "t.csv",
            &["--encoding", "utf-16"],
            &["has no byte order mark"],
        ),
    ] {
        cat(name, b"a,b\n1,2\n", flags).assert_refused(CONFIGURATION, words);
    }
    program::run(&["cat", "/noise.bin", "--comment", "#"])
        .assert_refused(CONFIGURATION, &["--comment", "tables of the command line"]);
    let wrong = cat("t.csv", b"a\n1\n", &["--type", "a=string"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong
            .stderr
            .contains("there is no type \"string\"; there are text (01569)")
    );
    for (keys, line, words) in [
        (
            "columns.a.type = \"varchar\"",
            ":4:",
            "there is no type \"varchar\"; there are text (01569)",
        ),
        ("columns.z.type = \"text\"", ":1:", "no column \"z\""),
        (
            "delimiter = \"ab\"",
            ":1:",
            "delimiter must be one ASCII character",
        ),
        (
            "encoding = \"ebcdic\"",
            ":1:",
            "encoding must be one of utf-8, latin-1",
        ),
        ("decimal = \";\"", ":4:", "decimal must be one of"),
        ("names = [\"a\", \"a\"]", ":1:", "names has \"a\" twice"),
    ] {
        let place = format!("datastreamer.toml{line}");
        cat_route("t.csv", b"a,b\n1,2\n", keys).assert_refused(CONFIGURATION, &[&place, words]);
    }
}

#[test]
fn a_row_that_is_not_of_a_declared_type_is_found_by_cat_check_and_clients() {
    let said = cat("t.csv", b"a,b\n1,2\nx,4\n", &["--type", "a=int32"]);
    said.assert_refused(
        INCOMPLETE,
        &["t.csv", "line 3, column \"a\": \"x\"", "32-bit integer"],
    );
    let scratch = Scratch::new("text");
    let data = scratch.join("t.csv");
    fs::write(&data, "a,b\n1,2\nx,4\n").unwrap();
    let text = format!(
        "[routes.t]\nkind = \"table\"\npath = {data:?}\ncolumns.a.type = \"int32\"\n\
         columns.b.type = \"int32\"\n"
    );
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, &text).unwrap();
    let check = |more: &[&str]| {
        let mut command = program::command(&["check"]);
        command.arg(&file).args(more);
        program::finish(command)
    };
    check(&[]).assert_refused(
        CONFIGURATION,
        &["datastreamer.toml:1:", "line 3, column \"a\""],
    );
    check(&["--quick"]).assert_good();
    let server = Daemon::start(&text);
    let problem = http::get(server.port(), "/t.csv").problem(500);
    assert!(problem.contains("t.csv: line 3, column"), "{problem}");
}

/// pandas reads `"2"3` as 23, and DuckDB refuses it.
#[test]
fn text_behind_a_closing_quote_is_found_by_cat_check_and_clients() {
    let bytes = b"a,b\n1,\"2\"3\n";
    let place = "line 2, column \"b\": there is text behind the closing quote";
    let types: &[&str] = &["--type", "a=int32", "--type", "b=int32"];
    // With inferred types it is found when the file is opened.
    cat("t.csv", bytes, &[]).assert_refused(CONFIGURATION, &["t.csv: ", place]);
    cat("t.csv", bytes, types).assert_refused(INCOMPLETE, &["t.csv", place]);
    let whole = cat("t.csv", bytes, &["--quote", ""]);
    assert_eq!(whole.text(), "{\"a\":1,\"b\":\"\\\"2\\\"3\"}\n");
    let scratch = Scratch::new("text");
    let data = scratch.join("t.csv");
    fs::write(&data, bytes).unwrap();
    let text = format!(
        "[routes.t]\nkind = \"table\"\npath = {data:?}\ncolumns.a.type = \"int32\"\n\
         columns.b.type = \"int32\"\n"
    );
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, &text).unwrap();
    let mut command = program::command(&["check"]);
    command.arg(&file);
    program::finish(command).assert_refused(CONFIGURATION, &["datastreamer.toml:1:", place]);
    let server = Daemon::start(&text);
    let problem = http::get(server.port(), "/t.csv").problem(500);
    assert!(problem.contains(place), "{problem}");
}

#[test]
fn a_declared_delimiter_that_contradicts_the_one_that_is_set_is_refused() {
    let bytes = b"sep=;\na;b\n1;2\n";
    let flags = &["--delimiter", ";"];
    assert_eq!(cat("t.csv", bytes, flags).text(), "{\"a\":1,\"b\":2}\n");
    for (delimiter, words) in [(",", "is \",\""), ("tab", "is \"tab\"")] {
        let said = cat("t.csv", bytes, &["--delimiter", delimiter]);
        said.assert_refused(
            CONFIGURATION,
            &["t.csv: line 1 declares the delimiter \";\"", words],
        );
    }
    cat("t.csv", bytes, &["--quote", ";"]).assert_refused(
        CONFIGURATION,
        &[
            "declares the delimiter \";\"",
            "delimiter and quote are the same",
        ],
    );
}

#[test]
fn a_table_with_options_is_never_sent_as_its_own_file() {
    let scratch = Scratch::new("text");
    for (name, text) in [("semicolons", "a;b\n1;2\n"), ("plain", "a,b\n1 ,2\n")] {
        fs::write(scratch.join(&format!("{name}.csv")), text).unwrap();
    }
    let table = |name: &str, keys: &str| {
        let path = scratch.join(&format!("{}.csv", name.trim_end_matches('2')));
        format!("[routes.{name}]\nkind = \"table\"\npath = {path:?}\n{keys}\n")
    };
    let text = table("semicolons", "")
        + &table("plain", "")
        + &table("plain2", "columns.a.type = \"int8\"");
    let server = Daemon::start(&text);
    for (name, expected) in [
        ("semicolons", "a,b\r\n1,2\r\n"),
        ("plain", "a,b\n1 ,2\n"),
        ("plain2", "a,b\r\n1,2\r\n"),
    ] {
        let response = http::get(server.port(), &format!("/{name}.csv"));
        assert_eq!(response.text(), expected, "{name}");
    }
}

#[test]
fn a_table_whose_types_are_inferred_is_not_ready_and_the_others_are() {
    let scratch = Scratch::new("text");
    let large = scratch.join("large.csv");
    fs::write(
        &large,
        format!("a,b,c\n{}", "12345,some text,0.25\n".repeat(1_500_000)),
    )
    .unwrap();
    fs::write(scratch.join("small.csv"), "a\n1\n").unwrap();
    let small = scratch.join("small.csv");
    let server = Daemon::start(&format!(
        "[tables]\nopen_wait = \"0s\"\n[sql]\nenabled = true\n\
         [routes.large]\nkind = \"table\"\npath = {large:?}\n\
         [routes.declared]\nkind = \"table\"\npath = {large:?}\ncolumns.a.type = \"int32\"\n\
         columns.b.type = \"text\"\ncolumns.c.type = \"float64\"\n\
         [routes.small]\nkind = \"table\"\npath = {small:?}\n\
         [routes.counted]\nkind = \"query\"\nsql = \"SELECT count(*) AS n FROM large\"\n"
    ));
    let get = |target: &str| http::get(server.port(), target);
    let refused = get("/large.csv");
    assert_eq!(refused.header("retry-after"), Some("5"));
    let problem = refused.problem(503);
    assert!(
        problem.contains("not ready: the types of its columns are inferred"),
        "{problem}"
    );
    get("/counted.csv").problem(503);
    let sql = "/sql.csv?query=SELECT+count(*)+AS+n+FROM+large";
    get(sql).problem(503);
    let health = get("/healthz");
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &"ok".into())
    );
    let health = health.json();
    let not_ready = health["not_ready"].as_array().unwrap();
    let large = not_ready.iter().find(|table| table["route"] == "large.vot");
    assert_eq!(large.unwrap()["bytes"], 21 * 1_500_000 + 6, "{not_ready:?}");
    wait::until("others are ready", READY_LIMIT, || {
        get("/small.csv").status == 200 && get("/declared.csv?limit=1").status == 200
    });
    wait::until("it is ready", READY_LIMIT, || {
        get("/large.csv?limit=1").status == 200
    });
    for target in ["/counted.csv", sql] {
        assert_eq!(get(target).text(), "n\r\n1500000\r\n", "{target}");
    }
    assert_eq!(get("/healthz").json()["not_ready"], serde_json::json!([]));
    wait::until("it is logged", READY_LIMIT, || {
        server.log().contains("ready")
    });
}

#[test]
fn a_table_that_cannot_be_opened_later_is_broken() {
    let scratch = Scratch::new("text");
    let path = scratch.join("t.csv");
    fs::write(&path, format!("a,b\n{}1\n", "1,2\n".repeat(2_000_000))).unwrap();
    let server = Daemon::start(&format!(
        "[tables]\nopen_wait = \"0s\"\n[routes.t]\nkind = \"table\"\npath = {path:?}\n"
    ));
    let get = |target: &str| http::get(server.port(), target);
    wait::until("it is broken", READY_LIMIT, || {
        get("/healthz").json()["broken"][0]["route"] == "t.vot"
    });
    get("/t.csv").problem(500);
    assert_eq!(get("/healthz").json()["not_ready"], serde_json::json!([]));
    wait::until("the log says why", READY_LIMIT, || {
        server
            .log()
            .contains("line 2000002 has 1 fields, and the header 2")
    });
}

#[test]
fn values_are_those_that_pandas_and_duckdb_read_with_the_same_options() {
    let scratch = Scratch::new("text-options");
    let mut python = tools::python();
    python
        .arg(tools::client_script("read_text_options.py"))
        .arg(program::command(&[]).get_program())
        .current_dir(scratch.path());
    let said = program::finish_within(python, COMPARED_LIMIT);
    assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
    assert!(
        said.text().contains("cases, pandas and duckdb agree"),
        "{}",
        said.text()
    );
}
