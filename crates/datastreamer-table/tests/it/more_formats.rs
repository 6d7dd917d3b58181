//! What the formats keep that others encode, and those for people: as pyarrow, Python's json and
//! its html.parser read them.

use std::{collections::HashMap, fs, process::Command, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BinaryViewArray, Date64Array, Decimal64Array, Decimal128Array, Decimal256Array,
        DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array,
        Int8Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, ListArray,
        NullArray, StringArray, StringViewArray, StructArray, Time32MillisecondArray,
        Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray, TimestampSecondArray,
        UInt64Array, new_null_array,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{
        DataType, Field, Fields, Float32Type, Float64Type, Int32Type, IntervalUnit, Schema,
        TimeUnit, UnionFields, UnionMode, i256,
    },
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datastreamer_table::{
    Format, TableEnd, TableError, TableWriter, WriterOptions,
    fits::FitsShape,
    html::{ColumnHead, PageFrame, Sorted},
    json::{Framing, JsonWriter},
    meta,
    parquet::{ParquetCompression, ParquetWriter},
    votable::{Serialization, VotableOptions, VotableWriter},
};

use crate::tables::{compare_all, lists, numbers, printable_texts, python, table, unicode_texts};

const JSON: [Format; 2] = [Format::Json, Format::Ndjson];
const ARROW: [Format; 3] = [Format::Parquet, Format::Arrow, Format::ArrowFile];

fn encode(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let mut file = Vec::new();
    let options = WriterOptions::default();
    let mut writer = format
        .writer(&mut file, batches[0].schema(), &options)
        .unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish(TableEnd::Complete).unwrap();
    file
}

/// Encodes a batch, or says which value is in the way.
fn try_encode(format: Format, batch: &RecordBatch) -> Result<(), TableError> {
    let options = WriterOptions::default();
    let mut writer = format.writer(std::io::sink(), batch.schema(), &options)?;
    writer.write(batch)?;
    writer.finish(TableEnd::Complete)
}

fn reads_back(formats: impl IntoIterator<Item = Format>, batches: &[RecordBatch]) {
    let formats = formats.into_iter();
    compare_all(formats.map(|format| (format.name(), batches, encode(format, batches))));
}

fn text(format: Format, batches: &[RecordBatch]) -> String {
    String::from_utf8(encode(format, batches)).unwrap()
}

/// Runs a Python program on a file and returns what it prints, or what it says as it fails.
fn python_on(program: &str, file: &[u8]) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table");
    fs::write(&path, file).unwrap();
    let output = Command::new(python())
        .args(["-c", program])
        .arg(&path)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// All numbers and times but infinities, which JSON has not.
fn finite_numbers() -> RecordBatch {
    let numbers = numbers();
    let is_float = |name: &str| matches!(name, "f32" | "f64");
    let schema = numbers.schema();
    let columns = schema.fields().iter().map(|field| field.name().as_str());
    let mut columns: Vec<(&str, ArrayRef)> = columns
        .zip(numbers.columns().iter().cloned())
        .filter(|(name, _)| !is_float(name))
        .collect();
    let f32s = vec![Some(f32::MIN_POSITIVE), None, Some(f32::NAN), Some(-0.1)];
    let f64s = vec![Some(-0.0), None, Some(f64::MAX), Some(5e-324)];
    columns.push(("f32", Arc::new(Float32Array::from(f32s))));
    columns.push(("f64", Arc::new(Float64Array::from(f64s))));
    table(columns)
}

/// Extremes that formats with a null of their own hold.
fn extremes() -> RecordBatch {
    table(vec![
        ("i8", Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX]))),
        ("i64", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MIN, u64::MAX]))),
    ])
}

/// Every control character, and what quotes and escapes are made of.
fn control_characters() -> RecordBatch {
    let all: String = (0..=0x9f_u8).map(char::from).collect();
    let texts = vec![
        Some(all.as_str()),
        None,
        Some("\\\"\\u0000\u{2028}\u{10ffff}"),
    ];
    table(vec![(
        "te\"x\\\n\u{1}t",
        Arc::new(StringArray::from(texts)),
    )])
}

/// The same values as others store them.
fn stored_otherwise() -> RecordBatch {
    let texts = || vec![Some("a"), None, Some("longer than a view holds itself")];
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\x00\xff"), None, Some(b"")];
    let fixed = vec![Some(*b"ab"), None, Some(*b"cd")].into_iter();
    let dictionary: DictionaryArray<Int32Type> = texts().into_iter().collect();
    table(vec![
        ("dictionary", Arc::new(dictionary)),
        ("large", Arc::new(LargeStringArray::from(texts()))),
        ("view", Arc::new(StringViewArray::from(texts()))),
        (
            "large_bytes",
            Arc::new(LargeBinaryArray::from_opt_vec(bytes.clone())),
        ),
        ("view_bytes", Arc::new(BinaryViewArray::from(bytes))),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 2).unwrap()),
        ),
        ("nothing", Arc::new(NullArray::new(3))),
    ])
}

/// Lists of numbers with nulls among them, and no infinity.
fn nested() -> RecordBatch {
    let list = vec![
        Some(vec![Some(0.5), None, Some(-1e300)]),
        None,
        Some(vec![]),
    ];
    let pairs = vec![
        Some(vec![Some(1), Some(2)]),
        Some(vec![None, Some(3)]),
        None,
    ];
    table(vec![
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(list)),
        ),
        (
            "pair",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
                pairs, 2,
            )),
        ),
    ])
}

