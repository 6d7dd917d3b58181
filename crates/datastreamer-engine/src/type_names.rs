//! Names of types for clients, who do not know Arrow's.

use arrow::datatypes::{DataType, TimeUnit};

/// Returns what a message calls a type. Dictionaries and runs are called by their values' type, as
/// which they are shown.
pub(crate) fn type_name(data_type: &DataType) -> String {
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
            return format!("decimal({precision}, {scale})");
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(unit) | DataType::Time64(unit) => {
            return format!("time of day in {}", unit_name(*unit));
        }
        DataType::Timestamp(unit, zone) => {
            let zone = if zone.is_some() { " with zone" } else { "" };
            return format!("timestamp{zone} in {}", unit_name(*unit));
        }
        DataType::Duration(unit) => return format!("duration in {}", unit_name(*unit)),
        DataType::Interval(_) => "interval",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary",
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(_, _) => "list",
        DataType::Struct(_) => "struct",
        DataType::Map(_, _) => "map",
        DataType::Union(_, _) => "union",
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::RunEndEncoded(_, values) => return type_name(values.data_type()),
    };
    name.to_owned()
}

/// Replaces Arrow's names of types in a text. Those that are words of English too, such as `List`,
/// are names only with what is in them: `List(Int64)`.
pub(crate) fn with_type_names(text: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        replaced.push_str(&rest[..start]);
        rest = &rest[start..];
        let word = rest.find(|character| !is_word(character));
        let word = word.unwrap_or(rest.len());
        let whole = word + in_parentheses(&rest[word..]);
        let is_name = whole > word || rest[..word].contains(|digit: char| digit.is_ascii_digit());
        let parsed = is_name
            .then(|| rest[..whole].parse::<DataType>().ok())
            .flatten();
        match parsed {
            Some(data_type) => {
                replaced.push_str(&type_name(&data_type));
                rest = &rest[whole..];
            }
            None => {
                replaced.push_str(&rest[..word]);
                rest = &rest[word..];
            }
        }
    }
    replaced + rest
}

/// Returns the length of a part in parentheses at the start of a text; 0 if there is none.
fn in_parentheses(text: &str) -> usize {
    if !text.starts_with('(') {
        return 0;
    }
    let mut depth = 0;
    let end = text.find(|character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map_or(0, |end| end + 1)
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}
