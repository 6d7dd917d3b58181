//! Nested columns and lengths of time: what the formats of text have of each value, as pyarrow has it,
//! which made them; and what FITS and the limits refuse.

use std::{fs, path::Path, process::Command, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int32Array, ListArray,
        MapArray, NullArray, StringArray, StructArray, new_null_array,
    },
    buffer::OffsetBuffer,
    compute::concat_batches,
    datatypes::{DataType, Field, Fields, Float64Type, Schema},
    ipc::reader::StreamReader,
    record_batch::{RecordBatch, RecordBatchIterator},
};
use datastreamer_table::{
    Format, TableEnd, TableError, WithoutColumns, WriterOptions,
    uuid::{UuidTexts, with_extension},
};

use crate::tables::{manifest, python, table};

const TEXTS: [Format; 8] = [
    Format::Csv,
    Format::Tsv,
    Format::Ndjson,
    Format::Json,
    Format::Votable,
    Format::VotableBinary,
    Format::VotableBinary2,
    Format::Html,
];

fn encode(format: Format, batches: &[RecordBatch]) -> Result<Vec<u8>, TableError> {
    let mut file = Vec::new();
    let schema = batches[0].schema();
    let mut writer = format.writer(&mut file, schema, &WriterOptions::default())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish(TableEnd::Complete)?;
    Ok(file)
}

fn text(format: Format, batch: &RecordBatch) -> String {
    String::from_utf8(encode(format, std::slice::from_ref(batch)).unwrap()).unwrap()
}

fn by_python(arguments: &[&Path], mode: &str) -> String {
    let output = Command::new(python())
        .arg(manifest().join("tests/readers/nested_table.py"))
        .arg(mode)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The table that pyarrow makes, and its file, which lives as long as the directory.
fn by_pyarrow() -> (tempfile::TempDir, RecordBatch) {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.arrows");
    by_python(&[&source], "make");
    let rows = StreamReader::try_new(fs::File::open(&source).unwrap(), None).unwrap();
    let schema = rows.schema();
    let batches: Vec<_> = rows.map(Result::unwrap).collect();
    (directory, concat_batches(&schema, &batches).unwrap())
}

/// The rows with UUIDs as texts, as formats without them get them.
fn with_uuid_texts(batch: &RecordBatch) -> RecordBatch {
    let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    UuidTexts::new(rows).ok().unwrap().next().unwrap().unwrap()
}

#[test]
fn every_value_is_in_each_format_of_text_what_pyarrow_has() {
    let (directory, batch) = by_pyarrow();
    let batch = with_uuid_texts(&batch);
    // Slices, which share what they are cut from.
    let slices = [batch.slice(0, 2), batch.slice(2, 0), batch.slice(2, 3)];
    for batches in [std::slice::from_ref(&batch), &slices] {
        let folder = tempfile::tempdir().unwrap();
        for format in TEXTS {
            let file = encode(format, batches).unwrap();
            fs::write(folder.path().join(format!("table.{format}")), file).unwrap();
        }
        for (place, field) in batch.schema().fields().iter().enumerate() {
            let columns: Vec<_> = batches
                .iter()
                .map(|batch| batch.project(&[place]).unwrap())
                .collect();
            let file = encode(Format::Text, &columns).unwrap();
            fs::write(folder.path().join(format!("{}.text", field.name())), file).unwrap();
        }
        let source = directory.path().join("source.arrows");
        let said = by_python(&[&source, folder.path()], "check");
        // Of eight formats, less the two arrays of the three VOTables, and of plain text.
        let columns = batch.num_columns();
        assert_eq!(said, format!("{} columns\n", 8 * columns - 6 + columns));
    }
}

#[test]
fn a_null_is_no_text_and_an_empty_value_is_one() {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None]));
    let field = Field::new("x", DataType::Int32, true);
    let nulls = vec![true, true, false].into();
    let fields = Fields::from(vec![field]);
    let structs = StructArray::new(fields, vec![numbers], Some(nulls));
    let lists = vec![Some(vec![]), Some(vec![None]), None];
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
    let batch = table(vec![("s", Arc::new(structs)), ("l", Arc::new(lists))]);
    assert_eq!(
        text(Format::Csv, &batch),
        "s,l\r\n\"{\"\"x\"\":1}\",[]\r\n\"{\"\"x\"\":null}\",[null]\r\n,\r\n"
    );
    assert_eq!(
        text(Format::Tsv, &batch),
        "s\tl\n{\"x\":1}\t[]\n{\"x\":null}\t[null]\n\t\n"
    );
    assert_eq!(
        text(Format::Ndjson, &batch),
        "{\"s\":{\"x\":1},\"l\":[]}\n{\"s\":{\"x\":null},\"l\":[null]}\n{\"s\":null,\"l\":null}\n"
    );
    let votable = text(Format::Votable, &batch);
    assert!(
        votable.contains("<FIELD name=\"s\" datatype=\"unicodeChar\" arraysize=\"*\">"),
        "{votable}"
    );
    assert!(votable.contains("<TR><TD>{\"x\":null}</TD><TD>NaN</TD></TR>\n<TR><TD/><TD/></TR>"));
}

