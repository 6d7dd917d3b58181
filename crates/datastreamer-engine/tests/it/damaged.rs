//! Parquet files whose footers or pages state what is not so.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
        Int8Array, Int32Array, Int64Array, ListArray, NullArray, RunArray, StringArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields, Schema, UnionFields, UnionMode},
    ipc::writer::{FileWriter, StreamWriter},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use datastreamer_engine::{EngineError, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{
            FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
            RowGroupMetaData,
        },
        properties::{EnabledStatistics, WriterProperties},
    },
};
use tempfile::TempDir;

use crate::support::{block_on, collect, engine, engine_of, ids, scan, stars, write_parquet};

/// Writes a file of three row groups, and another footer behind its pages.
fn with_footer(
    change: impl Fn(FileMetaData, Vec<RowGroupMetaData>) -> ParquetMetaData,
) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    write_parquet(&path, &stars(0, 2500));
    let bytes = Bytes::from(fs::read(&path).unwrap());
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let file = metadata.file_metadata().clone();
    let metadata = change(file, metadata.row_groups().to_vec());
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
    let mut changed = bytes[..bytes.len() - 8 - footer as usize].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &metadata)
        .finish()
        .unwrap();
    fs::write(&path, changed).unwrap();
    (folder, path)
}

/// Reads a table; an error at opening or at reading is its text.
fn read(path: &Path) -> Result<RecordBatch, String> {
    let engine = engine();
    let text = |error: datastreamer_engine::EngineError| error.to_string();
    let files = TableFiles::find(path).map_err(text)?;
    block_on(engine.register("stars", files, &ColumnMetadata::default())).map_err(text)?;
    let rows = scan(&engine, &[]).map_err(text)?;
    let schema = arrow::record_batch::RecordBatchReader::schema(&rows);
    let batches: Result<Vec<_>, _> = rows.collect();
    let batches = batches.map_err(|error| error.to_string())?;
    Ok(arrow::compute::concat_batches(&schema, &batches).unwrap())
}

fn with_rows(group: RowGroupMetaData, rows: i64) -> RowGroupMetaData {
    group.into_builder().set_num_rows(rows).build().unwrap()
}

fn file_with_rows(file: &FileMetaData, rows: i64) -> FileMetaData {
    FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(Into::into),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    )
}

#[test]
fn the_row_groups_count_whatever_the_footer_states() {
    for rows in [0, 7, 10_000, -1] {
        let (_folder, path) =
            with_footer(|file, groups| ParquetMetaData::new(file_with_rows(&file, rows), groups));
        let engine = engine_of(&path);
        assert_eq!(engine.table("stars").unwrap().rows(), Some(2500), "{rows}");
        assert_eq!(ids(&collect(scan(&engine, &[]).unwrap())).len(), 2500);
    }
}

#[test]
fn pages_with_other_numbers_of_values_than_rows_fail() {
    for rows in [0, 1, 999, 1001, 1 << 40] {
        let (_folder, path) = with_footer(|file, mut groups| {
            groups[1] = with_rows(groups[1].clone(), rows);
            ParquetMetaData::new(file, groups)
        });
        let error = read(&path).unwrap_err();
        assert!(error.contains("row group 1"), "{rows}: {error}");
        assert_eq!(error.matches("stars.parquet").count(), 1, "{error}");
    }
}

#[test]
fn a_column_outside_of_the_file_is_refused_by_name() {
    for bytes in [1 << 60, 1 << 40, -1] {
        let (_folder, path) = with_footer(|file, mut groups| {
            let column = groups[0].column(1).clone().into_builder();
            let column = column.set_total_compressed_size(bytes).build().unwrap();
            groups[0].columns_mut()[1] = column;
            ParquetMetaData::new(file, groups)
        });
        let error = read(&path).unwrap_err();
        assert!(error.contains("row group 0: column \"RA\""), "{error}");
    }
}

#[test]
fn a_column_that_states_a_header_too_little_is_read() {
    let (_folder, path) = with_footer(|file, mut groups| {
        for column in groups[0].columns_mut() {
            let bytes = column.compressed_size() - 15;
            let changed = column.clone().into_builder();
            *column = changed.set_total_compressed_size(bytes).build().unwrap();
        }
        ParquetMetaData::new(file, groups)
    });
    // The page index begins where the last column should end.
    assert_eq!(read(&path).map(|batch| ids(&batch).len()), Ok(2500));
}

