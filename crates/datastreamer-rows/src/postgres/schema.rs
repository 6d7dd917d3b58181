//! What a query's columns are in Arrow, and what the server's catalogue says about them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datastreamer_table::{meta, uuid};
use tokio_postgres::{
    Column, Statement,
    types::{Kind, Type},
};

use super::{PostgresError, PostgresErrorKind, session::Session};
use crate::parameters::PositionalQuery;

/// What the values of a column are, and so how they are decoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// Exact numbers of a declared precision and scale.
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// Exact numbers of any size, as text.
    Numeric,
    /// UTF-8 as it comes.
    Text,
    /// A version byte, then UTF-8.
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// One-dimensional.
    Array(Box<Cell>),
}

/// The columns of a query's result.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) schema: SchemaRef,
    pub(super) cells: Vec<Cell>,
    /// The columns that the server must cast to text, because their type has no twin in Arrow.
    pub(super) as_text: Vec<bool>,
    /// The types, as the server has them.
    pub(super) types: Vec<Type>,
    /// The lengths of the values, of columns whose values all have one: those of `char(n)`.
    pub(super) lengths: Vec<Option<usize>>,
    /// Where the columns are in the query.
    places: Vec<usize>,
}

impl Columns {
    /// Returns the query with its casts; `None` if there are none.
    pub(super) fn with_casts(&self, query: &PositionalQuery) -> Option<PositionalQuery> {
        if !self.as_text.contains(&true) {
            return None;
        }
        Some(query.within(&self.before(), &self.after()))
    }

    /// What stands before a query that is put into another one, which has our names of its columns.
    pub(super) fn before(&self) -> String {
        let columns = self.places.iter().zip(&self.as_text);
        let columns = columns.map(|(place, as_text)| match as_text {
            true => format!("of_query.c{place}::pg_catalog.text"),
            false => format!("of_query.c{place}"),
        });
        format!("SELECT {} FROM (", columns.collect::<Vec<_>>().join(", "))
    }

    /// What stands behind such a query, of all columns.
    pub(super) fn after(&self) -> String {
        let names = (0..self.cells.len()).map(|place| format!("c{place}"));
        // Behind a comment to the end of the line.
        format!("\n) AS of_query({})", names.collect::<Vec<_>>().join(", "))
    }

    /// Returns columns at some places, by other names.
    pub(super) fn select(&self, selected: &[(usize, String)]) -> Self {
        let fields = selected.iter().map(|(place, name)| {
            let field = self.schema.field(*place).clone();
            field.with_name(name)
        });
        let places = || selected.iter().map(|(place, _)| *place);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            cells: places().map(|place| self.cells[place].clone()).collect(),
            as_text: places().map(|place| self.as_text[place]).collect(),
            types: places().map(|place| self.types[place].clone()).collect(),
            lengths: places().map(|place| self.lengths[place]).collect(),
            places: places().map(|place| self.places[place]).collect(),
        }
    }
}

/// The most digits of a decimal of 128 bits.
const DECIMAL_DIGITS: u8 = 38;
/// The bytes of a UUID.
pub(super) const UUID_BYTES: i32 = 16;
/// PostgreSQL adds the length of a header to the modifiers of `numeric` and `char(n)` (`VARHDRSZ`).
const MODIFIER_OFFSET: i32 = 4;

/// Decides for each column; asks the catalogue for comments.
pub(super) async fn columns(
    session: &Session,
    statement: &Statement,
    query: &PositionalQuery,
) -> Result<Columns, PostgresError> {
    let columns = statement.columns();
    if columns.is_empty() {
        return Err(bad_query("it gives no columns"));
    }
    let mut names = HashSet::new();
    let deep = deep_arrays(session, columns)
        .await
        .map_err(|error| PostgresError::of_preparing(error, query))?;
    let (mut cells, mut as_text) = (Vec::new(), Vec::new());
    for column in columns {
        let name = column.name();
        if !names.insert(name) {
            return Err(bad_query(&format!(
                "two columns are called {name:?}: name one of them with AS"
            )));
        }
        let is_deep = place(column).is_some_and(|place| deep.contains(&place));
        let cell = cell(column.type_(), column.type_modifier()).filter(|_| !is_deep);
        if cell.is_none() && !has_text(column.type_()) {
            return Err(bad_query(&format!(
                "column {name:?} is of type {}, which has no values to send",
                column.type_().name()
            )));
        }
        as_text.push(cell.is_none());
        cells.push(cell.unwrap_or(Cell::Text));
    }
    let comments = comments(session, columns)
        .await
        .map_err(|error| PostgresError::of_preparing(error, query))?;
    let fields = columns.iter().zip(&cells).map(|(column, cell)| {
        let field = field(column.name(), cell);
        match place(column).and_then(|place| comments.get(&place)) {
            Some(comment) => {
                let mut metadata = field.metadata().clone();
                metadata.insert(meta::DESCRIPTION.to_owned(), comment.clone());
                field.with_metadata(metadata)
            }
            None => field,
        }
    });
    Ok(Columns {
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        cells,
        as_text,
        types: columns
            .iter()
            .map(|column| column.type_().clone())
            .collect(),
        lengths: columns.iter().map(length).collect(),
        places: (0..columns.len()).collect(),
    })
}

fn bad_query(problem: &str) -> PostgresError {
    PostgresError::new(PostgresErrorKind::BadQuery, format!("the query: {problem}"))
}

/// Whether a type has values that can be cast to text: `record` and `anyarray` have, other pseudo-types
/// (`void`) do not.
fn has_text(kind: &Type) -> bool {
    let with_values = [Type::RECORD, Type::RECORD_ARRAY, Type::ANYARRAY];
    with_values.contains(kind) || !matches!(kind.kind(), Kind::Pseudo)
}

