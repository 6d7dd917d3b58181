//! What each column of a binary table becomes: its place in the row, how its elements are read,
//! and its Arrow type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::{
    FitsError,
    ascii::Ascii,
    form::{Form, Place, Stored},
    header::Header,
};
use crate::meta::WIDTH_MAX;

/// A column as the header has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its number in keywords, from 1.
    pub(super) number: usize,
    /// Where in the row it begins, in bytes.
    pub(super) at: usize,
    /// What it takes in the row.
    pub(super) bytes: usize,
    pub(super) element: Element,
    pub(super) shape: Shape,
    /// The axes of the array that a cell is (TDIMn), the one whose index changes fastest first. Of
    /// texts the first is their length.
    pub(super) axes: Option<Vec<usize>>,
    /// Keywords that contradict the column's TFORM, and are ignored.
    pub(super) ignored: Vec<String>,
}

/// How an element is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    pub(super) stored: Stored,
    pub(super) scaling: Scaling,
    /// What is stored for null (TNULLn), if the type can hold it.
    pub(super) null: Option<i64>,
    /// Of texts: the bytes of each. In the heap a cell is one text where this is 0.
    pub(super) text_bytes: usize,
    /// Of an ASCII table: how its text is read.
    pub(super) ascii: Option<Ascii>,
}

/// What is done with a stored number (TSCALn, TZEROn).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scaling {
    None,
    /// The other sign: the top bit is turned (FITS 4.0, table 19).
    OtherSign,
    /// Integers of 64 bits, of which floats would lose digits.
    Offset(i128),
    Linear {
        scale: f64,
        zero: f64,
    },
}

/// 2^65 and more leave no sum that fits 64 bits.
const OFFSET_MAX: f64 = 36_893_488_147_419_103_232.0;

/// How many elements a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Fixed(i32),
    /// In the heap. `present` is false where the row has no descriptor (a repeat count of 0).
    Heap {
        present: bool,
    },
}

/// Reads the columns of a table.
///
/// # Errors
/// A column that cannot be read; rows of another width than the columns'.
pub(super) fn columns(header: &Header, names: Vec<String>) -> Result<Vec<Column>, FitsError> {
    let mut at = 0_usize;
    let mut columns = Vec::with_capacity(names.len());
    for (place, name) in names.into_iter().enumerate() {
        let column = Column::read(header, place + 1, name, at)?;
        at = at.saturating_add(column.bytes);
        columns.push(column);
    }
    let row_bytes: usize = header.needed("NAXIS1")?;
    if row_bytes != at {
        return Err(header.problem(format!(
            "rows are of {row_bytes} bytes (NAXIS1), the columns take {at}"
        )));
    }
    Ok(columns)
}

impl Column {
    fn read(header: &Header, number: usize, name: String, at: usize) -> Result<Self, FitsError> {
        let refused = |problem: String| FitsError::Column {
            column: name.clone(),
            problem,
        };
        let text = header.text(&format!("TFORM{number}"));
        let text = text.ok_or_else(|| refused(format!("TFORM{number} is missing")))?;
        let form =
            Form::parse(text).ok_or_else(|| refused(format!("TFORM{number} is {text:?}")))?;
        let too_wide = || refused(format!("TFORM{number} is {text:?}: too wide"));
        let bytes = form.bytes_in_row().ok_or_else(too_wide)?;
        let scaling = scaling(header, number, form.stored)?;
        let is_complex = matches!(form.stored, Stored::Complex | Stored::DoubleComplex);
        if is_complex && scaling != Scaling::None {
            return Err(refused("complex numbers with TSCAL or TZERO".to_owned()));
        }
        let mut ignored = Vec::new();
        let axes = axes(header, number, &form, &mut ignored);
        let text_bytes = match (form.place, axes.as_deref()) {
            (Place::Row, axes) => text_bytes(&form, axes),
            // As STILTS takes it.
            (Place::Heap { .. }, Some([length, _, ..])) if form.stored == Stored::Text => *length,
            (Place::Heap { .. }, _) => 0,
        };
        let elements = match form.stored {
            Stored::Text if text_bytes == form.repeat => 1,
            Stored::Text => form.repeat / text_bytes.max(1),
            _ => form.repeat,
        };
        let shape = match form.place {
            Place::Heap { .. } => Shape::Heap {
                present: form.repeat > 0,
            },
            Place::Row if elements == 1 => Shape::One,
            Place::Row => Shape::Fixed(elements.try_into().map_err(|_| too_wide())?),
        };
        Ok(Self {
            number,
            at,
            bytes,
            element: Element {
                stored: form.stored,
                scaling,
                null: null(header, number, form.stored, &mut ignored),
                text_bytes,
                ascii: None,
            },
            shape,
            axes,
            ignored,
            name,
        })
    }