#[test]
fn an_unknown_converted_type_leaves_the_stored_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "number",
            Arc::new(Int8Array::from(vec![Some(-3), None, Some(7)])),
        ),
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(&path).unwrap();
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new();
    let options = options.with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Field 6 of the schema element behind its name: `INT_8`, 15 in zigzag.
    let element = b"\x06number\x25\x1e";
    let at = bytes
        .windows(element.len())
        .position(|window| window == element)
        .unwrap();
    bytes[at + element.len() - 1] = 24 << 1;
    fs::write(&path, bytes).unwrap();
    let read = read(&path).unwrap();
    assert_eq!(read.column(1), batch.column(1));
    let numbers = arrow::compute::cast(read.column(0), &arrow::datatypes::DataType::Int8);
    assert_eq!(&numbers.unwrap(), batch.column(0));
}

#[test]
fn statistics_that_are_no_values_of_the_column_change_nothing() {
    let (_folder, path) = with_footer(|file, mut groups| {
        // Of a writer that does not tell in which order they are.
        let file = FileMetaData::new(
            file.version(),
            file.num_rows(),
            None,
            None,
            file.schema_descr_ptr(),
            None,
        );
        let column = groups[0].column(2).clone().into_builder();
        let statistics = parquet::file::statistics::Statistics::byte_array(
            Some("z".into()),
            Some("z".into()),
            None,
            Some(0),
            true,
        );
        let column = column.set_statistics(statistics).build().unwrap();
        groups[0].columns_mut()[2] = column;
        ParquetMetaData::new(file, groups)
    });
    let engine = engine_of(&path);
    let found = scan(&engine, &[("name", "eq.star 5")]).unwrap();
    assert_eq!(ids(&collect(found)), [5]);
}

#[test]
fn no_changed_byte_of_a_file_ends_more_than_its_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new((0..20).collect::<Int64Array>())),
        ("text", Arc::new(StringArray::from(vec!["some text"; 20]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(&path).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        // Large numbers, negative ones, other types, ends.
        changed[at] = [0xff, 0x7f, changed[at] ^ 1, 0][at % 4];
        fs::write(&path, changed).unwrap();
        match read(&path) {
            Ok(batch) => assert!(batch.num_columns() > 0),
            Err(error) => assert!(!error.is_empty() && !error.contains('\n'), "{error}"),
        }
    }
}

#[test]
fn arrow_files_and_streams_one_behind_the_other_lose_no_rows_silently() {
    let folder = tempfile::tempdir().unwrap();
    let written = |first: i64, is_stream: bool| {
        let batch = stars(first, 50);
        let mut bytes = Vec::new();
        if is_stream {
            let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        } else {
            let mut writer = FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
        bytes
    };
    let opened = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let files = TableFiles::find(&path)?;
        let engine = engine();
        block_on(engine.register("stars", files, &ColumnMetadata::default()))?;
        Ok::<_, EngineError>(collect(scan(&engine, &[])?).num_rows())
    };
    for (is_stream, expected) in [(true, "second Arrow stream"), (false, "second Arrow file")] {
        let two = [written(0, is_stream), written(50, is_stream)].concat();
        let error = opened("two.arrow", &two).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let stream = written(0, true);
    assert_eq!(opened("one.arrow", &stream).unwrap(), 50);
    // The mark at the end is not required.
    assert_eq!(
        opened("unmarked.arrow", &stream[..stream.len() - 8]).unwrap(),
        50
    );
}

/// One value of each column is small enough, and all of them would fill the memory.
#[test]
fn columns_whose_pages_would_take_too_much_at_once_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.parquet");
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(30 << 20)]));
    let columns = (0..20).map(|place| (format!("c{place}"), Arc::clone(&long)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(path.metadata().unwrap().len() < 1 << 20);
    let engine = engine_of(&path);
    let error = scan(&engine, &[]).unwrap().find_map(Result::err).unwrap();
    let error = error.to_string();
    assert!(
        error.contains("row group 0: a batch of 20 columns would become 600"),
        "{error}"
    );
    let some = collect(scan(&engine, &[("select", "c3,c4")]).unwrap());
    assert_eq!(some.column(1), &long);
}

/// A dictionary of one long text, or of one wide value, which thousands of rows have: a batch has
/// 128 MiB.
#[test]
fn rows_that_repeat_a_huge_value_of_a_dictionary_come_in_smaller_batches() {
    let repeated = |values: ArrayRef| -> ArrayRef {
        let keys = Int8Array::from(vec![0; 8192]);
        Arc::new(DictionaryArray::new(keys, values))
    };
    let bytes = vec![0; 80 << 10];
    let fixed = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes.clone())).unwrap();
    for values in [
        repeated(Arc::new(BinaryArray::from(vec![bytes.as_slice()]))),
        repeated(Arc::new(fixed)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.parquet");
        let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_page_size_limit(2 << 20)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let file = fs::File::create(&path).unwrap();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert!(path.metadata().unwrap().len() < 10_000);
        let batches = scan(&engine_of(&path), &[]).unwrap();
        let rows: Vec<_> = batches.map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!(rows, [1638, 1638, 1638, 1638, 1638, 2]);
    }
}

