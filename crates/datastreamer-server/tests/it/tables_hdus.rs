//! FITS files of several tables, and compressed ones: every table is reached by its number and its
//! name, and nothing else is taken for it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::http::{self, Response};
use crate::support::program::{self, Said};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tools;

/// Exit code 3: the configuration, a path, or a parameter.
const CONFIGURATION: i32 = 3;

/// The tables of the file that are served.
const TABLES: &str =
    "the tables are 1 (EVENTS), 3 (GTI), 4 (SCI), 5 (SCI), 8 (without a name), 9 (1)";

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Runs `hdus.py`, and returns what it prints.
#[track_caller]
fn script(arguments: &[&str]) -> String {
    let mut python = tools::python();
    python.arg("-W").arg("ignore");
    python.arg(tools::client_script("hdus.py")).args(arguments);
    let said = program::finish(python);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.text().trim().to_owned()
}

/// Writes a file of several tables, and the same compressed.
fn made(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let plain = scratch.join("many.fits");
    script(&["make", text(&plain)]);
    (plain, scratch.join("many.fits.gz"))
}

fn configured(scratch: &Scratch, routes: &str) -> PathBuf {
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, routes).expect("files can be written");
    file
}

fn cat(arguments: &[&str]) -> Said {
    program::run(&[&["cat"], arguments].concat())
}

#[test]
fn every_table_has_the_values_that_astropy_and_stilts_read_plain_and_compressed() {
    let scratch = Scratch::new("hdus");
    let (plain, compressed) = made(&scratch);
    let packed = format!("packed={}", text(&compressed));
    let server = Server::start([text(&plain), &packed]);
    // 6 tables by their numbers, 5 names, in 3 formats.
    for name in ["/many", "/packed"] {
        let url = server.url(name);
        assert_eq!(script(&["compare", text(&plain), &url]), "33");
    }
    let stilts = tools::program("stilts");
    let stilts = stilts.get_program().to_str().expect("text");
    let url = server.url("/packed");
    assert_eq!(script(&["stilts", text(&plain), &url, stilts]), "6");
}

#[test]
fn what_is_no_table_is_refused_with_what_it_is_and_the_tables_that_there_are() {
    let scratch = Scratch::new("hdus");
    let (plain, _) = made(&scratch);
    let server = Server::start([text(&plain)]);
    let refused = |hdu: &str| {
        let response = http::get(server.port(), &format!("/many.csv?hdu={hdu}"));
        response.problem(400)
    };
    for (hdu, problem) in [
        ("0", format!("HDU 0 (PRIMARY) is an image; {TABLES}")),
        ("primary", format!("HDU 0 (PRIMARY) is an image; {TABLES}")),
        ("img", format!("HDU 2 (IMG) is an image; {TABLES}")),
        (
            "6",
            format!("HDU 6 (COMP) is an image in compressed tiles (ZIMAGE); {TABLES}"),
        ),
        (
            "ZT",
            format!(
                "HDU 7 (ZT) is a table in compressed tiles (ZTABLE): uncompress it with funpack; \
                 {TABLES}"
            ),
        ),
        ("10", format!("no HDU 10: {TABLES}")),
        ("-1", format!("no table \"-1\": {TABLES}")),
        ("EVENT", format!("no table \"EVENT\": {TABLES}")),
        ("SCI,3", format!("no table \"SCI,3\": {TABLES}")),
        (
            "sci",
            "several tables are called \"sci\": choose one by its number: 4 (EXTVER 1), 5 (EXTVER 2)"
                .to_owned(),
        ),
    ] {
        let wanted = format!("parameter `hdu`: {problem}");
        assert!(refused(hdu).ends_with(&wanted), "{}", refused(hdu));
        let said = cat(&[&format!("{}?hdu={hdu}", text(&plain))]);
        said.assert_refused(CONFIGURATION, &[&problem]);
        let said = cat(&[text(&plain), &format!("--hdu={hdu}")]);
        said.assert_refused(CONFIGURATION, &[&problem]);
    }
    let twice = http::get(server.port(), "/many.csv?hdu=1&hdu=3").problem(400);
    assert!(twice.contains("`hdu` is given twice"), "{twice}");
}

