//! The same narrowing of a table, of a query over it and of its copy in PostgreSQL: the same rows in
//! the same order, and those that DuckDB finds.

use std::fs;

use datastreamer_testkit::Postgres;

use crate::support::http::{self, End, Response, encode};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::tools;

const ROUTES: [&str; 3] = ["table", "query", "database"];
/// How many narrowings there are, unless `DATASTREAMER_NARROWINGS` says another number. Each is asked for
/// of three routes, in some ten milliseconds each.
const CASES: &str = "60";
const SEED: &str = "1";

fn cases() -> String {
    std::env::var("DATASTREAMER_NARROWINGS").unwrap_or_else(|_| CASES.into())
}

/// A server of one table by three routes.
struct Same {
    server: Daemon,
    cases: Vec<(String, Vec<u64>)>,
    _database: Postgres,
    _scratch: Scratch,
}

impl Same {
    fn serve() -> Self {
        let (scratch, database) = (Scratch::new("narrowed"), Postgres::start());
        let mut python = tools::python();
        python
            .arg(tools::client_script("narrowed.py"))
            .args([SEED, &cases()])
            .current_dir(scratch.path());
        let said = program::finish(python);
        assert_eq!(said.code, Some(0), "{}\n{}", said.text(), said.stderr);
        let read = |name: &str| fs::read_to_string(scratch.path().join(name)).expect("a text");
        database.sql(&read("t.sql"));
        let cases: Vec<(String, Vec<u64>)> =
            serde_json::from_str(&read("cases.json")).expect("a list");
        let server = Daemon::start(&format!(
            "[databases.archive]\nurl = \"{}\"\n\
             [routes.table]\nkind = \"table\"\npath = \"{}\"\n\
             [routes.query]\nkind = \"query\"\n\
             sql = \"SELECT * FROM \\\"table\\\" ORDER BY id -- hidden\"\n\
             [routes.database]\nkind = \"postgres\"\nsql = \"SELECT * FROM t ORDER BY id; -- hidden\"\n\
             [routes.bright]\nkind = \"query\"\n\
             sql = \"SELECT id, f * $factor AS x, t FROM \\\"table\\\" WHERE id < $most ORDER BY id DESC\"\n\
             parameters = [{{ name = \"factor\", type = \"number\", default = 2 }}, \
             {{ name = \"most\", type = \"integer\", default = 100 }}]\n\
             [routes.bright.columns.x]\nunit = \"mag\"\n\
             [routes.dim]\nkind = \"postgres\"\n\
             sql = \"SELECT id, f * $factor AS x, t FROM t WHERE id < $most ORDER BY id DESC\"\n\
             parameters = [{{ name = \"factor\", type = \"number\", default = 2 }}, \
             {{ name = \"most\", type = \"integer\", default = 100 }}]\n\
             [routes.dim.columns.x]\nunit = \"mag\"\n\
             [routes.kinds]\nkind = \"postgres\"\n\
             sql = \"SELECT id, CASE WHEN id > 5 THEN id::numeric END AS n, id * interval '1 day' AS s, \
             ('a' || id)::char(6) AS c, ARRAY[id] AS l, md5(id::text)::uuid AS u FROM t ORDER BY id\"\n\
             [routes.stars]\nkind = \"stars\"\n\
             [sql]\nenabled = true\n",
            database.url(),
            scratch.path().join("t.parquet").display(),
        ));
        Self {
            server,
            cases,
            _database: database,
            _scratch: scratch,
        }
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.server.port(), path)
    }

    #[track_caller]
    fn good(&self, path: &str) -> String {
        let response = self.get(path);
        assert_eq!(
            (response.status, response.end),
            (200, End::Whole),
            "{path}: {}",
            response.text()
        );
        response.text().to_owned()
    }

    /// The rows of all three routes, which are the same.
    #[track_caller]
    fn same(&self, parameters: &str) -> String {
        let [table, query, database] =
            ROUTES.map(|route| self.good(&format!("/{route}.csv?{parameters}")));
        assert_eq!(table, query, "query: {parameters}");
        assert_eq!(table, database, "database: {parameters}");
        table
    }
}

