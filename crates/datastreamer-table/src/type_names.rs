//! Names of types for clients, who do not know Arrow's. All messages of all crates use them.

use arrow::datatypes::{DataType, TimeUnit};

/// Returns what a message calls a type: `list of 64-bit floats`. Dictionaries and runs are called by
/// their values' type, as which they are shown.
pub fn type_name(data_type: &DataType) -> String {
    let (name, rest) = parts(data_type);
    format!("{name}{rest}")
}

/// Returns a type's name in the plural.
fn type_names(data_type: &DataType) -> String {
    let (name, rest) = parts(data_type);
    match name {
        "decimal" => format!("{name}{rest}"),
        "binary" => "binary values".to_owned(),
        "time" => format!("times{rest}"),
        name => format!("{name}s{rest}"),
    }
}

/// Returns the name of a type, and what follows it.
fn parts(data_type: &DataType) -> (&'static str, String) {
    let mut rest = String::new();
    let name = match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 => "8-bit integer",
        DataType::Int16 => "16-bit integer",
        DataType::Int32 => "32-bit integer",
        DataType::Int64 => "64-bit integer",
        DataType::UInt8 => "unsigned 8-bit integer",
        DataType::UInt16 => "unsigned 16-bit integer",
        DataType::UInt32 => "unsigned 32-bit integer",
        DataType::UInt64 => "unsigned 64-bit integer",
        DataType::Float16 => "16-bit float",
        DataType::Float32 => "32-bit float",
        DataType::Float64 => "64-bit float",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            rest = format!("({precision}, {scale})");
            "decimal"
        }
        DataType::Date32 => "date",
        DataType::Date64 => {
            rest = " in milliseconds".to_owned();
            "date"
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            rest = format!(" of day in {}", unit_name(*unit));
            "time"
        }
        DataType::Timestamp(unit, zone) => {
            let zone = if zone.is_some() { " with zone" } else { "" };
            rest = format!("{zone} in {}", unit_name(*unit));
            "timestamp"
        }
        DataType::Duration(unit) => {
            rest = format!(" in {}", unit_name(*unit));
            "duration"
        }
        DataType::Interval(_) => "interval",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary",
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => {
            rest = format!(" of {}", type_names(element.data_type()));
            "list"
        }
        DataType::Struct(_) => "struct",
        DataType::Map(_, _) => "map",
        DataType::Union(_, _) => "union",
        DataType::Dictionary(_, values) => return parts(values),
        DataType::RunEndEncoded(_, values) => return parts(values.data_type()),
    };
    (name, rest)
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_without_arrow_s_words() {
        let list = |element| DataType::new_list(element, true);
        let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int8), Box::new(values));
        for (data_type, name) in [
            (DataType::LargeUtf8, "text"),
            (dictionary(DataType::Utf8), "text"),
            (list(DataType::Float64), "list of 64-bit floats"),
            (
                DataType::new_fixed_size_list(DataType::Float64, 3, true),
                "list of 64-bit floats",
            ),
            (
                list(list(dictionary(DataType::Utf8View))),
                "list of lists of texts",
            ),
            (list(DataType::Binary), "list of binary values"),
            (list(DataType::Decimal128(5, -2)), "list of decimal(5, -2)"),
            (
                list(DataType::Time32(TimeUnit::Second)),
                "list of times of day in seconds",
            ),
            (
                list(DataType::Timestamp(
                    TimeUnit::Microsecond,
                    Some("UTC".into()),
                )),
                "list of timestamps with zone in microseconds",
            ),
            (
                DataType::Duration(TimeUnit::Nanosecond),
                "duration in nanoseconds",
            ),
            (
                list(DataType::Struct(arrow::datatypes::Fields::empty())),
                "list of structs",
            ),
        ] {
            assert_eq!(type_name(&data_type), name);
        }
    }
}