/// How a type's values are decoded; `None` if they have no twin in Arrow: then the server casts them.
fn cell(kind: &Type, modifier: i32) -> Option<Cell> {
    match kind.kind() {
        Kind::Domain(base) => return cell(base, modifier),
        Kind::Enum(_) => return Some(Cell::Text),
        Kind::Array(element) => {
            return match cell(element, modifier)? {
                Cell::Array(_) => None,
                element => Some(Cell::Array(Box::new(element))),
            };
        }
        _ => {}
    }
    Some(match *kind {
        Type::BOOL => Cell::Bool,
        Type::INT2 => Cell::Int2,
        Type::INT4 => Cell::Int4,
        Type::INT8 => Cell::Int8,
        Type::OID => Cell::Oid,
        Type::FLOAT4 => Cell::Float4,
        Type::FLOAT8 => Cell::Float8,
        Type::NUMERIC => numeric(modifier),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => Cell::Text,
        Type::JSONB => Cell::Jsonb,
        Type::UUID => Cell::Uuid,
        Type::BYTEA => Cell::Bytea,
        Type::DATE => Cell::Date,
        Type::TIME => Cell::Time,
        Type::TIMESTAMP => Cell::Timestamp,
        Type::TIMESTAMPTZ => Cell::Timestamptz,
        _ => return None,
    })
}

/// `numeric(9,2)` is a decimal; `numeric` alone, and what Arrow's decimals cannot hold, is text.
fn numeric(modifier: i32) -> Cell {
    // Since PostgreSQL 15 the scale has 11 bits, with a sign (`numeric.c`, `make_numeric_typmod`).
    let packed = modifier - MODIFIER_OFFSET;
    let (precision, scale) = (packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=DECIMAL_DIGITS), Ok(scale @ 0..))
            if packed >= 0 && i32::from(scale) <= i32::from(precision) =>
        {
            Cell::Decimal { precision, scale }
        }
        _ => Cell::Numeric,
    }
}

fn data_type(cell: &Cell) -> DataType {
    match cell {
        Cell::Bool => DataType::Boolean,
        Cell::Int2 => DataType::Int16,
        Cell::Int4 => DataType::Int32,
        Cell::Int8 => DataType::Int64,
        Cell::Oid => DataType::UInt32,
        Cell::Float4 => DataType::Float32,
        Cell::Float8 => DataType::Float64,
        Cell::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
        Cell::Numeric | Cell::Text | Cell::Jsonb => DataType::Utf8,
        Cell::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
        Cell::Bytea => DataType::Binary,
        Cell::Date => DataType::Date32,
        Cell::Time => DataType::Time64(TimeUnit::Microsecond),
        Cell::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Cell::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Cell::Array(element) => DataType::List(element_field(element)),
    }
}

fn field(name: &str, cell: &Cell) -> Field {
    let field = Field::new(name, data_type(cell), true);
    match cell {
        Cell::Uuid => uuid::with_extension(field),
        _ => field,
    }
}

/// The field of a list's elements.
pub(super) fn element_field(element: &Cell) -> Arc<Field> {
    Arc::new(field(Field::LIST_FIELD_DEFAULT_NAME, element))
}

/// The characters of each value of a `char(n)`; `None` of other types.
fn length(column: &Column) -> Option<usize> {
    let length = column.type_modifier().checked_sub(MODIFIER_OFFSET)?;
    usize::try_from(length)
        .ok()
        .filter(|_| *column.type_() == Type::BPCHAR)
}

/// A column of a table, as the catalogue knows it.
type Place = (u32, i32);

fn place(column: &Column) -> Option<Place> {
    Some((column.table_oid()?, i32::from(column.column_id()?)))
}

/// The columns of tables that are declared with several dimensions, as `int4[][]`: their values are no
/// lists.
async fn deep_arrays(
    session: &Session,
    columns: &[Column],
) -> Result<HashSet<Place>, tokio_postgres::Error> {
    const DEEP: &str = "SELECT attrelid, attnum::int4 FROM pg_catalog.pg_attribute \
        WHERE attrelid = ANY ($1) AND attndims > 1";
    let arrays = columns.iter();
    let arrays = arrays.filter(|column| matches!(column.type_().kind(), Kind::Array(_)));
    let tables: HashSet<u32> = arrays.filter_map(Column::table_oid).collect();
    if tables.is_empty() {
        return Ok(HashSet::new());
    }
    let tables: Vec<u32> = tables.into_iter().collect();
    let rows = session
        .client
        .query_typed(DEEP, &[(&tables, Type::OID_ARRAY)])
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The comments of the columns that are plain columns of tables.
async fn comments(
    session: &Session,
    columns: &[Column],
) -> Result<HashMap<Place, String>, tokio_postgres::Error> {
    const COMMENTS: &str = "SELECT objoid, objsubid, description FROM pg_catalog.pg_description \
        WHERE classoid = 'pg_catalog.pg_class'::pg_catalog.regclass \
        AND objoid = ANY ($1) AND objsubid > 0";
    let tables: HashSet<u32> = columns.iter().filter_map(Column::table_oid).collect();
    if tables.is_empty() {
        return Ok(HashMap::new());
    }
    let tables: Vec<u32> = tables.into_iter().collect();
    let rows = session
        .client
        .query_typed(COMMENTS, &[(&tables, Type::OID_ARRAY)])
        .await?;
    rows.iter()
        .map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)))
        .collect()
}
