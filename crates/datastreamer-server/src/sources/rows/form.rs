//! The form that adds a filter: `page.rs` shows it beside the rows and reads it, `http/mistaken.rs` shows
//! it again as it was filled in.

use maud::{Markup, html};

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

/// Makes the form. It has these parameters as they are, but for the place in the rows. `column` chooses one,
/// and `typed` are an operator and a value that were sent before.
pub(crate) fn form<'a>(
    parameters: impl Iterator<Item = &'a (String, String)>,
    column: &Markup,
    operators: impl Iterator<Item = &'a (&'static str, &'static str)>,
    typed: Option<(&str, &str)>,
) -> Markup {
    let [_, operator, value] = FORM;
    let (typed_operator, typed_value) = typed.unzip();
    html! {
        form method="get" {
            @for (name, value) in parameters.filter(|(name, _)| name != "offset") {
                input type="hidden" name=(name) value=(value);
            }
            label { "column " (column) }
            " "
            label {
                "condition "
                select name=(operator) {
                    @for (name, text) in operators {
                        option value=(name) selected[Some(*name) == typed_operator] { (text) }
                    }
                }
            }
            " "
            label { "value " input type="text" name=(value) value=[typed_value] size="16"; }
            " "
            button { "Filter" }
        }
    }
}

/// Returns whether a form sends a text as another one: browsers make CR LF of each line break.
pub(crate) fn has_breaks(text: &str) -> bool {
    text.contains(['\r', '\n'])
}
