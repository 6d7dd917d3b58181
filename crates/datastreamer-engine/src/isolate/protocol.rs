//! What the server and the process of a query say to each other, over one pair of sockets. Neither
//! is trusted to send little: each message has a bound.
//!
//! The server sends its [`Limits`] when the process starts, and a [`Question`] once there is one. The
//! process says that it has it, and answers with the tables that it wants ([`Wanted`]), the server
//! sends their copies, and the process answers with a [`Head`], with pieces of an Arrow stream, and
//! with an end or a [`Failure`].

use std::{
    io::{self, IoSlice, Read, Write},
    iter,
    ops::Deref,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{EngineError, EngineErrorKind},
    messages::Position,
    packed::Bytes,
};

/// 8 MiB in a message of the process: that is what each running query may take of the server's
/// memory. A batch of the usual 8192 rows has 1 KiB a row then; others are split.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// 256 MiB in a message of the server: the copies of tables with 100,000 files have some ten.
pub(super) const ORDER_BYTES_MAX: usize = 256 << 20;

/// What bounds the process, and what its engine is started with.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Limits {
    /// Memory beyond that of the program itself, in bytes.
    pub(super) memory_bytes: u64,
    /// The part of it that sorts, joins and aggregations have before they spill.
    pub(super) pool_bytes: usize,
    pub(super) spill_bytes: u64,
    /// The folder of temporary files, which nothing else is in; `None`: there are none.
    pub(super) spill_folder: Option<Bytes>,
    pub(super) threads: usize,
    pub(super) time_limit: Duration,
    pub(super) fits_strict: bool,
    pub(super) expansion_max: u64,
    pub(super) unpack_bytes: u64,
}

/// A query of a client.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) rows_max: Option<u64>,
}

/// Names of tables; `None`: all.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Wanted(pub(super) Option<Vec<String>>);

/// What is known before the first row.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Head {
    pub(super) rows_known: Option<u64>,
    /// The head of the Arrow stream: the columns.
    pub(super) columns: Bytes,
    /// Whether the process can open nothing but its files.
    pub(super) is_confined: bool,
}

/// Why there are no rows, or no more.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Failure {
    kind: EngineErrorKind,
    text: String,
    /// The file that it is about, and where a link leads that leads nowhere.
    paths: [Option<Bytes>; 2],
    /// Line and column in the query.
    position: Option<(u64, u64)>,
    /// The table that is not there.
    missing_table: Option<String>,
    /// What is for the log alone.
    log: Option<String>,
}

impl Failure {
    /// The failure of a query in whose process something panicked: a reader, if the error names a
    /// file; otherwise the engine, by its fault or for memory that it was refused.
    pub(super) fn after_panic(error: &EngineError, panic: String) -> Self {
        let text = "the query engine fails on this query, or within its memory";
        let failure = match error.names_file() {
            true => Self::from(error),
            false => Self::from(&EngineError::new(EngineErrorKind::Computation, text)),
        };
        Self {
            log: Some(panic),
            ..failure
        }
    }
}

impl From<&EngineError> for Failure {
    fn from(error: &EngineError) -> Self {
        let (text, paths) = error.parts();
        let kind = match error.kind() {
            // Nobody else has memory there: it never fits.
            EngineErrorKind::Exhausted => EngineErrorKind::Computation,
            kind => kind,
        };
        Self {
            kind,
            text: text.to_owned(),
            paths: paths.map(|path| path.map(Bytes::of)),
            position: error.position().map(|place| (place.line, place.column)),
            missing_table: error.missing_table().map(str::to_owned),
            log: error.unsaid(),
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        if let Some(log) = failure.log {
            tracing::warn!(%log, "the process of a query failed");
        }
        let position = failure.position;
        let position = position.map(|(line, column)| Position { line, column });
        let paths = failure.paths.map(|bytes| bytes.map(Bytes::into_path));
        Self::of_parts(
            failure.kind,
            failure.text,
            paths,
            position,
            failure.missing_table,
        )
    }
}

/// What a message of the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The question has arrived.
    Taken,
    Wanted,
    Head,
    Rows,
    End,
    Failure,
}

impl Tag {
    const ALL: [Self; 6] = [
        Self::Taken,
        Self::Wanted,
        Self::Head,
        Self::Rows,
        Self::End,
        Self::Failure,
    ];
}

/// Sends a message of the server. **Blocks** until the other side takes it.
///
/// # Errors
/// The other side is gone.
pub(super) fn order(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = rmp_serde::to_vec(message).map_err(io::Error::other)?;
    out.write_all(&(body.len() as u64).to_le_bytes())?;
    out.write_all(&body)
}

/// Receives a message of the server. **Blocks** until it is there; `None` if the server has closed
/// the connection before.
///
/// # Errors
/// It is none, or larger than any.
pub(super) fn ordered<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let body = body(from, u64::from_le_bytes(length), ORDER_BYTES_MAX)?;
    let message = rmp_serde::from_slice(&body);
    message.map(Some).map_err(io::Error::other)
}

/// Sends a message of the process. **Blocks** until the server takes it.
///
/// # Errors
/// The server is gone.
pub(super) fn answer(out: &mut impl Write, tag: Tag, body: &[u8]) -> io::Result<()> {
    answer_in_parts(out, tag, &[body])
}

/// Sends a message whose body lies in several places.
///
/// # Errors
/// As [`answer`].
pub(super) fn answer_in_parts(
    out: &mut impl Write,
    tag: Tag,
    parts: &[impl Deref<Target = [u8]>],
) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut head = [0; 9];
    head[0] = tag as u8;
    head[1..].copy_from_slice(&(length as u64).to_le_bytes());
    let all = iter::once(&head[..]).chain(parts.iter().map(|part| &**part));
    let mut all: Vec<_> = all.map(IoSlice::new).collect();
    let mut left = &mut all[..];
    // Parts without bytes are left out.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match out.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives a message of the process. **Blocks** until it is there.
///
/// # Errors
/// The process is gone, or what it says is no message.
pub(super) fn answered(from: &mut impl Read) -> io::Result<(Tag, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head)?;
    let (tag, length) = (head[0], &head[1..]);
    let tag = Tag::ALL.into_iter().find(|known| *known as u8 == tag);
    let tag = tag.ok_or_else(|| io::Error::other("an unknown message"))?;
    let mut bytes = [0; 8];
    bytes.copy_from_slice(length);
    let body = body(from, u64::from_le_bytes(bytes), ANSWER_BYTES_MAX)?;
    Ok((tag, body))
}

pub(super) fn pack(message: &impl Serialize) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec(message).map_err(io::Error::other)
}

pub(super) fn unpack<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(body).map_err(io::Error::other)
}

fn body(from: &mut impl Read, length: u64, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > most {
        return Err(io::Error::other("a message is too large"));
    }
    let mut body = Vec::with_capacity(length);
    from.take(length as u64).read_to_end(&mut body)?;
    match body.len() == length {
        true => Ok(body),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