/// Writes a file of a column of unsigned integers; returns the bytes, and where its types are.
fn unsigned(path: &Path) -> (Vec<u8>, usize) {
    let values = arrow::array::UInt64Array::from(vec![1, 2]);
    let batch = RecordBatch::try_from_iter([("big", Arc::new(values) as ArrayRef)]).unwrap();
    let file = fs::File::create(path).unwrap();
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let bytes = fs::read(path).unwrap();
    // Field 6 behind the name, `UINT_64`, and field 10, an integer of 64 bits.
    let element = b"\x03big\x25\x1c\x4c\xac\x13\x40";
    let mut windows = bytes.windows(element.len());
    let at = windows.position(|window| window == element).unwrap() + 4;
    (bytes, at)
}

#[test]
fn an_unknown_logical_type_leaves_the_other_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let (mut bytes, at) = unsigned(&path);
    let type_of = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let batch = read(&path).unwrap();
        assert_eq!(batch.num_rows(), 2);
        batch.column(0).data_type().clone()
    };
    use arrow::datatypes::DataType;
    assert_eq!(type_of(&bytes), DataType::UInt64);
    // The reserved number 9 stands for those that are to come.
    bytes[at + 3] = 0x9c;
    assert_eq!(type_of(&bytes), DataType::UInt64);
    bytes[at + 1] = 24 << 1;
    assert_eq!(type_of(&bytes), DataType::Int64);
}

#[test]
fn types_that_are_not_read_are_refused_with_their_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let (bytes, at) = unsigned(&path);
    for (place, byte, text) in [
        (
            5,
            0x80,
            "column \"big\" has integers of 128 bits, which are not read",
        ),
        (
            5,
            0x08,
            "column \"big\" is marked as integer and as UINT_64",
        ),
        (
            3,
            0x5c,
            "column \"big\" is marked as decimal and as UINT_64",
        ),
    ] {
        let mut bytes = bytes.clone();
        bytes[at + place] = byte;
        fs::write(&path, bytes).unwrap();
        let refusal = read(&path).unwrap_err();
        assert_eq!(refusal, format!("{}: {text}", path.display()));
    }
    // Arrow's integers have a size of 32 bits in the schema, which stands before all else.
    let path = folder.path().join("stars.arrow");
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("big", values)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let sizes = bytes.windows(4).enumerate();
    let sizes = sizes.filter(|(_, window)| *window == 64_i32.to_le_bytes());
    let refusals: Vec<_> = sizes
        .filter_map(|(at, _)| {
            let mut bytes = bytes.clone();
            bytes[at] = 128;
            fs::write(&path, bytes).unwrap();
            read(&path).err()
        })
        .collect();
    let text = "column \"big\" has a type that is not read: integers of 128 bits";
    let text = format!("{}: {text}", path.display());
    assert!(refusals.contains(&text), "{refusals:?}");
}

/// No checksum tells it before.
#[test]
fn a_page_that_cannot_be_decompressed_is_said_in_a_plain_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = fs::File::create(&path).unwrap();
    let batch = stars(0, 5000);
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Behind the magic and the header of the first page.
    bytes[40..80].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = scan(&engine_of(&path), &[]).unwrap().find_map(Result::err);
    let error = error.unwrap().to_string();
    let sentence = "stars.parquet: Parquet data cannot be read: its compressed values are damaged";
    assert!(error.ends_with(sentence), "{error}");
}

