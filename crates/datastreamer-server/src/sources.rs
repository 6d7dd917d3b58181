//! The sources of the files' bytes, each in a file of its own.
//!
//! A source first checks a request, without any work: syntax, names, limits. The result is a
//! [`Job`], which waits for its place in the pool. [`Job::start`] then plans and opens on a thread
//! that may block, and gives the [`Feed`] that writes the file.
//!
//! To add one: a file here, a variant of [`Source`] (or of `RowSource`, if it gives rows that any
//! format can be made of), a kind in `config/` and its arm in `site.rs`.

mod command;
mod directory;
pub(crate) mod file;
mod noise;
#[cfg(feature = "tables")]
pub(crate) mod rows;

#[cfg(not(feature = "tables"))]
#[path = "sources/no_rows.rs"]
pub(crate) mod rows;

use std::{
    error::Error as StdError,
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use datastreamer::StreamWriter;
use datastreamer_http::{BareRanges, Pieces, Planned};

use self::rows::{Format, RowRoute};
pub(crate) use self::{
    command::Command, directory::Directory, directory::DirectoryOptions, file::File, noise::Noise,
};
use crate::{escapes, refusal::Refusal};

/// The error of a source's function.
pub(crate) type SourceError = Box<dyn StdError + Send + Sync>;

/// The function that writes one file.
pub(crate) type WriteStream = Box<dyn FnOnce(&mut StreamWriter) -> Result<(), SourceError> + Send>;

/// The function that writes these pieces of one file.
pub(crate) type WritePieces =
    Box<dyn FnOnce(&mut StreamWriter, &Pieces) -> Result<(), SourceError> + Send>;

/// One request for a source, checked. Nothing has been planned, opened or read.
pub(crate) struct Job {
    /// What is known of a file of rows.
    pub(crate) rows: Option<RowsJob>,
    /// Whether it is a file on disk, which needs no spool.
    pub(crate) is_file: bool,
    /// Looks at what its bytes depend on besides the request, where that can be found out.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether two runs over the same data write the same bytes.
    pub(crate) is_repeatable: bool,
    /// Counts the files of an archive that have grown meanwhile, and are not in it to their ends.
    pub(crate) frozen: Arc<AtomicU64>,
    start: Start,
}

/// Looks at the data; **blocks**.
pub(crate) type Fingerprint = Arc<dyn Fn() -> Result<DataState, Refusal> + Send + Sync>;

/// The state of a source's data at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataState {
    /// Differs between two states.
    pub(crate) fingerprint: u64,
    /// When it was changed last.
    pub(crate) changed: SystemTime,
}

/// Plans and opens; may block, but not for long once its stream has been stopped.
pub(crate) type Start = Box<dyn FnOnce(&StreamWriter) -> Result<Feed, Refusal> + Send>;

/// What a file of rows is, beyond its route.
pub(crate) struct RowsJob {
    pub(crate) format: Format,
    /// Whether rows are sorted for this request, which takes the memory of a query.
    pub(crate) is_sorted: bool,
    /// Which of several tables it is, as a part of a file's name.
    pub(crate) label: Option<String>,
    /// What the request narrows a table by besides its limit, in the form of a part of a file name; empty:
    /// nothing.
    pub(crate) narrowed: String,
    /// Whether the file's name states the limit without knowing that it cuts: it is the request's.
    pub(crate) names_limit: bool,
    pub(crate) facts: Arc<RowFacts>,
}

/// What is known of the rows of a file, and becomes known while it is planned and made.
#[derive(Debug, Default)]
pub(crate) struct RowFacts {
    pub(crate) limit: Option<RowLimit>,
    /// The rows that there are without the limit, behind the offset; set by planning, where it knows them.
    pub(crate) rows_known: OnceLock<u64>,
    /// Whether there were more rows than the limit. Set once so many were read, and before by what an earlier
    /// run of the same file has seen.
    is_cut: OnceLock<bool>,
}

/// No more rows than these are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowLimit {
    pub(crate) rows: u64,
    pub(crate) by: LimitBy,
    pub(crate) on_more: OnMore,
}

/// Who has set a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitBy {
    Request,
    Server,
}

/// What becomes of a file with more rows than its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnMore {
    /// It is cut.
    #[default]
    Cap,
    /// There is none.
    Refuse,
}

impl RowFacts {
    /// Describes the limit for the head of a response: `100 of 20000; set-by=server`, `100 of more` if it is
    /// known that there are more rows but not how many, or without either. `None`: there is none, or it is
    /// known to cut nothing.
    pub(crate) fn limit_header(&self) -> Option<String> {
        let limit = self.limit?;
        match (self.is_cut(), self.rows_known.get()) {
            (Some(false), _) => None,
            (Some(true), Some(known)) => Some(limit.describe(&format!(" of {known}"))),
            (Some(true), None) => Some(limit.describe(" of more")),
            (None, _) => Some(limit.describe("")),
        }
    }