/// A table with metadata of its own and of its column.
fn described() -> RecordBatch {
    let field = Field::new("speed", DataType::Float64, true).with_metadata(HashMap::from([
        (meta::UNIT.to_owned(), "km/s".to_owned()),
        (
            meta::DESCRIPTION.to_owned(),
            "how \"fast\" <it> is".to_owned(),
        ),
    ]));
    let schema = Schema::new(vec![field]).with_metadata(HashMap::from([(
        meta::NAME.to_owned(),
        "stars & dust".to_owned(),
    )]));
    let speeds = Float64Array::from(vec![Some(1.5), None, Some(-20.0)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(speeds)]).unwrap()
}

#[test]
fn numbers_and_times_read_back_in_arrow_parquet_and_html() {
    reads_back(ARROW.into_iter().chain([Format::Html]), &[numbers()]);
}

#[test]
fn finite_numbers_read_back_in_json_and_nan_as_null() {
    reads_back(JSON, &[finite_numbers()]);
}

#[test]
fn extreme_integers_read_back_exactly() {
    reads_back(
        ARROW.into_iter().chain(JSON).chain([Format::Html]),
        &[extremes()],
    );
}

#[test]
fn texts_of_any_kind_read_back() {
    for batch in [printable_texts(), unicode_texts()] {
        reads_back(
            ARROW.into_iter().chain(JSON).chain([Format::Html]),
            &[batch],
        );
    }
    reads_back(ARROW.into_iter().chain(JSON), &[control_characters()]);
}

#[test]
fn values_read_back_however_they_are_stored() {
    let formats = ARROW.into_iter().chain(JSON).chain([Format::Html]);
    reads_back(formats, &[stored_otherwise()]);
}

#[test]
fn lists_read_back_with_nulls_among_their_elements() {
    reads_back(ARROW.into_iter().chain(JSON), &[nested()]);
    reads_back(ARROW, &[lists()]);
}

#[test]
fn tables_without_rows_with_one_and_with_many_batches_read_back() {
    let whole = finite_numbers();
    let parts: Vec<RecordBatch> = (0..400).map(|part| whole.slice(part % 3, 2)).collect();
    for batches in [&[whole.slice(0, 0)], &[whole.slice(2, 1)], parts.as_slice()] {
        reads_back(ARROW.into_iter().chain(JSON).chain([Format::Html]), batches);
    }
    assert_eq!(text(Format::Json, &[whole.slice(0, 0)]), "[\n]\n");
}

#[test]
fn a_table_of_999_columns_reads_back() {
    let names: Vec<String> = (0..999).map(|column| format!("c{column}")).collect();
    let array = Arc::new(Int32Array::from(vec![Some(1), None]));
    let columns = names
        .iter()
        .map(|name| (name.as_str(), Arc::clone(&array) as _));
    let wide = table(columns.collect());
    reads_back(ARROW.into_iter().chain(JSON).chain([Format::Html]), &[wide]);
}

#[test]
fn structs_read_back_from_arrow_and_only_fits_refuses_them() {
    let inner = Field::new("x", DataType::Int32, true);
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let batch = table(vec![(
        "s",
        Arc::new(StructArray::from(vec![(Arc::new(inner), values)])),
    )]);
    reads_back(ARROW, std::slice::from_ref(&batch));
    for format in Format::ALL {
        let checked = format.check(&batch.schema());
        match (format, &checked) {
            (Format::Fits, Err(TableError::Column { column, .. })) => assert_eq!(column, "s"),
            _ => checked.unwrap(),
        }
    }
}

#[test]
fn dictionaries_that_change_between_batches_read_back() {
    let batch = |texts: Vec<&str>| {
        let array: DictionaryArray<Int32Type> = texts.into_iter().collect();
        table(vec![("d", Arc::new(array))])
    };
    reads_back(ARROW, &[batch(vec!["a", "b"]), batch(vec!["c", "a"])]);
}

#[test]
fn metadata_of_table_and_columns_is_kept_by_arrow_and_parquet() {
    reads_back(ARROW, &[described()]);
}

#[test]
fn an_infinity_fails_json_with_its_row_and_column() {
    let floats = Float64Array::from(vec![1.0, f64::NEG_INFINITY]);
    let list = vec![Some(vec![Some(1.0)]), Some(vec![Some(f64::INFINITY)])];
    for array in [
        Arc::new(floats) as ArrayRef,
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(list)),
    ] {
        let batch = table(vec![("f", array)]);
        let mut file = Vec::new();
        let writer = JsonWriter::new(&mut file, batch.schema(), Framing::Lines);
        let mut writer = Box::new(writer.unwrap());
        writer.write(&batch.slice(0, 1)).unwrap();
        let error = writer.write(&batch).unwrap_err().to_string();
        assert_eq!(error, "row 3, column \"f\": JSON has no infinity");
        writer.abort("").unwrap();
        let lines = String::from_utf8(file).unwrap();
        assert_eq!(lines.lines().count(), 2, "whole rows only: {lines}");
    }
}

#[test]
fn json_refuses_two_columns_of_one_name() {
    let n = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let schema = table(vec![("n", n()), ("n", n())]).schema();
    let error = Format::Json.check(&schema).unwrap_err().to_string();
    assert_eq!(
        error,
        "column \"n\": JSON cannot hold two columns of the same name"
    );
}

