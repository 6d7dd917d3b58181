//! Parts of SQL that DataFusion's parser reads, and that its planner leaves out or takes for others:
//! the rows would be other ones than the query asks for. They are refused. Called by `sql.rs`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArgumentClause, FunctionArgumentList, FunctionArguments, JoinConstraint,
        JoinOperator, NamedWindowExpr, NullTreatment, ObjectName, Query, Select, SelectItem,
        SetExpr, SetOperator, SetQuantifier, Statement, TableFactor, TableWithJoins, Value, Visit,
        Visitor, WildcardAdditionalOptions, WindowFrameBound, WindowFrameUnits, WindowSpec,
        WindowType,
    },
    dialect::dialect_from_str,
    tokenizer::{Token, Tokenizer},
};

use crate::error::EngineError;

/// Refuses a statement with such a part.
///
/// # Errors
/// The name of the part.
pub(crate) fn check(statement: &Statement) -> Result<(), EngineError> {
    match statement.visit(&mut Finder) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(part) => Err(EngineError::bad(format!("{part} is not supported"))),
    }
}

/// Refuses a text in which a name follows a number without a blank: the parser takes `1_000` for 1 in a
/// column called `_000`.
///
/// # Errors
/// The number and the name.
pub(crate) fn check_numbers(text: &str, dialect: impl AsRef<str>) -> Result<(), EngineError> {
    let dialect = dialect_from_str(dialect);
    let tokens = dialect.map(|dialect| Tokenizer::new(&*dialect, text).tokenize());
    // What are no tokens is the parser's to say.
    let Some(Ok(tokens)) = tokens else {
        return Ok(());
    };
    let joined = tokens.windows(2).find_map(|pair| match pair {
        [Token::Number(number, _), Token::Word(word)] => Some(format!("{number}{word}")),
        _ => None,
    });
    match joined {
        Some(joined) => Err(EngineError::bad(format!("{joined} is no number"))),
        None => Ok(()),
    }
}

struct Finder;

/// No table has more rows. DataFusion adds such a bound to the place of a row, and wraps around.
const FRAME_ROWS_MAX: u64 = 1 << 61;
const LONG_FRAME: &str = "a window frame of more than 2^61 rows";

/// Returns whether a window begins or ends further away than that.
fn is_long(window: &WindowSpec) -> bool {
    let Some(frame) = &window.window_frame else {
        return false;
    };
    let is_long = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) => {
            let text = rows.to_string();
            let digits = text.trim_matches('\'');
            let rows = digits.parse::<u64>();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            rows.map_or(is_number, |rows| rows > FRAME_ROWS_MAX)
        }
        _ => false,
    };
    let bounds = frame.end_bound.iter().chain([&frame.start_bound]);
    frame.units != WindowFrameUnits::Range && bounds.into_iter().any(is_long)
}

const BUILT_WINDOW: &str = "a window that is built on a named one (write out the whole window)";

/// Returns whether a window has the parts of another one, which DataFusion leaves out.
fn is_built(window: &WindowSpec) -> bool {
    window.window_name.is_some()
}

/// Returns whether any named window is so.
fn names_window(select: &Select, is_so: fn(&WindowSpec) -> bool) -> bool {
    let mut windows = select.named_window.iter();
    windows.any(|window| match &window.1 {
        NamedWindowExpr::WindowSpec(spec) => is_so(spec),
        NamedWindowExpr::NamedWindow(_) => false,
    })
}

/// Returns whether a named window is another name of one.
fn names_twice(select: &Select) -> bool {
    let mut windows = select.named_window.iter();
    windows.any(|window| matches!(window.1, NamedWindowExpr::NamedWindow(_)))
}

const JOINED_COLUMNS: &str = "a RIGHT or FULL JOIN with USING or NATURAL, in the place of ON,";

/// Returns whether tables are joined by columns of which DataFusion takes the left one, where only the right
/// one may have a value.
fn takes_left_columns(tables: &TableWithJoins) -> bool {
    tables.joins.iter().any(|join| match &join.join_operator {
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) | JoinOperator::FullOuter(on) => {
            matches!(on, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    })
}

/// Returns what follows the `*` of a list of columns.
fn of_wildcard(item: &SelectItem) -> Option<&WildcardAdditionalOptions> {
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => Some(options),
        _ => None,
    }
}

