//! Arrow files of others, in IPC's file or stream format: the lengths that a file states are checked
//! against the file before a decoder reserves memory by them, and what the decoder would misread is
//! refused. It decodes no values.
//!
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use arrow::{
    datatypes,
    ipc::{
        Block, Endianness, Field, Message, RecordBatch, Schema, root_as_footer, root_as_message,
    },
};

use crate::{
    arrow_buffers::Layout,
    common_type::decimal,
    expansion::{too_large, with_unit},
    guard::guarded,
};

const MAGIC: &[u8; 6] = b"ARROW1";
/// Behind the magic, and its padding to 8 bytes.
const SCHEMA_AT: u64 = 8;
const MAGIC_FEATHER_1: &[u8; 4] = b"FEA1";
/// The footer's length, and the magic behind it.
const TAIL_BYTES: u64 = 10;
/// 8 bytes: each buffer of a message begins at a multiple of them (Arrow columnar format,
/// encapsulated messages).
const BUFFER_ALIGNMENT: u64 = 8;
/// Stands before the length of a message; Arrow before 0.15 wrote the length alone.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Arrow 0.17 wrote the compression here, and nowhere else: other readers take the compressed bytes
/// for values.
const OLD_COMPRESSION_KEY: &str = "ARROW:experimental_compression";
/// A batch may always have 256 MiB: some writers put a whole table in one.
const BATCH_BYTES_FREE: u64 = 256 << 20;

/// A batch may always have 16 million values in lists: nulls take no bytes, and runs few.
const NESTED_VALUES_FREE: u64 = 16 << 20;

/// As many bytes are searched at a time as a buffered reader is fast with.
const PIECE_BYTES: u64 = 64 << 10;

/// How the messages of a file are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// With a footer.
    File,
    /// One after the other.
    Stream,
}

/// Checks all messages of a file, and says how they are framed: a decoder of streams takes the magic
/// of a file for a length of 1.3 GB. **Blocks**; it reads the heads of the messages, not their bodies.
///
/// # Errors
/// The text of what is wrong.
pub(crate) fn check(path: &Path, expansion_max: u64) -> Result<Framing, String> {
    let file = File::open(path).map_err(text)?;
    let bytes = file.metadata().map_err(text)?.len();
    let mut arrow = ArrowFile {
        file: BufReader::new(file),
        bytes,
        expansion_max,
        layout: Layout::default(),
    };
    let mut magic = [0; MAGIC.len()];
    if bytes < MAGIC.len() as u64 {
        return Err("is not Arrow: it is too short".into());
    }
    arrow.read_at(0, &mut magic)?;
    match &magic {
        MAGIC => arrow.check_file().map(|()| Framing::File),
        magic if magic.starts_with(MAGIC_FEATHER_1) => {
            Err("is Feather of version 1, which is not read: write it as version 2".into())
        }
        _ => {
            if arrow.check_stream()? == StreamEnd::Missing {
                tracing::warn!(
                    path = %path.display(),
                    "the Arrow stream has no mark at its end: whether rows are missing is not known"
                );
            }
            Ok(Framing::Stream)
        }
    }
}

/// Whether a stream has a mark at its end. The format does not require it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamEnd {
    Marked,
    Missing,
}

/// Returns whether a file begins as one with a footer. **Blocks.**
pub(crate) fn has_footer(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *MAGIC
}

struct ArrowFile {
    file: BufReader<File>,
    bytes: u64,
    /// How many times its compressed size a batch may have.
    expansion_max: u64,
    /// That of the schema, once it is read.
    layout: Layout,
}

impl ArrowFile {
    fn check_file(&mut self) -> Result<(), String> {
        let incomplete = "is not complete: it has no footer";
        let tail_at = self.bytes.checked_sub(TAIL_BYTES).ok_or(incomplete)?;
        let mut tail = [0; TAIL_BYTES as usize];
        self.read_at(tail_at, &mut tail)?;
        let (length, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err(incomplete.into());
        }
        let length = i32::from_le_bytes(length.try_into().unwrap_or_default());
        let footer_at = u64::try_from(length)
            .ok()
            .and_then(|length| tail_at.checked_sub(length));
        let footer_at = footer_at.ok_or("is damaged: its footer is longer than the file")?;
        let footer = self.read(footer_at, tail_at - footer_at)?;
        let footer = root_as_footer(&footer).map_err(|error| {
            tracing::warn!(%error, "the footer of an Arrow file cannot be read");
            damaged("its footer cannot be read")
        })?;
        check_schema(footer.schema())?;
        self.layout = Layout::of(footer.schema(), footer.version());
        let blocks = footer
            .dictionaries()
            .into_iter()
            .chain(footer.recordBatches());
        let mut messages_end = self.schema_end()?.min(footer_at);
        for block in blocks.flatten() {
            messages_end = messages_end.max(self.check_block(block, footer_at)?);
        }
        self.check_no_file_within(messages_end, footer_at)
    }

