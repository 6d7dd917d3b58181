//! Numbers as text, appended to a buffer; and texts, of which most are short.
//!
//! Floats are the shortest text that reads back as the same number. Times are in `times.rs`.

use arrow::datatypes::i256;

use super::buffer::{SHORT_BYTES, copy_short};

/// Appends a text that is short as a rule: in a room of a fixed size, of which the rest is given
/// back.
#[inline]
pub(super) fn short(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() > SHORT_BYTES {
        out.extend_from_slice(text);
        return;
    }
    let from = out.len();
    out.extend_from_slice(&[0; SHORT_BYTES]);
    copy_short(&mut out[from..from + text.len()], text);
    out.truncate(from + text.len());
}

/// Says whether a text has bytes of some kind. Looks at every byte: most texts have none, so that
/// an early end is late.
#[inline]
pub(super) fn any(text: &[u8], is: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(false, |any, byte| any | is(*byte))
}

#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    short(out, itoa::Buffer::new().format(value).as_bytes());
}

/// How a format writes what is no number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Specials {
    pub(super) nan: &'static str,
    pub(super) infinity: &'static str,
    pub(super) minus_infinity: &'static str,
}

impl Specials {
    fn of(self, is_nan: bool, is_positive: bool) -> &'static str {
        match (is_nan, is_positive) {
            (true, _) => self.nan,
            (false, true) => self.infinity,
            (false, false) => self.minus_infinity,
        }
    }
}

#[inline]
pub(super) fn float(out: &mut Vec<u8>, value: impl Float, specials: Specials) {
    short(
        out,
        value.text(&mut zmij::Buffer::new(), specials).as_bytes(),
    );
}

pub(super) trait Float {
    fn text(self, buffer: &mut zmij::Buffer, specials: Specials) -> &str;
}

macro_rules! float {
    ($($float:ty),*) => {$(
        impl Float for $float {
            #[inline]
            fn text(self, buffer: &mut zmij::Buffer, specials: Specials) -> &str {
                match self.is_finite() {
                    true => buffer.format_finite(self),
                    false => specials.of(self.is_nan(), self > 0.0),
                }
            }
        }
    )*};
}
float!(f32, f64);

/// The most bytes that [`decimal`] appends for a value of this precision.
pub(super) fn decimal_bytes_max(precision: u8, scale: i8) -> usize {
    let (sign_and_point, digits) = (2, usize::from(precision));
    match usize::try_from(scale) {
        Ok(places) => sign_and_point + digits.max(places + 1),
        Err(_) => sign_and_point + digits + usize::from(scale.unsigned_abs()),
    }
}

/// Appends a decimal: `value` times 10 to the minus `scale`.
pub(super) fn decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    decimal_digits(out, value < 0, digits, scale);
}

/// The same for one that has 256 bits.
pub(super) fn large_decimal(out: &mut Vec<u8>, value: i256, scale: i8) {
    let digits = value.to_string();
    let digits = digits.trim_start_matches('-');
    decimal_digits(out, value.is_negative(), digits, scale);
}

fn decimal_digits(out: &mut Vec<u8>, is_negative: bool, digits: &str, scale: i8) {
    let digits = digits.as_bytes();
    if is_negative {
        out.push(b'-');
    }
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    };
    let whole = digits.len().saturating_sub(places);
    match whole {
        0 => out.push(b'0'),
        _ => out.extend_from_slice(&digits[..whole]),
    }
    if places > 0 {
        out.push(b'.');
        out.resize(out.len() + places.saturating_sub(digits.len()), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(super) fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

/// Parses bytes as the text formats show them: two hexadecimal digits for each byte, in letters of
/// either case. `None` if the text is anything else.
///
/// ```
/// use datastreamer_table::bytes_of_hex;
///
/// assert_eq!(bytes_of_hex("00fF"), Some(vec![0, 255]));
/// assert_eq!(bytes_of_hex("0"), None);
/// ```
pub fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_exact() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 3, "0.005"),
            (-5, 1, "-0.5"),
            (12_345, 2, "123.45"),
            (-12_345, 5, "-0.12345"),
            (12, -2, "1200"),
            (0, -2, "0"),
            (i128::MIN, 38, "-1.70141183460469231731687303715884105728"),
        ] {
            assert_eq!(text(|out| decimal(out, value, scale)), expected);
            let large = i256::from_i128(value);
            assert_eq!(text(|out| large_decimal(out, large, scale)), expected);
        }
        let least =
            "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
        assert_eq!(text(|out| large_decimal(out, i256::MIN, 0)), least);
    }

    #[test]
    fn floats_are_the_shortest_that_read_back() {
        let specials = Specials {
            nan: "NaN",
            infinity: "+Inf",
            minus_infinity: "-Inf",
        };
        for value in [
            0.1,
            -0.0,
            1e300,
            f64::MIN_POSITIVE,
            f64::MAX,
            5e-324,
            123_456.0,
        ] {
            let text = text(|out| float(out, value, specials));
            assert_eq!(
                text.parse::<f64>().unwrap().to_bits(),
                value.to_bits(),
                "{text}"
            );
        }
        assert_eq!(text(|out| float(out, 0.1_f32, specials)), "0.1");
        assert_eq!(text(|out| float(out, f64::NAN, specials)), "NaN");
        assert_eq!(text(|out| float(out, f32::INFINITY, specials)), "+Inf");
        assert_eq!(text(|out| float(out, f64::NEG_INFINITY, specials)), "-Inf");
    }
}
