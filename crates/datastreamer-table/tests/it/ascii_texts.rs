//! Texts whose characters beyond printable ASCII are replaced, in all types that FITS has texts for.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, FixedSizeListBuilder, Int32Array,
        LargeStringArray, ListBuilder, RecordBatchReader, StringArray, StringBuilder,
        StringViewArray,
    },
    datatypes::{DataType, Int32Type},
    record_batch::{RecordBatch, RecordBatchIterator},
    util::display::array_value_to_string,
};
use datastreamer_table::{
    Format, TableEnd, WriterOptions,
    ascii::{AsciiTexts, Counted},
};

const TEXTS: [Option<&str>; 5] = [
    Some("Véga"),
    None,
    Some("a\tb\u{7f}"),
    Some("~ !"),
    Some("日"),
];
const PRINTABLE: [Option<&str>; 5] = [Some("V?ga"), None, Some("a?b?"), Some("~ !"), Some("?")];

fn columns(texts: &[Option<&str>; 5]) -> RecordBatch {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut pairs = FixedSizeListBuilder::new(StringBuilder::new(), 2);
    for (place, text) in texts.iter().enumerate() {
        lists.values().append_option(*text);
        lists.append(place != 1);
        pairs.values().append_option(*text);
        pairs.values().append_value("x");
        pairs.append(true);
    }
    let dictionary: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("large", Arc::new(LargeStringArray::from(texts.to_vec()))),
        ("view", Arc::new(StringViewArray::from(texts.to_vec()))),
        ("dictionary", Arc::new(dictionary)),
        ("list", Arc::new(lists.finish())),
        ("pair", Arc::new(pairs.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn replaced(batch: &RecordBatch) -> RecordBatch {
    let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
    let mut rows = AsciiTexts::new(rows, Counted::Not);
    let schema = rows.schema();
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(batch.schema(), schema);
    assert!(rows.next().is_none());
    batch
}

fn shown(batch: &RecordBatch) -> Vec<Vec<String>> {
    let rows = 0..batch.num_rows();
    rows.map(|row| {
        let cells = batch.columns().iter();
        cells
            .map(|column| array_value_to_string(column, row).unwrap())
            .collect()
    })
    .collect()
}

#[test]
fn each_character_that_is_not_printable_ascii_is_a_question_mark_in_texts_of_every_type() {
    let all = columns(&TEXTS);
    let wanted = shown(&columns(&PRINTABLE));
    assert_eq!(shown(&replaced(&all)), wanted);
    // A part of a batch has its own rows, and nothing of the others.
    assert_eq!(shown(&replaced(&all.slice(2, 2))), wanted[2..4]);
    assert_eq!(shown(&replaced(&all.slice(5, 0))), [[""; 0]; 0]);
    let numbers = replaced(&all).column(0).clone();
    assert_eq!(numbers.as_ref(), all.column(0).as_ref());
    let texts = replaced(&all).column(4).clone();
    assert_eq!(*texts.data_type(), DataType::Utf8);
    assert!(texts.as_string::<i32>().is_null(1));
}

#[test]
fn fits_takes_them_and_says_that_they_were_replaced() {
    let options = WriterOptions::default();
    let write = |batch: &RecordBatch| {
        let mut file = Vec::new();
        let mut writer = Format::Fits
            .writer(&mut file, batch.schema(), &options)
            .unwrap();
        writer.write(batch)?;
        writer.finish(TableEnd::Complete)?;
        Ok::<_, datastreamer_table::TableError>(file)
    };
    let all = columns(&TEXTS);
    assert!(
        write(&all)
            .unwrap_err()
            .to_string()
            .contains("printable ASCII")
    );
    let file = write(&replaced(&all)).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("COMMENT Characters of texts that are not printable ASCII are replaced"));
}
