//! What a plan may take from the statistics of files: the number of rows, and which files and row
//! groups to skip; never a value. The engine adds these rules to those of DataFusion.
//!
//! The minimum and maximum of a floating-point column tell nothing of NaN, whose sign decides
//! whether it sorts before or after all numbers, and writers disagree about the sign of a zero
//! (`parquet.thrift`, `ColumnOrder`). A condition on such a column is used for skipping only if it
//! cannot hold for a value outside of the statistics.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::{
        Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{
        physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource},
        source::DataSourceExec,
    },
    logical_expr::Operator,
    physical_expr::{PhysicalExpr, conjunction, split_conjunction, utils::collect_columns},
    physical_optimizer::{PhysicalOptimizerRule, aggregate_statistics::AggregateStatistics},
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        expressions::{
            BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal,
        },
    },
};

use crate::plan_files::nodes;

/// Answers `count(*)` from the numbers of rows. Aggregates of columns are computed from the values:
/// what a file says of them may be wrong, and leaves out NaN.
#[derive(Debug, Default)]
pub(crate) struct RowCounts(AggregateStatistics);

impl PhysicalOptimizerRule for RowCounts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let reads_columns = nodes(plan.as_ref())
            .filter_map(|node| node.downcast_ref::<AggregateExec>())
            .flat_map(AggregateExec::aggr_expr)
            .flat_map(|aggregate| aggregate.expressions())
            .any(|argument| !argument.is::<Literal>());
        match reads_columns {
            true => Ok(plan),
            false => self.0.optimize(plan, config),
        }
    }

    fn name(&self) -> &'static str {
        "row_counts"
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Takes the conditions that statistics cannot decide from the scans of a plan. It runs after all
/// other rules, which push conditions into scans.
#[derive(Debug)]
pub(crate) struct FloatPruning;

impl PhysicalOptimizerRule for FloatPruning {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let change = |plan: Arc<dyn ExecutionPlan>| {
            Ok(match without_undecided(plan.as_ref()) {
                Some(changed) => Transformed::yes(changed),
                None => Transformed::no(plan),
            })
        };
        Ok(plan.transform_up(change)?.data)
    }

    fn name(&self) -> &'static str {
        "float_pruning"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Returns a scan of Parquet with fewer conditions; `None` if nothing changes.
fn without_undecided(plan: &dyn ExecutionPlan) -> Option<Arc<dyn ExecutionPlan>> {
    let source = plan.downcast_ref::<DataSourceExec>()?.data_source();
    let scan = source.downcast_ref::<FileScanConfig>()?;
    let parquet = scan.file_source().downcast_ref::<ParquetSource>()?;
    let predicate = parquet.filter()?;
    let conditions = split_conjunction(&predicate);
    let all = Conditions {
        schema: parquet.table_schema().table_schema(),
        conditions: &conditions,
    };
    let decided = conditions.iter().filter(|condition| all.decides(condition));
    let decided: Vec<_> = decided.map(|condition| Arc::clone(condition)).collect();
    if decided.len() == conditions.len() {
        return None;
    }
    let source = Arc::new(parquet.with_predicate(conjunction(decided)));
    let scan = FileScanConfigBuilder::from(scan.clone()).with_source(source);
    Some(DataSourceExec::from_data_source(scan.build()))
}

/// All of which a row must fulfil.
struct Conditions<'a> {
    schema: &'a Schema,
    conditions: &'a [&'a Arc<dyn PhysicalExpr>],
}

impl Conditions<'_> {
    /// Returns whether the statistics of a file or row group can decide that no row of it fulfils
    /// this condition and the others.
    fn decides(&self, condition: &Arc<dyn PhysicalExpr>) -> bool {
        let columns = collect_columns(condition);
        if !columns.iter().any(|column| self.has_floats(column)) {
            return true;
        }
        if let Some(binary) = condition.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::And | Operator::Or)
        {
            return self.decides(binary.left()) && self.decides(binary.right());
        }
        if let Some(list) = condition.downcast_ref::<InListExpr>() {
            let mut values = list.list().iter();
            return !list.negated()
                && float_column(list.expr()).is_some()
                && values.all(is_ordinary_value);
        }
        match Comparison::of(condition) {
            Some(comparison) => {
                let Comparison {
                    column, operator, ..
                } = comparison;
                comparison.is_ordinary
                    && match operator {
                        Operator::Eq => true,
                        Operator::Gt | Operator::GtEq => {
                            self.bounds(column, &[Operator::Lt, Operator::LtEq])
                        }
                        Operator::Lt | Operator::LtEq => {
                            self.bounds(column, &[Operator::Gt, Operator::GtEq])
                        }
                        _ => false,
                    }
            }
            None => is_of_nulls(condition),
        }
    }

    /// Returns whether a condition compares the column with a number by one of these operators: no
    /// NaN on that side of all numbers fulfils it.
    fn bounds(&self, column: &Column, operators: &[Operator]) -> bool {
        let mut comparisons = self
            .conditions
            .iter()
            .filter_map(|condition| Comparison::of(condition));
        comparisons.any(|of| of.column == column && !of.is_nan && operators.contains(&of.operator))
    }

    fn has_floats(&self, column: &Column) -> bool {
        let field = self.schema.fields().get(column.index());
        field.is_none_or(|field| !has_no_floats(field.data_type()))
    }
}

/// Returns whether neither the type nor a type in it is a floating-point one.
fn has_no_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => has_no_floats(values),
        data_type => !data_type.is_floating() && !data_type.is_nested(),
    }
}

/// A floating-point column, compared with a number or NaN.
struct Comparison<'a> {
    column: &'a Column,
    operator: Operator,
    /// Whether the number is neither zero nor NaN.
    is_ordinary: bool,
    is_nan: bool,
}

impl<'a> Comparison<'a> {
    fn of(condition: &'a Arc<dyn PhysicalExpr>) -> Option<Self> {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let (left, right) = (binary.left(), binary.right());
        let (column, operator, value) = match float_column(left) {
            Some(column) => (column, *binary.op(), right),
            None => (float_column(right)?, binary.op().swap()?, left),
        };
        let number = number(value)?;
        Some(Self {
            column,
            operator,
            is_ordinary: is_ordinary(number),
            is_nan: number.is_nan(),
        })
    }
}

/// Returns the column of an expression that is a column, or one that is cast to a floating-point
/// type, which keeps its order.
fn float_column(expression: &Arc<dyn PhysicalExpr>) -> Option<&Column> {
    if let Some(cast) = expression.downcast_ref::<CastExpr>() {
        return float_column(cast.expr()).filter(|_| cast.cast_type().is_floating());
    }
    expression.downcast_ref::<Column>()
}

fn number(expression: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    match expression.downcast_ref::<Literal>()?.value() {
        ScalarValue::Float16(number) => number.map(f64::from),
        ScalarValue::Float32(number) => number.map(f64::from),
        ScalarValue::Float64(number) => *number,
        _ => None,
    }
}

fn is_ordinary(number: f64) -> bool {
    number != 0.0 && !number.is_nan()
}

fn is_ordinary_value(expression: &Arc<dyn PhysicalExpr>) -> bool {
    number(expression).is_some_and(is_ordinary)
}

fn is_of_nulls(condition: &Arc<dyn PhysicalExpr>) -> bool {
    condition.is::<IsNullExpr>() || condition.is::<IsNotNullExpr>()
}
