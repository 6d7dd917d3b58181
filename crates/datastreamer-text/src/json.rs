//! JSON text (RFC 8259), read value by value without a tree. It knows no columns.

use std::borrow::Cow;

/// 128 levels, as other parsers: each takes some of the thread's stack.
const DEPTH_MAX: usize = 128;

/// A place in JSON text.
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What a value is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Number,
    Text,
    List,
    Object,
}

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Returns what the next value is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn kind(&mut self) -> Result<Kind, String> {
        self.skip_blanks();
        match self.peek() {
            Some(b'n') => Ok(Kind::Null),
            Some(b't') => Ok(Kind::Boolean(true)),
            Some(b'f') => Ok(Kind::Boolean(false)),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'"') => Ok(Kind::Text),
            Some(b'[') => Ok(Kind::List),
            Some(b'{') => Ok(Kind::Object),
            _ => Err(self.wrong("a value")),
        }
    }

    /// Reads `null`, `true` or `false`.
    pub(crate) fn word(&mut self, kind: Kind) -> Result<(), String> {
        let word = match kind {
            Kind::Boolean(true) => "true",
            Kind::Boolean(false) => "false",
            _ => "null",
        };
        match self.text[self.at..].starts_with(word) {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => Err(self.wrong(word)),
        }
    }

    /// Reads a number, and returns its characters.
    pub(crate) fn number(&mut self) -> Result<&'a str, String> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'-' | b'+')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    fn digits(&mut self) -> Result<(), String> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        match self.at > from {
            true => Ok(()),
            false => Err(self.wrong("a digit")),
        }
    }

    /// Reads a text in quotes.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, String> {
        self.take(b'"')?;
        let from = self.at;
        let mut text = String::new();
        let mut copied = from;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    return Ok(match copied == from {
                        true => Cow::Borrowed(rest),
                        false => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    text.push_str(&self.text[copied..self.at]);
                    self.at += 1;
                    text.push(self.escaped()?);
                    copied = self.at;
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => return Err(self.wrong("the end of a text")),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let escaped = match self.peek() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => return self.code_point(),
            _ => return Err(self.wrong("an escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// Reads `u20ac`, or the two surrogates `ud83d\ude00` of one character.
    fn code_point(&mut self) -> Result<char, String> {
        let first = self.code_unit()?;
        let code = match first {
            0xd800..=0xdbff if self.peek() == Some(b'\\') => {
                self.at += 1;
                match self.code_unit()? {
                    second @ 0xdc00..=0xdfff => {
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => first,
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("the second of two surrogates"))
    }

    fn code_unit(&mut self) -> Result<u32, String> {
        self.take(b'u')?;
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.wrong("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    /// Reads a list: calls `each` at each element, which must read it.
    pub(crate) fn list(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.members(b'[', b']', |json| each(json))
    }

    /// Reads an object: calls `each` with each name at its value, which must read it.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        self.members(b'{', b'}', |json| {
            json.skip_blanks();
            let name = json.text()?;
            json.skip_blanks();
            json.take(b':')?;
            each(json, &name)
        })
    }

    fn members(
        &mut self,
        open: u8,
        close: u8,
        mut each: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.take(open)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("values within values, more than {DEPTH_MAX} deep"));
        }
        self.skip_blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            each(self)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("a comma or the end")),
            }
        }
    }

    /// Reads any value, and returns its characters.
    pub(crate) fn skip(&mut self) -> Result<&'a str, String> {
        let kind = self.kind()?;
        let from = self.at;
        match kind {
            Kind::Null | Kind::Boolean(_) => self.word(kind)?,
            Kind::Number => drop(self.number()?),
            Kind::Text => drop(self.text()?),
            Kind::List => self.list(|json| json.skip().map(drop))?,
            Kind::Object => self.object(|json, _| json.skip().map(drop))?,
        }
        Ok(&self.text[from..self.at])
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("the end of the line")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        match self.peek() == Some(byte) {
            true => {
                self.at += 1;
                Ok(())
            }
            false => Err(self.wrong(&format!("{:?}", char::from(byte)))),
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        let byte = self.at + 1;
        match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            Some(found) => format!("{found:?} at byte {byte}, where {wanted} is expected in JSON"),
            None => format!("the line ends where {wanted} is expected in JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<String, String> {
        let mut json = Json::new(json);
        let text = json.text()?.into_owned();
        json.end().map(|()| text)
    }

    #[test]
    fn texts_are_unescaped() {
        for (json, expected) in [
            (r#""plain ü""#, "plain ü"),
            (r#""""#, ""),
            (r#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"),
            (r#""\u20ac\ud83d\ude00x""#, "€😀x"),
        ] {
            assert_eq!(text(json).as_deref(), Ok(expected), "{json}");
        }
        for json in [
            r#""a"#,
            "\"a\nb\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\u+123""#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\ude00""#,
        ] {
            assert!(text(json).is_err(), "{json}");
        }
    }

    #[test]
    fn only_json_is_read() {
        let read = |text: &str| {
            let mut json = Json::new(text);
            json.skip()
                .map(str::to_owned)
                .and_then(|read| json.end().map(|()| read))
        };
        for text in ["-0.5e+10", "0", "[ 1 , {\"a\" : null} , true ]", "{}", "[]"] {
            assert_eq!(read(&format!(" {text}\r")).as_deref(), Ok(text));
        }
        for text in [
            "",
            "NaN",
            "Infinity",
            "01",
            "+1",
            ".5",
            "5.",
            "1e",
            "-",
            "nul",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "1 2",
            "[1",
            "'a'",
            "{\"a\":1,}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(
            read(&"[".repeat(1_000_000))
                .unwrap_err()
                .contains("128 deep")
        );
    }
}
