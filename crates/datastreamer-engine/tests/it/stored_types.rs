//! Columns of Parquet whose stored types say too little: old times, intervals, dictionaries.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int8Array,
        Int64Array, ListArray, MapArray, StringArray, StructArray,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, Int32Type, IntervalUnit, Schema, TimeUnit, TimestampSecondType},
    record_batch::RecordBatch,
};
use datastreamer_table::{bytes_of_hex, nested::for_leaves, uuid};
use parquet::{
    arrow::{
        ARROW_SCHEMA_META_KEY, ArrowWriter, arrow_writer::ArrowWriterOptions, encode_arrow_schema,
    },
    data_type::{
        DataType as ParquetType, FixedLenByteArray, FixedLenByteArrayType,
        Int32Type as Int32ColumnType, Int96, Int96Type,
    },
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
    schema::{parser::parse_message_type, types::SchemaDescriptor},
};

use crate::support::{collect, engine_of, scan, texts};

/// Writes one optional column, whose last value is null.
fn write<T: ParquetType>(path: &Path, column: &str, values: &[T::T]) {
    let mut defined = vec![1; values.len()];
    defined.push(0);
    let message = format!("message m {{ optional {column}; }}");
    write_levels::<T>(path, &message, (values, &defined, None), None);
}

/// Writes one column with its definition and repetition levels, and a schema of Arrow in the footer.
fn write_levels<T: ParquetType>(
    path: &Path,
    message: &str,
    (values, definitions, repetitions): (&[T::T], &[i16], Option<&[i16]>),
    stated: Option<Schema>,
) {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let entry = stated.map(|stated| {
        let stated = encode_arrow_schema(&stated);
        vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), stated)]
    });
    let properties = WriterProperties::builder().set_key_value_metadata(entry);
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties.build().into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let typed = column.typed::<T>();
    typed
        .write_batch(values, Some(definitions), repetitions)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn read(path: &Path) -> RecordBatch {
    collect(scan(&engine_of(path), &[]).unwrap())
}

/// The error of reading a table that can be opened.
fn refusal(path: &Path) -> String {
    let mut rows = scan(&engine_of(path), &[]).unwrap();
    rows.find_map(Result::err).unwrap().to_string()
}

fn int96(day: u32, nanoseconds: u64) -> Int96 {
    let mut time = Int96::new();
    time.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, day);
    time
}

/// A table of one INT96 column and no rows, as pyarrow 26 writes it.
const NO_ROWS: &str = "\
    5041523115041500150215e5c1e8df053c15001500120000001504192c35001806736368656d611502001506\
    250018026330001600191c191c26001c1506192500061918026330150216001628162a26002608291c150415\
    001502000000162816002608162a002820706172717565742d6370702d6172726f772076657273696f6e2032\
    362e302e31191c1c0000007600000050415231";

#[test]
fn old_times_of_no_rows_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, bytes_of_hex(NO_ROWS).unwrap()).unwrap();
    let rows = scan(&engine_of(&path), &[]).unwrap();
    assert_eq!(
        rows.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
        0
    );
}

#[test]
fn old_times_are_read_in_the_unit_that_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let near = int96(2_453_738, 25_445_123_456_789);
    write::<Int96Type>(&path, "int96 t", &[near]);
    let batch = read(&path);
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(batch.column(0).data_type(), &nanoseconds);
    let shown = [Some("2006-01-02T07:04:05.123456789".to_owned()), None];
    assert_eq!(texts(&batch, "t"), shown);

    let near = int96(2_453_738, 25_445_123_456_000);
    let far = int96(5_373_484, 86_399_000_000_000);
    let early = int96(1_721_426, 0);
    write::<Int96Type>(&path, "int96 t", &[near, far, early]);
    let batch = read(&path);
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert_eq!(batch.column(0).data_type(), &microseconds);
    let shown = [
        Some("2006-01-02T07:04:05.123456".to_owned()),
        Some("9999-12-31T23:59:59".to_owned()),
        Some("0001-01-01T00:00:00".to_owned()),
        None,
    ];
    assert_eq!(texts(&batch, "t"), shown);

    write::<Int96Type>(&path, "int96 t", &[int96(2_453_738, 1), far]);
    let refused = refusal(&path);
    assert!(
        refused.contains("column \"t\": its INT96 times"),
        "{refused}"
    );
}

