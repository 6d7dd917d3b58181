//! What the texts of a column have been so far, and the type that holds all of them unchanged.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::{
    options::DecimalMark,
    values::{self, Time},
};

/// The precision of Decimal128 at its largest: integers of 38 digits.
pub(crate) const LARGE_INTEGER: DataType = DataType::Decimal128(38, 0);
const UTC: &str = "UTC";
/// The key of [`Notes`] in a field's metadata.
const NOTES: &str = "datastreamer.text";

/// The kinds of texts in a column.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    kinds: u16,
    /// The most digits of a second.
    digits: u8,
}

const BOOLEAN: u16 = 1;
const INTEGER: u16 = 1 << 1;
const NEGATIVE: u16 = 1 << 2;
/// An integer that Float64 may not hold.
const ABOVE_FLOAT: u16 = 1 << 3;
/// An integer that Int64 does not hold.
const OUTSIDE_INT64: u16 = 1 << 4;
const ABOVE_UINT64: u16 = 1 << 5;
const FLOAT: u16 = 1 << 6;
const DATE: u16 = 1 << 7;
const TIME: u16 = 1 << 8;
const INSTANT: u16 = 1 << 9;
/// A time that does not fit into 64 bits of nanoseconds.
const OUTSIDE_NANOS: u16 = 1 << 10;
/// A text without characters: null beside numbers, and a text beside texts.
const NOTHING: u16 = 1 << 11;
const TEXT: u16 = 1 << 12;
/// A time with a fraction that microseconds do not hold.
const BELOW_MICROS: u16 = 1 << 13;

impl Seen {
    /// Returns whether a column is text, whatever follows.
    pub(crate) fn is_text(self) -> bool {
        self.kinds & TEXT != 0
    }

    pub(crate) fn add_nothing(&mut self) {
        self.kinds |= NOTHING;
    }

    pub(crate) fn add_boolean(&mut self) {
        self.kinds |= BOOLEAN;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.kinds == 0
    }

    /// Adds a text of which the characters decide.
    pub(crate) fn add(&mut self, text: &str, decimal: DecimalMark) {
        if !self.is_text() && !self.add_number(text, decimal) && !self.add_time(text) {
            self.kinds |= match values::boolean(text) {
                Some(_) => BOOLEAN,
                None => TEXT,
            };
        }
    }

    /// Adds a number; returns false if the text is none.
    fn add_number(&mut self, text: &str, decimal: DecimalMark) -> bool {
        if let Some(value) = values::integer(text) {
            self.kinds |= INTEGER;
            if value.unsigned_abs() > values::FLOAT_INTEGER_MAX {
                self.add_large(value);
            }
            if value < 0 {
                self.kinds |= NEGATIVE;
            }
            return true;
        }
        let is_float = values::float(text, decimal).is_some();
        if is_float {
            self.kinds |= FLOAT;
        }
        is_float
    }

    fn add_large(&mut self, value: i128) {
        self.kinds |= ABOVE_FLOAT;
        if i64::try_from(value).is_err() {
            self.kinds |= OUTSIDE_INT64;
        }
        if u64::try_from(value.unsigned_abs()).is_err() {
            self.kinds |= ABOVE_UINT64;
        }
    }

    /// Adds a date or a time; returns false if the text is neither.
    fn add_time(&mut self, text: &str) -> bool {
        if let Some(days) = values::date(text) {
            self.kinds |= DATE;
            self.add_digits(Time::midnight(days));
            return true;
        }
        let Some(time) = values::time(text) else {
            return false;
        };
        self.kinds |= match time.has_offset {
            true => INSTANT,
            false => TIME,
        };
        self.add_digits(time);
        true
    }

    fn add_digits(&mut self, time: Time) {
        self.digits = self.digits.max(time.digits);
        if time.to(TimeUnit::Nanosecond).is_none() {
            self.kinds |= OUTSIDE_NANOS;
        }
        if time.digits > 6 && time.to(TimeUnit::Microsecond).is_none() {
            self.kinds |= BELOW_MICROS;
        }
    }

