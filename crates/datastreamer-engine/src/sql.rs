//! The text of a query: makes a logical plan of one SELECT, and refuses everything else, and queries
//! that take too long to plan.

use datafusion::{
    common::{ParamValues, ScalarValue, tree_node::TreeNodeRecursion},
    execution::context::SessionState,
    logical_expr::LogicalPlan,
    prelude::SQLOptions,
    sql::{
        parser::Statement,
        sqlparser::{
            ast,
            dialect::GenericDialect,
            keywords::Keyword,
            tokenizer::{Token, Tokenizer},
        },
    },
};

use datastreamer_rows::parameters::{Bound, Value};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::{column_names, error::EngineError, left_out};

/// A SELECT with the values of its `$name` placeholders.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    values: Vec<(String, ScalarValue)>,
    notes: ColumnMetadata,
}

impl Query {
    /// Keeps a text. It is parsed when it is planned.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
            notes: ColumnMetadata::default(),
        }
    }

    /// Binds values to the placeholders `$name`. Replaces earlier ones.
    #[must_use]
    pub fn bind(mut self, bound: &Bound) -> Self {
        let values = bound.iter();
        self.values = values
            .map(|(name, value)| (name.to_owned(), scalar(value)))
            .collect();
        self
    }

    /// Sets metadata of the columns of the result.
    #[must_use]
    pub fn notes(mut self, notes: ColumnMetadata) -> Self {
        self.notes = notes;
        self
    }

    pub(crate) fn column_metadata(&self) -> &ColumnMetadata {
        &self.notes
    }

    /// Makes a logical plan. Values are bound, and never become part of the text.
    ///
    /// # Errors
    /// The text is not one SELECT, names unknown tables or columns, or is too large to plan.
    pub(crate) async fn plan(&self, state: &SessionState) -> Result<LogicalPlan, EngineError> {
        let dialect = state.config_options().sql_parser.dialect;
        // If there are no tokens, the parser returns an error with the position.
        let tokens = Tokenizer::new(&GenericDialect, &self.text).tokenize();
        let mut tokens = tokens.unwrap_or_default();
        tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
        if depth(&tokens) > DEPTH_MAX {
            let text = format!(
                "more than {DEPTH_MAX} operators in one expression: write IN (...) for a list"
            );
            return Err(EngineError::bad(text));
        }
        if references(&tokens) > REFERENCES_MAX {
            let text = "the queries of WITH refer to one another too often";
            return Err(EngineError::bad(text));
        }
        let mut statement = state
            .sql_to_statement(&self.text, &dialect)
            .map_err(|error| EngineError::from(error).at_the_end_of(&self.text))?;
        only_a_query(&statement)?;
        if let Statement::Statement(statement) = &mut statement {
            column_names::name_all(statement);
        }
        let plan = state.statement_to_plan(statement).await?;
        if !has_few_inputs(&plan)? {
            let text =
                format!("more than {INPUTS_MAX} tables, counted each time that they are read");
            return Err(EngineError::bad(text));
        }
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        let values = ParamValues::from(self.values.clone());
        Ok(plan.replace_params_with_values(&values)?)
    }
}

/// At most 500 nested expressions in a query: chains of operators, joins or unions are nested, and
/// each level takes stack while planning. The parser itself limits parentheses.
pub(crate) const DEPTH_MAX: usize = 500;

/// At most 64 tables in a query, counted each time that they are read: planning more joins takes
/// minutes, and twenty queries of WITH that each read the one before twice read a million tables.
const INPUTS_MAX: usize = 64;

