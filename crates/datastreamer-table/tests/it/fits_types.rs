//! Every Arrow type that our FITS writer takes comes back as the nearest that FITS has, with its values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryViewArray, DictionaryArray, FixedSizeBinaryArray,
        FixedSizeListArray, Int16Array, Int32Array, Int64Array, LargeBinaryArray, ListArray,
        NullArray, RunArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Field, Int8Type, Schema, TimeUnit},
    record_batch::RecordBatch,
    util::display::array_value_to_string,
};

use crate::{fits_astropy::whole, fits_round_trip::written};

/// Writes a column and reads it.
fn back(source: &ArrayRef) -> ArrayRef {
    let nullable = source.is_nullable() || source.null_count() > 0;
    let field = Field::new("column", source.data_type().clone(), nullable);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(source)]).unwrap();
    let (_directory, table) = written(&[batch]);
    Arc::clone(whole(&table, 2).column(0))
}

fn shown(array: &ArrayRef) -> Vec<String> {
    let show = |row| match array.is_null(row) {
        true => "null".to_owned(),
        false => array_value_to_string(array, row).unwrap(),
    };
    (0..array.len()).map(show).collect()
}

fn of_type(data_type: &DataType, values: &[Option<i64>]) -> ArrayRef {
    cast(&Int64Array::from(values.to_vec()), data_type).unwrap()
}

fn list(values: ArrayRef) -> ArrayRef {
    let item = Field::new_list_field(values.data_type().clone(), values.null_count() > 0);
    let offsets = OffsetBuffer::from_lengths([2, 0, values.len() - 2]);
    Arc::new(ListArray::new(Arc::new(item), offsets, values, None))
}

/// Pairs, of which the second is null.
fn pairs(values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = Some(NullBuffer::from(vec![true, false]));
    Arc::new(FixedSizeListArray::new(item, 2, values, nulls))
}

const FULL: [Option<i64>; 4] = [Some(1), Some(2), Some(100), Some(0)];
const SOME: [Option<i64>; 4] = [Some(1), None, Some(100), Some(0)];

/// Signed integers of 8 bits and unsigned ones are those of a wider signed type, or of the signed one that
/// holds them, where some are null, and in lists of any length.
#[test]
fn integers_come_back_alone_in_lists_and_in_arrays() {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    for (own, signed) in [
        (Int8, Int16),
        (UInt8, UInt8),
        (Int16, Int16),
        (UInt16, Int32),
        (Int32, Int32),
        (UInt32, Int64),
        (Int64, Int64),
        (UInt64, Int64),
    ] {
        let full = of_type(&own, &FULL);
        assert_eq!(&back(&full), &full);
        let lists = list(of_type(&signed, &FULL));
        assert_eq!(&back(&list(full)), &lists);
        let some = of_type(&own, &SOME);
        let expected = of_type(&signed, &SOME);
        assert_eq!(&back(&some), &expected);
        assert_eq!(&back(&list(Arc::clone(&some))), &list(expected));
        let found = back(&pairs(some));
        let item = Arc::new(Field::new_list_field(signed, true));
        assert_eq!(found.data_type(), &DataType::FixedSizeList(item, 2));
        assert_eq!(shown(&found), ["[1, ]", "[, ]"]);
    }
}

/// NaN stands for null.
#[test]
fn floats_come_back_and_null_is_nan() {
    for (own, expected) in [
        (DataType::Float16, DataType::Float32),
        (DataType::Float32, DataType::Float32),
        (DataType::Float64, DataType::Float64),
    ] {
        let full = of_type(&expected, &FULL);
        assert_eq!(&back(&of_type(&own, &FULL)), &full);
        assert_eq!(&back(&list(of_type(&own, &FULL))), &list(full));
        let some = of_type(&own, &SOME);
        assert_eq!(shown(&back(&some)), ["1.0", "NaN", "100.0", "0.0"]);
        let lists = shown(&back(&list(Arc::clone(&some))));
        assert_eq!(lists, ["[1.0, NaN]", "[]", "[100.0, 0.0]"]);
        assert_eq!(shown(&back(&pairs(some))), ["[1.0, NaN]", "[NaN, NaN]"]);
    }
}

#[test]
fn texts_logicals_and_decimals_come_back() {
    for own in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        let some = of_type(&own, &SOME);
        let expected = of_type(&DataType::Utf8, &SOME);
        assert_eq!(&back(&some), &expected);
        assert_eq!(&back(&list(Arc::clone(&some))), &list(expected));
        assert_eq!(shown(&back(&pairs(some))), ["[1, ]", "[, ]"]);
    }
    let some = of_type(&DataType::Boolean, &SOME);
    assert_eq!(&back(&some), &some);
    let full = of_type(&DataType::Boolean, &FULL);
    let lists = shown(&back(&list(full)));
    assert_eq!(lists, ["[true, true]", "[]", "[true, false]"]);
    for own in [
        DataType::Decimal32(7, 2),
        DataType::Decimal64(7, 2),
        DataType::Decimal128(20, 2),
        DataType::Decimal256(50, 2),
    ] {
        let found = back(&of_type(&own, &SOME));
        assert_eq!(found.data_type(), &DataType::Utf8);
        assert_eq!(shown(&found), ["1.00", "null", "100.00", "0.00"]);
    }
}

