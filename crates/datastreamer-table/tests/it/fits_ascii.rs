//! ASCII tables, byte by byte: what their fields mean, and what is wrong with them.

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Float64Type, Int16Type, Int64Type},
    record_batch::RecordBatch,
};
use datastreamer_table::fits::{FitsFile, TableChoice};

use crate::fits_files::{fits, with_file};

/// A table of columns, each with its place and form, and of rows of equal length.
fn ascii(columns: &[(usize, &str)], cards: &[&str], rows: &[&str]) -> Vec<u8> {
    let mut all = vec![
        "XTENSION= 'TABLE   '".to_owned(),
        "BITPIX  = 8".to_owned(),
        "NAXIS   = 2".to_owned(),
        format!("NAXIS1  = {}", rows[0].len()),
        format!("NAXIS2  = {}", rows.len()),
        "PCOUNT  = 0".to_owned(),
        "GCOUNT  = 1".to_owned(),
        format!("TFIELDS = {}", columns.len()),
    ];
    for (place, (at, form)) in columns.iter().enumerate() {
        let number = place + 1;
        all.push(format!("TBCOL{number:<3}= {at}"));
        all.push(format!("TFORM{number:<3}= '{form}'"));
    }
    let all = all.iter().map(String::as_str).chain(cards.iter().copied());
    fits(&all.collect::<Vec<_>>(), rows.concat().as_bytes())
}

fn read(file: &[u8]) -> Result<RecordBatch, String> {
    with_file(file, |path| {
        let table = FitsFile::open(path).map_err(|error| error.to_string())?;
        let rows = table.read(0..table.rows(), None);
        rows.map_err(|error| error.to_string())
    })
}

fn reals(rows: &RecordBatch, column: usize) -> Vec<Option<f64>> {
    let column = rows.column(column).as_primitive::<Float64Type>();
    column.iter().collect()
}

#[test]
fn fields_stand_anywhere_in_the_row_and_may_overlap() {
    let columns = [(6, "I4"), (1, "I4"), (1, "A9"), (9, "A")];
    let rows = read(&ascii(&columns, &[], &["  12   34", "  56   78"])).unwrap();
    let shorts = |column: usize| {
        rows.column(column)
            .as_primitive::<Int16Type>()
            .values()
            .to_vec()
    };
    assert_eq!((shorts(0), shorts(1)), (vec![34, 78], vec![12, 56]));
    let texts = |column: usize| {
        rows.column(column)
            .as_string::<i32>()
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(2), [Some("  12   34"), Some("  56   78")]);
    assert_eq!(texts(3), [Some("4"), Some("8")]);
}

