//! The process of a query, from its start to its end: it gets ready, is asked one query, and answers.
//!
//! Until it knows which files the query reads it has one thread, so that what that thread gives up
//! (`confine.rs`) no other one keeps.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    panic,
    path::PathBuf,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, UInt64Array, make_array},
    buffer::Buffer,
    compute::take,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    ipc::writer::StreamEncoder,
    record_batch::{RecordBatch, RecordBatchOptions, RecordBatchReader},
};
use arrow_select::dictionary::garbage_collect_any_dictionary;

use datastreamer_table::nested::find_type;

use super::{
    confine,
    protocol::{
        ANSWER_BYTES_MAX, Failure, Head, Limits, Question, Tag, Wanted, answer, answer_in_parts,
        ordered, pack,
    },
};
use crate::{
    engine::{Engine, EngineOptions, Process, Sessions},
    error::{EngineError, EngineErrorKind},
    guard::{self, guarded},
    packed::{Bytes, bytes_of_schema},
    rows::Rows,
    sql::Query,
    table_copy::TableCopy,
};

/// 2000 columns of a result, or as many as the widest of its tables has: each of them takes the
/// encoders a buffer.
const COLUMNS_MAX: usize = 2000;
/// The table of `information_schema` with the settings of the engine, which are no concern of clients.
const SETTINGS: &str = "df_settings";
/// 1 MiB of values in a message, where rows are short enough: larger ones do not fit the caches.
const BATCH_BYTES: usize = 1 << 20;
/// 1 MiB in a dictionary that batches share: of a longer one each message has what its rows name, so
/// that it fits.
const DICTIONARY_BYTES: usize = 1 << 20;

/// Runs the process. Returns when the query has been answered, or when nobody asks.
pub(super) fn run() -> io::Result<()> {
    let server = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(limits) = ordered::<Limits>(&mut &server)? else {
        return Ok(());
    };
    // The engine's two pools, the one that plans, and the one that watches the server.
    let threads = 2 * Process::OfOne.file_threads() + limits.threads + 2;
    confine::bound(limits.memory_bytes, threads);
    // The guard's hook first: it keeps the panics of readers from the one before it.
    guard::quiet_hook();
    note_panics();
    let options = options(&limits);
    let sessions = Sessions::new(&options, Process::OfOne).map_err(io::Error::other)?;
    warm_up(&sessions);
    let Some(question) = ordered::<Question>(&mut &server)? else {
        return Ok(());
    };
    answer(&mut &server, Tag::Taken, &[])?;
    let answered = guarded(|| respond(&server, sessions, &options, &question));
    match answered {
        Ok(Err(Failed::Query(error))) | Err(error) => fail(&server, &error),
        Ok(Err(Failed::Server(error))) => Err(error),
        Ok(Ok(())) => answer(&mut &server, Tag::End, &[]),
    }
}

/// Why a query has no answer, or no complete one.
enum Failed {
    Query(EngineError),
    /// The server takes no more.
    Server(io::Error),
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        Self::Query(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Server(error)
    }
}

fn fail(mut server: &UnixStream, error: &EngineError) -> io::Result<()> {
    let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    let failure = match panic {
        Some(panic) => Failure::after_panic(error, panic),
        None => Failure::from(error),
    };
    answer(&mut server, Tag::Failure, &pack(&failure)?)
}

/// The last panic: its text and its place, for the log of the server.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the texts of panics, which nobody else would see.
fn note_panics() {
    panic::set_hook(Box::new(|panic| {
        let mut last = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(panic.to_string());
    }));
}

fn options(limits: &Limits) -> EngineOptions {
    EngineOptions {
        memory_bytes: limits.pool_bytes,
        spill_bytes: limits.spill_bytes,
        spill_folder: limits.spill_folder.clone().map(Bytes::into_path),
        time_limit: limits.time_limit,
        threads: Some(limits.threads),
        fits_strict: limits.fits_strict,
        expansion_max: limits.expansion_max,
        unpack_bytes: limits.unpack_bytes,
        ..EngineOptions::default()
    }
}

