//! What is known of a table and its columns beyond names and types: the keys of Arrow's metadata
//! under which the writers look for it.
//!
//! The keys of columns are those of VOTable's FIELD (VOTable 1.5, 4.1); time and coordinate
//! systems stand with each column and are gathered by the writers that have a place for them.

use arrow::datatypes::{Field, Schema};

use super::times::xtype;

/// Column: what it is, for people. Schema: what the table is.
pub const DESCRIPTION: &str = "description";
/// Schema: the table's name.
pub const NAME: &str = "name";
/// Column: the unit, in VOUnits syntax.
pub const UNIT: &str = "unit";
/// Column: the unified content descriptor (UCD 1+).
pub const UCD: &str = "ucd";
/// Column: the place in a data model.
pub const UTYPE: &str = "utype";
/// Column: what the type means (DALI 1.2, 3.3), as `timestamp` or `point`.
pub const XTYPE: &str = "xtype";
/// Column of integers: the value that stands for null in formats without a null of their own.
pub const NULL: &str = "null";
/// Column of text: `ascii` promises that all values are, so that formats which distinguish may
/// use their simple type. A value that is not fails the write.
pub const CHARSET: &str = "charset";
/// Column of fixed-size lists: the lengths of the axes of its arrays, the one whose index changes
/// fastest first, as `(3,2)` (FITS 4.0, 7.3.2: TDIMn).
pub const SHAPE: &str = "shape";
/// Column of lists of texts: the most bytes that a text has, in UTF-8. FITS and VOTable have each text
/// of an array in a place of this width, which is 64 KiB at most.
pub const WIDTH: &str = "width";
/// Column: the coordinate system, as `ICRS`.
pub const COOSYS: &str = "coosys";
/// Column with [`COOSYS`]: the equinox of its axes, where it is not the usual one of the system, as
/// `J1975.0`.
pub const EQUINOX: &str = "equinox";
/// Column with [`COOSYS`]: the epoch of positions, as `J2016.0`.
pub const EPOCH: &str = "epoch";
/// Column: the time scale, as `TCB`.
pub const TIMESCALE: &str = "timescale";
/// Column with [`TIMESCALE`]: where the clock stands, as `BARYCENTER`.
pub const REFPOSITION: &str = "refposition";
/// Column of numbers with [`TIMESCALE`]: the Julian date of 0.
pub const TIMEORIGIN: &str = "timeorigin";

/// Schema: lines about columns that the rows are without ([`WithoutColumns`](crate::WithoutColumns)), and
/// about characters that were replaced ([`AsciiTexts`](crate::ascii::AsciiTexts)).
/// FITS has them as comments.
pub const LEFT_OUT: &str = "datastreamer.left_out";

/// All keys that a table or a column is described with.
pub const KEYS: [&str; 16] = [
    DESCRIPTION,
    NAME,
    UNIT,
    UCD,
    UTYPE,
    XTYPE,
    NULL,
    CHARSET,
    SHAPE,
    WIDTH,
    COOSYS,
    EQUINOX,
    EPOCH,
    TIMESCALE,
    REFPOSITION,
    TIMEORIGIN,
];

/// Returns the value of a key in a column's metadata; nothing for an empty text.
pub fn of_column<'a>(field: &'a Field, key: &str) -> Option<&'a str> {
    let text = field.metadata().get(key)?.as_str();
    (!text.is_empty()).then_some(text)
}

/// Returns the value of a key in a table's metadata; nothing for an empty text.
pub fn of_table<'a>(schema: &'a Schema, key: &str) -> Option<&'a str> {
    let text = schema.metadata().get(key)?.as_str();
    (!text.is_empty()).then_some(text)
}

/// 64 KiB for each text of a list, however short it is: a row of 999 such columns takes 64 MB.
pub(super) const WIDTH_MAX: usize = 64 << 10;

/// The [`WIDTH`] of a column, which is at least 1; `None` if it is more than 64 KiB.
pub fn width(field: &Field) -> Option<usize> {
    let width: usize = of_column(field, WIDTH)?.trim().parse().ok()?;
    (width <= WIDTH_MAX).then_some(width.max(1))
}

/// The axes of a column's arrays of so many elements; `None` where there is but one, or
/// [`SHAPE`] is that of others.
pub(super) fn axes(field: &Field, elements: usize) -> Option<Vec<usize>> {
    let text = of_column(field, SHAPE)?.trim();
    let lengths = text.strip_prefix('(')?.strip_suffix(')')?.split(',');
    let axes: Option<Vec<usize>> = lengths.map(|axis| axis.trim().parse().ok()).collect();
    let axes = axes.filter(|axes| axes.len() > 1 && elements > 1)?;
    let product = axes
        .iter()
        .try_fold(1, |all: usize, axis| all.checked_mul(*axis));
    (product == Some(elements)).then_some(axes)
}

/// Says whether a column has equatorial coordinates, by the first word of its UCD (`pos.eq.ra`):
/// what RADESYS is of, in FITS tables.
pub fn is_equatorial(field: &Field) -> bool {
    of_column(field, UCD).is_some_and(|ucd| ucd.starts_with("pos.eq."))
}

/// Says whether a column has instants, by its type, its xtype (`timestamp`) or the first word of
/// its UCD (`time.epoch`, `time.start`, `time.end`): what TIMESYS is of, in FITS tables.
pub fn is_instant(field: &Field) -> bool {
    let ucd = of_column(field, UCD).and_then(|ucd| ucd.split(';').next());
    of_column(field, XTYPE).or(xtype(field.data_type())) == Some("timestamp")
        || matches!(ucd, Some("time.epoch" | "time.start" | "time.end"))
}