    /// Returns where the schema ends, the first message behind the magic. It may have any text.
    fn schema_end(&mut self) -> Result<u64, String> {
        let head = self.read(SCHEMA_AT, 8)?;
        let (length, at) = match head.strip_prefix(&CONTINUATION) {
            Some(length) => (length, SCHEMA_AT + 8),
            None => (&head[..4], SCHEMA_AT + 4),
        };
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        Ok(at + u64::from(length))
    }

    /// Refuses files one behind the other: the last footer states places in its own file, which are
    /// those of messages in the first, if these have the same sizes. Other bytes do no harm.
    fn check_no_file_within(&mut self, from: u64, to: u64) -> Result<(), String> {
        let mut at = from;
        // A magic may lie across two pieces.
        while to - at >= MAGIC.len() as u64 {
            let piece = self.read(at, PIECE_BYTES.min(to - at))?;
            if memchr::memmem::find(&piece, MAGIC).is_some() {
                let text = "has a second Arrow file behind the first, whose rows would be lost";
                return Err(text.into());
            }
            at += piece.len() as u64 - (MAGIC.len() as u64 - 1);
        }
        Ok(())
    }

    /// Checks a message that the footer points at, and returns where it ends.
    fn check_block(&mut self, block: &Block, end: u64) -> Result<u64, String> {
        let inside = || {
            let offset = u64::try_from(block.offset()).ok()?;
            let head = u64::try_from(block.metaDataLength()).ok()?;
            let body = u64::try_from(block.bodyLength()).ok()?;
            let body_at = offset.checked_add(head)?;
            (body_at.checked_add(body)? <= end && head >= 8)
                .then_some((offset, head, body_at, body))
        };
        let Some((offset, head, body_at, body)) = inside() else {
            return Err(damaged("a block is not inside the file"));
        };
        let head = self.read(offset, head)?;
        let head = head.strip_prefix(&CONTINUATION).unwrap_or(&head);
        let message = message_of(&head[4..])?;
        self.check_message(&message, body_at, body)?;
        Ok(body_at + body)
    }

    /// Checks message after message.
    fn check_stream(&mut self) -> Result<StreamEnd, String> {
        let mut at = 0;
        let mut has_schema = false;
        let second = "has a second Arrow stream behind the first, whose rows would be lost";
        while at < self.bytes {
            let mut length = [0; 4];
            self.read_at(at, &mut length)?;
            at += 4;
            if length == CONTINUATION {
                self.read_at(at, &mut length)?;
                at += 4;
            }
            let length = u64::from(u32::from_le_bytes(length));
            if length == 0 {
                return match at == self.bytes {
                    true => Ok(StreamEnd::Marked),
                    false if has_schema => Err(second.into()),
                    false => Err(damaged("it begins with the end of a stream")),
                };
            }
            let head = self.read(at, length)?;
            at += length;
            let message = message_of(&head)?;
            if message.header_as_schema().is_some() {
                if std::mem::replace(&mut has_schema, true) {
                    return Err(second.into());
                }
                let schema = message.header_as_schema();
                check_schema(schema)?;
                self.layout = Layout::of(schema, message.version());
            }
            let body = u64::try_from(message.bodyLength()).ok();
            let body = body.filter(|body| *body <= self.bytes - at);
            let body = body.ok_or("is not complete, or damaged: it ends within a message")?;
            self.check_message(&message, at, body)?;
            at += body;
        }
        Ok(StreamEnd::Missing)
    }