/// Lists of numbers with one that JSON has not, in the row before the last.
fn with_infinity() -> RecordBatch {
    let inner = [1.0, f64::NAN, f64::NEG_INFINITY, 2.0];
    let numbers: ArrayRef = Arc::new(Float64Array::from(inner.to_vec()));
    let field = Arc::new(Field::new("x", DataType::Float64, true));
    let structs = StructArray::from(vec![(field, numbers)]);
    table(vec![("s", Arc::new(structs))])
}

#[test]
fn an_infinity_within_a_value_is_refused_with_its_row_and_shown_to_people() {
    let batch = with_infinity();
    for format in TEXTS.into_iter().filter(|format| *format != Format::Html) {
        let mut file = Vec::new();
        let options = WriterOptions::default();
        let mut writer = format.writer(&mut file, batch.schema(), &options).unwrap();
        writer.write(&batch.slice(0, 1)).unwrap();
        let error = writer.write(&batch).unwrap_err().to_string();
        assert_eq!(
            error, "row 4, column \"s\": JSON has no infinity",
            "{format}"
        );
        // The rows before it are there.
        writer.abort("").unwrap();
        if format == Format::Csv {
            let rows = "\"{\"\"x\"\":1.0}\"\r\n\"{\"\"x\"\":1.0}\"\r\n\"{\"\"x\"\":null}\"\r\n";
            assert_eq!(String::from_utf8(file).unwrap(), format!("s\r\n{rows}"));
        }
    }
    let shown = "{\"x\":1.0}\n{\"x\":NaN}\n{\"x\":-Infinity}\n{\"x\":2.0}\n";
    assert!(text(Format::Text, &batch).ends_with(shown));
    assert!(text(Format::Html, &batch).contains("<td>{&quot;x&quot;:-Infinity}</td>"));
}

fn map(keys: ArrayRef, values: ArrayRef, lengths: &[usize]) -> MapArray {
    let fields = Fields::from(vec![
        Field::new("key", keys.data_type().clone(), false),
        Field::new("value", values.data_type().clone(), true),
    ]);
    let entries = StructArray::new(fields.clone(), vec![keys, values], None);
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    MapArray::new(field, offsets, entries, None, false)
}

#[test]
fn a_key_that_is_in_a_map_twice_is_refused_where_json_would_lose_it() {
    let keys = || Arc::new(StringArray::from(vec!["a", "b", "a", "a"])) as ArrayRef;
    let values = || Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef;
    let batch = table(vec![("m", Arc::new(map(keys(), values(), &[2, 2])))]);
    for format in TEXTS.into_iter().chain([Format::Text]) {
        let error = encode(format, std::slice::from_ref(&batch)).unwrap_err();
        let wanted = "row 2, column \"m\": a key is in the map twice, and of those JSON readers \
                      keep one";
        assert_eq!(error.to_string(), wanted, "{format}");
    }
    // Entries lose none.
    let keys = Arc::new(Int32Array::from(vec![1, 1]));
    let values = Arc::new(Int32Array::from(vec![3, 4]));
    let batch = table(vec![("m", Arc::new(map(keys, values, &[2])))]);
    assert_eq!(
        text(Format::Ndjson, &batch),
        "{\"m\":[{\"key\":1,\"value\":3},{\"key\":1,\"value\":4}]}\n"
    );
}