#[test]
fn a_configuration_and_a_flag_choose_a_table() {
    let scratch = Scratch::new("hdus");
    let (plain, compressed) = made(&scratch);
    let routes = format!(
        "[sql]\nenabled = true\n\
         [routes.gti]\nkind = \"table\"\npath = \"many.fits.gz\"\nhdu = \"Gti\"\n\
         [routes.gti.columns.start]\nunit = \"s\"\n\
         [routes.second]\nkind = \"table\"\npath = \"many.fits\"\nhdu = 5\n\
         [routes.several]\nkind = \"table\"\npath = \"{}/many.fit[s]\"\n",
        text(scratch.path())
    );
    let file = configured(&scratch, &routes);
    assert_eq!(program::run(&["check", text(&file)]).code, Some(0));
    let server = Server::start(["--config", text(&file)]);
    let get = |path: &str| http::get(server.port(), path);
    let gti = get("/gti.csv");
    assert_eq!(gti.text().lines().count(), 4, "{}", gti.text());
    assert_eq!(get("/gti.csv?hdu=Gti").body, gti.body);
    let other = get("/gti.csv?hdu=1").problem(400);
    assert!(other.ends_with("here is only the HDU \"Gti\""), "{other}");
    assert_eq!(get("/second.csv").text().lines().count(), 21);
    // The file itself would have all tables.
    assert_ne!(get("/second.fits").body, fs::read(&plain).expect("a file"));
    let several = get("/several.csv?hdu=1").problem(400);
    assert!(several.contains("has several files"), "{several}");
    assert_eq!(get("/several.csv").text().lines().count(), 1001);
    let sql = "/sql.csv?query=SELECT+count(*)+AS+n,sum(count)+AS+s+FROM+gti";
    assert_eq!(get(sql).text(), "n,s\r\n3,312\r\n");

    for target in [text(&plain), text(&compressed)] {
        let by_flag = cat(&[target, "--hdu", "GTI", "--format", "csv"]);
        assert_eq!(by_flag.stdout, gti.body);
        let by_number = cat(&[&format!("{target}?hdu=3"), "--format", "csv"]);
        assert_eq!(by_number.stdout, gti.body);
    }
    let by_flag = ["/second.csv", "--config", text(&file), "--hdu", "5"];
    assert_eq!(cat(&by_flag).stdout, get("/second.csv").body);

    let csv = scratch.join("plain.csv");
    fs::write(&csv, "hdu\n1\n2\n").expect("files can be written");
    cat(&[text(&csv), "--hdu", "2"])
        .assert_refused(CONFIGURATION, &["plain.csv", "only FITS files have HDUs"]);
    let column = cat(&[&format!("{}?hdu=gt.1", text(&csv)), "--format", "csv"]);
    assert_eq!(column.text(), "hdu\r\n2\r\n");
    for bad in ["true", "-1", "1.5"] {
        let route = format!("[routes.a]\nkind = \"table\"\npath = \"many.fits\"\nhdu = {bad}\n");
        let file = configured(&scratch, &route);
        program::run(&["check", text(&file)])
            .assert_refused(CONFIGURATION, &["routes.a", "hdu must be the number"]);
    }
}

#[test]
fn each_table_is_a_file_of_its_own_for_clients_and_the_page_lists_all() {
    let scratch = Scratch::new("hdus");
    let (plain, _) = made(&scratch);
    let routes = "[routes.many]\nkind = \"table\"\npath = \"many.fits\"\nkeep = \"10m\"\n";
    let file = configured(&scratch, routes);
    let server = Server::start(["--config", text(&file)]);
    let get = |path: &str| http::get(server.port(), path);
    // All tables are the file, which is sent as it is; one of them is not.
    let whole = get("/many.fits");
    assert_eq!(whole.body, fs::read(&plain).expect("a file"));
    let first = get("/many.fits?hdu=1");
    assert!(first.body.len() < whole.body.len());
    let answers = ["1", "3", "4", "5", "8", "9"].map(|hdu| get(&format!("/many.csv?hdu={hdu}")));
    let saved = answers
        .each_ref()
        .map(|answer| header(answer, "content-disposition"));
    let names = ["EVENTS", "GTI", "hdu4", "hdu5", "hdu8", "hdu9"];
    for (saved, name) in saved.iter().zip(names) {
        assert!(saved.contains(&format!("many-{name}.csv")), "{saved}");
    }
    let mut tags = answers.each_ref().map(|answer| header(answer, "etag"));
    tags.sort();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:?}");
    assert_eq!(get("/many.csv").body, answers[0].body);
    // A tag of one is not that of another.
    let condition = format!("If-None-Match: {}", header(&answers[0], "etag"));
    let other = http::get_with(server.port(), "/many.csv?hdu=3", &condition);
    assert_eq!((other.status, &other.body), (200, &answers[1].body));

    let page = get("/");
    let page = page.text();
    assert!(page.contains("6 tables of the file"), "{page}");
    for number in [1, 3, 4, 5, 8, 9] {
        let link = format!("href=\"/many.csv?hdu={number}\"");
        assert!(page.contains(&link), "{link}");
    }
    assert!(!page.contains("hdu=2\""), "{page}");
}