/// Nulls in a list take no bytes, and neither do the values of a run.
#[test]
fn values_that_the_bytes_of_an_arrow_file_do_not_hold_are_refused() {
    const MANY: i32 = 2_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let field = |data_type| Arc::new(Field::new("item", data_type, true));
    let offsets = OffsetBuffer::new(vec![0, MANY].into());
    let nulls: ArrayRef = Arc::new(NullArray::new(MANY as usize));
    let list = ListArray::new(
        field(DataType::Null),
        offsets.clone(),
        Arc::clone(&nulls),
        None,
    );
    let fixed = FixedSizeListArray::new(field(DataType::Null), MANY, nulls, None);
    let ends = Int32Array::from(vec![MANY]);
    let run = RunArray::try_new(&ends, &Int64Array::from(vec![7])).unwrap();
    let runs = ListArray::new(field(run.data_type().clone()), offsets, Arc::new(run), None);
    let columns: [ArrayRef; 3] = [Arc::new(list), Arc::new(fixed), Arc::new(runs)];
    for column in columns {
        let batch = RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        let mut writer =
            FileWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let error = read(&path).unwrap_err();
        let wanted = " bytes would become 2000000000 values, more than 16777216 and 8 for each \
                      byte that it may become (tables.expansion_max)";
        assert!(error.contains("t.arrow: a batch of "), "{error}");
        assert!(error.ends_with(wanted), "{error}");
    }
}

/// Writes a batch as an Arrow file, or as a stream.
fn arrow_bytes(batch: &RecordBatch, is_file: bool) -> Vec<u8> {
    if is_file {
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    } else {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    }
}

/// pyarrow writes the type of the innermost values and the keys of the inner dictionary: the format
/// has no place for what they stand for.
#[test]
fn a_dictionary_of_a_dictionary_is_refused_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let stream = |values: ArrayRef| {
        let column = DictionaryArray::new(Int32Array::from(vec![0, 1, 0]), values);
        let column: ArrayRef = Arc::new(column);
        let element = Arc::new(Field::new("item", column.data_type().clone(), true));
        let offsets = OffsetBuffer::new(vec![0, 1, 2, 3].into());
        let lists = ListArray::new(element, offsets, column, None);
        let plain = Int64Array::from(vec![1, 2, 3]);
        let columns: [(&str, ArrayRef); 2] = [("n", Arc::new(plain)), ("d", Arc::new(lists))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let bytes = arrow_bytes(&batch, false);
        let schema = 8 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        (bytes[..schema].to_vec(), bytes[schema..].to_vec())
    };
    let (schema, _) = stream(Arc::new(StringArray::from(vec!["a", "b"])));
    let (_, batches) = stream(Arc::new(Int8Array::from(vec![1, 0])));
    fs::write(&path, [schema, batches].concat()).unwrap();
    let refused = TableFiles::find(&path)
        .and_then(|files| block_on(engine().register("stars", files, &ColumnMetadata::default())));
    let wanted = format!(
        "{}: column \"d\" has a dictionary of a dictionary, whose values are not in the file",
        path.display()
    );
    assert_eq!(refused.unwrap_err().to_string(), wanted);
}

#[test]
fn a_union_of_no_types_is_refused_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    let members = Fields::from(vec![Field::new("m", union, true)]);
    let fields = vec![
        Field::new("n", DataType::Int64, true),
        Field::new("u", DataType::Struct(members), true),
    ];
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, &Schema::new(fields)).unwrap();
    fs::write(&path, bytes).unwrap();
    let refused = TableFiles::find(&path)
        .and_then(|files| block_on(engine().register("stars", files, &ColumnMetadata::default())));
    let wanted = format!("{}: column \"u\" has a union of no types", path.display());
    assert_eq!(refused.unwrap_err().to_string(), wanted);
}

/// The check before the first byte decodes no values: these are found while they are read.
#[test]
fn values_of_arrow_that_cannot_be_decoded_are_said_in_a_plain_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    for is_file in [true, false] {
        let bytes = arrow_bytes(&stars(1, 20), is_file);
        let mut damaged = bytes.clone();
        let at = place_of(&bytes, b"star 1star 2");
        damaged[at..at + 12].fill(0xff);
        fs::write(&path, &damaged).unwrap();
        let wanted = format!(
            "External error: {}: is damaged, or unknown to its reader: the log has more",
            path.display()
        );
        assert_eq!(read(&path).unwrap_err(), wanted);
        // The head of the first message.
        let mut damaged = bytes.clone();
        let at = if is_file { 16 } else { 8 };
        damaged[at..at + 4].fill(0xff);
        if is_file {
            let footer = damaged.len() - 10;
            let length = u32::from_le_bytes(damaged[footer..][..4].try_into().unwrap());
            damaged[footer - length as usize..][..4].fill(0xff);
        }
        fs::write(&path, &damaged).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("t.arrow: is damaged Arrow: "), "{error}");
        assert!(error.ends_with(" cannot be read"), "{error}");
    }
}

