//! Arrays of texts, in FITS and VOTable: they read back here, in astropy and in STILTS.

use std::{collections::HashMap, fs, process::Command, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, FixedSizeListArray, LargeListArray, ListArray, StringArray,
        StringViewArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{fits::FitsFile, meta, votable::Serialization};

use crate::{
    fits_files::{table, table_with, with_file},
    tables::{Format, python},
};

type Lists<'a> = Vec<Vec<Option<&'a str>>>;

/// Two texts in each row.
const PAIRS: [[Option<&str>; 2]; 4] = [
    [Some("ab"), Some("cde")],
    [Some(""), None],
    [Some(" it's <&>"), Some("x")],
    [None, Some("last")],
];

fn lists() -> Lists<'static> {
    vec![
        vec![Some("one"), Some("two words"), Some("3")],
        vec![],
        vec![Some(""), None, Some("x")],
        vec![Some("last")],
    ]
}

fn field(name: &str, data_type: &DataType, width: Option<&str>) -> Field {
    let width = width.map(|width| (meta::WIDTH.to_owned(), width.to_owned()));
    let known: HashMap<_, _> = width.into_iter().collect();
    Field::new(name, data_type.clone(), true).with_metadata(known)
}

/// Pairs and lists of texts, and in a column more the same lists as others have them in Arrow.
fn batch(width: Option<&str>) -> RecordBatch {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let pairs = StringArray::from_iter(PAIRS.as_flattened());
    let pairs = FixedSizeListArray::new(item(DataType::Utf8), 2, Arc::new(pairs), None);
    let lengths = || lists().iter().map(Vec::len).collect::<Vec<_>>();
    let texts = lists().concat();
    let strings = Arc::new(StringArray::from_iter(&texts));
    let offsets = OffsetBuffer::from_lengths(lengths());
    let small = ListArray::new(item(DataType::Utf8), offsets, strings, None);
    let views = Arc::new(StringViewArray::from_iter(texts));
    let offsets = OffsetBuffer::from_lengths(lengths());
    let large = LargeListArray::new(item(DataType::Utf8View), offsets, views, None);
    let columns: [(&str, ArrayRef); 3] = [
        ("pairs", Arc::new(pairs)),
        ("lists", Arc::new(small)),
        ("large", Arc::new(large)),
    ];
    let fields = columns
        .iter()
        .map(|(name, array)| field(name, array.data_type(), width));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.map(|(_, array)| array).into()).unwrap()
}

fn texts(array: &dyn Array) -> Vec<Option<String>> {
    let texts = array.as_any().downcast_ref::<StringArray>().unwrap();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

fn owned(texts: &[Option<&str>]) -> Vec<Option<String>> {
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

fn rows(list: &ListArray) -> Vec<Vec<Option<String>>> {
    list.iter().map(|row| texts(&row.unwrap())).collect()
}

fn read(file: &[u8]) -> RecordBatch {
    with_file(file, |path| {
        let table = FitsFile::open(path).unwrap();
        table.read(0..table.rows(), None).unwrap()
    })
}

#[test]
fn they_come_back_from_fits_with_their_nulls_and_lengths() {
    for width in [None, Some("9"), Some("20")] {
        let file = Format::Fits.encode(&[batch(width)]);
        let found = read(&file);
        let pairs = found
            .column(0)
            .as_any()
            .downcast_ref::<FixedSizeListArray>()
            .unwrap();
        assert_eq!(pairs.value_length(), 2);
        assert_eq!(texts(pairs.values()), owned(PAIRS.as_flattened()));
        for column in [1, 2] {
            let found = found.column(column).as_any().downcast_ref().unwrap();
            let expected: Vec<_> = lists().iter().map(|row| owned(row)).collect();
            assert_eq!(rows(found), expected);
        }
        // What was read is written again, the same byte for byte.
        assert!(Format::Fits.encode(&[found]) == file, "{width:?}");
    }
}

/// In FITS a null list is an array of nulls, or an empty one.
#[test]
fn a_null_list_is_an_empty_one_and_a_null_array_one_of_nulls() {
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let values = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let pairs = FixedSizeListArray::new(
        Arc::clone(&item),
        2,
        Arc::clone(&values) as _,
        nulls.clone(),
    );
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 2]), values, nulls);
    let columns: [(&str, ArrayRef); 2] = [("pairs", Arc::new(pairs)), ("lists", Arc::new(lists))];
    let found = read(&Format::Fits.encode(&[RecordBatch::try_from_iter(columns).unwrap()]));
    let pairs = found
        .column(0)
        .as_any()
        .downcast_ref::<FixedSizeListArray>()
        .unwrap();
    assert_eq!(
        texts(pairs.values()),
        owned(&[Some("a"), Some("b"), None, None])
    );
    let lists = found.column(1).as_any().downcast_ref().unwrap();
    assert_eq!(rows(lists), [owned(&[Some("a"), Some("b")]), vec![]]);
}

