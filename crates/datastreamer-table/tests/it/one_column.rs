//! CSV and TSV of one column, where a line may be blank: what the readers make of it that people
//! have.

use std::{fs, process::Command, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::tables::{Format, python, table};

/// How many readers print a line each.
const READER_COUNT: usize = 6;

/// Prints what each reader has of the column of each file, a line each. Polars is told a type, as it
/// takes nothing in quotes for a text.
const READERS: &str = r#"
import csv, json, sys, warnings
import duckdb, pandas, polars, pyarrow.csv
from astropy.table import Table

def read(path, sep, kind):
    number = kind == "number"
    types = {"schema_overrides": [polars.Int64]} if number else {}
    pandas_column = pandas.read_csv(path, sep=sep).iloc[:, 0]
    arrow = pyarrow.csv.ParseOptions(delimiter=sep)
    rows = list(csv.reader(open(path, newline=""), delimiter=sep))[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        astropy = Table.read(path, format="ascii.basic", delimiter=sep, guess=False)
    for name, column in {
        "csv": [(int(row[0]) if number and row[0] else row[0]) for row in rows],
        "pandas": pandas_column.astype(object).where(pandas_column.notna(), None).tolist(),
        "polars": polars.read_csv(path, separator=sep, **types).to_series(0).to_list(),
        "duckdb": [row[0] for row in duckdb.read_csv(path, sep=sep, header=True).fetchall()],
        "pyarrow": pyarrow.csv.read_csv(path, parse_options=arrow).column(0).to_pylist(),
        "astropy": astropy.columns[0].tolist(),
    }.items():
        print(name, json.dumps([(it or "").strip() if isinstance(it, str) else it for it in column]))

arguments = iter(sys.argv[1:])
for path in arguments:
    read(path, next(arguments), next(arguments))
"#;

/// Returns what the readers have of a column in each form, which is a format and the column's name:
/// the reader's name and the values. Python starts once.
fn readings(forms: &[(Format, &str)], column: &ArrayRef) -> Vec<Vec<(String, String)>> {
    let kind = if column.as_any().is::<Int64Array>() {
        "number"
    } else {
        "text"
    };
    let directory = tempfile::tempdir().unwrap();
    let mut python = Command::new(python());
    python.args(["-c", READERS]);
    for (number, (format, name)) in forms.iter().enumerate() {
        let encoded = format.encode(&[table(vec![(name, Arc::clone(column))])]);
        let file = directory.path().join(format!("table-{number}"));
        fs::write(&file, encoded).unwrap();
        let separator = if *format == Format::Csv { "," } else { "\t" };
        python.arg(&file).args([separator, kind]);
    }
    let output = python.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    let readings: Vec<_> = said
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(reader, values)| (reader.to_owned(), values.to_owned()))
        .collect();
    assert_eq!(readings.len(), forms.len() * READER_COUNT, "{said}");
    let of_forms = readings.chunks(READER_COUNT);
    of_forms.map(<[_]>::to_vec).collect()
}

#[test]
fn no_reader_loses_a_row_of_a_column_of_numbers_and_each_has_its_nulls() {
    let forms = [(Format::Csv, "n"), (Format::Tsv, "n")];
    let numbers = Int64Array::from(vec![Some(1), None, None, Some(4), None]);
    let numbers: ArrayRef = Arc::new(numbers);
    for ((format, _), readings) in forms.iter().zip(readings(&forms, &numbers)) {
        for (reader, values) in readings {
            // Python's csv has no null.
            let values = values.replace("\"\"", "null").replace(".0", "");
            assert_eq!(values, "[1, null, null, 4, null]", "{format:?}, {reader}");
        }
    }
}

#[test]
fn no_reader_loses_a_row_of_a_column_of_texts_whatever_is_blank() {
    let forms = [
        (Format::Csv, "text"),
        (Format::Tsv, "text"),
        (Format::Tsv, ""),
        (Format::Csv, " "),
    ];
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some(""),
        Some(" "),
        Some("b"),
        Some("  "),
        Some("\"\""),
        Some("\""),
        None,
    ]));
    for ((format, name), readings) in forms.iter().zip(readings(&forms, &texts)) {
        for (reader, values) in readings {
            let values = values.replace("null", "\"\"");
            let expected = r#"["a", "", "", "", "b", "", "\"\"", "\"", ""]"#;
            assert_eq!(values, expected, "{format:?}, {name:?}, {reader}");
        }
    }
}

#[test]
fn a_name_of_blanks_alone_is_escaped_or_in_quotes() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    for (format, name, expected) in [
        (Format::Tsv, "\t", "\\t\n7\n"),
        (Format::Tsv, "\n", "\\n\n7\n"),
        (Format::Tsv, " ", "\" \"\n7\n"),
        (Format::Csv, "\t", "\"\t\"\r\n7\r\n"),
    ] {
        let file = format.encode(&[table(vec![(name, Arc::clone(&column))])]);
        assert_eq!(String::from_utf8(file).unwrap(), expected, "{name:?}");
    }
}
