//! What every format keeps, as astropy and Python's csv read it.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, FixedSizeListArray, Int32Array, ListArray},
    datatypes::{Field, Schema, UInt64Type},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    TableEnd, TableError, TableWriter,
    fits::FitsSpool,
    meta,
    votable::{Serialization, VotableOptions, VotableWriter},
};

use crate::tables::{
    ALL, Format, all_read_back, arrays_of_one, lists, numbers, printable_texts, table,
    unicode_texts,
};

/// The formats that hold lists.
const WITH_LISTS: [Format; 4] = [
    Format::Votable(Serialization::Tabledata),
    Format::Votable(Serialization::Binary),
    Format::Votable(Serialization::Binary2),
    Format::Fits,
];

#[test]
fn numbers_and_times_read_back_in_every_format() {
    all_read_back(ALL, &[&[numbers()]]);
}

#[test]
fn texts_with_markup_and_quotes_read_back_in_every_format() {
    all_read_back(ALL, &[&[printable_texts()]]);
}

#[test]
fn texts_of_any_script_read_back_where_there_is_a_type_for_them() {
    let formats = ALL.into_iter().filter(|format| *format != Format::Fits);
    all_read_back(formats, &[&[unicode_texts()]]);
}

#[test]
fn lists_and_bytes_read_back_in_votable_and_fits() {
    all_read_back(WITH_LISTS, &[&[lists()]]);
}

#[test]
fn arrays_of_one_element_read_back_and_are_single_values_in_votable() {
    let batch = arrays_of_one();
    all_read_back(WITH_LISTS, &[&[batch.clone(), batch.slice(1, 2)]]);
    for format in ALL {
        if let Format::Votable(_) = format {
            let document = format.encode(std::slice::from_ref(&batch));
            let document = String::from_utf8(document).unwrap();
            assert!(!document.contains("arraysize"), "{document}");
        }
    }
    let tabledata = Format::Votable(Serialization::Tabledata).encode(&[batch]);
    let tabledata = String::from_utf8(tabledata).unwrap();
    let rows = "<TR><TD>0</TD><TD>1</TD><TD>0.5</TD></TR>\n\
                <TR><TD/><TD/><TD/></TR>\n\
                <TR><TD>254</TD><TD/><TD/></TR>\n";
    assert!(tabledata.contains(rows), "{tabledata}");
}

#[test]
fn lists_of_the_largest_integers_are_long_in_votable_and_what_is_larger_fails_with_its_row() {
    let most = i64::MAX as u64;
    let column = |last| -> RecordBatch {
        let lists = [
            Some(vec![Some(0), Some(most)]),
            None,
            Some(vec![Some(last)]),
        ];
        let pairs = [
            Some([Some(0), Some(most)]),
            None,
            Some([Some(1), Some(last)]),
        ];
        let lists = ListArray::from_iter_primitive::<UInt64Type, _, _>(lists);
        let pairs = FixedSizeListArray::from_iter_primitive::<UInt64Type, _, _>(pairs, 2);
        let null = HashMap::from([(meta::NULL.to_owned(), "-1".to_owned())]);
        let pair = Field::new("pair", pairs.data_type().clone(), true).with_metadata(null);
        let list = Field::new("list", lists.data_type().clone(), true);
        let columns: Vec<ArrayRef> = vec![Arc::new(pairs), Arc::new(lists)];
        RecordBatch::try_new(Arc::new(Schema::new(vec![pair, list])), columns).unwrap()
    };
    let serializations = [
        Serialization::Tabledata,
        Serialization::Binary,
        Serialization::Binary2,
    ];
    all_read_back(serializations.map(Format::Votable), &[&[column(7)]]);
    for serialization in serializations {
        for place in [0, 1] {
            let beyond = column(most + 1).project(&[place]).unwrap();
            let options = VotableOptions {
                serialization,
                ..VotableOptions::default()
            };
            let mut writer = VotableWriter::new(Vec::new(), beyond.schema(), options).unwrap();
            let error = writer.write(&beyond).unwrap_err().to_string();
            let name = ["pair", "list"][place];
            assert_eq!(
                error,
                format!("row 3, column {name:?}: the list's element is too large for long")
            );
        }
    }
}

