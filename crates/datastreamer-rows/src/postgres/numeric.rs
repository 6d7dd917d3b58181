//! PostgreSQL's exact numbers, from their binary form (`numeric.c`, `numeric_send`): a head, then
//! groups of four decimal digits, the first of weight 10000^`weight`.

/// What a number in binary form is.
pub(super) enum Number<'a> {
    Finite(Finite<'a>),
    /// Its name.
    Special(&'static str),
}

pub(super) struct Finite<'a> {
    is_negative: bool,
    /// The power of 10000 of the first group.
    weight: i32,
    /// Digits behind the point, as they are displayed.
    scale: u16,
    /// Two bytes each, big-endian.
    groups: &'a [u8],
}

const HEAD_BYTES: usize = 8;
const GROUP_DIGITS: i32 = 4;
const GROUP: i128 = 10_000;

/// Reads the binary form; `None` if it is none.
pub(super) fn read(raw: &[u8]) -> Option<Number<'_>> {
    let (head, groups) = raw.split_at_checked(HEAD_BYTES)?;
    let field = |index: usize| u16::from_be_bytes([head[2 * index], head[2 * index + 1]]);
    if groups.len() != usize::from(field(0)) * 2 {
        return None;
    }
    let is_negative = match field(2) {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Some(Number::Special("NaN")),
        0xD000 => return Some(Number::Special("Infinity")),
        0xF000 => return Some(Number::Special("-Infinity")),
        _ => return None,
    };
    Some(Number::Finite(Finite {
        is_negative,
        weight: i32::from(field(1).cast_signed()),
        scale: field(3),
        groups,
    }))
}

impl Finite<'_> {
    fn groups(&self) -> impl Iterator<Item = u16> {
        let groups = self.groups.chunks_exact(2);
        groups.map(|group| u16::from_be_bytes([group[0], group[1]]))
    }

    /// Returns the number times 10^`scale`; `None` if that is no whole number of 128 bits.
    pub(super) fn scaled(&self, scale: i8) -> Option<i128> {
        let (mut value, mut power) = (0_i128, 0);
        for (index, group) in (0..).zip(self.groups()) {
            // The power of ten of the group's last digit.
            power = GROUP_DIGITS * (self.weight - index) + i32::from(scale);
            let group = i128::from(group);
            value = if power >= 0 {
                value.checked_mul(GROUP)?.checked_add(group)?
            } else if power > -GROUP_DIGITS {
                // Only the first digits of the group are before the end.
                let cut = ten_to(-power)?;
                let kept = value.checked_mul(ten_to(GROUP_DIGITS + power)?)?;
                (group % cut == 0).then_some(())?;
                kept.checked_add(group / cut)?
            } else {
                (group == 0).then_some(value)?
            };
        }
        if power > 0 {
            value = value.checked_mul(ten_to(power)?)?;
        }
        Some(if self.is_negative { -value } else { value })
    }

    /// Writes the number as PostgreSQL does, with all digits of its scale.
    pub(super) fn write(&self, out: &mut String) {
        if self.is_negative {
            out.push('-');
        }
        if self.weight < 0 {
            out.push('0');
        }
        for position in (0..=self.weight).rev() {
            let digits = self.digits(position);
            let leading = if position == self.weight {
                digits.iter().position(|digit| *digit != b'0').unwrap_or(3)
            } else {
                0
            };
            out.extend(digits[leading..].iter().copied().map(char::from));
        }
        if self.scale == 0 {
            return;
        }
        out.push('.');
        let (mut left, mut position) = (usize::from(self.scale), -1);
        while left > 0 {
            let digits = self.digits(position);
            let taken = left.min(digits.len());
            out.extend(digits[..taken].iter().copied().map(char::from));
            (left, position) = (left - taken, position - 1);
        }
    }

    /// The four digits of the group of weight 10000^`position`.
    fn digits(&self, position: i32) -> [u8; 4] {
        let index = usize::try_from(self.weight - position).unwrap_or(usize::MAX);
        let start = index.saturating_mul(2);
        let group = match self.groups.get(start..start.saturating_add(2)) {
            Some(group) => u16::from_be_bytes([group[0], group[1]]),
            None => 0,
        };
        [1000, 100, 10, 1].map(|power| b'0' + (group / power % 10) as u8)
    }
}

fn ten_to(power: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(power).ok()?)
}
