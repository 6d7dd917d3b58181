//! Requests that are made to hurt: nobody else may notice them.
//!
//! While each of them runs, others ask for the first row of a table and for the server's health. The
//! figures are printed. Those of a debug build, whose parts are many times slower, have wider bars:
//! `DATASTREAMER_TEST_BINARY` names a release build, which keeps to the narrow ones.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Connection};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::tables::{self, STARS};
use crate::support::wait;

/// Hostile requests at the same time: with one, the suite would take the sum of all time limits.
const AT_ONCE: usize = 3;
/// How often the others ask.
const PROBED_EVERY: Duration = Duration::from_millis(25);
/// A problem document is short, whatever the request was.
const PROBLEM_BYTES_MAX: usize = 4096;
/// How long a process may be there after its query.
const GONE: Duration = Duration::from_secs(2);
/// What the server's memory may grow by, for all requests together.
const GROWTH_BYTES_MAX: u64 = 100_000_000;

/// Milliseconds that others may wait: for the first row of a table, of which one in a hundred may
/// take longer, and for the server's health.
struct Bars {
    first_row: u64,
    health: u64,
}

const RELEASE: Bars = Bars {
    first_row: 100,
    health: 50,
};
const DEBUG: Bars = Bars {
    first_row: 500,
    health: 400,
};

fn bars() -> Bars {
    match std::env::var_os("DATASTREAMER_TEST_BINARY").is_some() || !cfg!(debug_assertions) {
        true => RELEASE,
        false => DEBUG,
    }
}

