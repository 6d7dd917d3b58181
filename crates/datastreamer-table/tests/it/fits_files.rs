//! FITS files byte by byte, as no library would write them.

pub(crate) const BLOCK: usize = 2880;

/// A file of one table: its cards, and its data.
pub(crate) fn fits(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut file = header(&[
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    0",
        "EXTEND  =                    T",
    ]);
    file.extend(header(cards));
    file.extend_from_slice(data);
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

fn header(cards: &[&str]) -> Vec<u8> {
    let all = cards.iter().chain(&["END"]);
    let mut header: Vec<u8> = all
        .flat_map(|card| format!("{card:<80}").into_bytes())
        .collect();
    header.resize(header.len().next_multiple_of(BLOCK), b' ');
    header
}

/// A table of these rows, columns and heap.
pub(crate) fn table(
    row_bytes: u64,
    rows: u64,
    heap_bytes: u64,
    columns: &[&str],
    data: &[u8],
) -> Vec<u8> {
    table_with(row_bytes, rows, heap_bytes, columns, &[], data)
}

/// The same with more cards.
pub(crate) fn table_with(
    row_bytes: u64,
    rows: u64,
    heap_bytes: u64,
    columns: &[&str],
    cards: &[&str],
    data: &[u8],
) -> Vec<u8> {
    let fixed = [
        "XTENSION= 'BINTABLE'".to_owned(),
        "BITPIX  = 8".to_owned(),
        "NAXIS   = 2".to_owned(),
        format!("NAXIS1  = {row_bytes}"),
        format!("NAXIS2  = {rows}"),
        format!("PCOUNT  = {heap_bytes}"),
        "GCOUNT  = 1".to_owned(),
        format!("TFIELDS = {}", columns.len()),
    ];
    let forms = columns.iter().enumerate();
    let forms = forms.map(|(place, form)| format!("TFORM{:<3}= '{form}'", place + 1));
    let all: Vec<String> = fixed.into_iter().chain(forms).collect();
    let all = all.iter().map(String::as_str).chain(cards.iter().copied());
    fits(&all.collect::<Vec<_>>(), data)
}

/// Writes a file and opens it.
pub(crate) fn with_file<T>(bytes: &[u8], read: impl FnOnce(&std::path::Path) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.fits");
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}
