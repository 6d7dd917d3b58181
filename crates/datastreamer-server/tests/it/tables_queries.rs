//! The processes that run clients' queries: what they may take, and how they end.

use std::fs;
use std::time::Duration;

use crate::support::http::{self, Connection, End, encode};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::tables::{self, STARS};
use crate::support::wait;

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a process may be there after its query.
const GONE: Duration = Duration::from_secs(2);
/// Rows without end, which are sent from the first on.
const ENDLESS: &str = "SELECT value, value * 2 AS twice FROM generate_series(1, 1000000000000)";
/// Computes for ever, and sends nothing.
const SILENT: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) a, \
                      generate_series(1, 1000000000000) b WHERE a.value + b.value < 0";

struct Sql {
    server: Daemon,
    _scratch: Scratch,
}

impl Sql {
    fn serve(settings: &str) -> Self {
        let scratch = Scratch::new("queries");
        let stars = tables::stars(scratch.path(), "stars", STARS);
        let server = Daemon::start(&format!(
            "[sql]\nenabled = true\n{settings}\n[routes.stars]\nkind = \"table\"\npath = \"{}\"\n",
            stars.display()
        ));
        Self {
            server,
            _scratch: scratch,
        }
    }

    /// Sends a query, and leaves the answer unread.
    fn ask(&self, sql: &str) -> Connection {
        let mut client = Connection::open_narrow(self.server.port());
        client.ask(&format!("/sql.csv?query={}", encode(sql)));
        client
    }

    /// Asks a query that ends, and waits for the process that waits after it.
    fn warm_up(&self) {
        let one = http::get(self.server.port(), "/sql.csv?query=SELECT+1+AS+a");
        assert_eq!(one.text(), "a\r\n1\r\n");
        wait::until("one process waits", LIMIT, || self.processes().len() == 1);
    }

    fn processes(&self) -> Vec<u32> {
        program::query_processes(self.server.pid())
    }
}

#[test]
fn the_process_of_a_query_has_its_own_bounds() {
    let sql = Sql::serve("memory_bytes = \"256MiB\"");
    sql.warm_up();
    let spare = sql.processes();
    let mut client = sql.ask(ENDLESS);
    assert_eq!(client.read_head().status, 200);
    let pid = spare[0];
    assert!(
        sql.processes().contains(&pid),
        "the one that waited runs it"
    );
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs");
    let limits = read("limits");
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max address space"));
    let limit = limit.expect("a limit").split_whitespace().nth(3);
    let bytes: u64 = limit.expect("a number").parse().expect("a number");
    // The program itself, 256 MiB, and the stacks of some threads.
    assert!(bytes < (256 << 20) + (1 << 30), "{bytes}");
    let stat = read("stat");
    let fields = fields_of(&stat);
    // The 18th field is the priority: a greater number is a lower one.
    let priority = |fields: &[&str]| fields[15].parse::<u32>().unwrap();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let expected = (priority(&fields_of(&own)) + 5).min(39);
    assert_eq!(priority(&fields), expected, "{stat}");
    assert_eq!(read("oom_score_adj").trim(), "1000");
    let environment = read("environ");
    let names = environment
        .split_terminator('\0')
        .map(|it| it.split('=').next().unwrap());
    assert!(
        names.eq([
            "DATASTREAMER_ROLE",
            "MALLOC_ARENA_MAX",
            "_DATASTREAMER_MARK",
            "_RJEM_MALLOC_CONF"
        ]),
        "{environment}"
    );
    // A group of its own: a signal of a terminal does not reach it, and it is killed as one.
    assert_eq!(fields[2], pid.to_string(), "{stat}");
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(),
        Some("/")
    );
}

/// The fields of `/proc/PID/stat` behind the name of the program.
fn fields_of(stat: &str) -> Vec<&str> {
    stat.rsplit(") ").next().unwrap().split(' ').collect()
}

#[test]
fn a_client_that_leaves_ends_the_process() {
    let sql = Sql::serve("");
    sql.warm_up();
    let sends = sql.ask(ENDLESS);
    let silent = sql.ask(SILENT);
    wait::until("both run", LIMIT, || sql.processes().len() == 3);
    drop(sends);
    drop(silent);
    wait::until("both have ended", GONE, || sql.processes().len() == 1);
}

#[test]
fn no_process_outlives_a_server_that_is_killed() {
    let mut sql = Sql::serve("");
    sql.warm_up();
    let _clients = [sql.ask(ENDLESS), sql.ask(SILENT)];
    wait::until("both run", LIMIT, || sql.processes().len() == 3);
    let processes = sql.processes();
    sql.server.signal("KILL");
    sql.server.wait(LIMIT);
    wait::until("all have ended", GONE, || {
        !processes.iter().any(|pid| program::is_running(*pid))
    });
}

#[test]
fn a_process_that_is_killed_is_a_failure_of_its_client_alone() {
    let sql = Sql::serve("");
    sql.warm_up();
    let spare = sql.processes()[0];
    let mut client = sql.ask(ENDLESS);
    let mut answer = client.read_head();
    assert_eq!(answer.status, 200);
    assert!(program::signal(spare, "KILL"));
    assert_eq!(client.read_body(&mut answer), Err(End::Reset));
    // One that waits is killed, too: the next query does not notice.
    wait::until("one process waits", LIMIT, || sql.processes().len() == 1);
    assert!(program::signal(sql.processes()[0], "KILL"));
    let one = http::get(sql.server.port(), "/sql.csv?query=SELECT+1+AS+a");
    assert_eq!((one.status, one.text()), (200, "a\r\n1\r\n"));
}