    /// Describes the limit at the end of a file that it has cut, which was not known before:
    /// `100 of more; set-by=server`.
    pub(crate) fn limit_at_the_end(&self) -> Option<String> {
        let limit = self.limit.filter(|_| self.rows_known.get().is_none())?;
        (self.is_cut() == Some(true)).then(|| limit.describe(" of more"))
    }

    /// Says what is known, for [`learn`](Self::learn) in a later process.
    pub(crate) fn to_note(&self) -> Option<String> {
        match (self.is_cut()?, self.rows_known.get()) {
            (_, Some(known)) => Some(format!("rows {known}")),
            (true, None) => Some("cut".into()),
            (false, None) => Some("complete".into()),
        }
    }

    /// Learns what an earlier run of the same file has noted.
    pub(crate) fn learn(&self, note: Option<&str>) {
        match note {
            Some("cut") => self.note_cut(true),
            Some("complete") => self.note_cut(false),
            Some(note) => {
                let known = note
                    .strip_prefix("rows ")
                    .and_then(|rows| rows.parse().ok());
                if let Some(known) = known {
                    let _first = self.rows_known.set(known);
                }
            }
            None => {}
        }
    }

    /// Returns whether the limit cuts the file, or has cut it; `None` as long as nobody knows.
    pub(crate) fn is_cut(&self) -> Option<bool> {
        let limit = self.limit?;
        let counted = self.rows_known.get().map(|known| *known > limit.rows);
        counted.or(self.is_cut.get().copied())
    }

    /// Notes whether the limit has cut the file: of this run, or of an earlier one that wrote the same bytes.
    pub(crate) fn note_cut(&self, is_cut: bool) {
        // Runs of the same bytes agree.
        let _first = self.is_cut.set(is_cut);
    }
}

impl RowLimit {
    /// Describes the limit in a file that it has cut.
    #[cfg(feature = "tables")]
    pub(crate) fn for_people(self) -> String {
        let rows = self.rows;
        let of = match self.by {
            LimitBy::Request => "request",
            LimitBy::Server => "server",
        };
        match rows {
            1 => format!("the limit of the {of} is 1 row"),
            rows => format!("the limit of the {of} is {rows} rows"),
        }
    }

    fn describe(self, of: &str) -> String {
        let by = match self.by {
            LimitBy::Request => "request",
            LimitBy::Server => "server",
        };
        format!("{}{of}; set-by={by}", self.rows)
    }
}

impl RowsJob {
    /// All rows of a source, in its order.
    pub(crate) fn complete(format: Format) -> Self {
        Self {
            format,
            is_sorted: false,
            label: None,
            narrowed: String::new(),
            names_limit: false,
            facts: Arc::default(),
        }
    }
}

/// A file that is ready to be written.
pub(crate) struct Feed {
    /// What is known of it for the head of a response.
    pub(crate) planned: Planned,
    /// The ranges that a client of which nothing is known may have without `If-Range`.
    pub(crate) unknown_ranges: BareRanges,
    /// When the file became what it is, if that is known.
    pub(crate) changed: Option<SystemTime>,
    pub(crate) write: WritePieces,
}

impl Feed {
    /// Makes the feed of a source that writes its file from the first byte to the last. `length_wait`
    /// is how long the response's head waits for the first byte, where that is when the length is known;
    /// `None`: as long as for any file.
    pub(crate) fn of_stream(
        length: Option<u64>,
        length_wait: Option<Duration>,
        write: WriteStream,
    ) -> Self {
        Self {
            planned: Planned::new().length(length).commit_after(length_wait),
            unknown_ranges: BareRanges::None,
            changed: None,
            write: Box::new(move |out, _| write(out)),
        }
    }

    /// Promises the length of the pieces, if it is known, and writes them.
    pub(crate) fn write_to(
        self,
        out: &mut StreamWriter,
        pieces: &Pieces,
    ) -> Result<(), SourceError> {
        if let Some(length) = pieces.length() {
            out.promise_length(length)?;
        }
        (self.write)(out, pieces)
    }
}

impl Job {
    /// Makes the job of a source that has nothing to plan, and knows the length or not.
    pub(crate) fn unplanned(length: Option<u64>, write: WriteStream) -> Self {
        Self::planned(Box::new(move |_| Ok(Feed::of_stream(length, None, write))))
    }

    /// Makes the job of bytes that are no rows.
    pub(crate) fn planned(start: Start) -> Self {
        Self {
            rows: None,
            is_file: false,
            fingerprint: None,
            is_repeatable: false,
            frozen: Arc::default(),
            start,
        }
    }

