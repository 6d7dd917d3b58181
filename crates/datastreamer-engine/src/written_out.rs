//! Writes out what DataFusion's parser or planner takes for something else than PostgreSQL does:
//! windows that are built on named ones, whose parts are left out, times that nanoseconds do not hold,
//! and conditions behind `IS DISTINCT FROM`, which become its right side. Called by `sql.rs`. What is left of them, `left_out.rs`
//! refuses.

use std::{collections::HashMap, mem, ops::ControlFlow};

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::Utc;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, NamedWindowExpr, Query, Select, SetExpr, Statement,
    TypedString, UnaryOperator, Value, VisitMut, VisitorMut, WindowSpec, WindowType,
};

/// Writes out a statement.
pub(crate) fn write_out(statement: &mut Statement) {
    // It never breaks.
    let _ = statement.visit(&mut Writer { windows: vec![] });
}

/// A balanced tree of all conditions that a text may have is not as deep.
const DEPTH_MAX: usize = 16;
/// Digits behind the second.
const MICROSECONDS: u64 = 6;

/// The named windows of a SELECT.
type Windows = HashMap<String, WindowSpec>;

struct Writer {
    /// Of the SELECT that is visited, of its query, and of those around it.
    windows: Vec<Windows>,
}

impl VisitorMut for Writer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // The order of a query may have windows of its SELECT.
        self.windows.push(match &mut *query.body {
            SetExpr::Select(select) => write_out_windows(select),
            _ => Windows::new(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.windows.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.windows.push(write_out_windows(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        self.windows.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        balance(expression);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let (Expr::Function(function), Some(windows)) = (&mut *expression, self.windows.last())
            && let Some(WindowType::WindowSpec(window)) = &mut function.over
            && let Some(whole) = whole(window, windows)
        {
            *window = whole;
        }
        write_out_unit(expression);
        *expression = regroup(mem::replace(expression, nothing()));
        ControlFlow::Continue(())
    }
}

// ---- windows ----

/// Writes out the named windows that are built on those before them, and returns all.
fn write_out_windows(select: &mut Select) -> Windows {
    let mut windows = Windows::new();
    for definition in &mut select.named_window {
        // Its expressions are copied.
        let _ = definition.visit(&mut Writer { windows: vec![] });
        let window = match &definition.1 {
            NamedWindowExpr::WindowSpec(window) => whole(window, &windows),
            NamedWindowExpr::NamedWindow(name) => windows.get(&name.value).cloned(),
        };
        if let Some(window) = window {
            definition.1 = NamedWindowExpr::WindowSpec(window);
        }
        if let NamedWindowExpr::WindowSpec(window) = &definition.1 {
            windows.insert(definition.0.value.clone(), window.clone());
        }
    }
    windows
}

/// Returns a window with the parts of the named one that it is built on (ISO 9075-2, 7.15). `None`: it is
/// built on none, or not on this one: only one of them may have an order, and only the new one a frame.
fn whole(window: &WindowSpec, windows: &Windows) -> Option<WindowSpec> {
    let name = window.window_name.as_ref()?;
    let named = windows.get(&name.value)?;
    let may_be_built = named.window_name.is_none()
        && named.window_frame.is_none()
        && window.partition_by.is_empty()
        && (named.order_by.is_empty() || window.order_by.is_empty());
    let order_by = match window.order_by.is_empty() {
        true => &named.order_by,
        false => &window.order_by,
    };
    may_be_built.then(|| WindowSpec {
        window_name: None,
        partition_by: named.partition_by.clone(),
        order_by: order_by.clone(),
        window_frame: window.window_frame.clone(),
    })
}

// ---- times ----

/// Gives a time that nanoseconds do not hold its microseconds, which are PostgreSQL's unit.
fn write_out_unit(expression: &mut Expr) {
    let (text, data_type) = match expression {
        Expr::TypedString(TypedString {
            value, data_type, ..
        }) => (&*value, data_type),
        Expr::Cast {
            expr, data_type, ..
        } => match &**expr {
            Expr::Value(value) => (value, data_type),
            _ => return,
        },
        _ => return,
    };
    if let (Value::SingleQuotedString(text), DataType::Timestamp(unit @ None, _)) =
        (&text.value, data_type)
        && let Ok(time) = string_to_datetime(&Utc, text)
        && time.timestamp_nanos_opt().is_none()
    {
        *unit = Some(MICROSECONDS);
    }
}

// ---- conditions ----

/// Returns how strongly an operator of conditions binds.
fn strength(operator: &BinaryOperator) -> Option<u8> {
    match operator {
        BinaryOperator::Or => Some(0),
        BinaryOperator::And => Some(1),
        _ => None,
    }
}

/// Takes conditions out of the right side of what binds stronger than they do. What stands in
/// parentheses is an expression of its own, so that only the parser of `IS DISTINCT FROM` puts them
/// there. Conditions behind it, in a chain, have been regrouped before.
fn regroup(expression: Expr) -> Expr {
    use Expr as E;
    match expression {
        E::IsDistinctFrom(left, right) => first_of(*right, u8::MAX, |first| {
            E::IsDistinctFrom(left, Box::new(first))
        }),
        E::IsNotDistinctFrom(left, right) => first_of(*right, u8::MAX, |first| {
            E::IsNotDistinctFrom(left, Box::new(first))
        }),
        E::UnaryOp {
            op: op @ UnaryOperator::Not,
            expr,
        } => first_of(*expr, u8::MAX, |first| E::UnaryOp {
            op,
            expr: Box::new(first),
        }),
        E::BinaryOp { left, op, right } => {
            // All others, as comparisons, bind stronger.
            let than = strength(&op).unwrap_or(u8::MAX);
            first_of(*right, than, |first| E::BinaryOp {
                left,
                op,
                right: Box::new(first),
            })
        }
        E::Between {
            expr,
            negated,
            low,
            high,
        } => first_of(*high, u8::MAX, |first| E::Between {
            expr,
            negated,
            low,
            high: Box::new(first),
        }),
        other => other,
    }
}

/// Puts the first of conditions that are joined by weaker operators into what binds stronger.
fn first_of(conditions: Expr, than: u8, put: impl FnOnce(Expr) -> Expr) -> Expr {
    match conditions {
        Expr::BinaryOp { left, op, right } if strength(&op).is_some_and(|weak| weak < than) => {
            Expr::BinaryOp {
                left: Box::new(first_of(*left, than, put)),
                op,
                right,
            }
        }
        first => put(first),
    }
}

/// Makes a balanced tree of a long chain of conditions, in their order: DataFusion looks at all below each
/// operator, many times, and calls itself for each level.
fn balance(expression: &mut Expr) {
    let Expr::BinaryOp { op, .. } = &*expression else {
        return;
    };
    let operator = op.clone();
    if strength(&operator).is_none() || depth(expression, &operator) <= DEPTH_MAX {
        return;
    }
    let mut conditions = Vec::new();
    let mut rest = mem::replace(expression, nothing());
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == operator => {
                conditions.push(*right);
                rest = *left;
            }
            first => {
                conditions.push(first);
                break;
            }
        }
    }
    conditions.reverse();
    *expression = balanced(conditions, &operator);
}

/// Returns how many operators of one kind begin with each other.
fn depth(expression: &Expr, operator: &BinaryOperator) -> usize {
    let mut depth = 0;
    let mut first = expression;
    while let Expr::BinaryOp { left, op, .. } = first
        && op == operator
    {
        depth += 1;
        first = left;
    }
    depth
}

fn balanced(mut conditions: Vec<Expr>, operator: &BinaryOperator) -> Expr {
    let later = conditions.split_off(conditions.len() / 2);
    let side = |conditions: Vec<Expr>| match <[Expr; 1]>::try_from(conditions) {
        Ok([one]) => one,
        Err(several) => balanced(several, operator),
    };
    Expr::BinaryOp {
        left: Box::new(side(conditions)),
        op: operator.clone(),
        right: Box::new(side(later)),
    }
}

fn nothing() -> Expr {
    Expr::value(Value::Null)
}