#[test]
fn intervals_keep_their_months() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let column = "fixed_len_byte_array(12) v (INTERVAL)";
    let interval = |months: i32, days: i32, milliseconds: i32| {
        let parts = [months, days, milliseconds].map(i32::to_le_bytes);
        FixedLenByteArray::from(parts.concat())
    };
    let first = |values: &[FixedLenByteArray]| {
        write::<FixedLenByteArrayType>(&path, column, values);
        let batch = read(&path);
        assert_eq!(batch.column(0).null_count(), 1);
        Arc::clone(batch.column(0))
    };
    let months = first(&[interval(314, 0, 0), interval(-1, 0, 0)]);
    assert_eq!(
        months.data_type(),
        &DataType::Interval(IntervalUnit::YearMonth)
    );
    let months = cast(&months, &DataType::Utf8).unwrap();
    assert!(
        format!("{months:?}").contains("26 years 2 mons"),
        "{months:?}"
    );
    let days = first(&[interval(0, 2, 3000)]);
    assert_eq!(days.data_type(), &DataType::Interval(IntervalUnit::DayTime));
    // Arrow has no type of months, days and milliseconds that Parquet's readers make.
    let bytes = first(&[interval(1, 2, 3000)]);
    assert_eq!(bytes.data_type(), &DataType::FixedSizeBinary(12));
    let stored = arrow::array::cast::AsArray::as_fixed_size_binary(&bytes)
        .value(0)
        .to_vec();
    assert_eq!(stored, interval(1, 2, 3000).data());
}

#[test]
fn a_uuid_is_one_and_is_found_by_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let uuid = |first: u8| FixedLenByteArray::from((first..first + 16).collect::<Vec<u8>>());
    let column = "fixed_len_byte_array(16) u (UUID)";
    write::<FixedLenByteArrayType>(&path, column, &[uuid(0), uuid(100)]);
    let engine = engine_of(&path);
    let found = scan(&engine, &[("u", "eq.00010203-0405-0607-0809-0a0b0c0d0e0f")]).unwrap();
    let batch = collect(found);
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(
        batch.schema().field(0).extension_type_name(),
        Some("arrow.uuid")
    );
}

#[test]
fn dictionaries_that_the_decoder_does_not_make_are_read_as_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let keys = Int8Array::from(vec![Some(0), Some(1), None, Some(0)]);
    let values = Arc::new(BooleanArray::from(vec![true, false]));
    let dictionary = DictionaryArray::new(keys, values);
    let plain = cast(&dictionary, &DataType::Boolean).unwrap();
    let batch = RecordBatch::try_from_iter([("d", Arc::clone(&plain))]).unwrap();
    // As pyarrow writes it: values, and a schema that says that they were a dictionary.
    let schema = Schema::new(vec![Field::new("d", dictionary.data_type().clone(), true)]);
    let entry = KeyValue::new(
        ARROW_SCHEMA_META_KEY.to_owned(),
        encode_arrow_schema(&schema),
    );
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![entry]))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(read(&path).column(0), &plain);
}

