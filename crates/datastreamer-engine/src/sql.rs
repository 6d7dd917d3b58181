//! A query's text: one SELECT, and nothing that writes.

use datafusion::{
    common::{ParamValues, ScalarValue},
    execution::context::SessionState,
    logical_expr::LogicalPlan,
    prelude::SQLOptions,
    sql::{parser::Statement, sqlparser::ast},
};

use datastreamer_rows::{
    notes::Notes,
    parameters::{Bound, Value},
};

use crate::error::EngineError;

/// A SELECT with the values of its `$name` placeholders.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    values: Vec<(String, ScalarValue)>,
    notes: Notes,
}

impl Query {
    /// Takes a text; whether it is a query shows when it is planned.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// Binds values to the placeholders of their names.
    #[must_use]
    pub fn bind(mut self, bound: &Bound) -> Self {
        let values = bound.iter();
        self.values = values
            .map(|(name, value)| (name.to_owned(), scalar(value)))
            .collect();
        self
    }

    /// Says what the columns of the result are.
    #[must_use]
    pub fn notes(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }

    pub(crate) fn notes_of_result(&self) -> &Notes {
        &self.notes
    }

    /// Plans it: the text is never changed, values are bound.
    pub(crate) async fn plan(&self, state: &SessionState) -> Result<LogicalPlan, EngineError> {
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state
            .sql_to_statement(&self.text, &dialect)
            .map_err(|error| EngineError::from(error).at_the_end_of(&self.text))?;
        only_a_query(&statement)?;
        let plan = state.statement_to_plan(statement).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        let values = ParamValues::from(self.values.clone());
        Ok(plan.replace_params_with_values(&values)?)
    }
}

fn only_a_query(statement: &Statement) -> Result<(), EngineError> {
    match statement {
        Statement::Statement(statement) if matches!(**statement, ast::Statement::Query(_)) => {
            Ok(())
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