fn ids(csv: &str) -> Vec<u64> {
    let rows = csv.lines().skip(1);
    rows.map(|row| row.parse().expect("an id")).collect()
}

#[test]
fn the_same_narrowing_gives_the_same_rows_by_every_route() {
    let same = Same::serve();
    assert_eq!(same.cases.len().to_string(), cases());
    for (parameters, found) in &same.cases {
        let rows = same.same(&format!("{parameters}&select=id"));
        assert_eq!(&ids(&rows), found, "DuckDB: {parameters}");
    }
    // All columns, orders and pages.
    let columns = [
        "id", "i", "f", "g", "t", "d", "day", "at", "at.z", "b", "y", "o",
    ];
    for (place, (parameters, _)) in same.cases.iter().enumerate().take(15) {
        let order = columns[place % columns.len()];
        let words = ["", ".desc", ".nullsfirst", ".desc.nullslast"][place % 4];
        let pages = ["", "&limit=7", "&offset=5", "&limit=3&offset=200"][place / 4 % 4];
        let select = [
            "",
            "&select=*",
            "&select=id,name:t,f",
            "&select=y,at.z,o,id",
        ][place / 16 % 4];
        let path = match place % 5 {
            0 => format!("{parameters}{pages}{select}"),
            _ => format!("{parameters}&order={order}{words}{pages}{select}"),
        };
        same.same(&path);
        same.same(&format!("order={order}{words},t.desc{pages}{select}"));
    }
}

#[test]
fn rows_without_an_order_keep_that_of_the_query_and_its_parameters_keep_their_names() {
    let same = Same::serve();
    for route in ["bright", "dim"] {
        let rows = same.good(&format!(
            "/{route}.csv?most=10&id=in.(1,3,5,20)&select=id,twice:x"
        ));
        let begins: Vec<_> = rows.lines().map(|row| row.split(',').next()).collect();
        assert_eq!(
            begins,
            [Some("id"), Some("5"), Some("3"), Some("1")],
            "{rows}"
        );
        let vot = same.good(&format!("/{route}.vot?select=twice:x,id&limit=2"));
        assert!(
            vot.contains("name=\"twice\" datatype=\"double\" unit=\"mag\""),
            "{vot}"
        );
        assert!(vot.contains("OVERFLOW"), "{vot}");
        let page = same.get(&format!(
            "/{route}.csv?order=id.asc&limit=2&offset=1&ORDER=id.asc"
        ));
        page.problem(400);
        let page = same.get(&format!(
            "/{route}.csv?ORDER=id.asc&limit=2&offset=1&select=id"
        ));
        assert_eq!(page.text(), "id\r\n1\r\n2\r\n");
        assert_eq!(
            page.header("datastreamer-row-limit")
                .map(|it| it.split(';').count()),
            Some(2)
        );
        let name = page.header("content-disposition").expect("a name");
        assert!(
            name.contains(&format!(
                "{route}-order.id.asc-offset.1-select.id-first-2.csv"
            )),
            "{name}"
        );
        let named = same.get(&format!("/{route}.csv?most=10&factor=3"));
        let name = named.header("content-disposition").expect("a name");
        assert!(name.contains(&format!("{route}.csv")), "{name}");
    }
}

