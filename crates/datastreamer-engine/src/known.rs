//! Facts about the rows of a plan before they are read: their number, and statistics of the columns.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{
        ColumnStatistics as PlanColumnStatistics, ScalarValue, Statistics,
        stats::Precision,
        tree_node::{Transformed, TreeNode},
    },
    physical_plan::{
        ExecutionPlan,
        limit::GlobalLimitExec,
        statistics::{StatisticsArgs, StatisticsContext},
    },
};
use datastreamer_table::ColumnStatistics;

use crate::{fits::FitsScan, narrow::Narrowing, plan_files::nodes};

/// The number of rows of a plan, and statistics of its columns.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) rows: Option<u64>,
    /// By column; empty if nothing is known.
    pub(crate) columns: Vec<ColumnStatistics>,
}

impl Known {
    /// Computes them for any plan.
    pub(crate) fn of(plan: &dyn ExecutionPlan) -> Self {
        let all_partitions = StatisticsArgs::new();
        match StatisticsContext::new().compute(plan, &all_partitions) {
            Ok(statistics) => Self {
                rows: rows(&statistics),
                columns: statistics.column_statistics.iter().map(of_column).collect(),
            },
            Err(_) => Self::default(),
        }
    }

    /// Computes them for a plan of which a part has a limit. A scan takes a limit into it, and goes on
    /// saying how many rows there are without.
    pub(crate) fn of_limited(plan: Arc<dyn ExecutionPlan>) -> Self {
        let limit = |node: Arc<dyn ExecutionPlan>| {
            let fetch = node.fetch().filter(|_| node.children().is_empty());
            Ok(match fetch {
                Some(_) => Transformed::yes(Arc::new(GlobalLimitExec::new(node, 0, fetch)) as _),
                None => Transformed::no(node),
            })
        };
        let counted = plan.transform_up(limit);
        counted.map_or_else(
            |_| Self::default(),
            |counted| Self::of(counted.data.as_ref()),
        )
    }

    /// Computes them for the scan of a narrowed table, with the width of texts in FITS files.
    pub(crate) fn of_scan(plan: &dyn ExecutionPlan, narrowing: &Narrowing) -> Self {
        let mut known = Self::of(plan);
        let scans = nodes(plan).filter_map(|node| node.downcast_ref::<FitsScan>());
        let widths: HashMap<String, usize> = scans.flat_map(FitsScan::text_widths).collect();
        let schema = plan.schema();
        for (index, statistics) in known.columns.iter_mut().enumerate() {
            let column = narrowing.column_of(index, &schema);
            statistics.text_bytes_max = widths.get(column).copied();
        }
        known
    }
}

fn rows(statistics: &Statistics) -> Option<u64> {
    match statistics.num_rows {
        Precision::Exact(rows) => u64::try_from(rows).ok(),
        _ => None,
    }
}

fn of_column(column: &PlanColumnStatistics) -> ColumnStatistics {
    let least = exact_integer(&column.min_value);
    ColumnStatistics {
        no_nulls: column.null_count == Precision::Exact(0),
        integers: least.zip(exact_integer(&column.max_value)),
        text_bytes_max: None,
    }
}

fn exact_integer(value: &Precision<ScalarValue>) -> Option<i64> {
    let Precision::Exact(value) = value else {
        return None;
    };
    match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt8(value) => value.map(i64::from),
        ScalarValue::UInt16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        _ => None,
    }
}
