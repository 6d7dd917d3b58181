//! Tables as they are named, on the command line and in the configuration: what becomes a table,
//! what is refused and how, and where people see what there is.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::program::{self, Daemon, Said};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, records};
use crate::support::tools;

/// Exit code 3: the configuration, a path, or the address to listen on.
const CONFIGURATION: i32 = 3;

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Runs `cat` on a table's file as JSON lines; returns the records.
#[track_caller]
fn cat(target: &str) -> Vec<Value> {
    let said = program::run(&["cat", target, "--format", "json"]);
    said.assert_good();
    records(&said.stdout)
}

/// Files that are no tables, and what is said of each.
fn bad_files(scratch: &Scratch) -> Vec<(String, &'static str)> {
    let stars = tables::stars(scratch.path(), "stars", 5000);
    let whole = fs::read(&stars).expect("it was made");
    let footer = tables::footer_at(&whole);
    let mut garbled = whole.clone();
    garbled[footer..footer + 200].fill(0xff);
    let write = |name: &str, bytes: &[u8]| {
        let file = scratch.join(name);
        fs::write(&file, bytes).expect("files can be written");
        text(&file).to_owned()
    };
    vec![
        (
            text(&scratch.join("nothing.parquet")).to_owned(),
            "no such file",
        ),
        (
            text(&scratch.join("nothing*.parquet")).to_owned(),
            "matches no file",
        ),
        (write("stars.xyz", &whole), "suffix"),
        (write("no-suffix", &whole), "suffix"),
        (write("cut.parquet", &whole[..footer - 100]), "footer"),
        (write("garbled.parquet", &garbled), "Parquet"),
        (write("stars.fits", &whole), "SIMPLE"),
        (write("bad.csv", b"a,b\n1,2\n3\n"), "line 3"),
        (write("bad.ndjson", b"{\"a\":1}\n{\"a\":\n"), "line"),
    ]
}

#[test]
fn a_file_that_is_no_table_is_refused_in_one_line_at_the_start() {
    let scratch = Scratch::new("bad");
    for (file, word) in bad_files(&scratch) {
        let name = Path::new(&file).file_name().expect("a name");
        let name = name.to_str().expect("text");
        if word != "suffix" {
            let served = program::run(&["serve", &file, "--listen", "127.0.0.1:0"]);
            served.assert_refused(CONFIGURATION, &[name, word]);
        }
        let as_table = ["serve", "--table", &file, "--listen", "127.0.0.1:0"];
        program::run(&as_table).assert_refused(CONFIGURATION, &["--table", name, word]);
        let checked = check(&scratch, &file);
        checked.assert_refused(
            CONFIGURATION,
            &["datastreamer.toml:3:", "routes.bad", name, word],
        );
    }
}

/// Runs `check` on a configuration with a table of this path.
fn check(scratch: &Scratch, path: &str) -> Said {
    let file = scratch.join("datastreamer.toml");
    let routes = format!("# tables\n\n[routes.bad]\nkind = \"table\"\npath = \"{path}\"\n");
    fs::write(&file, routes).expect("files can be written");
    program::run(&["check", text(&file)])
}

/// Writes `path` with page checksums; one bit of a value is another than when it was written.
const MAKE_CHANGED: &str = r#"
import sys, pyarrow, pyarrow.parquet
values = pyarrow.table({"id": pyarrow.array(range(1_000_000, 1_050_000), pyarrow.int64())})
pyarrow.parquet.write_table(values, sys.argv[1], compression="none", use_dictionary=False,
                            write_page_checksum=True, row_group_size=10_000)
changed = bytearray(open(sys.argv[1], "rb").read())
changed[changed.rindex((1_049_000).to_bytes(8, "little"))] ^= 1
open(sys.argv[1], "wb").write(changed)
"#;

#[test]
fn check_reads_every_row() {
    let scratch = Scratch::new("rows");
    let file = scratch.join("changed.parquet");
    let mut python = tools::python();
    python.args(["-c", MAKE_CHANGED, text(&file)]);
    let made = program::finish(python);
    assert_eq!(made.code, Some(0), "{made:?}");
    let wanted = [
        "datastreamer.toml:3:",
        "routes.bad",
        "changed.parquet",
        "checksum",
    ];
    check(&scratch, text(&file)).assert_refused(CONFIGURATION, &wanted);
    let config = scratch.join("datastreamer.toml");
    program::run(&["check", "--quick", text(&config)]).assert_good();
    // A time limit is for clients.
    let good = tables::stars(scratch.path(), "good", 50_000);
    let settings = "[tables]\ntime_limit = \"1ms\"\n[routes.t]\nkind = \"table\"\n";
    let settings = format!("{settings}path = \"{}\"\n", good.display());
    fs::write(&config, settings).expect("files can be written");
    program::run(&["check", text(&config)]).assert_good();
}

