//! Types that Parquet has or lacks.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, DictionaryArray, DurationMicrosecondArray, FixedSizeBinaryArray,
        Float64Array, Int32Array, ListArray, RunArray, StringViewArray, TimestampSecondArray,
    },
    buffer::OffsetBuffer,
    compute::{cast, take},
    datatypes::{DataType, Field, Schema, TimeUnit},
    record_batch::RecordBatch,
};
use datastreamer_table::{Format, TableEnd, WriterOptions, uuid::with_extension};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{Compression, LogicalType},
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
fn dictionaries_that_the_writer_misreads_become_values_in_parquet() {
    let texts = StringViewArray::from(vec!["short", "a text that is not inline"]);
    let bytes = [[1_u8, 2], [3, 4]];
    let bytes = FixedSizeBinaryArray::try_from_iter(bytes.into_iter()).unwrap();
    let durations = DurationMicrosecondArray::from(vec![86_400_000_000, -1]);
    let times = TimestampSecondArray::from(vec![1_700_000_000, -1]);
    let milliseconds = cast(&times, &DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
    let zone: Arc<str> = "Europe/Berlin".into();
    let zoned = cast(
        &times,
        &DataType::Timestamp(TimeUnit::Microsecond, Some(zone)),
    )
    .unwrap();
    let cases: [(ArrayRef, ArrayRef); 5] = [
        (Arc::clone(&zoned), zoned),
        (Arc::new(texts.clone()), Arc::new(texts)),
        (Arc::new(bytes.clone()), Arc::new(bytes)),
        (Arc::new(durations.clone()), Arc::new(durations)),
        (Arc::new(times), milliseconds),
    ];
    for (values, stored) in cases {
        let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
        let wanted = take(&stored, &keys, None).unwrap();
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
        assert_eq!(read.column(0), &wanted);
    }
}

#[test]
fn a_list_of_dictionaries_that_the_writer_misreads_is_no_parquet() {
    let dictionary = DataType::Dictionary(
        Box::new(DataType::Int32),
        Box::new(DataType::FixedSizeBinary(2)),
    );
    let list = Field::new_list("l", Field::new("item", dictionary, true), true);
    let refused = Format::Parquet
        .check(&Arc::new(Schema::new(vec![list])))
        .unwrap_err();
    assert!(refused.to_string().contains("\"l\""), "{refused}");
}

/// Each column would have contexts of Zstandard: of 65,536 they took more than a gigabyte.
#[test]
fn tables_of_more_than_2048_columns_are_compressed_without_a_context_for_each() {
    for (count, compression) in [
        (2048, Compression::ZSTD(Default::default())),
        (2049, Compression::SNAPPY),
    ] {
        let value: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let columns = (0..count).map(|place| (format!("c{place}"), Arc::clone(&value)));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let options = WriterOptions::default();
        let mut table = Format::Parquet
            .writer(&mut file, batch.schema(), &options)
            .unwrap();
        table.write(&batch).unwrap();
        table.finish(TableEnd::Complete).unwrap();
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .unwrap();
        let last = metadata.row_group(0).column(count - 1);
        assert_eq!(last.compression(), compression, "{count}");
    }
}
