//! Headers: cards of 80 bytes in blocks of 2880, up to END (FITS 4.0, 4).

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt, str::FromStr};

use super::{BLOCK_BYTES, FitsError};

/// A card (FITS 4.0, 4.1).
const CARD_BYTES: usize = 80;

/// 999 columns with 15 cards each take 1.2 MB; what is beyond is no header that anyone wrote.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// The cards of a header that have a value, by their keywords.
#[derive(Debug)]
pub(super) struct Header {
    /// Where it begins in the file.
    pub(super) at: u64,
    /// Its length with its padding.
    pub(super) bytes: u64,
    cards: HashMap<String, Card>,
}

#[derive(Debug, Default)]
struct Card {
    at: u64,
    value: String,
    is_text: bool,
    comment: String,
}

impl Header {
    /// Reads the header that begins at a byte.
    pub(super) fn read(file: &File, file_bytes: u64, at: u64) -> Result<Self, FitsError> {
        let mut cards = Cards::default();
        let mut block = [0; BLOCK_BYTES as usize];
        let mut bytes = 0;
        loop {
            let block_at = at.saturating_add(bytes);
            let problem = |text: &str| FitsError::Header {
                byte: at,
                problem: text.to_owned(),
            };
            if block_at.saturating_add(BLOCK_BYTES) > file_bytes {
                return Err(problem("the file ends before the header does"));
            }
            if bytes >= HEADER_BYTES_MAX {
                return Err(problem("the header does not end within 16 MiB"));
            }
            file.read_exact_at(&mut block, block_at)
                .map_err(|error| FitsError::File {
                    byte: block_at,
                    error,
                })?;
            bytes += BLOCK_BYTES;
            for (place, card) in block.chunks_exact(CARD_BYTES).enumerate() {
                if card.starts_with(b"END     ") {
                    return Ok(Self {
                        at,
                        bytes,
                        cards: cards.by_keyword,
                    });
                }
                cards.add(card, block_at + (place * CARD_BYTES) as u64);
            }
        }
    }

    /// The text of a keyword, without the blanks at its end; `None` if it has none.
    pub(super) fn text(&self, keyword: &str) -> Option<&str> {
        let card = self.cards.get(keyword).filter(|card| card.is_text)?;
        Some(card.value.as_str())
    }

    /// The text of a keyword without the blanks around it; `None` if nothing is left.
    pub(super) fn nonblank_text(&self, keyword: &str) -> Option<&str> {
        let text = self.text(keyword)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// What stands behind a keyword's value.
    pub(super) fn comment(&self, keyword: &str) -> Option<&str> {
        Some(self.cards.get(keyword)?.comment.as_str())
    }

    pub(super) fn is_true(&self, keyword: &str) -> bool {
        let card = self.cards.get(keyword);
        card.is_some_and(|card| !card.is_text && card.value == "T")
    }

    /// The number of a keyword, if it is there.
    ///
    /// # Errors
    /// A value that is no such number.
    pub(super) fn number<T: FromStr>(&self, keyword: &str) -> Result<Option<T>, FitsError> {
        let Some(card) = self.cards.get(keyword).filter(|card| card.has_value()) else {
            return Ok(None);
        };
        // Fortran's exponents (FITS 4.0, 4.2.4).
        let parsed = card.value.replace(['D', 'd'], "E").parse();
        match parsed {
            Ok(number) if !card.is_text => Ok(Some(number)),
            _ => Err(FitsError::Header {
                byte: card.at,
                problem: format!("{keyword} is {:?}", card.value),
            }),
        }
    }

    /// Says whether a keyword has a value.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.cards.get(keyword).is_some_and(Card::has_value)
    }

    /// The value of a keyword as text, whether or not it is one.
    pub(super) fn value(&self, keyword: &str) -> Option<&str> {
        let card = self.cards.get(keyword).filter(|card| card.has_value())?;
        Some(card.value.as_str())
    }

    /// The integer of a keyword; `None` also if its value is none.
    pub(super) fn integer(&self, keyword: &str) -> Option<i64> {
        let card = self.cards.get(keyword).filter(|card| !card.is_text)?;
        card.value.parse().ok()
    }

    /// The number of a keyword that must be there.
    pub(super) fn needed<T: FromStr>(&self, keyword: &str) -> Result<T, FitsError> {
        let missing = || self.problem(format!("{keyword} is missing"));
        self.number(keyword)?.ok_or_else(missing)
    }

