//! SQL: a client's own over `/sql`, and that of the configuration, with typed parameters.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{self, End, Response, encode};
use crate::support::program::{self, Daemon, Said};
use crate::support::scratch::Scratch;
use crate::support::tables::{self, STARS, last_transfer, records};

/// Exit code 3: the configuration, a path, or the address to listen on.
const CONFIGURATION: i32 = 3;
/// Never comes to its end.
const ENDLESS: &str = "SELECT sum(value) AS n FROM generate_series(1, 1000000000000)";

/// A server of `/stars` and whatever `configuration` says beside it.
struct Sql {
    server: Daemon,
    _scratch: Scratch,
}

impl Sql {
    fn serve(configuration: &str) -> Self {
        let scratch = Scratch::new("sql");
        let stars = tables::stars(scratch.path(), "stars", STARS);
        let server = Daemon::start(&configuration_of(
            &stars.display().to_string(),
            configuration,
        ));
        Self {
            server,
            _scratch: scratch,
        }
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.server.port(), path)
    }

    fn ask(&self, sql: &str, form: &str) -> Response {
        self.get(&format!("/sql.{form}?query={}", encode(sql)))
    }
}

fn configuration_of(stars: &str, rest: &str) -> String {
    format!("{rest}\n[routes.stars]\nkind = \"table\"\npath = \"{stars}\"\n")
}

const ENABLED: &str = "[sql]\nenabled = true\n";

#[test]
fn sql_is_not_there_unless_it_is_enabled() {
    for configuration in ["", "[sql]\nenabled = false\n"] {
        let sql = Sql::serve(configuration);
        for path in ["/sql", "/sql.csv", "/sql.csv?query=SELECT+1"] {
            sql.get(path).problem(404);
        }
        let posted = http::send(sql.server.port(), "POST", "/sql", "text/plain", "SELECT 1");
        posted.problem(405);
    }
}

#[test]
fn one_select_over_the_tables_gives_rows_in_any_format() {
    let sql = Sql::serve(ENABLED);
    let count = sql.ask("SELECT count(*) AS n FROM stars", "json");
    assert_eq!(records(&count.body), [json!({ "n": STARS })]);
    let with = "WITH bright AS (SELECT * FROM stars WHERE g_mag < 16) \
                SELECT count(*) AS n, min(g_mag) > 0 AS good FROM bright";
    let bright: Value = serde_json::from_slice(&sql.ask(with, "ndjson").body).expect("a record");
    let filtered = sql.get("/stars.json?g_mag=lt.16");
    assert_eq!(bright["n"], json!(records(&filtered.body).len()));
    let table = sql.ask("SELECT ra, name FROM stars ORDER BY ra LIMIT 3", "vot");
    assert_eq!(table.text().matches("<TR>").count(), 3);
    // What is known of a column goes with it.
    assert!(table.text().contains("unit=\"deg\""), "{}", table.text());
}

/// DataFusion asks for all memory there is for a negative length.
#[test]
fn a_negative_length_is_none() {
    let sql = Sql::serve(ENABLED);
    for function in ["rpad", "lpad"] {
        let query = format!(
            "SELECT {function}(name, -1, 'x') AS a, {function}('ab', 0 - length(name)) AS b, \
             {function}('abc', 2) AS c FROM stars LIMIT 1"
        );
        let rows = records(&sql.ask(&query, "json").body);
        assert_eq!(rows, [json!({"a": "", "b": "", "c": "ab"})], "{query}");
    }
}

#[test]
fn a_query_that_is_wrong_is_refused_with_its_place() {
    let sql = Sql::serve(ENABLED);
    for (query, line, column, word) in [
        ("SELEC 1", 1, 1, "SELEC"),
        ("SELECT nope FROM stars", 1, 8, "nope"),
        ("SELECT ra\nFROM stars\nWHERE nope > 1", 3, 7, "nope"),
        ("SELECT ra FROM nowhere", 1, 16, "nowhere"),
        ("SELECT ra,, dec FROM stars", 1, 11, ","),
    ] {
        let refused = sql.ask(query, "csv");
        let detail = refused.problem(400);
        assert!(detail.contains(word), "{query}: {detail}");
        let position = &refused.json()["position"];
        // The table's place is that of its name, or the space before it.
        let found = (position["line"].as_u64(), position["column"].as_u64());
        let near = found.1.is_some_and(|found| found.abs_diff(column) <= 1);
        assert!(found.0 == Some(line) && near, "{query}: {position}");
    }
    // It is the client's mistake, and no failure of a source.
    let record = last_transfer(sql.server.port());
    assert_eq!(record["outcome"], "refused", "{record}");
    sql.get("/sql.csv").problem(400);
    let unknown = sql.get("/sql.csv?query=SELECT+1&colour=red").problem(400);
    assert!(unknown.contains("`colour`"), "{unknown}");
}

