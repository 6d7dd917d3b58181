//! Values as PostgreSQL's parameters.
//!
//! A value is sent as text, of the type that the server has inferred from where the parameter
//! stands: an integer beside an `int4` column is an `int4`. Where the inferred type cannot hold
//! every value of the kind exactly, the kind's own type is asked for instead.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::{PostgresError, PostgresErrorKind};
use crate::parameters::{ParameterKind, Value};

/// The types of their own of some kinds.
pub(super) fn own_types(kinds: &[ParameterKind]) -> Vec<Type> {
    kinds.iter().copied().map(own_type).collect()
}

/// The types to ask for, after the server has inferred some; `None`: they are good.
pub(super) fn types_to_ask(inferred: &[Type], kinds: &[ParameterKind]) -> Option<Vec<Type>> {
    let pairs = || inferred.iter().zip(kinds);
    if pairs().all(|(inferred, kind)| holds(inferred, *kind)) {
        return None;
    }
    let asked = pairs().map(|(inferred, kind)| {
        if holds(inferred, *kind) {
            inferred.clone()
        } else {
            own_type(*kind)
        }
    });
    Some(asked.collect())
}

/// A value that the driver can send.
#[derive(Debug)]
pub(super) enum Sent {
    Text(String),
    /// As the type is sent in binary form.
    Binary(Vec<u8>),
}

impl Sent {
    pub(super) fn new(name: &str, value: &Value) -> Result<Self, PostgresError> {
        Self::text(&format!("parameter {name}"), value.to_string())
    }

    /// Makes a text that `what` names in an error.
    pub(super) fn text(what: &str, text: String) -> Result<Self, PostgresError> {
        // PostgreSQL 17, 8.3: "the characters that can be stored ... not code zero".
        if text.contains('\0') {
            return Err(PostgresError::new(
                PostgresErrorKind::BadValue,
                format!("{what}: PostgreSQL's texts have no zero byte"),
            ));
        }
        Ok(Self::Text(text))
    }
}

impl ToSql for Sent {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        });
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Text(_) => Format::Text,
            Self::Binary(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

/// Whether a type takes the values of a kind as they are, or says that they are out of range.
fn holds(inferred: &Type, kind: ParameterKind) -> bool {
    match kind {
        ParameterKind::Bool => *inferred == Type::BOOL,
        ParameterKind::Integer => [
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::OID,
            Type::NUMERIC,
            Type::FLOAT8,
        ]
        .contains(inferred),
        ParameterKind::Float => *inferred == Type::FLOAT8,
        ParameterKind::Text => is_text(inferred),
        ParameterKind::Date => [Type::DATE, Type::TIMESTAMP, Type::TIMESTAMPTZ].contains(inferred),
        ParameterKind::Timestamp => [Type::TIMESTAMP, Type::TIMESTAMPTZ].contains(inferred),
    }
}

/// Types from this number on are not PostgreSQL's own (`transam.h`, `FirstNormalObjectId`).
const FIRST_OWN_OID: u32 = 16_384;

/// Returns whether a type is one of PostgreSQL's own.
pub(super) fn is_built_in(kind: &Type) -> bool {
    kind.oid() < FIRST_OWN_OID
}

/// What people write as text: enumerations, identifiers and types of extensions as well. As text,
/// `citext` would be compared otherwise.
fn is_text(inferred: &Type) -> bool {
    let texts = [
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::UUID,
        Type::JSON,
        Type::JSONB,
        Type::XML,
        Type::INET,
        Type::CIDR,
        Type::MACADDR,
        Type::MACADDR8,
        Type::INTERVAL,
        Type::TIMETZ,
        Type::BIT,
        Type::VARBIT,
        Type::TS_VECTOR,
        Type::TSQUERY,
        Type::PG_LSN,
    ];
    texts.contains(inferred)
        || match inferred.kind() {
            Kind::Enum(_) | Kind::Range(_) | Kind::Multirange(_) => true,
            Kind::Simple => !is_built_in(inferred),
            _ => false,
        }
}

fn own_type(kind: ParameterKind) -> Type {
    match kind {
        ParameterKind::Bool => Type::BOOL,
        ParameterKind::Integer => Type::INT8,
        ParameterKind::Float => Type::FLOAT8,
        ParameterKind::Text => Type::TEXT,
        ParameterKind::Date => Type::DATE,
        ParameterKind::Timestamp => Type::TIMESTAMP,
    }
}
