//! TFORM: what a column's cells are made of (FITS 4.0, 7.3.1 and 7.3.5).

/// A cell's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Logical,
    Bit,
    Byte,
    Short,
    Int,
    Long,
    Float,
    Double,
    /// Two floats.
    Complex,
    /// Two doubles.
    DoubleComplex,
    Text,
}

/// A column's TFORM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) stored: Stored,
    /// Elements in the row, or descriptors: then 0 or 1.
    pub(super) repeat: usize,
    pub(super) place: Place,
    /// Of texts: the length of each, where a cell holds several (FITS 4.0, 7.3.3.1: rAw).
    pub(super) text_bytes: Option<usize>,
}

/// Where the elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Row,
    /// In the heap; the row has length and offset, of 4 bytes each or of 8.
    Heap {
        wide: bool,
    },
}

impl Form {
    /// Parses a TFORM; `None` if it is none. Some programs write small letters, which astropy reads
    /// too.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (repeat, rest) = text.split_at(digits);
        let repeat = match repeat {
            "" => 1,
            digits => digits.parse().ok()?,
        };
        let wide = match rest.bytes().next()? {
            b'P' => false,
            b'Q' => true,
            code => {
                let stored = Stored::of(code)?;
                return Some(Self {
                    stored,
                    repeat,
                    place: Place::Row,
                    text_bytes: (stored == Stored::Text)
                        .then(|| text_bytes(&rest[1..]))
                        .flatten(),
                });
            }
        };
        (repeat <= 1).then_some(())?;
        Some(Self {
            stored: Stored::of(*rest.as_bytes().get(1)?)?,
            repeat,
            place: Place::Heap { wide },
            text_bytes: None,
        })
    }

    /// What a cell takes in the row; `None` if no number holds it.
    pub(super) fn bytes_in_row(&self) -> Option<usize> {
        match self.place {
            Place::Row => self.stored.bytes_of(self.repeat as u64)?.try_into().ok(),
            Place::Heap { wide: false } => Some(8 * self.repeat),
            Place::Heap { wide: true } => Some(16 * self.repeat),
        }
    }
}

impl Stored {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            b'L' => Self::Logical,
            b'X' => Self::Bit,
            b'B' => Self::Byte,
            b'I' => Self::Short,
            b'J' => Self::Int,
            b'K' => Self::Long,
            b'E' => Self::Float,
            b'D' => Self::Double,
            b'C' => Self::Complex,
            b'M' => Self::DoubleComplex,
            b'A' => Self::Text,
            _ => return None,
        })
    }

    /// The bytes of so many elements; `None` if no number holds them.
    pub(super) fn bytes_of(self, elements: u64) -> Option<u64> {
        match self {
            Self::Bit => Some(elements.div_ceil(8)),
            Self::Logical | Self::Byte | Self::Text => Some(elements),
            Self::Short => elements.checked_mul(2),
            Self::Int | Self::Float => elements.checked_mul(4),
            Self::Long | Self::Double | Self::Complex => elements.checked_mul(8),
            Self::DoubleComplex => elements.checked_mul(16),
        }
    }
}

/// `w` of `rAw`, or of `rA:SSTRw`, the convention before it. What `rA:SSTRw/nnn` holds is delimited,
/// of no fixed length: other readers take the cell for one text, too.
fn text_bytes(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix(":SSTR").unwrap_or(rest);
    rest.parse().ok().filter(|bytes| *bytes > 0)
}