#[test]
fn what_was_aborted_or_dropped_is_refused_by_readers() {
    let parquet = "import sys, pyarrow.parquet as p; p.read_table(sys.argv[1])";
    let file = "import sys, pyarrow as p; p.ipc.open_file(sys.argv[1]).read_all()";
    let json = "import sys, json; json.load(open(sys.argv[1]))";
    for (format, reader) in [
        (Format::Parquet, parquet),
        (Format::ArrowFile, file),
        (Format::Json, json),
    ] {
        let batch = finite_numbers();
        let cut = |end: &dyn Fn(Box<dyn TableWriter + Send + '_>)| {
            let mut file = Vec::new();
            let options = WriterOptions::default();
            let mut writer = format.writer(&mut file, batch.schema(), &options).unwrap();
            writer.write(&batch).unwrap();
            end(writer);
            file
        };
        let finished = cut(&|writer| writer.finish(TableEnd::Complete).unwrap());
        python_on(reader, &finished).unwrap();
        python_on(reader, &cut(&|writer| writer.abort("gone").unwrap())).unwrap_err();
        python_on(reader, &cut(&|writer| drop(writer))).unwrap_err();
    }
}

#[test]
fn a_parquet_footer_says_what_the_table_is_and_that_a_limit_cut_it() {
    let footer = "import sys, json, pyarrow.parquet as p; m = p.read_metadata(sys.argv[1]); \
                  print(m.created_by); print(m.metadata[b'IVOA.VOTable-Parquet.version'].decode()); \
                  print(m.metadata.get(b'QUERY_STATUS', b'none').decode()); \
                  print(m.metadata[b'IVOA.VOTable-Parquet.content'].decode())";
    for (end, status, info) in [
        (TableEnd::Complete, "none", ""),
        (
            TableEnd::Overflow,
            "OVERFLOW",
            "<INFO name=\"QUERY_STATUS\" value=\"OVERFLOW\"/>\n",
        ),
    ] {
        let mut file = Vec::new();
        let schema = described().schema();
        let writer = ParquetWriter::new(&mut file, schema, ParquetCompression::default());
        Box::new(writer.unwrap()).finish(end).unwrap();
        let said = python_on(footer, &file).unwrap();
        let head = format!(
            "datastreamer version {}\n1.0\n{status}\n<?xml",
            env!("CARGO_PKG_VERSION")
        );
        assert!(said.starts_with(&head), "{said}");
        assert!(said.contains("unit=\"km/s\""), "{said}");
        assert!(!said.contains("<DATA>"), "{said}");
        let tail = format!("</TABLE>\n{info}</RESOURCE>\n</VOTABLE>\n");
        assert!(said.trim_end().ends_with(tail.trim_end()), "{said}");
    }
}

#[test]
fn a_parquet_footers_votable_is_read_by_astropy() {
    let program = "import sys, io, warnings; warnings.simplefilter('error'); \
                   warnings.filterwarnings('ignore', message='.*W03.*'); \
                   import pyarrow.parquet as p; from astropy.io.votable import parse; \
                   m = p.read_metadata(sys.argv[1]).metadata; \
                   v = parse(io.BytesIO(m[b'IVOA.VOTable-Parquet.content']), verify='exception'); \
                   print(v.get_first_table().fields[0].unit)";
    let said = python_on(program, &encode(Format::Parquet, &[described()]));
    assert_eq!(said.unwrap(), "km / s\n");
}

#[test]
fn parquet_reads_back_with_every_compression() {
    let batch = numbers();
    let files = [
        ParquetCompression::Zstd,
        ParquetCompression::Snappy,
        ParquetCompression::None,
    ]
    .map(|compression| {
        let mut file = Vec::new();
        let writer = ParquetWriter::new(&mut file, batch.schema(), compression);
        let mut writer = Box::new(writer.unwrap());
        writer.write(&batch).unwrap();
        writer.finish(TableEnd::Complete).unwrap();
        file
    });
    let source = std::slice::from_ref(&batch);
    compare_all(files.iter().map(|file| ("parquet", source, file)));
}

#[test]
fn parquets_row_groups_are_bounded_in_bytes_even_within_one_batch() {
    let texts: Vec<String> = (0..64_000).map(|row| format!("{row:01024}")).collect();
    let batch = table(vec![("t", Arc::new(StringArray::from(texts)))]);
    let mut file = Vec::new();
    let writer = ParquetWriter::new(&mut file, batch.schema(), ParquetCompression::None);
    let mut writer = Box::new(writer.unwrap());
    writer.write(&batch).unwrap();
    writer.finish(TableEnd::Complete).unwrap();
    let program = "import sys, pyarrow.parquet as p; m = p.read_metadata(sys.argv[1]); \
                   print(max(m.row_group(i).total_byte_size for i in range(m.num_row_groups)))";
    let largest: u64 = python_on(program, &file).unwrap().trim().parse().unwrap();
    assert!((8 << 20..16 << 20).contains(&largest), "{largest}");
}

