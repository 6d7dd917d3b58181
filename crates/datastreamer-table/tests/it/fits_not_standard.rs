//! What the FITS standard does not allow and programs write nevertheless: it is read as others read
//! it, and counted, or refused where the reader is asked to be strict.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Float32Type, Int16Type, Int32Type},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    fits::{FitsFile, Repaired},
    meta,
};

use crate::fits_files::{table, table_with, with_file};

/// A file as it is read: its rows, what was repaired, and which keywords were ignored.
struct Read {
    rows: RecordBatch,
    repaired: Vec<(String, Repaired)>,
    ignored: Vec<String>,
}

fn read(bytes: &[u8]) -> Read {
    with_file(bytes, |path| {
        let table = FitsFile::open(path).unwrap();
        // Two batches: counts are of all.
        let mut reader = table.reader(None, 0..table.rows(), 2).unwrap();
        let batches: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        let repaired = reader.repaired();
        Read {
            rows: arrow::compute::concat_batches(&table.schema(), &batches).unwrap(),
            repaired: repaired
                .map(|(name, counts)| (name.to_owned(), *counts))
                .collect(),
            ignored: table.ignored().map(str::to_owned).collect(),
        }
    })
}

fn strictly(bytes: &[u8]) -> Result<RecordBatch, String> {
    with_file(bytes, |path| {
        let table = FitsFile::open(path).unwrap().strict();
        let rows = table.read(0..table.rows(), None);
        rows.map_err(|error| error.to_string())
    })
}

fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
    column.as_string::<i32>().iter().collect()
}

#[test]
fn a_logical_byte_of_1_is_true_and_others_are_null_and_all_are_counted() {
    let file = table(2, 5, 0, &["L", "L"], b"TF\x01\x00F TtF\xff");
    let Read { rows, repaired, .. } = read(&file);
    let logicals = |column: usize| rows.column(column).as_boolean().iter().collect::<Vec<_>>();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(logicals(0), [yes, yes, no, yes, no]);
    assert_eq!(logicals(1), [no, None, None, None, None]);
    let of = |logicals_of_1, logicals_unknown| Repaired {
        logicals_of_1,
        logicals_unknown,
        ..Repaired::default()
    };
    let expected = [("col1".to_owned(), of(1, 0)), ("col2".to_owned(), of(0, 3))];
    assert_eq!(repaired, expected);
    assert_eq!(
        strictly(&file).unwrap_err(),
        "row 2, column \"col1\", byte 5762: 0x01 is no logical value: they are T, F and 0"
    );
}

#[test]
fn a_file_of_no_whole_number_of_blocks_says_so() {
    let file = table(1, 3, 0, &["L"], b"TFT");
    let is_whole = |bytes: &[u8]| {
        with_file(bytes, |path| {
            FitsFile::open(path).unwrap().has_whole_blocks()
        })
    };
    assert!(is_whole(&file));
    assert!(!is_whole(&file[..file.len() - 1]));
    assert!(!is_whole(&[file.as_slice(), &[0]].concat()));
}

#[test]
fn logicals_in_the_heap_are_read_as_those_in_rows() {
    let rows = [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3];
    let file = table(8, 2, 4, &["1PL(3)"], &[&rows[..], b"\x01\0F?"].concat());
    let Read { rows, repaired, .. } = read(&file);
    let lists = rows.column(0).as_list::<i32>();
    let values: Vec<_> = lists.values().as_boolean().iter().collect();
    assert_eq!(values, [Some(true), None, Some(false), None]);
    assert_eq!(lists.value_offsets(), [0, 3, 4]);
    let (_, counts) = &repaired[0];
    assert_eq!((counts.logicals_of_1, counts.logicals_unknown), (1, 1));
    let error = strictly(&file).unwrap_err();
    assert!(
        error.starts_with("row 1, column \"col1\", byte 5776: 0x01"),
        "{error}"
    );
}