    /// Makes the job of a file on disk.
    pub(crate) fn of_file(rows: Option<RowsJob>, start: Start) -> Self {
        Self {
            rows,
            is_file: true,
            ..Self::planned(start)
        }
    }

    /// Makes the job of a file of rows.
    pub(crate) fn of_rows(rows: RowsJob, start: Start) -> Self {
        Self {
            rows: Some(rows),
            ..Self::planned(start)
        }
    }

    /// Plans and opens, once the stream has its place. Blocks; a stream that is stopped ends it.
    ///
    /// # Errors
    /// The refusal for the client.
    pub(crate) fn start(self, place: &StreamWriter) -> Result<Feed, Refusal> {
        (self.start)(place)
    }
}

/// Where a route's bytes come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Noise(Noise),
    Directory(Directory),
    File(File),
    Command(Command),
    Rows(Box<RowRoute>),
}

/// A column of a table, for people.
pub(crate) struct ShownColumn {
    pub(crate) name: String,
    pub(crate) data_type: String,
    pub(crate) unit: String,
    pub(crate) description: String,
}

/// A table of a file that has several, for people.
pub(crate) struct ShownTable {
    /// Its number in the file.
    pub(crate) hdu: usize,
    /// Empty if it has none.
    pub(crate) name: String,
    /// How many rows it has, or why it is not served.
    pub(crate) size: String,
    pub(crate) is_served: bool,
}

/// Which of several formats a request is for, beside its parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// That of the URL's suffix.
    pub(crate) suffix: Option<Format>,
    pub(crate) accept: Option<&'a str>,
    /// Whether a table that is one file may be sent as that file, unread.
    pub(crate) may_be_file: bool,
    /// What a page for people has as its title; `None`: it is written without links.
    pub(crate) page_of: Option<&'a str>,
    /// Whether a parameter has been taken for the name of the saved file.
    pub(crate) is_named: bool,
}

/// The parameter with the name of the saved file.
pub(crate) const FILE_NAME_PARAMETER: &str = "filename";

impl Source {
    /// Checks a request's parameters, without any work; the refusal is for the client, and names
    /// the parameter.
    pub(crate) fn check(&self, query: &Query, wanted: Wanted<'_>) -> Result<Job, Refusal> {
        match self {
            Self::Noise(noise) => noise.check(query).map_err(Refusal::bad_parameter),
            Self::Directory(directory) => {
                query.allow(&[]).map_err(Refusal::bad_parameter)?;
                Ok(directory.job())
            }
            Self::File(file) => {
                query.allow(&[]).map_err(Refusal::bad_parameter)?;
                Ok(file.job())
            }
            Self::Command(command) => {
                query.allow(&[]).map_err(Refusal::bad_parameter)?;
                Ok(command.job())
            }
            Self::Rows(rows) => rows.check(query, wanted),
        }
    }

    /// The usual suffix and media type.
    pub(crate) fn usual_form(&self) -> (String, String) {
        let (suffix, media_type) = match self {
            Self::Noise(_) | Self::Command(_) => ("bin", "application/octet-stream"),
            Self::Directory(_) => ("tar", "application/x-tar"),
            Self::File(file) => return file.form(),
            Self::Rows(rows) => {
                let format = rows.usual_format();
                (format.suffix(), format.media_type())
            }
        };
        (suffix.into(), media_type.into())
    }

