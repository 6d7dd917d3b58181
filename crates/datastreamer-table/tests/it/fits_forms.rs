//! Every TFORM, in rows and in the heap, with its scale and its null: the values are those of STILTS, and
//! of astropy where it reads them.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, UInt64Type},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    fits::{FitsFile, TTYPE},
    meta,
};

use crate::fits_files::{table, table_with, with_file};

fn read(file: &[u8]) -> Result<RecordBatch, String> {
    with_file(file, |path| {
        let table = FitsFile::open(path).map_err(|error| error.to_string())?;
        let rows = table.read(0..table.rows(), None);
        rows.map_err(|error| error.to_string())
    })
}

/// All values of a file, row by row, as JSON.
fn json(file: &[u8]) -> String {
    let batch = read(file).unwrap();
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(out).unwrap().replace("\"col", "\"")
}

#[test]
fn cells_of_no_width_are_empty() {
    let forms = ["0J", "B", "0A", "0L", "0X", "J", "0C", "0PJ", "0QA"];
    let rows = read(&table(5, 2, 0, &forms, &[1, 0, 0, 0, 2, 3, 0, 0, 0, 4])).unwrap();
    for column in [0, 3, 4, 6] {
        let lists = rows.column(column).as_fixed_size_list();
        assert_eq!((lists.len(), lists.value_length()), (2, 0), "{column}");
    }
    assert_eq!(rows.column(2).as_string::<i32>().value(1), "");
    assert_eq!(rows.column(7).as_list::<i32>().value(1).len(), 0);
    assert_eq!(rows.column(8).as_string::<i32>().value(1), "");
    let numbers = rows.column(5).as_primitive::<arrow::datatypes::Int32Type>();
    assert_eq!(numbers.values().as_ref(), [2, 4]);
}

#[test]
fn forms_may_be_in_small_letters() {
    let heap = b"\0\0\0\x07\0\0\0\x08";
    let row = b"\0\x01\0\0\0\x02ab \x3f\xc0\0\0T\0\0\0\x02\0\0\0\0";
    let data = [row.as_slice(), heap].concat();
    let of = |forms: &[&str]| json(&table(22, 1, 8, forms, &data));
    let small = of(&["1i", "j", "3a", "1e", "l", "1pj(2)"]);
    assert_eq!(small, of(&["1I", "J", "3A", "1E", "L", "1PJ(2)"]));
    assert!(
        small.contains("\"ab\"") && small.contains("[7,8]"),
        "{small}"
    );
}

#[test]
fn bits_are_counted_from_the_highest_in_rows_and_in_the_heap() {
    let found = json(&table(2, 1, 0, &["13X"], &[0xab, 0xcd]));
    let bits = "[true,false,true,false,true,false,true,true,true,true,false,false,true]";
    assert_eq!(found, format!("{{\"1\":{bits}}}\n"));
    let data = [
        &[0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2][..],
        &[0xab, 0xc0, 0xa0],
    ];
    let found = json(&table(8, 2, 3, &["1PX(12)"], &data.concat()));
    let bits = "[true,false,true,false,true,false,true,true,true,true,false,false]";
    assert_eq!(
        found,
        format!("{{\"1\":{bits}}}\n{{\"1\":[true,false,true]}}\n")
    );
}

#[test]
fn complex_numbers_are_pairs_in_rows_and_in_the_heap_and_have_no_scale() {
    let pair = [1.0_f32.to_be_bytes(), 2.0_f32.to_be_bytes()].concat();
    let wide = [3.0_f64.to_be_bytes(), 4.0_f64.to_be_bytes()].concat();
    let both = [&pair[..], &wide].concat();
    assert_eq!(
        json(&table(24, 1, 0, &["C", "M"], &both)),
        "{\"1\":[1.0,2.0],\"2\":[3.0,4.0]}\n"
    );
    let descriptors = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    let heap = table(
        16,
        1,
        24,
        &["1PC", "1PM"],
        &[&descriptors[..], &both].concat(),
    );
    assert_eq!(json(&heap), "{\"1\":[[1.0,2.0]],\"2\":[[3.0,4.0]]}\n");
    // astropy adds TZERO to the real part, STILTS to both.
    let scaled = table_with(8, 1, 0, &["C"], &["TZERO1  = 10.0"], &pair);
    let error = read(&scaled).unwrap_err();
    assert_eq!(
        error,
        "column \"col1\": complex numbers with TSCAL or TZERO"
    );
}

#[test]
fn numbers_in_the_heap_are_scaled_and_have_the_other_sign_as_those_in_rows() {
    let one = [0, 0, 0, 2, 0, 0, 0, 0];
    let bytes = [&one[..], &[5, 6]].concat();
    let scaled = table_with(8, 1, 2, &["1PB(2)"], &["TSCAL1  = 0.5"], &bytes);
    assert_eq!(json(&scaled), "{\"1\":[2.5,3.0]}\n");
    let shorts = [&one[..], &[0x80, 0, 0, 5]].concat();
    let cards = ["TZERO1  = 32768", "TNULL1  = 5"];
    let unsigned = table_with(8, 1, 4, &["1PI(2)"], &cards, &shorts);
    assert_eq!(json(&unsigned), "{\"1\":[0,null]}\n");
}

