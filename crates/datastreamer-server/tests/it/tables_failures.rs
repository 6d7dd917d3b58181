//! Tables that fail in mid-stream, and clients that leave: seen by those who read tables, too.
//!
//! The failures are far behind the first bytes, so that the status is 200 and gone.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::clients::{Client, Report, probe, report_of};
use crate::support::http::{self, Connection, End, encode, get};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, BIG, last_transfer};
use crate::support::{tools, wait};

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);
/// Clients of any file that are here because people get tables with them.
const DOWNLOADERS: [Client; 4] = [
    Client::Curl,
    Client::CurlHttp2,
    Client::Wget,
    Client::Requests,
];
/// Divides by zero after 49 000 rows of 50 000.
const FAILS_LATE: &str = "SELECT value, 1/(49000-value) AS quotient FROM generate_series(1, 50000)";
/// The same without the failure.
const FAILS_NEVER: &str =
    "SELECT value, 1/(99000-value) AS quotient FROM generate_series(1, 50000)";
/// Gives no row, for hours, and asks for one often.
const SILENT: &str = "SELECT sum(value) AS n FROM generate_series(1, 1000000000000)";

/// A program that reads a table from a URL into memory.
#[derive(Clone, Copy, Debug)]
enum TableReader {
    Astropy,
    Pyvo,
    Stilts,
}

impl TableReader {
    const ALL: [Self; 3] = [Self::Astropy, Self::Pyvo, Self::Stilts];

    fn load(self, url: &str) -> Report {
        let mut command = match self {
            Self::Stilts => {
                let mut stilts = tools::program("stilts");
                stilts.args(["tpipe", &format!("in={url}"), "ifmt=votable", "omode=count"]);
                stilts
            }
            Self::Astropy => python_load("astropy", url),
            Self::Pyvo => python_load("pyvo", url),
        };
        let home = Scratch::new("home");
        command.env("HOME", home.path());
        report_of(command)
    }
}

fn python_load(reader: &str, url: &str) -> Command {
    let mut python = tools::python();
    python
        .arg(tools::client_script("load_table.py"))
        .args([reader, url]);
    python
}

fn sql_path(sql: &str, form: &str) -> String {
    format!("/sql.{form}?query={}", encode(sql))
}

fn serve_sql() -> Daemon {
    Daemon::start("[sql]\nenabled = true\n")
}

#[test]
fn readers_of_tables_see_a_query_that_fails_late() {
    let server = serve_sql();
    let url = |sql| format!("http://127.0.0.1:{}{}", server.port(), sql_path(sql, "vot"));
    wait::for_all(TableReader::ALL, |reader| {
        let whole = reader.load(&url(FAILS_NEVER));
        assert!(whole.is_success(), "{reader:?}: {whole}");
        let cut = reader.load(&url(FAILS_LATE));
        assert!(matches!(cut, Report::Failure(_)), "{reader:?}: {cut}");
    });
}

#[test]
fn every_downloader_sees_a_query_that_fails_late_in_every_format() {
    let server = serve_sql();
    let forms = [
        "vot", "csv", "tsv", "ndjson", "json", "parquet", "arrow", "txt",
    ];
    let jobs = forms.map(|form| DOWNLOADERS.map(|client| (client, form)));
    wait::for_all(jobs.into_iter().flatten(), |(client, form)| {
        let scratch = Scratch::new("late");
        let path = sql_path(FAILS_LATE, form);
        let url = format!("http://127.0.0.1:{}{path}", server.port());
        let report = client.download(&url, &scratch.join("table"));
        assert!(
            matches!(report, Report::Failure(_)),
            "{client} {form}: {report}"
        );
    });
    // FITS begins when the rows are there: there is a status for what went wrong.
    let fits = http::get(server.port(), &sql_path(FAILS_LATE, "fits")).problem(422);
    assert!(fits.contains("zero"), "{fits}");
}