#[test]
fn times_that_parquet_has_no_type_for_become_milliseconds_and_days() {
    let batch = table(vec![
        (
            "s",
            Arc::new(TimestampSecondArray::from(vec![Some(-1), None])),
        ),
        (
            "t",
            Arc::new(Time32SecondArray::from(vec![Some(86_399), None])),
        ),
        (
            "d",
            Arc::new(Date64Array::from(vec![Some(-86_400_000), None])),
        ),
    ]);
    let file = encode(Format::Parquet, &[batch]);
    let program = "import sys, pyarrow.parquet as p; print(*p.read_schema(sys.argv[1]).types)";
    assert_eq!(
        python_on(program, &file).unwrap(),
        "timestamp[ms] time32[ms] date32[day]\n"
    );
    let far = table(vec![(
        "s",
        Arc::new(TimestampSecondArray::from(vec![0, i64::MAX])),
    )]);
    let mut file = Vec::new();
    let writer = ParquetWriter::new(&mut file, far.schema(), ParquetCompression::None);
    let error = writer.unwrap().write(&far).unwrap_err().to_string();
    assert_eq!(
        error,
        "row 2, column \"s\": Parquet cannot hold a time so far away"
    );
}

#[test]
fn a_page_tells_when_it_needs_no_more_rows_and_that_there_are_more() {
    let batch = described();
    let page = |rows_max: u64, end: TableEnd| {
        let mut file = Vec::new();
        let mut options = WriterOptions::default();
        options.html_rows_max = rows_max;
        let mut writer = Format::Html
            .writer(&mut file, batch.schema(), &options)
            .unwrap();
        writer.write(&batch).unwrap();
        let is_full = writer.is_full();
        writer.finish(end).unwrap();
        (is_full, String::from_utf8(file).unwrap())
    };
    let (is_full, whole) = page(3, TableEnd::Complete);
    assert!(!is_full && whole.contains("All 3 rows."), "{whole}");
    let (is_full, cut) = page(2, TableEnd::Complete);
    assert!(is_full, "the third row was left out");
    assert_eq!(cut.matches("<tr>").count(), 3, "a head and two rows: {cut}");
    assert!(
        cut.contains("The first 2 rows of a table that has more."),
        "{cut}"
    );
    let (_, limited) = page(3, TableEnd::Overflow);
    assert!(limited.contains("The first 3 rows of a table that has more."));
}

#[test]
fn a_page_has_names_units_and_descriptions_and_says_that_it_failed() {
    let batch = described();
    let mut file = Vec::new();
    let options = WriterOptions::default();
    let mut writer = Format::Html
        .writer(&mut file, batch.schema(), &options)
        .unwrap();
    writer.write(&batch).unwrap();
    writer.abort("disk <1> gone").unwrap();
    let page = String::from_utf8(file).unwrap();
    for part in [
        "<title>stars &amp; dust</title>",
        "<th scope=\"col\" class=\"right\" title=\"how &quot;fast&quot; &lt;it&gt; is\">speed<br><small>km/s</small></th>",
        "<tr><td class=\"right\">1.5</td></tr>\n<tr><td class=\"null\"></td></tr>\n\
         <tr><td class=\"right\">-20.0</td></tr>\n",
        "<p class=\"failed\">The table failed after 3 rows and is incomplete: disk &lt;1&gt; gone</p>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn a_page_with_a_frame_says_which_rows_it_has_and_escapes_what_it_is_given() {
    let batch = described();
    let page = |offset: u64, rows: Option<u64>, written: usize, end: TableEnd| {
        let mut file = Vec::new();
        let mut options = WriterOptions::default();
        options.html_rows_max = 2;
        options.limit = Some("a limit <of> 2".to_owned());
        options.html_frame = Some(PageFrame {
            title: "unused".to_owned(),
            above: "<i>above</i>".to_owned(),
            heads: vec![ColumnHead {
                link: Some("?a=\"<b>&c".to_owned()),
                sorted: Some(Sorted::Descending),
            }],
            offset,
            rows,
            below: Arc::new(|rows| format!("<i>{} {}</i>", rows.shown, rows.has_more)),
        });
        let mut writer = Format::Html
            .writer(&mut file, batch.schema(), &options)
            .unwrap();
        writer.write(&batch.slice(0, written)).unwrap();
        writer.finish(end).unwrap();
        String::from_utf8(file).unwrap()
    };
    for part in [
        "<title>stars &amp; dust</title>",
        "</h1>\n<i>above</i><div",
        "aria-sort=\"descending\"",
        "<a rel=\"nofollow\" href=\"?a=&quot;&lt;b&gt;&amp;c\">speed</a>",
        "<i>2 true</i></body>",
    ] {
        let whole = page(0, None, 3, TableEnd::Complete);
        assert!(whole.contains(part), "{part}\n{whole}");
    }
    use TableEnd::{Complete, Overflow};
    for (offset, rows, written, end, note) in [
        (0, Some(3), 3, Complete, "Rows 1 to 2 of 3."),
        (
            0,
            None,
            3,
            Complete,
            "Rows 1 to 2 of a table that has more.",
        ),
        (2, None, 1, Complete, "Row 3 of 3."),
        // What was counted before is wrong: what was seen counts.
        (2, Some(9), 1, Complete, "Row 3 of 3."),
        (
            2,
            Some(3),
            1,
            Overflow,
            "Row 3 of a table that has more (a limit &lt;of&gt; 2).",
        ),
        (
            0,
            Some(9),
            2,
            Overflow,
            "Rows 1 to 2 of 9 (a limit &lt;of&gt; 2).",
        ),
        (
            9,
            Some(3),
            0,
            Complete,
            "No rows behind row 9: there are 3.",
        ),
        (9, Some(10), 0, Complete, "No rows behind row 9."),
        (9, None, 0, Complete, "No rows behind row 9."),
        (0, Some(3), 0, Complete, "No rows."),
        (
            0,
            Some(3),
            0,
            Overflow,
            "No rows are shown (a limit &lt;of&gt; 2).",
        ),
        (
            u64::MAX,
            None,
            1,
            Complete,
            "Row 18446744073709551615 of 18446744073709551615.",
        ),
    ] {
        let whole = page(offset, rows, written, end);
        let wanted = format!("<p class=\"end\">{note}</p>");
        assert!(whole.contains(&wanted), "{wanted}\n{whole}");
    }
}

#[test]
fn a_page_has_no_control_characters() {
    let page = text(Format::Html, &[control_characters()]);
    let odd = page
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(odd, None);
    assert!(page.contains("\u{fffd}"));
}

#[test]
fn plain_text_is_aligned_with_units_and_nulls_and_never_cut() {
    let field = |name: &str, data_type, unit: &str| {
        let metadata = HashMap::from([(meta::UNIT.to_owned(), unit.to_owned())]);
        Field::new(name, data_type, true).with_metadata(metadata)
    };
    let schema = Arc::new(Schema::new(vec![
        field("name", DataType::Utf8, ""),
        field("v", DataType::Float64, "km/s"),
        field("note", DataType::Utf8, ""),
    ]));
    let batch = |names: Vec<Option<&str>>, numbers: Vec<Option<f64>>, notes: Vec<Option<&str>>| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(names)),
            Arc::new(Float64Array::from(numbers)),
            Arc::new(StringArray::from(notes)),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let first = batch(
        vec![Some("Véga"), None],
        vec![Some(-13.9), None],
        vec![Some("a\nb\u{1b}[1m"), Some("")],
    );
    let wider = batch(vec![Some("Betelgeuse")], vec![Some(21.91)], vec![None]);
    assert_eq!(
        text(Format::Text, &[first, wider]),
        "name      v  note\n\
        \u{20}      km/s  \n\
         ----  -----  -------------\n\
         Véga  -13.9  a\\nb\\u{1b}[1m\n\
         -         -  \n\
         Betelgeuse  21.91  -\n"
    );
}