/// Returns the name and the arguments of a function, if there is a list of them.
fn called(expression: &Expr) -> Option<(&ObjectName, &FunctionArgumentList)> {
    match expression {
        Expr::Function(Function {
            name,
            args: FunctionArguments::List(arguments),
            ..
        }) => Some((name, arguments)),
        _ => None,
    }
}

/// Returns whether a function counts different rows by `*`.
fn is_of_different_rows(expression: &Expr) -> bool {
    let Some((_, arguments)) = called(expression) else {
        return false;
    };
    let is_wildcard = |argument: &FunctionArg| {
        let (FunctionArg::Unnamed(argument)
        | FunctionArg::Named { arg: argument, .. }
        | FunctionArg::ExprNamed { arg: argument, .. }) = argument;
        !matches!(argument, FunctionArgExpr::Expr(_))
    };
    arguments.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && arguments.args.iter().any(is_wildcard)
}

/// Returns an argument, counted from 0, of a function of one of these names.
fn argument_of<'e>(expression: &'e Expr, names: &[&str], at: usize) -> Option<&'e Expr> {
    let (name, arguments) = called(expression)?;
    let name = name.to_string().to_ascii_lowercase();
    match arguments.args.get(at)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => {
            names.contains(&name.as_str()).then_some(argument)
        }
        _ => None,
    }
}

/// Returns whether a window function is asked for the row before the first.
fn is_of_row_0(expression: &Expr) -> bool {
    let row = argument_of(expression, &["nth_value"], 1);
    row.is_some_and(|row| row.to_string().parse::<i64>() == Ok(0))
}

/// Returns whether `lag` or `lead` is asked for the row at no distance.
fn is_of_no_row(expression: &Expr) -> bool {
    let mut distance = argument_of(expression, &["lag", "lead"], 1);
    while let Some(Expr::Cast { expr, .. } | Expr::Nested(expr)) = distance {
        distance = Some(expr);
    }
    matches!(distance, Some(Expr::Value(value)) if value.value == Value::Null)
}

/// Returns whether `lead` jumps over nulls to another row than the next one: DataFusion gives up at a
/// null that lies ahead.
fn leads_over_nulls(expression: &Expr) -> bool {
    let Expr::Function(function) = expression else {
        return false;
    };
    let in_list = called(expression).is_some_and(|(_, arguments)| {
        let mut clauses = arguments.clauses.iter();
        clauses.any(|clause| {
            matches!(
                clause,
                FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::IgnoreNulls)
            )
        })
    });
    let ignores = in_list || function.null_treatment == Some(NullTreatment::IgnoreNulls);
    let distance = argument_of(expression, &["lead"], 1).map(ToString::to_string);
    ignores && distance.is_some_and(|distance| !["0", "1"].contains(&distance.as_str()))
}

/// Returns whether the parser has taken what follows a comparison by `IS DISTINCT FROM` for its right
/// side. Conditions are out of there by now (`written_out.rs`).
fn compares_conditions(expression: &Expr) -> bool {
    let (Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right)) = expression else {
        return false;
    };
    match &**right {
        Expr::BinaryOp { op, .. } => *op == BinaryOperator::Xor,
        Expr::IsDistinctFrom(_, _)
        | Expr::IsNotDistinctFrom(_, _)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_) => true,
        _ => false,
    }
}

/// Returns whether an operator of bits stands beside another one: the parser has an order of its own
/// among them, where PostgreSQL and DuckDB have none.
fn mixes_bits(expression: &Expr) -> bool {
    use BinaryOperator as B;
    let is_of_bits = |operator: &BinaryOperator| {
        matches!(
            operator,
            B::BitwiseOr
                | B::BitwiseAnd
                | B::BitwiseXor
                | B::PGBitwiseXor
                | B::PGBitwiseShiftLeft
                | B::PGBitwiseShiftRight
        )
    };
    let Expr::BinaryOp { left, op, right } = expression else {
        return false;
    };
    let is_other = |side: &Expr| matches!(side, Expr::BinaryOp { op: inner, .. } if inner != op && is_of_bits(inner));
    is_of_bits(op) && (is_other(left) || is_other(right))
}

/// Returns whether a replacement has what DataFusion takes for a group of the pattern; `\1` is one.
fn replaces_groups(expression: &Expr) -> bool {
    let Some(Expr::Value(replacement)) = argument_of(expression, &["regexp_replace"], 2) else {
        return false;
    };
    matches!(&replacement.value, Value::SingleQuotedString(text) if text.contains('$'))
}