/// The decoder takes what there is of the text before.
#[test]
fn a_text_that_begins_with_more_than_the_text_before_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["abc", "abd", "abe"]));
    let batch = RecordBatch::try_from_iter([("x", texts)]).unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BYTE_ARRAY);
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&path).unwrap(), batch);
    // Blocks of 128 values in 4 parts, 3 values, of which the first is 0: it is 2 now.
    let prefixes = [0x80, 0x01, 0x04, 0x03, 0x00];
    let at = place_of(&bytes, &prefixes) + 4;
    bytes[at] = 0x04;
    fs::write(&path, &bytes).unwrap();
    let error = read(&path).unwrap_err();
    let wanted = "column \"x\": the lengths of its texts do not fit together";
    assert!(error.ends_with(wanted), "{error}");
}

/// The decoder takes numbers from any place.
#[test]
fn a_buffer_of_arrow_that_begins_between_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let numbers =
        |from: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(from..from + 4)) };
    let batch = RecordBatch::try_from_iter([("a", numbers(1)), ("b", numbers(9))]).unwrap();
    for is_file in [true, false] {
        let mut bytes = arrow_bytes(&batch, is_file);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), batch);
        // The place and the length of the second column.
        let buffer = [[64, 0, 0, 0, 0, 0, 0, 0], [32, 0, 0, 0, 0, 0, 0, 0]].concat();
        let at = place_of(&bytes, &buffer);
        bytes[at] = 60;
        fs::write(&path, &bytes).unwrap();
        let error = read(&path).unwrap_err();
        let wanted = "is damaged Arrow: a buffer begins at a place where none can begin";
        assert!(error.ends_with(wanted), "{error}");
    }
}

/// Returns where bytes are in others.
fn place_of(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

/// Lists of lists, of structs and of texts, a struct with a struct, and numbers that may be null.
fn nested_rows() -> RecordBatch {
    use arrow::{
        array::{StructArray, new_null_array},
        buffer::NullBuffer,
        compute::concat,
    };

    let list = |lengths: &[usize], valid: Vec<bool>, values: ArrayRef| -> ArrayRef {
        let element = Arc::new(Field::new("item", values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(
            element,
            offsets,
            values,
            Some(NullBuffer::from(valid)),
        ))
    };
    let numbers = |count: i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter(
            (0..count).map(|n| (n % 5 != 3).then_some(n)),
        ))
    };
    let lengths = [2, 0, 3, 0, 1, 4, 0, 2];
    let valid = vec![true, false, true, true, true, true, true, true];
    let inner = list(
        &[1, 0, 2, 3, 0, 1, 2, 2, 0, 0, 1, 4],
        vec![true; 12],
        numbers(16),
    );
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (0..12).map(|n| (n % 4 != 1).then(|| "t".repeat(n))),
    ));
    let parts = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Int32, true)),
            numbers(12),
        ),
        (
            Arc::new(Field::new("y", DataType::Utf8, true)),
            Arc::clone(&texts),
        ),
    ]);
    let of_struct = |rows: ArrayRef, name: &str| -> (Arc<Field>, ArrayRef) {
        (
            Arc::new(Field::new(name, rows.data_type().clone(), true)),
            rows,
        )
    };
    let deep = StructArray::from(vec![of_struct(numbers(8), "a"), of_struct(numbers(8), "b")]);
    let deep: ArrayRef = Arc::new(deep);
    let deep = concat(&[&deep.slice(0, 7), &new_null_array(deep.data_type(), 1)]).unwrap();
    RecordBatch::try_from_iter([
        ("lists", list(&lengths, valid.clone(), inner)),
        ("structs", list(&lengths, valid.clone(), Arc::new(parts))),
        ("texts", list(&lengths, valid, texts)),
        (
            "deep",
            Arc::new(StructArray::from(vec![of_struct(deep, "s")])) as ArrayRef,
        ),
        ("flat", numbers(8)),
    ])
    .unwrap()
}

