//! UUIDs in the formats that have a type for them.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, FixedSizeBinaryArray, Int32Array},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{Format, TableEnd, WriterOptions, uuid::with_extension};
use parquet::{basic::LogicalType, file::metadata::ParquetMetaDataReader};

fn uuids() -> RecordBatch {
    let uuid: Vec<u8> = (0..16).map(|index| index * 0x11).collect();
    let values = [Some(uuid.as_slice()), None];
    let values = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
    let schema = Schema::new(vec![
        with_extension(Field::new("u", DataType::FixedSizeBinary(16), true)),
        Field::new("n", DataType::Int32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(values.unwrap()),
        Arc::new(Int32Array::from(vec![1, 2])),
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
    let column = metadata.file_metadata().schema_descr().column(0);
    assert_eq!(column.logical_type_ref(), Some(&LogicalType::Uuid));
    let stream = written(Format::Arrow);
    let mut read = arrow::ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
    assert_eq!(read.next().unwrap().unwrap(), uuids());
}
