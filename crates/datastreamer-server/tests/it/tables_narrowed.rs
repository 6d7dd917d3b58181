//! The same narrowing of a table, of a query over it and of its copy in PostgreSQL: the same rows in
//! the same order, and those that DuckDB finds.

use std::fs;

use datastreamer_testkit::Postgres;

use crate::support::http::{self, End, Response};
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
            "/kinds.csv?n=gt.5",
            ["column `n`", "eq, neq, in, like and is work"],
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
        let detail = same.get(path).problem(400);
        for word in words {
            assert!(detail.contains(word), "{path}: no {word:?} in {detail}");
        }
        assert!(!detail.contains("hidden"), "{path}: {detail}");
    }
}

#[test]
fn what_is_sent_as_the_text_of_another_type_is_compared_as_this_text() {
    let same = Same::serve();
    for (parameters, found) in [
        ("n=eq.17", vec![17]),
        ("n=is.null", vec![0, 1, 2, 3, 4, 5]),
        ("s=eq.3 days", vec![3]),
        ("s=like.29_ days", (290..300).collect()),
        ("c=in.(\"a7    \",a8)", vec![7]),
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