#[test]
fn a_file_that_is_corrupt_at_its_end_is_no_whole_table() {
    let scratch = Scratch::new("corrupt");
    let file = tables::corrupt_at_its_end(scratch.path(), "corrupt");
    let server = Server::start([&file]);
    // 25 thousand rows before the damage are enough for readers that take their time.
    let short = server.url("/corrupt.vot?select=source_id,ra&offset=900000");
    wait::for_all(TableReader::ALL, |reader| {
        let report = reader.load(&short);
        assert!(matches!(report, Report::Failure(_)), "{reader:?}: {report}");
    });
    wait::for_all(DOWNLOADERS, |client| {
        let url = server.url("/corrupt.csv?select=source_id");
        let report = client.download(&url, &scratch.join(&format!("{client}.csv")));
        assert!(matches!(report, Report::Failure(_)), "{client}: {report}");
    });
    let seen = probe(&server.url("/corrupt.vot?select=source_id,name"));
    assert_eq!(seen.status, 200);
    assert!(matches!(seen.report, Report::Failure(_)), "{}", seen.report);
    assert_reason(&seen.body, "corrupt.parquet");
    let told = last_transfer(server.port());
    assert_eq!(told["outcome"], "source_error", "{told}");
    let rows = told["rows"].as_u64().expect("a number");
    assert!((900_000..BIG).contains(&rows), "{told}");
    http::get(server.port(), "/corrupt.fits?select=name").problem(500);
}

#[test]
fn clients_are_told_which_file_is_gone_and_no_folder_of_the_server() {
    let scratch = Scratch::new("gone");
    let file = tables::stars(scratch.path(), "stars", 100);
    let server = Server::start([&file]);
    fs::remove_file(&file).expect("it is there");
    let folder = scratch.path().to_str().expect("text");
    for path in ["/stars.csv", "/stars.fits", "/stars.vot?ra=gt.1"] {
        let told = http::get(server.port(), path).problem(500);
        assert!(told.contains("stars.parquet"), "{path}: {told}");
        assert!(!told.contains(folder), "{path}: {told}");
    }
}

#[test]
fn of_the_operators_query_clients_are_told_that_it_fails_and_no_more() {
    let scratch = Scratch::new("query");
    let file = tables::stars(scratch.path(), "stars", 100);
    let daemon = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = \"{}\"\n\
         [routes.secret]\nkind = \"query\"\n\
         sql = \"SELECT source_id AS hush, 1 / (source_id - source_id + $by) AS hash FROM stars\"\n\
         parameters = [{{ name = \"by\", type = \"integer\" }}]\n",
        file.display()
    ));
    assert_eq!(http::get(daemon.port(), "/secret.csv?by=1").status, 200);
    for (path, status, told) in [
        (
            "/secret.csv?by=0",
            422,
            "the query of this route fails on its rows or with these values",
        ),
        ("/secret.csv?by=x", 400, "by"),
    ] {
        let detail = http::get(daemon.port(), path).problem(status);
        assert!(detail.contains(told), "{detail}");
        for secret in ["hush", "hash", "source_id", "zero"] {
            assert!(!detail.contains(secret), "{secret} in: {detail}");
        }
    }
    wait::until("it is logged", LIMIT, || daemon.log().contains("zero"));
    fs::remove_file(&file).expect("it is there");
    let gone = http::get(daemon.port(), "/secret.csv?by=1").problem(500);
    assert!(
        !gone.contains(scratch.path().to_str().expect("text")),
        "{gone}"
    );
}

#[test]
fn the_reason_stands_behind_the_rows_in_what_curl_saved() {
    let server = serve_sql();
    for form in ["votable", "votable-binary", "votable-binary2"] {
        let path = format!("{}&format={form}", sql_path(FAILS_LATE, "vot"));
        let seen = probe(&format!("http://127.0.0.1:{}{path}", server.port()));
        assert_eq!(seen.status, 200);
        assert!(
            matches!(seen.report, Report::Failure(_)),
            "{form}: {}",
            seen.report
        );
        assert_reason(&seen.body, "zero");
    }
}

