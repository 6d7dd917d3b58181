//! Files that are cut, wrong or hostile: an error says what and where; nothing panics, and nothing
//! is allocated that the file does not have.

use std::{fs, path::Path, sync::OnceLock};

use arrow::{error::ArrowError, record_batch::RecordBatchReader};
use datastreamer_table::fits::{FitsError, FitsFile};
use proptest::prelude::*;

use crate::{
    fits_astropy,
    fits_files::{BLOCK, fits, table},
};

/// A batch of 16 MiB in the file, of which a byte that is scaled becomes eight, and room to grow.
const BATCH_BYTES_MAX: usize = 2 * 8 * (16 << 20);

/// Opens the bytes and reads all rows: what went wrong, if anything did.
fn read(bytes: &[u8]) -> Result<u64, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    fs::write(&path, bytes).unwrap();
    read_file(&path)
}

fn read_file(path: &Path) -> Result<u64, String> {
    let table = FitsFile::open(path).map_err(|error| error.to_string())?;
    let reader = table.reader(None, 0..table.rows(), 1000);
    let reader = reader.map_err(|error| error.to_string())?;
    let (schema, mut rows) = (reader.schema(), 0);
    for batch in reader.take(50) {
        let batch = batch.map_err(|error| match error {
            ArrowError::ExternalError(error) => error.downcast::<FitsError>().unwrap().to_string(),
            error => panic!("{error}"),
        })?;
        assert_eq!(batch.schema(), schema);
        assert!(batch.get_array_memory_size() < BATCH_BYTES_MAX);
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

#[test]
fn a_truncated_file_says_how_many_bytes_are_missing() {
    let whole = table(4, 1000, 0, &["J"], &[7; 4000]);
    assert_eq!(read(&whole), Ok(1000));
    assert_eq!(
        read(&whole[..2 * BLOCK + 3900]),
        Err(
            "the file is truncated: 100 bytes are missing of the data that begins at byte 5760"
                .to_owned()
        )
    );
    // Only padding is missing.
    assert_eq!(read(&whole[..2 * BLOCK + 4000]), Ok(1000));
    let error = read(&whole[..2 * BLOCK - 1]).unwrap_err();
    assert_eq!(
        error,
        "no table: there are none: HDU 0 (PRIMARY) is an image"
    );
    assert!(read(b"").unwrap_err().starts_with("not a FITS file"));
    assert!(
        read(&[b' '; 9000])
            .unwrap_err()
            .starts_with("not a FITS file")
    );
}

#[test]
fn sizes_that_no_file_has_are_refused_before_anything_is_allocated() {
    let huge = "999999999J";
    for (row_bytes, rows, form) in [
        (3_999_999_996, 1, huge),
        (3_999_999_996, u64::MAX, huge),
        (u64::MAX, 2, "J"),
        (4, u64::MAX, "J"),
        (4, 1 << 61, "J"),
    ] {
        let error = read(&table(row_bytes, rows, 0, &[form], &[0; 40])).unwrap_err();
        let said = ["truncated", "larger than any file"];
        assert!(said.iter().any(|text| error.contains(text)), "{error}");
    }
    assert_eq!(
        read(&table(4, 10, 0, &[huge], &[0; 40])).unwrap_err(),
        "header, byte 2880: rows are of 4 bytes (NAXIS1), the columns take 3999999996"
    );
    let wide = read(&table(4, 10, 0, &["99999999999999999999J"], &[0; 40])).unwrap_err();
    assert_eq!(wide, "column \"col1\": TFORM1 is \"99999999999999999999J\"");
    let wide = read(&table(4, 10, 0, &["9999999999999999999J"], &[0; 40])).unwrap_err();
    assert!(wide.ends_with("too wide"), "{wide}");
    let none = read(&table(0, u64::MAX, 0, &["0J"], &[])).unwrap_err();
    assert!(none.ends_with("rows of 0 bytes"), "{none}");
    let many = read(&fits(
        &[
            "XTENSION= 'BINTABLE'",
            "BITPIX  = 8",
            "NAXIS   = 2",
            "NAXIS1  = 4",
            "NAXIS2  = 1",
            "TFIELDS = 4000000000",
        ],
        &[0; 4],
    ));
    assert!(many.unwrap_err().contains("999 columns are the most"));
}

#[test]
fn a_wrong_value_is_named_with_its_row_column_and_byte() {
    let descriptors = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1, 2, 3, 4];
    assert_eq!(
        read(&table(8, 2, 4, &["PI"], &descriptors)).unwrap_err(),
        "row 2, column \"col1\", byte 5768: 2 elements at 1 are not within the heap of 4 bytes"
    );
    let negative = [255; 16];
    let error = read(&table(16, 1, 0, &["QD"], &negative)).unwrap_err();
    assert!(error.contains("-1 elements at -1"), "{error}");
}

#[test]
fn a_header_that_is_wrong_is_named_with_its_byte() {
    let wrong = |from: &str, to: &str| {
        let whole = table(4, 1, 0, &["J"], &[0; 4]);
        let at = whole
            .windows(from.len())
            .rposition(|window| window == from.as_bytes());
        let mut file = whole;
        file[at.unwrap()..at.unwrap() + to.len()].copy_from_slice(to.as_bytes());
        read(&file).unwrap_err()
    };
    assert_eq!(
        wrong("NAXIS1  = 4", "NAXIS1  = x"),
        "header, byte 3120: NAXIS1 is \"x\""
    );
    assert_eq!(
        wrong("NAXIS2 ", "NAXIS8 "),
        "header, byte 2880: NAXIS2 is missing"
    );
    assert_eq!(wrong("'J'", "'Z'"), "column \"col1\": TFORM1 is \"Z\"");
    assert_eq!(
        wrong("TFORM1 ", "TFORM2 "),
        "column \"col1\": TFORM1 is missing"
    );
    assert_eq!(
        wrong("END      ", "ENDLESS  "),
        "header, byte 2880: the file ends before the header does"
    );
}

#[test]
fn rows_that_all_refer_to_the_same_large_cell_do_not_fill_the_memory() {
    // 30 000 rows of 1 MB each, in a file of 1.2 MB.
    let (rows, cell_bytes) = (30_000, 1_000_000);
    let mut data: Vec<u8> = Vec::new();
    for _ in 0..rows {
        data.extend_from_slice(&(cell_bytes as i32).to_be_bytes());
        data.extend_from_slice(&0_i32.to_be_bytes());
    }
    data.resize(data.len() + cell_bytes, 1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    fs::write(&path, table(8, rows, cell_bytes as u64, &["PB"], &data)).unwrap();
    let table = FitsFile::open(&path).unwrap();
    let batch = table
        .reader(None, 0..rows, 8192)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(
        (10..=17).contains(&batch.num_rows()),
        "{}",
        batch.num_rows()
    );
    let error = table.read(0..rows, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "rows 0 to 30000 take more than 1 GiB: ask for fewer at once"
    );
}

#[test]
fn a_reader_ends_after_its_first_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    fs::write(&path, table(1, 4, 0, &["L"], b"TxTT")).unwrap();
    let table = FitsFile::open(&path).unwrap().strict();
    let mut reader = table.reader(None, 0..4, 1).unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn null_texts_begin_with_nul_and_blanks_are_cut_at_the_end_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    let data = b"\0bc    a  b\0c a";
    fs::write(&path, table(3, 5, 0, &["3A"], data)).unwrap();
    let table = FitsFile::open(&path).unwrap();
    let batch = table.read(0..5, None).unwrap();
    let texts = arrow::array::AsArray::as_string::<i32>(batch.column(0));
    let texts: Vec<Option<&str>> = texts.iter().collect();
    assert_eq!(texts, [None, Some(""), Some(" a"), Some(" b"), Some("c a")]);
}

/// Small files of astropy's, of every kind of column.
fn samples() -> &'static [Vec<u8>] {
    static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let directory = fits_astropy::written();
        let names = [
            "numbers",
            "scaled",
            "arrays",
            "texts",
            "heap",
            "wide_heap",
            "known",
            "ascii",
        ];
        let files = names
            .iter()
            .map(|name| directory.path().join(format!("{name}.fits")));
        files.map(|file| fs::read(file).unwrap()).collect()
    })
}

#[test]
fn files_with_changed_bytes_never_panic() {
    let cases = ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let change = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
        any::<bool>(),
    );
    let changes = prop::collection::vec(change, 1..6);
    let cut = prop::option::weighted(0.1, any::<prop::sample::Index>());
    proptest!(cases, |(sample in 0..8_usize, changes in changes, cut in cut)| {
        let mut file = samples()[sample].clone();
        // The table's header stands behind an array and an image, or at once.
        let marks = [&b"XTENSION= 'BINTABLE'"[..], b"XTENSION= 'TABLE"];
        let is_mark = |at: &usize| marks.iter().any(|mark| file[*at..].starts_with(mark));
        let at = (0..file.len()).step_by(BLOCK).find(is_mark).unwrap();
        for (index, byte, in_header, is_digit) in changes {
            let place = match in_header {
                true => at + index.index(4 * BLOCK.min((file.len() - at) / 4)),
                false => at + index.index(file.len() - at),
            };
            file[place] = if is_digit { b'0' + byte % 10 } else { byte };
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        // Either is good.
        let _read = read(&file);
    });
}
