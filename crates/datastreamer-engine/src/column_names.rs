//! Names of the columns of a query that it does not name: the expression as it is written, as in
//! DuckDB. DataFusion's have its names of types and of tables. Called by `sql.rs`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, VisitMut,
    VisitorMut,
};

/// Names all columns that are expressions.
pub(crate) fn name_all(statement: &mut Statement) {
    // It never breaks.
    let _ = statement.visit(&mut Namer);
}

struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    /// DISTINCT is ordered by its columns: expressions of the order become their names.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let (SetExpr::Select(select), Some(order)) = (&*query.body, &mut query.order_by) else {
            return ControlFlow::Continue(());
        };
        if let (Some(Distinct::Distinct), OrderByKind::Expressions(keys)) =
            (&select.distinct, &mut order.kind)
        {
            let names = select.projection.iter().filter_map(|item| match item {
                SelectItem::UnnamedExpr(expression) => name_of(expression),
                _ => None,
            });
            let names: Vec<_> = names.collect();
            for key in keys {
                if let Some(name) = name_of(&key.expr).filter(|name| names.contains(name)) {
                    key.expr = Expr::Identifier(Ident::with_quote('"', name));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expression) = item else {
                continue;
            };
            if let Some(name) = name_of(expression) {
                *item = SelectItem::ExprWithAlias {
                    expr: expression.clone(),
                    alias: Ident::with_quote('"', name),
                };
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns the name of an expression; `None` for columns, which have one.
fn name_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
        Expr::Nested(inner) => name_of(inner),
        expression => Some(expression.to_string()),
    }
}
