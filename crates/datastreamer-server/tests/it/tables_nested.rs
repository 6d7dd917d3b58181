//! Nested columns, from the file to the client: JSON in formats of text, and left out of FITS for those
//! who ask.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::http::{self, encode};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::records;
use crate::support::tools;

/// Exit code 3: the request is wrong.
const REFUSED: i32 = 3;

/// Nested columns before the others, so that places change where they are left out.
const ROWS: &str = r#"{"s":{"x":1,"t":"a,b"},"m":[{"y":2.5}],"name":"one","id":1}
{"s":null,"m":[],"name":"twenty-two","id":2}
"#;

/// The rows as NDJSON and as Parquet, of which texts are read once more for their width.
fn files(scratch: &Scratch) -> [PathBuf; 2] {
    let [ndjson, parquet] = ["n.ndjson", "p.parquet"].map(|name| scratch.join(name));
    fs::write(&ndjson, ROWS).expect("files can be written");
    let target = ndjson.to_str().expect("text");
    let said = program::run(&["cat", target, "--format", "parquet"]);
    said.assert_good();
    fs::write(&parquet, said.stdout).expect("files can be written");
    [ndjson, parquet]
}

/// The records of a FITS file, and the lines of its comments.
fn read_fits(scratch: &Scratch, file: &[u8]) -> (Vec<Value>, Vec<String>) {
    let path = scratch.join("read.fits");
    fs::write(&path, file).expect("files can be written");
    let said = program::run(&["cat", path.to_str().expect("text"), "--format", "json"]);
    said.assert_good();
    let cards = file.chunks(80).map(String::from_utf8_lossy);
    let comments = cards.filter_map(|card| Some(card.strip_prefix("COMMENT ")?.trim().to_owned()));
    (records(&said.stdout), comments.collect())
}

fn plain_columns() -> [Value; 2] {
    [
        json!({ "name": "one", "id": 1 }),
        json!({ "name": "twenty-two", "id": 2 }),
    ]
}

#[test]
fn formats_of_text_have_nested_values_as_json() {
    let scratch = Scratch::new("nested");
    let server = Server::start(files(&scratch));
    let csv = "s,m,name,id\r\n\"{\"\"x\"\":1,\"\"t\"\":\"\"a,b\"\"}\",\"[{\"\"y\"\":2.5}]\",one,1\r\n\
               ,[],twenty-two,2\r\n";
    for name in ["n", "p"] {
        // What is left out is only what a format has no place for.
        for query in ["", "?nested=skip"] {
            let found = http::get(server.port(), &format!("/{name}.csv{query}"));
            assert_eq!(found.text(), csv, "{name}{query}");
        }
        let found = http::get(server.port(), &format!("/{name}.ndjson"));
        assert_eq!(found.text(), ROWS, "{name}");
        let found = http::get(server.port(), &format!("/{name}.vot"));
        let row = "<TR><TD>{\"x\":1,\"t\":\"a,b\"}</TD><TD>[{\"y\":2.5}]</TD><TD>one</TD>";
        assert!(found.text().contains(row), "{}", found.text());
        let detail = http::get(server.port(), &format!("/{name}.csv?s=eq.1")).problem(400);
        assert_eq!(
            detail,
            format!("/{name}.csv: parameter `s`: a column of type struct cannot be compared")
        );
        let found = http::get(server.port(), &format!("/{name}.csv?s=is.null&select=id"));
        assert_eq!(found.text(), "id\r\n2\r\n");
    }
}