/// Plans a query without tables, so that the next one finds its code in memory.
fn warm_up(sessions: &Sessions) {
    let state = sessions.of_queries();
    let plan = async {
        let query = Query::new("SELECT count(*), max(a) FROM (VALUES (1), (2)) t(a) ORDER BY 1");
        let plan = query.plan(&state).await?;
        let plan = state.create_physical_plan(&plan).await;
        plan.map(drop).map_err(EngineError::from)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    // If it fails, the query that comes will say why.
    let _ = runtime.map(|runtime| guarded(|| runtime.block_on(plan)));
}

fn respond(
    mut server: &UnixStream,
    sessions: Sessions,
    options: &EngineOptions,
    question: &Question,
) -> Result<(), Failed> {
    let query = Query::new(&question.sql);
    let wanted = wanted(&query, &sessions)?;
    answer(&mut server, Tag::Wanted, &pack(&wanted)?)?;
    let copies = ordered::<Vec<TableCopy>>(&mut server)?;
    let copies = copies.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let files = copies.iter().flat_map(TableCopy::pinned);
    let files: Vec<PathBuf> = files.map(|file| file.path.clone()).collect();
    let files = files.iter().map(PathBuf::as_path);
    let is_confined = confine::confine(files, options.spill_folder.as_deref());
    end_with_the_server(server)?;
    let engine = Engine::of_sessions(sessions, options)?;
    let widest = copies.iter().map(|copy| copy.schema.fields().len()).max();
    let columns_max = COLUMNS_MAX.max(widest.unwrap_or_default());
    for copy in copies {
        engine.register_copy(copy)?;
    }
    let query = query.columns_max(columns_max);
    let rows = engine.block_on(engine.query(&query, question.rows_max))?;
    send(server, rows, is_confined)
}

/// Returns the tables that a query names. It may name some that are none.
fn wanted(query: &Query, sessions: &Sessions) -> Result<Wanted, EngineError> {
    let state = sessions.of_queries();
    let statement = query.parse(&state)?;
    let references = state.resolve_table_references(&statement)?;
    // It lists all tables.
    let lists = |name: Option<&str>| name == Some("information_schema");
    let mut listings = references.iter().filter(|table| lists(table.schema()));
    if let Some(settings) = listings.clone().find(|table| table.table() == SETTINGS) {
        return Err(EngineError::bad(format!(
            "there is no table \"{settings}\""
        )));
    }
    if listings.next().is_some() {
        return Ok(Wanted(None));
    }
    let names = references.iter().map(|table| table.table().to_owned());
    Ok(Wanted(Some(names.collect())))
}

/// Ends the process as soon as the server closes the connection: when its client leaves, when the
/// time is up, and when the server itself is killed.
fn end_with_the_server(server: &UnixStream) -> io::Result<()> {
    let mut server = server.try_clone()?;
    let watch = move || {
        // The server says nothing more.
        let _closed = server.read(&mut [0]);
        process::exit(1);
    };
    let watch = thread::Builder::new().name("watch".into()).spawn(watch);
    watch.map(drop)
}

/// Sends the rows.
fn send(mut server: &UnixStream, rows: Rows, is_confined: bool) -> Result<(), Failed> {
    let schema = rows.schema();
    let mut sending = Sending::new(&schema)?;
    let head = Head {
        rows_known: rows.known_rows(),
        columns: Bytes(sending.head.clone()),
        is_confined,
    };
    let head = pack(&head)?;
    if head.len() > ANSWER_BYTES_MAX {
        return Err(too_long("the names and types of the columns").into());
    }
    answer(&mut server, Tag::Head, &head)?;
    for batch in rows {
        let batch = batch.map_err(of_rows)?;
        let rows = batch.num_rows();
        let parts = bytes_of(&batch).div_ceil(BATCH_BYTES).clamp(1, rows.max(1));
        let cut = |part: usize| rows * part / parts;
        for part in 0..parts {
            let (from, to) = (cut(part), cut(part + 1));
            sending.send(server, &batch.slice(from, to - from))?;
        }
    }
    // The server's decoder takes a batch without bytes (nulls of no type) only when more comes.
    Ok(answer_in_parts(&mut server, Tag::Rows, &sending.finish()?)?)
}

/// An Arrow stream in messages. Its head goes before them.
struct Sending {
    stream: StreamEncoder,
    head: Vec<u8>,
    /// The first batch has the head before it.
    is_begun: bool,
    has_dictionaries: bool,
}

impl Sending {
    fn new(schema: &SchemaRef) -> Result<Self, EngineError> {
        let is_dictionary = |of: &DataType| matches!(of, DataType::Dictionary(..));
        let mut fields = schema.fields().iter();
        Ok(Self {
            stream: StreamEncoder::try_new(schema).map_err(of_arrow)?,
            head: bytes_of_schema(schema).map_err(of_arrow)?,
            is_begun: false,
            has_dictionaries: fields
                .any(|field| find_type(field.data_type(), &is_dictionary).is_some()),
        })
    }

    /// Makes a batch a message. Its parts are the buffers of the columns, which are not copied.
    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Buffer>, EngineError> {
        let mut parts = self.stream.encode(batch).map_err(of_arrow)?;
        if !self.is_begun {
            self.is_begun = true;
            let mut bytes = 0;
            parts.retain(|part| {
                bytes += part.len();
                bytes > self.head.len()
            });
        }
        Ok(parts)
    }

    /// Takes the end of the stream.
    fn finish(self) -> Result<Vec<Buffer>, EngineError> {
        let mut parts = self.stream.finish().map_err(of_arrow)?;
        // Without a batch the head is before it.
        let end = parts.pop();
        Ok(end.into_iter().collect())
    }

    /// Sends a batch: in halves, if it is too large for a message.
    fn send(&mut self, mut server: &UnixStream, batch: &RecordBatch) -> Result<(), Failed> {
        if let Some(message) = self.message(&compact(batch)?)? {
            return Ok(answer_in_parts(&mut server, Tag::Rows, &message)?);
        }
        if batch.num_rows() <= 1 {
            return Err(too_long("a row of the result").into());
        }
        self.send_halves(server, batch)
    }

    /// Makes a batch a message, if it is not too large for one. A dictionary counts as sent once it is
    /// encoded: a batch with one is measured before.
    fn message(&mut self, batch: &RecordBatch) -> Result<Option<Vec<Buffer>>, EngineError> {
        if self.has_dictionaries && self.bytes_with_dictionaries(batch)? > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        let message = self.encode(batch)?;
        Ok((bytes_of_parts(&message) <= ANSWER_BYTES_MAX).then_some(message))
    }

    /// Returns the bytes of a message with which all dictionaries go.
    fn bytes_with_dictionaries(&self, batch: &RecordBatch) -> Result<usize, EngineError> {
        let stream = StreamEncoder::try_new(&batch.schema());
        let parts = stream.and_then(|mut stream| stream.encode(batch));
        Ok(bytes_of_parts(&parts.map_err(of_arrow)?) - self.head.len())
    }

    fn send_halves(&mut self, server: &UnixStream, batch: &RecordBatch) -> Result<(), Failed> {
        let rows = batch.num_rows();
        self.send(server, &batch.slice(0, rows / 2))?;
        self.send(server, &batch.slice(rows / 2, rows - rows / 2))
    }
}

fn bytes_of_parts(message: &[Buffer]) -> usize {
    message.iter().map(Buffer::len).sum()
}

fn too_long(what: &str) -> EngineError {
    let bytes = crate::expansion::with_unit(ANSWER_BYTES_MAX as u64);
    let text = format!("{what} would take more than {bytes}");
    EngineError::new(EngineErrorKind::Computation, text)
}

/// Returns a batch without what its texts, and those of long dictionaries, share with rows that are
/// not in it.
fn compact(batch: &RecordBatch) -> Result<RecordBatch, EngineError> {
    let columns = batch.columns().iter().map(compact_column);
    let columns = columns.collect::<Result<_, _>>().map_err(of_arrow)?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &rows).map_err(of_arrow)
}

