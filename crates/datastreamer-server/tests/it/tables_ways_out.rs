//! Ways out for what a format cannot hold: the parameters and the `select` that help, and what a file says
//! of itself where something is missing or replaced.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::http::{self, End};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{assert_compares, records};
use crate::support::{tools, wait};

/// Exit code 3: the request is wrong.
const REFUSED: i32 = 3;
const NAMES: &str = "id,name\n1,Véga\n2,Deneb\n3,日本\n";
/// A name that FITS does not hold, a nested column, and one that it holds.
const WIDE: &str = r#"{"größe":1,"s":{"x":1},"n":7}
"#;
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Its first start makes a profile.
const OFFICE_LIMIT: Duration = Duration::from_secs(150);

fn serve(scratch: &Scratch) -> Server {
    let (names, wide) = (scratch.join("names.csv"), scratch.join("wide.ndjson"));
    fs::write(&names, NAMES).expect("files can be written");
    fs::write(&wide, WIDE).expect("files can be written");
    Server::start([names, wide])
}

/// Runs a line of Python with the readers, which ends with an error unless all is as it should be.
fn python(scratch: &Scratch, file: &[u8], name: &str, script: &str) {
    let path = scratch.join(name);
    fs::write(&path, file).expect("files can be written");
    let ran = tools::python().arg("-c").arg(script).arg(&path).output();
    let ran = ran.expect("Python runs");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn texts_beyond_ascii_are_replaced_in_fits_when_asked_and_counted_in_the_log() {
    let scratch = Scratch::new("ascii");
    let server = serve(&scratch);
    let port = server.port();
    let detail = http::get(port, "/names.fits").problem(422);
    assert!(
        detail.contains("column \"name\"") && detail.contains("ascii=replace"),
        "{detail}"
    );
    let detail = http::get(port, "/names.fits?ascii=drop").problem(400);
    assert!(detail.contains("replace"), "{detail}");
    // Twice: nothing of the first is taken for the second, nor for one without it.
    for query in ["ascii=replace", "ASCII=replace", "ascii=replace&order=id"] {
        let found = http::get(port, &format!("/names.fits?{query}"));
        assert_eq!((found.status, found.end), (200, End::Whole), "{query}");
        python(
            &scratch,
            &found.body,
            "names.fits",
            "import sys\nfrom astropy.table import Table\n\
             from astropy.io import fits\n\
             t = Table.read(sys.argv[1])\n\
             assert list(t['id']) == [1, 2, 3], t\n\
             assert [str(n) for n in t['name']] == ['V?ga', 'Deneb', '??'], t\n\
             assert 'replaced by ?' in str(fits.getheader(sys.argv[1], 1)['COMMENT'])",
        );
    }
    http::get(port, "/names.fits").problem(422);
    wait::until("it is logged", Duration::from_secs(20), || {
        server.log().matches("characters=3").count() >= 3
    });
    // Other formats hold them.
    let found = http::get(port, "/names.csv?ascii=replace");
    assert_eq!(found.text(), NAMES.replace('\n', "\r\n"));
    let target = scratch.join("names.csv");
    let target = target.to_str().expect("text");
    let said = program::run(&["cat", target, "--format", "fits"]);
    assert!(said.stderr.contains("ascii=replace"), "{}", said.stderr);
    let said = program::run(&["cat", target, "--format", "fits", "--ascii", "replace"]);
    assert_eq!(said.code, Some(0));
    assert!(said.stderr.contains("characters=3"), "{}", said.stderr);
    let path = scratch.join("by-cat.fits");
    fs::write(&path, said.stdout).expect("files can be written");
    let said = program::run(&["cat", path.to_str().expect("text"), "--format", "json"]);
    said.assert_good();
    assert_eq!(records(&said.stdout)[2], json!({ "id": 3, "name": "??" }));
}

#[test]
fn csv_begins_with_a_byte_order_mark_when_asked() {
    let scratch = Scratch::new("bom");
    let server = serve(&scratch);
    let port = server.port();
    // Without a parameter it is the file itself.
    let plain = http::get(port, "/names.csv?offset=0").body;
    assert!(!plain.starts_with(MARK));
    let marked = http::get(port, "/names.csv?bom=1").body;
    assert_eq!(marked.strip_prefix(MARK), Some(plain.as_slice()));
    assert_eq!(
        http::get(port, "/names.csv?bom=0&offset=0").text(),
        NAMES.replace('\n', "\r\n")
    );
    python(
        &scratch,
        &marked,
        "marked.csv",
        "import sys, pandas\n\
         t = pandas.read_csv(sys.argv[1])\n\
         assert list(t.columns) == ['id', 'name'], t.columns\n\
         assert list(t['name']) == ['Véga', 'Deneb', '日本'], t",
    );
    for (path, word) in [
        ("/names.tsv?bom=1", "csv may have one"),
        ("/names.vot?bom=1", "csv may have one"),
        ("/names.csv?bom=yes", "there is no `yes`"),
    ] {
        let detail = http::get(port, path).problem(400);
        assert!(detail.contains(word), "{path}: {detail}");
    }
    let target = scratch.join("names.csv");
    let said = program::run(&["cat", target.to_str().expect("text"), "-f", "csv", "--bom"]);
    said.assert_good();
    assert!(said.stdout == marked);
}

/// Numbers of 15 digits, of which a spreadsheet keeps all.
const SHOWN: &str = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
    pq.write_table(pa.table({\n\
        'größe': pa.array([1, -2, 10**15 - 1, None, 5], pa.int64()),\n\
        'name': ['Véga', '日本', '𝛼 Cen', 'a,b; \"c\"', 'two\\nlines'],\n\
        'ra': [279.23473479, 1e-300, -0.5, None, 1.79769313486231e308],\n\
        'bright': pa.array([True, False, None, True, False]),\n\
    }), sys.argv[1])";

#[test]
fn a_spreadsheet_shows_every_value_of_csv_with_a_byte_order_mark() {
    let scratch = Scratch::new("spreadsheet");
    python(&scratch, b"", "shown.parquet", SHOWN);
    let source = scratch.join("shown.parquet");
    let server = Server::start([&source]);
    let office = tools::program("soffice").get_program().to_owned();
    let office = office.to_str().expect("text");
    assert_compares(
        "read_spreadsheet.py",
        &[&server.url("/shown"), office],
        &source,
        OFFICE_LIMIT,
    );
}

#[test]
fn a_refusal_of_a_column_names_the_select_that_works_and_the_index_has_no_link() {
    let scratch = Scratch::new("select");
    let server = serve(&scratch);
    let port = server.port();
    for query in ["nested=skip", ""] {
        let detail = http::get(port, &format!("/wide.fits?{query}")).problem(400);
        let (_, select) = detail.split_once("select=").expect("a select");
        assert_eq!(select, "n", "{detail}");
        let found = http::get(port, &format!("/wide.fits?select={select}"));
        assert_eq!((found.status, found.end), (200, End::Whole));
    }
    let target = scratch.join("wide.ndjson");
    let target = target.to_str().expect("text");
    let said = program::run(&["cat", target, "-f", "fits", "--nested", "skip"]);
    said.assert_refused(REFUSED, &["select=n"]);
    let index = http::get(port, "/");
    assert!(
        index.text().contains("href=\"/names.fits\""),
        "{}",
        index.text()
    );
    assert!(index.text().contains("href=\"/wide.csv\""));
    assert!(
        !index.text().contains("href=\"/wide.fits\""),
        "{}",
        index.text()
    );
}

#[test]
fn a_file_that_a_limit_has_cut_says_whose_it_was() {
    let scratch = Scratch::new("whose");
    let file = scratch.join("names.csv");
    fs::write(&file, NAMES).expect("files can be written");
    let daemon = Daemon::start(&format!(
        "[routes.t]\nkind = \"table\"\npath = {file:?}\nmax_rows = 2\n"
    ));
    let port = daemon.port();
    for (query, whose) in [
        ("", "the limit of the server is 2 rows"),
        ("?MAXREC=1", "the limit of the request is 1 row"),
        ("?limit=0", "the limit of the request is 0 rows"),
    ] {
        let votable = http::get(port, &format!("/t.vot{query}"));
        let info = format!("<INFO name=\"QUERY_STATUS\" value=\"OVERFLOW\">{whose}</INFO>");
        assert!(votable.text().contains(&info), "{}", votable.text());
        python(
            &scratch,
            &votable.body,
            "cut.vot",
            &format!(
                "import sys\nfrom astropy.io import votable\n\
                 infos = votable.parse(sys.argv[1]).resources[0].infos\n\
                 assert infos[-1].value == 'OVERFLOW', infos\n\
                 assert infos[-1].content == '{whose}', infos[-1].content"
            ),
        );
        let text = http::get(port, &format!("/t.txt{query}"));
        let last = format!("-- a limit cut the table here: it has more rows ({whose})\n");
        assert!(text.text().ends_with(&last), "{}", text.text());
        let page = http::get(port, &format!("/t.html{query}"));
        assert!(
            page.text().contains(&format!("({whose}).</p>")),
            "{}",
            page.text()
        );
    }
    let whole = http::get(port, "/t.vot?id=lt.3");
    assert!(!whole.text().contains("OVERFLOW"));
}

#[test]
fn astropy_reads_the_votable_in_parquet_with_texts_of_their_width() {
    let scratch = Scratch::new("voparquet");
    let server = serve(&scratch);
    let file = http::get(server.port(), "/names.parquet").body;
    python(
        &scratch,
        &file,
        "names.parquet",
        "import sys, pyarrow.parquet\nfrom astropy.table import Table\n\
         t = Table.read(sys.argv[1], format='parquet.votable')\n\
         assert list(t['id']) == [1, 2, 3], t\n\
         assert [str(n) for n in t['name']] == ['Véga', 'Deneb', '日本'], t\n\
         head = pyarrow.parquet.ParquetFile(sys.argv[1]).metadata.metadata\n\
         assert b'arraysize=\"5*\"' in head[b'IVOA.VOTable-Parquet.content'], head",
    );
}