#[test]
fn tnull_is_the_stored_value_whatever_is_added() {
    let cards = [
        "TZERO1  = -128",
        "TNULL1  = 0",
        "TZERO2  = 32768",
        "TNULL2  = -32768",
    ];
    let data = [0, 0x80, 0, 5, 0, 7];
    let found = json(&table_with(3, 2, 0, &["B", "I"], &cards, &data));
    // A null is left out.
    assert_eq!(found, "{}\n{\"1\":-123,\"2\":32775}\n");
}

/// Floats would lose digits.
#[test]
fn a_whole_offset_keeps_every_digit_of_integers_of_64_bits() {
    let data = [
        4_611_686_018_427_387_905_i64.to_be_bytes(),
        5_i64.to_be_bytes(),
    ]
    .concat();
    for (zero, values) in [
        ("10", [4_611_686_018_427_387_915, 15]),
        ("10.0", [4_611_686_018_427_387_915, 15]),
        ("-1.0D1", [4_611_686_018_427_387_895, -5]),
        ("4611686018427387902", [i64::MAX, 4_611_686_018_427_387_907]),
    ] {
        let rows = read(&table_with(
            8,
            2,
            0,
            &["K"],
            &[&format!("TZERO1  = {zero}")],
            &data,
        ));
        let rows = rows.unwrap();
        let column = rows.column(0).as_primitive::<Int64Type>();
        assert_eq!(column.values().as_ref(), values, "{zero}");
    }
    let card = "TZERO1  = 4611686018427387903";
    assert_eq!(
        read(&table_with(8, 2, 0, &["K"], &[card], &data)).unwrap_err(),
        "row 1, column \"col1\", byte 5760: 4611686018427387905 with TZERO (4611686018427387903) \
         does not fit 64 bits"
    );
    // The stored null need not fit.
    let null = "TNULL1  = 4611686018427387905";
    let rows = read(&table_with(8, 2, 0, &["K"], &[card, null], &data)).unwrap();
    let column = rows.column(0).as_primitive::<Int64Type>();
    assert_eq!(
        column.iter().collect::<Vec<_>>(),
        [None, Some(4_611_686_018_427_387_908)]
    );
    // With a fraction, or a scale, there are floats.
    for card in ["TZERO1  = 0.5", "TSCAL1  = 2"] {
        let rows = read(&table_with(8, 2, 0, &["K"], &[card], &data)).unwrap();
        assert_eq!(rows.column(0).data_type(), &DataType::Float64, "{card}");
    }
}

#[test]
fn the_zero_of_the_other_sign_may_be_written_with_a_point() {
    let data = [i64::MIN.to_be_bytes(), 5_i64.to_be_bytes()].concat();
    for zero in [
        "9223372036854775808",
        "9223372036854775808.",
        "9.223372036854775808E+18",
    ] {
        let rows = read(&table_with(
            8,
            2,
            0,
            &["K"],
            &[&format!("TZERO1  = {zero}")],
            &data,
        ));
        let rows = rows.unwrap();
        let column = rows.column(0).as_primitive::<UInt64Type>();
        assert_eq!(column.values().as_ref(), [0, (1 << 63) + 5], "{zero}");
    }
}

#[test]
fn what_is_scaled_is_of_64_bits_and_null_stays_null() {
    let shorts = [0, 2, 0, 9];
    let cards = ["TSCAL1  = 0.1", "TZERO1  = 1", "TNULL1  = 9"];
    let rows = read(&table_with(2, 2, 0, &["I"], &cards, &shorts)).unwrap();
    let column = rows.column(0).as_primitive::<Float64Type>();
    assert_eq!(
        column.iter().collect::<Vec<_>>(),
        [Some(2.0 * 0.1 + 1.0), None]
    );
    let floats = [1.5_f32.to_be_bytes(), f32::NAN.to_be_bytes()].concat();
    let rows = read(&table_with(4, 2, 0, &["E"], &["TSCAL1  = 2.0"], &floats)).unwrap();
    let column = rows.column(0).as_primitive::<Float64Type>();
    assert!(column.value(0) == 3.0 && column.value(1).is_nan());
    // Nothing is scaled by 1 and 0.
    let cards = ["TSCAL1  = 1.0", "TZERO1  = 0.0"];
    let rows = read(&table_with(4, 2, 0, &["E"], &cards, &floats)).unwrap();
    assert_eq!(rows.column(0).as_primitive::<Float32Type>().value(0), 1.5);
}