    fn check_message(
        &mut self,
        message: &Message<'_>,
        body_at: u64,
        body: u64,
    ) -> Result<(), String> {
        let mut pairs = message.custom_metadata().into_iter().flatten();
        if pairs.any(|pair| pair.key() == Some(OLD_COMPRESSION_KEY)) {
            let text = "is compressed in the way of Arrow 0.17, which is not read: write it anew";
            return Err(text.into());
        }
        if let Some(batch) = message.header_as_record_batch() {
            self.layout.check_rows(&batch)?;
            return self.check_batch(&batch, batch.length(), body_at, body);
        }
        let dictionary = message.header_as_dictionary_batch();
        let Some((id, values)) = dictionary.and_then(|of| Some((of.id(), of.data()?))) else {
            return Ok(());
        };
        self.layout.check_dictionary(id, &values)?;
        // Its values are copied to the rows, so that none of them is free.
        self.check_batch(&values, 0, body_at, body)
    }

    fn check_batch(
        &mut self,
        batch: &RecordBatch<'_>,
        rows: i64,
        body_at: u64,
        body: u64,
    ) -> Result<(), String> {
        let is_count = |nulls: i64, rows: i64| 0 <= nulls && nulls <= rows;
        let mut nodes = batch.nodes().into_iter().flatten();
        if batch.length() < 0 || nodes.any(|node| !is_count(node.null_count(), node.length())) {
            return Err(damaged(
                "a batch states a number of rows that there cannot be",
            ));
        }
        // Rows are read some thousand at a time. A value in a list takes a bit, if it is no null.
        let values_max = self.expansion_max.saturating_mul(body).saturating_mul(8);
        let values_max = NESTED_VALUES_FREE.max(values_max).max(rows.unsigned_abs());
        let values = batch
            .nodes()
            .into_iter()
            .flatten()
            .map(|node| node.length());
        let most = values.max().unwrap_or(0).unsigned_abs();
        if most > values_max {
            let (body, free) = (with_unit(body), NESTED_VALUES_FREE);
            return Err(format!(
                "a batch of {body} would become {most} values, more than {free} and 8 for each byte \
                 that it may become (tables.expansion_max)"
            ));
        }
        let mut total = 0_u64;
        for buffer in batch.buffers().into_iter().flatten() {
            let range = u64::try_from(buffer.offset())
                .ok()
                .zip(u64::try_from(buffer.length()).ok());
            let inside =
                |(at, bytes): &(u64, u64)| at.checked_add(*bytes).is_some_and(|end| end <= body);
            let Some((at, bytes)) = range.filter(inside) else {
                return Err(damaged("a buffer is not inside its batch"));
            };
            if bytes > 0 && at % BUFFER_ALIGNMENT != 0 {
                return Err(damaged("a buffer begins at a place where none can begin"));
            }
            if batch.compression().is_some() && bytes > 0 {
                total = total.saturating_add(self.uncompressed(body_at + at, bytes)?);
            }
        }
        let times = self.expansion_max;
        match total <= BATCH_BYTES_FREE.max(times.saturating_mul(body)) {
            true => Ok(()),
            false => Err(too_large("a batch", body, total, BATCH_BYTES_FREE, times)),
        }
    }

    /// Returns how many bytes a compressed buffer states that it becomes.
    fn uncompressed(&mut self, at: u64, bytes: u64) -> Result<u64, String> {
        let mut stated = [0; 8];
        if bytes < stated.len() as u64 {
            return Err(damaged("a compressed buffer is too short"));
        }
        self.read_at(at, &mut stated)?;
        match i64::from_le_bytes(stated) {
            // It is not compressed after all.
            -1 => Ok(bytes),
            stated => u64::try_from(stated).map_err(|_| damaged("a buffer states a negative size")),
        }
    }

    fn read(&mut self, at: u64, bytes: u64) -> Result<Vec<u8>, String> {
        if at.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err("is not complete, or damaged: it ends within a message".into());
        }
        let mut read = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.read_at(at, &mut read)?;
        Ok(read)
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.file.seek(SeekFrom::Start(at)).map_err(text)?;
        self.file.read_exact(bytes).map_err(text)
    }
}

/// Checks that values have the byte order that the decoder takes them to have, and types that it
/// knows.
fn check_schema(schema: Option<Schema<'_>>) -> Result<(), String> {
    if schema.is_some_and(|schema| schema.endianness() != Endianness::Little) {
        return Err("is big-endian Arrow, which is not read: write it little-endian".into());
    }
    let mut fields = schema
        .and_then(|schema| schema.fields())
        .into_iter()
        .flatten();
    fields.try_for_each(|field| check_field(field, field.name().unwrap_or_default()))
}

