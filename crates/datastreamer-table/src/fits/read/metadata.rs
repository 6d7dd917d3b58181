//! What the header states of the table and its columns, under the keys of [`crate::meta`].

use std::collections::HashSet;

use crate::meta;
use arrow::datatypes::{DataType, Schema};

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

/// The schema of a table in which every text that is not ASCII is refused.
pub(super) fn with_ascii(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        match holds_text(field.data_type()) {
            true => {
                let mut known = field.metadata().clone();
                known.insert(meta::CHARSET.to_owned(), "ascii".to_owned());
                field.with_metadata(known)
            }
            false => field,
        }
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

fn holds_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) | DataType::FixedSizeList(element, _) => {
            holds_text(element.data_type())
        }
        data_type => *data_type == DataType::Utf8,
    }
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
            // No other text is one: twice as many bytes in a VOTable would be wasted.
            (get("TXTYP") == Some("timestamp") && column.element.stored == Stored::Text)
                .then_some("ascii"),
        ),
    ];
    let mut known: Metadata = known
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), text?.to_owned())))
        .collect();
    known.extend(shape(column).map(|axes| (meta::SHAPE.to_owned(), axes)));
    if column.is_array_of_texts() {
        let width = column.element.text_bytes.to_string();
        known.insert(meta::WIDTH.to_owned(), width);
    }
    if let Some(null) = column.element.null_value() {
        known.insert(meta::NULL.to_owned(), null.to_string());
    }
    known
}

/// The axes of a column's arrays, as text. Of texts the first of TDIM is none (FITS 4.0, 7.3.2).
fn shape(column: &Column) -> Option<String> {
    let axes = column.axes.as_deref()?;
    let axes = match column.element.stored {
        // Of a list in the heap each cell has a length of its own.
        Stored::Text if column.is_text_list() => &[],
        Stored::Text => &axes[1..],
        _ => axes,
    };
    let axes: Vec<_> = axes.iter().map(usize::to_string).collect();
    (!axes.is_empty()).then(|| format!("({})", axes.join(",")))
}

/// What stands behind the column's name.
fn comment(header: &Header, number: usize) -> Option<&str> {
    let comment = header.comment(&format!("TTYPE{number}"))?;
    let says_something = !EMPTY_COMMENTS
        .iter()
        .any(|empty| comment.starts_with(empty));
    (says_something && !comment.is_empty()).then_some(comment)
}
