//! What the programs that astronomers check files with say: STILTS' votlint and tcopy, HEASARC's
//! fitsverify.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use arrow::{array::UInt64Array, datatypes::Schema, record_batch::RecordBatch};
use datastreamer_table::{meta, votable::Serialization};

use crate::tables::{
    Format, arrays_of_one, compare_all, lists, numbers, printable_texts, python, table,
    unicode_texts,
};

const VOTABLES: [Format; 3] = [
    Format::Votable(Serialization::Tabledata),
    Format::Votable(Serialization::Binary),
    Format::Votable(Serialization::Binary2),
];

fn run(program: &str, arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(file).output();
    output.unwrap_or_else(|error| {
        panic!("{program}, which scripts/install-test-tools installs: {error}")
    })
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn with_file<T>(encoded: &[u8], suffix: &str, check: impl FnOnce(&Path) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(format!("table{suffix}"));
    fs::write(&file, encoded).unwrap();
    check(&file)
}

/// Tables that all of VOTable and FITS hold.
fn tables_of_all() -> [RecordBatch; 4] {
    [numbers(), numbers().slice(0, 0), printable_texts(), lists()]
}

#[test]
fn votlint_finds_no_error_in_votables() {
    let tables = tables_of_all().into_iter();
    let tables = tables.chain([unicode_texts(), arrays_of_one()]);
    for (batch, format) in tables.flat_map(|it| VOTABLES.map(|format| (it.clone(), format))) {
        with_file(&format.encode(&[batch]), ".vot", |file| {
            let output = run("stilts", &["votlint"], file);
            let said = text(&output);
            assert!(output.status.success(), "{format:?}: {said}");
            // votlint ends well whatever it finds.
            assert!(!said.contains("ERROR"), "{format:?}: {said}");
            assert!(!said.contains("WARNING"), "{format:?}: {said}");
        });
    }
}

#[test]
fn votlint_finds_what_is_wrong() {
    let encoded = Format::Votable(Serialization::Tabledata).encode(&[numbers()]);
    let wrong = String::from_utf8(encoded)
        .unwrap()
        .replacen("<TD>7</TD>", "<TD>x</TD>", 1);
    with_file(wrong.as_bytes(), ".vot", |file| {
        assert!(text(&run("stilts", &["votlint"], file)).contains("ERROR"));
    });
}

#[test]
fn fitsverify_finds_nothing_to_say() {
    for batch in tables_of_all() {
        with_file(&Format::Fits.encode(&[batch]), ".fits", |file| {
            let output = run("fitsverify", &["-q"], file);
            let said = text(&output);
            assert!(output.status.success(), "{said}");
            assert!(said.starts_with("verification OK"), "{said}");
        });
    }
}

/// STILTS reads the file and writes it as another, which astropy then compares with the source.
#[test]
fn what_stilts_copies_has_the_values_of_the_source() {
    let all = numbers();
    // Without a name STILTS takes the file's, with which astropy does not agree.
    let name = HashMap::from([(meta::NAME.to_owned(), "numbers".to_owned())]);
    let named = Schema::new_with_metadata(all.schema().fields().clone(), name);
    let batches = [all.with_schema(Arc::new(named)).unwrap()];
    let copies = [
        (VOTABLES[0], ".vot", "ifmt=votable"),
        (VOTABLES[1], ".vot", "ifmt=votable"),
        (VOTABLES[2], ".vot", "ifmt=votable"),
        (Format::Fits, ".fits", "ifmt=fits"),
    ]
    .map(|(format, suffix, informat)| {
        with_file(&format.encode(&batches), suffix, |file| {
            let copy = file.with_file_name("copy.vot");
            let out = format!("out={}", copy.display());
            let input = format!("in={}", file.display());
            let mut command = Command::new("stilts");
            command.args([
                "tcopy",
                informat,
                "ofmt=votable-binary2-inline",
                &input,
                &out,
            ]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            fs::read(&copy).unwrap()
        })
    });
    let source = batches.as_slice();
    compare_all(copies.map(|copy| (VOTABLES[2].name(), source, copy)));
}

#[test]
fn nulls_among_unsigned_integers_of_64_bits_are_read_by_stilts_and_stored_as_the_header_says() {
    let stored = "import sys, numpy; from astropy.io import fits; h = fits.open(sys.argv[1])[1]; \
                  nulls = h.data.view(numpy.ndarray)['u'] == h.header['TNULL1']; \
                  print([None if n else int(v) for v, n in zip(h.data['u'], nulls)])";
    // Whichever end of the range is free stands for null, and one within where none is.
    for values in [
        vec![Some(5), None, Some(u64::MAX)],
        vec![Some(0), None, Some(u64::MAX - 1)],
        vec![Some(0), None, Some(1 << 63), Some(u64::MAX)],
    ] {
        let batch = table(vec![("u", Arc::new(UInt64Array::from(values.clone())))]);
        with_file(&Format::Fits.encode(&[batch]), ".fits", |file| {
            let digits = |value: &Option<u64>| value.map_or(String::new(), |v| v.to_string());
            let lines: Vec<String> = values.iter().map(digits).collect();
            let output = run("stilts", &["tcopy", "ifmt=fits", "ofmt=csv", "out=-"], file);
            assert_eq!(text(&output), format!("u\n{}\n", lines.join("\n")));
            let output = run(python().to_str().unwrap(), &["-c", stored], file);
            let expected = format!("{values:?}\n")
                .replace("Some(", "")
                .replace(')', "");
            assert_eq!(text(&output), expected);
        });
    }
}
