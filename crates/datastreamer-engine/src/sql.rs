//! The text of a query: makes a logical plan of one SELECT, and refuses everything else. What it
//! costs to plan is bounded elsewhere: clients' texts are planned in a process of their own, see
//! `isolate.rs`; an operator's text is planned at the start.

use datafusion::{
    common::{ParamValues, ScalarValue},
    execution::context::SessionState,
    logical_expr::LogicalPlan,
    prelude::SQLOptions,
    sql::{parser::Statement, sqlparser::ast},
};

use datastreamer_rows::parameters::{Bound, Value};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::{
    column_names, error::EngineError, exact_numbers, left_out, mixed_numbers, time_zone,
    written_out,
};

/// A SELECT with the values of its `$name` placeholders.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    values: Vec<(String, ScalarValue)>,
    notes: ColumnMetadata,
    /// `None`: as many as it may be.
    columns_max: Option<usize>,
}

impl Query {
    /// Keeps a text. It is parsed when it is planned.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
            notes: ColumnMetadata::default(),
            columns_max: None,
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

    /// Refuses a result of more columns.
    #[must_use]
    pub(crate) fn columns_max(mut self, columns: usize) -> Self {
        self.columns_max = Some(columns);
        self
    }

    pub(crate) fn column_metadata(&self) -> &ColumnMetadata {
        &self.notes
    }

    /// Parses the text.
    ///
    /// # Errors
    /// It is no SQL, or not one SELECT.
    pub(crate) fn parse(&self, state: &SessionState) -> Result<Statement, EngineError> {
        let dialect = state.config_options().sql_parser.dialect;
        left_out::check_numbers(&self.text, dialect)?;
        let statement = state.sql_to_statement(&self.text, &dialect);
        let mut statement =
            statement.map_err(|error| EngineError::from(error).at_the_end_of(&self.text))?;
        if let Statement::Statement(statement) = &mut statement {
            written_out::write_out(statement);
        }
        only_a_query(&statement)?;
        Ok(statement)
    }

    /// Makes a logical plan. Values are bound, and never become part of the text.
    ///
    /// # Errors
    /// The text is not one SELECT, names unknown tables or columns, or has too many columns.
    pub(crate) async fn plan(&self, state: &SessionState) -> Result<LogicalPlan, EngineError> {
        let mut statement = self.parse(state)?;
        if let Statement::Statement(statement) = &mut statement {
            column_names::name_all(statement);
            exact_numbers::write_as_decimals(statement);
            time_zone::write_in_utc(statement);
            mixed_numbers::mark_conversions(statement);
        }
        let plan = state.statement_to_plan(statement).await?;
        let columns = plan.schema().fields().len();
        if let Some(most) = self.columns_max.filter(|most| columns > *most) {
            let text = format!("a result has at most {most} columns, and this one {columns}");
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