#[test]
fn times_of_a_column_with_a_zone_end_with_z_where_a_format_can_say_so() {
    let times = || TimestampSecondArray::from(vec![Some(-1), None]);
    let zoned = |zone: &str| Arc::new(times().with_timezone(zone)) as ArrayRef;
    let element = Arc::new(Field::new_list_field(
        zoned("UTC").data_type().clone(),
        true,
    ));
    let offsets = OffsetBuffer::new(vec![0, 2, 2].into());
    let list: ArrayRef = Arc::new(ListArray::new(element, offsets, zoned("UTC"), None));
    let key = Box::new(DataType::Int32);
    let in_dictionary = DataType::Dictionary(key, Box::new(zoned("+02:00").data_type().clone()));
    let columns = vec![
        ("local", Arc::new(times()) as ArrayRef),
        ("zoned", zoned("Europe/Berlin")),
        ("coded", cast(&zoned("+02:00"), &in_dictionary).unwrap()),
    ];
    let with_list = [columns.clone(), vec![("list", list)]].concat();
    let (columns, with_list) = (table(columns), table(with_list));
    let local = "1969-12-31T23:59:59";
    assert_eq!(
        text(Format::Csv, std::slice::from_ref(&columns)),
        format!("local,zoned,coded\r\n{local},{local}Z,{local}Z\r\n,,\r\n")
    );
    assert_eq!(
        text(Format::Tsv, std::slice::from_ref(&columns)),
        format!("local\tzoned\tcoded\n{local}\t{local}Z\t{local}Z\n\t\t\n")
    );
    assert_eq!(
        text(Format::Ndjson, std::slice::from_ref(&with_list)),
        format!(
            "{{\"local\":\"{local}\",\"zoned\":\"{local}Z\",\"coded\":\"{local}Z\",\
             \"list\":[\"{local}Z\",null]}}\n\
             {{\"local\":null,\"zoned\":null,\"coded\":null,\"list\":[]}}\n"
        )
    );
    let page = text(Format::Html, std::slice::from_ref(&with_list));
    let row = format!(
        "<td>{local}</td><td>{local}Z</td><td>{local}Z</td><td>[&quot;{local}Z&quot;,null]</td>"
    );
    assert!(page.contains(&row), "{page}");
    let plain = text(Format::Text, std::slice::from_ref(&with_list));
    let row = format!("{local}  {local}Z  {local}Z  [\"{local}Z\",null]");
    assert!(plain.contains(&row), "{plain}");
    // DALI timestamps have no zone, and are in UTC.
    let votable = text(Format::Votable, std::slice::from_ref(&columns));
    assert_eq!(
        votable.matches(&format!("<TD>{local}</TD>")).count(),
        3,
        "{votable}"
    );
    let fits = encode(Format::Fits, &[columns]);
    let fits = String::from_utf8_lossy(&fits);
    assert_eq!(fits.matches(&local.repeat(3)).count(), 1);
}