#[test]
fn axes_of_arrays_of_texts_are_kept() {
    let letters = b"aabbccddeeff";
    let file = table_with(12, 1, 0, &["12A"], &["TDIM1   = '(2,3,2)'"], letters);
    let found = read(&file);
    let field = found.schema_ref().field(0).clone();
    assert_eq!(meta::of_column(&field, meta::SHAPE), Some("(3,2)"));
    assert_eq!(meta::of_column(&field, meta::WIDTH), Some("2"));
    let again = Format::Fits.encode(&[found]);
    let said = with_file(&again, |path| {
        let program = "import sys; from astropy.io import fits; h = fits.open(sys.argv[1])[1]; \
                       print(h.header['TDIM1'], h.data['col1'].tolist())";
        python_says(program, path)
    });
    assert_eq!(said, "(2,3,2) [[['aa', 'bb', 'cc'], ['dd', 'ee', 'ff']]]\n");
}

#[test]
fn a_list_in_the_heap_ends_where_its_cell_does() {
    let descriptors = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5];
    let data = [&descriptors[..], b"ab cdX"].concat();
    let file = table_with(8, 2, 6, &["1PA(6)"], &["TDIM1   = '(2,3)'"], &data);
    let found = read(&file);
    let lists = found.column(0).as_any().downcast_ref().unwrap();
    let expected = [
        owned(&[Some("ab"), Some(" c"), Some("d")]),
        owned(&[Some("X")]),
    ];
    assert_eq!(rows(lists), expected);
    // Of one axis it is a text, and where each would take a place that no file bounds.
    let wide = table_with(8, 2, 6, &["1PA(6)"], &["TDIM1   = '(65537,3)'"], &data);
    assert_eq!(
        texts(read(&wide).column(0)),
        owned(&[Some("ab cd"), Some("X")])
    );
    let file = table_with(8, 2, 6, &["1PA(6)"], &["TDIM1   = '(6)'"], &data);
    assert_eq!(
        texts(read(&file).column(0)),
        owned(&[Some("ab cd"), Some("X")])
    );
    assert_eq!(read(&table(8, 2, 6, &["1PA(6)"], &data)).column(0).len(), 2);
}

