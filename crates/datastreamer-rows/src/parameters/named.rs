//! `$name` in the text of a query: where it stands, and the same text with `$1`, `$2`.
//!
//! Only as much of SQL is understood as is needed to tell a parameter from what looks like one
//! (PostgreSQL 17, 4.1, with `standard_conforming_strings` on): strings, quoted identifiers,
//! dollar quotes, comments, identifiers with a `$` in them. What is not closed goes on to the end
//! of the text: the query's engine has better words for that.

use super::{ParameterError, Parameters, TextPosition};

/// Finds the parameters that a text names, in their order, with their names' positions.
///
/// ```
/// use datastreamer_rows::parameters::{TextPosition, placeholders};
///
/// let found = placeholders("SELECT '$no', $yes::int -- $neither");
/// assert_eq!(found, [("yes", TextPosition { line: 1, column: 15 })]);
/// ```
pub fn placeholders(sql: &str) -> Vec<(&str, TextPosition)> {
    let dollars = Tokens::new(sql).filter_map(|token| match token {
        Token::Parameter { name, at } => Some((name, position(sql, at))),
        Token::Number { .. } => None,
    });
    dollars.collect()
}

/// Checks that the text of a query and the declarations of its parameters agree: every `$name` is
/// declared, and every declared parameter is used.
///
/// ```
/// use datastreamer_rows::parameters::{Parameter, ParameterKind, Parameters, check_names};
///
/// let parameters = Parameters::new(vec![Parameter::new("ra", ParameterKind::Float)])?;
/// check_names("SELECT * FROM stars WHERE ra < $ra", &parameters)?;
/// let error = check_names("SELECT * FROM stars WHERE ra < $dec", &parameters).unwrap_err();
/// assert_eq!(error.to_string(), "line 1, column 32: $dec is not declared");
/// let error = check_names("SELECT * FROM stars", &parameters).unwrap_err();
/// assert_eq!(error.to_string(), "the query does not use the parameter ra");
/// # Ok::<(), datastreamer_rows::parameters::ParameterError>(())
/// ```
///
/// # Errors
/// [`ParameterError::Query`] for a name that is not declared, and for `$1`;
/// [`ParameterError::Unused`] for the first declared parameter that the text does not name.
pub fn check_names(sql: &str, parameters: &Parameters) -> Result<(), ParameterError> {
    declared_names(sql, parameters).map(drop)
}

/// A name in a text, and which declared parameter it is.
struct DeclaredName<'a> {
    name: &'a str,
    /// The byte of its `$`.
    at: usize,
    index: usize,
}

fn declared_names<'a>(
    sql: &'a str,
    parameters: &Parameters,
) -> Result<Vec<DeclaredName<'a>>, ParameterError> {
    let refused = |at, problem| ParameterError::Query {
        at: position(sql, at),
        problem,
    };
    let names = Tokens::new(sql).map(|token| match token {
        Token::Parameter { name, at } => match parameters.index(name) {
            Some(index) => Ok(DeclaredName { name, at, index }),
            None => Err(refused(at, format!("${name} is not declared"))),
        },
        Token::Number { at } => Err(refused(at, "parameters have names, as $name".to_owned())),
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let is_used = |index| names.iter().any(|name| name.index == index);
    let mut declared = parameters.declared().iter().enumerate();
    match declared.find(|(index, _)| !is_used(*index)) {
        Some((_, parameter)) => Err(ParameterError::Unused {
            name: parameter.name.clone(),
        }),
        None => Ok(names),
    }
}

/// A query's text with `$1`, `$2`, ... in the place of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionalQuery {
    sql: String,
    order: Vec<usize>,
    named: String,
    /// Where the replacements are: byte offsets behind them, in `sql` and in `named`.
    replaced: Vec<(usize, usize)>,
}

impl PositionalQuery {
    /// Replaces the names in a text. A parameter that is named twice has one number.
    ///
    /// # Errors
    /// Those of [`check_names`].
    pub fn new(named: &str, parameters: &Parameters) -> Result<Self, ParameterError> {
        let (mut sql, mut copied) = (String::with_capacity(named.len()), 0);
        let (mut order, mut replaced) = (Vec::new(), Vec::new());
        for DeclaredName { name, at, index } in declared_names(named, parameters)? {
            let number = order.iter().position(|used| *used == index);
            let number = number.unwrap_or_else(|| {
                order.push(index);
                order.len() - 1
            });
            sql.push_str(&named[copied..at]);
            sql.push_str(&format!("${}", number + 1));
            copied = at + 1 + name.len();
            replaced.push((sql.len(), copied));
        }
        sql.push_str(&named[copied..]);
        Ok(Self {
            sql,
            order,
            named: named.to_owned(),
            replaced,
        })
    }

