//! CSV files that are written in an odd way: what DuckDB, pandas and the program make of each. The
//! program reads a file as one of them does, or refuses it.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::support::{program, scratch::Scratch, tools};

/// Prints what DuckDB and pandas have of each file, all values as texts, and what pandas has without the
/// first line and with the delimiter that it declares.
const READERS: &str = r#"
import json, sys, duckdb, pandas

def of_duckdb(path):
    found = duckdb.connect().execute(f"SELECT * FROM read_csv('{path}', all_varchar = true, header = true)")
    return [[column[0] for column in found.description], *map(list, found.fetchall())]

def of_pandas(path, **options):
    found = pandas.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, **options)
    return [list(found.columns), *found.values.tolist()]

def behind(path):
    delimiter = open(path, encoding="utf-8-sig").readline().strip("\r\n").strip('"')[-1]
    return of_pandas(path, skiprows=1, sep=delimiter)

for path in sys.argv[1:]:
    said = []
    for read in (of_duckdb, of_pandas, behind):
        try:
            rows = read(path)
            said.append("/".join("|".join("" if one is None else one for one in row) for row in rows))
        except Exception:
            said.append("refused")
    print(json.dumps(said))
"#;

/// A text, and its rows by the program, DuckDB and pandas: `name|name/value|value`.
type Case = [&'static str; 4];

#[rustfmt::skip]
const CASES: &[Case] = &[
    ["a,b\n\"x\"y,1\n", "refused", "a|b/\"x\"y|1", "a|b/xy|1"],
    ["a,b\n\"x\" ,1\n", "refused", "a|b/x|1", "a|b/x |1"],
    ["a,b\n\"x\"y\"z\",1\n", "refused", "a|b/\"x\"y\"z\"|1", "a|b/xy\"z\"|1"],
    ["a,b\n\"x\\\"y\",1\n", "refused", "a|b/x\"y|1", "a|b/x\\y\"|1"],
    ["a,b\nx,\"y\n", "refused", "a|b/x|\"y", "refused"],
    ["a,b\n \"x\",1\n", "a|b/ \"x\"|1", "a|b/x|1", "a|b/ \"x\"|1"],
    ["a,b\nx\"y\"z,1\n", "a|b/x\"y\"z|1", "a|b/x\"y\"z|1", "a|b/x\"y\"z|1"],
    ["a,b\n\"x\"\"y\",1\n", "a|b/x\"y|1", "a|b/x\"y|1", "a|b/x\"y|1"],
    ["a,b\n\"x\ny\",1\n", "a|b/x\ny|1", "a|b/x\ny|1", "a|b/x\ny|1"],
    ["a,b\n1\n", "refused", "a,b/1", "a|b/1|"],
    ["a,b\n1,2,3\n", "refused", "1|2|3", "a|b/2|3"],
    ["a,b\n1,2\n\n3,4\n", "a|b/1|2/3|4", "a|b/1|2/3|4", "a|b/1|2/3|4"],
    ["a,b\n1,2\n  \n3,4\n", "refused", "a,b/1,2/  /3,4", "a|b/1|2/3|4"],
    ["a,b\r1,2\r3,4\r", "a|b/1|2/3|4", "a|b/1|2/3|4", "a|b/1|2/3|4"],
    ["a,b\r\n1,2\n3,4\r\n", "a|b/1|2/3|4", "refused", "a|b/1|2/3|4"],
    ["a,a\n1,2\n", "refused", "a|a_1/1|2", "a|a.1/1|2"],
    ["#c\na,b\n1,2\n", "refused", "a|b/1|2", "#c/b/2"],
    ["\u{feff}a,b\n1,2\n", "a|b/1|2", "a|b/1|2", "a|b/1|2"],
    ["a,b\n", "a|b", "a|b", "a|b"],
    ["sep=;\n1\n2\n", "refused", "sep=;/1/2", "sep=;/1/2"],
    ["sep=,\na\n1\n", "refused", "sep=,/a/1", "sep=|Unnamed: 1/a|/1|"],
    ["sep=;\n", "refused", "sep=|column1", "sep=;"],
    ["sep=x\n1\n", "sep=x/1", "sep=x/1", "sep=x/1"],
    // Read as Excel does: the line is no row. The others have it for the header.
    ["sep=;\na;b\n1;2\n", "a|b/1|2", "sep=|column1/a|b/1|2", "sep=;/a;b/1;2"],
    ["\u{feff}sep=;\na;b\n1;2\n", "a|b/1|2", "sep=|column1/a|b/1|2", "sep=;/a;b/1;2"],
    ["\"sep=;\"\na;b\n1;2\n", "a|b/1|2", "a|b/1|2", "sep=;/a;b/1;2"],
    ["sep=,\na,b\n1,2\n", "a|b/1|2", "sep=|column1/a|b/1|2", "sep=|Unnamed: 1/a|b/1|2"],
];

/// The rows of a file by the program, as the readers print them.
fn ours(path: &str) -> String {
    let said = program::run(&["cat", path, "--format", "json", "--quiet"]);
    if said.code != Some(0) {
        assert_eq!(said.stderr.trim_end().lines().count(), 1, "{}", said.stderr);
        return "refused".to_owned();
    }
    let header = program::run(&["cat", path, "--format", "csv", "--quiet"]);
    let header = header.text();
    let header = header.lines().next().expect("a header");
    let rows: Vec<Value> = serde_json::from_str(&said.text()).expect("JSON");
    let cell = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let rows = rows.iter().map(|row| {
        let cells = row.as_object().expect("an object").values();
        cells.map(cell).collect::<Vec<_>>().join("|")
    });
    let header = header.trim_end().replace(',', "|");
    [header]
        .into_iter()
        .chain(rows)
        .collect::<Vec<_>>()
        .join("/")
}

#[test]
fn an_odd_file_is_read_as_duckdb_or_pandas_read_it_or_is_refused() {
    let scratch = Scratch::new("odd");
    let paths: Vec<_> = (0..CASES.len())
        .map(|number| scratch.join(&format!("{number}.csv")).display().to_string())
        .collect();
    for (path, [text, ..]) in paths.iter().zip(CASES) {
        fs::write(path, text).expect("files can be written");
    }
    let mut readers = tools::python();
    let output = readers
        .args(["-c", READERS])
        .args(&paths)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(said.lines().count(), CASES.len());
    for ((path, line), [text, ours_wanted, others @ ..]) in
        paths.iter().zip(said.lines()).zip(CASES)
    {
        let [duckdb, pandas, behind]: [String; 3] = serde_json::from_str(line).expect("JSON");
        let ours = ours(path);
        assert_eq!(
            [ours.as_str(), &duckdb, &pandas],
            [*ours_wanted, others[0], others[1]],
            "{text:?}"
        );
        let is_declared = text
            .trim_start_matches(['\u{feff}', '"'])
            .starts_with("sep=");
        let is_as_another = ours == duckdb || ours == pandas || is_declared && ours == behind;
        assert!(ours == "refused" || is_as_another, "{text:?}: {ours}");
    }
}