#[test]
fn fits_refuses_nested_columns_by_name_and_is_without_them_when_asked() {
    let scratch = Scratch::new("nested-fits");
    let [ndjson, parquet] = files(&scratch);
    let server = Server::start([&ndjson, &parquet]);
    for name in ["n", "p"] {
        let detail = http::get(server.port(), &format!("/{name}.fits")).problem(400);
        assert_eq!(
            detail,
            format!(
                "/{name}.fits: the format fits has no place for the columns \"s\" (struct), \"m\" \
                 (list of structs): they are nested; nested=skip leaves out what is nested, and so \
                 does select=name,id"
            )
        );
        let detail = http::get(server.port(), &format!("/{name}.fits?select=s")).problem(400);
        assert_eq!(
            detail,
            format!(
                "/{name}.fits: the format fits has no place for the column \"s\" (struct): it is \
                 nested, and there are no others"
            )
        );
        let detail = http::get(server.port(), &format!("/{name}.fits?select=a:s,b:id"));
        let detail = detail.problem(400);
        assert!(
            detail.ends_with("nested; nested=skip leaves out what is nested"),
            "{detail}"
        );
        // Twice, as the layout of the first is remembered.
        for query in [
            "nested=skip",
            "nested=skip",
            "NESTED=skip&select=s,name,m,id",
        ] {
            let found = http::get(server.port(), &format!("/{name}.fits?{query}"));
            let (rows, comments) = read_fits(&scratch, &found.body);
            assert_eq!(rows, plain_columns(), "{name}, {query}");
            assert_eq!(
                comments,
                [
                    "Left out: the column \"s\" (struct).",
                    "Left out: the column \"m\" (list of structs)."
                ]
            );
        }
        for (query, word) in [("nested=all", "skip"), ("nested=skip&nested=no", "twice")] {
            let detail = http::get(server.port(), &format!("/{name}.fits?{query}")).problem(400);
            assert!(
                detail.contains("nested") && detail.contains(word),
                "{detail}"
            );
        }
    }
    let target = parquet.to_str().expect("text");
    let said = program::run(&["cat", target, "--format", "fits"]);
    said.assert_refused(
        REFUSED,
        &["\"s\"", "\"m\"", "nested=skip", "select=name,id"],
    );
    let said = program::run(&["cat", target, "--format", "fits", "--nested", "skip"]);
    said.assert_good();
    let (rows, comments) = read_fits(&scratch, &said.stdout);
    assert_eq!((rows.as_slice(), comments.len()), (&plain_columns()[..], 2));
}

#[test]
fn queries_of_clients_leave_nested_columns_out_of_fits() {
    let scratch = Scratch::new("nested-queries");
    let daemon = Daemon::start("[sql]\nenabled = true\n");
    let query = encode("SELECT struct(1) AS s, 7 AS n, INTERVAL '1 month' AS i");
    let path = format!("/sql.fits?query={query}");
    let detail = http::get(daemon.port(), &path).problem(400);
    assert!(detail.contains("\"s\" (struct)"), "{detail}");
    let found = http::get(daemon.port(), &format!("{path}&nested=skip"));
    let (rows, comments) = read_fits(&scratch, &found.body);
    assert_eq!(rows, [json!({ "n": 7, "i": "P1M" })]);
    assert_eq!(comments, ["Left out: the column \"s\" (struct)."]);
}

#[test]
fn a_null_in_a_list_of_integers_is_tnull_which_astropy_reads_as_the_documents_say() {
    let scratch = Scratch::new("lists");
    let (parquet, fits) = (scratch.join("lists.parquet"), scratch.join("lists.fits"));
    let python = |script: &str, file: &std::path::Path| {
        let mut python = tools::python();
        python.args(["-c", script]).arg(file);
        let said = program::finish(python);
        said.assert_good();
        said.text()
    };
    python(
        "import pyarrow as pa, pyarrow.parquet as pq, sys\n\
         lists = pa.array([[1, None, 3], [4], [], None], pa.list_(pa.int32()))\n\
         pq.write_table(pa.table({'n': lists}), sys.argv[1])",
        &parquet,
    );
    let target = parquet.to_str().expect("text");
    let said = program::run(&["cat", target, "--format", "fits"]);
    said.assert_good();
    std::fs::write(&fits, &said.stdout).expect("files can be written");
    let read = python(
        "from astropy.io import fits; from astropy.table import Table; import sys\n\
         hdu = fits.open(sys.argv[1])[1]\n\
         null = hdu.header['TNULL1']\n\
         rows = [[None if n == null else int(n) for n in row] for row in Table(hdu.data)['n']]\n\
         print(hdu.header['TFORM1'], rows)",
        &fits,
    );
    assert_eq!(read.trim(), "1PJ(3) [[1, None, 3], [4], [], []]");
    let mut verify = tools::program("fitsverify");
    verify.arg("-q").arg(&fits);
    let said = program::finish(verify);
    said.assert_good();
    assert!(said.text().contains("OK"), "{said:?}");
}
