//! Three-valued logic (ISO 9075-2, 6.39 and 8.4).

pub(crate) type Value = Option<i64>;
pub(crate) type Truth = Option<bool>;

pub(crate) fn not(condition: Truth) -> Truth {
    condition.map(|is_true| !is_true)
}

pub(crate) fn and(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

pub(crate) fn or(left: Truth, right: Truth) -> Truth {
    not(and(not(left), not(right)))
}

pub(crate) fn is_in(value: Value, list: &[Value]) -> Truth {
    let equal = list
        .iter()
        .map(|one| value.zip(*one).map(|(value, one)| value == one));
    equal.reduce(or).unwrap_or(Some(false))
}

pub(crate) fn text(truth: Truth) -> String {
    truth.map_or("null".to_owned(), |is_true| is_true.to_string())
}
