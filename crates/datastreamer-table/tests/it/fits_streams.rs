//! What a FITS table that is streamed with its shape keeps.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, FixedSizeBinaryArray, Float64Array, Int8Array, Int32Array, StringArray,
        UInt64Array,
    },
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    ColumnStatistics, TableEnd, TableError, TableWriter,
    fits::{FitsShape, FitsSpool, FitsSurvey, FitsWriter},
    meta,
};

use crate::tables::{Format, lists, numbers, printable_texts, reads_back, table};

fn survey(batches: &[RecordBatch]) -> FitsShape {
    let mut survey = FitsSurvey::new(batches[0].schema()).unwrap();
    for batch in batches {
        survey.look_at(batch).unwrap();
    }
    survey.finish().unwrap()
}

fn stream(shape: FitsShape, batches: &[RecordBatch]) -> Result<Vec<u8>, TableError> {
    let (mut file, bytes) = (Vec::new(), shape.bytes());
    let mut writer = Box::new(FitsWriter::new(&mut file, batches[0].schema(), shape)?);
    assert_eq!(writer.bytes(), bytes);
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish(TableEnd::Complete)?;
    assert_eq!(file.len() as u64, bytes, "the length that was told");
    Ok(file)
}

fn spool(batches: &[RecordBatch]) -> FitsSpool {
    let mut spool = FitsSpool::new(batches[0].schema(), &std::env::temp_dir(), 1 << 20).unwrap();
    for batch in batches {
        spool.write(batch).unwrap();
    }
    spool
}

#[test]
fn a_table_streamed_with_its_shape_is_the_spooled_one_byte_for_byte() {
    let whole = numbers();
    let parts: Vec<_> = (0..100).map(|part| whole.slice(part % 3, 2)).collect();
    for batches in [
        vec![whole.slice(0, 0)],
        vec![whole],
        parts,
        vec![printable_texts()],
    ] {
        let table = spool(&batches).finish().unwrap();
        let shape = table.shape().clone();
        assert_eq!(shape, survey(&batches));
        assert!(shape.is_streamable());
        let mut spooled = Vec::new();
        table.write_to(&mut spooled).unwrap();
        assert!(stream(shape.clone(), &batches).unwrap() == spooled);
        assert!(stream(shape, &batches).unwrap() == spooled, "a second time");
    }
}