/// The standard says 0 of both; astropy and STILTS have nothing for a blank real number.
#[test]
fn a_blank_integer_is_0_and_a_blank_real_number_or_what_tnull_says_is_null() {
    let columns = [(1, "I4"), (5, "F6.2"), (11, "A3")];
    let lines = ["  12  1.25abc", "             ", " -99-99.99-- "];
    let rows = read(&ascii(&columns, &[], &lines)).unwrap();
    let shorts = |rows: &RecordBatch| -> Vec<_> {
        rows.column(0).as_primitive::<Int16Type>().iter().collect()
    };
    let texts = |rows: &RecordBatch| -> Vec<_> {
        let texts = rows.column(2).as_string::<i32>().iter();
        texts.map(|text| text.map(str::to_owned)).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(shorts(&rows), [Some(12), Some(0), Some(-99)]);
    assert_eq!(reals(&rows, 1), [Some(1.25), None, Some(-99.99)]);
    assert_eq!(texts(&rows), [text("abc"), text(""), text("--")]);
    assert!(!rows.schema().field(0).is_nullable());

    let blank = ["TNULL1  = ''", "TNULL2  = '    '", "TNULL3  = ''"];
    let rows = read(&ascii(&columns, &blank, &lines)).unwrap();
    assert_eq!(shorts(&rows), [Some(12), None, Some(-99)]);
    assert_eq!(reals(&rows, 1), [Some(1.25), None, Some(-99.99)]);
    assert_eq!(texts(&rows), [text("abc"), None, text("--")]);

    let named = ["TNULL1  = '-99 '", "TNULL2  = ' -99.99'", "TNULL3  = '--'"];
    let rows = read(&ascii(&columns, &named, &lines)).unwrap();
    assert_eq!(shorts(&rows), [Some(12), Some(0), None]);
    assert_eq!(reals(&rows, 1), [Some(1.25), None, None]);
    assert_eq!(texts(&rows), [text("abc"), text(""), None]);
}

#[test]
fn a_null_need_be_no_number() {
    let columns = [(1, "E9.3"), (10, "I3")];
    let cards = ["TNULL1  = '*'", "TNULL2  = 'N/A'"];
    let rows = read(&ascii(&columns, &cards, &[" 1.25E+01 17", "        *N/A"])).unwrap();
    assert_eq!(reals(&rows, 0), [Some(12.5), None]);
    assert!(rows.column(1).is_null(1));
}

#[test]
fn numbers_are_scaled() {
    let columns = [(1, "I4"), (1, "I4"), (5, "F6.2")];
    let cards = [
        "TSCAL1  = 0.5",
        "TZERO2  = 32768",
        "TSCAL3  = 2.0D0",
        "TNULL2  = '-1'",
    ];
    let rows = read(&ascii(&columns, &cards, &["  12  1.25", "  -1      "])).unwrap();
    assert_eq!(reals(&rows, 0), [Some(6.0), Some(-0.5)]);
    // No type has another sign here.
    assert_eq!(reals(&rows, 1), [Some(32_780.0), None]);
    assert_eq!(reals(&rows, 2), [Some(2.5), None]);
}

#[test]
fn integers_keep_every_digit_or_are_refused_with_row_and_column() {
    let lines = [" 9223372036854775807", "-9223372036854775808"];
    let rows = read(&ascii(&[(1, "I20")], &[], &lines)).unwrap();
    let column = rows.column(0).as_primitive::<Int64Type>();
    assert_eq!(column.values().as_ref(), [i64::MAX, i64::MIN]);
    let lines = [lines[0], " 9223372036854775808"];
    assert_eq!(
        read(&ascii(&[(1, "I20")], &["TTYPE1  = 'id'"], &lines)).unwrap_err(),
        "row 2, column \"id\", byte 5780: \"9223372036854775808\" does not fit 64 bits"
    );
    assert_eq!(
        read(&ascii(&[(2, "F4.1")], &[], &[" 12.5", " 1,25"])).unwrap_err(),
        "row 2, column \"col1\", byte 5766: \"1,25\" is no number"
    );
}

#[test]
fn a_column_that_is_not_in_the_row_or_has_no_form_is_refused_by_name() {
    let refused = |at, form| read(&ascii(&[(at, form)], &[], &["12345"])).unwrap_err();
    for (at, form) in [
        (0, "I4"),
        (3, "I4"),
        (1, "A6"),
        (usize::MAX, "I4"),
        (1, "I99999999999999999"),
    ] {
        let error = refused(at, form);
        assert!(error.starts_with("column \"col1\": TBCOL1 is"), "{error}");
    }
    assert_eq!(refused(1, "J4"), "column \"col1\": TFORM1 is \"J4\"");
    assert!(read(&ascii(&[(2, "I4")], &[], &["12345"])).is_ok());
}

#[test]
fn a_truncated_table_is_refused_before_its_first_row() {
    let file = ascii(&[(1, "I4")], &[], &["   1", "   2"]);
    assert_eq!(
        read(&file[..2 * 2880 + 7]).unwrap_err(),
        "the file is truncated: 1 bytes are missing of the data that begins at byte 5760"
    );
}

#[test]
fn the_first_table_is_read_whatever_its_kind() {
    let mut file = ascii(&[(1, "I4")], &["EXTNAME = 'TEXT'"], &["   1"]);
    let binary = crate::fits_files::table_with(1, 1, 0, &["B"], &["EXTNAME = 'BYTES'"], &[7]);
    file.extend_from_slice(&binary[2880..]);
    let types = |choice| {
        with_file(&file, |path| {
            let table = FitsFile::open_table(path, choice).unwrap();
            table.schema().field(0).data_type().clone()
        })
    };
    assert_eq!(types(TableChoice::First), DataType::Int16);
    assert_eq!(types(TableChoice::Name("bytes")), DataType::UInt8);
    assert_eq!(types(TableChoice::Name("text")), DataType::Int16);
    assert_eq!(types(TableChoice::Number(2)), DataType::UInt8);
}
