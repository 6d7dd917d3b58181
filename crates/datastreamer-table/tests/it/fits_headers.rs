//! What a FITS header says beyond names and types, as astropy and HEASARC's fitsverify take it.

use std::{collections::HashMap, fs, path::Path, process::Command, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, FixedSizeListArray, Float64Array, TimestampSecondArray},
    datatypes::{DataType, Field, Int32Type, Schema, TimeUnit},
    record_batch::RecordBatch,
};
use datastreamer_table::{self, meta, votable::Serialization};

use crate::tables::{Format, python};

const TCB: (&str, &str) = (meta::TIMESCALE, "TCB");
const BARYCENTER: (&str, &str) = (meta::REFPOSITION, "BARYCENTER");

fn field(name: &str, data_type: DataType, known: &[(&str, &str)]) -> Field {
    let known = known.iter();
    let known: HashMap<_, _> = known
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Field::new(name, data_type, true).with_metadata(known)
}

/// Columns of positions and times, of which some are null, with their systems.
fn with_systems() -> RecordBatch {
    let place = [(meta::UCD, "pos.eq.ra"), (meta::COOSYS, "ICRS")];
    let number = [
        (meta::UCD, "time.epoch"),
        (meta::UNIT, "d"),
        (meta::TIMEORIGIN, "2455197.5"),
        TCB,
        BARYCENTER,
    ];
    let schema = Schema::new(vec![
        field("ra", DataType::Float64, &place),
        field("time", DataType::Float64, &number),
        field(
            "text",
            DataType::Timestamp(TimeUnit::Second, None),
            &[TCB, BARYCENTER],
        ),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Float64Array::from(vec![Some(1.5), None])),
            Arc::new(Float64Array::from(vec![Some(0.25), None])),
            Arc::new(TimestampSecondArray::from(vec![Some(0), None])),
        ],
    )
    .unwrap()
}

/// Writes a table and hands its file to a check.
fn with_file<T>(batch: &RecordBatch, check: impl FnOnce(&Path) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("table.fits");
    fs::write(&file, Format::Fits.encode(std::slice::from_ref(batch))).unwrap();
    check(&file)
}

/// What a Python program prints of a file; a warning is a failure.
fn said_by_python(program: &str, file: &Path) -> String {
    let output = Command::new(python())
        .args(["-W", "error", "-c", program])
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fitsverify_has_nothing_to_say(file: &Path) {
    let output = Command::new("fitsverify").arg("-q").arg(file).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("verification OK"), "{said}");
}

#[test]
fn systems_are_what_astropy_takes_for_instants_and_frames_without_a_warning() {
    let batch = with_systems();
    Format::Fits.reads_back(std::slice::from_ref(&batch));
    let instants = "import sys; from astropy.table import Table; \
                    t = Table.read(sys.argv[1], hdu=1, astropy_native=True); \
                    print(t['time'].scale, t['time'][0].jd, t['time'].mask[1], t.meta['RADESYS'])";
    let said = with_file(&batch, |file| said_by_python(instants, file));
    assert_eq!(said, "tcb 2455197.75 True ICRS\n");
    with_file(&batch, fitsverify_has_nothing_to_say);
}

#[test]
fn an_equinox_that_is_not_the_usual_one_of_the_frame_stands_in_the_header() {
    let known = [
        (meta::UCD, "pos.eq.ra"),
        (meta::COOSYS, "FK5"),
        (meta::EQUINOX, "J1975.0"),
    ];
    let schema = Schema::new(vec![field("ra", DataType::Float64, &known)]);
    let batch = RecordBatch::new_empty(Arc::new(schema));
    let cards = "import sys; from astropy.io import fits; h = fits.getheader(sys.argv[1], 1); \
                 print(h['RADESYS'], h['EQUINOX'])";
    let said = with_file(&batch, |file| said_by_python(cards, file));
    assert_eq!(said, "FK5 1975.0\n");
    with_file(&batch, fitsverify_has_nothing_to_say);
}

#[test]
fn the_axes_of_arrays_are_those_that_astropy_has_and_a_shape_of_others_says_nothing() {
    let shapes = "import sys, warnings; from astropy.table import Table; \
                  from astropy.io.votable import parse_single_table as vot; \
                  warnings.simplefilter('ignore') if sys.argv[1].endswith('vot') else None; \
                  t = Table.read(sys.argv[1], hdu=1) if sys.argv[1].endswith('fits') \
                  else vot(sys.argv[1]).to_table(); \
                  print([t[c].shape for c in t.colnames], t['a'][1].tolist())";
    let elements = [1, 2, 3, 4, 5, 6].map(Some);
    let arrays = [Some(elements), Some([7, 8, 9, 10, 11, 12].map(Some))];
    let arrays = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(arrays, 6);
    let shape = |text| [(meta::SHAPE, text)];
    let list = arrays.data_type();
    let schema = Schema::new(vec![
        field("a", list.clone(), &shape("(3,2)")),
        field("b", list.clone(), &shape("(2,2)")),
        field("c", list.clone(), &shape("six")),
    ]);
    let arrays: ArrayRef = Arc::new(arrays);
    let columns = vec![Arc::clone(&arrays), Arc::clone(&arrays), arrays];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let expected = "[(2, 2, 3), (2, 6), (2, 6)] [[7, 8, 9], [10, 11, 12]]\n";
    assert_eq!(
        with_file(&batch, |file| said_by_python(shapes, file)),
        expected
    );
    with_file(&batch, fitsverify_has_nothing_to_say);
    for serialization in [
        Serialization::Tabledata,
        Serialization::Binary,
        Serialization::Binary2,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("table.vot");
        let encoded = Format::Votable(serialization).encode(std::slice::from_ref(&batch));
        fs::write(&file, encoded).unwrap();
        assert_eq!(said_by_python(shapes, &file), expected);
    }
}

#[test]
fn a_name_that_takes_more_than_a_card_is_refused_and_one_that_fills_it_reads_back() {
    let named = |name: &str| {
        let values = Arc::new(Float64Array::from(vec![1.5]));
        RecordBatch::try_from_iter([(name, values as ArrayRef)]).unwrap()
    };
    for long in ["n".repeat(69), "n".repeat(67) + "'"] {
        let refused = datastreamer_table::Format::Fits.check(&named(&long).schema());
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "column {long:?}: FITS holds names of 68 characters at most, a quote counted twice"
            )
        );
    }
    for name in ["n".repeat(68), "n".repeat(64) + "''"] {
        Format::Fits.reads_back(&[named(&name)]);
    }
}

#[test]
fn a_text_that_goes_on_over_cards_is_announced_and_no_other() {
    let described = |letters: usize| {
        let description = "it's long".repeat(letters);
        let known = [(meta::DESCRIPTION, description.as_str())];
        let schema = Schema::new(vec![field("x", DataType::Float64, &known)]);
        RecordBatch::new_empty(Arc::new(schema))
    };
    let cards = "import sys; from astropy.io import fits; h = fits.getheader(sys.argv[1], 1); \
                 print(h.get('LONGSTRN'), h['TCOMM1'])";
    for (letters, announced) in [(1, "None"), (50, "OGIP 1.0")] {
        let batch = described(letters);
        with_file(&batch, fitsverify_has_nothing_to_say);
        let said = with_file(&batch, |file| said_by_python(cards, file));
        assert_eq!(
            said,
            format!("{announced} {}\n", "it's long".repeat(letters))
        );
    }
}