fn has_few_inputs(plan: &LogicalPlan) -> Result<bool, EngineError> {
    let mut inputs = 0;
    plan.apply_with_subqueries(|plan| {
        inputs += usize::from(plan.inputs().is_empty());
        Ok(match inputs <= INPUTS_MAX {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(inputs <= INPUTS_MAX)
}

/// At most 10,000 references to one query of WITH, if each query refers to the one before as often
/// as to any: each reference is planned separately.
const REFERENCES_MAX: usize = 10_000;

fn references(tokens: &[Token]) -> usize {
    let word = |token: &Token| match token {
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    };
    let is_as = |token: &Token| matches!(token, Token::Word(word) if word.keyword == Keyword::AS);
    // `name AS (`, or `name (columns) AS (`.
    let defined = tokens
        .windows(3)
        .enumerate()
        .filter_map(|(at, tokens)| match tokens {
            [before, middle, Token::LParen] if is_as(middle) => Some((at, before)),
            _ => None,
        });
    let names = defined.filter_map(|(at, before)| match before {
        Token::RParen => {
            let open = tokens[..at]
                .iter()
                .rposition(|token| *token == Token::LParen)?;
            word(tokens.get(open.checked_sub(1)?)?)
        }
        before => word(before),
    });
    names.fold(1, |readings: usize, name| {
        let named = tokens
            .iter()
            .filter(|token| word(token).is_some_and(|word| word == name));
        readings.saturating_mul(named.count().saturating_sub(1).max(1))
    })
}

/// Counts the operators of a text between commas, those in parentheses with what is around them.
fn depth(tokens: &[Token]) -> usize {
    let mut deepest = 0;
    // Of each open parenthesis: operators since the last comma, and the most before it.
    let mut open = vec![(0, 0)];
    for token in tokens {
        let is_operator = match token {
            Token::LParen => {
                open.push((0, 0));
                continue;
            }
            Token::RParen | Token::Comma => {
                let Some((now, most)) = open.pop() else {
                    continue;
                };
                let most = std::cmp::max(now, most);
                match (token, open.last_mut()) {
                    (Token::RParen, Some((around, _))) => *around += most,
                    _ => open.push((0, most)),
                }
                deepest = deepest.max(most);
                continue;
            }
            Token::Word(word) => OPERATORS.contains(&word.keyword),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::SemiColon
            | Token::EOF => false,
            _ => true,
        };
        if let Some((now, _)) = open.last_mut() {
            *now += usize::from(is_operator);
        }
    }
    open.iter()
        .map(|(now, most)| std::cmp::max(*now, *most))
        .sum::<usize>()
        .max(deepest)
}

/// Words that chain or nest.
const OPERATORS: [Keyword; 14] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::SIMILAR,
    Keyword::BETWEEN,
    Keyword::IS,
    Keyword::JOIN,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::DIV,
    Keyword::WITH,
];

fn only_a_query(statement: &Statement) -> Result<(), EngineError> {
    match statement {
        Statement::Statement(statement) if matches!(**statement, ast::Statement::Query(_)) => {
            left_out::check(statement)
        }
        _ => Err(EngineError::bad("only one SELECT is allowed here")),
    }
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Timestamp(microseconds) => {
            ScalarValue::TimestampMicrosecond(Some(*microseconds), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        let tokens = Tokenizer::new(&GenericDialect, text).tokenize();
        let mut tokens = tokens.unwrap();
        tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
        tokens
    }

    #[test]
    fn references_multiply_where_each_may_refer_to_the_one_before() {
        for (text, expected) in [
            ("SELECT a AS b FROM t", 1),
            ("WITH t AS (SELECT 1) SELECT * FROM t", 1),
            ("WITH t (a) AS (SELECT 1) SELECT * FROM t x, t y, t z", 3),
            (
                "WITH a AS (SELECT 1), b AS (SELECT * FROM a x, a y) SELECT * FROM b x, b y",
                4,
            ),
        ] {
            assert_eq!(references(&tokens(text)), expected, "{text}");
        }
    }

    #[test]
    fn depth_counts_operators_and_no_lists() {
        let depth = |text: &str| depth(&tokens(text));
        let chain = |times| format!("SELECT 1{}", "+1".repeat(times));
        assert_eq!(depth(&chain(3)), 3);
        assert_eq!(depth(&chain(2000)), 2000);
        let list = format!("SELECT a FROM t WHERE a IN (-1{})", ",-1".repeat(2000));
        assert!(depth(&list) < 5, "{}", depth(&list));
        let ors = format!("SELECT a FROM t WHERE a=1{}", " OR (a=1)".repeat(600));
        assert!(depth(&ors) >= 1200, "{}", depth(&ors));
        assert_eq!(depth("SELECT ((((1+1)+1)+1)+1), 2"), 4);
    }
}