    pub(super) fn problem(&self, problem: String) -> FitsError {
        FitsError::Header {
            byte: self.at,
            problem,
        }
    }
}

impl Card {
    /// Blanks are no value (FITS 4.0, 4.1.2.3).
    fn has_value(&self) -> bool {
        self.is_text || !self.value.is_empty()
    }
}

#[derive(Default)]
struct Cards {
    by_keyword: HashMap<String, Card>,
    /// Of a text that goes on: it ended with an ampersand (FITS 4.0, 4.2.1.2).
    going_on: Option<String>,
}

impl Cards {
    /// Takes a card. Of a keyword that comes twice the first counts.
    fn add(&mut self, card: &[u8], at: u64) {
        let (keyword, rest) = card.split_at(8);
        let going_on = self.going_on.take();
        if keyword == b"CONTINUE" {
            if let Some(keyword) = going_on
                && let Some(begun) = self.by_keyword.get_mut(&keyword)
                && let Some((text, comment)) = quoted(rest)
            {
                begun.value.pop();
                begun.value.push_str(&text);
                begun.comment.push_str(&comment);
                self.going_on = text.ends_with('&').then_some(keyword);
            }
            return;
        }
        let Some(value) = rest.strip_prefix(b"= ") else {
            return;
        };
        let keyword = String::from_utf8_lossy(keyword).trim_end().to_owned();
        if self.by_keyword.contains_key(&keyword) {
            return;
        }
        let card = match quoted(value) {
            Some((value, comment)) => Card {
                at,
                value,
                is_text: true,
                comment,
            },
            None => {
                let slash = value.iter().position(|byte| *byte == b'/');
                let (value, comment) = value.split_at(slash.unwrap_or(value.len()));
                Card {
                    at,
                    value: String::from_utf8_lossy(value).trim().to_owned(),
                    is_text: false,
                    comment: after_slash(comment),
                }
            }
        };
        if card.is_text && card.value.ends_with('&') {
            self.going_on = Some(keyword.clone());
        }
        self.by_keyword.insert(keyword, card);
    }
}

/// A text in quotes, and the comment behind it; `None` if there is none. Quotes in it are doubled,
/// blanks at its end mean nothing (FITS 4.0, 4.2.1.1).
fn quoted(value: &[u8]) -> Option<(String, String)> {
    let begin = value.iter().position(|byte| *byte != b' ')?;
    let mut rest = value[begin..].strip_prefix(b"'")?;
    let mut text = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'');
        let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
        text.extend_from_slice(now);
        match later.strip_prefix(b"'") {
            Some(later) if later.starts_with(b"'") => {
                text.push(b'\'');
                rest = &later[1..];
            }
            later => {
                let text = String::from_utf8_lossy(&text)
                    .trim_end_matches(' ')
                    .to_owned();
                return Some((text, after_slash(later.unwrap_or_default())));
            }
        }
    }
}

fn after_slash(text: &[u8]) -> String {
    let slash = text.iter().position(|byte| *byte == b'/');
    let comment = slash.map_or(&[][..], |slash| &text[slash + 1..]);
    String::from_utf8_lossy(comment).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(lines: &[&str]) -> HashMap<String, Card> {
        let mut cards = Cards::default();
        for line in lines {
            cards.add(format!("{line:<80}").as_bytes(), 0);
        }
        cards.by_keyword
    }

    #[test]
    fn texts_keep_their_quotes_and_go_on_over_cards() {
        let found = cards(&[
            "TTYPE1  = 'it''s  ' / a ''comment''",
            "LONG    = 'one &'",
            "CONTINUE  'two&' / of",
            "CONTINUE  ' three' / it",
            "CONTINUE  'nobody''s'",
            "EMPTY   = ''",
            "OPEN    = 'no end",
            "N       =                   17 / seventeen",
            "N       =                   18",
            "COMMENT = no value",
        ]);
        let value = |keyword: &str| found[keyword].value.as_str();
        assert_eq!(value("TTYPE1"), "it's");
        assert_eq!(found["TTYPE1"].comment, "a ''comment''");
        assert_eq!(value("LONG"), "one two three");
        assert_eq!(found["LONG"].comment, "ofit");
        assert_eq!(value("EMPTY"), "");
        assert_eq!(value("OPEN"), "no end");
        assert_eq!(value("N"), "17");
        assert!(!found["N"].is_text);
    }
}