fn python_says(program: &str, file: &std::path::Path) -> String {
    let output = Command::new(python())
        .args(["-c", program])
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn stilts(arguments: &[&str]) -> String {
    let output = Command::new("stilts").args(arguments).output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn astropy_reads_pairs_and_fitsverify_finds_nothing() {
    let file = Format::Fits.encode(&[batch(None)]);
    with_file(&file, |path| {
        let program = "import sys; from astropy.io import fits; h = fits.open(sys.argv[1])[1]; \
                       print(h.data['pairs'].tolist())";
        let expected = "[['ab', 'cde'], [' ', ''], [\" it's <&>\", 'x'], ['', 'last']]\n";
        assert_eq!(python_says(program, path), expected);
        let verified = Command::new("fitsverify")
            .arg("-q")
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(said.starts_with("verification OK"), "{said}");
    });
}

/// STILTS prints arrays in brackets. Null texts are empty there; lists in FITS are filled with empty
/// texts up to the longest.
#[test]
fn stilts_reads_them_from_fits_and_from_every_votable() {
    let pairs = ["(ab, cde)", "(, )", "( it's <&>, x)", "(, last)"];
    let padded = ["(one, two words, 3)", "", "(, , x)", "(last, , )"];
    let exact = ["(one, two words, 3)", "", "(, , x)", "(last)"];
    let votables = [
        Serialization::Tabledata,
        Serialization::Binary,
        Serialization::Binary2,
    ];
    let formats = votables
        .map(Format::Votable)
        .into_iter()
        .chain([Format::Fits]);
    for format in formats {
        let (informat, lists) = match format {
            Format::Fits => ("ifmt=fits", padded),
            _ => ("ifmt=votable", exact),
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("table");
        fs::write(&file, format.encode(&[batch(Some("9"))])).unwrap();
        let input = format!("in={}", file.display());
        for (column, expected) in [("pairs", pairs), ("lists", lists), ("large", lists)] {
            let keep = format!("cmd=keepcols {column}");
            let said = stilts(&["tpipe", &input, informat, &keep, "ofmt=tst"]);
            let lines: Vec<&str> = said.lines().collect();
            let from = lines
                .iter()
                .position(|line| line.starts_with("---"))
                .unwrap();
            // A number of its own follows. What is empty is null to STILTS in some of them.
            let cells = lines[from + 1..from + 5]
                .iter()
                .map(|line| line.split('\t').next());
            let found: Vec<_> = cells
                .map(|cell| cell.unwrap().replace("null", ""))
                .collect();
            assert_eq!(found, expected, "{format:?} {column}");
        }
        if informat == "ifmt=votable" {
            let said = stilts(&["votlint", file.to_str().unwrap()]);
            assert!(
                !said.contains("ERROR") && !said.contains("WARNING"),
                "{format:?}: {said}"
            );
        }
    }
}

#[test]
fn votable_has_a_place_of_the_same_width_for_each_text() {
    let encode = |width| {
        let tabledata = Format::Votable(Serialization::Tabledata);
        String::from_utf8(tabledata.encode(&[batch(Some(width))])).unwrap()
    };
    let text = encode("9");
    assert!(
        text.contains("name=\"pairs\" datatype=\"unicodeChar\" arraysize=\"9x2\""),
        "{text}"
    );
    assert!(
        text.contains("name=\"lists\" datatype=\"unicodeChar\" arraysize=\"9x*\""),
        "{text}"
    );
    assert!(text.contains("<TD>ab       cde      </TD>"), "{text}");
    assert!(
        text.contains("<TD> it's &lt;&amp;&gt;x        </TD>"),
        "{text}"
    );
}

/// Writes a batch, and says why that is not possible.
fn refused(batch: &RecordBatch, format: datastreamer_table::Format) -> String {
    let options = datastreamer_table::WriterOptions::default();
    let writer = format.writer(std::io::sink(), batch.schema(), &options);
    writer.unwrap().write(batch).unwrap_err().to_string()
}

#[test]
fn what_has_no_width_is_json_in_votable() {
    let file = Format::Votable(Serialization::Tabledata).encode(&[batch(None)]);
    let text = String::from_utf8(file).unwrap();
    let field = "<FIELD name=\"pairs\" datatype=\"unicodeChar\" arraysize=\"*\"></FIELD>";
    assert!(text.contains(field), "{text}");
    let row = "<TR><TD>[\"\",null]</TD><TD>[]</TD><TD>[]</TD></TR>";
    assert!(text.contains(row), "{text}");
}

#[test]
fn what_is_wider_than_its_width_or_no_ascii_is_refused_by_name() {
    use datastreamer_table::Format::{Votable, VotableBinary, VotableBinary2};
    for format in [Votable, VotableBinary, VotableBinary2] {
        let error = refused(&batch(Some("4")), format);
        let expected = "row 1, column \"lists\": a text of the list is longer than the column's \
                        metadata says (width)";
        assert_eq!(error, expected, "{format:?}");
    }
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let values = Arc::new(StringArray::from(vec!["a", "\u{e9}"]));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), values, None);
    let batch = RecordBatch::try_from_iter([("l", Arc::new(lists) as ArrayRef)]).unwrap();
    let mut survey = datastreamer_table::fits::FitsSurvey::new(batch.schema()).unwrap();
    let error = survey.look_at(&batch).unwrap_err().to_string();
    assert_eq!(
        error,
        "row 2, column \"l\": FITS holds printable ASCII only"
    );
}