#[test]
fn what_a_query_spills_goes_with_its_client() {
    let scratch = Scratch::new("spill");
    let folder = scratch.path().display();
    let sql = Sql::serve(&format!(
        "[tables]\nmemory_bytes = \"16MiB\"\nspill_folder = \"{folder}\""
    ));
    sql.warm_up();
    let client = sql.ask("SELECT value FROM generate_series(1, 100000000) ORDER BY value % 1000");
    let spilled = || sql.server.files_open_below(scratch.path());
    wait::until("it spills", LIMIT, || spilled() > 0);
    drop(client);
    wait::until("its files are gone", LIMIT, || spilled() == 0);
    let names = fs::read_dir(scratch.path()).unwrap().flatten();
    // The folder of the server's processes.
    assert_eq!(names.count(), 1);
}

#[test]
fn a_query_sees_files_that_are_added_and_those_that_are_replaced() {
    let scratch = Scratch::new("changing");
    let folder = scratch.join("day");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.csv"), "x\n1\n").unwrap();
    let server = Daemon::start(&format!(
        "[sql]\nenabled = true\n[routes.t]\nkind = \"table\"\npath = \"{}\"\n",
        folder.display()
    ));
    let sum = || {
        let sum = http::get(server.port(), "/sql.csv?query=SELECT+sum(x)+AS+s+FROM+t");
        sum.text().lines().nth(1).map(str::to_owned)
    };
    assert_eq!(sum().as_deref(), Some("1"));
    fs::write(folder.join("b.csv"), "x\n20\n").unwrap();
    assert_eq!(sum().as_deref(), Some("21"));
    fs::write(folder.join("new"), "x\n300\n").unwrap();
    fs::rename(folder.join("new"), folder.join("a.csv")).unwrap();
    assert_eq!(sum().as_deref(), Some("320"));
    fs::remove_file(folder.join("b.csv")).unwrap();
    assert_eq!(sum().as_deref(), Some("300"));
}

#[test]
fn rows_without_bytes_and_rows_of_megabytes_arrive() {
    let sql = Sql::serve("");
    let ask = |sql_text: &str| {
        let path = format!("/sql.csv?query={}", encode(sql_text));
        http::get(sql.server.port(), &path)
    };
    assert_eq!(ask("SELECT NULL AS a").text(), "a\r\n\"\"\r\n");
    assert_eq!(ask("SELECT ra FROM stars WHERE false").text(), "ra\r\n");
    let long = ask("SELECT repeat('x', 7000000) AS t FROM generate_series(1, 3)");
    assert_eq!((long.status, long.body.len()), (200, 3 + 3 * 7_000_002));
    let too_long = ask("SELECT repeat('x', 9000000) AS t").problem(422);
    assert!(too_long.contains("a row of the result"), "{too_long}");
    // Many values of many rows share one batch.
    let wide = ask("SELECT repeat('y', 100000) AS t FROM generate_series(1, 1000)");
    assert_eq!((wide.status, wide.body.len()), (200, 3 + 1000 * 100_002));
}

#[test]
fn a_server_that_is_told_to_end_waits_for_queries_that_run() {
    let mut sql = Sql::serve("");
    let mut client = sql.ask("SELECT value FROM generate_series(1, 3000000)");
    let mut answer = client.read_head();
    sql.server.signal("TERM");
    client.read_body(&mut answer).expect("it is complete");
    let rows = answer.text().lines().count();
    assert_eq!(rows, 3_000_001);
    sql.server.wait(LIMIT);
}

#[test]
fn a_window_as_long_as_any_table_counts_all_rows() {
    let sql = Sql::serve("");
    let bound = 1_u64 << 61;
    let text = format!(
        "SELECT count(*) OVER (ORDER BY ra ROWS BETWEEN 1 FOLLOWING AND {bound} FOLLOWING) AS a, \
         count(*) OVER (ORDER BY ra ROWS BETWEEN {bound} PRECEDING AND {bound} FOLLOWING) AS b \
         FROM stars ORDER BY ra LIMIT 2"
    );
    let path = format!("/sql.csv?query={}", encode(&text));
    let counted = http::get(sql.server.port(), &path);
    let wanted = format!("a,b\r\n{},{STARS}\r\n{},{STARS}\r\n", STARS - 1, STARS - 2);
    assert_eq!(counted.text(), wanted);
}

#[test]
fn what_a_query_does_to_its_process_is_said_in_words_for_its_author() {
    let sql = Sql::serve("memory_bytes = \"256MiB\"");
    let nested = (0..100).fold("Int32".to_owned(), |of, _| format!("List({of})"));
    for (text, status, words) in [
        (
            format!("SELECT arrow_cast(NULL, '{nested}') AS x"),
            422,
            "nested too deeply",
        ),
        (
            "SELECT repeat('a', 8000000) AS x, value FROM range(300)".to_owned(),
            422,
            "memory",
        ),
        (
            "SELECT TIMESTAMP '2020-01-01' + INTERVAL '999999999 years' AS x".to_owned(),
            422,
            "",
        ),
        (
            "SELECT cardinality(array_resize([1], -1)) AS x".to_owned(),
            422,
            "fails on this query",
        ),
    ] {
        let path = format!("/sql.ndjson?query={}", encode(&text));
        let detail = http::get(sql.server.port(), &path).problem(status);
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn a_folder_for_temporary_files_that_is_removed_is_made_anew() {
    let scratch = Scratch::new("removed");
    let folder = scratch.path().display();
    let sql = Sql::serve(&format!("[tables]\nspill_folder = \"{folder}\""));
    sql.warm_up();
    for entry in fs::read_dir(scratch.path()).unwrap().flatten() {
        fs::remove_dir(entry.path()).unwrap();
    }
    // The process that waits has the old one, and this query needs none.
    for _ in 0..3 {
        sql.warm_up();
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}
