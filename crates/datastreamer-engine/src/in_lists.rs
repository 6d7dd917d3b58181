//! Lists of IN that DataFusion must not make one.
//!
//! It takes the intersection of `x IN (1, 2) AND x IN (3, 4)` and says false, where x may be null. It
//! compares the texts of the values, so that `x IN (1, 2) AND x IN (1, y)` is `x = 1` to it, also where
//! y is 2 or null. `x = 1 OR x = 2` is such a list too. Rows are kept or lost by that, above all behind
//! NOT, and where the conditions are values.
//!
//! What such a list looks for becomes a function that does nothing and has a number of its own. Row
//! groups are not skipped by it, so lists stay as they are where nothing goes wrong: those of constants
//! that a filter joins by AND, and all others as long as there is only one of an expression.

use std::{mem, sync::Arc};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeVisitor},
    },
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TryCast, Volatility, expr::InList,
        expr_rewriter::NamePreserver,
    },
    optimizer::AnalyzerRule,
};

use crate::{error::EngineError, expression_rule::without_cast};

/// Keeps the lists apart. It belongs behind all rules that change what is compared.
#[derive(Debug)]
pub(crate) struct KeepLists;

impl AnalyzerRule for KeepLists {
    fn name(&self) -> &str {
        "keep_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // Optimizers put the expressions of several nodes into one.
        let mut places = 0;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expression| {
                places += usize::from(lists_in(expression, is_filter(node))?.has_any());
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        let mut numbers = 0;
        let kept = plan.transform_up_with_subqueries(|node| {
            let is_filter = is_filter(&node);
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let lists = lists_in(&expression, is_filter)?;
                let name = names.save(&expression);
                let kept = keep(expression, lists, places > 1, &mut numbers)?;
                Ok(kept.update_data(|expression| name.restore(expression)))
            })?
            .map_data(LogicalPlan::recompute_schema)
        })?;
        Ok(kept.data)
    }
}

/// Returns whether a row whose condition is null is left out like one whose condition is false.
fn is_filter(node: &LogicalPlan) -> bool {
    matches!(
        node,
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_)
    )
}

// ---- find ----

/// The conditions of an expression that are lists or may become part of one, from the root down.
#[derive(Default)]
struct Lists {
    conditions: Vec<Condition>,
    /// Of the nodes above, each with the operators of its kind that it is joined with.
    chains: Vec<Option<Chain>>,
    chain_count: usize,
}

struct Condition {
    /// What is looked for, without conversions.
    value: Expr,
    /// Conditions of one chain may become one list.
    chain: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One that may become part of a list.
    Equal,
    Constants,
    /// A list whose values are not known yet, or null.
    Unknown,
    /// A list of constants that a filter joins by AND.
    OfFilter,
}

#[derive(Clone, Copy)]
struct Chain {
    operator: Operator,
    number: usize,
    is_of_filter: bool,
}

fn lists_in(expression: &Expr, is_filter: bool) -> Result<Lists> {
    let mut lists = Lists::default();
    if is_filter {
        lists.chains.push(Some(Chain {
            operator: Operator::And,
            number: 0,
            is_of_filter: true,
        }));
    }
    expression.visit(&mut lists)?;
    Ok(lists)
}

impl<'n> TreeNodeVisitor<'n> for Lists {
    type Node = Expr;

    fn f_down(&mut self, node: &'n Expr) -> Result<TreeNodeRecursion> {
        let above = self.chains.last().copied().flatten();
        let chain = match node {
            Expr::BinaryExpr(BinaryExpr { op, .. })
                if matches!(op, Operator::And | Operator::Or) =>
            {
                match above {
                    Some(chain) if chain.operator == *op => Some(chain),
                    _ => Some(self.chain_of(*op)),
                }
            }
            _ => None,
        };
        if let Some(value) = looked_for(node) {
            let kind = kind_of(node, above);
            let joins = match node {
                Expr::InList(list) if list.negated => Operator::And,
                _ => Operator::Or,
            };
            let chain = match above {
                Some(chain) if chain.operator == joins => chain,
                _ => self.chain_of(joins),
            };
            self.conditions.push(Condition {
                value: value.clone(),
                chain: chain.number,
                kind,
            });
        }
        self.chains.push(chain);
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _node: &'n Expr) -> Result<TreeNodeRecursion> {
        self.chains.pop();
        Ok(TreeNodeRecursion::Continue)
    }
}