fn compact_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let is_shared = |of: &DataType| {
        use DataType as D;
        matches!(of, D::Utf8View | D::BinaryView | D::Dictionary(..))
    };
    if find_type(column.data_type(), &is_shared).is_none() {
        return Ok(Arc::clone(column));
    }
    if !column.data_type().is_nested() || is_shared(column.data_type()) {
        return compact_values(column);
    }
    // The values of lists are those of all rows of which these are some.
    let rows = UInt64Array::from_iter_values(0..column.len() as u64);
    let column = take(column, &rows, None)?;
    compact_nested(column.to_data()).map(make_array)
}

fn compact_nested(data: ArrayData) -> Result<ArrayData, ArrowError> {
    let column = make_array(data);
    let column = compact_values(&column)?;
    let data = column.to_data();
    if matches!(data.data_type(), DataType::Dictionary(..)) || data.child_data().is_empty() {
        return Ok(data);
    }
    let children = data.child_data().iter().cloned().map(compact_nested);
    let children = children.collect::<Result<_, _>>()?;
    data.into_builder().child_data(children).build()
}

fn compact_values(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        return match bytes_of_column(dictionary.values()) > DICTIONARY_BYTES {
            true => garbage_collect_any_dictionary(dictionary),
            false => Ok(Arc::clone(column)),
        };
    }
    Ok(match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    })
}

/// Returns the bytes of a batch's values.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(bytes_of_column).sum()
}

fn bytes_of_column(column: &ArrayRef) -> usize {
    let data = column.to_data();
    data.get_slice_memory_size().unwrap_or_default()
}

fn of_rows(error: ArrowError) -> EngineError {
    match error {
        ArrowError::ExternalError(error) => match error.downcast::<EngineError>() {
            Ok(error) => *error,
            Err(error) => EngineError::data(error.to_string()),
        },
        error => of_arrow(error),
    }
}