    /// The most bytes that a text of the column has, if each row has one in it.
    pub(super) fn text_bytes_max(&self) -> Option<usize> {
        let is_text = self.element.stored == Stored::Text && self.shape == Shape::One;
        is_text.then_some(self.bytes)
    }

    pub(super) fn is_array_of_texts(&self) -> bool {
        let is_fixed = matches!(self.shape, Shape::Fixed(_));
        is_fixed && self.element.stored == Stored::Text || self.is_text_list()
    }

    /// Says whether a cell in the heap is a list of texts.
    pub(super) fn is_text_list(&self) -> bool {
        matches!(self.shape, Shape::Heap { .. })
            && self.element.stored == Stored::Text
            && self.element.text_bytes > 0
    }

    /// The Arrow field, without metadata.
    pub(super) fn field(&self) -> Field {
        let (element, nullable) = (self.element.data_type(), self.element.is_nullable());
        let item = || Arc::new(Field::new_list_field(element.clone(), nullable));
        match self.shape {
            Shape::One => Field::new(&self.name, element, nullable),
            Shape::Fixed(length) => {
                Field::new(&self.name, DataType::FixedSizeList(item(), length), false)
            }
            Shape::Heap { .. } if self.element.stored == Stored::Text && !self.is_text_list() => {
                Field::new(&self.name, element, nullable)
            }
            Shape::Heap { .. } => Field::new(&self.name, DataType::List(item()), false),
        }
    }
}

impl Element {
    fn data_type(&self) -> DataType {
        let is_linear = matches!(self.scaling, Scaling::Linear { .. });
        let other_sign = self.scaling == Scaling::OtherSign;
        let pair = |part| {
            let part = Arc::new(Field::new_list_field(part, false));
            DataType::FixedSizeList(part, 2)
        };
        match self.stored {
            Stored::Logical | Stored::Bit => DataType::Boolean,
            Stored::Text => DataType::Utf8,
            Stored::Complex => pair(DataType::Float32),
            Stored::DoubleComplex => pair(DataType::Float64),
            _ if is_linear => DataType::Float64,
            Stored::Byte if other_sign => DataType::Int8,
            Stored::Byte => DataType::UInt8,
            Stored::Short if other_sign => DataType::UInt16,
            Stored::Short => DataType::Int16,
            Stored::Int if other_sign => DataType::UInt32,
            Stored::Int => DataType::Int32,
            Stored::Long if other_sign => DataType::UInt64,
            Stored::Long => DataType::Int64,
            Stored::Float => DataType::Float32,
            Stored::Double => DataType::Float64,
        }
    }

    pub(super) fn is_nullable(&self) -> bool {
        let may_be_blank = self
            .ascii
            .as_ref()
            .is_some_and(|ascii| ascii.null.is_some() || self.stored == Stored::Double);
        matches!(self.stored, Stored::Logical | Stored::Text) || self.null.is_some() || may_be_blank
    }

    /// The value that stands for null, as it is after the offset; `None` for other than integers.
    pub(super) fn null_value(&self) -> Option<i128> {
        let stored = i128::from(self.null?);
        match (self.scaling, self.stored) {
            (Scaling::None, _) => Some(stored),
            (Scaling::OtherSign, Stored::Byte) => Some(stored - (1 << 7)),
            (Scaling::OtherSign, Stored::Short) => Some(stored + (1 << 15)),
            (Scaling::OtherSign, Stored::Int) => Some(stored + (1 << 31)),
            (Scaling::OtherSign, _) => Some(stored + (1 << 63)),
            (Scaling::Offset(offset), _) => Some(stored + offset),
            (Scaling::Linear { .. }, _) => None,
        }
    }
}