#[test]
fn text_that_is_not_ascii_is_utf8_or_else_latin1_each_for_itself() {
    let rows = [
        &b"plain "[..],
        "\u{c5}bo  ".as_bytes(),
        b"\xc5bo\0xx",
        b"\xe9\xe9\xe9\xe9\xe9\xe9",
        b"\0\xe9    ",
        b"last  ",
    ];
    let file = table(6, 6, 0, &["6A"], &rows.concat());
    let Read { rows, repaired, .. } = read(&file);
    assert_eq!(
        texts(rows.column(0)),
        [
            Some("plain"),
            Some("\u{c5}bo"),
            Some("\u{c5}bo"),
            Some("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"),
            None,
            Some("last")
        ]
    );
    let counts = Repaired {
        texts_utf8: 1,
        texts_latin1: 2,
        ..Repaired::default()
    };
    assert_eq!(repaired, [("col1".to_owned(), counts)]);
    assert_eq!(
        strictly(&file).unwrap_err(),
        "row 2, column \"col1\", byte 5766: 0xc3 is not ASCII"
    );
}

#[test]
fn arrays_of_texts_and_texts_in_the_heap_are_decoded_too() {
    let arrays = table(4, 2, 0, &["4A2"], b"\xe9 abc\xe9d ");
    let rows = read(&arrays).rows;
    let values = rows.column(0).as_fixed_size_list().values();
    assert_eq!(texts(values), ["\u{e9}", "ab", "c\u{e9}", "d"].map(Some));
    let descriptors = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2];
    let heap = table(
        8,
        2,
        4,
        &["1PA(2)"],
        &[&descriptors[..], b"\xe9a\xc3\xa9"].concat(),
    );
    let Read { rows, repaired, .. } = read(&heap);
    assert_eq!(texts(rows.column(0)), ["\u{e9}a", "\u{e9}"].map(Some));
    assert_eq!(
        (repaired[0].1.texts_utf8, repaired[0].1.texts_latin1),
        (1, 1)
    );
}

#[test]
fn only_a_strict_reader_promises_ascii_but_for_timestamps() {
    let time = table_with(2, 1, 0, &["2A"], &["TXTYP1  = 'timestamp'"], b"20");
    let charset = read(&time).rows.schema().field(0).clone();
    assert_eq!(meta::of_column(&charset, meta::CHARSET), Some("ascii"));
    with_file(&table(4, 1, 0, &["2A", "2A1"], b"abcd"), |path| {
        let charset = |table: &FitsFile| -> Vec<Option<String>> {
            let schema = table.schema();
            let fields = schema.fields().iter();
            fields
                .map(|field| meta::of_column(field, meta::CHARSET).map(str::to_owned))
                .collect()
        };
        let table = FitsFile::open(path).unwrap();
        assert_eq!(charset(&table), [None, None]);
        assert_eq!(
            charset(&table.strict()),
            [Some("ascii".into()), Some("ascii".into())]
        );
    });
}

#[test]
fn a_tnull_that_is_no_integer_of_its_type_says_nothing() {
    let floats = [1.5_f32.to_be_bytes(), (-999.0_f32).to_be_bytes()].concat();
    for null in ["-999", "-999.0", "'-999'", "'NaN'", "''", ""] {
        let file = table_with(4, 2, 0, &["E"], &[&format!("TNULL1  = {null}")], &floats);
        let Read { rows, ignored, .. } = read(&file);
        let column = rows.column(0).as_primitive::<Float32Type>();
        assert_eq!(
            (column.values().as_ref(), column.null_count()),
            (&[1.5, -999.0][..], 0)
        );
        // Blanks are no value at all.
        let expected: &[&str] = if null.is_empty() { &[] } else { &["TNULL1"] };
        assert_eq!(ignored, expected, "{null}");
    }
    for (null, nulls) in [
        ("-1", 1),
        ("+2", 1),
        ("-1.0", 0),
        ("'-1'", 0),
        ("40000", 0),
        ("-40000", 0),
        ("99999999999999999999", 0),
        ("T", 0),
    ] {
        let file = table_with(
            2,
            2,
            0,
            &["I"],
            &[&format!("TNULL1  = {null}")],
            &[0, 2, 255, 255],
        );
        let Read { rows, ignored, .. } = read(&file);
        let column = rows.column(0).as_primitive::<Int16Type>();
        assert_eq!(column.null_count(), nulls, "{null}");
        assert_eq!(column.values().as_ref(), [2, -1]);
        assert_eq!(ignored.len(), 1 - nulls, "{null}");
    }
    for (form, data) in [
        ("A", &b"x"[..]),
        ("L", b"T"),
        ("X", &[128]),
        ("C", &[0; 8]),
        ("M", &[0; 16]),
    ] {
        let file = table_with(data.len() as u64, 1, 0, &[form], &["TNULL1  = 0"], data);
        let Read { rows, ignored, .. } = read(&file);
        assert_eq!(rows.column(0).null_count(), 0, "{form}");
        assert_eq!(ignored, ["TNULL1"], "{form}");
    }
}