#[test]
fn characters_that_xml_cannot_hold_are_counted_in_the_log() {
    let scratch = Scratch::new("xml");
    let file = scratch.join("t.ndjson");
    fs::write(&file, "{\"t\":\"a\\u0001b\\u0002\"}\n").expect("files can be written");
    let said = program::run(&["cat", text(&file)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.text().contains("<TD>a\u{fffd}b\u{fffd}</TD>"),
        "{said:?}"
    );
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    for word in ["WARN", "U+FFFD", "characters=2"] {
        assert!(said.stderr.contains(word), "{said:?}");
    }
    program::run(&["cat", text(&file), "--format", "votable-binary2"]).assert_good();
}

#[test]
fn what_belongs_to_another_kind_or_is_no_setting_is_refused_with_its_line() {
    let scratch = Scratch::new("settings");
    tables::stars(scratch.path(), "stars", 10);
    let file = scratch.join("datastreamer.toml");
    let table = "[routes.t]\nkind = \"table\"\n";
    for (lines, words) in [
        (table, &[":1:", "`path`", "missing"][..]),
        (
            &format!("{table}path = \"stars.parquet\"\nsuffix = \"vot\"\n"),
            &[":4:", "`suffix`"],
        ),
        (
            &format!("{table}path = \"stars.parquet\"\nsql = \"SELECT 1\"\n"),
            &[":4:", "`sql`", "query"],
        ),
        (
            &format!("{table}path = \"stars.parquet\"\nmax_rows = -1\n"),
            &[":4:"],
        ),
        (
            &format!("{table}path = \"stars.parquet\"\n[routes.t.columns.nope]\nunit = \"deg\"\n"),
            &["nope"],
        ),
        ("[tables]\nmemory = \"1GiB\"\n", &[":2:", "memory"]),
        ("[tables]\ntime_limit = 0\n", &[":2:", "tables.time_limit"]),
        (
            "[tables]\nspill_folder = \"nowhere\"\n",
            &[":2:", "tables.spill_folder", "nowhere"],
        ),
        ("[sql]\nenable = true\n", &[":2:", "enable"]),
        (
            "[sql]\nenabled = true\n[routes.sql]\nkind = \"noise\"\n[routes.'sql.csv']\nkind = \"noise\"\nsuffix = \"x\"\n",
            &[],
        ),
    ] {
        fs::write(&file, lines).expect("files can be written");
        let said = program::run(&["check", text(&file)]);
        match words {
            [] => said.assert_good(),
            words => said.assert_refused(CONFIGURATION, words),
        }
    }
}

#[test]
fn a_directory_is_a_tar_and_with_table_one_table() {
    let scratch = Scratch::new("tree");
    let tree = hive(&scratch);
    let server = Server::start([&tree]);
    let tar = http::get(server.port(), "/hive.tar");
    assert_eq!(tar.header("content-type"), Some("application/x-tar"));
    http::get(server.port(), "/hive.csv").problem(404);
    drop(server);
    let server = Server::start(["--table".as_ref(), tree.as_os_str()]);
    let rows = records(&http::get(server.port(), "/hive.json").body);
    assert_eq!(rows.len(), 12);
    http::get(server.port(), "/hive.tar").problem(404);
}

#[test]
fn a_hive_partition_is_a_column_and_only_what_is_asked_for_is_read() {
    let scratch = Scratch::new("hive");
    let tree = hive(&scratch);
    let all = cat(text(&tree));
    assert_eq!(all.len(), 12);
    let nights = |night: u64| all.iter().filter(|row| row["night"] == night).count();
    assert_eq!((nights(1), nights(2)), (5, 7));
    let second = cat(&format!("{}?night=eq.2", tree.display()));
    assert_eq!(second.len(), 7);
    assert!(second.iter().all(|row| row["night"] == 2));
    // Megabytes beside the 7 rows.
    tables::stars(&tree.join("night=1"), "stars", 100_000);
    let server = Server::start(["--table".as_ref(), tree.as_os_str()]);
    let read_for = |query: &str, rows: usize| {
        let before = server.bytes_read();
        let table = http::get(server.port(), &format!("/hive.json?{query}"));
        assert_eq!(records(&table.body).len(), rows, "{query}");
        server.bytes_read() - before
    };
    let few = read_for("night=eq.2", 7);
    let many = read_for("night=eq.1", 100_000);
    assert!(few < 200_000 && many > 2_000_000, "{few} and {many} bytes");
}

#[test]
fn a_folder_is_one_table_for_cat_in_any_format() {
    let scratch = Scratch::new("folder");
    let tree = hive(&scratch);
    let as_votable = program::run(&["cat", text(&tree), "--format", "votable"]);
    let plain = program::run(&["cat", text(&tree)]);
    plain.assert_good();
    assert_eq!(plain.text().matches("<TR>").count(), 12);
    assert!(plain.stdout == as_votable.stdout);
    let narrowed = program::run(&["cat", &format!("{}?night=eq.2", tree.display())]);
    assert_eq!(narrowed.text().matches("<TR>").count(), 7);
    let empty = scratch.join("empty");
    fs::create_dir(&empty).expect("directories can be made");
    let said = program::run(&["cat", text(&empty)]);
    said.assert_refused(CONFIGURATION, &["empty", "known suffix"]);
    // What the server makes of a folder is said where it says its addresses.
    let mut served = program::command(&["serve", "--listen", "127.0.0.1:0", text(&tree)]);
    let mut child = served.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    let read = BufReader::new(stdout).read_line(&mut line);
    child.kill().and_then(|()| child.wait()).expect("it ends");
    read.expect("text");
    assert!(
        line.contains("/hive.tar") && line.contains("--table"),
        "{line}"
    );
}

#[test]
fn cat_takes_a_name_for_a_table() {
    let scratch = Scratch::new("given");
    fs::write(scratch.join("gaia.dr2.csv"), "a\n1\n").expect("files can be written");
    fs::create_dir(scratch.join("night=1")).expect("directories can be made");
    fs::write(scratch.join("night=1/b.csv"), "b\n2\n").expect("files can be written");
    let cat = |target: &str| {
        let mut command = program::command(&["cat", target, "--format", "json"]);
        command.current_dir(scratch.path());
        let said = program::finish(command);
        said.assert_good();
        records(&said.stdout)
    };
    assert_eq!(cat("my=gaia.dr2.csv"), [json!({ "a": 1 })]);
    assert_eq!(cat("my=gaia.dr2.csv?a=gt.1"), [] as [Value; 0]);
    assert_eq!(cat("my=gaia*.csv"), [json!({ "a": 1 })]);
    // What a query says is no path.
    fs::write(scratch.join("a"), "no table").expect("files can be written");
    assert_eq!(cat("gaia.dr2.csv?select=a"), [json!({ "a": 1 })]);
    // A path of that whole name comes first.
    assert_eq!(cat("night=1/b.csv"), [json!({ "b": 2 })]);
    assert_eq!(cat("night=1"), [json!({ "b": 2 })]);
}

/// Makes `hive/night=1` with 5 rows and `hive/night=2` with 7.
fn hive(scratch: &Scratch) -> std::path::PathBuf {
    let tree = scratch.join("hive");
    for (night, rows) in [("night=1", 5), ("night=2", 7)] {
        fs::create_dir_all(tree.join(night)).expect("directories can be made");
        tables::stars(&tree.join(night), "stars", rows);
    }
    tree
}

#[test]
fn a_glob_is_one_table_of_the_files_in_their_order() {
    let scratch = Scratch::new("glob");
    for (name, rows) in [("part-1", 3), ("part-2", 4), ("other", 50)] {
        tables::stars(scratch.path(), name, rows);
    }
    let glob = scratch.join("part-*.parquet");
    let rows = cat(text(&glob));
    let [three, four] = ["part-1", "part-2"].map(|name| {
        let file = scratch.join(&format!("{name}.parquet"));
        cat(text(&file))
    });
    assert_eq!(rows, [three, four].concat());
    let server = Server::start([&glob]);
    let served = http::get(server.port(), "/part-.json");
    assert_eq!(records(&served.body), rows);
}

#[test]
fn every_kind_of_file_is_read_as_what_it_was_made_from() {
    let scratch = Scratch::new("kinds");
    let stars = tables::stars(scratch.path(), "stars", 300);
    let expected = cat(text(&stars));
    for (form, suffix) in [
        ("csv", "csv"),
        ("tsv", "tsv"),
        ("ndjson", "ndjson"),
        ("ndjson", "jsonl"),
        ("arrow", "arrow"),
        ("arrow-file", "arrow"),
        ("fits", "fits"),
        ("parquet", "parquet"),
    ] {
        let file = scratch.join(&format!("copy.{suffix}"));
        let said = program::run(&["cat", text(&stars), "--format", form]);
        fs::write(&file, said.stdout).expect("files can be written");
        let copy = cat(text(&file));
        assert_eq!(copy.len(), expected.len(), "{form}");
        for (row, (found, wanted)) in copy.iter().zip(&expected).enumerate() {
            for (column, wanted) in wanted.as_object().expect("a record") {
                assert!(
                    is_same(&found[column], wanted),
                    "{form}, row {row}, {column}: {} instead of {wanted}",
                    found[column]
                );
            }
        }
    }
}

/// Whether a value is what it was: floats of 32 bits may be read as 64, times lose final zeros.
fn is_same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            let [found, wanted] = [found, wanted].map(|number| number.as_f64().expect("a number"));
            found == wanted || (found as f32) == (wanted as f32)
        }
        (Value::String(found), Value::String(wanted)) => {
            found.trim_end_matches('0') == wanted.trim_end_matches('0')
        }
        _ => found == wanted,
    }
}

