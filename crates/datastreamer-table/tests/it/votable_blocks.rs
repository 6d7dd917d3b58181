//! Rows of BINARY and BINARY2, which are encoded in blocks: where one ends does not show.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, StringArray},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    TableEnd, TableWriter,
    meta::{CHARSET, NULL},
    votable::{Serialization, VotableOptions, VotableWriter},
};

use crate::tables::{Format, all_read_back, table};

const BINARIES: [Serialization; 2] = [Serialization::Binary, Serialization::Binary2];

/// More rows than a block has, of texts that are short, and two that are larger than a block.
fn texts_of_all_lengths() -> RecordBatch {
    let text = |row: usize| match row {
        200 => Some("a".repeat(100_000)),
        201 => Some("\u{e9}\u{1f600}".repeat(20_000)),
        _ if row.is_multiple_of(7) => None,
        _ => Some("x".repeat(row % 40)),
    };
    table(vec![
        (
            "n",
            Arc::new(Int32Array::from_iter_values(0..1000)) as ArrayRef,
        ),
        (
            "text",
            Arc::new(StringArray::from_iter((0..1000).map(text))),
        ),
        (
            "other",
            Arc::new(StringArray::from_iter(
                (0..1000).map(|row| text(row * 13 % 150)),
            )),
        ),
    ])
}

#[test]
fn rows_of_any_length_read_back() {
    all_read_back(BINARIES.map(Format::Votable), &[&[texts_of_all_lengths()]]);
}

#[test]
fn a_table_is_the_same_bytes_however_it_is_cut_into_batches() {
    let whole = texts_of_all_lengths();
    for binary in BINARIES {
        let format = Format::Votable(binary);
        let expected = format.encode(std::slice::from_ref(&whole));
        for rows in [1, 127, 128, 129, 201] {
            let from = (0..whole.num_rows()).step_by(rows);
            let batches: Vec<_> = from
                .map(|from| whole.slice(from, rows.min(whole.num_rows() - from)))
                .collect();
            assert!(format.encode(&batches) == expected, "{binary:?}, {rows}");
        }
    }
}

/// A column of `n` that says what stands for null, and one of ASCII.
fn strict(n: Vec<i32>, text: Vec<&str>) -> RecordBatch {
    let with = |field: Field, key: &str, value: &str| {
        field.with_metadata([(key.to_owned(), value.to_owned())].into())
    };
    let schema = Schema::new(vec![
        with(Field::new("n", DataType::Int32, false), NULL, "-1"),
        with(Field::new("text", DataType::Utf8, false), CHARSET, "ascii"),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(n)),
        Arc::new(StringArray::from(text)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// What is written of a table until it fails, and why.
fn until_failure(binary: Serialization, batch: &RecordBatch) -> (Vec<u8>, String) {
    let options = VotableOptions {
        serialization: binary,
        ..VotableOptions::default()
    };
    let mut file = Vec::new();
    let mut writer = Box::new(VotableWriter::new(&mut file, batch.schema(), options).unwrap());
    let error = writer.write(batch).unwrap_err();
    writer.finish(TableEnd::Complete).unwrap();
    (file, error.to_string())
}

#[test]
fn the_rows_before_a_bad_value_are_written_and_none_behind_it() {
    for (bad_n, bad_text) in [(0, 299), (127, 128), (128, 127), (250, 250), (299, 300)] {
        let mut n: Vec<i32> = (0..300).collect();
        let mut text = vec!["text"; 300];
        n[bad_n] = -1;
        if let Some(text) = text.get_mut(bad_text) {
            *text = "t\u{e9}xt";
        }
        let first = bad_n.min(bad_text);
        let batch = strict(n, text);
        for binary in BINARIES {
            let (file, error) = until_failure(binary, &batch);
            let column = if bad_n <= bad_text {
                "\"n\""
            } else {
                "\"text\""
            };
            let expected = format!("row {}, column {column}", first + 1);
            assert!(error.starts_with(&expected), "{error}: {expected}");
            let before = Format::Votable(binary).encode(&[batch.slice(0, first)]);
            assert!(file == before, "{binary:?}, {first}");
        }
    }
}