/// One request.
enum Request {
    Get(String),
    Post(&'static str, String),
    /// Bytes as they are.
    Raw(String),
}

/// A request, and the statuses that it may have.
struct Attack {
    name: String,
    request: Request,
    statuses: Range<u16>,
}

/// Of what is right SQL, however large: it is answered, or refused.
const ANY: Range<u16> = 200..505;
/// Of what is never right.
const REFUSED: Range<u16> = 400..505;

fn sql(text: impl Into<String>) -> Attack {
    let text = text.into();
    Attack {
        name: text.chars().take(90).collect(),
        request: Request::Post("text/plain", text),
        statuses: ANY,
    }
}

fn refused(attack: Attack) -> Attack {
    Attack {
        statuses: REFUSED,
        ..attack
    }
}

fn table(query: String) -> Attack {
    Attack {
        name: query.chars().take(90).collect(),
        request: Request::Get(format!("/stars.csv?{query}")),
        statuses: REFUSED,
    }
}

fn raw(name: &str, text: String) -> Attack {
    Attack {
        name: name.into(),
        request: Request::Raw(text),
        statuses: REFUSED,
    }
}

/// Constants that planning computes, and functions whose values are as large as one likes.
fn values_of_any_size() -> Vec<Attack> {
    let a = |count: usize| format!("'{}'", "a".repeat(count));
    let nested = (0..5).fold(a(40), |inner, _| {
        format!("replace({inner}, 'a', {})", a(40))
    });
    let tenfold = (0..12).fold(a(10), |inner, _| {
        format!("replace({inner}, 'a', {})", a(10))
    });
    let concat = (0..11).fold(a(16), |inner, _| format!("concat({inner}, {inner})"));
    [
        format!("SELECT length({nested})"),
        format!("SELECT {nested} AS t"),
        format!("SELECT length({tenfold})"),
        format!("SELECT length({concat})"),
        "SELECT length(repeat('a', 2000000000))".into(),
        "SELECT repeat('a', 2147483647)".into(),
        "SELECT repeat(repeat(repeat('abc', 1000), 1000), 1000)".into(),
        "SELECT lpad('a', 2000000000, 'b')".into(),
        "SELECT rpad('a', 2000000000, name) FROM stars".into(),
        "SELECT repeat(name, 1000000) FROM stars".into(),
        "SELECT length(repeat(name, 100000000)) FROM stars".into(),
        "SELECT array_repeat(1, 1000000000)".into(),
        "SELECT array_repeat(array_repeat(array_repeat(1, 1000), 1000), 1000)".into(),
        "SELECT array_length(range(1, 10000000000))".into(),
        "SELECT range(1, 100000000)".into(),
        "SELECT generate_series(1, 1000000000)".into(),
        "SELECT array_resize(make_array(1), 1000000000, 0)".into(),
        "SELECT array_agg(a.name) FROM stars a, stars b, stars c".into(),
        "SELECT string_agg(a.name, ',') FROM stars a, stars b".into(),
        "SELECT string_agg(repeat(a.name, 1000), ',') FROM stars a, stars b".into(),
        "SELECT array_to_string(array_repeat(repeat('a', 100000), 100000), ',')".into(),
        "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))".into(),
        format!("SELECT levenshtein({}, {})", a(30_000), a(29_000)),
        "SELECT to_hex(1), translate(repeat('a', 500000000), 'a', 'b')".into(),
        "SELECT upper(repeat('a', 900000000))".into(),
        "SELECT reverse(repeat('a', 900000000))".into(),
        "SELECT split_part(repeat('a,', 300000000), ',', 300000000)".into(),
        "SELECT md5(repeat('a', 900000000))".into(),
        "SELECT CAST(repeat('9', 100000000) AS DECIMAL(38, 0))".into(),
        "SELECT CAST(repeat('1', 100000000) AS DOUBLE)".into(),
        "SELECT substr(repeat('a', 900000000), 5)".into(),
        "SELECT initcap(repeat('a b ', 200000000))".into(),
    ]
    .map(sql)
    .into()
}

/// Texts that are long or deep.
fn texts() -> Vec<Attack> {
    let times = |text: &str, count: usize| text.repeat(count);
    let many = |count: usize, one: fn(usize) -> String, between: &str| {
        (0..count).map(one).collect::<Vec<_>>().join(between)
    };
    let selects = |count: usize| many(count, |at| format!("SELECT {at} AS a"), " UNION ALL ");
    let mut all: Vec<Attack> = [
        format!("SELECT 1{}", times("+1", 2000)),
        format!("SELECT 1{}", times("+1", 30_000)),
        format!("SELECT {}1{}", times("(", 20_000), times(")", 20_000)),
        format!("SELECT {}1", times("-", 60_000)),
        format!("SELECT {}true", times("NOT ", 15_000)),
        format!("SELECT 1 WHERE 1=1{}", times(" OR 1=1", 8000)),
        format!("SELECT 1 WHERE 1=1{}", times(" AND (1=1 OR 2=2)", 3500)),
        format!("SELECT 'a'{}", times("||'a'", 12_000)),
        format!("SELECT {}", times("CASE WHEN 1=1 THEN ", 3000)),
        format!(
            "SELECT {}1{}",
            times("CASE WHEN true THEN ", 2000),
            times(" END", 2000)
        ),
        format!("SELECT {}1{}", times("abs(", 10_000), times(")", 10_000)),
        format!("SELECT {}1{}", times("[", 20_000), times("]", 20_000)),
        format!(
            "SELECT * FROM {}stars{}",
            times("(SELECT * FROM ", 2000),
            times(")", 2000)
        ),
        format!("SELECT 1 {}", times("a AS(a AS(", 6000)),
        format!("WITH {}", times("a AS(a AS(", 6000)),
        selects(3000),
        format!("SELECT count(*) FROM ({})", selects(2500)),
        format!(
            "SELECT {} FROM stars",
            many(5000, |at| format!("ra AS a{at}"), ",")
        ),
        format!(
            "SELECT a.ra FROM stars a{}",
            many(
                300,
                |at| format!(" JOIN stars t{at} ON t{at}.ra = a.ra"),
                ""
            )
        ),
        format!(
            "SELECT count(*) FROM {}",
            many(60, |at| format!("stars t{at}"), ", ")
        ),
        format!(
            "SELECT ra FROM stars WHERE ra IN ({})",
            many(12_000, |at| format!("{at}.5"), ",")
        ),
        format!(
            "SELECT ra FROM stars WHERE name IN ({})",
            many(6000, |at| format!("'n{at}'"), ",")
        ),
        format!(
            "SELECT ra FROM stars WHERE {}",
            many(3000, |at| format!("name LIKE '%{at}%'"), " OR ")
        ),
        format!(
            "SELECT ra FROM stars WHERE ra IN {}1{}",
            times("(SELECT ", 800),
            times(")", 800)
        ),
        format!(
            "SELECT ra FROM stars ORDER BY {}",
            many(5000, |at| format!("ra + {at}"), ",")
        ),
        format!(
            "SELECT count(*) FROM stars GROUP BY CUBE ({})",
            many(20, |at| format!("ra + {at}"), ",")
        ),
        format!(
            "SELECT {} FROM stars",
            many(
                1500,
                |at| format!("sum(ra) OVER (ORDER BY dec + {at})"),
                ","
            )
        ),
        format!("SELECT '{}'", times("x", 60_000)),
        format!("SELECT x'{}'", times("00", 30_000)),
        format!("SELECT {}", times("9", 60_000)),
        format!("SELECT 1 /* {} */", times("/*", 30_000)),
        format!("SELECT INTERVAL '{}'", times("1 day ", 10_000)),
    ]
    .map(sql)
    .into();
    let doubled = |count: usize| {
        let twice = |at: usize| {
            let before = at - 1;
            format!("t{at} AS (SELECT a.ra FROM t{before} a, t{before} b)")
        };
        let all: Vec<_> = (1..count).map(twice).collect();
        format!(
            "WITH t0 AS (SELECT ra FROM stars), {} SELECT count(*) FROM t{}",
            all.join(", "),
            count - 1
        )
    };
    all.extend([sql(doubled(24)), sql(doubled(200))]);
    // More than a query may have.
    all.push(refused(sql(format!("SELECT '{}'", times("x", 70_000)))));
    all.push(refused(sql(times("a AS(a AS(", 30_000))));
    all.push(refused(sql(times("(", 1_000_000))));
    all
}

/// What computes for ever, or keeps more and more.
fn work() -> Vec<Attack> {
    [
        "SELECT count(*) FROM stars a, stars b, stars c, stars d WHERE a.ra+b.ra+c.ra+d.ra = -1",
        "SELECT * FROM stars a, stars b, stars c ORDER BY a.ra + b.dec * c.ra",
        "SELECT count(*) FROM (SELECT DISTINCT a.ra + b.dec AS x FROM stars a, stars b)",
        "SELECT a.ra + b.dec AS x, count(*) FROM stars a, stars b GROUP BY 1 ORDER BY 2",
        "SELECT count(*) FROM generate_series(1, 100000000000)",
        "SELECT value FROM generate_series(1, 100000000000) ORDER BY value DESC",
        "SELECT value FROM generate_series(1, 100000000000) ORDER BY value DESC LIMIT 100000000",
        "SELECT count(DISTINCT value) FROM generate_series(1, 100000000000)",
        "SELECT median(value) FROM generate_series(1, 10000000000)",
        "SELECT array_agg(value) FROM generate_series(1, 10000000000)",
        "SELECT sum(value) OVER (ORDER BY value) FROM generate_series(1, 10000000000)",
        "SELECT lag(value, 1000000) OVER (ORDER BY -value) FROM generate_series(1, 10000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a FROM r, stars) SELECT * FROM r",
        "WITH RECURSIVE r AS (SELECT 'a' AS a UNION ALL SELECT a || a FROM r) SELECT max(a) FROM r",
        "SELECT count(*) FROM stars WHERE regexp_like(name, '(a*)*(a*)*(a*)*b')",
        "SELECT regexp_replace(repeat('a', 10000000), '(a*)(a*)(a*)b', 'c')",
        "SELECT count(*) FROM stars WHERE name ~ '(((((((a{1,100}){1,100}){1,100}){1,100})))))'",
        "SELECT count(*) FROM stars WHERE name ~ '\\\\pL{1000}\\\\pL{1000}\\\\pL{1000}\\\\pL{1000}'",
        "SELECT count(*) FROM stars a WHERE ra > (SELECT avg(ra) FROM stars b WHERE b.dec > a.dec)",
        "SELECT count(*) FROM stars a WHERE EXISTS (SELECT 1 FROM stars b, stars c WHERE b.ra + c.ra < a.ra)",
        "SELECT a.name, b.name, c.name FROM stars a CROSS JOIN stars b CROSS JOIN stars c",
        "SELECT unnest(range(1, 1000000000))",
        "SELECT factorial(20), gcd(value, value + 1) FROM generate_series(1, 100000000000)",
    ]
    .map(sql)
    .into()
}

/// Parameters of tables, and their paths.
fn parameters() -> Vec<Attack> {
    let many = |count: usize, one: fn(usize) -> String, between: &str| {
        (0..count).map(one).collect::<Vec<_>>().join(between)
    };
    let mut all: Vec<Attack> = [
        format!("select={}", many(10_000, |at| format!("a{at}:ra"), ",")),
        format!("select={}", many(10_000, |_| "*".into(), ",")),
        format!("order={}", many(10_000, |_| "ra".into(), ",")),
        many(3000, |at| format!("ra=gt.{at}"), "&"),
        format!("{}=1", "x".repeat(50_000)),
        format!("ra=eq.{}", "9".repeat(60_000)),
        format!("limit={}", "9".repeat(1000)),
        format!("offset=-{}", "9".repeat(100)),
        "limit=1&limit=2&limit=3".into(),
        "format=nothing".into(),
        "select=ra&select=dec&%zz=1".into(),
    ]
    .map(table)
    .into();
    // Right ones, which take long.
    for right in [
        format!("name=in.({})", many(5000, |at| format!("n{at}"), ",")),
        format!("name=like.{}", "%25*".repeat(12_000)),
        format!("name=not.ilike.{}", "*a".repeat(10_000)),
        "order=name.desc,ra&offset=1000000000000".into(),
    ] {
        all.push(Attack {
            statuses: ANY,
            ..table(right)
        });
    }
    for (path, statuses) in [
        ("/sorted.fits?order=name.desc,ra", ANY),
        ("/sorted.vot?order=name.desc,ra", ANY),
        ("/..%2f..%2fetc/passwd", REFUSED),
        ("/sql.csv?query=SELECT+1&query=SELECT+2", REFUSED),
    ] {
        all.push(Attack {
            name: path.into(),
            request: Request::Get(path.into()),
            statuses,
        });
    }
    all
}

/// The HTTP layer, and bodies.
fn wire() -> Vec<Attack> {
    let post = |head: &str, body: &str| {
        format!("POST /sql.csv HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}")
    };
    let text = "Content-Type: text/plain\r\n";
    vec![
        raw(
            "a body that never ends",
            post(&format!("{text}Content-Length: 1000"), "SELECT"),
        ),
        raw(
            "a body of a terabyte",
            post(&format!("{text}Content-Length: 1000000000000"), "SELECT 1"),
        ),
        raw(
            "a chunk that is none",
            post(&format!("{text}Transfer-Encoding: chunked"), "zz\r\n\r\n"),
        ),
        raw(
            "both lengths",
            post(
                &format!("{text}Transfer-Encoding: chunked\r\nContent-Length: 5"),
                "0\r\n\r\n",
            ),
        ),
        raw(
            "a thousand headers",
            format!(
                "GET /stars.csv HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "X-A: b\r\n".repeat(1000)
            ),
        ),
        raw(
            "a header of a megabyte",
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
                "y".repeat(1_000_000)
            ),
        ),
        raw("no HTTP", "\0\u{1}\u{2}\r\n\r\n".into()),
        raw(
            "a request line that never ends",
            format!("GET /{}", "a".repeat(200_000)),
        ),
        Attack {
            name: "a form of a hundred thousand parameters".into(),
            request: Request::Post("application/x-www-form-urlencoded", "a=1&".repeat(60_000)),
            statuses: REFUSED,
        },
        Attack {
            name: "a form with a query of 100 kB".into(),
            request: Request::Post(
                "application/x-www-form-urlencoded",
                format!("query=SELECT+'{}'", "x".repeat(100_000)),
            ),
            statuses: REFUSED,
        },
        Attack {
            name: "a query as JSON".into(),
            request: Request::Post("application/json", "[".repeat(100_000)),
            statuses: REFUSED,
        },
    ]
}