impl Stored {
    /// Says whether a value of TNULL can be stored: only integers have one.
    fn holds(self, value: i64) -> bool {
        match self {
            Self::Byte => u8::try_from(value).is_ok(),
            Self::Short => i16::try_from(value).is_ok(),
            Self::Int => i32::try_from(value).is_ok(),
            Self::Long => true,
            _ => false,
        }
    }

    /// The zero that changes the sign of the type (FITS 4.0, table 19).
    fn zero_of_other_sign(self) -> Option<f64> {
        match self {
            Self::Byte => Some(-128.0),
            Self::Short => Some(32_768.0),
            Self::Int => Some(2_147_483_648.0),
            Self::Long => Some(9_223_372_036_854_775_808.0),
            _ => None,
        }
    }
}

fn scaling(header: &Header, number: usize, stored: Stored) -> Result<Scaling, FitsError> {
    if matches!(stored, Stored::Logical | Stored::Bit | Stored::Text) {
        return Ok(Scaling::None);
    }
    let zero_of_other_sign = stored.zero_of_other_sign();
    Ok(match linear(header, number, stored)? {
        Scaling::Linear { scale: 1.0, zero } if zero_of_other_sign == Some(zero) => {
            Scaling::OtherSign
        }
        Scaling::Offset(zero) if zero_of_other_sign.map(|zero| zero as i128) == Some(zero) => {
            Scaling::OtherSign
        }
        scaling => scaling,
    })
}

/// What TSCAL and TZERO say, whatever zero means another sign.
pub(super) fn linear(header: &Header, number: usize, stored: Stored) -> Result<Scaling, FitsError> {
    let keyword = format!("TZERO{number}");
    let scale = header.number(&format!("TSCAL{number}"))?.unwrap_or(1.0);
    let zero: f64 = header.number(&keyword)?.unwrap_or(0.0);
    Ok(match (scale, zero) {
        (1.0, 0.0) => Scaling::None,
        (1.0, zero) if stored == Stored::Long && zero.fract() == 0.0 && zero.abs() < OFFSET_MAX => {
            let digits = header.value(&keyword).and_then(|text| text.parse().ok());
            Scaling::Offset(digits.unwrap_or(zero as i128))
        }
        _ => Scaling::Linear { scale, zero },
    })
}

/// What is stored for null, by TNULL: an integer that the column's type can hold. Nothing else has
/// a meaning there (FITS 4.0, 7.3.2).
fn null(header: &Header, number: usize, stored: Stored, ignored: &mut Vec<String>) -> Option<i64> {
    let keyword = format!("TNULL{number}");
    let null = header.integer(&keyword).filter(|null| stored.holds(*null));
    if null.is_none() && header.has(&keyword) {
        ignored.push(keyword);
    }
    null
}

/// The axes of TDIM, if they are those of all elements of a cell. In the heap each cell has a length
/// of its own.
fn axes(
    header: &Header,
    number: usize,
    form: &Form,
    ignored: &mut Vec<String>,
) -> Option<Vec<usize>> {
    let keyword = format!("TDIM{number}");
    let text = header.text(&keyword)?.trim();
    let axes = parse_axes(text).filter(|axes| match form.place {
        Place::Row => {
            axes.iter()
                .try_fold(1_usize, |all, axis| all.checked_mul(*axis))
                == Some(form.repeat)
        }
        // What a text of a list takes is not bounded by the file.
        Place::Heap { .. } => {
            form.stored != Stored::Text || axes.first().is_some_and(|width| *width <= WIDTH_MAX)
        }
    });
    if axes.is_none() {
        ignored.push(keyword);
    }
    axes
}

fn parse_axes(text: &str) -> Option<Vec<usize>> {
    let axes = text.strip_prefix('(')?.strip_suffix(')')?.split(',');
    axes.map(|axis| axis.trim().parse().ok().filter(|axis| *axis > 0))
        .collect()
}

/// How long each text of a cell is: as TFORM says, or the first of TDIM (FITS 4.0, 7.3.2). Where the
/// cell is no multiple of that it is one text: no byte is left out.
fn text_bytes(form: &Form, axes: Option<&[usize]>) -> usize {
    let own = form
        .text_bytes
        .or(axes.and_then(|axes| axes.first().copied()));
    own.filter(|bytes| form.repeat.is_multiple_of(*bytes))
        .unwrap_or(form.repeat)
}
