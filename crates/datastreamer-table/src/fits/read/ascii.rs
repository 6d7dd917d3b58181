//! ASCII tables (FITS 4.0, 7.2): what their columns become, and numbers that are written as text.

use std::sync::Arc;

use super::{
    FitsError,
    column::{Column, Element, Scaling, Shape, linear},
    form::Stored,
    header::Header,
};

/// How a field's text is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ascii {
    /// Digits behind the point of a number without one.
    decimals: usize,
    /// The text that stands for null (TNULLn), without the blanks around it.
    pub(super) null: Option<Arc<str>>,
}

/// Reads the columns of a table. They may overlap, and need not be in the order of their places.
///
/// # Errors
/// A column that cannot be read, or that is not within the row.
pub(super) fn columns(header: &Header, names: Vec<String>) -> Result<Vec<Column>, FitsError> {
    let row_bytes: usize = header.needed("NAXIS1")?;
    let names = names.into_iter().enumerate();
    names
        .map(|(place, name)| column(header, place + 1, name, row_bytes))
        .collect()
}

fn column(
    header: &Header,
    number: usize,
    name: String,
    row_bytes: usize,
) -> Result<Column, FitsError> {
    let refused = |problem: String| FitsError::Column {
        column: name.clone(),
        problem,
    };
    let form = header.text(&format!("TFORM{number}"));
    let form = form.ok_or_else(|| refused(format!("TFORM{number} is missing")))?;
    let (stored, bytes, decimals) =
        parse_form(form).ok_or_else(|| refused(format!("TFORM{number} is {form:?}")))?;
    let begin: usize = header.needed(&format!("TBCOL{number}"))?;
    let end = begin.checked_add(bytes).filter(|end| *end <= row_bytes + 1);
    if begin == 0 || end.is_none() {
        return Err(refused(format!(
            "TBCOL{number} is {begin} and TFORM{number} {form:?}: not within rows of {row_bytes} bytes"
        )));
    }
    let null = header.value(&format!("TNULL{number}"));
    Ok(Column {
        number,
        at: begin - 1,
        bytes,
        element: Element {
            stored,
            scaling: match stored {
                Stored::Text => Scaling::None,
                _ => linear(header, number, stored)?,
            },
            null: None,
            text_bytes: bytes,
            ascii: Some(Ascii {
                decimals,
                null: null.map(|null| null.trim().into()),
            }),
        },
        shape: Shape::One,
        axes: None,
        ignored: Vec::new(),
        name,
    })
}

/// Parses `Aw`, `Iw`, `Fw.d`, `Ew.d` or `Dw.d`: the smallest type that holds all that has its width,
/// the width, and the digits behind an implied point. `None` if it is none.
fn parse_form(text: &str) -> Option<(Stored, usize, usize)> {
    let text = text.trim();
    let code = text.bytes().next()?;
    let rest = text.get(1..)?;
    let (width, decimals) = match rest.split_once('.') {
        Some((width, decimals)) => (width, decimals.parse().ok()?),
        None => (rest, 0),
    };
    // A lone A is A1.
    let width = match (code, width) {
        (b'A', "") => 1,
        _ => width.parse().ok().filter(|width| *width > 0)?,
    };
    let stored = match (code, width) {
        (b'A', _) => Stored::Text,
        (b'I', ..=4) => Stored::Short,
        (b'I', ..=9) => Stored::Int,
        (b'I', _) => Stored::Long,
        (b'F' | b'E' | b'D', _) => Stored::Double,
        _ => return None,
    };
    Some((stored, width, decimals))
}

impl Ascii {
    /// Says whether a field, without the blanks around it, stands for null.
    pub(super) fn is_null(&self, field: &[u8]) -> bool {
        let null = self.null.as_deref();
        null.is_some_and(|null| null.as_bytes() == field)
    }

    /// Reads an integer, which is to be more by an offset. A field of blanks is 0.
    ///
    /// # Errors
    /// What is no integer, or does not fit 64 bits.
    pub(super) fn integer(field: &[u8], offset: i128) -> Result<i64, String> {
        let digits = if field.is_empty() { b"0" } else { field };
        let text = std::str::from_utf8(digits).ok();
        let stored = text.and_then(|text| text.parse::<i64>().ok());
        let value = stored.map(|stored| i128::from(stored) + offset);
        value
            .and_then(|value| value.try_into().ok())
            .ok_or_else(|| match field.strip_prefix(b"-").unwrap_or(field) {
                digits if digits.iter().all(u8::is_ascii_digit) && !digits.is_empty() => {
                    format!("{} does not fit 64 bits", shown(field))
                }
                _ => format!("{} is no integer", shown(field)),
            })
    }

