//! What each column becomes in a binary table, once all of its values have been seen.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use crate::table::{
    TableError,
    column::{Cells, Column, cell_types},
    meta,
    text::{self, BeyondYears},
};

/// TFIELDS may not be larger (FITS 4.0, 7.3.1).
const COLUMNS_MAX: usize = 999;

/// A text column wider than this, in which most texts are much shorter, goes to the heap: one long
/// text would otherwise make every row as long.
const WIDE_TEXT_BYTES: usize = 256;

/// A column as FITS has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FitsColumn {
    pub(super) kind: Kind,
    /// Elements in the row; of a column in the heap the most that any row has there.
    pub(super) repeat: usize,
    pub(super) in_heap: bool,
    /// Stored as the next larger signed type, as it is: see [`Seen::widened`].
    pub(super) widened: bool,
    /// What is stored for an integer that is null (TNULLn).
    pub(super) null: Option<i64>,
    /// Where in the row it begins, in bytes.
    pub(super) offset: usize,
}

/// The type of a column's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Logical,
    /// Signed ones are stored with 128 added.
    Byte {
        signed: bool,
    },
    /// Unsigned ones, here and below, are stored with half of their range taken away.
    Short {
        unsigned: bool,
    },
    Int {
        unsigned: bool,
    },
    Long {
        unsigned: bool,
    },
    Float,
    Double,
    Text,
}

impl Kind {
    pub(super) fn code(self) -> char {
        match self {
            Self::Logical => 'L',
            Self::Byte { .. } => 'B',
            Self::Short { .. } => 'I',
            Self::Int { .. } => 'J',
            Self::Long { .. } => 'K',
            Self::Float => 'E',
            Self::Double => 'D',
            Self::Text => 'A',
        }
    }

    /// What is to be added to the stored value (TZEROn).
    pub(super) fn zero(self) -> Option<&'static str> {
        match self {
            Self::Byte { signed: true } => Some("-128"),
            Self::Short { unsigned: true } => Some("32768"),
            Self::Int { unsigned: true } => Some("2147483648"),
            Self::Long { unsigned: true } => Some("9223372036854775808"),
            _ => None,
        }
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Logical | Self::Byte { .. } | Self::Text => 1,
            Self::Short { .. } => 2,
            Self::Int { .. } | Self::Float => 4,
            Self::Long { .. } | Self::Double => 8,
        }
    }

    /// Values that may stand for null when the extremes may not: 256, evenly spread over the
    /// range, which for bytes are all. Says which of them a stored value is.
    #[inline]
    fn candidate(self, stored: i64) -> Option<usize> {
        let (lowest, _) = self.range()?;
        let above = stored.wrapping_sub(lowest) as u64;
        let shift = self.candidate_shift();
        let place = above >> shift;
        (place << shift == above && place < 256).then_some(place as usize)
    }

    fn candidate_shift(self) -> u32 {
        8 * (self.bytes() as u32 - 1)
    }

    /// The least and the greatest that can be stored, of integers.
    fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::Byte { .. } => Some((0, 255)),
            Self::Short { .. } => Some((i16::MIN.into(), i16::MAX.into())),
            Self::Int { .. } => Some((i32::MIN.into(), i32::MAX.into())),
            Self::Long { .. } => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }
}

/// Where everything is in the table.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) columns: Vec<FitsColumn>,
    pub(super) row_bytes: usize,
    pub(super) rows: u64,
    pub(super) heap_bytes: u64,
}

impl Layout {
    pub(super) fn table_bytes(&self) -> u64 {
        self.row_bytes as u64 * self.rows
    }

    /// Descriptors of 64 bits (Q) where 32 (P) do not reach.
    pub(super) fn has_wide_descriptors(&self) -> bool {
        self.heap_bytes > i32::MAX as u64
    }

    pub(super) fn descriptor_bytes(&self) -> usize {
        if self.has_wide_descriptors() { 16 } else { 8 }
    }
}

