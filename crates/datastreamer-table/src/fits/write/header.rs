//! The two headers: an empty primary array, then the binary table (FITS 4.0, 4 and 7.3).

use arrow::datatypes::Schema;

use super::{
    BLOCK_BYTES,
    layout::{FitsColumn, Layout},
    systems::Systems,
};
use crate::{meta, names::with_names, times::xtype};

/// A card (FITS 4.0, 4.1).
const CARD_BYTES: usize = 80;

/// What a text on a card of its own may take, without the quotes (FITS 4.0, 4.2.1).
const CARD_TEXT_BYTES: usize = 68;

/// What a card of a comment begins with, and how many bytes it may have behind that (FITS 4.0,
/// 4.4.2.4).
const COMMENT: &[u8] = b"COMMENT ";
const COMMENT_BYTES: usize = CARD_BYTES - COMMENT.len();

/// What a card begins with on which a text goes on (FITS 4.0, 4.2.1.2).
const CONTINUE: &[u8] = b"CONTINUE  ";

pub(super) fn header(schema: &Schema, layout: &Layout) -> Vec<u8> {
    let schema = &*with_names(schema);
    let mut out = Vec::new();
    logical(&mut out, "SIMPLE", true);
    number(&mut out, "BITPIX", 8);
    number(&mut out, "NAXIS", 0);
    logical(&mut out, "EXTEND", true);
    end(&mut out);

    text(&mut out, "XTENSION", "BINTABLE");
    number(&mut out, "BITPIX", 8);
    number(&mut out, "NAXIS", 2);
    number(&mut out, "NAXIS1", layout.row_bytes as u64);
    number(&mut out, "NAXIS2", layout.rows);
    number(&mut out, "PCOUNT", layout.heap_bytes);
    number(&mut out, "GCOUNT", 1);
    number(&mut out, "TFIELDS", layout.columns.len() as u64);
    if let Some(name) = meta::of_table(schema, meta::NAME) {
        text(&mut out, "EXTNAME", name);
    }
    if let Some(left_out) = meta::of_table(schema, meta::LEFT_OUT) {
        left_out.lines().for_each(|line| comment(&mut out, line));
    }
    for (place, (field, column)) in schema.fields().iter().zip(&layout.columns).enumerate() {
        let number = place + 1;
        let key = |name: &str| format!("{name}{number}");
        text(&mut out, &key("TTYPE"), field.name());
        text(&mut out, &key("TFORM"), &form(column, layout));
        if let Some(zero) = column.kind.zero() {
            fixed(&mut out, &key("TSCAL"), "1");
            fixed(&mut out, &key("TZERO"), &zero.to_string());
        }
        if let Some(axes) = column.axes(field) {
            let axes: Vec<_> = axes.iter().map(usize::to_string).collect();
            text(&mut out, &key("TDIM"), &format!("({})", axes.join(",")));
        }
        if let Some(null) = column.null {
            fixed(&mut out, &key("TNULL"), &null.to_string());
        }
        let known = |key| meta::of_column(field, key);
        for (name, value) in [
            ("TUNIT", known(meta::UNIT)),
            ("TUCD", known(meta::UCD)),
            ("TUTYP", known(meta::UTYPE)),
            ("TXTYP", known(meta::XTYPE).or(xtype(field.data_type()))),
            ("TCOMM", known(meta::DESCRIPTION)),
        ] {
            if let Some(value) = value {
                text(&mut out, &key(name), value);
            }
        }
    }
    let systems = Systems::of(schema);
    for (key, value) in systems.texts() {
        text(&mut out, key, value);
    }
    for (key, value) in systems.numbers() {
        fixed(&mut out, key, &value);
    }
    if out
        .chunks(CARD_BYTES)
        .any(|card| card.starts_with(CONTINUE))
    {
        // Not of the standard, but fitsverify (4.20) warns where it is missing.
        text(&mut out, "LONGSTRN", "OGIP 1.0");
    }
    end(&mut out);
    out
}

fn form(column: &FitsColumn, layout: &Layout) -> String {
    let code = column.kind.code();
    match (column.in_heap, layout.has_wide_descriptors()) {
        (false, _) => format!("{}{code}", column.repeat),
        (true, false) => format!("1P{code}({})", column.repeat),
        (true, true) => format!("1Q{code}({})", column.repeat),
    }
}

fn logical(out: &mut Vec<u8>, key: &str, value: bool) {
    fixed(out, key, if value { "T" } else { "F" });
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    fixed(out, key, &value.to_string());
}

/// A value that ends in column 30 (FITS 4.0, 4.2.2 and 4.2.3).
fn fixed(out: &mut Vec<u8>, key: &str, value: &str) {
    card(out, format!("{key:<8}= {value:>20}").as_bytes());
}

/// Says whether a text fits one card: astropy (8.0) takes no column's name from more.
pub(super) fn fits_card(text: &str) -> bool {
    text.len() + text.matches('\'').count() <= CARD_TEXT_BYTES
}

/// A text of which what a header cannot hold is a question mark: it describes, it is no data.
fn printable(text: &str) -> String {
    let printable = text.chars().map(|character| match character {
        ' '..='~' => character,
        _ => '?',
    });
    printable.collect()
}

/// A comment, on as many cards as it takes.
fn comment(out: &mut Vec<u8>, text: &str) {
    for part in printable(text).as_bytes().chunks(COMMENT_BYTES) {
        card(out, &[COMMENT, part].concat());
    }
}

/// A text, on as many cards as it takes (FITS 4.0, 4.2.1.2).
fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    let escaped = printable(value).replace('\'', "''");
    let mut rest = escaped.as_str();
    let mut start = format!("{key:<8}= ").into_bytes();
    loop {
        let fits = rest.len() <= CARD_TEXT_BYTES;
        let mut length = if fits {
            rest.len()
        } else {
            CARD_TEXT_BYTES - 1
        };
        // Not between the two halves of an escaped quote.
        let quotes_before = rest.as_bytes()[..length]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\'');
        if !fits && quotes_before.count() % 2 == 1 {
            length -= 1;
        }
        let (now, later) = rest.split_at(length);
        let mark = if fits { "" } else { "&" };
        start.extend_from_slice(format!("'{now:<8}{mark}'").as_bytes());
        card(out, &start);
        if fits {
            return;
        }
        rest = later;
        start = CONTINUE.to_vec();
    }
}

fn end(out: &mut Vec<u8>) {
    card(out, b"END");
    let length = (out.len() as u64).next_multiple_of(BLOCK_BYTES);
    out.resize(length as usize, b' ');
}

fn card(out: &mut Vec<u8>, text: &[u8]) {
    let begun = out.len();
    out.extend_from_slice(text);
    out.resize(begun + CARD_BYTES, b' ');
}
