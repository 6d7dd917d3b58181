//! What the header of a binary table must know of its values, once all of them have been seen.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    FitsShape, NOT_PRINTABLE,
    encode::{is_beyond_signed, is_gathered_text, stored_integer},
    header, is_fits_text,
    layout::{FitsColumn, Kind, Layout},
};
use crate::{
    ColumnStatistics, TableError,
    big_endian::NULL_LOGICAL,
    column::{
        Cells, Column, Texts, cannot_hold, cast_columns, cell_types, check_any, typed_columns,
    },
    fits::COLUMNS_MAX,
    meta, scalar, text,
    times::{BeyondYears, check_time, time_bytes},
};

/// A text column wider than this, in which most texts are much shorter, goes to the heap: one long
/// text would otherwise make every row as long.
const WIDE_TEXT_BYTES: usize = 256;

const UNSIGNED_IN_LIST: &str = "programs read an unsigned 64-bit integer beyond 9223372036854775807 in a list \
    of FITS as another number: ask for another format, or leave the column out (select)";

/// What has been seen of a table's values: a pass over a table that can be read again, to learn
/// the [`FitsShape`] with which it is then streamed.
///
/// What FITS cannot hold is refused here, before anything of the file is written: text that is
/// not printable ASCII, times beyond the year 9999.
pub struct FitsSurvey {
    schema: SchemaRef,
    /// Of the columns, cast.
    types: Vec<DataType>,
    columns: Vec<Seen>,
    /// The places of the columns that batches have.
    places: Vec<usize>,
    rows: u64,
}

struct Seen {
    kind: Kind,
    shape: Shape,
    /// Whether rows or elements may be null.
    is_nullable: bool,
    has_nulls: bool,
    /// The least and the greatest stored integer.
    extremes: Option<(i64, i64)>,
    /// How the column's own null (`meta::NULL`) would be stored, and whether an integer is.
    own_null: Option<i64>,
    has_own_null: bool,
    /// Which of 256 candidates for null are stored: see [`Kind::candidate`].
    candidates: [bool; 256],
    /// The most elements of a row.
    longest: usize,
    /// The elements of all rows.
    elements: u64,
    /// Of arrays of texts: the bytes of the longest.
    widest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Fixed(usize),
    /// So many bytes a row; in the heap once there are nulls, as no byte is free to stand for
    /// them.
    Bytes(usize),
    /// Texts: as wide as the widest, unless that would be wasteful.
    Widest,
    Variable,
    /// So many texts a row, each as wide as the widest.
    Texts(usize),
    /// The same, but not as many in each row.
    VariableTexts,
}

impl FitsSurvey {
    /// Begins with a table of which nothing was seen.
    ///
    /// # Errors
    /// The first column that FITS cannot hold, or the thousandth; a table without columns.
    pub fn new(schema: SchemaRef) -> Result<Self, TableError> {
        check_any(&schema)?;
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
        let types = cell_types(&schema);
        let columns = fields.iter().zip(&types).map(|(field, data_type)| {
            Seen::nothing(field, data_type).map_err(|problem| TableError::Column {
                column: field.name().clone(),
                problem,
            })
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            types,
            places: (0..schema.fields().len()).collect(),
            schema,
            rows: 0,
        })
    }