/// All of `numbers` that needs no look at its values, made not to be null where nulls need one.
fn settled() -> RecordBatch {
    let all = numbers();
    let schema = all.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(all.columns())
        .map(|(field, array)| {
            let needs_look = matches!(
                field.data_type(),
                DataType::UInt8
                    | DataType::Int16
                    | DataType::Int32
                    | DataType::Int64
                    | DataType::UInt64
            );
            // The row that is null stays out.
            let array = array.slice(2, 2);
            (
                Field::new(field.name(), field.data_type().clone(), !needs_look),
                array,
            )
        });
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

#[test]
fn a_schema_that_says_it_all_is_streamed_without_a_look_and_reads_back() {
    let batch = settled();
    let shape = FitsShape::of_schema(batch.schema(), 2, &[])
        .unwrap()
        .unwrap();
    let batches = [batch];
    let file = stream(shape, &batches).unwrap();
    reads_back(Format::Fits, &batches, &file);
}

#[test]
fn a_look_at_the_columns_that_the_schema_leaves_open_is_enough() {
    for (batch, some) in [(numbers(), true), (printable_texts(), false)] {
        let mut look = FitsSurvey::of_unsettled(batch.schema(), &[]).unwrap();
        assert!(look.may_be_streamable());
        assert!(!look.places().is_empty());
        assert_eq!(look.places().len() < batch.num_columns(), some);
        look.look_at(&batch.project(look.places()).unwrap())
            .unwrap();
        assert!(!some || look.look_at(&batch).is_err(), "of all columns");
        let shape = look.finish().unwrap();
        let batches = [batch];
        let file = stream(shape, &batches).unwrap();
        reads_back(Format::Fits, &batches, &file);
    }
    // A list stands behind the rows, whatever is in it.
    let of_lists = FitsSurvey::of_unsettled(lists().schema(), &[]).unwrap();
    assert!(!of_lists.may_be_streamable());
}

#[test]
fn a_schema_that_does_not_say_it_all_has_no_shape() {
    let of = |data_type, nullable| {
        let schema = Schema::new(vec![Field::new("c", data_type, nullable)]);
        FitsShape::of_schema(Arc::new(schema), 1, &[]).unwrap()
    };
    assert_eq!(of(DataType::Utf8, false), None);
    assert_eq!(of(DataType::Binary, false), None);
    assert_eq!(of(DataType::Int64, true), None);
    assert_eq!(of(DataType::FixedSizeBinary(2), true), None);
    assert!(of(DataType::Int64, false).is_some());
    // Nulls of these are stored in a larger type, which has values to spare.
    assert!(of(DataType::UInt32, true).is_some());
    assert!(of(DataType::FixedSizeBinary(2), false).is_some());
}

#[test]
fn what_is_known_of_values_spares_the_look_at_them() {
    let batch = table(vec![
        (
            "n",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None])) as ArrayRef,
        ),
        (
            "full",
            Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])) as ArrayRef,
        ),
        ("name", Arc::new(StringArray::from(vec![Some("ab"), None]))),
    ]);
    let known = |integers, no_nulls, text_bytes_max| ColumnStatistics {
        no_nulls,
        integers,
        text_bytes_max,
    };
    let range = Some((i32::MIN.into(), i32::MAX.into()));
    let of = |known: &[ColumnStatistics]| FitsShape::of_schema(batch.schema(), 2, known).unwrap();
    let n = known(Some((i32::MIN.into(), 7)), false, None);
    let full = known(range, true, None);
    let name = known(None, false, Some(2));
    let shape = of(&[n, full, name]).unwrap();
    let batches = [batch.clone()];
    let file = stream(shape, &batches).unwrap();
    reads_back(Format::Fits, &batches, &file);
    // No value is free for null at either end, and of those between nothing is known.
    assert_eq!(of(&[known(range, false, None), full, name]), None);
    assert_eq!(of(&[n, full]), None);
    // What turns out to be wrong has no place.
    for (wrong, problem) in [
        ([n, full, known(None, false, Some(1))], "longer"),
        ([known(None, true, None), full, name], "null"),
        (
            [known(Some((1, 2)), false, None), full, name],
            "stands for null",
        ),
    ] {
        let error = stream(of(&wrong).unwrap(), &batches).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

fn ints(values: Vec<Option<i32>>) -> RecordBatch {
    table(vec![("n", Arc::new(Int32Array::from(values)))])
}

fn texts(values: Vec<Option<&str>>) -> RecordBatch {
    table(vec![("name", Arc::new(StringArray::from(values)))])
}

#[test]
fn what_has_no_place_in_the_shape_fails_with_its_row_and_column() {
    let without_nulls = survey(&[ints(vec![Some(1), Some(2), Some(3)])]);
    let with_nulls = survey(&[ints(vec![Some(1), None, Some(3)])]);
    let short = survey(&[texts(vec![Some("abc"), None, Some("")])]);
    let lowest = Some(i32::MIN);
    for (shape, batch, expected) in [
        (
            &without_nulls,
            ints(vec![Some(1), Some(2), None]),
            "row 3, column \"n\": the value is null, and the table's shape has no value that \
             stands for it",
        ),
        (
            &with_nulls,
            ints(vec![None, lowest, None]),
            "row 2, column \"n\": the value is the one that stands for null in the table's shape",
        ),
        (
            &short,
            texts(vec![None, Some("abcd"), None]),
            "row 2, column \"name\": the value is longer than the table's shape says",
        ),
        (
            &short,
            texts(vec![None, None, Some("\u{e9}")]),
            "row 3, column \"name\": FITS holds printable ASCII only",
        ),
        (
            &with_nulls,
            ints(vec![None; 4]),
            "the table has more than the 3 rows that were announced",
        ),
        (
            &with_nulls,
            ints(vec![None; 2]),
            "the table ended after 2 of the 3 rows that were announced",
        ),
    ] {
        let error = stream(shape.clone(), std::slice::from_ref(&batch)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_rows_before_one_without_a_place_are_written_and_none_behind_it() {
    let columns = |long: &str| -> Vec<(&str, ArrayRef)> {
        let numbers = Float64Array::from(vec![1.0, 2.0, 3.0, 4.0]);
        let names = StringArray::from(vec!["a", "b", long, "d"]);
        vec![("x", Arc::new(numbers)), ("name", Arc::new(names))]
    };
    let shape = survey(&[table(columns("c"))]);
    let header = shape.bytes() - 2880;
    let batch = table(columns("too long"));
    let mut file = Vec::new();
    let mut writer = Box::new(FitsWriter::new(&mut file, batch.schema(), shape).unwrap());
    let error = writer.write(&batch).unwrap_err().to_string();
    assert!(error.starts_with("row 3, column \"name\""), "{error}");
    writer.abort("gone").unwrap();
    assert_eq!(file.len() as u64, header + 2 * (8 + 1));
    assert!(file.ends_with(&[&2.0_f64.to_be_bytes()[..], b"b"].concat()));
}

#[test]
fn what_stands_behind_the_rows_is_not_streamed() {
    let batch = lists();
    let shape = survey(std::slice::from_ref(&batch));
    assert!(!shape.is_streamable());
    let error = FitsWriter::new(Vec::new(), batch.schema(), shape)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "column \"list\": FITS has its values behind the rows, and so cannot be streamed"
    );
}

#[test]
fn a_shape_of_another_table_and_a_batch_of_another_type_are_refused() {
    let shape = survey(&[ints(vec![Some(1)])]);
    let other = texts(vec![None]);
    let refused = FitsWriter::new(Vec::new(), other.schema(), shape.clone());
    assert!(matches!(refused.err(), Some(TableError::Schema(_))));
    let schema = Arc::clone(shape.schema());
    let mut writer = FitsWriter::new(Vec::new(), schema, shape).unwrap();
    assert!(matches!(writer.write(&other), Err(TableError::Schema(_))));
}

#[test]
fn fixed_bytes_of_which_some_are_null_keep_every_byte() {
    let all_bytes: Vec<_> = (0..=255_u8).map(|byte| Some([byte, 255 - byte])).collect();
    let with_null = all_bytes.iter().copied().chain([None]);
    for rows in [all_bytes.clone(), with_null.collect()] {
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows.into_iter(), 2);
        Format::Fits.reads_back(&[table(vec![("b", Arc::new(array.unwrap()))])]);
    }
}

/// A column with a null value of its own.
fn with_null(array: ArrayRef, null: &str) -> RecordBatch {
    let known = HashMap::from([(meta::NULL.to_owned(), null.to_owned())]);
    let field = Field::new("n", array.data_type().clone(), true).with_metadata(known);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
}

#[test]
fn a_columns_own_null_may_lie_between_its_values_and_not_be_one_of_them() {
    let null_of = |array: ArrayRef| {
        let batch = with_null(array, "5");
        let shape = survey(std::slice::from_ref(&batch));
        let file = stream(shape, std::slice::from_ref(&batch)).unwrap();
        let cards = String::from_utf8_lossy(&file[2880..5760]).into_owned();
        let null = cards.split("TNULL1  =").nth(1).unwrap();
        null[..21].trim().to_owned()
    };
    let ints = Int32Array::from(vec![Some(1), None, Some(9)]);
    assert_eq!(null_of(Arc::new(ints)), "5");
    let small = Int8Array::from(vec![Some(-1), None, Some(9)]);
    assert_eq!(null_of(Arc::new(small)), "5");
    let large = UInt64Array::from(vec![Some(1), None, Some(u64::MAX)]);
    assert_eq!(null_of(Arc::new(large)), "-9223372036854775803");

    let among = with_null(
        Arc::new(Int32Array::from(vec![Some(1), None, Some(5)])),
        "5",
    );
    let mut look = FitsSurvey::new(among.schema()).unwrap();
    look.look_at(&among).unwrap();
    assert_eq!(
        look.finish().unwrap_err().to_string(),
        "column \"n\": \"5\" cannot stand for null: it is among the values"
    );
    // In a larger type another value is free.
    let small = Int8Array::from(vec![Some(-1), None, Some(5)]);
    assert_eq!(null_of(Arc::new(small)), "-32768");
}
