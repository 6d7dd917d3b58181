//! Numbers as text, appended to a buffer; and texts, of which most are short.
//!
//! Floats are the shortest text that reads back as the same number. Times are in `times.rs`.

pub(super) use super::times::{BeyondYears, time};

/// What [`short_between`] copies without a call: any number is shorter.
const SHORT_BYTES: usize = 32;

/// [`SHORT_BYTES`], and the markup around them.
const ROOM_BYTES: usize = 48;

/// Appends a text that is short as a rule.
#[inline]
pub(super) fn short(out: &mut Vec<u8>, text: &[u8]) {
    short_between(out, b"", text, b"");
}

/// Appends a text that is short as a rule, with what stands before and behind it: all in one room
/// of a fixed size, of which the rest is given back.
#[inline]
pub(super) fn short_between<const BEFORE: usize, const BEHIND: usize>(
    out: &mut Vec<u8>,
    before: &[u8; BEFORE],
    text: &[u8],
    behind: &[u8; BEHIND],
) {
    const { assert!(BEFORE + SHORT_BYTES + BEHIND <= ROOM_BYTES) };
    if text.len() > SHORT_BYTES {
        out.extend_from_slice(before);
        out.extend_from_slice(text);
        out.extend_from_slice(behind);
        return;
    }
    let behind_at = BEFORE + text.len();
    let from = out.len();
    out.extend_from_slice(&[0; ROOM_BYTES]);
    if let Some(room) = out.last_chunk_mut::<ROOM_BYTES>() {
        room[..BEFORE].copy_from_slice(before);
        copy_short(&mut room[BEFORE..behind_at], text);
        room[behind_at..][..BEHIND].copy_from_slice(behind);
    }
    out.truncate(from + behind_at + BEHIND);
}

/// Copies a text that is short as a rule: in two pieces of a fixed size that overlap.
#[inline]
pub(super) fn copy_short(to: &mut [u8], text: &[u8]) {
    match text.len() {
        16..=32 => copy_overlapping::<16>(to, text),
        8..16 => copy_overlapping::<8>(to, text),
        4..8 => copy_overlapping::<4>(to, text),
        _ => to.copy_from_slice(text),
    }
}

/// Copies `N` to twice as many bytes.
#[inline]
fn copy_overlapping<const N: usize>(to: &mut [u8], text: &[u8]) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        to[..N].copy_from_slice(first);
        let last_at = to.len() - N;
        to[last_at..].copy_from_slice(last);
    }
}

/// The bytes that a format must not have in a text as they are.
pub(super) struct Marks([bool; 256]);

impl Marks {
    pub(super) const fn of(bytes: &[u8]) -> Self {
        let mut marks = [false; 256];
        let mut place = 0;
        while place < bytes.len() {
            marks[bytes[place] as usize] = true;
            place += 1;
        }
        Self(marks)
    }

    /// All bytes but those from the first to the last.
    pub(super) const fn but(first: u8, last: u8) -> Self {
        let mut marks = [true; 256];
        let mut byte = first as usize;
        while byte <= last as usize {
            marks[byte] = false;
            byte += 1;
        }
        Self(marks)
    }

    /// Looks at every byte: most texts are short and have no mark, so that an early end is late.
    #[inline]
    pub(super) fn are_in(&self, text: &[u8]) -> bool {
        text.iter()
            .fold(false, |any, byte| any | self.0[usize::from(*byte)])
    }
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
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        if value != 0 {
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
        }
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