#[test]
fn what_a_route_cannot_narrow_is_refused_with_what_works() {
    let same = Same::serve();
    for (path, words) in [
        (
            "/bright.csv?facter=3",
            [
                "there is no column `facter`; there are id, x, t, the parameters factor, most",
                "did you mean `factor`?",
            ],
        ),
        (
            "/dim.csv?facter=3",
            ["there is no column `facter`", "did you mean `factor`?"],
        ),
        ("/query.csv?day=eq.monday", ["type date", "2016-01-31"]),
        ("/database.csv?day=eq.null", ["2016-01-31", "is.null"]),
        (
            "/database.csv?select=ids",
            ["did you mean `id`?", "there are id, i"],
        ),
        ("/database.csv?t=ilike.a*", ["ilike", "like works"]),
        (
            "/kinds.csv?s=gt.5 days",
            ["column `s`", "eq, neq, in, like and is work"],
        ),
        (
            "/kinds.csv?order=s",
            ["column `s`", "eq, neq, in, like and is work"],
        ),
        ("/kinds.csv?l=eq.1", ["cannot be compared", "list"]),
        ("/kinds.csv?order=l", ["column `l`", "is works"]),
        ("/sql.csv?query=SELECT+1&order=id", ["`order`", "ORDER BY"]),
        ("/stars.csv?ra=gt.1", ["`ra`", "rows, limit"]),
        (
            "/query.csv?or=(id.lt.1",
            ["parameter `or`", "closing parenthesis"],
        ),
    ] {
        let detail = same.get(&path.replace(' ', "%20")).problem(400);
        for word in words {
            assert!(detail.contains(word), "{path}: no {word:?} in {detail}");
        }
        assert!(!detail.contains("hidden"), "{path}: {detail}");
    }
}