/// Panics unless a VOTable ends with the reason of its failure, where DALI 1.1 (4.4) has it.
#[track_caller]
fn assert_reason(votable: &[u8], word: &str) {
    let tail = &votable[votable.len().saturating_sub(2000)..];
    let tail = String::from_utf8_lossy(tail);
    let (_, behind) = tail.split_once("</TABLE>").expect("the table is closed");
    let (_, reason) = behind
        .split_once("<INFO name=\"QUERY_STATUS\" value=\"ERROR\">")
        .unwrap_or_else(|| panic!("no status in: {behind}"));
    let (reason, end) = reason.split_once("</INFO>").expect("the status is closed");
    assert!(
        reason.contains(word) && reason.contains("after "),
        "{reason}"
    );
    assert!(end.contains("</RESOURCE>"), "{end}");
}

#[test]
fn failures_are_seen_through_a_content_coding() {
    let scratch = Scratch::new("coded");
    let file = tables::corrupt_at_its_end(scratch.path(), "corrupt");
    let server = Daemon::start(&format!(
        "[routes.corrupt]\nkind = \"table\"\npath = \"{}\"\ncompress = true\n",
        file.display()
    ));
    let path = "/corrupt.vot?select=source_id,ra&offset=900000";
    let coded = http::get_with(server.port(), path, "Accept-Encoding: gzip");
    assert_eq!(coded.header("content-encoding"), Some("gzip"));
    assert_eq!((coded.status, coded.end), (200, End::Reset));
    let url = format!("http://127.0.0.1:{}{path}", server.port());
    let clients = [
        Client::CurlDecoding,
        Client::CurlHttp2Decoding,
        Client::WgetDecoding,
        Client::Requests,
    ];
    wait::for_all(clients, |client| {
        let saved = scratch.join(&format!("{client}.vot"));
        let report = client.download(&url, &saved);
        assert!(matches!(report, Report::Failure(_)), "{client}: {report}");
    });
    // What was saved is decoded up to the reason.
    let saved = fs::read(scratch.join(&format!("{}.vot", Client::CurlDecoding)));
    assert_reason(&saved.expect("curl saved what came"), "Parquet");
}

#[test]
fn a_file_that_is_replaced_in_mid_stream_is_a_failure() {
    // With a parameter it is not the file itself. Cut by a limit, the rows are not read to their end.
    let cut = format!("big.csv?limit={}", tables::BIG - 1);
    // Its process is ended by the server once there are enough rows.
    let sql = format!("sql.csv?query=SELECT+*+FROM+big&limit={}", tables::BIG - 1);
    for path in ["big.vot", "big.csv", "big.parquet?offset=0", &cut, &sql] {
        let scratch = Scratch::new("replaced");
        let file = tables::big(scratch.path(), "big");
        let server = Daemon::start(&format!(
            "[sql]\nenabled = true\n[routes.big]\nkind = \"table\"\npath = \"{}\"\n",
            file.display()
        ));
        let url = format!("http://127.0.0.1:{}/{path}", server.port());
        let mut clients = [
            begin(tools::program("curl").args(["-q", "--silent", &url])),
            begin(tools::program("wget").args([
                "--no-config",
                "--quiet",
                "--tries=1",
                "-O-",
                &url,
            ])),
            begin(
                tools::python()
                    .arg(tools::client_script("get_requests.py"))
                    .args([&url, "/dev/stdout"])
                    .stderr(Stdio::null()),
            ),
        ];
        // All are in mid-stream: nobody has read more than this, and what lies between is bounded.
        tables::stars(scratch.path(), "other", 10);
        fs::rename(scratch.join("other.parquet"), &file).expect("files can be renamed");
        for client in &mut clients {
            let (saved, is_success) = client.finish();
            assert!(!is_success, "{path}: success, with {} bytes", saved.len());
            if path == "big.vot" {
                assert_reason(&saved, "changed while it was read");
            }
        }
        // Who asks now gets the new one.
        let new = http::get(server.port(), "/big.json");
        assert_eq!(tables::records(&new.body).len(), 10);
    }
}