    /// Returns the text with numbers.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Returns which declared parameter each number is: the first is that of `$1`.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Puts texts around the query, without the semicolon and the comments at its end. Positions are
    /// those in the query as it is.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn within(&self, before: &str, after: &str) -> Self {
        let mut tokens = Tokens::new(&self.sql);
        while tokens.next().is_some() {}
        let query = &self.sql[..tokens.end];
        let moved = self.replaced.iter();
        let moved = moved.map(|(end, named_end)| (end + before.len(), *named_end));
        Self {
            sql: format!("{before}{query}{after}"),
            order: self.order.clone(),
            named: self.named.clone(),
            replaced: [(before.len(), 0)].into_iter().chain(moved).collect(),
        }
    }

    /// Returns where in the text with names something is that an engine complains about in the
    /// text with numbers.
    ///
    /// `character` counts characters from 1, as PostgreSQL does (52.8, field `P`).
    pub fn named_position(&self, character: usize) -> TextPosition {
        let mut bytes = self.sql.char_indices().map(|(byte, _)| byte);
        let byte = bytes
            .nth(character.saturating_sub(1))
            .unwrap_or(self.sql.len());
        let before = self.replaced.iter().rev().find(|(end, _)| *end <= byte);
        let (end, named_end) = before.copied().unwrap_or((0, 0));
        // Within a number the offset may lie in the middle of the name: it is ASCII.
        position(&self.named, (named_end + byte - end).min(self.named.len()))
    }
}

fn position(text: &str, byte: usize) -> TextPosition {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    TextPosition {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// What begins with `$` and is no quote.
enum Token<'a> {
    /// `$name`; `at` is the byte of the `$`.
    Parameter { name: &'a str, at: usize },
    /// `$1`.
    Number { at: usize },
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Behind the last that is neither blank nor comment nor semicolon.
    end: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let is_comment = rest.starts_with("--") || rest.starts_with("/*");
            let says_nothing = is_comment || first == ';' || first.is_whitespace();
            match first {
                '\'' => self.skip_quoted('\'', Backslash::IsPlain),
                '"' => self.skip_quoted('"', Backslash::IsPlain),
                '-' if rest.starts_with("--") => {
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                '/' if rest.starts_with("/*") => self.skip_comment(),
                '$' => {
                    if let Some(token) = self.dollar() {
                        self.end = self.at;
                        return Some(token);
                    }
                }
                _ if starts_word(first) => self.skip_word(),
                // A number takes what follows it, so that `1$a` is not read as a parameter: the
                // engine refuses it.
                _ if first.is_ascii_digit() => self.skip_word(),
                _ => self.at += first.len_utf8(),
            }
            if !says_nothing {
                self.end = self.at;
            }
        }
    }
}

/// Whether a backslash takes the meaning of the next character away.
#[derive(Clone, Copy, PartialEq)]
enum Backslash {
    Escapes,
    IsPlain,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            end: 0,
        }
    }

    /// Skips a string or a quoted identifier. Doubled quotes are two strings side by side.
    fn skip_quoted(&mut self, quote: char, backslash: Backslash) {
        let mut characters = self.text[self.at..].char_indices().skip(1);
        while let Some((offset, character)) = characters.next() {
            if character == '\\' && backslash == Backslash::Escapes {
                characters.next();
            } else if character == quote {
                // After a doubled quote in an escape string the rest has escapes as well.
                let end = self.at + offset + 1;
                let doubled = self.text[end..].starts_with(quote);
                if backslash == Backslash::Escapes && doubled {
                    characters.next();
                } else {
                    self.at = end;
                    return;
                }
            }
        }
        self.at = self.text.len();
    }

    /// Skips a comment, with those within it.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            let rest = &self.text.as_bytes()[self.at..];
            if rest.starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    /// Skips a key word, an identifier or a number, and the escape string that `E` begins.
    fn skip_word(&mut self) {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !continues_word(c));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        if word.eq_ignore_ascii_case("e") && self.text[self.at..].starts_with('\'') {
            self.skip_quoted('\'', Backslash::Escapes);
        }
    }

    /// Reads a parameter, or skips a quote that dollars begin, or a lone dollar.
    fn dollar(&mut self) -> Option<Token<'a>> {
        let (at, after) = (self.at, &self.text[self.at + 1..]);
        let end = after.find(|c: char| c == '$' || !continues_word(c));
        let word = &after[..end.unwrap_or(after.len())];
        let is_quote =
            after[word.len()..].starts_with('$') && !word.starts_with(|c: char| c.is_ascii_digit());
        if is_quote {
            let tag_length = word.len() + 2;
            let tag = &self.text[at..at + tag_length];
            let body = &self.text[at + tag_length..];
            let length = body
                .find(tag)
                .map_or(body.len(), |close| close + tag_length);
            self.at += tag_length + length;
            return None;
        }
        self.at += 1 + word.len();
        match word.chars().next() {
            None => None,
            Some(first) if first.is_ascii_digit() => Some(Token::Number { at }),
            Some(_) => Some(Token::Parameter { name: word, at }),
        }
    }
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_word(c: char) -> bool {
    starts_word(c) || c.is_ascii_digit() || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Parameter, ParameterKind};

    #[test]
    fn a_query_within_others_keeps_its_positions_and_loses_its_end() {
        let kind = ParameterKind::Integer;
        let parameters = Parameters::new(vec![Parameter::new("number", kind)]).unwrap();
        for end in [
            "",
            ";",
            " ; ",
            ";-- ;\n",
            "-- '",
            "/* ; /* */ */;",
            ";\u{a0}",
        ] {
            let named = format!("SELECT $number, ';--'{end}");
            let query = PositionalQuery::new(&named, &parameters).unwrap();
            let within = query.within("a (", "\n)");
            assert_eq!(within.sql(), "a (SELECT $1, ';--'\n)", "{end:?}");
            assert_eq!(within.order(), query.order());
            for character in 1..=10 {
                let inner = query.named_position(character);
                assert_eq!(within.named_position(character + 3), inner, "{character}");
            }
        }
    }
}