/// A table with a column of each type whose values are texts here.
const TYPES: &str = "CREATE EXTENSION IF NOT EXISTS citext; \
    CREATE TYPE size AS ENUM ('small', 'large'); \
    CREATE TABLE k (id integer, u uuid, ip inet, net cidr, mac macaddr, span interval, n numeric, \
        at timetz, price money, bits bit(3), j json, jb jsonb, r int4range, s size, ct citext, \
        c char(4), y bytea, l integer[], spans interval[], what regclass, x xml, o \"char\"); \
    INSERT INTO k VALUES \
    (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', \
     '1 day', 1.50, '13:00:00+02', 12.5, '101', '{\"a\":1}', '{\"a\":1}', '[1,5)', 'small', 'Ab', 'ab', \
     '\\x00ff', '{1,2}', '{1 day}', 'k', '<a/>', 'x'), \
    (2, 'ffffffff-0000-4000-8000-000000000000', '10.0.0.2/8', '10.1.0.0/16', '08:00:2b:01:02:04', \
     '2 days', 10, '13:00:00+00', 7, '100', '[10]', '[10]', '[5,9)', 'large', 'b', 'abcd', \
     '\\x01', '{}', '{}', 'k', '<b/>', 'y'), \
    (3, '00000000-0000-4000-8000-000000000000', NULL, NULL, NULL, NULL, 9, NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
    (4, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

#[test]
fn a_value_of_any_type_of_postgres_finds_its_rows_or_is_refused() {
    let database = Postgres::start();
    database.sql(TYPES);
    let server = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n\
         [routes.k]\nkind = \"postgres\"\nsql = \"SELECT * FROM k ORDER BY id\"\n",
        database.url()
    ));
    let get = |parameters: &str| {
        let parameters: Vec<String> = parameters
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').expect("a value");
                let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
                format!("{name}={value}")
            })
            .collect();
        let path = format!("/k.csv?select=id&{}", parameters.join("&"));
        http::get(server.port(), &path)
    };
    // What is asked here, and in SQL.
    for (parameters, condition) in [
        ("u=eq.a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "id = 1"),
        ("u=eq.A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "id = 1"),
        ("u=eq.a0eebc999c0b4ef8bb6d6bb9bd380a11", "id = 1"),
        (
            "u=neq.A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "u <> 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        ),
        (
            "u=gt.a0000000-0000-4000-8000-000000000000",
            "u > 'a0000000-0000-4000-8000-000000000000'",
        ),
        ("u=in.(FFFFFFFF-0000-4000-8000-000000000000)", "id = 2"),
        ("ip=eq.10.0.0.1/32", "ip = '10.0.0.1'"),
        ("ip=eq.10.0.0.2/8", "id = 2"),
        ("net=in.(10.0.0.0/8,10.9.0.0/16)", "net = '10.0.0.0/8'"),
        ("mac=eq.08:00:2b:01:02:03", "id = 1"),
        ("span=eq.1 day", "span = '1 day'"),
        ("n=eq.1.5", "n = 1.5"),
        ("n=eq.1.50", "n = 1.5"),
        ("n=eq.15e-1", "n = 1.5"),
        ("n=gt.9", "n > 9 AND n <> 'NaN'"),
        ("n=lte.10", "n <= 10"),
        ("n=not.gt.9", "NOT (n > 9 AND n <> 'NaN')"),
        ("n=eq.NaN", "n = 'NaN'"),
        ("n=neq.9", "n <> 9"),
        ("n=in.(9.0,10.00)", "n IN (9, 10)"),
        ("n=like.1.5*", "id = 1"),
        ("at=eq.13:00:00+02", "at = '13:00:00+02'"),
        ("price=eq.$12.50", "price = '12.5'"),
        ("bits=eq.101", "bits = '101'"),
        ("j=eq.{\"a\":1}", "id = 1"),
        ("jb=eq.{\"a\": 1}", "jb = '{\"a\":1}'"),
        ("r=eq.[1,5)", "r = '[1,5)'"),
        ("s=eq.large", "s = 'large'"),
        ("s=gt.m", "s::text > 'm'"),
        ("ct=eq.Ab", "ct::text = 'Ab'"),
        ("ct=eq.aB", "FALSE"),
        ("c=eq.ab  ", "c = 'ab'"),
        ("c=gte.abc", "c = 'abcd'"),
        ("y=eq.00FF", "y = '\\x00ff'"),
        ("y=gt.00", "y > '\\x00'"),
        ("l=is.null", "l IS NULL"),
        ("spans=eq.{\"1 day\"}", "spans = '{1 day}'"),
        ("what=like.k", "what = 'k'::regclass"),
        ("x=eq.<a/>", "x::text = '<a/>'"),
        ("o=eq.x", "o = 'x'"),
    ] {
        let found = get(parameters);
        assert_eq!(found.status, 200, "{parameters}: {}", found.text());
        let sql = format!("SELECT id FROM k WHERE {condition} ORDER BY id");
        let wanted: Vec<u64> = database
            .sql(&sql)
            .split_whitespace()
            .map(|id| id.parse().expect("an id"))
            .collect();
        assert_eq!(ids(found.text()), wanted, "{parameters}");
    }
    for (order, by) in [
        ("u", "u NULLS LAST, id"),
        ("n.desc", "n DESC NULLS FIRST, id"),
        ("s.nullsfirst,id", "s::text COLLATE \"C\" NULLS FIRST, id"),
    ] {
        let found = get(&format!("order={order}"));
        let wanted = database.sql(&format!("SELECT id FROM k ORDER BY {by}"));
        let wanted: Vec<u64> = wanted
            .split_whitespace()
            .map(|id| id.parse().expect("an id"))
            .collect();
        assert_eq!(ids(found.text()), wanted, "{order}");
    }
    for (parameters, words) in [
        (
            "u=eq.nonsense",
            ["`nonsense` is not a value of type UUID", "123e4567-e89b"],
        ),
        ("u=in.(nonsense)", ["`nonsense`", "UUID"]),
        ("u=like.a0*", ["`like` is for texts", "UUID"]),
        (
            "ip=eq.nonsense",
            ["`nonsense` is not a value of type inet", "192.0.2.1/32"],
        ),
        (
            "ip=eq.10.0.0.1",
            ["`10.0.0.1` is written `10.0.0.1/32`", "column `ip`"],
        ),
        ("ip=gt.10.0.0.1", ["column `ip`", "not ordered"]),
        (
            "net=eq.10.0.0.1/8",
            ["not a value of type cidr", "192.0.2.0/24"],
        ),
        (
            "mac=eq.08-00-2b-01-02-03",
            ["is written `08:00:2b:01:02:03`", "`mac`"],
        ),
        ("span=eq.24 hours", ["is written `24:00:00`", "`span`"]),
        (
            "span=in.(1 day,nonsense)",
            [
                "one of the values is none of type interval",
                "1 day 02:03:04",
            ],
        ),
        ("span=eq.0.1234567 s", ["is written", "`span`"]),
        ("order=span", ["column `span`", "not ordered"]),
        (
            "n=eq.nonsense",
            ["`nonsense` is not a value of type numeric", "1.5"],
        ),
        ("n=gt.NaN", ["NaN has no order", "eq.NaN"]),
        ("n=eq.1e999999", ["not a value of type numeric", "`n`"]),
        ("at=eq.13:00", ["is written `13:00:00+00`", "`at`"]),
        ("price=eq.12.5", ["is written `$12.50`", "`price`"]),
        ("bits=eq.12", ["not a value of type bit", "101"]),
        ("j=eq.nonsense", ["not a value of type json", "`j`"]),
        ("order=j", ["column `j`", "not ordered"]),
        ("jb=eq.{\"a\":1}", ["is written `{\"a\": 1}`", "`jb`"]),
        ("jb=gt.1", ["column `jb`", "not ordered"]),
        ("r=eq.[1,4]", ["is written `[1,5)`", "`r`"]),
        ("s=eq.medium", ["not a value of type size", "small, large"]),
        ("ct=ilike.ab", ["ilike", "like works"]),
        ("c=eq.ab", ["char(4)", "blanks at the end"]),
        ("y=eq.0", ["`0` is not a value of type", "00ff"]),
        ("l=eq.1", ["cannot be compared", "list"]),
        (
            "spans=eq.nonsense",
            ["not a value of type interval[]", "`spans`"],
        ),
        ("what=eq.k", ["column `what`", "like and is work"]),
        ("what=eq.pg_class", ["column `what`", "like and is work"]),
        ("x=eq.<", ["not a value of type xml", "`x`"]),
        ("o=eq.xy", ["is written `x`", "`o`"]),
    ] {
        let detail = get(parameters).problem(400);
        for word in words {
            assert!(
                detail.contains(word),
                "{parameters}: no {word:?} in {detail}"
            );
        }
    }
    // Connections that are kept know the labels of before.
    for sql in [
        "ALTER TYPE size ADD VALUE 'medium'",
        "UPDATE k SET s = 'medium' WHERE id = 3",
        "ALTER TYPE size RENAME VALUE 'small' TO 'tiny'",
    ] {
        database.sql(sql);
    }
    assert_eq!(ids(get("s=eq.medium").text()), [3]);
    assert_eq!(ids(get("s=in.(tiny)").text()), [1]);
    get("s=eq.small").problem(400);
    // Nobody's mistake but the clients'.
    let health = http::get(server.port(), "/healthz").json();
    assert_eq!(health["status"], "ok", "{health}");
    // As in tables, UUIDs are 16 bytes where the format has them, and texts elsewhere.
    let rows = http::get(server.port(), "/k.json?id=eq.1&select=u").json();
    assert!(
        rows.to_string()
            .contains("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        "{rows}"
    );
}

#[test]
fn what_is_sent_as_the_text_of_another_type_is_compared_as_this_text() {
    let same = Same::serve();
    for (parameters, found) in [
        ("n=eq.17.0", vec![17]),
        ("n=gt.298", vec![299]),
        ("n=is.null", vec![0, 1, 2, 3, 4, 5]),
        ("s=eq.3 days", vec![3]),
        ("s=like.29_ days", (290..300).collect()),
        ("c=in.(\"a7    \",a8    )", vec![7, 8]),
        ("u=eq.c4ca4238-a0b9-2382-0dcc-509a6f75849b", vec![1]),
        ("l=is.null", vec![]),
    ] {
        let parameters = parameters.replace(' ', "%20").replace('"', "%22");
        let rows = same.good(&format!("/kinds.csv?{parameters}&select=id"));
        assert_eq!(ids(&rows), found, "{parameters}");
    }
    let rows = same.good("/kinds.csv?id=eq.7");
    let row = "7,7,7 days,a7    ,[7],8f14e45f-ceea-167a-5a36-dedd4bea2543";
    assert_eq!(rows.lines().nth(1), Some(row), "{rows}");
}

#[test]
fn a_condition_on_a_column_that_is_called_like_a_parameter_is_refused_with_what_works() {
    const NAMES: [&str; 7] = [
        "limit", "format", "nested", "ascii", "bom", "offset", "MAXREC",
    ];
    let scratch = Scratch::new("called like parameters");
    let file = scratch.join("t.csv");
    let cells = |value: &str| NAMES.map(|_| value).join(",");
    let text = format!(
        "id,{}\n1,{}\n2,{}\n",
        NAMES.join(","),
        cells("x"),
        cells("y")
    );
    fs::write(&file, text).expect("files can be written");
    let server = Daemon::start(&format!(
        "[routes.t]\nkind = \"table\"\npath = \"{}\"\n\
         [routes.q]\nkind = \"query\"\nsql = \"SELECT * FROM t\"\n",
        file.display()
    ));
    for route in ["t", "q"] {
        for name in NAMES {
            let asked = format!("/{route}.csv?{name}=eq.y");
            let detail = http::get(server.port(), &asked).problem(400);
            assert!(
                detail.contains(&format!("and=({name}.eq.y)")),
                "{asked}: {detail}"
            );
            let works = format!("/{route}.csv?select=id&and=({name}.eq.y)");
            assert_eq!(
                http::get(server.port(), &works).text(),
                "id\r\n2\r\n",
                "{works}"
            );
        }
    }
}

/// The letters that `ilike` takes for one another in files; and what the server takes for them by the
/// collation of a database, which is why it is not asked.
#[test]
fn ilike_folds_letters_in_one_way_or_is_refused() {
    let words = [
        "Ä", "ä", "İ", "i", "I", "ı", "ß", "ẞ", "SS", "Σ", "σ", "ς", "K", "k", "\u{212a}", "ſ", "s",
    ];
    let scratch = Scratch::new("folding");
    let file = scratch.join("words.csv");
    std::fs::write(&file, format!("t\n{}\n", words.join("\n"))).expect("files can be written");
    let database = Postgres::start();
    let values = words.map(|word| format!("('{word}')")).join(",");
    database.sql(&format!(
        "CREATE TABLE words (t text); INSERT INTO words VALUES {values}"
    ));
    let daemon = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n\
         [routes.words]\nkind = \"table\"\npath = {file:?}\n\
         [routes.query]\nkind = \"query\"\nsql = \"SELECT t FROM words\"\n\
         [routes.server]\nkind = \"postgres\"\nsql = \"SELECT t FROM words\"\n\
         [sql]\nenabled = true\n",
        database.url()
    ));
    let get = |path: &str| http::get(daemon.port(), path);
    let of_server = |collation: &str, pattern: &str| {
        let sql = format!(
            "SELECT string_agg(t, ' ') FROM words WHERE t COLLATE \"{collation}\" ILIKE '{pattern}'"
        );
        database.sql(&sql).trim().to_owned()
    };
    for (pattern, files, servers) in [
        ("ä", "Ä ä", ["ä", "Ä ä", "Ä ä"]),
        ("i", "i I", ["i I", "i I", "İ i"]),
        ("I", "i I", ["i I", "i I", "I ı"]),
        ("ẞ", "ß ẞ", ["ẞ", "ß ẞ", "ß ẞ"]),
        ("ß", "ß ẞ", ["ß", "ß ẞ", "ß ẞ"]),
        ("ss", "SS", ["SS", "SS", "SS"]),
        ("ς", "Σ σ ς", ["ς", "ς", "ς"]),
        ("k", "K k \u{212a}", ["K k", "K k \u{212a}", "K k \u{212a}"]),
    ] {
        let encoded = encode(pattern);
        let sql = format!("SELECT t FROM words WHERE t ILIKE '{pattern}'");
        for path in [
            format!("/words.csv?t=ilike.{encoded}"),
            format!("/query.csv?t=ilike.{encoded}"),
            format!("/sql.csv?query={}", encode(&sql)),
        ] {
            let found: Vec<_> = get(&path)
                .text()
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect();
            assert_eq!(found.join(" "), files, "{path}");
        }
        let refused = get(&format!("/server.csv?t=ilike.{encoded}")).problem(400);
        assert!(refused.contains("ilike is not given here"), "{refused}");
        let found = ["C", "und-x-icu", "tr-x-icu"].map(|name| of_server(name, pattern));
        assert_eq!(found, servers, "{pattern}");
    }
}
