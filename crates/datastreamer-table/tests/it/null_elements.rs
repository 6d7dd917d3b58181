//! Nulls within lists, in VOTable and FITS: astropy and STILTS read each as a null, or as what the
//! documentation says stands for one, or there is no file.

use std::{collections::HashMap, fs, process::Command, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
        FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
        Int64Array, ListArray, StringArray, TimestampMicrosecondArray, UInt8Array, UInt16Array,
        UInt32Array, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    Format::{self, Fits, Votable, VotableBinary, VotableBinary2},
    TableEnd, WriterOptions, meta,
};

use crate::tables::python;

const VOTABLES: [Format; 3] = [Votable, VotableBinary, VotableBinary2];
const BOOLEANS: &str = "row 1, column \"l\": a list of booleans has a null, which programs read as \
                        false: ask for another format, or leave the column out";
const NO_VALUE: &str = "row 1, column \"l\": a list's element is null, and no value stands for it: \
                        give one in the column's metadata (null)";

/// Three rows of these five values: `[0, null]`, `[]`, `[2, null, 4]`.
fn lists(values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([2, 0, 3]);
    Arc::new(ListArray::new(item, offsets, values, None))
}

/// Two rows of these four values, of which the second row is null.
fn pairs(values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = Some(NullBuffer::from(vec![true, false]));
    Arc::new(FixedSizeListArray::new(item, 2, values, nulls))
}

fn batch(lists: ArrayRef, metadata: &[(&str, &str)]) -> RecordBatch {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let field = Field::new("l", lists.data_type().clone(), true);
    let field = field.with_metadata(metadata.collect::<HashMap<_, _>>());
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![lists]).unwrap()
}

fn write(batch: &RecordBatch, format: Format) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let options = WriterOptions::default();
    let mut writer = format
        .writer(&mut out, batch.schema(), &options)
        .map_err(|error| error.to_string())?;
    writer.write(batch).map_err(|error| error.to_string())?;
    writer
        .finish(TableEnd::Complete)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// What astropy and STILTS find in the column of a VOTable.
fn read(file: &[u8]) -> [String; 2] {
    read_as("votable", file)
}

fn read_as(format: &str, file: &[u8]) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    fs::write(&path, file).unwrap();
    let program = "import sys, warnings; warnings.simplefilter('ignore')\n\
        from astropy.table import Table\n\
        print([v if isinstance(v, str) else v.tolist() for v in Table.read(sys.argv[1], format=sys.argv[2])['l']])";
    let mut astropy = Command::new(python());
    let astropy = astropy.args(["-c", program]).arg(&path).arg(format);
    let mut stilts = Command::new("stilts");
    let input = format!("in={}", path.display());
    let format = format!("ifmt={format}");
    let stilts = stilts.args(["tpipe", &input, &format, "ofmt=csv"]);
    let [astropy, stilts] = [astropy, stilts].map(|command| {
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    });
    [astropy, stilts]
}

#[test]
fn a_null_among_booleans_is_refused_where_a_program_reads_it_as_false() {
    let some = || {
        let values = [Some(true), None, Some(true), None, Some(false)];
        Arc::new(BooleanArray::from_iter(values))
    };
    for format in VOTABLES.into_iter().chain([Fits]) {
        let refused = write(&batch(lists(some()), &[]), format);
        assert_eq!(refused.unwrap_err(), BOOLEANS, "{format}");
    }
    let full = || Arc::new(BooleanArray::from(vec![true, false, true, true]));
    let refused = |format| write(&batch(pairs(full()), &[]), format).unwrap_err();
    for format in [VotableBinary, Fits] {
        assert_eq!(
            refused(format),
            BOOLEANS.replace("row 1", "row 2"),
            "{format}"
        );
    }
    // An empty cell and a mask say that a row is null.
    for format in [Votable, VotableBinary2] {
        let file = write(&batch(pairs(full()), &[]), format).unwrap();
        let expected = ["[[True, False], [None, None]]", "l\n\"(true, false)\""];
        assert_eq!(read(&file), expected, "{format}");
    }
}

