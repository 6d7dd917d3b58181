//! What the header states of the table and its columns, under the keys of [`crate::meta`].

use std::collections::HashSet;

use crate::meta;
use arrow::datatypes::Schema;

use crate::Metadata;

use super::{TTYPE, column::Column, form::Stored, header::Header, systems};

/// Comments that libraries write whatever the column is: they describe nothing.
const EMPTY_COMMENTS: [&str; 2] = ["label for ", "data format of "];

/// The names of a table's columns, each once: one that is missing becomes `colN`, one that comes
/// again has `_2`, `_3`... behind it.
pub(super) fn names(header: &Header, columns: usize) -> Vec<String> {
    let mut taken = HashSet::with_capacity(columns);
    let own = |number: usize| match header.text(&format!("TTYPE{number}")) {
        Some(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => format!("col{number}"),
    };
    let mut unique = |name: String| {
        let mut candidate = name.clone();
        let mut again = 2;
        while !taken.insert(candidate.clone()) {
            candidate = format!("{name}_{again}");
            again += 1;
        }
        candidate
    };
    (1..=columns).map(|number| unique(own(number))).collect()
}

pub(super) fn schema(header: &Header, columns: &[Column]) -> Schema {
    let fields = columns.iter().map(|column| {
        let field = column.field().with_metadata(of_column(header, column));
        systems::with_systems(header, column.number, field)
    });
    let mut known = Metadata::default();
    if let Some(name) = header.nonblank_text("EXTNAME") {
        known.insert(meta::NAME.to_owned(), name.to_owned());
    }
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), known)
}

fn of_column(header: &Header, column: &Column) -> Metadata {
    let number = column.number;
    let get = |keyword: &str| header.nonblank_text(&format!("{keyword}{number}"));
    let name = get("TTYPE");
    let known = [
        (meta::UNIT, get("TUNIT")),
        (meta::UCD, get("TUCD")),
        (meta::UTYPE, get("TUTYP")),
        (meta::XTYPE, get("TXTYP")),
        (meta::DESCRIPTION, get("TCOMM").or(comment(header, number))),
        (TTYPE, name.filter(|name| *name != column.name)),
        (
            meta::CHARSET,
            (column.element.stored == Stored::Text).then_some("ascii"),
        ),
    ];
    let mut known: Metadata = known
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), text?.to_owned())))
        .collect();
    let axes = get("TDIM").map(str::to_owned);
    let axes = match column.element.stored {
        Stored::Text => axes.and_then(of_texts),
        _ => axes,
    };
    known.extend(axes.map(|axes| (meta::SHAPE.to_owned(), axes)));
    if let Some(null) = column.element.null_value() {
        known.insert(meta::NULL.to_owned(), null.to_string());
    }
    known
}

/// The axes of an array of texts: the first of TDIM is their length (FITS 4.0, 7.3.2).
fn of_texts(axes: String) -> Option<String> {
    let (_, others) = axes.split_once(',')?;
    Some(format!("({}", others.trim_start()))
}

/// What stands behind the column's name.
fn comment(header: &Header, number: usize) -> Option<&str> {
    let comment = header.comment(&format!("TTYPE{number}"))?;
    let says_something = !EMPTY_COMMENTS
        .iter()
        .any(|empty| comment.starts_with(empty));
    (says_something && !comment.is_empty()).then_some(comment)
}