    /// Returns whether a parameter of this name means a column, or is one of the operator's.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        matches!(self, Self::Rows(rows) if rows.has_name(name))
    }

    /// Returns whether a request may carry a query in its body.
    pub(crate) fn takes_posts(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.takes_posts())
    }

    /// Returns whether the size depends on the request, so the last one says nothing about the next.
    pub(crate) fn is_as_long_as_asked(&self) -> bool {
        matches!(self, Self::Noise(_) | Self::Rows(_))
    }

    /// Describes the first columns for people, where they are known before a run.
    pub(crate) fn columns(&self, most: usize) -> Vec<ShownColumn> {
        match self {
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => Vec::new(),
            Self::Rows(rows) => rows.columns(most),
        }
    }

    /// Returns whether a table may be had in the format of this suffix, as far as that is known before a
    /// run.
    pub(crate) fn is_had_as(&self, suffix: &str) -> bool {
        match self {
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => true,
            Self::Rows(rows) => rows.is_had_as(suffix),
        }
    }

    /// Returns how many columns there are, where they are known before a run.
    pub(crate) fn column_count(&self) -> usize {
        match self {
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => 0,
            Self::Rows(rows) => rows.column_count(),
        }
    }

    /// Describes the tables among which a request may choose with `hdu`; none if there is one only.
    pub(crate) fn tables(&self) -> Vec<ShownTable> {
        match self {
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => Vec::new(),
            Self::Rows(rows) => rows.tables(),
        }
    }

    /// The format of the route's own file name, of rows.
    pub(crate) fn usual_format(&self) -> Option<Format> {
        match self {
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => None,
            Self::Rows(rows) => Some(rows.usual_format()),
        }
    }

    /// Describes the size on the index page before the first download.
    pub(crate) fn size_hint(&self) -> String {
        match self {
            Self::Noise(_) => "as many bytes as n asks for".into(),
            Self::Directory(_) => "the tree, as it is when you ask".into(),
            Self::File(file) => file.size_hint(),
            Self::Command(_) => "whatever the program writes".into(),
            Self::Rows(rows) => rows.size_hint(),
        }
    }

    /// A query that shows what the route can do.
    /// Parameters that narrow the rows, as an example for people.
    pub(crate) fn example_narrowing(&self) -> Option<String> {
        match self {
            Self::Rows(rows) => rows.example_narrowing(),
            Self::Noise(_) | Self::Directory(_) | Self::File(_) | Self::Command(_) => None,
        }
    }

    pub(crate) fn example_query(&self) -> String {
        match self {
            Self::Noise(_) => "?n=1e6".into(),
            Self::Directory(_) | Self::File(_) | Self::Command(_) => String::new(),
            Self::Rows(rows) => rows.example_query(),
        }
    }
}
/// At most 1,000 parameters: a condition on each of a hundred columns, ten times over. Each is
/// compared with names of the route.
const PARAMETERS_MAX: usize = 1_000;

/// A request's parameters, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes the parameters of a URL, or of a form as it is posted.
    ///
    /// # Errors
    /// There are too many; an escape is malformed, or they are not UTF-8: what they would become is
    /// nobody's parameter.
    pub(crate) fn parse(query: &[u8]) -> Result<Self, String> {
        if query
            .split(|byte| *byte == b'&')
            .nth(PARAMETERS_MAX)
            .is_some()
        {
            return Err(format!("more than {PARAMETERS_MAX} parameters"));
        }
        for parameter in query.split(|byte| *byte == b'&') {
            escapes::check(parameter).map_err(|error| {
                let name = parameter.split(|byte| *byte == b'=').next();
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                format!("parameter `{name}`: {error}")
            })?;
        }
        if percent_encoding::percent_decode(query)
            .decode_utf8()
            .is_err()
        {
            return Err("the parameters are not UTF-8 once they are percent-decoded".into());
        }
        Ok(Self(form_urlencoded::parse(query).into_owned().collect()))
    }

    /// Adds a parameter.
    pub(crate) fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    /// Adds the parameters of another query.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All of them, in the order that they were given in.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Returns whether there is a parameter of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// Renames parameters that differ from these names in case only, but for those of a name that
    /// `is_other`.
    pub(crate) fn spell(&mut self, names: &[&str], is_other: impl Fn(&str) -> bool) {
        for (name, _) in &mut self.0 {
            let meant = names.iter().find(|meant| meant.eq_ignore_ascii_case(name));
            if let Some(meant) = meant.filter(|_| !is_other(name)) {
                *name = (*meant).to_owned();
            }
        }
    }

    /// Takes the parameter of these names out. It may be repeated, with the same value.
    pub(crate) fn take(&mut self, names: &[&str]) -> Result<Option<String>, String> {
        let is_meant = |(name, _): &mut (String, String)| names.contains(&name.as_str());
        let mut taken = self
            .0
            .extract_if(.., is_meant)
            .collect::<Vec<_>>()
            .into_iter();
        let Some((_, value)) = taken.next() else {
            return Ok(None);
        };
        match taken.find(|(_, other)| *other != value) {
            Some((name, _)) => Err(format!("parameter `{name}` is given twice")),
            None => Ok(Some(value)),
        }
    }

    /// Refuses every parameter that is not in the list, and doubles.
    pub(crate) fn allow(&self, names: &[&str]) -> Result<(), String> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                return Err(match names {
                    [] => format!("unknown parameter `{name}`: there are none here"),
                    _ => format!("unknown parameter `{name}`: there are {}", names.join(", ")),
                });
            }
            if self.0[..at].iter().any(|(other, _)| other == name) {
                return Err(format!("parameter `{name}` is given twice"));
            }
        }
        Ok(())
    }

    /// Reads a parameter with a parser; the error names the parameter.
    pub(crate) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.0.iter().find(|(other, _)| other == name);
        value
            .map(|(_, value)| parse(value).map_err(|error| format!("parameter `{name}`: {error}")))
            .transpose()
    }
}
