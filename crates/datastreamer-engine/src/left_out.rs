//! Parts of SQL that DataFusion's parser reads, and that its planner leaves out or takes for others:
//! the rows would be other ones than the query asks for. They are refused. Called by `sql.rs`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
        FunctionArguments, JoinConstraint, JoinOperator, NamedWindowExpr, ObjectName, Query,
        Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Statement, TableFactor,
        TableWithJoins, Value, Visit, Visitor, WildcardAdditionalOptions, WindowFrameBound,
        WindowFrameUnits, WindowSpec, WindowType,
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

fn names_long_window(select: &Select) -> bool {
    let windows = select.named_window.iter();
    let mut specs = windows.filter_map(|window| match &window.1 {
        NamedWindowExpr::WindowSpec(spec) => Some(spec),
        NamedWindowExpr::NamedWindow(_) => None,
    });
    specs.any(is_long)
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

/// Returns whether a window function is asked for the row before the first.
fn is_of_row_0(expression: &Expr) -> bool {
    let Some((name, arguments)) = called(expression) else {
        return false;
    };
    let name = name.to_string();
    let row = arguments.args.get(1).map(ToString::to_string);
    let row = row.and_then(|row| row.parse::<i64>().ok());
    name.eq_ignore_ascii_case("nth_value") && row == Some(0)
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
            (names_long_window(select), LONG_FRAME),
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
        let over = match expression {
            Expr::Function(function) => function.over.as_ref(),
            _ => None,
        };
        let is_long = matches!(over, Some(WindowType::WindowSpec(window)) if is_long(window));
        none_of(&[
            (is_long, LONG_FRAME),
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