fn nested(levels: usize) -> ArrayRef {
    (0..levels).fold(
        Arc::new(Int32Array::from(vec![7])) as ArrayRef,
        |array, _| {
            let field = Arc::new(Field::new_list_field(array.data_type().clone(), true));
            Arc::new(ListArray::new(
                field,
                OffsetBuffer::from_lengths([1]),
                array,
                None,
            ))
        },
    )
}

#[test]
fn a_hundred_levels_are_written_and_one_more_is_refused_by_its_column() {
    let deepest = table(vec![("deep", nested(100))]);
    let line = format!("{{\"deep\":{}7{}}}\n", "[".repeat(100), "]".repeat(100));
    assert_eq!(text(Format::Ndjson, &deepest), line);
    let deeper = table(vec![("deep", nested(101))]);
    for format in TEXTS.into_iter().chain([Format::Text]) {
        encode(format, std::slice::from_ref(&deepest)).unwrap();
        let error = format.check(&deeper.schema()).unwrap_err().to_string();
        assert_eq!(
            error, "column \"deep\": it is nested more than 100 levels deep",
            "{format}"
        );
    }
}

#[test]
fn fields_of_one_name_in_a_struct_are_refused_by_their_column() {
    let field = || Field::new("x", DataType::Int32, true);
    let data_type = DataType::Struct(Fields::from(vec![field(), field()]));
    let batch = table(vec![("twins", new_null_array(&data_type, 1))]);
    for format in TEXTS.into_iter().chain([Format::Text]) {
        let error = format.check(&batch.schema()).unwrap_err().to_string();
        assert_eq!(
            error,
            "column \"twins\": JSON cannot hold a struct with two fields of the same name, \"x\"",
            "{format}"
        );
    }
}

/// A million nulls in fields with long names: nothing in Arrow, gigabytes as JSON.
#[test]
fn a_value_that_grows_beyond_its_limit_is_refused_with_its_row() {
    const ELEMENTS: usize = 1_000_000;
    let name = "n".repeat(1000);
    let nothing: ArrayRef = Arc::new(NullArray::new(ELEMENTS));
    let field = Arc::new(Field::new(name, DataType::Null, true));
    let structs = StructArray::from(vec![(field, nothing)]);
    let field = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([0, ELEMENTS]);
    let lists = ListArray::new(field, offsets, Arc::new(structs), None);
    let batch = table(vec![("large", Arc::new(lists))]);
    for format in [Format::Csv, Format::Ndjson, Format::VotableBinary2] {
        let error = encode(format, std::slice::from_ref(&batch)).unwrap_err();
        let wanted = "row 2, column \"large\": the nested value takes more than 256 MiB as JSON";
        assert_eq!(error.to_string(), wanted, "{format}");
    }
}

/// Many rows, of which VOTable makes texts in pieces.
#[test]
fn rows_of_many_pieces_come_in_their_order() {
    const ROWS: i32 = 20_000;
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..ROWS));
    let field = Arc::new(Field::new("x", DataType::Int32, true));
    let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&numbers))]));
    // An array of one element, and one of one struct.
    let single = Arc::new(Field::new_list_field(DataType::Int32, true));
    let single = FixedSizeListArray::new(single, 1, Arc::clone(&numbers), None);
    let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
    let listed = FixedSizeListArray::new(item, 1, Arc::clone(&structs), None);
    let batch = table(vec![
        ("n", numbers),
        ("single", Arc::new(single)),
        ("s", structs),
        ("l", Arc::new(listed)),
    ]);
    let votable = text(Format::Votable, &batch);
    let rows: Vec<&str> = votable
        .lines()
        .filter(|line| line.starts_with("<TR>"))
        .collect();
    assert_eq!(rows.len(), ROWS as usize);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(
            *row,
            format!(
                "<TR><TD>{n}</TD><TD>{n}</TD><TD>{{\"x\":{n}}}</TD><TD>[{{\"x\":{n}}}]</TD></TR>"
            )
        );
    }
}

