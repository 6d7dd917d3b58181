//! Tables of Parquet whose rows take much memory: their batches have fewer rows, and what a batch
//! takes is counted where the headers of pages say too little.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray,
        StringArray, StructArray, UInt8Array,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Int32Type},
    ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions},
    },
    record_batch::RecordBatch,
};
use datastreamer_engine::{DEFAULT_EXPANSION_MAX, Engine, EngineError, EngineOptions, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
};

use crate::support::{block_on, engine_of, memory_bytes_max, scan};

const BATCH_BYTES_MAX: usize = 128 << 20;
const LONG_BYTES: usize = 80_000;

/// The ways in which a writer stores texts.
const WAYS: [Option<Encoding>; 4] = [
    None,
    Some(Encoding::PLAIN),
    Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
    Some(Encoding::DELTA_BYTE_ARRAY),
];

/// Writes a column without the schema of Arrow: texts of a dictionary are plain ones for the reader.
fn write(path: &Path, values: &ArrayRef, encoding: Option<Encoding>, version: WriterVersion) {
    let batch = RecordBatch::try_from_iter([("x", Arc::clone(values))]).unwrap();
    let properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_compression(Compression::SNAPPY)
        .set_dictionary_page_size_limit(64 << 20);
    let properties = match encoding {
        Some(encoding) => properties
            .set_dictionary_enabled(false)
            .set_encoding(encoding),
        None => properties,
    };
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Returns texts, each of which is `None`, a short one, or a long one by its number.
fn texts(keys: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    let long = "x".repeat(LONG_BYTES);
    let values = ["a", long.as_str(), "bc"];
    let values = StringArray::from_iter_values(values);
    let keys: Int32Array = keys.collect();
    Arc::new(DictionaryArray::new(keys, Arc::new(values)))
}

/// Reads a table, and checks each batch and the lengths of its texts; an error is its text.
fn lengths(path: &Path, bytes_max: usize) -> Result<Vec<Option<usize>>, String> {
    let mut lengths = Vec::new();
    for batch in scan(&engine_of(path), &[]).unwrap() {
        let batch = batch.map_err(|error| error.to_string())?;
        let texts = batch.column(0).as_string::<i32>();
        assert!(
            texts.value_data().len() <= bytes_max,
            "{}",
            batch.num_rows()
        );
        lengths.extend(texts.iter().map(|text| text.map(str::len)));
    }
    Ok(lengths)
}

fn lengths_of(texts: &ArrayRef) -> Vec<Option<usize>> {
    let texts = texts.as_dictionary::<Int32Type>();
    let texts = texts.downcast_dict::<StringArray>().unwrap();
    texts.into_iter().map(|text| text.map(str::len)).collect()
}

#[test]
fn a_batch_of_long_texts_has_fewer_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.parquet");
    let texts = texts((0..2100).map(|row| (row % 7 > 0).then_some(1)));
    for encoding in WAYS {
        write(&path, &texts, encoding, WriterVersion::PARQUET_1_0);
        let read = lengths(&path, BATCH_BYTES_MAX);
        assert!(read == Ok(lengths_of(&texts)), "{encoding:?}");
    }
}

/// The rows are short on average, and a dictionary may give each of them its longest text.
#[test]
fn long_texts_are_counted_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.parquet");
    let spread = texts((0..20_000).map(|row| match row % 40 {
        0 => Some(1),
        1 => None,
        two => Some(two % 2 * 2),
    }));
    let together = texts((0..63_192).map(|row| Some(i32::from(row >= 55_000))));
    let v1 = WriterVersion::PARQUET_1_0;
    let v2 = WriterVersion::PARQUET_2_0;
    for (encoding, version) in [
        (None, v1),
        (None, v2),
        (Some(Encoding::DELTA_BYTE_ARRAY), v1),
    ] {
        write(&path, &spread, encoding, version);
        let read = lengths(&path, BATCH_BYTES_MAX);
        assert!(read == Ok(lengths_of(&spread)), "{encoding:?}");
    }
    for (encoding, version) in [(None, v1), (Some(Encoding::DELTA_BYTE_ARRAY), v2)] {
        write(&path, &together, encoding, version);
        let error = lengths(&path, usize::MAX).unwrap_err();
        let wanted = "row group 0: a batch of 1 columns would become 625 MiB, more than 512 MiB and 64 times the ";
        assert!(error.contains(wanted), "{encoding:?}: {error}");
    }
}

#[test]
fn a_batch_of_long_lists_has_fewer_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists.parquet");
    let value = vec![7; 1000];
    let values = FixedSizeBinaryArray::try_from_iter(std::iter::repeat_n(value, 144_000)).unwrap();
    let field = Field::new_list_field(DataType::FixedSizeBinary(1000), true);
    let (field, values) = (Arc::new(field), Arc::new(values));
    let offsets = OffsetBuffer::from_lengths(vec![12_000; 12]);
    let lists: ArrayRef = Arc::new(ListArray::new(field, offsets, values, None));
    write(&path, &lists, None, WriterVersion::PARQUET_1_0);
    let batches = scan(&engine_of(&path), &[]).unwrap();
    let rows: Vec<_> = batches.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(rows, [11, 1]);
}