#[test]
fn a_file_that_is_rewritten_under_its_old_time_is_a_failure() {
    let scratch = Scratch::new("rewritten");
    let file = scratch.join("list.csv");
    let rows = |word: &str| -> String {
        let rows = (0..1_500_000).map(|n| format!("{n},{word}\n"));
        std::iter::once("id,word\n".to_owned())
            .chain(rows)
            .collect()
    };
    for form in ["csv", "vot", "ndjson"] {
        fs::write(&file, rows("old")).expect("files can be written");
        let modified = fs::metadata(&file).and_then(|it| it.modified());
        let server = Server::start([&file]);
        let url = server.url(&format!("/list.{form}"));
        let mut client = begin(tools::program("curl").args(["-q", "--silent", &url]));
        // In place, with as many bytes, and what programs do that keep the times of what they copy.
        fs::write(&file, rows("new")).expect("files can be written");
        let opened = fs::File::options().write(true).open(&file);
        let opened = opened.expect("files can be opened");
        let set = opened.set_modified(modified.expect("a time"));
        set.expect("times can be set");
        let (saved, is_success) = client.finish();
        assert!(!is_success, "{form}: success, with {} bytes", saved.len());
    }
}

/// A client that has begun to get a file and is not read any further.
struct Begun {
    child: std::process::Child,
    saved: Vec<u8>,
}

fn begin(command: &mut Command) -> Begun {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut saved = vec![0; 4096];
    let output = child.stdout.as_mut().expect("stdout is a pipe");
    output.read_exact(&mut saved).expect("bytes come");
    Begun { child, saved }
}

impl Begun {
    /// Reads the rest; returns all, and whether the client reports success.
    fn finish(&mut self) -> (Vec<u8>, bool) {
        let mut saved = std::mem::take(&mut self.saved);
        let output = self.child.stdout.as_mut().expect("stdout is a pipe");
        output.read_to_end(&mut saved).expect("a pipe can be read");
        let status = self.child.wait().expect("a child can be waited for");
        (saved, status.success())
    }
}

#[test]
fn a_client_that_leaves_in_mid_table_ends_the_query_soon() {
    let scratch = Scratch::new("leaves");
    let server = Server::start([tables::big(scratch.path(), "big")]);
    for form in ["vot", "csv", "parquet", "ndjson"] {
        let path = format!("/big.{form}");
        let mut client = Connection::open_narrow(server.port());
        client.ask(&path);
        assert_eq!(client.read_head().status, 200);
        let left = Instant::now();
        drop(client);
        let told = last_transfer(server.port());
        assert_eq!(
            (&told["request"], &told["outcome"]),
            (&path.into(), &"client_gone".into())
        );
        assert!(
            left.elapsed() < Duration::from_secs(2),
            "{:?}",
            left.elapsed()
        );
        assert!(
            told["rows"].as_u64().unwrap_or_default() < BIG / 2,
            "{told}"
        );
    }
}

#[test]
fn a_client_that_leaves_before_the_first_row_ends_the_query_too() {
    let server = serve_sql();
    let mut client = Connection::open(server.port());
    client.ask(&sql_path(SILENT, "csv"));
    wait::until("the query runs", LIMIT, || {
        http::transfers(server.port())["active"] == 1
    });
    let left = Instant::now();
    drop(client);
    let told = last_transfer(server.port());
    assert_eq!(told["outcome"], "client_gone", "{told}");
    assert!(
        left.elapsed() < Duration::from_secs(2),
        "{:?}",
        left.elapsed()
    );
    // Nothing computes any more.
    wait::until("the query's threads rest", LIMIT, || {
        let before = ticks(server.pid());
        std::thread::sleep(Duration::from_millis(300));
        ticks(server.pid()) <= before + 2
    });
}