#[test]
fn fits_is_without_columns_that_it_has_no_place_for_and_says_which() {
    let (_directory, batch) = by_pyarrow();
    let batch = with_uuid_texts(&batch);
    let schema = batch.schema();
    let beyond = Format::Fits.nested_beyond(&schema);
    let names: Vec<_> = beyond
        .iter()
        .map(|place| schema.field(*place).name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "pairs",
            "struct",
            "many",
            "deep",
            "map",
            "numbered",
            "dictionary",
            "lists_of_views",
            "union",
            "empty",
            "uuids"
        ]
    );
    for format in Format::ALL
        .into_iter()
        .filter(|format| *format != Format::Fits)
    {
        assert_eq!(format.nested_beyond(&schema), [0; 0], "{format}");
    }
    // Texts that are no ASCII, and lists of different lengths, which astropy makes no column of.
    let others = ["texts", "large", "words", "runs", "views"];
    let others = others.map(|name| schema.index_of(name).unwrap());
    let left_out = [beyond.as_slice(), &others].concat();
    let rows = RecordBatchIterator::new([Ok(batch.clone())], Arc::clone(&schema));
    let mut rows = WithoutColumns::new(rows, &left_out);
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(batch.num_columns(), schema.fields().len() - left_out.len());
    let file = encode(Format::Fits, &[batch]).unwrap();
    let program = r#"
import sys
from astropy.io import fits
from astropy.table import Table
with fits.open(sys.argv[1]) as opened:
    opened.verify("exception")
    print(*opened[1].header["COMMENT"], sep="\n")
table = Table.read(sys.argv[1])
print(table.colnames)
print([str(text) for text in table["seconds"]])
print([str(text) for text in table["milliseconds"].filled("")])
print([str(text) for text in table["intervals"].filled("")])
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.fits");
    fs::write(&path, file).unwrap();
    let output = Command::new(python())
        .args(["-c", program])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("Left out: the column \"struct\" (struct)."),
        "{said}"
    );
    assert!(
        said.contains("Left out: the column \"pairs\" (list of structs)."),
        "{said}"
    );
    assert!(said.ends_with(
        "['id', 'seconds', 'milliseconds', 'nanoseconds', 'intervals']\n\
         ['PT0S', 'P1DT2H3S', '-P1DT2H3S', 'P106751991167300DT15H30M7S', '-P106751991167300DT15H30M8S']\n\
         ['P1DT2H3.5S', '', '-PT0.001S', 'PT0S', 'PT0.001S']\n\
         ['P1M2DT0.000000003S', '', '-P1M', 'P-2DT1S', 'PT0S']\n"
    ), "{said}");
}

#[test]
fn uuids_within_structs_and_maps_become_texts() {
    let uuids = || {
        let values = [Some([0x11_u8; 16]), None].into_iter();
        arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap()
    };
    let uuid = |name| with_extension(Field::new(name, DataType::FixedSizeBinary(16), true));
    let fields = Fields::from(vec![uuid("u")]);
    let structs = StructArray::new(fields, vec![Arc::new(uuids())], None);
    let schema = Field::new("s", structs.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![schema]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(structs)]).unwrap();
    let texts = with_uuid_texts(&batch);
    let inner = texts.column(0).as_struct().column(0);
    assert_eq!(inner.data_type(), &DataType::Utf8);
    let id = "11111111-1111-1111-1111-111111111111";
    let lines = format!("{{\"s\":{{\"u\":\"{id}\"}}}}\n{{\"s\":{{\"u\":null}}}}\n");
    assert_eq!(text(Format::Ndjson, &texts), lines);
}