#[test]
fn plain_text_says_at_its_end_that_it_was_cut_or_failed() {
    let document = |end: &dyn Fn(Box<dyn TableWriter + Send + '_>)| {
        let mut file = Vec::new();
        let options = WriterOptions::default();
        let schema = described().schema();
        let writer = Format::Text.writer(&mut file, schema, &options).unwrap();
        end(writer);
        String::from_utf8(file).unwrap()
    };
    let head = "speed\n km/s\n-----\n";
    let whole = document(&|writer| writer.finish(TableEnd::Complete).unwrap());
    assert_eq!(whole, head);
    let cut = document(&|writer| writer.finish(TableEnd::Overflow).unwrap());
    assert_eq!(
        cut,
        format!("{head}-- a limit cut the table here: it has more rows\n")
    );
    let failed = document(&|writer| writer.abort("disk\ngone").unwrap());
    assert_eq!(
        failed,
        format!("{head}-- the table failed here and is incomplete: disk\\ngone\n")
    );
}

#[test]
fn every_format_is_written_through_the_list() {
    let batch = table(vec![("n", Arc::new(Int32Array::from(vec![7])))]);
    for format in Format::ALL {
        format.check(&batch.schema()).unwrap();
        assert!(
            !encode(format, std::slice::from_ref(&batch)).is_empty(),
            "{format}"
        );
    }
}

#[test]
fn a_batch_of_another_schema_is_an_error_in_every_format() {
    let schema = table(vec![("n", Arc::new(Int32Array::from(vec![7])))]).schema();
    let n = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let other = table(vec![("n", n()), ("m", n())]);
    for format in Format::ALL
        .into_iter()
        .filter(|format| *format != Format::Fits)
    {
        let mut file = Vec::new();
        let options = WriterOptions::default();
        let mut writer = format
            .writer(&mut file, Arc::clone(&schema), &options)
            .unwrap();
        let error = writer.write(&other).unwrap_err();
        assert!(matches!(error, TableError::Schema(_)), "{format}: {error}");
    }
}

/// Types that some formats hold and others do not.
fn odd_types() -> Vec<DataType> {
    let field = |data_type| Arc::new(Field::new("item", data_type, true));
    let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
    let entries = DataType::Struct(Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int8, true),
    ]));
    let entries = Arc::new(Field::new("entries", entries, false));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let union = UnionFields::try_new([0], [Field::new("n", DataType::Int32, true)]).unwrap();
    vec![
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Interval(IntervalUnit::DayTime),
        DataType::Duration(TimeUnit::Second),
        DataType::Float16,
        DataType::Decimal32(5, 2),
        DataType::Decimal256(60, 2),
        DataType::Decimal128(5, -2),
        DataType::Time32(TimeUnit::Second),
        DataType::Timestamp(TimeUnit::Second, Some("+02:00".into())),
        DataType::Map(entries, false),
        DataType::RunEndEncoded(ends, field(DataType::Utf8)),
        DataType::Union(union, UnionMode::Sparse),
        DataType::ListView(field(DataType::Int8)),
        DataType::List(field(DataType::List(field(DataType::Utf8)))),
        DataType::List(field(DataType::Timestamp(TimeUnit::Second, None))),
        DataType::FixedSizeList(field(DataType::Int8), 0),
        DataType::FixedSizeBinary(0),
        DataType::Struct(Fields::empty()),
        dictionary(DataType::Float64),
        dictionary(dictionary(DataType::Utf8)),
        DataType::List(field(dictionary(DataType::Utf8))),
    ]
}

#[test]
fn a_type_that_passes_the_check_can_be_written_whatever_it_is() {
    for data_type in odd_types() {
        let batch = table(vec![("odd", new_null_array(&data_type, 2))]);
        for format in Format::ALL {
            match format.check(&batch.schema()) {
                // BINARY has no nulls of its own: without a value for them it says so.
                Ok(()) if format == Format::VotableBinary => {
                    let written = try_encode(format, &batch);
                    let told = matches!(&written, Ok(()) | Err(TableError::Value { row: 0, .. }));
                    assert!(told, "{data_type}: {written:?}");
                }
                Ok(()) => try_encode(format, &batch).unwrap(),
                Err(error) => assert!(
                    matches!(&error, TableError::Column { column, .. } if column == "odd"),
                    "{format}, {data_type}: {error}"
                ),
            }
        }
    }
}

#[test]
fn parquet_refuses_times_within_lists_that_it_has_no_type_for() {
    let item = Arc::new(Field::new("item", DataType::Date64, true));
    let batch = table(vec![("days", new_null_array(&DataType::List(item), 1))]);
    let error = Format::Parquet.check(&batch.schema()).unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "column \"days\": Parquet cannot hold the type date in milliseconds"
    );
}