/// Refuses a type that the decoder panics at, by the name of its column: what is innermost first.
fn check_field(field: Field<'_>, column: &str) -> Result<(), String> {
    let mut inner = field.children().into_iter().flatten();
    inner.try_for_each(|inner| check_field(inner, column))?;
    let known = guarded(|| datatypes::Field::from(field)).map_err(|_| {
        format!(
            "column {column:?} has a type that is not read: {}",
            type_of(field)
        )
    })?;
    match has_digits(known.data_type()) {
        true => Ok(()),
        false => Err(damaged(&format!(
            "column {column:?} has decimals with more digits than there are, or with none"
        ))),
    }
}

/// Returns whether a type that is a decimal has as many digits as there can be: encoders rely on it.
fn has_digits(data_type: &datatypes::DataType) -> bool {
    decimal(data_type).is_none_or(|(digits, scale, most)| {
        (1..=most).contains(&digits) && scale.unsigned_abs() <= most
    })
}

/// Names the type of a field as far as it is known.
fn type_of(field: Field<'_>) -> String {
    let kind = field.type_type();
    let bits = |bits: i32| format!("of {bits} bits");
    let integer = field.type_as_int().map(|integer| bits(integer.bitWidth()));
    let decimal = field
        .type_as_decimal()
        .map(|decimal| bits(decimal.bitWidth()));
    match (kind.variant_name(), integer.or(decimal)) {
        (Some("Int"), Some(bits)) => format!("integers {bits}"),
        (Some(name), Some(bits)) => format!("{} {bits}", name.to_lowercase()),
        (Some(name), None) => name.to_lowercase(),
        (None, _) => format!("number {} of Arrow's types", kind.0),
    }
}

/// Reads the head of a message.
fn message_of(head: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(head).map_err(|error| {
        // The verifier of flatbuffers tells its whole way, in its own words.
        tracing::warn!(%error, "the head of an Arrow message cannot be read");
        damaged("the head of a message cannot be read")
    })
}

fn damaged(text: &str) -> String {
    format!("is damaged Arrow: {text}")
}

fn text(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is not complete: it ends within a message".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expansion::DEFAULT_EXPANSION_MAX;

    /// A stream of one message: a schema without fields. Flatbuffers, by hand.
    fn schema(endianness: u8) -> Vec<u8> {
        let message: [u8; 56] = [
            16, 0, 0, 0, // The message is at 16.
            10, 0, 12, 0, 8, 0, 10, 0, 4, 0, 0, 0, // Its table: version, type, header.
            12, 0, 0, 0, 16, 0, 0, 0, 4, 0, 1, 0, // Version 5, a schema, at 36.
            8, 0, 12, 0, 8, 0, 4, 0, // The schema's table: byte order, fields.
            8, 0, 0, 0, 8, 0, 0, 0, endianness, 0, 0, 0, //
            0, 0, 0, 0, 0, 0, 0, 0, // No fields.
        ];
        let mut stream = CONTINUATION.to_vec();
        stream.extend(56_u32.to_le_bytes());
        stream.extend(message);
        stream
    }

    const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

    fn said(bytes: &[u8]) -> Result<Framing, String> {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("{}-{:p}.arrow", std::process::id(), bytes));
        std::fs::write(&path, bytes).map_err(text)?;
        let said = check(&path, DEFAULT_EXPANSION_MAX);
        std::fs::remove_file(path).map_err(text)?;
        said
    }

    #[test]
    fn what_would_be_misread_is_refused_by_name() {
        assert_eq!(said(&schema(0)), Ok(Framing::Stream));
        assert!(said(&schema(1)).is_err_and(|error| error.contains("big-endian")));
        assert!(said(b"FEA1 and more").is_err_and(|error| error.contains("Feather")));
        let cut = &schema(0)[..40];
        assert!(said(cut).is_err_and(|error| error.contains("not complete")));
        let two = [schema(0), END.to_vec(), schema(0), END.to_vec()].concat();
        assert!(said(&two).is_err_and(|error| error.contains("second Arrow stream")));
        let unmarked = [schema(0), schema(0)].concat();
        assert!(said(&unmarked).is_err_and(|error| error.contains("second Arrow stream")));
        let marked = [schema(0), END.to_vec()].concat();
        assert_eq!(said(&marked), Ok(Framing::Stream));
        assert!(said(b"ARROW1\0\0").is_err_and(|error| error.contains("not complete")));
    }
}