#[test]
fn a_refusal_of_a_query_has_no_words_of_the_engine() {
    // A busy machine takes long over some of these, and their status is to be seen.
    let sql = Sql::serve(&format!("{ENABLED}\n[stream]\ncommit_after = \"1m\"\n"));
    for (query, status, text) in [
        ("SELECT 'a", 400, "Unterminated string literal"),
        (
            "SELECT * FROM \"/etc/passwd\"",
            400,
            "there is no table \"/etc/passwd\"; there are stars",
        ),
        (
            "SELECT * FROM '/etc/passwd'",
            400,
            "there is no table \"/etc/passwd\"; there are stars",
        ),
        (
            "SELECT * FROM datafusion.public.nope",
            400,
            "there is no table \"nope\"; there are stars",
        ),
        (
            "SELECT a.nope FROM (SELECT 1 AS x, 2 AS y) AS a",
            400,
            "the table \"a\" has no column \"nope\"; there are x, y",
        ),
        (
            "SELECT ra FROM (SELECT 1 AS a, 1 AS RA)",
            400,
            "there is no column \"ra\"; there are RA, a",
        ),
        (
            "SELECT b.x FROM (SELECT 1 AS x) AS a",
            400,
            "the query reads no table \"b\"",
        ),
        (
            "SELECT ra FROM stars a, stars b",
            400,
            "several tables have a column \"ra\": write the name of the table before it",
        ),
        (
            "SELECT name + 1 FROM stars",
            400,
            "not possible with these types: text + 64-bit integer",
        ),
        (
            "SELECT abs(name) FROM stars",
            400,
            "No function matches the given name and argument types 'abs(text)'. You might need to \
             add explicit type casts.",
        ),
        (
            "SELECT ra FROM stars PIVOT (sum(ra) FOR name IN ('a'))",
            400,
            "not supported: PIVOT",
        ),
        (
            "SELECT CAST('x' AS BIGINT)",
            422,
            "Cannot cast string 'x' to value of 64-bit integer type",
        ),
        (
            "SELECT interval 'x'",
            422,
            "Invalid input syntax for type interval: \"x\"",
        ),
        (
            "SELECT name ~ '(' FROM stars",
            422,
            "the regular expression is wrong: unclosed group",
        ),
        (
            "SELECT regexp_match(name, '[') IS NULL FROM stars",
            422,
            "the regular expression is wrong: unclosed character class",
        ),
        (
            "SELECT regexp_like(name, 'a', 'zz') FROM stars",
            422,
            "the regular expression is wrong: unrecognized flag",
        ),
        (
            "SELECT count(*) FROM stars WHERE name ~ '(((a{1,100}){1,100}){1,100})'",
            422,
            "a regular expression is too large",
        ),
        (
            "SELECT regexp_replace(name, '(((a{1,100}){1,100}){1,100})', 'b') FROM stars",
            422,
            "a regular expression is too large",
        ),
        (
            "SELECT abs(-9223372036854775808)",
            422,
            "the result is out of range: abs(-9223372036854775808)",
        ),
        (
            "SELECT to_date('x')",
            422,
            "the text is no date, or one that is too far from 1970",
        ),
        (
            "SELECT arrow_cast(1, 'Nope')",
            422,
            "Unsupported type 'Nope'. Must be a supported arrow type name such as 'Int32' or \
             'Timestamp(ns)'",
        ),
        (
            "SELECT ra || x'00' FROM stars",
            400,
            "Cannot infer common string type for string concat operation 64-bit float || binary",
        ),
        (
            "SELECT initcap(x'00')",
            400,
            "No function matches the given name and argument types 'initcap(binary)'. You might \
             need to add explicit type casts.\n\tCandidate functions:\n\tinitcap(text)",
        ),
        (
            "SELECT ra = ANY (SELECT ra FROM stars) FROM stars",
            400,
            "not supported: EXISTS, NOT IN, ANY or ALL of this subquery, or at this place",
        ),
        (
            "SELECT ra > ALL (SELECT ra FROM stars) FROM stars",
            400,
            "not supported: EXISTS, NOT IN, ANY or ALL of this subquery, or at this place",
        ),
        (
            "SELECT epoch AT TIME ZONE 'Nope/Zone' FROM stars",
            400,
            "there is no time zone `Nope/Zone`; there is for example `Europe/Berlin`",
        ),
        (
            "SELECT TIMESTAMP '2020-01-01 00:00:00 Nope/Zone'",
            422,
            "Invalid timezone \"Nope/Zone\": failed to parse timezone",
        ),
        (
            "SELECT ra FROM stars WHERE x'00ff' = '00ff'",
            400,
            "a binary value and a text: write x'00ff' for a binary value, or encode(COLUMN, \
             'hex') for its digits",
        ),
        (
            "SELECT ra FROM stars WHERE x'00ff' IN (name)",
            400,
            "a binary value and a text: write x'00ff' for a binary value, or encode(COLUMN, \
             'hex') for its digits",
        ),
        (
            "SELECT 1 WHERE CAST(1.5 AS DECIMAL(5, 2)) = '1.501'",
            400,
            "`1.501` has more digits than a value of type decimal(5, 2)",
        ),
    ] {
        let detail = sql.ask(query, "csv").problem(status);
        let detail = detail.strip_prefix("/sql.csv: ").unwrap_or(&detail);
        assert_eq!(detail, text, "{query}");
    }
    let wide = (1..=14).map(|column| format!("{column} AS c{column:02}"));
    let wide = format!(
        "SELECT nope FROM (SELECT {})",
        wide.collect::<Vec<_>>().join(", ")
    );
    assert_eq!(
        sql.ask(&wide, "csv").problem(400),
        "/sql.csv: there is no column \"nope\"; there are c01, c02, c03, c04, c05, c06, c07, c08, \
         c09, c10 and 4 more"
    );
}