#[test]
fn the_rows_bytes_and_rate_of_a_table_are_shown_on_a_terminal() {
    let scratch = Scratch::new("terminal");
    let stars = tables::stars(scratch.path(), "stars", 20_000);
    let binary = program::command(&[]).get_program().to_owned();
    let on_terminal = |options: &str| {
        // Who reads begins late, so that there is time for a line.
        let line = format!(
            "{} cat '{}' {options} | (sleep 0.5; cat) > /dev/null",
            binary.display(),
            stars.display()
        );
        let mut script = tools::program("script");
        script.env("TERM", "xterm");
        script.args(["-qec", &line, "/dev/null"]);
        let said = program::finish(script);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.text()
    };
    let shown = on_terminal("--format csv");
    for part in ["20,000 of 20,000 rows (100%)", "rows/s", "MiB", "MiB/s"] {
        assert!(shown.contains(part), "no {part:?} in {shown:?}");
    }
    assert!(!shown.contains("members"), "{shown:?}");
    assert_eq!(on_terminal("--format csv --quiet"), "");
}

#[test]
fn a_reader_of_a_table_who_leaves_ends_cat_without_a_word() {
    let scratch = Scratch::new("left");
    let stars = tables::stars(scratch.path(), "stars", 100_000);
    let binary = program::command(&[]).get_program().to_owned();
    for form in ["csv", "votable", "parquet"] {
        let line = format!(
            "{} cat {} --format {form} | head -c 10; echo ${{PIPESTATUS[@]}} >&2",
            binary.display(),
            stars.display()
        );
        let mut bash = tools::program("bash");
        bash.args(["-c", &line]);
        let said = program::finish(bash);
        assert_eq!(
            (said.stdout.len(), said.stderr.as_str()),
            (10, "141 0\n"),
            "{form}"
        );
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused_with_its_column() {
    let scratch = Scratch::new("holds");
    let hard = tables::hard(scratch.path());
    // FITS is ASCII, and JSON has no infinity: those are values, which only a run can find.
    for (form, columns, word) in [
        ("fits", "unicode", "ASCII"),
        ("json", "infinite", "infinity"),
    ] {
        let target = format!("{}?select=row,{columns}", hard.display());
        let said = program::run(&["cat", &target, "--format", form]);
        said.assert_refused(7, &["hard", columns, word]);
    }
    let names: Vec<String> = (0..1000).map(|number| format!("c{number}")).collect();
    let row = vec!["1"; 1000].join(",");
    let wide = scratch.join("wide.csv");
    fs::write(&wide, format!("{}\n{row}\n", names.join(","))).expect("files can be written");
    let said = program::run(&["cat", text(&wide), "--format", "fits"]);
    said.assert_refused(CONFIGURATION, &["fits", "999"]);
    let server = Server::start([&wide]);
    let detail = http::get(server.port(), "/wide.fits").problem(400);
    assert!(detail.contains("999"), "{detail}");
    let votable = http::get(server.port(), "/wide.vot");
    assert_eq!(votable.text().matches("<FIELD ").count(), 1000);
    let nested = scratch.join("nested.ndjson");
    fs::write(&nested, "{\"a\":[1,2],\"b\":1}\n").expect("files can be written");
    let server = Server::start([&nested]);
    let csv = http::get(server.port(), "/nested.csv");
    assert_eq!(csv.text(), "a,b\r\n\"[1,2]\",1\r\n");
    let json = http::get(server.port(), "/nested.json");
    assert_eq!(records(&json.body), [json!({ "a": [1, 2], "b": 1 })]);
}

#[test]
fn the_index_lists_tables_with_links_that_work() {
    let scratch = Scratch::new("index");
    let stars = tables::stars(scratch.path(), "stars", 12_345);
    let odd = tables::stars(scratch.path(), "two words & <é>", 10);
    let server = Server::start([&stars, &odd]);
    let page = http::get(server.port(), "/");
    let page = page.text();
    assert!(page.contains("12345 rows"), "{page}");
    let links: Vec<&str> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        // The icon, so that browsers ask for none.
        .filter(|link| !link.starts_with("data:"))
        .collect();
    assert!(links.contains(&"/stars.vot"), "{links:?}");
    for link in links {
        let response = http::get(server.port(), &link.replace("&amp;", "&"));
        assert_eq!(response.status, 200, "{link}");
    }
}

#[test]
fn what_is_known_of_columns_goes_from_file_to_file_and_the_configuration_says_more() {
    let scratch = Scratch::new("known");
    let stars = tables::stars(scratch.path(), "stars", 10);
    let fits = scratch.join("copy.fits");
    let said = program::run(&["cat", text(&stars), "--format", "fits"]);
    fs::write(&fits, said.stdout).expect("files can be written");
    for file in [&stars, &fits] {
        let votable = program::run(&["cat", text(file), "--format", "votable"]);
        let field = field_of(&votable.text(), "dec");
        for known in [
            "unit=\"deg\"",
            "ucd=\"pos.eq.dec;meta.main\"",
            ">Declination<",
        ] {
            assert!(field.contains(known), "no {known} in {field}");
        }
    }
    let config = scratch.join("datastreamer.toml");
    let routes = "[routes.mine]\nkind = \"table\"\npath = \"stars.parquet\"\n\
                  description = \"Stars & <more>\"\n\
                  [routes.mine.columns.dec]\nunit = \"arcmin\"\nucd = \"pos.other\"\n";
    fs::write(&config, routes).expect("files can be written");
    let said = program::run(&["cat", "mine.vot", "--config", text(&config)]);
    said.assert_good();
    let field = field_of(&said.text(), "dec");
    for known in ["unit=\"arcmin\"", "ucd=\"pos.other\"", ">Declination<"] {
        assert!(field.contains(known), "no {known} in {field}");
    }
    assert!(field_of(&said.text(), "ra").contains("unit=\"deg\""));
    let described = "<DESCRIPTION>Stars &amp; &lt;more&gt;</DESCRIPTION>";
    assert!(said.text().contains(described), "{}", said.text());
}

/// Returns a column's element in a VOTable.
fn field_of(votable: &str, column: &str) -> String {
    let begin = format!("<FIELD name=\"{column}\"");
    let (_, field) = votable.split_once(&begin).expect("the column is there");
    let (field, _) = field.split_once("</FIELD>").expect("it ends");
    field.to_owned()
}

#[test]
fn two_tables_of_one_name_are_refused() {
    let scratch = Scratch::new("twins");
    let stars = tables::stars(scratch.path(), "stars", 10);
    let other = tables::stars(scratch.path(), "other", 10);
    let given = [&stars, &other].map(|file| format!("stars={}", text(file)));
    for [one, two] in [[text(&stars); 2], given.each_ref().map(String::as_str)] {
        let said = program::run(&["serve", one, two, "--listen", "127.0.0.1:0"]);
        said.assert_refused(CONFIGURATION, &["two routes would be /stars"]);
    }
}

#[test]
fn the_environment_opens_sql_and_bounds_tables() {
    let scratch = Scratch::new("environment");
    let stars = tables::stars(scratch.path(), "stars", 10);
    let query = "sql.csv?query=SELECT count(*) AS n FROM stars";
    let run = |variables: &[(&str, &str)]| {
        let mut cat = program::command(&["cat", query, text(&stars)]);
        cat.envs(variables.iter().copied());
        program::finish(cat)
    };
    let opened = run(&[("DATASTREAMER_SQL__ENABLED", "true")]);
    opened.assert_good();
    assert_eq!(opened.text(), "n\r\n10\r\n");
    run(&[]).assert_refused(CONFIGURATION, &["sql.csv"]);
    for (name, value) in [
        ("DATASTREAMER_TABLES__TIME_LIMIT", "soon"),
        ("DATASTREAMER_TABLES__MEMORY_BYTES", "much"),
        ("DATASTREAMER_TABLES__THREADS", "0"),
        ("DATASTREAMER_SQL__ENABLED", "perhaps"),
        ("DATASTREAMER_SQL__MAX_ROWS", "-1"),
    ] {
        run(&[(name, value)]).assert_refused(CONFIGURATION, &[name]);
    }
}

#[test]
fn names_and_descriptions_of_tables_and_columns_are_escaped_on_the_index() {
    const SCRIPT: &str = "<script>alert(\"1\")</script>&'";
    let scratch = Scratch::new("escaped");
    let column = SCRIPT.replace('"', "\"\"");
    let file = scratch.join("table.csv");
    fs::write(&file, format!("\"{column}\",b\n1,2\n")).expect("files can be written");
    let daemon = Daemon::start(&format!(
        "[routes.'<script>\"a\"']\nkind = \"table\"\npath = {file:?}\ndescription = {SCRIPT:?}\n\
         [routes.'<script>\"a\"'.columns.{SCRIPT:?}]\nunit = {SCRIPT:?}\ndescription = {SCRIPT:?}\n"
    ));
    let page = http::get(daemon.port(), "/");
    let text = page.text();
    assert!(!text.contains("<script"), "{text}");
    let escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;'";
    // The description of the table, and name, unit and description of the column.
    assert_eq!(text.matches(escaped).count(), 4, "{text}");
    assert!(
        text.contains(">&lt;script&gt;&quot;a&quot;.vot</a>"),
        "{text}"
    );
}

#[test]
fn an_index_page_is_bounded_and_leads_to_the_next_one() {
    let scratch = Scratch::new("many");
    let wide = scratch.join("wide.csv");
    let names: Vec<_> = (0..3000).map(|place| format!("column{place}")).collect();
    fs::write(
        &wide,
        format!("{}\n{}\n", names.join(","), ["1"; 3000].join(",")),
    )
    .expect("files can be written");
    let routes = (0..450).map(|place| format!("[routes.noise{place:03}]\nkind = \"noise\"\n"));
    let routes: String = routes.collect();
    let server = Daemon::start(&format!(
        "{routes}[routes.a]\nkind = \"table\"\npath = \"{}\"\n",
        wide.display()
    ));
    let page = |path: &str| {
        let page = http::get(server.port(), path);
        assert_eq!(page.status, 200);
        assert!(page.body.len() < 1_000_000, "{}", page.body.len());
        crate::pages::assert_balanced(page.text());
        let next = page
            .text()
            .split_once("href=\"/?from=")
            .map(|(_, next)| next);
        let next = next.and_then(|next| next.split_once('"'));
        (
            page.text().matches("<li>").count(),
            next.map(|(from, _)| from.to_owned()),
        )
    };
    assert_eq!(page("/"), (200, Some("200".into())));
    assert_eq!(page("/?from=200"), (200, Some("400".into())));
    assert_eq!(page("/?from=400"), (51, None));
    assert_eq!(page("/?from=no").0, 200);
    let first = http::get(server.port(), "/");
    assert!(first.text().contains("3000 columns") && first.text().contains("and 1000 more"));
    let detail = http::get(server.port(), "/no.bin").problem(404);
    assert!(
        detail.contains("and 431 more") && detail.len() < 2000,
        "{detail}"
    );
}
