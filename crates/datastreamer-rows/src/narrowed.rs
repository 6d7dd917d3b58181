//! The columns and rows of a query's result that a request selects, and their order, in a form that a
//! database can apply by itself. Columns are named by their places in the result.
//!
//! The engine makes it of a request's parameters, and `postgres/narrow.rs` makes SQL of it.

/// What is selected of a result; by default all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Narrowed {
    /// Columns, and their names; empty: all, as they are.
    pub select: Vec<(usize, String)>,
    /// What is true of each row.
    pub condition: Option<Condition>,
    /// The columns to order by. Rows that are equal in them are ordered by the other columns.
    pub order: Vec<OrderBy>,
    /// The largest number of rows.
    pub limit: Option<u64>,
    /// The rows to skip at the start.
    pub offset: u64,
}

/// A column to order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column.
    pub column: usize,
    /// From the least value to the greatest.
    pub is_ascending: bool,
    /// Nulls stand before all values.
    pub nulls_first: bool,
}

/// A condition, with three truth values as in SQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Both are true.
    And(Box<Condition>, Box<Condition>),
    /// One of them is true.
    Or(Box<Condition>, Box<Condition>),
    /// It is false.
    Not(Box<Condition>),
    /// Always the same.
    Constant(bool),
    /// The column is null.
    IsNull(usize),
    /// A boolean column is this value, and not null.
    IsTruth(usize, bool),
    /// A float is no number.
    IsNan(usize),
    /// Compares a column with a value of its type. Zeros of floats are equal, and NaN is greater than
    /// all numbers.
    Compare(usize, Comparison, Constant),
    /// A column is one of these values.
    OneOf(usize, Vec<Constant>),
    /// A text is like a pattern of SQL, whose escape is a backslash.
    Like {
        /// The column.
        column: usize,
        /// The pattern.
        pattern: String,
        /// Letters are equal whatever their case.
        ignores_case: bool,
    },
}

/// What can be asked of a column of a database, or is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whether it has a value.
    Null,
    /// Whether it is a value, or one of some.
    Equal,
    /// Whether it is less or greater than a value, or to order by it.
    Order,
    /// Whether it is like a pattern.
    Like,
    /// The same, whatever the case of letters.
    LikeIgnoringCase,
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A truth value.
    Bool(bool),
    /// A number in decimal digits, or `inf` or `-inf`.
    Number(String),
    /// A text.
    Text(String),
    /// A binary value.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Days(i32),
    /// Microseconds since midnight.
    TimeOfDay(i64),
    /// Microseconds since 1970-01-01T00:00:00, in UTC.
    Time(i64),
}