#[test]
fn kinds_that_writers_cast_are_written_as_what_they_are_cast_to() {
    let element = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let decimals: ArrayRef = Arc::new(
        Decimal128Array::from(vec![Some(-12_345), None, Some(5), Some(0)])
            .with_precision_and_scale(9, 3)
            .unwrap(),
    );
    let rounded = [Some(-12_345), None, Some(5), Some(0)];
    let rounded = Decimal128Array::from(rounded.to_vec()).with_precision_and_scale(9, -2);
    let lists = [Some(vec![Some(0.5), None]), None, Some(vec![])];
    let floats: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
    let pairs = [Some([Some(0.5), None]), None, Some([Some(1.5), Some(2.0)])];
    let pairs = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(pairs, 2);
    let texts = StringArray::from(vec![Some("a"), Some("a"), None, None, Some("b")]);
    let large = cast(&floats, &DataType::LargeList(element(DataType::Float32))).unwrap();
    for (plain, odd) in [
        (Arc::clone(&decimals), DataType::Decimal32(9, 3)),
        (Arc::clone(&decimals), DataType::Decimal64(9, 3)),
        (decimals, DataType::Decimal256(9, 3)),
        (Arc::new(rounded.unwrap()), DataType::Decimal256(9, -2)),
        (
            Arc::clone(&floats),
            DataType::List(element(DataType::Float16)),
        ),
        (
            Arc::clone(&large),
            DataType::LargeList(element(DataType::Float16)),
        ),
        (
            Arc::new(pairs),
            DataType::FixedSizeList(element(DataType::Float16), 2),
        ),
        (floats, DataType::ListView(element(DataType::Float16))),
        (large, DataType::LargeListView(element(DataType::Float32))),
        (
            Arc::new(texts),
            DataType::RunEndEncoded(Arc::clone(&ends), element(DataType::Utf8)),
        ),
        (
            Arc::new(Int32Array::from(vec![Some(7), Some(7), None, Some(8)])),
            DataType::RunEndEncoded(ends, element(DataType::Int32)),
        ),
    ] {
        let odd = table(vec![("c", cast(&plain, &odd).unwrap())]);
        let plain = table(vec![("c", plain)]);
        for format in Format::ALL.into_iter().filter(|it| !ARROW.contains(it)) {
            let refused = format.check(&odd.schema()).is_err();
            assert_eq!(refused, format.check(&plain.schema()).is_err(), "{format}");
            if !refused {
                let batches = |it: &RecordBatch| [it.clone(), it.slice(1, 2)];
                let same = encode(format, &batches(&odd)) == encode(format, &batches(&plain));
                assert!(same, "{format}, {}", odd.schema());
            }
        }
    }
}

#[test]
fn decimals_of_256_bits_are_written_digit_by_digit() {
    let digits = "7".repeat(60);
    let values = [i256::from_string(&digits), None, Some(i256::from_i128(-5))];
    let values = Decimal256Array::from(values.to_vec()).with_precision_and_scale(60, 2);
    let batch = table(vec![("d", Arc::new(values.unwrap()))]);
    for format in Format::ALL.into_iter().filter(|it| !ARROW.contains(it)) {
        let bytes = encode(format, std::slice::from_ref(&batch));
        if !matches!(format, Format::VotableBinary | Format::VotableBinary2) {
            let text = String::from_utf8_lossy(&bytes);
            let expected = format!("{}.77", "7".repeat(58));
            assert!(
                text.contains(&expected) && text.contains("-0.05"),
                "{format}"
            );
        }
    }
}

#[test]
fn decimals_of_a_negative_scale_become_whole_ones_in_parquet_or_are_refused() {
    let small = Decimal128Array::from(vec![Some(-123), None]).with_precision_and_scale(5, -2);
    let large = Decimal64Array::from(vec![Some(7), None]).with_precision_and_scale(18, -30);
    let batch = table(vec![
        ("small", Arc::new(small.unwrap())),
        ("large", Arc::new(large.unwrap())),
    ]);
    let values = "import sys, pyarrow.parquet as p; t = p.read_table(sys.argv[1]); \
                  print([[None if v is None else int(v) for v in c.to_pylist()] for c in t.columns])";
    let said = python_on(values, &encode(Format::Parquet, &[batch])).unwrap();
    assert_eq!(
        said,
        format!("[[-12300, None], [7{}, None]]\n", "0".repeat(30))
    );
    let beyond = new_null_array(&DataType::Decimal256(76, -1), 1);
    let error = Format::Parquet.check(&table(vec![("beyond", beyond)]).schema());
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "column \"beyond\": Parquet cannot hold the type decimal(76, -1)"
    );
}

/// What each of the formats that hand bytes on says of a column's values.
fn write_in_binary(name: &str, column: &ArrayRef) -> [Option<String>; 3] {
    let table = table(vec![(name, Arc::clone(column))]);
    ARROW.map(|format| {
        let mut file = Vec::new();
        let writer = format.writer(&mut file, table.schema(), &WriterOptions::default());
        let mut writer = writer.unwrap();
        // The row that an error names counts from the first one of the table.
        writer.write(&table.slice(0, 1)).unwrap();
        let rest = writer.write(&table.slice(1, table.num_rows() - 1));
        rest.err().map(|error| error.to_string())
    })
}

/// A damaged file may have them, and readers make something else of each.
#[test]
fn a_decimal_with_more_digits_than_its_type_is_refused_by_binary_formats() {
    let [good, long] = [99_999, 100_000].map(|value| {
        let values = Decimal128Array::from(vec![Some(1), None, Some(value)]);
        let values = values.with_data_type(DataType::Decimal128(5, 2));
        let wide = Decimal256Array::from(vec![None, Some(i256::from_i128(value)), None]);
        let wide = wide.with_data_type(DataType::Decimal256(5, 2));
        let narrow = Decimal64Array::from(vec![None, Some(value as i64), None]);
        let narrow = narrow.with_data_type(DataType::Decimal64(5, -2));
        let values: ArrayRef = Arc::new(values);
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        // Behind the second row lies a value that is in none.
        let offsets = OffsetBuffer::from_lengths([1, 1]);
        let cut = ListArray::new(Arc::clone(&field), offsets, Arc::clone(&values), None);
        let offsets = OffsetBuffer::from_lengths([1, 2]);
        let list = ListArray::new(field, offsets, Arc::clone(&values), None);
        let columns: [(ArrayRef, Option<u64>); 5] = [
            (values, Some(3)),
            (Arc::new(wide), Some(2)),
            (Arc::new(narrow), Some(2)),
            (Arc::new(list), Some(2)),
            (Arc::new(cut), None),
        ];
        columns
    });
    for ((good, _), (long, row)) in good.iter().zip(&long) {
        assert_eq!(write_in_binary("d", good), [const { None }; 3]);
        let wanted = row
            .map(|row| format!("row {row}, column \"d\": a decimal has more digits than its type"));
        let wanted = [wanted.clone(), wanted.clone(), wanted];
        assert_eq!(write_in_binary("d", long), wanted, "{}", long.data_type());
    }
}