/// The columns after their casts: what the spool holds.
pub(super) fn cast_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(cell_types(schema));
    let fields = fields.map(|(field, data_type)| Field::new(field.name(), data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What has been seen of a table's values.
pub(super) struct Survey {
    columns: Vec<Seen>,
    rows: u64,
}

struct Seen {
    kind: Kind,
    shape: Shape,
    has_nulls: bool,
    /// The least and the greatest stored integer.
    extremes: Option<(i64, i64)>,
    /// Which of 256 candidates for null are stored: see [`Kind::candidate`].
    candidates: [bool; 256],
    /// The most elements of a row.
    longest: usize,
    /// The elements of all rows.
    elements: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Fixed(usize),
    /// Texts: as wide as the widest, unless that would be wasteful.
    Widest,
    Variable,
}

impl Survey {
    /// # Errors
    /// The first column that FITS cannot hold.
    pub(super) fn new(schema: &Schema) -> Result<Self, TableError> {
        let fields = schema.fields();
        if fields.len() > COLUMNS_MAX {
            return Err(TableError::Column {
                column: fields[COLUMNS_MAX].name().clone(),
                problem: format!(
                    "FITS holds {COLUMNS_MAX} columns at most, the table has {}",
                    fields.len()
                ),
            });
        }
        let types = cell_types(schema);
        let columns = fields.iter().zip(&types).map(|(field, data_type)| {
            let refused = |problem| TableError::Column {
                column: field.name().clone(),
                problem,
            };
            if !field.name().bytes().all(is_fits_text) {
                return Err(refused("FITS holds ASCII names only".into()));
            }
            let (kind, shape) = kind_and_shape(data_type)
                .ok_or_else(|| refused(format!("FITS cannot hold {data_type}")))?;
            Ok(Seen {
                kind,
                shape,
                has_nulls: false,
                extremes: None,
                candidates: [false; 256],
                longest: 0,
                elements: 0,
            })
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            rows: 0,
        })
    }

    /// # Errors
    /// A value that FITS cannot hold.
    pub(super) fn look_at(
        &mut self,
        schema: &Schema,
        arrays: &[ArrayRef],
    ) -> Result<(), TableError> {
        for ((seen, array), field) in self.columns.iter_mut().zip(arrays).zip(schema.fields()) {
            seen.look_at(array)
                .map_err(|(row, problem)| TableError::Value {
                    row: self.rows + row as u64,
                    column: field.name().clone(),
                    problem: problem.into(),
                })?;
        }
        self.rows += arrays.first().map_or(0, |array| array.len() as u64);
        Ok(())
    }

    /// # Errors
    /// A column with nulls and no value left to stand for them.
    pub(super) fn layout(self, schema: &Schema) -> Result<Layout, TableError> {
        let rows = self.rows;
        let in_heap = |seen: &Seen| seen.goes_to_heap(rows);
        let heap_bytes = self
            .columns
            .iter()
            .filter(|seen| in_heap(seen))
            .map(|seen| seen.elements * seen.stored_kind().bytes() as u64)
            .sum();
        let mut layout = Layout {
            columns: Vec::new(),
            row_bytes: 0,
            rows,
            heap_bytes,
        };
        for (seen, field) in self.columns.iter().zip(schema.fields()) {
            let column = FitsColumn {
                kind: seen.stored_kind(),
                widened: seen.widened().is_some(),
                repeat: match seen.shape {
                    Shape::Fixed(repeat) => repeat,
                    Shape::Widest if !in_heap(seen) => seen.longest.max(1),
                    Shape::Widest | Shape::Variable => seen.longest,
                },
                in_heap: in_heap(seen),
                null: seen
                    .null_value(field)
                    .map_err(|problem| TableError::Column {
                        column: field.name().clone(),
                        problem,
                    })?,
                offset: layout.row_bytes,
            };
            layout.row_bytes += match column.in_heap {
                true => layout.descriptor_bytes(),
                false => column.repeat * column.kind.bytes(),
            };
            layout.columns.push(column);
        }
        Ok(layout)
    }
}

fn kind_and_shape(data_type: &DataType) -> Option<(Kind, Shape)> {
    let one = |kind| Some((kind, Shape::Fixed(1)));
    match data_type {
        DataType::Boolean => one(Kind::Logical),
        DataType::Int8 => one(Kind::Byte { signed: true }),
        DataType::UInt8 => one(Kind::Byte { signed: false }),
        DataType::Int16 => one(Kind::Short { unsigned: false }),
        DataType::UInt16 => one(Kind::Short { unsigned: true }),
        DataType::Int32 => one(Kind::Int { unsigned: false }),
        DataType::UInt32 => one(Kind::Int { unsigned: true }),
        DataType::Int64 => one(Kind::Long { unsigned: false }),
        DataType::UInt64 => one(Kind::Long { unsigned: true }),
        DataType::Float32 => one(Kind::Float),
        DataType::Float64 => one(Kind::Double),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Decimal128(_, _) => {
            Some((Kind::Text, Shape::Widest))
        }
        DataType::Timestamp(_, _)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_) => Some((Kind::Text, Shape::Widest)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Some((Kind::Byte { signed: false }, Shape::Variable))
        }
        DataType::FixedSizeBinary(length) => {
            let length = usize::try_from(*length).ok()?;
            Some((Kind::Byte { signed: false }, Shape::Fixed(length)))
        }
        DataType::FixedSizeList(element, length) => {
            let length = usize::try_from(*length).ok()?;
            match kind_and_shape(element.data_type())? {
                (kind, Shape::Fixed(1)) => Some((kind, Shape::Fixed(length))),
                _ => None,
            }
        }
        DataType::List(element) | DataType::LargeList(element) => {
            match kind_and_shape(element.data_type())? {
                (kind, Shape::Fixed(1)) => Some((kind, Shape::Variable)),
                _ => None,
            }
        }
        _ => None,
    }
}

impl Seen {
    fn look_at(&mut self, array: &ArrayRef) -> Result<(), (usize, &'static str)> {
        let Some(column) = Column::of(array) else {
            return Ok(());
        };
        // In the heap a row that is null is an empty one.
        self.has_nulls |= array.null_count() > 0 && self.shape != Shape::Variable;
        match &column.cells {
            Cells::Text(texts) => {
                for row in (0..array.len()).filter(|row| !column.is_null(*row)) {
                    let text = texts.get(row);
                    if !text.bytes().all(is_fits_text) {
                        return Err((row, "FITS holds printable ASCII only"));
                    }
                    self.count(text.len());
                }
            }
            Cells::Bytes(bytes) => {
                for row in (0..array.len()).filter(|row| !column.is_null(*row)) {
                    self.count(bytes.get(row).len());
                }
            }
            Cells::List(lists, elements) => {
                for row in (0..array.len()).filter(|row| !column.is_null(*row)) {
                    let range = lists.range(row);
                    self.count(range.len());
                    for row in range {
                        self.look_at_element(elements, row);
                    }
                }
            }
            cells if self.kind == Kind::Text => {
                let mut out = Vec::new();
                for row in (0..array.len()).filter(|row| !column.is_null(*row)) {
                    out.clear();
                    append_digits(&mut out, cells, row).map_err(|problem| (row, problem))?;
                    self.count(out.len());
                }
            }
            _ => {
                for row in 0..array.len() {
                    self.look_at_element(&column, row);
                }
            }
        }
        Ok(())
    }

    fn look_at_element(&mut self, column: &Column<'_>, row: usize) {
        if column.is_null(row) {
            self.has_nulls = true;
        } else if let Some(stored) = stored_integer(&column.cells, row) {
            let (least, greatest) = self.extremes.unwrap_or((stored, stored));
            self.extremes = Some((least.min(stored), greatest.max(stored)));
            if let Some(candidate) = self.kind.candidate(stored) {
                self.candidates[candidate] = true;
            }
        }
    }

    fn count(&mut self, elements: usize) {
        self.longest = self.longest.max(elements);
        self.elements += elements as u64;
    }

    fn goes_to_heap(&self, rows: u64) -> bool {
        match self.shape {
            Shape::Fixed(_) => false,
            Shape::Variable => true,
            Shape::Widest => {
                let as_wide_as_widest = self.longest as u64 * rows;
                self.longest > WIDE_TEXT_BYTES && as_wide_as_widest > 4 * self.elements
            }
        }
    }

    fn stored_kind(&self) -> Kind {
        self.widened().unwrap_or(self.kind)
    }

    /// The next larger signed type for integers with nulls that would be stored with an offset:
    /// astropy (8.0) takes TNULL for the value after the offset, and fails or is wrong. There is
    /// none beyond 64 bits.
    fn widened(&self) -> Option<Kind> {
        match self.kind {
            _ if !self.has_nulls => None,
            Kind::Byte { signed: true } => Some(Kind::Short { unsigned: false }),
            Kind::Short { unsigned: true } => Some(Kind::Int { unsigned: false }),
            Kind::Int { unsigned: true } => Some(Kind::Long { unsigned: false }),
            _ => None,
        }
    }

    /// The value that stands for null: the column's own, or one next to those that occur.
    fn null_value(&self, field: &Field) -> Result<Option<i64>, String> {
        if let Some((lowest, _)) = self.widened().and_then(Kind::range) {
            let own = meta::of_column(field, meta::NULL).and_then(|text| text.parse().ok());
            let is_free = |value: &i64| !self.may_occur(*value);
            return Ok(own.filter(is_free).or(Some(lowest)));
        }
        let Some((lowest, highest)) = self.kind.range() else {
            return Ok(None);
        };
        let is_blob = self.shape == Shape::Variable && self.extremes.is_none();
        if !self.has_nulls || is_blob {
            return Ok(None);
        }
        let (least, greatest) = self.extremes.unwrap_or((0, 0));
        if let Some(text) = meta::of_column(field, meta::NULL) {
            let own = text.parse().ok().map(|value| self.stored(value));
            return match own {
                Some(own)
                    if (lowest..=highest).contains(&own) && !(least..=greatest).contains(&own) =>
                {
                    Ok(Some(own))
                }
                _ => Err(format!(
                    "{text:?} cannot stand for null: it is among the values"
                )),
            };
        }
        let free_between = || {
            let free = self.candidates.iter().position(|stored| !stored)?;
            Some(lowest.wrapping_add(((free as u64) << self.kind.candidate_shift()) as i64))
        };
        let free = match (least > lowest, greatest < highest) {
            (true, _) => Some(lowest),
            (false, true) => Some(highest),
            (false, false) => free_between(),
        };
        free.map(Some).ok_or_else(|| {
            "no value is left to stand for null: give one in the column's metadata (null)".into()
        })
    }

    /// Says whether a value is between those that occur.
    fn may_occur(&self, value: i64) -> bool {
        let stored = self.stored(value);
        self.extremes
            .is_some_and(|(least, greatest)| (least..=greatest).contains(&stored))
    }

    /// How an integer is stored.
    fn stored(&self, value: i64) -> i64 {
        match self.kind {
            Kind::Byte { signed: true } => value.saturating_add(128),
            Kind::Short { unsigned: true } => value.saturating_sub(1 << 15),
            Kind::Int { unsigned: true } => value.saturating_sub(1 << 31),
            Kind::Long { unsigned: true } => value ^ i64::MIN,
            _ => value,
        }
    }
}

/// An integer as it is, where 64 bits with a sign hold it; `None` for other cells.
#[inline]
pub(super) fn integer(cells: &Cells<'_>, row: usize) -> Option<i64> {
    match cells {
        Cells::I8(values) => Some(values[row].into()),
        Cells::U16(values) => Some(values[row].into()),
        Cells::U32(values) => Some(values[row].into()),
        _ => None,
    }
}

/// What is stored for an integer; `None` for other cells.
#[inline]
pub(super) fn stored_integer(cells: &Cells<'_>, row: usize) -> Option<i64> {
    match cells {
        Cells::I8(values) => Some(i64::from(values[row]) + 128),
        Cells::U8(values) => Some(values[row].into()),
        Cells::I16(values) => Some(values[row].into()),
        Cells::U16(values) => Some(i64::from(values[row]) - (1 << 15)),
        Cells::I32(values) => Some(values[row].into()),
        Cells::U32(values) => Some(i64::from(values[row]) - (1 << 31)),
        Cells::I64(values) => Some(values[row]),
        Cells::U64(values) => Some(values[row] as i64 ^ i64::MIN),
        _ => None,
    }
}

/// What is text in FITS though it is none in Arrow: times and decimals.
pub(super) fn append_digits(
    out: &mut Vec<u8>,
    cells: &Cells<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match cells {
        Cells::Decimal(values, scale) => text::decimal(out, values[row], *scale),
        cells => text::time(out, cells, row).map_err(|BeyondYears| BeyondYears::PROBLEM)?,
    }
    Ok(())
}

/// FITS 4.0, 3.2: printable ASCII.
fn is_fits_text(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}