    /// Returns the column with the type that holds all its texts.
    pub(crate) fn field(self, name: &str) -> Field {
        let data_type = self.data_type();
        let notes = Notes {
            is_above_float: data_type != DataType::Utf8 && self.has(ABOVE_FLOAT),
            is_outside_nanos: data_type != DataType::Utf8 && self.has(OUTSIDE_NANOS),
            is_nothing: self.kinds == NOTHING,
        };
        notes.on(Field::new(name, data_type, true))
    }

    fn has(self, kinds: u16) -> bool {
        self.kinds & kinds != 0
    }

    fn data_type(self) -> DataType {
        const ANY_INTEGER: u16 = INTEGER | NEGATIVE | ABOVE_FLOAT | OUTSIDE_INT64 | ABOVE_UINT64;
        const ANY_TIME: u16 = DATE | TIME | OUTSIDE_NANOS | BELOW_MICROS;
        let are = |allowed: u16| self.kinds & !(allowed | NOTHING) == 0;
        match self.kinds {
            0 => DataType::Null,
            NOTHING => DataType::Utf8,
            _ if are(BOOLEAN) => DataType::Boolean,
            _ if are(ANY_INTEGER) => self.integer_type(),
            _ if are(INTEGER | NEGATIVE | FLOAT) => DataType::Float64,
            _ if are(DATE | OUTSIDE_NANOS) => DataType::Date32,
            _ if are(ANY_TIME) => self.time_type(None),
            _ if are(INSTANT | OUTSIDE_NANOS | BELOW_MICROS) => self.time_type(Some(UTC)),
            _ => DataType::Utf8,
        }
    }

    fn integer_type(self) -> DataType {
        match () {
            () if !self.has(OUTSIDE_INT64) => DataType::Int64,
            () if !self.has(NEGATIVE | ABOVE_UINT64) => DataType::UInt64,
            () => LARGE_INTEGER,
        }
    }

    fn time_type(self, zone: Option<&str>) -> DataType {
        let unit = match self.digits {
            0 => TimeUnit::Second,
            1..=3 => TimeUnit::Millisecond,
            4..=6 => TimeUnit::Microsecond,
            _ if !self.has(OUTSIDE_NANOS) => TimeUnit::Nanosecond,
            _ if !self.has(BELOW_MICROS) => TimeUnit::Microsecond,
            _ => return DataType::Utf8,
        };
        DataType::Timestamp(unit, zone.map(Into::into))
    }
}

/// What the type of a column does not say about the file's values, and what decides the type of a
/// table of several files. Kept in a field's metadata until the table is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) is_above_float: bool,
    pub(crate) is_outside_nanos: bool,
    /// All texts are empty.
    pub(crate) is_nothing: bool,
}

impl Notes {
    /// Reads the notes on a field.
    pub(crate) fn of(field: &Field) -> Self {
        let text = field.metadata().get(NOTES).map_or("", String::as_str);
        Self {
            is_above_float: text.contains('f'),
            is_outside_nanos: text.contains('n'),
            is_nothing: text.contains('0'),
        }
    }

    /// Returns the notes of two files together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            is_above_float: self.is_above_float || other.is_above_float,
            is_outside_nanos: self.is_outside_nanos || other.is_outside_nanos,
            is_nothing: self.is_nothing && other.is_nothing,
        }
    }

    /// Puts them on a field.
    pub(crate) fn on(self, field: Field) -> Field {
        let notes = [
            (self.is_above_float, 'f'),
            (self.is_outside_nanos, 'n'),
            (self.is_nothing, '0'),
        ];
        let notes = notes.into_iter().filter(|(is, _)| *is);
        let text: String = notes.map(|(_, note)| note).collect();
        match text.is_empty() {
            true => field.with_metadata(HashMap::new()),
            false => field.with_metadata([(NOTES.to_owned(), text)].into()),
        }
    }
}