    /// Reads a real number: without a point it has so many decimals, its exponent follows an E, a D
    /// or a sign (FITS 4.0, 7.2.5). `None` for a field of blanks: by the standard that is 0, but
    /// astropy and STILTS have nothing there, which is what those who leave it blank mean.
    ///
    /// # Errors
    /// What is no number.
    pub(super) fn real(&self, field: &[u8]) -> Result<Option<f64>, String> {
        if field.is_empty() {
            return Ok(None);
        }
        let wrong = || format!("{} is no number", shown(field));
        let text = std::str::from_utf8(field).map_err(|_| wrong())?;
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        // Not of the standard, but of libraries that write what they have.
        if ["nan", "inf"]
            .iter()
            .any(|name| unsigned.eq_ignore_ascii_case(name))
        {
            return text.parse().map(Some).map_err(|_| wrong());
        }
        let is_mantissa = |c: char| c.is_ascii_digit() || c == '.';
        let mantissa_bytes = unsigned.find(|c| !is_mantissa(c)).unwrap_or(unsigned.len());
        let (mantissa, exponent) = unsigned.split_at(mantissa_bytes);
        let exponent = match exponent
            .strip_prefix(['E', 'e', 'D', 'd'])
            .unwrap_or(exponent)
        {
            "" if exponent.is_empty() => 0,
            exponent => exponent.parse::<i64>().map_err(|_| wrong())?,
        };
        let implied = match mantissa.contains('.') {
            true => 0,
            false => self.decimals as i64,
        };
        let sign = if text.starts_with('-') { "-" } else { "" };
        let number = format!("{sign}{mantissa}e{}", exponent.saturating_sub(implied));
        number.parse().map(Some).map_err(|_| wrong())
    }
}

/// A field as messages have it.
fn shown(field: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_the_five_of_the_standard_with_a_width() {
        let of = |text| parse_form(text);
        assert_eq!(of("A5"), Some((Stored::Text, 5, 0)));
        assert_eq!(of("A"), Some((Stored::Text, 1, 0)));
        assert_eq!(of("I4"), Some((Stored::Short, 4, 0)));
        assert_eq!(of("I9 "), Some((Stored::Int, 9, 0)));
        assert_eq!(of("I10"), Some((Stored::Long, 10, 0)));
        assert_eq!(of("F6.2"), Some((Stored::Double, 6, 2)));
        assert_eq!(of("E15.7"), Some((Stored::Double, 15, 7)));
        assert_eq!(of("D25.17"), Some((Stored::Double, 25, 17)));
        for none in [
            "", "I", "I0", "F.2", "F6.", "J4", "4I", "F6.x", "i4", "\u{e9}4",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn real_numbers_are_read_as_fortran_reads_them() {
        let ascii = Ascii {
            decimals: 2,
            null: None,
        };
        let read = |text: &str| ascii.real(text.as_bytes());
        for (text, value) in [
            ("1.25", 1.25),
            ("125", 1.25),
            ("-1", -0.01),
            ("+7", 0.07),
            ("1.", 1.0),
            (".5", 0.5),
            ("15E2", 15.0),
            ("1.5D+02", 150.0),
            ("1.5d-2", 0.015),
            ("1.5e2", 150.0),
            ("1.5+2", 150.0),
            ("1.5-102", 1.5e-102),
            ("-.34500E+03", -345.0),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            ("1.0E999", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(read(text), Ok(Some(value)), "{text}");
        }
        assert_eq!(read(""), Ok(None));
        assert!(read("NaN").is_ok_and(|nan| nan.is_some_and(f64::is_nan)));
        for wrong in [
            "*****", "1 2", "1.2.3", "E5", ".", "-", "1E", "1E+", "0x10", "1,5", "--",
        ] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error, format!("{wrong:?} is no number"));
        }
    }

    #[test]
    fn integers_that_do_not_fit_are_refused() {
        let read = |text: &str| Ascii::integer(text.as_bytes(), 0);
        assert_eq!(read("+12"), Ok(12));
        assert_eq!(read("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read(""), Ok(0));
        assert_eq!(
            read("9223372036854775808").unwrap_err(),
            "\"9223372036854775808\" does not fit 64 bits"
        );
        for wrong in ["1.0", "1 2", "*", "-", "12a", "\u{e9}"] {
            assert_eq!(read(wrong).unwrap_err(), format!("{wrong:?} is no integer"));
        }
    }
}