/// A text that rows have in common becomes as many as the rows, if another file has plain texts.
#[test]
fn a_batch_of_arrow_is_cast_in_pieces_where_rows_share_a_long_text() {
    let keys = |row: i32| (row % 7 > 0).then_some(1);
    let dictionary = texts((0..2100).map(keys));
    let lengths_of_both = [lengths_of(&dictionary), vec![Some(1)]].concat();
    let field = Arc::new(Field::new("x", dictionary.data_type().clone(), true));
    let member = [(field, Arc::clone(&dictionary))];
    let structs: ArrayRef = Arc::new(StructArray::from(member.to_vec()));
    for shared in [dictionary, structs] {
        let folder = tempfile::tempdir().unwrap();
        let plain: ArrayRef = Arc::new(StringArray::from(vec!["b"]));
        let plain = match shared.data_type() {
            DataType::Struct(_) => {
                let field = Arc::new(Field::new("x", DataType::Utf8, true));
                Arc::new(StructArray::from(vec![(field, plain)]))
            }
            _ => plain,
        };
        for (name, values) in [("a.arrow", &shared), ("b.arrow", &plain)] {
            let batch = RecordBatch::try_from_iter([("x", Arc::clone(values))]).unwrap();
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
        let (mut lengths, mut rows) = (Vec::new(), Vec::new());
        for batch in scan(&engine_of(folder.path()), &[]).unwrap() {
            let column = Arc::clone(batch.unwrap().column(0));
            let column = match column.as_struct_opt() {
                Some(of) => Arc::clone(of.column(0)),
                None => column,
            };
            let texts = arrow::compute::cast(&column, &DataType::LargeUtf8).unwrap();
            let texts = texts.as_string::<i64>();
            lengths.extend(texts.iter().map(|text| text.map(str::len)));
            rows.push(texts.len());
        }
        assert_eq!(rows, [1957, 143, 1], "{}", shared.data_type());
        assert!(lengths == lengths_of_both, "{}", shared.data_type());
    }
}

/// 20,000 rows of 80 kB are 1.6 GB.
#[test]
fn pieces_of_a_batch_of_arrow_are_cast_one_after_the_other() {
    const ROWS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["b"]));
    for (name, values) in [
        ("a.arrow", texts((0..ROWS).map(|_| Some(1)))),
        ("b.arrow", plain),
    ] {
        let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
    let batches = scan(&engine_of(folder.path()), &[]).unwrap();
    let rows: usize = batches.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, ROWS + 1);
    let most = memory_bytes_max();
    assert!(most < 1 << 30, "{most} bytes");
}

/// 70 MiB in a page of Parquet and 270 MiB in a batch of Arrow, of some kilobytes each.
#[test]
fn how_many_times_its_size_compressed_data_may_become_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |bytes: usize| -> ArrayRef { Arc::new(UInt8Array::from(vec![0; bytes])) };
    let parquet = folder.path().join("zeros.parquet");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["0".repeat(70 << 20)]));
    let batch = RecordBatch::try_from_iter([("x", text)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = fs::File::create(&parquet).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let arrow = folder.path().join("zeros.arrow");
    let batch = RecordBatch::try_from_iter([("x", zeros(270 << 20))]).unwrap();
    let options = IpcWriteOptions::default();
    let options = options.try_with_compression(Some(CompressionType::ZSTD));
    let file = fs::File::create(&arrow).unwrap();
    let mut writer =
        FileWriter::try_new_with_options(file, &batch.schema(), options.unwrap()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    for (path, rows) in [(&parquet, 1), (&arrow, 270 << 20)] {
        for (expansion_max, is_read) in [(DEFAULT_EXPANSION_MAX, false), (100_000, true)] {
            let options = EngineOptions {
                expansion_max,
                ..EngineOptions::default()
            };
            let engine = Engine::new(options).unwrap();
            let files = TableFiles::find(path).unwrap();
            let notes = ColumnMetadata::default();
            let register = engine.register("stars", files, &notes);
            let text = |error: EngineError| error.to_string();
            let read = block_on(register).map_err(text).and_then(|_| {
                let mut read = 0;
                for batch in scan(&engine, &[]).map_err(text)? {
                    read += batch.map_err(|error| error.to_string())?.num_rows();
                }
                Ok(read)
            });
            match is_read {
                true => assert_eq!(read.unwrap(), rows),
                false => {
                    let error = read.unwrap_err();
                    assert!(error.contains("would become"), "{error}");
                }
            }
        }
    }
}

#[test]
fn nulls_of_one_list_count_as_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nulls.parquet");
    let field = Arc::new(Field::new_list_field(DataType::FixedSizeBinary(1000), true));
    let values = arrow::array::new_null_array(field.data_type(), 600_000);
    let offsets = OffsetBuffer::from_lengths(vec![600_000]);
    let lists: ArrayRef = Arc::new(ListArray::new(field, offsets, values, None));
    write(&path, &lists, None, WriterVersion::PARQUET_1_0);
    let error = scan(&engine_of(&path), &[]).unwrap().find_map(Result::err);
    let error = error.unwrap().to_string();
    let wanted = "row group 0: a batch of 1 columns would become 576.8 MiB, more than 512 MiB";
    assert!(error.contains(wanted), "{error}");
}