/// Only the stored type says so: the file has no schema of Arrow's.
#[test]
fn uuids_within_lists_structs_and_maps_are_uuids() {
    let bytes = FixedSizeBinaryArray::try_from_iter([[7_u8; 16], [8; 16]].iter()).unwrap();
    let bytes: ArrayRef = Arc::new(bytes);
    let plain = Arc::new(Field::new("element", DataType::FixedSizeBinary(16), true));
    let ends = OffsetBuffer::new(vec![0, 1, 2].into());
    let list = ListArray::new(Arc::clone(&plain), ends.clone(), Arc::clone(&bytes), None);
    let parts = StructArray::from(vec![
        (
            Arc::new(Field::new("n", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("u", DataType::FixedSizeBinary(16), true)),
            Arc::clone(&bytes),
        ),
        (
            Arc::new(Field::new("b", DataType::FixedSizeBinary(16), true)),
            Arc::clone(&bytes),
        ),
    ]);
    let entries = StructArray::from(vec![
        (
            Arc::new(Field::new("key", DataType::Utf8, false)),
            Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("value", DataType::FixedSizeBinary(16), true)),
            Arc::clone(&bytes),
        ),
    ]);
    let of_entries = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    let map = MapArray::new(of_entries, ends, entries, None, false);
    let columns: [(&str, ArrayRef); 3] = [
        ("l", Arc::new(list)),
        ("s", Arc::new(parts)),
        ("m", Arc::new(map)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, of)| (name, of, true)));
    let batch = batch.unwrap();
    let uuid = "optional fixed_len_byte_array(16)";
    let stored = parse_message_type(&format!(
        "message arrow_schema {{
            optional group l (LIST) {{ repeated group list {{ {uuid} element (UUID); }} }}
            optional group s {{ optional int64 n; {uuid} u (UUID); {uuid} b; }}
            optional group m (MAP) {{
                repeated group key_value {{ required binary key (STRING); {uuid} value (UUID); }}
            }}
        }}"
    ));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let options = ArrowWriterOptions::new()
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(SchemaDescriptor::new(Arc::new(stored.unwrap())));
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let read = read(&path);
    let mut leaves = Vec::new();
    for_leaves(read.schema().fields(), &mut |leaf| {
        leaves.push((leaf.name().clone(), uuid::is_uuid(leaf)));
    });
    let wanted = [
        ("element", true),
        ("n", false),
        ("u", true),
        ("b", false),
        ("key", false),
        ("value", true),
    ];
    assert_eq!(
        leaves,
        wanted.map(|(name, is_uuid)| (name.to_owned(), is_uuid))
    );
    let found: &ListArray = read.column(0).as_any().downcast_ref().unwrap();
    assert_eq!(found.values(), &bytes);
}

/// DuckDB writes an array that is null with as many levels as it has elements.
#[test]
fn an_array_that_is_null_may_have_the_levels_of_its_elements() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let message =
        "message m { optional group l (LIST) { repeated group list { optional int32 element; } } }";
    let levels: (&[i16], &[i16]) = (&[0, 0, 0, 3, 3, 2, 0, 0, 0], &[0, 1, 1, 0, 1, 1, 0, 1, 1]);
    let columns = (&[7, 8][..], levels.0, Some(levels.1));
    write_levels::<Int32ColumnType>(&path, message, columns, None);
    let rows = collect(scan(&engine_of(&path), &[]).unwrap());
    let lists = rows.column(0).as_list::<i32>();
    assert_eq!(lists.len(), 3);
    assert!(lists.is_null(0) && lists.is_valid(1) && lists.is_null(2));
    let values = lists.value(1);
    let values: Vec<_> = values.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(values, [Some(7), Some(8), None]);
}

/// pyarrow says so of a dictionary of times that it has written as INT96.
#[test]
fn times_of_int96_are_read_whatever_dictionary_the_footer_states() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    // A second behind 1970-01-01, as nanoseconds and a Julian day.
    let time = int96(2_440_588, 1_000_000_000);
    let times = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(times));
    let stated = Schema::new(vec![Field::new("t", dictionary, true)]);
    let columns = (&[time][..], &[1, 0][..], None);
    write_levels::<Int96Type>(
        &path,
        "message m { optional int96 t; }",
        columns,
        Some(stated),
    );
    let rows = collect(scan(&engine_of(&path), &[]).unwrap());
    let times = arrow::compute::cast(rows.column(0), &DataType::Timestamp(TimeUnit::Second, None));
    let times = times.unwrap();
    let times: Vec<_> = times.as_primitive::<TimestampSecondType>().iter().collect();
    assert_eq!(times, [Some(1), None]);
}