impl Lists {
    fn chain_of(&mut self, operator: Operator) -> Chain {
        self.chain_count += 1;
        Chain {
            operator,
            number: self.chain_count,
            is_of_filter: false,
        }
    }

    /// Returns whether a condition is a list, or is made part of one, whose merging may go wrong.
    fn may_merge(&self, condition: &Condition) -> bool {
        let is_beside =
            |other: &&Condition| other.chain == condition.chain && other.value == condition.value;
        match condition.kind {
            Kind::Constants | Kind::Unknown => true,
            Kind::OfFilter => false,
            Kind::Equal => self.conditions.iter().filter(is_beside).count() > 1,
        }
    }

    fn has_any(&self) -> bool {
        self.conditions.iter().any(|one| self.may_merge(one))
    }
}

fn kind_of(node: &Expr, above: Option<Chain>) -> Kind {
    match node {
        Expr::InList(list) if !list.list.iter().all(is_constant) => Kind::Unknown,
        Expr::InList(_) if above.is_some_and(|chain| chain.is_of_filter) => Kind::OfFilter,
        Expr::InList(_) => Kind::Constants,
        _ => Kind::Equal,
    }
}

/// Returns what a list, or a condition that may become part of one, looks for.
fn looked_for(node: &Expr) -> Option<&Expr> {
    match node {
        Expr::InList(list) => Some(unconverted(&list.expr)),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (unconverted(left), unconverted(right)) {
            (column @ Expr::Column(_), constant) if is_constant(constant) => Some(column),
            (constant, column @ Expr::Column(_)) if is_constant(constant) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

fn unconverted(value: &Expr) -> &Expr {
    match without_cast(value) {
        Expr::TryCast(TryCast { expr, .. }) => unconverted(expr),
        other => other,
    }
}

/// Returns whether a value is known, and not null.
fn is_constant(value: &Expr) -> bool {
    match without_cast(value) {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Negative(value) => is_constant(value),
        _ => false,
    }
}

// ---- keep ----

/// Gives the lists of an expression numbers of their own, where they may be made one.
fn keep(
    expression: Expr,
    lists: Lists,
    is_one_of_several: bool,
    numbers: &mut usize,
) -> Result<Transformed<Expr>> {
    let first_number = *numbers;
    *numbers += lists.chain_count + 1;
    let mut firsts: Vec<(&Expr, usize)> = Vec::new();
    let mut is_kept = Vec::new();
    for condition in &lists.conditions {
        let is_other = is_one_of_several || {
            let first = firsts.iter().find(|(value, _)| *value == &condition.value);
            let chain = first.map_or(condition.chain, |(_, chain)| *chain);
            chain != condition.chain
        };
        let may_merge = lists.may_merge(condition);
        if may_merge {
            firsts.push((&condition.value, condition.chain));
        }
        is_kept.push(may_merge && (is_other || condition.kind == Kind::Unknown));
    }
    if !is_kept.contains(&true) {
        return Ok(Transformed::no(expression));
    }
    let mut conditions = lists.conditions.iter().zip(is_kept);
    expression.transform_down(|mut node| {
        if looked_for(&node).is_none() {
            return Ok(Transformed::no(node));
        }
        let Some((condition, true)) = conditions.next() else {
            return Ok(Transformed::no(node));
        };
        let number = first_number + condition.chain;
        match &mut node {
            Expr::InList(InList { expr, .. }) => tag(expr, number),
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                match unconverted(left) {
                    Expr::Column(_) => tag(left, number),
                    _ => tag(right, number),
                };
            }
            _ => {}
        }
        Ok(Transformed::yes(node))
    })
}

/// Puts a value behind a function that returns it.
fn tag(value: &mut Expr, number: usize) {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(Same { number, signature });
    *value = function.call(vec![mem::take(value)]);
}

/// Returns its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    number: usize,
    signature: Signature,
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        "same"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&arguments.arg_fields[0]))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = arguments.args.into_iter().next();
        value.ok_or_else(|| EngineError::data("a function without its argument").into())
    }
}