/// How many values each row has. More cannot be told: a list that is empty has become null, or has got a
/// list that is empty.
fn values_by_row(rows: &RecordBatch) -> Vec<Vec<usize>> {
    let of_column = |column: &ArrayRef| {
        let rows = 0..column.len();
        rows.map(|row| values_in(&column.slice(row, 1))).collect()
    };
    rows.columns().iter().map(of_column).collect()
}

fn values_in(array: &dyn Array) -> usize {
    let valid = (0..array.len()).filter(|row| array.is_valid(*row));
    if let Some(lists) = array.as_any().downcast_ref::<ListArray>() {
        valid.map(|row| values_in(&lists.value(row))).sum()
    } else if let Some(parts) = array.as_any().downcast_ref::<arrow::array::StructArray>() {
        let of_row = |row| {
            parts
                .columns()
                .iter()
                .map(|part| values_in(&part.slice(row, 1)))
                .sum::<usize>()
        };
        valid.map(of_row).sum()
    } else {
        valid.count()
    }
}

/// A changed level moves values to other rows, which the decoder does not see. With
/// `DATASTREAMER_ALL_BITS` each bit is changed, which takes minutes.
#[test]
fn no_changed_bit_moves_a_value_to_another_row() {
    let is_complete = std::env::var_os("DATASTREAMER_ALL_BITS").is_some();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let rows = nested_rows();
    for version in [
        parquet::file::properties::WriterVersion::PARQUET_1_0,
        parquet::file::properties::WriterVersion::PARQUET_2_0,
    ] {
        // Keys of a dictionary come in groups of eight: one fewer cannot be told.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_writer_version(version)
            .set_encoding(Encoding::PLAIN)
            .set_compression(Compression::UNCOMPRESSED)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        let footer = writer.close().unwrap();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), rows);
        let columns = footer.row_group(0).columns().iter();
        let end = columns
            .map(|column| column.byte_range())
            .map(|(at, length)| at + length);
        let end = end.max().unwrap() as usize;
        let values = values_by_row(&rows);
        let mut refused = 0;
        for at in 4..end {
            // Of the levels, and of the lengths of their runs.
            let (first, bits) = match is_complete {
                true => (0, 8),
                false => ([0, 1, 3, 7][at % 4], 1),
            };
            for bit in first..first + bits {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                fs::write(&path, &changed).unwrap();
                match read(&path) {
                    Ok(read) => assert_eq!(values_by_row(&read), values, "byte {at} bit {bit}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 125, "{refused}");
    }
}

/// Arrow's own schema in the footer is a hint, which decoders follow: a time in other units, or a decimal
/// with another scale, would be another value.
#[test]
fn a_schema_in_the_footer_changes_no_value() {
    use arrow::array::{Decimal128Array, TimestampNanosecondArray};
    use parquet::{
        arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema},
        file::metadata::KeyValue,
    };

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let times = TimestampNanosecondArray::from(vec![0, 1_000_000_000]).with_timezone("UTC");
    let decimals = Decimal128Array::from(vec![12_345, -1]);
    let rows = RecordBatch::try_from_iter([
        ("t", Arc::new(times) as ArrayRef),
        (
            "d",
            Arc::new(decimals.with_precision_and_scale(9, 2).unwrap()),
        ),
    ])
    .unwrap();
    for (unit, decimal) in [
        (
            arrow::datatypes::TimeUnit::Microsecond,
            DataType::Decimal256(9, 3),
        ),
        (
            arrow::datatypes::TimeUnit::Second,
            DataType::Decimal64(9, 1),
        ),
        (
            arrow::datatypes::TimeUnit::Millisecond,
            DataType::Decimal32(9, 0),
        ),
    ] {
        let stated = Schema::new(vec![
            Field::new("t", DataType::Timestamp(unit, Some("UTC".into())), false),
            Field::new("d", decimal, false),
        ]);
        let entry = KeyValue::new(
            ARROW_SCHEMA_META_KEY.to_owned(),
            encode_arrow_schema(&stated),
        );
        let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![entry]));
        let options = ArrowWriterOptions::new()
            .with_properties(properties.build())
            .with_skip_arrow_metadata(true);
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new_with_options(file, rows.schema(), options).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let read = read(&path).unwrap();
        let cast = |column: &ArrayRef, of: &ArrayRef| arrow::compute::cast(column, of.data_type());
        for (column, written) in read.columns().iter().zip(rows.columns()) {
            assert_eq!(&cast(column, written).unwrap(), written);
        }
    }
}