#[test]
fn tnull_is_null_in_arrays_and_in_the_heap() {
    let array = table_with(4, 1, 0, &["2I"], &["TNULL1  = 7"], &[0, 7, 0, 8]);
    let rows = read(&array).rows;
    let values = rows.column(0).as_fixed_size_list().values().clone();
    assert_eq!(
        values
            .as_primitive::<Int16Type>()
            .iter()
            .collect::<Vec<_>>(),
        [None, Some(8)]
    );
    let data = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8];
    let heap = table_with(8, 1, 8, &["1PJ(2)"], &["TNULL1  = 7"], &data);
    let rows = read(&heap).rows;
    let values = rows.column(0).as_list::<i32>().values().clone();
    assert_eq!(
        values
            .as_primitive::<Int32Type>()
            .iter()
            .collect::<Vec<_>>(),
        [None, Some(8)]
    );
}

/// STILTS reads them so; astropy (8.0) takes a TDIM of fewer elements, and moves them to other rows.
#[test]
fn a_tdim_of_another_number_of_elements_says_nothing() {
    let numbers: Vec<u8> = (0..12).collect();
    for axes in [
        "(5,3)", "(5,2)", "(2,2)", "(3)", "(0,0)", "3,2", "(3,2", "(-3,-2)", "(3,x)",
    ] {
        let card = format!("TDIM1   = '{axes}'");
        let Read { rows, ignored, .. } = read(&table_with(6, 2, 0, &["6B"], &[&card], &numbers));
        let field = rows.schema_ref().field(0).clone();
        assert_eq!(meta::of_column(&field, meta::SHAPE), None, "{axes}");
        assert_eq!(rows.column(0).as_fixed_size_list().value_length(), 6);
        assert_eq!(ignored, ["TDIM1"], "{axes}");
        let letters = b"abcdefABCDEF";
        let Read { rows, ignored, .. } = read(&table_with(6, 2, 0, &["6A"], &[&card], letters));
        assert_eq!(
            texts(rows.column(0)),
            ["abcdef", "ABCDEF"].map(Some),
            "{axes}"
        );
        assert_eq!(ignored, ["TDIM1"], "{axes}");
    }
    let card = "TDIM1   = ' ( 3, 1 , 2 ) '";
    let Read { rows, ignored, .. } = read(&table_with(6, 2, 0, &["6B"], &[card], &numbers));
    let field = rows.schema_ref().field(0).clone();
    assert_eq!(meta::of_column(&field, meta::SHAPE), Some("(3,1,2)"));
    assert!(ignored.is_empty(), "{ignored:?}");
}

/// As astropy and STILTS: no byte is left out.
#[test]
fn texts_that_do_not_fill_their_cell_are_one_text() {
    for form in ["6A4", "6A0", "6A7", "6A2/3", "6A:SSTR3/032"] {
        let rows = read(&table(6, 1, 0, &[form], b"abcdef")).rows;
        assert_eq!(rows.column(0).data_type(), &DataType::Utf8, "{form}");
        assert_eq!(texts(rows.column(0)), [Some("abcdef")], "{form}");
    }
    for form in ["6A2", "6A:SSTR2"] {
        let rows = read(&table(6, 1, 0, &[form], b"abcdef")).rows;
        let values = rows.column(0).as_fixed_size_list().values().clone();
        assert_eq!(texts(&values), ["ab", "cd", "ef"].map(Some), "{form}");
    }
}