    /// Begins with the schema, and with what is known of the values of its columns, one
    /// by one. Batches have only the columns for which that is not enough:
    /// [`places`](Self::places).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_unsettled(schema: SchemaRef, known: &[ColumnStatistics]) -> Result<Self, TableError> {
        let mut survey = Self::new(schema)?;
        let nothing = ColumnStatistics::default();
        let known = known.iter().chain(std::iter::repeat(&nothing));
        let columns = survey.columns.iter_mut().zip(survey.schema.fields());
        let columns = columns.zip(survey.types.iter().zip(known)).enumerate();
        let unsettled = columns
            .filter_map(|(place, ((seen, field), (data_type, known)))| {
                (!seen.settle(field, data_type, known)).then_some(place)
            })
            .collect();
        survey.places = unsettled;
        Ok(survey)
    }

    /// The places, in the table, of the columns that batches must have, in this order.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// Returns whether the table may be one that [can be streamed](FitsShape::is_streamable): none
    /// of its columns is sure to stand behind the rows.
    pub fn may_be_streamable(&self) -> bool {
        let variable = |seen: &Seen| seen.shape.is_variable();
        !self.columns.iter().any(variable)
    }

    /// Looks at the rows of a batch.
    ///
    /// # Errors
    /// A value that FITS cannot hold, with its row and column; a batch of another schema.
    pub fn look_at(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.look_at_columns(&cast_columns(batch)?, batch.num_rows())
    }

    /// The same, when the columns are cast already.
    pub(super) fn look_at_columns(
        &mut self,
        arrays: &[ArrayRef],
        rows: usize,
    ) -> Result<(), TableError> {
        let types = self.places.iter().map(|place| &self.types[*place]);
        let columns = typed_columns(arrays, types)?;
        for (&place, column) in self.places.iter().zip(&columns) {
            self.columns[place]
                .look_at(column, rows)
                .map_err(|(row, problem)| TableError::Value {
                    row: self.rows + row as u64,
                    column: self.schema.field(place).name().clone(),
                    problem: problem.into(),
                })?;
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Finishes the survey: these were all rows.
    ///
    /// # Errors
    /// A column with nulls and no value left to stand for them.
    pub fn finish(self) -> Result<FitsShape, TableError> {
        let layout = self.layout()?;
        Ok(FitsShape::new(self.schema, self.types, layout))
    }

    /// Makes the shape of a table whose rows were not seen; `None` where what is known does not say
    /// it all.
    pub(super) fn without_values(
        schema: SchemaRef,
        rows: u64,
        known: &[ColumnStatistics],
    ) -> Result<Option<FitsShape>, TableError> {
        let mut survey = Self::of_unsettled(schema, known)?;
        survey.rows = rows;
        match survey.places.is_empty() {
            true => survey.finish().map(Some),
            false => Ok(None),
        }
    }

    fn layout(&self) -> Result<Layout, TableError> {
        let in_heap = |seen: &Seen| seen.goes_to_heap(self.rows);
        let of_heap = self.columns.iter().filter(|seen| in_heap(seen));
        let heap_bytes = of_heap.map(|seen| seen.elements * seen.element_bytes() as u64);
        let mut layout = Layout {
            columns: Vec::new(),
            row_bytes: 0,
            rows: self.rows,
            heap_bytes: heap_bytes.sum(),
        };
        for (seen, field) in self.columns.iter().zip(self.schema.fields()) {
            let null = seen
                .null_value(field)
                .map_err(|problem| TableError::Column {
                    column: field.name().clone(),
                    problem,
                })?;
            let column = FitsColumn {
                kind: seen.stored_kind(),
                widened: seen.widened().is_some(),
                text_bytes: seen.text_bytes(),
                repeat: match seen.shape {
                    Shape::Fixed(repeat) => repeat,
                    Shape::Texts(texts) => texts
                        .checked_mul(seen.element_bytes())
                        .ok_or_else(|| too_wide(field))?,
                    Shape::VariableTexts => seen.longest * seen.element_bytes(),
                    Shape::Bytes(repeat) if !in_heap(seen) => repeat,
                    Shape::Widest if !in_heap(seen) => seen.longest.max(1),
                    Shape::Bytes(_) | Shape::Widest | Shape::Variable => seen.longest,
                },
                in_heap: in_heap(seen),
                null,
                offset: layout.row_bytes,
            };
            layout.row_bytes += match column.in_heap {
                true => layout.descriptor_bytes(),
                false => column.bytes(),
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
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _)
        | DataType::Duration(_)
        | DataType::Interval(_) => Some((Kind::Text, Shape::Widest)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Some((Kind::Byte { signed: false }, Shape::Variable))
        }
        DataType::FixedSizeBinary(length) => {
            let length = usize::try_from(*length).ok()?;
            Some((Kind::Byte { signed: false }, Shape::Bytes(length)))
        }
        DataType::FixedSizeList(element, length) => {
            let length = usize::try_from(*length).ok()?;
            match kind_of_element(element)? {
                Kind::Text => Some((Kind::Text, Shape::Texts(length))),
                kind => Some((kind, Shape::Fixed(length))),
            }
        }
        DataType::List(element) | DataType::LargeList(element) => match kind_of_element(element)? {
            Kind::Text => Some((Kind::Text, Shape::VariableTexts)),
            kind => Some((kind, Shape::Variable)),
        },
        times => {
            let bytes = time_bytes(times)?;
            Some((Kind::Text, Shape::Fixed(bytes)))
        }
    }
}

/// The places of the columns that FITS has no place for as they are nested: all that are no arrays.
pub(crate) fn nested_beyond(schema: &Schema) -> Vec<usize> {
    let types = cell_types(schema).into_iter().enumerate();
    let beyond =
        types.filter(|(_, data_type)| data_type.is_nested() && kind_and_shape(data_type).is_none());
    beyond.map(|(place, _)| place).collect()
}

/// Of lists those of booleans, numbers and texts are held; no lists of lists, of one element neither.
fn kind_of_element(element: &Field) -> Option<Kind> {
    if element.data_type().is_nested() {
        return None;
    }
    match kind_and_shape(element.data_type())? {
        (Kind::Text, _) => is_text(element.data_type()).then_some(Kind::Text),
        (kind, Shape::Fixed(1)) => Some(kind),
        _ => None,
    }
}

impl Shape {
    /// Says whether the rows have different numbers of elements.
    fn is_variable(self) -> bool {
        matches!(self, Self::Variable | Self::VariableTexts)
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn too_wide(field: &Field) -> TableError {
    TableError::Column {
        column: field.name().clone(),
        problem: "the arrays of texts are wider than any file".into(),
    }
}

impl Seen {
    fn nothing(field: &Field, data_type: &DataType) -> Result<Self, String> {
        if !is_fits_text(field.name().as_bytes()) {
            return Err("FITS holds ASCII names only".into());
        }
        if !header::fits_card(field.name()) {
            let problem = "FITS holds names of 68 characters at most, a quote counted twice";
            return Err(problem.into());
        }
        let (kind, shape) =
            kind_and_shape(data_type).ok_or_else(|| cannot_hold("FITS", data_type))?;
        let has_nullable_elements = match data_type {
            DataType::FixedSizeList(element, _)
            | DataType::List(element)
            | DataType::LargeList(element) => element.is_nullable(),
            _ => false,
        };
        let own_null = meta::of_column(field, meta::NULL).and_then(|text| text.parse().ok());
        Ok(Self {
            kind,
            shape,
            is_nullable: field.is_nullable() || has_nullable_elements,
            has_nulls: false,
            extremes: None,
            own_null: own_null.and_then(|own| kind.stored_exactly(own)),
            has_own_null: false,
            candidates: [false; 256],
            longest: 0,
            elements: 0,
            widest: 0,
        })
    }

    /// Takes what the type says, and what is known, for what was seen; says whether that is enough.
    fn settle(&mut self, field: &Field, data_type: &DataType, known: &ColumnStatistics) -> bool {
        if let DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) =
            data_type
        {
            self.longest = text::decimal_bytes_max(*precision, *scale);
            self.has_nulls = self.is_nullable;
            return true;
        }
        if let (Shape::Widest, Some(width)) = (self.shape, known.text_bytes_max) {
            self.shape = Shape::Fixed(width.max(1));
        }
        if let (Shape::Texts(_), Some(width)) = (self.shape, meta::width(field)) {
            self.widest = width;
            return true;
        }
        let is_integer = data_type.is_integer();
        if is_integer && known.no_nulls {
            self.is_nullable = false;
        }
        let is_settled = match self.shape {
            Shape::Fixed(_) if self.kind.range().is_some() && self.is_nullable => {
                self.kind.widened().is_some()
                    || meta::of_column(field, meta::NULL).is_some()
                    || is_integer && self.take_extremes(known.integers)
            }
            Shape::Fixed(_) => true,
            Shape::Bytes(_) => !self.is_nullable,
            Shape::Widest | Shape::Variable | Shape::Texts(_) | Shape::VariableTexts => false,
        };
        self.has_nulls = is_settled && self.is_nullable;
        is_settled
    }

    /// Takes what is known for what was seen, if it leaves a value that can stand for null.
    fn take_extremes(&mut self, known: Option<(i64, i64)>) -> bool {
        let (Some((least, greatest)), Some(range)) = (known, self.kind.range()) else {
            return false;
        };
        let stored = |value: i64| self.kind.stored_exactly(value.into());
        self.extremes = stored(least).zip(stored(greatest));
        self.extremes.is_some_and(|extremes| extremes != range)
    }

    fn look_at(&mut self, column: &Column<'_>, rows: usize) -> Result<(), (usize, &'static str)> {
        let all = (0..rows).filter(|row| !column.is_null(*row));
        // In the heap a row that is null is an empty one.
        self.has_nulls |= column.has_nulls() && !self.shape.is_variable();
        match &column.cells {
            Cells::Text(texts) => {
                let are_printable = texts.are_all(0..rows, is_fits_text);
                for row in all {
                    let text = texts.get(row).as_bytes();
                    if !are_printable && !is_fits_text(text) {
                        return Err((row, NOT_PRINTABLE));
                    }
                    self.count(text.len());
                }
            }
            Cells::Bytes(bytes) => all.for_each(|row| self.count(bytes.get(row).len())),
            Cells::List(lists, elements) => {
                for row in all {
                    let range = lists.range(row);
                    self.count(range.len());
                    match &elements.cells {
                        Cells::Text(texts) => {
                            self.look_at_texts(elements, texts, range)
                                .map_err(|problem| (row, problem))?;
                        }
                        Cells::Bool(_) if range.clone().any(|row| elements.is_null(row)) => {
                            return Err((row, NULL_LOGICAL));
                        }
                        Cells::U64(_)
                            if self.shape == Shape::Variable
                                && range.clone().any(|row| is_beyond_signed(elements, row)) =>
                        {
                            return Err((row, UNSIGNED_IN_LIST));
                        }
                        _ => range.for_each(|row| self.look_at_element(elements, row)),
                    }
                }
                if let (Shape::Fixed(_), Cells::Bool(_)) = (self.shape, &elements.cells)
                    && let Some(null) = (0..rows).find(|row| column.is_null(*row))
                {
                    return Err((null, NULL_LOGICAL));
                }
            }
            values if is_gathered_text(values) => {
                let mut out = Vec::new();
                for row in all {
                    out.clear();
                    scalar::append(&mut out, values, row, scalar::SPECIALS)
                        .map_err(|problem| (row, problem))?;
                    self.count(out.len());
                }
            }
            cells if self.kind == Kind::Text => {
                for row in all {
                    check_time(cells, row).map_err(|BeyondYears| (row, BeyondYears::PROBLEM))?;
                }
            }
            _ if self.is_nullable => {
                (0..rows).for_each(|row| self.look_at_element(column, row));
            }
            // What stands for null is looked for where there may be any.
            _ => {}
        }
        Ok(())
    }

    fn look_at_texts(
        &mut self,
        elements: &Column<'_>,
        texts: &Texts<'_>,
        range: std::ops::Range<usize>,
    ) -> Result<(), &'static str> {
        for row in range.filter(|row| !elements.is_null(*row)) {
            let text = texts.get(row).as_bytes();
            if !is_fits_text(text) {
                return Err(NOT_PRINTABLE);
            }
            self.widest = self.widest.max(text.len());
        }
        Ok(())
    }

    fn look_at_element(&mut self, column: &Column<'_>, row: usize) {
        if column.is_null(row) {
            self.has_nulls = true;
        } else if let Some(stored) = stored_integer(&column.cells, row, false) {
            let (least, greatest) = self.extremes.unwrap_or((stored, stored));
            self.extremes = Some((least.min(stored), greatest.max(stored)));
            self.has_own_null |= self.own_null == Some(stored);
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
            Shape::Fixed(_) | Shape::Texts(_) => false,
            Shape::Bytes(_) => self.has_nulls,
            Shape::Variable | Shape::VariableTexts => true,
            Shape::Widest => {
                let as_wide_as_widest = self.longest as u64 * rows;
                self.longest > WIDE_TEXT_BYTES && as_wide_as_widest > 4 * self.elements
            }
        }
    }

    /// Of arrays of texts: the bytes of each.
    fn text_bytes(&self) -> Option<usize> {
        let is_array = matches!(self.shape, Shape::Texts(_) | Shape::VariableTexts);
        is_array.then(|| self.widest.max(1))
    }

    fn element_bytes(&self) -> usize {
        self.text_bytes()
            .unwrap_or_else(|| self.stored_kind().bytes())
    }

    fn stored_kind(&self) -> Kind {
        self.widened().unwrap_or(self.kind)
    }

    /// The signed type that holds the values as they are, where readers cannot be trusted with an
    /// offset. astropy (8.0) adds none, or a wrong one, to arrays in the heap, and takes TNULL for the value
    /// behind the offset.
    fn widened(&self) -> Option<Kind> {
        let has_no_offset = self.has_nulls || self.shape == Shape::Variable;
        let kind = match self.is_within_signed() {
            true => Some(Kind::Long { unsigned: false }),
            false => self.kind.widened(),
        };
        kind.filter(|_| has_no_offset)
    }

    /// Says whether values of 64 bits without a sign are in the range of those with one.
    fn is_within_signed(&self) -> bool {
        // What is stored is less by half of the range.
        let are_lower = match self.extremes {
            Some((_, greatest)) => greatest < 0,
            None => self.shape == Shape::Variable,
        };
        are_lower && self.kind == Kind::Long { unsigned: true }
    }

    /// The value that stands for null: the column's own, or one next to those that occur.
    fn null_value(&self, field: &Field) -> Result<Option<i64>, String> {
        if !self.has_nulls {
            return Ok(None);
        }
        if let Some((lowest, highest)) = self.widened().and_then(Kind::range) {
            let own = meta::of_column(field, meta::NULL).and_then(|text| text.parse().ok());
            let is_free = |value: &i64| (lowest..=highest).contains(value) && !self.has_own_null;
            return Ok(own.filter(is_free).or(Some(lowest)));
        }
        let Some((lowest, highest)) = self.kind.range() else {
            return Ok(None);
        };
        if matches!(self.shape, Shape::Bytes(_)) {
            return Ok(None);
        }
        if let Some(text) = meta::of_column(field, meta::NULL) {
            let own = self.own_null.filter(|own| (lowest..=highest).contains(own));
            let own = own.ok_or_else(|| {
                format!("{text:?} cannot stand for null: it is no value of the column's type")
            })?;
            return match self.has_own_null {
                false => Ok(Some(own)),
                true => Err(format!(
                    "{text:?} cannot stand for null: it is among the values"
                )),
            };
        }
        let free_between = || {
            let free = self.candidates.iter().position(|stored| !stored)?;
            Some(lowest.wrapping_add(((free as u64) << self.kind.candidate_shift()) as i64))
        };
        let free = match (self.may_be_stored(lowest), self.may_be_stored(highest)) {
            (false, _) => Some(lowest),
            (true, false) => Some(highest),
            (true, true) => free_between(),
        };
        free.map(Some).ok_or_else(|| {
            "no value is left to stand for null: give one in the column's metadata (null)".into()
        })
    }

    /// Says whether a value is between those that are stored.
    fn may_be_stored(&self, stored: i64) -> bool {
        self.extremes
            .is_some_and(|(least, greatest)| (least..=greatest).contains(&stored))
    }
}