#[test]
fn a_null_among_integers_has_a_value_of_its_own_or_is_refused() {
    let all: [ArrayRef; 6] = [
        Arc::new(Int8Array::from(vec![Some(1), None, Some(3), None, Some(5)])),
        Arc::new(Int16Array::from(vec![
            Some(1),
            None,
            Some(3),
            None,
            Some(5),
        ])),
        Arc::new(Int32Array::from(vec![
            Some(1),
            None,
            Some(3),
            None,
            Some(5),
        ])),
        Arc::new(Int64Array::from(vec![
            Some(1),
            None,
            Some(3),
            None,
            Some(5),
        ])),
        Arc::new(UInt8Array::from(vec![
            Some(1),
            None,
            Some(3),
            None,
            Some(5),
        ])),
        Arc::new(UInt64Array::from(vec![
            Some(1),
            None,
            Some(3),
            None,
            Some(5),
        ])),
    ];
    for values in all {
        let kind = values.data_type().clone();
        for format in VOTABLES {
            let refused = write(&batch(lists(Arc::clone(&values)), &[]), format);
            assert_eq!(refused.unwrap_err(), NO_VALUE, "{kind} {format}");
            let named = batch(lists(Arc::clone(&values)), &[(meta::NULL, "99")]);
            let file = write(&named, format).unwrap();
            // STILTS has the value that stands for null.
            let expected = [
                "[[1, None], [], [3, None, 5]]",
                "l\n\"(1, 99)\"\n\n\"(3, 99, 5)\"",
            ];
            assert_eq!(read(&file), expected, "{kind} {format}");
            let taken = batch(lists(Arc::clone(&values)), &[(meta::NULL, "5")]);
            let error = write(&taken, format).unwrap_err();
            assert!(
                error.starts_with("row 3, column \"l\": the value is the one"),
                "{error}"
            );
        }
    }
}

/// astropy (8.0) adds no offset to arrays in the heap, or a wrong one, so there is none.
#[test]
fn integers_in_lists_of_fits_are_the_same_in_every_program() {
    macro_rules! extremes {
        ($($array:ident: $least:expr, $greatest:expr;)*) => {
            [$((
                Arc::new($array::from(vec![$least, $greatest, 0, 1, 2])) as ArrayRef,
                $least.to_string(),
                $greatest.to_string(),
            )),*]
        };
    }
    for (values, least, greatest) in extremes! {
        Int8Array: i8::MIN, i8::MAX;
        UInt8Array: u8::MIN, u8::MAX;
        Int16Array: i16::MIN, i16::MAX;
        UInt16Array: u16::MIN, u16::MAX;
        Int32Array: i32::MIN, i32::MAX;
        UInt32Array: u32::MIN, u32::MAX;
        Int64Array: i64::MIN, i64::MAX;
        UInt64Array: u64::MIN, i64::MAX as u64;
    } {
        let kind = values.data_type().clone();
        let file = write(&batch(lists(values), &[]), Fits).unwrap();
        let astropy = format!("[[{least}, {greatest}], [], [0, 1, 2]]");
        let stilts = format!("l\n\"({least}, {greatest})\"\n\n\"(0, 1, 2)\"");
        assert_eq!(read_as("fits", &file), [astropy, stilts], "{kind}");
    }
    let beyond = UInt64Array::from(vec![0, 1, 2, 1 << 63, 3]);
    let refused = write(&batch(lists(Arc::new(beyond)), &[]), Fits).unwrap_err();
    let expected = "row 3, column \"l\": programs read an unsigned 64-bit integer beyond \
                    9223372036854775807 in a list of FITS as another number";
    assert!(refused.starts_with(expected), "{refused}");
}