/// Others, who ask while the hostile requests run.
#[derive(Default)]
struct Others {
    is_over: AtomicBool,
    first_rows: Mutex<Vec<u64>>,
    health: Mutex<Vec<u64>>,
    memory_max: AtomicU64,
}

impl Others {
    fn ask(&self, server: &Daemon) {
        while !self.is_over.load(Ordering::Relaxed) {
            for (path, times) in [
                ("/probed.csv?limit=1", &self.first_rows),
                ("/healthz", &self.health),
            ] {
                let started = Instant::now();
                let mut client = Connection::open(server.port());
                client.ask(path);
                let mut answer = client.read_head();
                client.read_body(&mut answer).expect("it is complete");
                let took = started.elapsed().as_millis();
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                times.lock().unwrap().push(u64::try_from(took).unwrap());
            }
            self.memory_max
                .fetch_max(memory_of(server.pid()), Ordering::Relaxed);
            thread::sleep(PROBED_EVERY);
        }
    }
}

/// Returns the resident bytes of a process.
fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.expect("a size").trim().trim_end_matches(" kB");
    kib.parse::<u64>().expect("a number") << 10
}

/// Returns the value that one in a hundred is above.
fn p99(times: &Mutex<Vec<u64>>) -> u64 {
    let mut times = times.lock().unwrap().clone();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Sends a request, and says what is wrong with the answer.
fn run(attack: &Attack, port: u16) -> Result<(), String> {
    let started = Instant::now();
    let mut client = Connection::open_patient(port);
    match &attack.request {
        Request::Get(path) => {
            client.send_if_wanted(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        }
        Request::Post(media_type, body) => client.send_if_wanted(&format!(
            "POST /sql.csv HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )),
        Request::Raw(text) => client.send_if_wanted(text),
    }
    let is_raw = matches!(attack.request, Request::Raw(_));
    let Ok(mut answer) = client.try_read_head() else {
        // A server may close the connection of what is no HTTP, or far too long, without a word.
        return match is_raw || attack.statuses == REFUSED {
            true => Ok(()),
            false => Err(format!("{}: no answer", attack.name)),
        };
    };
    let is_complete = client.discard_body(&mut answer).is_ok();
    let (took, status) = (started.elapsed(), answer.status);
    if took > Duration::from_secs(5) {
        println!("{took:?} {status} {}", attack.name);
    }
    let wrong = |what: &str| {
        let text: String = String::from_utf8_lossy(&answer.body)
            .chars()
            .take(300)
            .collect();
        Err(format!("{}: {what}: {status} {text}", attack.name))
    };
    if !attack.statuses.contains(&status) {
        return wrong("its status");
    }
    // What hyper itself refuses, for its size or its form, has no body.
    if status < 400 || answer.body.is_empty() {
        return Ok(());
    }
    if !is_complete || answer.body.len() > PROBLEM_BYTES_MAX {
        return wrong("it is cut, or too long");
    }
    match answer.header("content-type") {
        Some("application/problem+json") if status != 500 => Ok(()),
        _ => wrong("it is no refusal"),
    }
}

#[test]
fn requests_that_are_made_to_hurt_hurt_nobody_else() {
    let scratch = Scratch::new("hostile");
    let routes = [("stars", STARS), ("probed", STARS), ("sorted", 50_000)].map(|(name, rows)| {
        let file = tables::stars(scratch.path(), name, rows);
        format!(
            "[routes.{name}]\nkind = \"table\"\npath = \"{}\"\n",
            file.display()
        )
    });
    let server = Daemon::start(&format!(
        "[sql]\nenabled = true\nmemory_bytes = \"256MiB\"\n[tables]\ntime_limit = \"1s\"\n\
         [limits]\nheader_timeout = \"3s\"\nmax_active_per_client = 40\n{}",
        routes.concat()
    ));
    // What is there for any request: the first row of each kind has been asked for.
    for path in [
        "/sql.csv?query=SELECT+1",
        "/sorted.csv?limit=5",
        "/probed.csv",
        "/stars.fits",
    ] {
        assert_eq!(http::get(server.port(), path).status, 200, "{path}");
    }
    let before = memory_of(server.pid());
    let attacks = [values_of_any_size(), texts(), work(), parameters(), wire()];
    let attacks: Vec<_> = attacks.into_iter().flatten().collect();
    assert!(attacks.len() >= 80, "{}", attacks.len());
    let count = attacks.len();
    let queue = Mutex::new(VecDeque::from(attacks));
    let (others, wrong) = (Others::default(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let probing = scope.spawn(|| others.ask(&server));
        let attacking: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().pop_front();
                        let Some(attack) = next else { break };
                        wrong
                            .lock()
                            .unwrap()
                            .extend(run(&attack, server.port()).err());
                    }
                })
            })
            .collect();
        attacking
            .into_iter()
            .for_each(|it| it.join().expect("no panic"));
        // Twenty at once: eight run, of which one client has half; the others wait, and are refused.
        let twenty: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let text = "SELECT count(*) FROM stars a, stars b, stars c WHERE a.ra = -b.ra";
                    wrong
                        .lock()
                        .unwrap()
                        .extend(run(&sql(text), server.port()).err());
                })
            })
            .collect();
        twenty
            .into_iter()
            .for_each(|it| it.join().expect("no panic"));
        others.is_over.store(true, Ordering::Relaxed);
        probing.join().expect("all others are served");
    });
    for line in server
        .log()
        .lines()
        .filter(|line| line.contains("panicked"))
    {
        println!("{}", line.chars().take(400).collect::<String>());
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    wait::until("no process is left but the one that waits", GONE, || {
        program::query_processes(server.pid()).len() <= 1
    });
    let growth = others
        .memory_max
        .load(Ordering::Relaxed)
        .saturating_sub(before);
    let (first_row, health) = (p99(&others.first_rows), p99(&others.health));
    println!(
        "{count} requests; first row: p99 {first_row} ms; health: p99 {health} ms; memory: \
         {before} and {growth} bytes more; probes: {}",
        others.first_rows.lock().unwrap().len()
    );
    let bars = bars();
    assert!(first_row <= bars.first_row, "{first_row} ms");
    assert!(health <= bars.health, "{health} ms");
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes");
}
