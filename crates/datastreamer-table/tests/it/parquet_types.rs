//! Types that Parquet has or lacks.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array,
        ListArray, RunArray, StringArray, StringViewArray,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{Format, TableEnd, WriterOptions, uuid::with_extension};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, basic::LogicalType,
    file::metadata::ParquetMetaDataReader,
};

fn uuids() -> RecordBatch {
    let uuid: Vec<u8> = (0..16).map(|index| index * 0x11).collect();
    let values = [Some(uuid.as_slice()), None];
    let values = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
    let uuid = |name: &str| with_extension(Field::new(name, DataType::FixedSizeBinary(16), true));
    let schema = Schema::new(vec![
        uuid("u"),
        Field::new("n", DataType::Int32, false),
        Field::new_list("l", uuid("element"), true),
    ]);
    let values: ArrayRef = Arc::new(values.unwrap());
    let ends = OffsetBuffer::new(vec![0, 0, 2].into());
    let lists = ListArray::new(Arc::new(uuid("element")), ends, Arc::clone(&values), None);
    let columns: Vec<ArrayRef> = vec![
        values,
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(lists),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn written(format: Format) -> Vec<u8> {
    let batch = uuids();
    format.check(&batch.schema()).unwrap();
    let mut out = Vec::new();
    let options = WriterOptions::default();
    let mut table = format.writer(&mut out, batch.schema(), &options).unwrap();
    table.write(&batch).unwrap();
    table.finish(TableEnd::Complete).unwrap();
    out
}

#[test]
fn parquet_and_arrow_keep_uuids() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&written(Format::Parquet)).unwrap();
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&file)
        .unwrap();
    let columns = metadata.file_metadata().schema_descr().columns().iter();
    let uuids_stored = columns.map(|column| column.logical_type_ref() == Some(&LogicalType::Uuid));
    assert!(uuids_stored.eq([true, false, true]));
    let stream = written(Format::Arrow);
    let mut read = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
    assert_eq!(read.next().unwrap().unwrap(), uuids());
}

#[test]
fn a_null_that_the_schema_denies_is_no_zero_in_parquet() {
    let ends = Int32Array::from(vec![2, 3]);
    let values = Float64Array::from(vec![Some(1.5), None]);
    let runs = RunArray::try_new(&ends, &values).unwrap();
    let schema = Schema::new(vec![Field::new("r", runs.data_type().clone(), false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(runs)]).unwrap();
    let options = WriterOptions::default();
    let mut table = Format::Parquet
        .writer(Vec::new(), batch.schema(), &options)
        .unwrap();
    let refused = table.write(&batch).unwrap_err().to_string();
    assert!(
        refused.contains("null") && refused.contains("\"r\""),
        "{refused}"
    );
}

#[test]
fn dictionaries_of_views_become_values_in_parquet() {
    let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
    let values = Arc::new(StringViewArray::from(vec![
        "short",
        "a text that is not inline",
    ]));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
    let batch = RecordBatch::try_from_iter([("d", dictionary)]).unwrap();
    let mut out = Vec::new();
    let options = WriterOptions::default();
    let writer = Format::Parquet.writer(&mut out, batch.schema(), &options);
    let mut table = writer.unwrap();
    table.write(&batch).unwrap();
    table.finish(TableEnd::Complete).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&out).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let read = reader.build().unwrap().next().unwrap().unwrap();
    let texts = cast(read.column(0), &DataType::Utf8).unwrap();
    let wanted = StringArray::from(vec![Some("a text that is not inline"), None, Some("short")]);
    assert_eq!(texts.as_string::<i32>(), &wanted);
}