/// Returns whether a difference or an intersection keeps rows that are equal.
fn counts_rows(body: &SetExpr) -> bool {
    let SetExpr::SetOperation {
        op,
        set_quantifier,
        left,
        right,
    } = body
    else {
        return false;
    };
    let is_all = matches!(
        set_quantifier,
        SetQuantifier::All | SetQuantifier::AllByName
    );
    is_all && *op != SetOperator::Union || counts_rows(left) || counts_rows(right)
}

/// Breaks with the first part that is there.
fn none_of(parts: &[(bool, &'static str)]) -> ControlFlow<&'static str> {
    match parts.iter().find(|(is_there, _)| *is_there) {
        Some((_, part)) => ControlFlow::Break(part),
        None => ControlFlow::Continue(()),
    }
}

impl Visitor for Finder {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        none_of(&[
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (query.for_clause.is_some(), "FOR XML or JSON"),
            (!query.locks.is_empty(), "FOR UPDATE or SHARE"),
            // DataFusion makes a join of it, which counts a row once for each that is equal.
            (counts_rows(&query.body), "EXCEPT ALL or INTERSECT ALL"),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let has = |part: fn(&WildcardAdditionalOptions) -> bool| {
            select.projection.iter().filter_map(of_wildcard).any(part)
        };
        none_of(&[
            (select.top.is_some(), "TOP"),
            (select.into.is_some(), "INTO"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (names_window(select, is_long), LONG_FRAME),
            (
                names_window(select, is_built) || names_twice(select),
                BUILT_WINDOW,
            ),
            (select.from.iter().any(takes_left_columns), JOINED_COLUMNS),
            (has(|options| options.opt_ilike.is_some()), "* ILIKE"),
            (has(|options| options.opt_alias.is_some()), "* with a name"),
            // DataFusion takes a name that is no column for none.
            (has(|options| options.opt_replace.is_some()), "* REPLACE"),
        ])
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Self::Break> {
        match table {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => none_of(&[(takes_left_columns(table_with_joins), JOINED_COLUMNS)]),
            TableFactor::Table {
                version,
                with_ordinality,
                partitions,
                sample,
                ..
            } => none_of(&[
                (sample.is_some(), "TABLESAMPLE"),
                (version.is_some(), "a table of another time (AS OF)"),
                (*with_ordinality, "WITH ORDINALITY"),
                (!partitions.is_empty(), "PARTITION"),
            ]),
            TableFactor::Derived { sample, .. } => none_of(&[(sample.is_some(), "TABLESAMPLE")]),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        let literal = match expression {
            Expr::Value(value) => Some(&value.value),
            _ => None,
        };
        let (is_too_large, has_half_a_byte) = match literal {
            Some(Value::Number(digits, _)) => (digits.parse().is_ok_and(f64::is_infinite), false),
            Some(Value::HexStringLiteral(digits)) => (false, digits.len() % 2 != 0),
            _ => (false, false),
        };
        let window = match expression {
            Expr::Function(Function {
                over: Some(WindowType::WindowSpec(window)),
                ..
            }) => Some(window),
            _ => None,
        };
        none_of(&[
            (window.is_some_and(is_long), LONG_FRAME),
            (window.is_some_and(is_built), BUILT_WINDOW),
            // DataFusion takes the row itself.
            (
                is_of_no_row(expression),
                "a distance of NULL (of lag and lead)",
            ),
            (
                leads_over_nulls(expression),
                "lead over more than one row with IGNORE NULLS",
            ),
            (
                compares_conditions(expression),
                "IS DISTINCT FROM before another IS without parentheses around one of them",
            ),
            (
                mixes_bits(expression),
                "a bit operator beside another one without parentheses",
            ),
            (
                replaces_groups(expression),
                "`$` in the replacement of regexp_replace",
            ),
            // DataFusion takes it for infinity.
            (is_too_large, "a number beyond the range of 64-bit floats"),
            // DataFusion puts a zero before the digits.
            (has_half_a_byte, "a binary value of an odd number of digits"),
            // DataFusion finds null there; rows count from 1.
            (is_of_row_0(expression), "row 0 (of nth_value)"),
            // DataFusion counts one.
            (
                is_of_different_rows(expression),
                "DISTINCT with * as an argument",
            ),
            // DataFusion takes it for a regular expression that matches parts of a text.
            (matches!(expression, Expr::SimilarTo { .. }), "SIMILAR TO"),
        ])
    }
}