/// Readers take it modulo the day.
#[test]
fn a_time_of_day_that_is_not_within_a_day_is_refused_by_binary_formats() {
    const DAY: i64 = 86_400;
    let times = |last: i64| -> [ArrayRef; 4] {
        let small = [Some(0), None, Some(last as i32)];
        let milliseconds = small.map(|time| time.map(|time| time * 1000));
        let large = [Some(0), None, Some(last * 1_000_000)];
        let nanoseconds = large.map(|time| time.map(|time| time * 1000));
        [
            Arc::new(Time32SecondArray::from(small.to_vec())),
            Arc::new(Time32MillisecondArray::from(milliseconds.to_vec())),
            Arc::new(Time64MicrosecondArray::from(large.to_vec())),
            Arc::new(Time64NanosecondArray::from(nanoseconds.to_vec())),
        ]
    };
    for column in times(DAY - 1) {
        assert_eq!(write_in_binary("t", &column), [const { None }; 3]);
    }
    for last in [DAY, -1] {
        for column in times(last) {
            let wanted = "row 3, column \"t\": a time of day is not within a day";
            let wanted = [
                Some(wanted.to_owned()),
                Some(wanted.to_owned()),
                Some(wanted.to_owned()),
            ];
            assert_eq!(write_in_binary("t", &column), wanted);
        }
    }
}

#[test]
fn a_table_without_columns_is_refused_by_every_format() {
    let schema = Arc::new(Schema::empty());
    for format in Format::ALL {
        let refused = format.check(&schema).unwrap_err().to_string();
        assert_eq!(refused, "the table has no columns", "{format}");
    }
    let shape = FitsShape::of_schema(Arc::clone(&schema), 2, &[]);
    assert_eq!(
        shape.unwrap_err().to_string(),
        "the table has no columns",
        "FitsShape"
    );
    // Its rows can be counted, not written.
    let rows = RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &rows).unwrap();
    for serialization in [
        Serialization::Tabledata,
        Serialization::Binary,
        Serialization::Binary2,
    ] {
        let options = VotableOptions {
            serialization,
            ..VotableOptions::default()
        };
        let writer = VotableWriter::new(Vec::new(), Arc::clone(&schema), options);
        let mut writer = Box::new(writer.unwrap());
        writer.write(&batch).unwrap();
        writer.finish(TableEnd::Complete).unwrap();
    }
}

#[test]
fn the_check_says_what_the_writer_says_before_anything_is_written() {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let odd = odd_types().into_iter().map(|it| vec![field("odd", it)]);
    let null = HashMap::from([(meta::NULL.to_owned(), "70000".to_owned())]);
    let schemas = odd.chain([
        vec![field("\u{feff}n", DataType::Int8)],
        vec![field("n", DataType::Int8), field("n", DataType::Int8)],
        vec![field("é", DataType::Int8)],
        vec![field("n", DataType::Int16).with_metadata(null)],
        vec![field("n", DataType::Int8); 1000],
        vec![],
    ]);
    let mut refused = 0;
    for (fields, format) in schemas.flat_map(|it| Format::ALL.map(|format| (it.clone(), format))) {
        let schema = Arc::new(Schema::new(fields));
        let text = |result: Result<(), TableError>| result.map_err(|error| error.to_string());
        let checked = text(format.check(&schema));
        let mut file = Vec::new();
        let options = WriterOptions::default();
        let written = format.writer(&mut file, schema, &options).map(drop);
        assert_eq!(checked, text(written), "{format}");
        if checked.is_err() {
            refused += 1;
            assert_eq!(file, b"", "{format}");
        }
    }
    assert!(refused > 30, "{refused}");
}

/// What docs/tables.md says of dictionaries.
#[test]
fn an_arrow_file_has_the_values_of_a_dictionary_and_a_stream_has_the_dictionary() {
    let values: DictionaryArray<Int32Type> = ["low", "high", "low"].into_iter().collect();
    let batch = table(vec![("v", Arc::new(values))]);
    let read = "import sys, pyarrow as pa; \
                magic = open(sys.argv[1], 'rb').read(6); \
                t = (pa.ipc.open_file if magic == b'ARROW1' else pa.ipc.open_stream)(sys.argv[1]); \
                t = t.read_all(); print(pa.types.is_dictionary(t.schema.field('v').type), \
                t.column('v').to_pylist())";
    for (format, is_dictionary) in [(Format::Arrow, "True"), (Format::ArrowFile, "False")] {
        let said = python_on(read, &encode(format, std::slice::from_ref(&batch))).unwrap();
        let wanted = format!("{is_dictionary} ['low', 'high', 'low']\n");
        assert_eq!(said, wanted, "{format}");
    }
}