#[test]
fn the_heap_begins_where_theap_says() {
    let descriptors = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4];
    let data = [&descriptors[..], b"GAP!", &[0, 1, 0, 2, 0, 3]].concat();
    let with = |theap: &str| table_with(8, 2, 10, &["1PI(2)"], &[theap], &data);
    assert_eq!(json(&with("THEAP   = 20")), "{\"1\":[1,2]}\n{\"1\":[3]}\n");
    for wrong in ["THEAP   = 8", "THEAP   = 27"] {
        let error = read(&with(wrong)).unwrap_err();
        assert!(
            error.contains("not behind the rows, in the data"),
            "{error}"
        );
    }
    let error = read(&with("THEAP   = 22")).unwrap_err();
    assert!(
        error.ends_with("1 elements at 4 are not within the heap of 4 bytes"),
        "{error}"
    );
}

#[test]
fn counts_that_are_negative_and_rows_of_another_width_are_refused() {
    let bytes = [0; 8];
    let wrong = |from: &str, to: &str| {
        let file = String::from_utf8(table(4, 2, 0, &["J"], &bytes)).unwrap();
        read(file.replace(from, to).as_bytes()).unwrap_err()
    };
    assert!(wrong("NAXIS2  = 2 ", "NAXIS2  = -2").ends_with("NAXIS2 is \"-2\""));
    assert!(wrong("PCOUNT  = 0 ", "PCOUNT  = -4").ends_with("PCOUNT is \"-4\""));
    assert!(wrong("'J'  ", "'-1J'").ends_with("TFORM1 is \"-1J\""));
    for width in ["3", "5"] {
        let error = wrong("NAXIS1  = 4", &format!("NAXIS1  = {width}"));
        let expected = format!("rows are of {width} bytes (NAXIS1), the columns take 4");
        assert!(error.ends_with(&expected), "{error}");
    }
    // More rows than there are are an error before the first of them.
    let error = wrong("NAXIS2  = 2   ", "NAXIS2  = 2000");
    assert!(error.starts_with("the file is truncated: "), "{error}");
}

#[test]
fn names_are_taken_as_they_are_and_found_for_those_without() {
    let cards = [
        "TTYPE1  = 'flux '",
        "TTYPE2  = 'Flux'",
        "TTYPE3  = 'flux'",
        "TTYPE5  = '   '",
        "HIERARCH ESO TTYPE4 = 'none'",
        "TCOMM1  = 'it goes &'",
        "CONTINUE  'on &'",
        "CONTINUE  'and on'",
    ];
    let file = table_with(5, 1, 0, &["B"; 5], &cards, &[1, 2, 3, 4, 5]);
    let rows = read(&file).unwrap();
    let schema = rows.schema();
    let fields: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["flux", "Flux", "flux_2", "col4", "col5"]);
    assert_eq!(meta::of_column(fields[2], TTYPE), Some("flux"));
    assert_eq!(
        meta::of_column(fields[0], meta::DESCRIPTION),
        Some("it goes on and on")
    );
    let values: Vec<ArrayRef> = rows.columns().to_vec();
    let bytes = values.iter().map(|column| {
        let bytes = column.as_primitive::<arrow::datatypes::UInt8Type>();
        bytes.value(0)
    });
    assert_eq!(bytes.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn what_follows_the_table_means_nothing() {
    let mut file = table(1, 1, 0, &["B"], &[7]);
    file.extend_from_slice(&b"junk".repeat(1000));
    assert_eq!(json(&file), "{\"1\":7}\n");
}

#[test]
fn a_compressed_file_says_how_to_uncompress_it() {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for bytes in [10, 5000] {
        file.resize(bytes, 1);
        let error = read(&file).unwrap_err();
        assert_eq!(
            error,
            "the file is compressed by gzip: uncompress it with gunzip"
        );
    }
}

#[test]
fn a_row_whose_columns_share_the_heap_takes_no_more_than_there_is() {
    // 999 columns that refer to 8 MiB each, in a file of 8 MiB.
    let heap_bytes = 8 << 20;
    let descriptor = [(heap_bytes as i32).to_be_bytes(), 0_i32.to_be_bytes()].concat();
    let mut data = descriptor.repeat(999);
    data.resize(data.len() + heap_bytes, 1);
    let file = table(999 * 8, 1, heap_bytes as u64, &["PB"; 999], &data);
    assert_eq!(
        read(&file).unwrap_err(),
        "row 1, column \"col1\", byte 83520: with the other columns the row has more in the heap \
         than there is"
    );
    // Few of them are read.
    let columns = [0, 500, 998];
    let read = with_file(&file, |path| {
        FitsFile::open(path)
            .unwrap()
            .read(0..1, Some(&columns))
            .unwrap()
    });
    assert_eq!(read.column(2).as_list::<i32>().value(0).len(), heap_bytes);
}