/// Returns what a process has computed so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let stat = stat.expect("a process tells its figures");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let fields: Vec<u64> = fields
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    fields[11] + fields[12]
}

#[test]
fn cat_of_a_table_that_fails_late_is_exit_code_7_and_one_line() {
    let scratch = Scratch::new("cat");
    let file = tables::corrupt_at_its_end(scratch.path(), "corrupt");
    let file = file.to_str().expect("text");
    for form in ["votable", "csv", "fits"] {
        let target = format!("{file}?select=source_id");
        let mut said = program::run(&["cat", &target, "--format", form]);
        let written = std::mem::take(&mut said.stdout);
        said.assert_refused(7, &["corrupt", "is not complete", "after "]);
        assert!(!written.is_empty(), "{form}: what came before is valid");
        if form == "votable" {
            assert_reason(&written, "Parquet");
        }
    }
}

/// A FITS file with a name in Latin-1: what the program writes, with a byte that it would not write.
fn fits_with_latin1(scratch: &Scratch) -> PathBuf {
    let (csv, fits) = (scratch.join("names.csv"), scratch.join("names.fits"));
    fs::write(&csv, "id,name\n1,plain\n2,?strom\n").expect("files can be written");
    let written = program::run(&["cat", csv.to_str().expect("text"), "--format", "fits"]);
    written.assert_good();
    let mut bytes = written.stdout;
    let at = bytes.windows(6).rposition(|bytes| bytes == b"?strom");
    bytes[at.expect("the name is in the file")] = 0xc5;
    fs::write(&fits, bytes).expect("files can be written");
    fits
}

#[test]
fn fits_strict_refuses_what_is_else_read_and_counted_in_the_log() {
    let scratch = Scratch::new("strict");
    let fits = fits_with_latin1(&scratch);
    let route = format!("[routes.names]\nkind = \"table\"\npath = {fits:?}\n");
    let daemon = Daemon::start(&route);
    let response = get(daemon.port(), "/names.csv");
    let text = String::from_utf8(response.body).expect("UTF-8");
    assert_eq!(text.replace('\r', ""), "id,name\n1,plain\n2,\u{c5}strom\n");
    wait::until("the count", Duration::from_secs(20), || {
        let log = daemon.log();
        log.contains("texts_latin1=1") && log.contains("names.fits")
    });
    let cat = |environment: &[(&str, &str)]| {
        let mut command =
            program::command(&["cat", fits.to_str().expect("text"), "--format", "csv"]);
        command.envs(environment.iter().copied());
        program::finish(command)
    };
    let said = cat(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("texts_latin1=1"), "{said:?}");
    let words = ["names.fits", "row 2", "\"name\"", "0xc5 is not ASCII"];
    cat(&[("DATASTREAMER_TABLES__FITS_STRICT", "true")]).assert_refused(7, &words);
    let strict = Daemon::start(&format!("[tables]\nfits_strict = true\n{route}"));
    let refused = get(strict.port(), "/names.csv");
    assert!(
        refused.status == 500 || refused.end == End::Reset,
        "{}",
        refused.status
    );
}

#[test]
fn a_temporary_file_without_room_is_507_and_gives_its_room_back() {
    let daemon = Daemon::start(
        "[spool]\nbytes = \"20MB\"\n[routes.numbers]\nkind = \"query\"\n\
         sql = \"SELECT value, 'a text of a row' AS text FROM range(2000000) WHERE value >= $least\"\n\
         parameters = [{ name = \"least\", type = \"integer\", default = 0 }]\n",
    );
    let port = daemon.port();
    http::get(port, "/numbers.fits").problem(507);
    // 16 MiB are taken at a time: there is room for one.
    for _ in 0..2 {
        let few = http::get(port, "/numbers.fits?least=1999990");
        assert_eq!((few.status, few.end), (200, End::Whole));
    }
}