fn of_arrow(error: ArrowError) -> EngineError {
    EngineError::data(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::iter;

    use arrow::{
        array::{
            DictionaryArray, Int32Array, ListArray, StringArray, StringViewArray, StructArray,
        },
        buffer::OffsetBuffer,
        datatypes::Field,
        ipc::reader::StreamDecoder,
        util::display::{ArrayFormatter, FormatOptions},
    };

    use super::*;
    use crate::isolate::protocol::answered;

    /// A thousand rows of one of three texts.
    fn batch(text: &str) -> RecordBatch {
        let texts = ["a", "b", "c"].map(|name| format!("{name}{text}"));
        let values = Arc::new(StringArray::from(texts.to_vec()));
        let keys = (0..1000).map(|row| row % 3).collect::<Int32Array>();
        let column: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        RecordBatch::try_from_iter([("d", column)]).unwrap()
    }

    #[test]
    fn a_dictionary_that_is_too_long_is_never_read_as_the_one_before() {
        let (process, server) = UnixStream::pair().unwrap();
        let send = thread::spawn(move || {
            let mut sending = Sending::new(&batch("").schema()).ok().unwrap();
            let small = sending.send(&process, &batch("")).is_ok();
            let long = sending.send(&process, &batch(&"x".repeat(ANSWER_BYTES_MAX)));
            (small, matches!(long, Err(Failed::Query(_))))
        });
        let batches = received(&server, &batch("").schema());
        let rows = batches.iter().map(RecordBatch::num_rows);
        assert_eq!(rows.sum::<usize>(), 1000, "the first batch");
        assert_eq!(send.join().unwrap(), (true, true));
    }

    #[test]
    fn a_dictionary_that_no_message_holds_is_sent_in_parts() {
        let texts = (0..40).map(|row| format!("{row}{}", "x".repeat(ANSWER_BYTES_MAX / 20)));
        let texts = Arc::new(StringArray::from_iter_values(texts));
        let keys = (0..400).map(|row| (row % 41 < 40).then_some(row % 41));
        let keys = keys.collect::<Int32Array>();
        let column: ArrayRef = Arc::new(DictionaryArray::new(keys, texts));
        assert_is_sent_in_parts(&column);
        // In lists of several rows, and in structs.
        let offsets = OffsetBuffer::from_lengths(iter::repeat_n(4, 100));
        let field = |column: &ArrayRef| Field::new("x", column.data_type().clone(), true);
        let list = ListArray::new(Arc::new(field(&column)), offsets, Arc::clone(&column), None);
        let list: ArrayRef = Arc::new(list);
        assert_is_sent_in_parts(&list);
        let of_struct = StructArray::from(vec![(Arc::new(field(&list)), list)]);
        assert_is_sent_in_parts(&(Arc::new(of_struct) as ArrayRef));
    }

    #[test]
    fn texts_of_views_that_no_message_holds_are_sent_in_parts() {
        let texts = (0..400).map(|row| format!("{row}{}", "x".repeat(ANSWER_BYTES_MAX / 200)));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        assert_is_sent_in_parts(&texts);
        let offsets = OffsetBuffer::from_lengths((0..40).map(|row| row % 20));
        let field = Field::new("x", DataType::Utf8View, true);
        let list = ListArray::new(Arc::new(field), offsets, texts, None);
        assert_is_sent_in_parts(&(Arc::new(list) as ArrayRef));
    }

    fn assert_is_sent_in_parts(column: &ArrayRef) {
        let (process, server) = UnixStream::pair().unwrap();
        let sent = RecordBatch::try_from_iter([("d", Arc::clone(column))]).unwrap();
        let (wanted, schema) = (plain(&sent), sent.schema());
        let send = thread::spawn(move || {
            let mut sending = Sending::new(&sent.schema()).ok().unwrap();
            sending.send(&process, &sent).is_ok()
        });
        let received = received(&server, &schema);
        assert!(send.join().unwrap());
        assert!(received.len() > 1, "one message held it");
        assert_eq!(received.iter().flat_map(plain).collect::<Vec<_>>(), wanted);
    }

    /// Returns the batches until the process says no more.
    fn received(server: &UnixStream, schema: &SchemaRef) -> Vec<RecordBatch> {
        let mut decoder = StreamDecoder::new();
        let mut batches = Vec::new();
        let head = bytes_of_schema(schema).unwrap();
        decoder.decode(&mut Buffer::from_vec(head)).unwrap();
        while let Ok((Tag::Rows, message)) = answered(&mut &*server) {
            let mut message = Buffer::from_vec(message);
            while !message.is_empty() {
                batches.extend(decoder.decode(&mut message).unwrap());
            }
        }
        batches
    }

    fn plain(batch: &RecordBatch) -> Vec<String> {
        let shown = ArrayFormatter::try_new(batch.column(0), &FormatOptions::default()).unwrap();
        let rows = 0..batch.num_rows();
        rows.map(|row| shown.value(row).to_string()).collect()
    }
}