#[test]
fn what_the_engine_would_leave_out_of_a_query_is_refused() {
    let sql = Sql::serve(ENABLED);
    for (rest, part) in [
        ("stars TABLESAMPLE (10)", "TABLESAMPLE"),
        ("stars TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
        ("(SELECT * FROM stars TABLESAMPLE (1)) AS s", "TABLESAMPLE"),
        ("stars PREWHERE ra > 1", "PREWHERE"),
        ("stars CONNECT BY ra = 1", "CONNECT BY"),
        ("stars WITH ORDINALITY", "WITH ORDINALITY"),
        ("stars PARTITION (p)", "PARTITION"),
        ("stars SETTINGS max_threads = 1", "SETTINGS"),
        ("stars FORMAT CSV", "FORMAT"),
        ("stars WHERE name SIMILAR TO 'QS'", "SIMILAR TO"),
        ("stars FOR UPDATE", "FOR UPDATE or SHARE"),
        (
            "stars EXCEPT ALL SELECT ra FROM stars",
            "EXCEPT ALL or INTERSECT ALL",
        ),
        (
            "stars UNION ALL (SELECT ra FROM stars INTERSECT ALL SELECT ra FROM stars)",
            "EXCEPT ALL or INTERSECT ALL",
        ),
        (
            "stars WHERE ra IN (SELECT ra FROM stars WHERE name SIMILAR TO 'a')",
            "SIMILAR TO",
        ),
        // DataFusion 55 wraps around, and loses rows.
        (
            "(SELECT sum(ra) OVER (ORDER BY ra ROWS BETWEEN 1 FOLLOWING AND \
             18446744073709551615 FOLLOWING) AS ra FROM stars)",
            "a window frame of more than 2^61 rows",
        ),
        (
            "(SELECT sum(ra) OVER w AS ra FROM stars WINDOW w AS (ORDER BY ra GROUPS BETWEEN \
             9223372036854775807 PRECEDING AND CURRENT ROW))",
            "a window frame of more than 2^61 rows",
        ),
    ] {
        let detail = sql
            .ask(&format!("SELECT ra FROM {rest}"), "csv")
            .problem(400);
        assert_eq!(
            detail,
            format!("/sql.csv: {part} is not supported"),
            "{rest}"
        );
    }
    for query in [
        "SELECT DISTINCT ON (name) name FROM stars ORDER BY name LIMIT 1 OFFSET 1",
        "SELECT name FROM stars ORDER BY ra NULLS FIRST LIMIT 1, 2",
        "SELECT sum(ra) OVER (ORDER BY ra RANGE BETWEEN 1e30 PRECEDING AND CURRENT ROW) FROM stars",
        "SELECT ra FROM stars UNION ALL SELECT ra FROM stars EXCEPT SELECT ra FROM stars",
    ] {
        assert_eq!(sql.ask(query, "csv").status, 200, "{query}");
    }
}

#[test]
fn only_one_select_is_run_and_no_file_is_touched() {
    let sql = Sql::serve(ENABLED);
    let file = sql.server.folder().join("written.csv");
    for query in [
        "INSERT INTO stars SELECT * FROM stars",
        "DELETE FROM stars",
        "UPDATE stars SET ra = 1",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE stars",
        "SET datafusion.execution.batch_size = 1",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT input_file_name() FROM stars",
        "SELECT version()",
        &format!("COPY stars TO '{}'", file.display()),
        "",
        ";",
        "-- nothing",
    ] {
        sql.ask(query, "csv").problem(400);
    }
    assert!(!file.exists());
    let count = sql.ask("SELECT count(*) AS n FROM stars", "json");
    assert_eq!(records(&count.body), [json!({ "n": STARS })]);
}

#[test]
fn what_fails_on_its_data_early_is_422_and_late_an_abort() {
    let sql = Sql::serve(ENABLED);
    for query in [
        "SELECT 1/0",
        "SELECT 1/(source_id - source_id) AS x FROM stars",
    ] {
        let detail = sql.ask(query, "vot").problem(422);
        assert!(detail.contains("zero"), "{detail}");
    }
    let late = "SELECT value, 1/(900000-value) AS x FROM generate_series(1, 1000000)";
    let table = sql.ask(late, "vot");
    assert_eq!((table.status, table.end), (200, End::Reset));
    assert!(
        table.text().contains("value=\"ERROR\">after "),
        "the reason"
    );
    let told = last_transfer(sql.server.port());
    assert_eq!(told["outcome"], "source_error", "{told}");
}

#[test]
fn a_query_that_takes_too_long_is_ended_and_the_server_goes_on() {
    // On a busy machine the last query takes more than a second.
    let sql = Sql::serve(&format!("{ENABLED}[tables]\ntime_limit = \"3s\"\n"));
    let asked = Instant::now();
    let detail = sql.ask(ENDLESS, "csv").problem(504);
    assert!(detail.contains("3s"), "{detail}");
    assert!(asked.elapsed() < Duration::from_secs(15), "{asked:?}");
    // Behind the first rows there is no status left.
    let late = format!("SELECT value FROM generate_series(1, 100000) UNION ALL {ENDLESS}");
    let table = sql.ask(&late, "vot");
    assert_eq!((table.status, table.end), (200, End::Reset));
    assert!(table.text().contains("took longer than 3s"), "the reason");
    let count = sql.ask("SELECT count(*) AS n FROM stars", "json");
    assert_eq!(records(&count.body), [json!({ "n": STARS })]);
}

#[test]
fn sql_has_a_limit_of_its_own() {
    let sql = Sql::serve("[sql]\nenabled = true\nmax_rows = 50\n");
    let table = sql.ask("SELECT ra FROM stars", "json");
    assert_eq!(records(&table.body).len(), 50);
    assert_eq!(
        table.header("datastreamer-row-limit"),
        Some("50 of 9000; set-by=server")
    );
    let table = sql.get("/sql.json?MAXREC=5&query=SELECT+ra+FROM+stars");
    assert_eq!(records(&table.body).len(), 5);
}

#[test]
fn a_query_is_posted_as_text_or_as_a_form() {
    let sql = Sql::serve(ENABLED);
    let query = "SELECT count(*) AS n FROM stars WHERE name LIKE 'QSO%'";
    let expected = sql.ask(query, "csv").body;
    let form = format!("query={}", encode(query));
    for (path, media_type, body) in [
        ("/sql.csv", "text/plain", query),
        ("/sql.csv", "Text/Plain; charset=utf-8", query),
        ("/sql?format=csv", "application/sql", query),
        ("/sql.csv", "application/x-www-form-urlencoded", &form),
        (
            "/sql",
            "application/x-www-form-urlencoded",
            &format!("{form}&format=csv"),
        ),
        (
            "/sql",
            "application/x-www-form-urlencoded",
            &format!("RESPONSEFORMAT=csv&MAXREC=9&QUERY={}", encode(query)),
        ),
    ] {
        let posted = http::send(sql.server.port(), "POST", path, media_type, body);
        assert_eq!(posted.status, 200, "{path} {media_type} {}", posted.text());
        assert_eq!(posted.body, expected, "{path} {media_type}");
    }
    let malformed = http::send(
        sql.server.port(),
        "POST",
        "/sql.csv",
        "application/x-www-form-urlencoded",
        "query=SELECT+1+%zz",
    );
    assert_eq!(
        malformed.problem(400),
        "parameter `query`: `%zz` is no percent-escape: write %25 for a percent sign"
    );
    let as_json = http::send(sql.server.port(), "POST", "/sql", "application/json", "{}");
    as_json.problem(415);
    // 64 KiB of text are read, and not a byte more.
    let post = |length: usize| {
        let text = format!("SELECT '{}' AS x", "x".repeat(length - 14));
        assert_eq!(text.len(), length);
        http::send(sql.server.port(), "POST", "/sql.csv", "text/plain", &text)
    };
    assert_eq!(
        post(64 * 1024).body.len(),
        "x\r\n\r\n".len() + 64 * 1024 - 14
    );
    let too_long = post(64 * 1024 + 1).problem(413);
    assert!(too_long.contains("65536 bytes"), "{too_long}");
    post(300 * 1024).problem(413);
}

#[test]
fn a_query_that_does_not_come_is_not_waited_for() {
    let sql = Sql::serve(&format!("{ENABLED}[limits]\nheader_timeout = \"1s\"\n"));
    let mut client = TcpStream::connect(("127.0.0.1", sql.server.port())).expect("it listens");
    let head = "POST /sql.csv HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                content-length: 100\r\n\r\nS";
    client.write_all(head.as_bytes()).expect("it reads");
    let began = Instant::now();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn one_query_does_not_end_the_server() {
    let sql = Sql::serve(ENABLED);
    let twice =
        (1..25).map(|at| format!(", t{at} AS (SELECT a.ra FROM t{} a, t{} b)", at - 1, at - 1));
    let doubled: String = twice.collect();
    for query in [
        format!("WITH t0 AS (SELECT ra FROM stars){doubled} SELECT count(*) FROM t24"),
        "SELECT length(repeat('a', 2000000000))".to_owned(),
    ] {
        // Too much memory, or too long a plan.
        let answer = sql.ask(&query, "csv");
        assert!(matches!(answer.status, 422 | 504), "{}", answer.text());
        answer.problem(answer.status);
    }
    assert_eq!(sql.get("/stars.csv?limit=1").status, 200);
    let many = vec!["*"; 500].join(",");
    sql.get(&format!("/stars.csv?select={many}")).problem(400);
}

#[test]
fn who_lets_the_format_be_chosen_is_told_by_what() {
    let sql = Sql::serve("");
    let varies = |path: &str| {
        let response = sql.get(path);
        response
            .header("vary")
            .is_some_and(|vary| vary.contains("accept"))
    };
    assert!(varies("/stars"));
    assert!(!varies("/stars.csv"));
}

#[test]
fn posts_are_for_sql_alone() {
    let sql = Sql::serve(ENABLED);
    let form = "application/x-www-form-urlencoded";
    let (reading, posting) = ("GET, HEAD", "GET, HEAD, POST");
    for (method, path, allowed) in [
        ("POST", "/stars.csv", reading),
        ("POST", "/", reading),
        ("PUT", "/sql.csv", posting),
        ("DELETE", "/sql.csv", posting),
        ("PUT", "/stars.csv", reading),
    ] {
        let refused = http::send(sql.server.port(), method, path, form, "query=SELECT+1");
        refused.problem(405);
        assert_eq!(refused.header("allow"), Some(allowed), "{method} {path}");
    }
}

/// A query with a parameter of every type.
const TYPED: &str = r#"
[routes.typed]
kind = "query"
sql = """
SELECT $flag AS flag, $count AS count, $ratio AS ratio, $word AS word, $day AS day, $moment AS moment
"""
parameters = [
    { name = "flag", type = "boolean", default = true },
    { name = "count", type = "integer", default = 7, min = -10, max = 1000 },
    { name = "ratio", type = "number", default = 0.5, min = 0, max = 1 },
    { name = "word", type = "text", default = "none", max_length = 200 },
    { name = "day", type = "date", default = "2026-11-25", min = "2000-01-01" },
    { name = "moment", type = "timestamp", default = "2026-11-25T01:02:03" },
]
[routes.near]
kind = "query"
sql = "SELECT source_id, name, ra FROM stars WHERE ra < $ra AND name = $name ORDER BY ra"
parameters = [
    { name = "ra", type = "number", max = 360 },
    { name = "name", type = "text", default = "GAL 1" },
]
"#;

#[test]
fn parameters_have_their_types_and_their_defaults() {
    let sql = Sql::serve(TYPED);
    let defaults = json!({
        "flag": true, "count": 7, "ratio": 0.5, "word": "none",
        "day": "2026-11-25", "moment": "2026-11-25T01:02:03",
    });
    let row = records(&sql.get("/typed.json").body).remove(0);
    for (name, value) in defaults.as_object().expect("an object") {
        let found = &row[name];
        let is_begin = found
            .as_str()
            .zip(value.as_str())
            .is_some_and(|(found, value)| found.starts_with(value));
        assert!(
            found == value || is_begin,
            "{name}: {found} instead of {value}"
        );
    }
    let given = "flag=false&count=-10&ratio=0.25&word=a%20b&day=2000-01-01";
    let row = records(&sql.get(&format!("/typed.json?{given}")).body).remove(0);
    assert_eq!(
        [
            &row["flag"],
            &row["count"],
            &row["ratio"],
            &row["word"],
            &row["day"]
        ],
        [
            &json!(false),
            &json!(-10),
            &json!(0.25),
            &json!("a b"),
            &json!("2000-01-01")
        ]
    );
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let sql = Sql::serve(TYPED);
    for (query, words) in [
        ("count=1001", &["count", "1001", "-10 to 1000"][..]),
        ("count=1.5", &["count", "whole number"]),
        ("count=", &["count", "whole number"]),
        ("ratio=-0.1", &["ratio", "0 to 1"]),
        ("ratio=NaN", &["ratio", "finite"]),
        ("flag=perhaps", &["flag", "true or false"]),
        ("day=1999-12-31", &["day", "at least 2000-01-01"]),
        ("day=tomorrow", &["day", "2026-11-25"]),
        ("moment=now", &["moment", "timestamp"]),
        (
            &format!("word={}", "x".repeat(201)),
            &["word", "200", "201"],
        ),
        (
            "colour=red",
            &["colour", "flag, count, ratio, word, day, moment"],
        ),
        ("count=1&count=2", &["count", "twice"]),
    ] {
        let detail = sql.get(&format!("/typed.csv?{query}")).problem(400);
        for word in words {
            assert!(detail.contains(word), "{query}: no {word:?} in: {detail}");
        }
    }
    let missing = sql.get("/near.csv").problem(400);
    assert!(
        missing.contains("ra") && missing.contains("must be given"),
        "{missing}"
    );
}

#[test]
fn a_hostile_text_stays_a_value() {
    let sql = Sql::serve(TYPED);
    for text in [
        "' OR 1=1 --",
        "'; DROP TABLE stars; --",
        "$count",
        "\\' UNION SELECT ra FROM stars --",
        "x\u{0}y",
        "\"",
        "''''",
        "/* */",
    ] {
        let row = sql.get(&format!("/typed.json?word={}", encode(text)));
        assert_eq!(records(&row.body)[0]["word"], text);
        let none = sql.get(&format!("/near.json?ra=360&name={}", encode(text)));
        assert_eq!(none.status, 200);
        assert_eq!(records(&none.body).len(), 0, "{text}");
    }
    let all = records(&sql.get("/stars.json").body);
    let name = all
        .iter()
        .find_map(|row| row["name"].as_str())
        .expect("a name");
    let near = records(
        &sql.get(&format!("/near.json?ra=360&name={}", encode(name)))
            .body,
    );
    let expected = all.iter().filter(|row| row["name"] == name).count();
    assert_eq!(near.len(), expected, "{name}");
}

/// Runs `check` on a configuration of the stars and these lines before.
fn check(lines: &str) -> Said {
    let scratch = Scratch::new("check");
    tables::stars(scratch.path(), "stars", 10);
    let file = scratch.join("datastreamer.toml");
    let written = std::fs::write(&file, configuration_of("stars.parquet", lines));
    written.expect("files can be written");
    program::run(&["check", file.to_str().expect("text")])
}

#[test]
fn a_query_that_cannot_run_is_refused_at_the_start_with_its_line() {
    check("[routes.q]\nkind = \"query\"\nsql = \"SELECT ra FROM stars\"").assert_good();
    let query = |sql: &str, rest: &str| {
        check(&format!(
            "# first\n[routes.q]\nkind = \"query\"\nsql = \"{sql}\"\n{rest}"
        ))
    };
    for (sql, rest, words) in [
        ("SELECT nope FROM stars", "", &["nope", "column 8"][..]),
        ("SELECT ra FROM nowhere", "", &["nowhere"]),
        ("SELEC ra", "", &["SELEC", "line 1, column 1"]),
        ("DROP TABLE stars", "", &["SELECT"]),
        (
            "SELECT $x AS x",
            "",
            &["sql, line 1, column 8: $x is not declared"],
        ),
        (
            "SELECT '$x' AS x",
            "parameters = [{ name = \"x\", type = \"integer\" }]",
            &["sql: the query does not use the parameter x"],
        ),
        (
            "SELECT $x AS x",
            "parameters = [{ name = \"x\", type = \"colour\" }]",
            &[":5:", "\"colour\"", "integer"],
        ),
        (
            "SELECT $x AS x",
            "parameters = [{ name = \"x\", type = \"integer\", default = \"a\" }]",
            &["x", "whole number"],
        ),
        (
            "SELECT $x AS x",
            "parameters = [{ name = \"x\", type = \"integer\", min = 3, max = 1 }]",
            &["x", "3 to 1"],
        ),
        (
            "SELECT $x AS x",
            "parameters = [{ name = \"x\", type = \"integer\", default = 5, max = 1 }]",
            &["x", "5"],
        ),
        (
            "SELECT $x AS x",
            "parameters = [{ name = \"x y\", type = \"integer\" }]",
            &["x y"],
        ),
        (
            "SELECT $limit AS x",
            "parameters = [{ name = \"limit\", type = \"integer\", default = 5 }]",
            &["limit", "call it otherwise"],
        ),
        (
            "SELECT $nested AS x",
            "parameters = [{ name = \"nested\", type = \"integer\", default = 5 }]",
            &["nested", "call it otherwise"],
        ),
        (
            "SELECT 1 AS x",
            "path = \"stars.parquet\"",
            &[":5:", "`path`"],
        ),
    ] {
        let said = query(sql, rest);
        let mut words = words.to_vec();
        // A key has its own line, what only the whole route shows that of the route.
        if !words.contains(&":5:") {
            words.push("datastreamer.toml:2:");
        }
        words.push("routes.q");
        said.assert_refused(CONFIGURATION, &words);
    }
    // A text of no meaning is no date: what is asked later may be one.
    let later = "parameters = [{ name = \"day\", type = \"text\" }]";
    query(
        "SELECT ra FROM stars WHERE CAST($day AS DATE) > DATE '2020-01-01'",
        later,
    )
    .assert_good();
    check("[routes.q]\nkind = \"query\"").assert_refused(CONFIGURATION, &["`sql`", "missing"]);
}