#[test]
fn tables_without_rows_with_one_and_with_many_batches_read_back() {
    let whole = numbers();
    let parts: Vec<RecordBatch> = (0..400).map(|part| whole.slice(part % 3, 2)).collect();
    all_read_back(ALL, &[&[whole.slice(0, 0)], &[whole.slice(2, 1)], &parts]);
}

#[test]
fn a_table_of_999_columns_reads_back_and_fits_refuses_one_more() {
    let wide = |columns: usize| {
        let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
        let array = Arc::new(Int32Array::from(vec![Some(1), None]));
        let columns = names
            .iter()
            .map(|name| (name.as_str(), Arc::clone(&array) as _));
        table(columns.collect())
    };
    all_read_back(ALL, &[&[wide(999)]]);
    let refused = FitsSpool::new(wide(1000).schema(), &std::env::temp_dir(), 1 << 20);
    let text = refused.err().unwrap().to_string();
    assert_eq!(
        text,
        "column \"c999\": FITS holds 999 columns at most, the table has 1000"
    );
}

#[test]
fn what_fits_cannot_hold_is_refused_with_its_row_and_column() {
    let batch = unicode_texts();
    let mut spool = FitsSpool::new(batch.schema(), &std::env::temp_dir(), 1 << 20).unwrap();
    let error = spool.write(&batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 1, column \"text\": FITS holds printable ASCII only"
    );
}

#[test]
fn a_spool_that_is_full_is_an_error_of_its_own() {
    let batch = numbers();
    let mut spool = FitsSpool::new(batch.schema(), &std::env::temp_dir(), 4096).unwrap();
    let error = (0..100).find_map(|_| spool.write(&batch).err()).unwrap();
    assert!(matches!(error, TableError::Output(_)), "{error}");
    assert!(
        error.to_string().contains("larger than its temporary file"),
        "{error}"
    );
}

#[test]
fn a_value_that_stands_for_null_fails_binary_with_its_row_and_column() {
    let batch = table(vec![(
        "n",
        Arc::new(Int32Array::from(vec![Some(1), Some(i32::MIN)])),
    )]);
    let options = VotableOptions {
        serialization: Serialization::Binary,
        ..VotableOptions::default()
    };
    let mut file = Vec::new();
    let mut writer = VotableWriter::new(&mut file, batch.schema(), options).unwrap();
    let error = writer.write(&batch).unwrap_err().to_string();
    assert!(
        error.starts_with("row 2, column \"n\": the value is the one that stands for null"),
        "{error}"
    );
}

#[test]
fn an_overflow_and_a_failure_stand_behind_the_votables_rows() {
    let document = |end: &dyn Fn(Box<dyn TableWriter + '_>)| {
        let mut file = Vec::new();
        let batch = numbers();
        let mut writer =
            VotableWriter::new(&mut file, batch.schema(), VotableOptions::default()).unwrap();
        writer.write(&batch).unwrap();
        end(Box::new(writer));
        String::from_utf8(file).unwrap()
    };
    let overflow = document(&|writer| writer.finish(TableEnd::Overflow).unwrap());
    assert!(overflow.ends_with(
        "</TABLE>\n<INFO name=\"QUERY_STATUS\" value=\"OVERFLOW\"/>\n</RESOURCE>\n</VOTABLE>\n"
    ));
    let failed = document(&|writer| writer.abort("disk <1> & \"2\" gone").unwrap());
    assert!(failed.ends_with(
        "</TABLE>\n<INFO name=\"QUERY_STATUS\" value=\"ERROR\">disk &lt;1&gt; &amp; &quot;2&quot; gone</INFO>\n\
         </RESOURCE>\n</VOTABLE>\n"
    ));
}

#[test]
fn what_xml_has_no_character_for_is_replaced_and_counted() {
    use arrow::array::StringArray;
    let texts = StringArray::from(vec!["a\u{0}b\u{1f}", "\u{ffff}\u{fffd}"]);
    let batch = table(vec![("text", Arc::new(texts))]);
    let file = Format::Votable(Serialization::Tabledata).encode(std::slice::from_ref(&batch));
    let text = String::from_utf8(file).unwrap();
    assert!(text.contains("<TD>a\u{fffd}b\u{fffd}</TD>"), "{text}");
    assert!(text.contains("<TD>\u{fffd}\u{fffd}</TD>"), "{text}");
    assert!(
        text.contains("value=\"3 characters that XML cannot hold were replaced"),
        "{text}"
    );
}
