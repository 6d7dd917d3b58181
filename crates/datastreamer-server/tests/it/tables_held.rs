//! What each format does with a value that it has no place for: the table of docs/tables.md, "What a
//! format cannot hold", line by line.

use crate::support::http::{self, encode};
use crate::support::program::Daemon;

/// The formats of each column of the table.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("CSV", &["csv"]),
    ("TSV", &["tsv"]),
    ("NDJSON, JSON", &["ndjson", "json"]),
    ("VOTable", &["votable", "votable-binary", "votable-binary2"]),
    ("FITS", &["fits"]),
    ("Parquet", &["parquet"]),
    ("Arrow", &["arrow", "arrow-file"]),
    ("HTML, text", &["html", "text"]),
];

/// What becomes of a value.
#[derive(Clone, Copy)]
enum Held {
    /// The text of the cell.
    Text(&'static str),
    /// In words, and bytes that the file has; of VOTable, the one in TABLEDATA.
    As(&'static str, &'static [u8]),
    Kept,
    /// The status.
    Refused(u16),
}

use Held::{As, Kept, Refused, Text};

/// A column of this type, or a value that the format lacks: before a byte is sent.
const TYPE: Held = Refused(400);
const VALUE: Held = Refused(422);

/// What it is, an expression of SQL for it, and what becomes of it, by the columns of the table.
const LINES: [(&str, &str, [Held; 8]); 19] = [
    (
        "null of numbers with a fraction",
        "CAST(NULL AS DOUBLE)",
        [
            Text(""),
            Text(""),
            Text("null"),
            Text("<TD/>"),
            As("NaN", b"TFORM2  = '1D "),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "null of integers",
        "CAST(NULL AS BIGINT)",
        [
            Text(""),
            Text(""),
            Text("null"),
            Text("<TD/>"),
            As("TNULL", b"TNULL2  = "),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "NaN",
        "CAST('NaN' AS DOUBLE)",
        [
            Text("NaN"),
            Text("NaN"),
            Text("null"),
            Text("<TD>NaN</TD>"),
            As("NaN", b"TFORM2  = '1D "),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "infinity",
        "CAST('inf' AS DOUBLE)",
        [
            Text("inf"),
            Text("inf"),
            VALUE,
            Text("<TD>+Inf</TD>"),
            Kept,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "null of texts",
        "CAST(NULL AS VARCHAR)",
        [
            Text(""),
            Text(""),
            Text("null"),
            Text("<TD/>"),
            As("empty text", b"TFORM2  = '1A "),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "empty text",
        "''",
        [
            Text("\"\""),
            Text(""),
            Text("\"\""),
            Text("<TD></TD>"),
            As("empty text", b"TFORM2  = '1A "),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "text beyond ASCII",
        "chr(233)",
        [
            Text("é"),
            Text("é"),
            Text("\"é\""),
            Text("<TD>é</TD>"),
            VALUE,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "unsigned 64-bit integer",
        "arrow_cast('18446744073709551615', 'UInt64')",
        [
            Text("18446744073709551615"),
            Text("18446744073709551615"),
            Text("18446744073709551615"),
            As("text (`char`)", b"datatype=\"char\" arraysize=\"*\""),
            As("TZERO", b"TZERO2  =  9223372036854775808"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "decimal",
        "arrow_cast(1.50, 'Decimal128(5, 2)')",
        [
            Text("1.50"),
            Text("1.50"),
            Text("1.50"),
            As("text (`char`)", b"datatype=\"char\" arraysize=\"*\""),
            As("text", b"1.50\0"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "binary",
        "x'00ff'",
        [
            Text("00ff"),
            Text("00ff"),
            Text("\"00ff\""),
            As(
                "array of bytes",
                b"datatype=\"unsignedByte\" arraysize=\"*\"",
            ),
            As("array of bytes", b"TFORM2  = '1PB(2)"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "list of numbers",
        "[1.5, 2.5]",
        [
            Text("\"[1.5,2.5]\""),
            Text("[1.5,2.5]"),
            Text("[1.5,2.5]"),
            As("array", b"<TD>1.5 2.5</TD>"),
            As("array", b"TFORM2  = '1PD(2)"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "list of texts without a `width`",
        "['a', 'b']",
        [
            Text("\"[\"\"a\"\",\"\"b\"\"]\""),
            Text("[\"a\",\"b\"]"),
            Text("[\"a\",\"b\"]"),
            As("text (JSON)", b"<TD>[\"a\",\"b\"]</TD>"),
            As("array", b"TDIM2   = '(1,2)"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "list of lists",
        "[[1]]",
        [
            Text("[[1]]"),
            Text("[[1]]"),
            Text("[[1]]"),
            As("text (JSON)", b"<TD>[[1]]</TD>"),
            TYPE,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "struct",
        "struct(1)",
        [
            Text("\"{\"\"c0\"\":1}\""),
            Text("{\"c0\":1}"),
            Text("{\"c0\":1}"),
            As("text (JSON)", b"<TD>{\"c0\":1}</TD>"),
            TYPE,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "list of structs",
        "[struct(1)]",
        [
            Text("\"[{\"\"c0\"\":1}]\""),
            Text("[{\"c0\":1}]"),
            Text("[{\"c0\":1}]"),
            As("text (JSON)", b"<TD>[{\"c0\":1}]</TD>"),
            TYPE,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "map",
        "MAP {'k': 1}",
        [
            Text("\"{\"\"k\"\":1}\""),
            Text("{\"k\":1}"),
            Text("{\"k\":1}"),
            As("text (JSON)", b"<TD>{\"k\":1}</TD>"),
            TYPE,
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "duration",
        "arrow_cast(93603500, 'Duration(Millisecond)')",
        [
            Text("P1DT2H3.5S"),
            Text("P1DT2H3.5S"),
            Text("\"P1DT2H3.5S\""),
            As("text (`char`)", b"datatype=\"char\" arraysize=\"*\""),
            As("text", b"P1DT2H3.5S\0"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "interval of months, or of days and milliseconds",
        "arrow_cast('14 months', 'Interval(YearMonth)')",
        [
            Text("P1Y2M"),
            Text("P1Y2M"),
            Text("\"P1Y2M\""),
            As("text (`char`)", b"datatype=\"char\" arraysize=\"*\""),
            As("text", b"P1Y2M\0"),
            Kept,
            Kept,
            Kept,
        ],
    ),
    (
        "interval of months, days and nanoseconds",
        "INTERVAL '1 month 2 days'",
        [
            Text("P1M2D"),
            Text("P1M2D"),
            Text("\"P1M2D\""),
            As("text (`char`)", b"datatype=\"char\" arraysize=\"*\""),
            As("text", b"P1M2D\0"),
            TYPE,
            Kept,
            Kept,
        ],
    ),
];

#[test]
fn the_documentation_says_what_each_format_does_with_each_value() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tables.md");
    let docs = std::fs::read_to_string(path).expect("it is there");
    let mut table = "| |".to_owned();
    for (name, _) in COLUMNS {
        table += &format!(" {name} |");
    }
    table += &format!("\n{}|\n", "|---".repeat(COLUMNS.len() + 1));
    for (what, _, cells) in LINES {
        let cells = cells.map(in_words).join(" | ");
        table += &format!("| {what} | {cells} |\n");
    }
    assert!(docs.contains(&table), "docs/tables.md has not:\n{table}");
}

fn in_words(held: Held) -> String {
    match held {
        Text("") => "nothing".into(),
        Text(text) => format!("`{text}`"),
        As(words, _) => words.into(),
        Kept => "kept".into(),
        Refused(status) => format!("refused ({status})"),
    }
}

#[test]
fn each_format_does_what_the_documentation_says() {
    let server = Daemon::start("[sql]\nenabled = true\n");
    for (what, expression, cells) in LINES {
        let query = encode(&format!("SELECT 1 AS id, {expression} AS v"));
        for ((_, formats), held) in COLUMNS.iter().zip(cells) {
            for format in *formats {
                let path = format!("/sql?format={format}&query={query}");
                let response = http::get(server.port(), &path);
                let wanted = match held {
                    Refused(status) => status,
                    _ => 200,
                };
                assert_eq!(response.status, wanted, "{what} as {format}");
                check(&response.body, format, held, what);
            }
        }
    }
}

fn check(file: &[u8], format: &str, held: Held, what: &str) {
    // The other serializations of VOTable are read by astropy, pyvo and STILTS in other tests.
    if format.starts_with("votable-") {
        return;
    }
    let file_has = |bytes: &[u8]| file.windows(bytes.len()).any(|part| part == bytes);
    match held {
        Text(text) => {
            let row = match format {
                "csv" => format!("\r\n1,{text}\r\n"),
                "tsv" => format!("\n1\t{text}\n"),
                "votable" => format!("<TR><TD>1</TD>{text}</TR>"),
                _ => format!("{{\"id\":1,\"v\":{text}}}\n"),
            };
            assert!(file_has(row.as_bytes()), "{what} as {format}: no {row}");
        }
        As(_, bytes) => assert!(file_has(bytes), "{what} as {format}"),
        Kept | Refused(_) => {}
    }
}

#[test]
fn a_null_and_nan_are_the_same_in_fits() {
    const NAN: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0];
    let server = Daemon::start("[sql]\nenabled = true\n");
    for expression in ["CAST(NULL AS DOUBLE)", "CAST('NaN' AS DOUBLE)"] {
        let query = encode(&format!("SELECT 1 AS id, {expression} AS v"));
        let fits = http::get(server.port(), &format!("/sql.fits?query={query}")).body;
        assert_eq!(fits[5760..5776], NAN, "{expression}");
    }
}

#[test]
fn a_table_of_one_column_of_texts_has_quotes_for_a_null_and_for_an_empty_text() {
    let server = Daemon::start("[sql]\nenabled = true\n");
    let query = encode("SELECT NULLIF(v, 'n') AS v FROM (VALUES ('a'), ('n'), ('')) AS t (v)");
    for (format, file) in [
        ("csv", "v\r\na\r\n\"\"\r\n\"\"\r\n"),
        ("tsv", "v\na\n\"\"\n\"\"\n"),
    ] {
        let found = http::get(server.port(), &format!("/sql.{format}?query={query}"));
        assert_eq!(found.text(), file, "{format}");
    }
}