fn header(answer: &Response, name: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header(name).expect(name).to_owned()
}

#[test]
fn another_table_in_the_place_of_one_is_refused() {
    let scratch = Scratch::new("hdus");
    let (plain, _) = made(&scratch);
    let server = Server::start([text(&plain)]);
    let events = http::get(server.port(), "/many.csv?hdu=EVENTS");
    assert_eq!(events.status, 200);
    script(&["swap", text(&plain)]);
    for hdu in ["EVENTS", "1"] {
        let swapped = http::get(server.port(), &format!("/many.csv?hdu={hdu}"));
        let problem = swapped.problem(500);
        let wanted = "its EXTNAME is \"OTHERS\", and was \"EVENTS\"";
        assert!(problem.contains(wanted), "{problem}");
    }
}

#[test]
fn a_compressed_file_is_bounded_and_a_damaged_one_refused() {
    let scratch = Scratch::new("hdus");
    let (_, compressed) = made(&scratch);
    let mut bounded = program::command(&["cat", text(&compressed), "--format", "csv"]);
    bounded.env("DATASTREAMER_TABLES__UNPACK_BYTES", "10000");
    program::finish(bounded).assert_refused(
        CONFIGURATION,
        &[
            "many.fits.gz",
            "more than the 9.8 KiB of tables.unpack_bytes",
        ],
    );
    let whole = fs::read(&compressed).expect("a file");
    let cut = scratch.join("cut.fits.gz");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("files can be written");
    cat(&[text(&cut)]).assert_refused(CONFIGURATION, &["cut.fits.gz", "not complete gzip"]);
    // Without the suffix.
    let bare = scratch.join("bare.fits");
    fs::write(&bare, &whole).expect("files can be written");
    cat(&[text(&bare)]).assert_refused(CONFIGURATION, &["bare.fits", "call it .fits.gz"]);
    // No temporary file has a name.
    let folder = scratch.join("temporary");
    fs::create_dir(&folder).expect("directories can be made");
    let mut cat = program::command(&["cat", text(&compressed), "--format", "csv"]);
    cat.env("DATASTREAMER_TABLES__SPILL_FOLDER", &folder);
    assert_eq!(program::finish(cat).code, Some(0));
    assert_eq!(fs::read_dir(&folder).expect("a directory").count(), 0);
}

#[test]
fn of_a_file_that_is_cut_the_tables_before_are_read_where_they_are_configured() {
    let scratch = Scratch::new("hdus");
    let (plain, _) = made(&scratch);
    let whole = fs::read(&plain).expect("a file");
    let cut = scratch.join("cut.fits");
    // The data of the last HDU.
    fs::write(&cut, &whole[..whole.len() - 2880]).expect("files can be written");
    let routes = "[routes.cut]\nkind = \"table\"\npath = \"cut.fits\"\n\
                  [routes.gti]\nkind = \"table\"\npath = \"cut.fits\"\nhdu = \"GTI\"\n";
    let file = configured(&scratch, routes);
    let server = Server::start(["--config", text(&file)]);
    let get = |path: &str| http::get(server.port(), path);
    assert_eq!(get("/cut.csv").text().lines().count(), 1001);
    assert_eq!(get("/gti.csv").text().lines().count(), 4);
    let problem = get("/cut.csv?hdu=1").problem(400);
    assert!(problem.contains("the file is truncated"), "{problem}");
    assert!(!problem.contains(text(scratch.path())), "{problem}");
}