/// Beside an offset astropy takes TNULL for a value behind it, and fails.
#[test]
fn a_null_among_unsigned_integers_of_64_bits_is_null_in_fits() {
    let values = UInt64Array::from(vec![Some(0), None, Some(i64::MAX as u64)]);
    let file = write(&batch(Arc::new(values), &[]), Fits).unwrap();
    let expected = [
        format!("[0, None, {}]", i64::MAX),
        format!("l\n0\n\n{}", i64::MAX),
    ];
    assert_eq!(read_as("fits", &file), expected);
    let fixed = UInt64Array::from(vec![Some(1), None, Some(3), Some(4)]);
    let file = write(&batch(pairs(Arc::new(fixed)), &[]), Fits).unwrap();
    let [astropy, _] = read_as("fits", &file);
    assert_eq!(astropy, "[[1, None], [None, None]]");
}

#[test]
fn a_null_among_floats_is_nan() {
    let values = [Some(1.5), None, Some(3.5), None, Some(5.5)];
    let all: [ArrayRef; 2] = [
        Arc::new(Float64Array::from_iter(values)),
        Arc::new(Float32Array::from_iter(
            values.map(|value| value.map(|value| value as f32)),
        )),
    ];
    for values in all {
        for format in VOTABLES {
            let file = write(&batch(lists(Arc::clone(&values)), &[]), format).unwrap();
            let expected = [
                "[[1.5, None], [], [3.5, None, 5.5]]",
                "l\n\"(1.5, NaN)\"\n\n\"(3.5, NaN, 5.5)\"",
            ];
            assert_eq!(read(&file), expected, "{format}");
        }
    }
}

#[test]
fn a_null_among_others_is_null_in_json() {
    let time = 1_577_934_245_000_000;
    let all: [(ArrayRef, &str); 5] = [
        (
            Arc::new(StringArray::from_iter([
                Some("a"),
                None,
                Some(""),
                None,
                Some("c"),
            ])),
            "['[\"a\",null]', '[]', '[\"\",null,\"c\"]']",
        ),
        (
            Arc::new(BinaryArray::from_iter([
                Some(b"\x01"),
                None,
                Some(b"\x02"),
                None,
                Some(b"c"),
            ])),
            "['[\"01\",null]', '[]', '[\"02\",null,\"63\"]']",
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(time),
                None,
                Some(0),
                None,
                Some(1),
            ])),
            "['[\"2020-01-02T03:04:05.000000\",null]', '[]', \
             '[\"1970-01-01T00:00:00.000000\",null,\"1970-01-01T00:00:00.000001\"]']",
        ),
        (
            Arc::new(Date32Array::from(vec![
                Some(18263),
                None,
                Some(0),
                None,
                Some(1),
            ])),
            "['[\"2020-01-02\",null]', '[]', '[\"1970-01-01\",null,\"1970-01-02\"]']",
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![Some(150), None, Some(0), None, Some(-1)])
                    .with_precision_and_scale(5, 2)
                    .unwrap(),
            ),
            "['[1.50,null]', '[]', '[0.00,null,-0.01]']",
        ),
    ];
    for (values, expected) in all {
        for format in VOTABLES {
            let file = write(&batch(lists(Arc::clone(&values)), &[]), format).unwrap();
            let [astropy, stilts] = read(&file);
            assert_eq!(astropy, expected, "{format}");
            // CSV doubles the quotes of the same texts.
            let stilts = stilts.replace("\"\"", "\"").replace('\n', " ");
            for row in expected.trim_matches(['[', ']']).split("', '") {
                let row = row.trim_matches('\'');
                assert!(stilts.contains(row), "{format}: {row} in {stilts}");
            }
        }
    }
}

/// Each text has as many places, and one that is null has nothing in them: as the empty text has.
#[test]
fn a_null_among_texts_of_a_width_is_empty() {
    let texts = StringArray::from_iter([Some("ab"), None, Some(""), None, Some("c")]);
    let batch = batch(lists(Arc::new(texts)), &[(meta::WIDTH, "2")]);
    for format in VOTABLES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.vot");
        fs::write(&path, write(&batch, format).unwrap()).unwrap();
        let input = format!("in={}", path.display());
        let output = Command::new("stilts")
            .args(["tpipe", &input, "ifmt=votable", "ofmt=csv"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said, "l\n\"(ab, null)\"\n\n\"(null, null, c)\"\n",
            "{format}"
        );
    }
}
