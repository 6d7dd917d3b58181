//! The fields of the form that adds a filter: `page.rs` writes and reads it, `http/mistaken.rs` shows it
//! again.

/// The parameters of the form: HTML has no way to make `COLUMN=OPERATOR.VALUE` of three fields.
pub(crate) const FORM: [&str; 3] = ["filter-column", "filter-operator", "filter-value"];
/// The operators of the form, and what they are called there.
pub(crate) const OPERATORS: [(&str, &str); 12] = [
    ("eq", "="),
    ("neq", "≠"),
    ("gt", ">"),
    ("gte", "≥"),
    ("lt", "<"),
    ("lte", "≤"),
    ("like", "like (* is any text)"),
    ("ilike", "like, in any case"),
    ("in", "is one of (a,b,c)"),
    ("not.in", "is none of (a,b,c)"),
    ("is.null", "is null"),
    ("is.not_null", "is not null"),
];

/// Returns whether a form sends a text as another one: browsers make CR LF of each line break.
pub(crate) fn has_breaks(text: &str) -> bool {
    text.contains(['\r', '\n'])
}