#[test]
fn times_come_back_as_texts_in_utc_with_the_digits_of_their_unit() {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let zone = |zone: &str| Some(zone.into());
    for (own, first) in [
        (DataType::Timestamp(Second, None), "1970-01-01T00:00:01"),
        (
            DataType::Timestamp(Millisecond, zone("UTC")),
            "1970-01-01T00:00:00.001",
        ),
        (
            DataType::Timestamp(Microsecond, zone("+02:00")),
            "1970-01-01T00:00:00.000001",
        ),
        (
            DataType::Timestamp(Nanosecond, None),
            "1970-01-01T00:00:00.000000001",
        ),
        (DataType::Time64(Microsecond), "00:00:00.000001"),
        (DataType::Time64(Nanosecond), "00:00:00.000000001"),
    ] {
        let found = back(&of_type(&own, &SOME));
        assert_eq!(found.data_type(), &DataType::Utf8);
        assert_eq!(shown(&found)[..2], [first, "null"], "{own}");
    }
    let days = Int32Array::from(vec![Some(1), None]);
    for (own, first) in [
        (DataType::Date32, "1970-01-02"),
        (DataType::Time32(Second), "00:00:01"),
        (DataType::Time32(Millisecond), "00:00:00.001"),
    ] {
        assert_eq!(
            shown(&back(&cast(&days, &own).unwrap())),
            [first, "null"],
            "{own}"
        );
    }
}

/// Bytes of no fixed length are lists, and null ones are empty.
#[test]
fn bytes_come_back_as_lists() {
    let bytes = vec![Some(b"\x00\xff".as_slice()), None, Some(b"")];
    let sources: [ArrayRef; 2] = [
        Arc::new(LargeBinaryArray::from_opt_vec(bytes.clone())),
        Arc::new(BinaryViewArray::from_iter(bytes)),
    ];
    for source in sources {
        assert_eq!(shown(&back(&source)), ["[0, 255]", "[]", "[]"]);
    }
    let fixed = [Some([1, 2]), None, Some([0, 0])].into_iter();
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 2).unwrap();
    assert_eq!(
        shown(&back(&(Arc::new(fixed) as ArrayRef))),
        ["[1, 2]", "[]", "[0, 0]"]
    );
    let full = FixedSizeBinaryArray::try_from_iter([[1, 2], [0, 0]].into_iter()).unwrap();
    let found = back(&(Arc::new(full) as ArrayRef));
    assert!(matches!(found.data_type(), DataType::FixedSizeList(_, 2)));
    assert_eq!(shown(&found), ["[1, 2]", "[0, 0]"]);
}

#[test]
fn what_is_encoded_comes_back_decoded() {
    let words = [Some("a"), None, Some("a")];
    let words: DictionaryArray<Int8Type> = words.into_iter().collect();
    assert_eq!(
        shown(&back(&(Arc::new(words) as ArrayRef))),
        ["a", "null", "a"]
    );
    let runs = RunArray::try_new(
        &Int32Array::from(vec![2, 3]),
        &Int16Array::from(vec![Some(1), None]),
    );
    assert_eq!(
        shown(&back(&(Arc::new(runs.unwrap()) as ArrayRef))),
        ["1", "1", "null"]
    );
    let nothing = back(&(Arc::new(NullArray::new(2)) as ArrayRef));
    assert_eq!(
        (nothing.data_type(), nothing.null_count()),
        (&DataType::Utf8, 2)
    );
}

/// A list of arrays of one element was written as zeros.
#[test]
fn lists_of_lists_are_refused_whatever_their_length() {
    use datastreamer_table::fits::FitsSpool;

    let part = |length| {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let part = DataType::FixedSizeList(item, length);
        Arc::new(Field::new("item", part, true))
    };
    for outer in [
        DataType::List(part(1)),
        DataType::List(part(2)),
        DataType::FixedSizeList(part(1), 1),
        DataType::FixedSizeList(part(1), 3),
    ] {
        let schema = Schema::new(vec![Field::new("column", outer, true)]);
        let folder = tempfile::tempdir().unwrap();
        let refused = FitsSpool::new(Arc::new(schema), folder.path(), 1_000_000).err();
        let text = refused.unwrap().to_string();
        assert!(
            text.contains("FITS cannot hold the type list of lists"),
            "{text}"
        );
    }
}
