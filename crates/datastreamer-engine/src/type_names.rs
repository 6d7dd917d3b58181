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

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}
