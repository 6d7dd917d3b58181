//! Sources of rows, each of which can be served in every format of tables.
//!
//! [`RowRoute`] reads the parameters that all of them share (format, limit); each [`RowSource`]
//! checks its own, and plans a run once its stream has a place; `rows/write.rs` writes it.

pub(crate) mod form;
mod hdus;
mod opening;
mod page;
mod postgres;
mod query;
mod stars;
mod table;
mod write;

use std::{
    borrow::Cow,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatchReader,
};
use datastreamer::StreamWriter;
use datastreamer_engine::{EngineError, OPERATORS, RowsFiles, TableInfo};
use datastreamer_rows::{narrowed::Ask, parameters::Parameters};
pub(crate) use datastreamer_table::Format;
use datastreamer_table::{
    ColumnStatistics, RowsDescription, TableLayout, WithoutColumns, WriterOptions,
    ascii::{AsciiTexts, Counted},
    meta, type_name,
    uuid::{self, UuidTexts},
};
use http::StatusCode;

pub(crate) use self::{
    hdus::{HDU, Hdus, TABLES_MAX},
    opening::{Opened, Opening, Openings, Progress},
    postgres::{PostgresQuery, for_operator},
    query::{ClientSql, SqlQuery},
    stars::Stars,
    table::Table,
    write::engine_refusal,
};
use self::{
    page::{Narrowed, Page},
    query::Given,
};
use super::{
    FILE_NAME_PARAMETER, Fingerprint, Job, LimitBy, OnMore, Query, RowFacts, RowLimit, RowsJob,
    ShownColumn, ShownTable, Wanted, file,
};
use crate::{
    refusal::{Fault, Refusal, SOURCE_FAILED},
    temporary_room::TemporaryFiles,
};

/// The format of a request that names none: astronomers' programs expect it.
const DEFAULT_FORMAT: Format = Format::Votable;
/// Parameters that say how many rows are wanted at most: MAXREC is DALI's (1.1, 3.4.4). All names of
/// this kind may be in any case (DALI 1.1, 2.1).
const LIMITS: [&str; 2] = ["limit", "MAXREC"];
/// Parameters that name the format: RESPONSEFORMAT is DALI's (1.1, 3.4.3).
const FORMATS: [&str; 2] = ["format", "RESPONSEFORMAT"];
/// The parameter that says what becomes of columns that the format has no place for because they are
/// nested.
const NESTED: &str = "nested";
/// The parameter that says what becomes of texts beyond ASCII, of which the format has no others.
const ASCII: &str = "ascii";
/// The parameter that puts a byte order mark before a CSV file.
const BOM: &str = "bom";
/// All parameters that say how a file is written.
const WRITING: [&str; 3] = [NESTED, ASCII, BOM];

/// The parameter that says how many rows are left out before the first.
const OFFSET: &str = "offset";

/// Parameters that narrow rows, beside those that are called like their columns.
const NARROWING: [&str; 7] = ["select", "order", OFFSET, "or", "and", "not.or", "not.and"];

/// Columns that an example of narrowing names.
const EXAMPLE_COLUMNS: usize = 3;

/// Characters of a file name that say how a table is narrowed: names of 255 bytes are usual.
const NARROWED_MAX: usize = 60;

/// The parameter that has the text of a client's own query.
pub(crate) const QUERY_PARAMETER: &str = "query";

/// Returns whether a parameter of this name means the limit, the format or its columns in every route
/// of rows.
pub(crate) fn is_reserved(name: &str) -> bool {
    let mut reserved = LIMITS.iter().chain(&FORMATS).chain(&WRITING);
    reserved.any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// Returns whether a parameter of this name names the format.
pub(crate) fn names_format(name: &str) -> bool {
    let mut known = FORMATS.iter();
    known.any(|known| known.eq_ignore_ascii_case(name))
}

/// What becomes of columns that the format has no place for because they are nested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NestedColumns {
    /// The refusal names the others as a `select`, where that is a parameter.
    Refused {
        has_select: bool,
    },
    LeftOut,
}

/// What a request says of the way in which its file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    nested: NestedColumns,
    ascii: Ascii,
    has_select: bool,
}

/// What becomes of texts that are not printable ASCII, where the format has no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ascii {
    Refused,
    Replaced,
}

/// A route of rows.
#[derive(Clone, Debug)]
pub(crate) struct RowRoute {
    pub(crate) source: RowSource,
    /// No client gets more rows than this.
    pub(crate) rows_max: Option<u64>,
    /// What becomes of a file that would have more.
    pub(crate) on_more: OnMore,
    pub(crate) settings: RowSettings,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub(crate) enum RowSource {
    Table(Table),
    Query(SqlQuery),
    /// Whatever the client asks for.
    Sql(ClientSql),
    Postgres(PostgresQuery),
    Stars(Stars),
}

/// How rows become files: the same for all routes.
#[derive(Clone, Debug)]
pub(crate) struct RowSettings {
    pub(crate) writer: WriterOptions,
    /// That of the writers' temporary files.
    pub(crate) temporary_files: Arc<TemporaryFiles>,
    /// How long a head waits for a length that is known only once rows have been read.
    pub(crate) length_wait: Duration,
}

impl RowSettings {
    fn with_mark(&self, has_mark: bool) -> Self {
        let mut settings = self.clone();
        settings.writer.csv_mark = has_mark;
        settings
    }
}

/// Plans a run, once its stream has a place; blocks, but not for long once that is stopped.
pub(crate) type StartRun = Box<dyn FnOnce(&StreamWriter) -> Result<Run, Refusal> + Send>;

/// Counts the rows of a table, if that takes no reading; blocks as [`StartRun`] does.
pub(crate) type Count = Box<dyn FnOnce(&StreamWriter) -> Result<Option<u64>, Refusal> + Send>;

/// Tells whether a database takes a question about a column.
pub(crate) type Asks = Box<dyn Fn(usize, Ask) -> bool + Send>;

/// Rows that were planned: nothing has run yet.
pub(crate) struct Run {
    pub(crate) reader: Box<dyn RecordBatchReader + Send>,
    /// How many there will be, where it is known.
    pub(crate) rows_known: Option<u64>,
    /// Statistics of the columns, in their order; empty if there are none.
    pub(crate) columns: Vec<ColumnStatistics>,
    /// The files of a table, which are checked where the rows are not read to their end.
    pub(crate) files: Option<RowsFiles>,
    /// Stops a reader that blocks, from another thread.
    pub(crate) stop: Option<Box<dyn FnOnce() + Send>>,
    /// The layout that an earlier run of the same rows left.
    pub(crate) layout: Option<TableLayout>,
    /// Keeps the layout that this run finds out, for later runs of the same rows.
    pub(crate) remember: Option<Box<dyn FnOnce(TableLayout) + Send>>,
    /// Whose SQL gives the rows, if it is one.
    pub(crate) author: Author,
    /// Reads some columns of the same rows before, where that costs less than to keep all rows.
    pub(crate) rereading: Option<Box<table::Rereading>>,
    /// The columns that can be asked for, where they are known for a run only.
    pub(crate) offered: Option<SchemaRef>,
    /// Tells what can be asked of a column, by its place among those, where not everything can.
    pub(crate) asks: Option<Asks>,
    /// Where columns are left out: all that were planned, and the places of those that are left.
    pub(crate) kept: Option<(SchemaRef, Vec<usize>)>,
}

/// Who has written what a run computes, and so may see what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Client,
    Operator,
    /// The operator, with values of the client's.
    Both,
}

impl Author {
    /// Returns the text for clients of what a query says against itself, its rows or its values;
    /// `None`: the error's own.
    pub(crate) fn conceals(self, status: StatusCode) -> Option<&'static str> {
        match (self, status) {
            (Self::Operator | Self::Both, StatusCode::BAD_REQUEST) => {
                Some("the query of this route cannot be run with these values")
            }
            (Self::Operator | Self::Both, StatusCode::UNPROCESSABLE_ENTITY) => {
                Some("the query of this route fails on its rows or with these values")
            }
            _ => None,
        }
    }

    /// Returns whose matter a failure is that says something against a query, its rows or its values.
    pub(crate) fn fault(self, status: StatusCode) -> Fault {
        match self {
            Self::Operator if status.is_client_error() => Fault::OfOperator,
            _ => Fault::OfStatus,
        }
    }
}

impl Run {
    pub(crate) fn new(reader: impl RecordBatchReader + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            rows_known: None,
            columns: Vec::new(),
            files: None,
            stop: None,
            layout: None,
            remember: None,
            author: Author::Client,
            rereading: None,
            offered: None,
            asks: None,
            kept: None,
        }
    }

    /// Makes UUIDs what the format holds: texts, unless it has a type of them.
    fn with_uuids_for(mut self, format: Format) -> Self {
        if format.has_uuids() {
            return self;
        }
        let schema = self.reader.schema();
        for (field, column) in schema.fields().iter().zip(&mut self.columns) {
            if uuid::is_uuid(field) {
                column.text_bytes_max = Some(uuid::TEXT_BYTES);
            }
        }
        self.reader = match UuidTexts::new(self.reader) {
            Ok(reader) => Box::new(reader),
            Err(reader) => reader,
        };
        self
    }

    /// Replaces the characters that the format has no place for, if that is asked for.
    fn with_ascii_for(mut self, format: Format, writing: Writing, counted: Counted) -> Self {
        if writing.ascii == Ascii::Replaced && format.is_ascii() {
            self.reader = Box::new(AsciiTexts::new(self.reader, counted));
            // A layout is that of the texts as they are.
            (self.layout, self.remember) = (None, None);
        }
        self
    }

    /// Leaves out the columns that the format has no place for because they are nested, or refuses
    /// them all by name.
    fn with_nested_for(mut self, format: Format, nested: NestedColumns) -> Result<Self, Refusal> {
        let schema = self.reader.schema();
        let beyond = format.nested_beyond(&schema);
        if beyond.is_empty() {
            return Ok(self);
        }
        let has_others = beyond.len() < schema.fields().len();
        if nested != NestedColumns::LeftOut || !has_others {
            let has_select = nested == NestedColumns::Refused { has_select: true };
            let text = nested_refused(format, &schema, &beyond, has_others && has_select);
            return Err(Refusal::bad_parameter(text));
        }
        let columns = described(&schema, &beyond);
        tracing::info!(columns, %format, "nested columns are left out");
        let reader = WithoutColumns::new(self.reader, &beyond);
        self.kept = Some((schema, reader.kept().to_vec()));
        let columns = std::mem::take(&mut self.columns).into_iter().enumerate();
        let columns = columns.filter(|(place, _)| beyond.binary_search(place).is_err());
        self.columns = columns.map(|(_, known)| known).collect();
        self.reader = Box::new(reader);
        Ok(self)
    }

    /// Returns the columns that were planned, and the places there of some that the rows have.
    fn planned(&self, columns: &[usize]) -> (SchemaRef, Vec<usize>) {
        match &self.kept {
            None => (self.reader.schema(), columns.to_vec()),
            Some((planned, kept)) => {
                let places = columns.iter().filter_map(|place| kept.get(*place));
                (SchemaRef::clone(planned), places.copied().collect())
            }
        }
    }

    /// Returns how many rows there will be under a limit, if that is known.
    fn rows_expected(&self, rows_max: Option<u64>) -> Option<u64> {
        let known = self.rows_known?;
        Some(rows_max.map_or(known, |most| known.min(most)))
    }

    /// Describes the rows, under a limit, to the format that is to write them.
    fn description(&self, rows_max: Option<u64>) -> RowsDescription {
        RowsDescription {
            schema: self.reader.schema(),
            rows: self.rows_expected(rows_max),
            columns: self.columns.clone(),
            layout: self.layout.clone(),
        }
    }
}

impl RowRoute {
    pub(crate) fn check(&self, query: &Query, wanted: Wanted<'_>) -> Result<Job, Refusal> {
        let mut query = query.clone();
        let mut asked_for = query.clone();
        let chosen = self.source.take_hdu(&mut query)?;
        let label = chosen.as_ref().and_then(|chosen| chosen.label.clone());
        let is_chosen = chosen.is_some();
        let table = chosen.and_then(|chosen| chosen.table);
        let source = match table {
            Some(table) => &RowSource::Table(table),
            None => &self.source,
        };
        // `ORDER` is the column of this name if there is one; `order` never is.
        for query in [&mut query, &mut asked_for] {
            query.spell(&source.reserved(), |name| source.has_name(name));
        }
        source.refuse_conditions_on_parameters(&query)?;
        let format = take_format(&mut query, wanted)?;
        let page = wanted.page_of.filter(|_| format == Format::Html);
        let has_links = page.is_some() && source.has_pages();
        if has_links && !form::FORM.iter().any(|name| source.has_column(name)) {
            page::take_form(&mut query, &mut asked_for, &source.taken())
                .map_err(Refusal::bad_parameter)?;
        }
        let asked = take_limit(&mut query)?;
        let page_rows = self.settings.writer.html_rows_max;
        // A page never reaches a limit that is larger than itself.
        let limit = self.limit(asked);
        let limit = limit.filter(|limit| !has_links || limit.rows <= page_rows);
        let rows_max = limit.map(|limit| limit.rows);
        let is_table = matches!(self.source, RowSource::Table(_));
        // A `select` of the client's own may have renamed columns.
        let has_select = source.is_narrowed() && !query.has("select");
        let writing = Writing {
            nested: take_nested(&mut query, has_select)?,
            ascii: take_ascii(&mut query)?,
            has_select,
        };
        let has_mark = take_mark(&mut query, format)?;
        if wanted.may_be_file
            && rows_max.is_none()
            && !is_chosen
            && !has_mark
            && writing.ascii == Ascii::Refused
            && query.pairs().is_empty()
            && let Some(file) = source.own_file(format)
        {
            let rows = RowsJob::complete(format);
            return Ok(Job::of_file(Some(rows), file::start(file.to_owned())));
        }
        let planned_max = match has_links {
            true => Some(rows_max.unwrap_or(page_rows)),
            false => rows_max,
        };
        let start = source.check(&query, planned_max, wanted.is_named)?;
        let narrowing = source.narrowing_of(&query);
        let page = page.map(|title| {
            let page = Page::bare(title);
            match planned_max.filter(|_| has_links) {
                None => page,
                Some(rows_max) => {
                    page.with_links(Narrowed::new(&asked_for, &narrowing, rows_max, source))
                }
            }
        });
        // A database sorts in its own memory.
        let sorts_here = matches!(source, RowSource::Table(_) | RowSource::Query(_));
        let is_sorted = sorts_here && narrowing.iter().any(|(name, _)| name == "order");
        let is_of_request = limit.is_some_and(|limit| limit.by == LimitBy::Request);
        let rows = RowsJob {
            format,
            label,
            is_sorted,
            narrowed: match source.is_narrowed() {
                true => narrowed(&narrowing),
                false => String::new(),
            },
            names_limit: source.is_narrowed() && is_of_request,
            facts: Arc::new(RowFacts {
                limit,
                ..RowFacts::default()
            }),
        };
        let job = write::job(
            start,
            rows,
            writing,
            page,
            &self.settings.with_mark(has_mark),
        );
        Ok(Job {
            fingerprint: source.fingerprint(),
            // Rows that are equal in an order keep that of the files.
            is_repeatable: is_table && format.is_of_rows_alone(),
            ..job
        })
    }

    /// The limit of a request: the smaller one of that which was asked for and the route's.
    fn limit(&self, asked: Option<u64>) -> Option<RowLimit> {
        let by_request = asked.map(|rows| RowLimit {
            rows,
            by: LimitBy::Request,
            on_more: OnMore::Cap,
        });
        let by_server = self.rows_max.map(|rows| RowLimit {
            rows,
            by: LimitBy::Server,
            on_more: self.on_more,
        });
        // Of equal ones that of the request: it expects no more.
        let limits = by_request.into_iter().chain(by_server);
        limits.min_by_key(|limit| limit.rows)
    }

    /// Describes the tables among which a request may choose, for people.
    pub(crate) fn tables(&self) -> Vec<ShownTable> {
        match &self.source {
            RowSource::Table(table) => table.hdus().shown(),
            _ => Vec::new(),
        }
    }

    /// Returns how far a table is that is being opened; `None` of other routes.
    pub(crate) fn progress(&self) -> Option<Progress> {
        match &self.source {
            RowSource::Table(table) => Some(table.progress()),
            _ => None,
        }
    }

    /// The format of the route's own file name.
    pub(crate) fn usual_format(&self) -> Format {
        DEFAULT_FORMAT
    }

    /// Returns whether a parameter of this name means a column, or is one of the operator's.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.source.has_name(name)
    }

    /// Returns whether a request may carry a query in its body.
    pub(crate) fn takes_posts(&self) -> bool {
        matches!(self.source, RowSource::Sql(_))
    }

    /// Returns how many columns there are, where they are known before a run.
    pub(crate) fn column_count(&self) -> usize {
        self.source
            .columns()
            .map_or(0, |schema| schema.fields().len())
    }

    /// Returns whether the columns are such that a format of this suffix holds them, as far as that is
    /// known before a run.
    pub(crate) fn is_had_as(&self, suffix: &str) -> bool {
        match &self.source {
            RowSource::Table(table) => table.is_had_as(suffix),
            _ => true,
        }
    }

    /// Describes the first columns for people, where they are known before a run.
    pub(crate) fn columns(&self, most: usize) -> Vec<ShownColumn> {
        let fields = self.source.columns().map(Schema::fields);
        let fields = fields.into_iter().flatten().take(most);
        let shown = fields.map(|field| {
            let text = |key| meta::of_column(field, key).unwrap_or_default().to_owned();
            ShownColumn {
                name: field.name().clone(),
                data_type: type_name(field.data_type()),
                unit: text(meta::UNIT),
                description: text(meta::DESCRIPTION),
            }
        });
        shown.collect()
    }

    pub(crate) fn size_hint(&self) -> String {
        match (self.source.rows_known(), self.rows_max) {
            (Some(rows), Some(most)) if rows > most => match self.on_more {
                OnMore::Cap => format!("{rows} rows, of which {most} are sent at most"),
                OnMore::Refuse => format!("{rows} rows, of which {most} may be asked for at once"),
            },
            (Some(rows), _) => format!("{rows} rows"),
            (None, Some(most)) => format!("as many rows as there are, {most} at most"),
            (None, None) => "as many rows as there are".into(),
        }
    }

    /// Narrows the rows to some of its first columns, as an example for people; `None` if the columns
    /// are not known before a run, or their names mean something else in a URL.
    pub(crate) fn example_narrowing(&self) -> Option<String> {
        let columns = self
            .source
            .columns()
            .filter(|_| self.source.is_narrowed())?;
        let taken = self.source.taken();
        let fields = columns.fields().iter().map(|field| field.name().as_str());
        let plain = fields.filter(|name| !taken.has(name) && page::orders(name, columns).is_some());
        let names: Vec<_> = plain.take(EXAMPLE_COLUMNS).collect();
        let last = *names.last()?;
        let (_, descending) = page::orders(last, columns)?;
        let mut rest = form_urlencoded::Serializer::new(String::new());
        rest.append_pair(last, "is.not_null");
        rest.append_pair("order", &descending);
        rest.append_pair("limit", "100");
        Some(format!(
            "?{}&{}",
            select_of(names.into_iter()),
            rest.finish()
        ))
    }

    pub(crate) fn example_query(&self) -> String {
        match &self.source {
            RowSource::Table(_) => String::new(),
            RowSource::Query(sql) => query::example_query(sql.parameters()),
            RowSource::Postgres(sql) => query::example_query(sql.parameters()),
            RowSource::Sql(_) => "?query=SELECT+1".into(),
            RowSource::Stars(_) => "?rows=1e6".into(),
        }
    }
}

impl RowSource {
    /// `is_named` says that a parameter was taken for the file's name, although it may be meant for a
    /// column.
    fn check(
        &self,
        query: &Query,
        rows_max: Option<u64>,
        is_named: bool,
    ) -> Result<StartRun, Refusal> {
        match self {
            Self::Table(table) => table.check(query, rows_max),
            Self::Query(sql) => {
                let given = Given::of(sql.parameters(), query, is_named)?;
                Ok(sql.start(given, rows_max))
            }
            Self::Sql(sql) => sql.check(query, rows_max),
            Self::Postgres(postgres) => {
                let given = Given::of(postgres.parameters(), query, is_named)?;
                Ok(postgres.start(given, rows_max))
            }
            Self::Stars(stars) => stars.check(query),
        }
    }

    /// Takes the parameter that chooses a table of a file.
    fn take_hdu(&self, query: &mut Query) -> Result<Option<hdus::Chosen>, Refusal> {
        match self {
            Self::Table(table) if table.hdus().is_chosen_from() => {
                query.spell(&[HDU], |name| self.has_column(name));
                table.hdus().take(query)
            }
            _ => Ok(None),
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Table(table) => Some(table.fingerprint()),
            Self::Query(_) | Self::Sql(_) | Self::Postgres(_) | Self::Stars(_) => None,
        }
    }

    /// Returns whether its HTML page leads through all rows: no parameter of the operator's has the
    /// name of one that the page makes.
    fn has_pages(&self) -> bool {
        let mut made = form::FORM.iter().chain(&NARROWING);
        self.is_narrowed() && !made.any(|name| self.has_parameter(name))
    }

    /// Returns whether rows that are not ordered come in the same order each time.
    fn has_order(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// How all of its rows are counted, where they can be.
    fn count(&self) -> Option<Count> {
        match self {
            Self::Table(table) => Some(table.count()),
            Self::Query(_) | Self::Sql(_) | Self::Postgres(_) | Self::Stars(_) => None,
        }
    }

    /// The file that all rows are in this format.
    fn own_file(&self, format: Format) -> Option<&Path> {
        match self {
            Self::Table(table) => table.own_file(format),
            Self::Query(_) | Self::Sql(_) | Self::Postgres(_) | Self::Stars(_) => None,
        }
    }

    /// The names of parameters that do not mean a column or a parameter of a query.
    fn reserved(&self) -> Vec<&'static str> {
        let own: &[_] = match self {
            Self::Table(_) | Self::Query(_) | Self::Postgres(_) => &NARROWING,
            Self::Sql(_) => &[QUERY_PARAMETER],
            Self::Stars(_) => &[],
        };
        [&LIMITS[..], &FORMATS, &WRITING, own].concat()
    }

    /// Refuses a condition on a column that is called like a parameter, with what works: otherwise the
    /// value of the parameter would be blamed.
    fn refuse_conditions_on_parameters(&self, query: &Query) -> Result<(), Refusal> {
        if !self.is_narrowed() {
            return Ok(());
        }
        let reserved = [&LIMITS[..], &FORMATS, &WRITING, &[OFFSET]].concat();
        let may_be_column = |name: &str| {
            let columns = self.columns();
            columns.is_none_or(|columns| columns.index_of(name).is_ok())
        };
        let condition = query.pairs().iter().find(|(name, value)| {
            let is_taken = reserved.iter().any(|reserved| reserved == name);
            is_taken && is_condition(value) && may_be_column(name)
        });
        match condition {
            Some((name, value)) => Err(Refusal::bad_parameter(taken_name(name, value))),
            None => Ok(()),
        }
    }

    /// Returns whether a request may select columns and rows, and order them.
    fn is_narrowed(&self) -> bool {
        matches!(self, Self::Table(_) | Self::Query(_) | Self::Postgres(_))
    }

    /// The operator's own parameters.
    fn parameters(&self) -> Option<&Parameters> {
        match self {
            Self::Query(sql) => Some(sql.parameters()),
            Self::Postgres(sql) => Some(sql.parameters()),
            Self::Table(_) | Self::Sql(_) | Self::Stars(_) => None,
        }
    }

    fn has_parameter(&self, name: &str) -> bool {
        self.parameters()
            .is_some_and(|them| them.index(name).is_some())
    }

    /// The names that mean something else than a condition on a column of that name.
    fn taken(&self) -> Taken {
        let declared = self.parameters().map(Parameters::declared);
        let declared = declared.into_iter().flatten();
        let has_columns = self.columns().is_some();
        let mut reserved = self.reserved();
        reserved.push(HDU);
        if !has_columns {
            reserved.push(FILE_NAME_PARAMETER);
        }
        Taken {
            declared: declared.map(|parameter| parameter.name.clone()).collect(),
            reserved,
            has_columns,
        }
    }

    /// Returns whether a parameter of this name means a column, or is one of the operator's.
    fn has_name(&self, name: &str) -> bool {
        self.has_column(name) || self.has_parameter(name)
    }

    /// The parameters of a request that are not the operator's.
    fn narrowing_of<'a>(&self, query: &'a Query) -> Vec<&'a (String, String)> {
        let pairs = query.pairs().iter();
        pairs
            .filter(|(name, _)| !self.has_parameter(name))
            .collect()
    }

    fn has_column(&self, name: &str) -> bool {
        self.columns()
            .is_some_and(|schema| schema.column_with_name(name).is_some())
    }

    fn rows_known(&self) -> Option<u64> {
        match self {
            Self::Table(table) => table.info()?.rows(),
            Self::Query(_) | Self::Sql(_) | Self::Postgres(_) | Self::Stars(_) => None,
        }
    }

    /// What the columns are, where that is known before a run.
    pub(crate) fn columns(&self) -> Option<&Schema> {
        match self {
            Self::Table(table) => table.info().map(TableInfo::schema),
            Self::Query(_) | Self::Sql(_) | Self::Postgres(_) => None,
            Self::Stars(stars) => Some(stars.columns()),
        }
    }
}

/// The names that are parameters in a request for rows.
#[derive(Clone, Debug)]
struct Taken {
    /// The operator's.
    declared: Vec<String>,
    /// Ours.
    reserved: Vec<&'static str>,
    /// Whether the columns are known before a run: then those of a table win over some names.
    has_columns: bool,
}

impl Taken {
    /// Returns whether a parameter of this name may be another one than a condition on its column.
    fn has(&self, name: &str) -> bool {
        let mut reserved = self.reserved.iter();
        self.declared.iter().any(|other| other == name)
            || reserved.any(|other| match self.has_columns {
                true => *other == name,
                false => other.eq_ignore_ascii_case(name),
            })
    }
}

/// What to ask for instead of a condition on a column that is called like a parameter.
fn taken_name(column: &str, condition: &str) -> String {
    format!("`{column}` is a parameter here, and no column: ask for and=({column}.{condition})")
}

/// Returns whether a value begins as a condition does.
fn is_condition(value: &str) -> bool {
    let condition = value.strip_prefix("not.").unwrap_or(value);
    let operator = condition.split_once('.').map(|(operator, _)| operator);
    operator.is_some_and(|operator| OPERATORS.contains(&operator))
}

/// The part of a file name that tells a narrowed table from the complete one: `-dec.gt.30`. A long one
/// ends with digits that tell it from others.
fn narrowed(narrowing: &[&(String, String)]) -> String {
    let parts = narrowing.iter();
    let all: String = parts
        .map(|(name, value)| format!("-{name}.{value}"))
        .collect();
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let plain: String = all
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    if plain == all && plain.chars().count() <= NARROWED_MAX {
        return plain;
    }
    let mut hasher = DefaultHasher::new();
    all.hash(&mut hasher);
    let begin: String = plain.chars().take(NARROWED_MAX).collect();
    format!("{begin}-{:08x}", hasher.finish() as u32)
}

/// Finds the format: a parameter goes before the suffix, and that before `Accept`.
pub(crate) fn take_format(query: &mut Query, wanted: Wanted<'_>) -> Result<Format, Refusal> {
    if let Some(name) = query.take(&FORMATS).map_err(Refusal::bad_parameter)? {
        return Format::parse(&name).ok_or_else(|| {
            let names = format_names();
            Refusal::bad_parameter(format!("there is no format `{name}`; there are {names}"))
        });
    }
    let accepted = || wanted.accept.and_then(Format::from_accept);
    Ok(wanted.suffix.or_else(accepted).unwrap_or(DEFAULT_FORMAT))
}

/// Says what becomes of nested columns.
fn take_nested(query: &mut Query, has_select: bool) -> Result<NestedColumns, Refusal> {
    match query.take(&[NESTED]).map_err(Refusal::bad_parameter)? {
        None => Ok(NestedColumns::Refused { has_select }),
        Some(text) if text == "skip" => Ok(NestedColumns::LeftOut),
        Some(text) => Err(Refusal::bad_parameter(format!(
            "{NESTED}: there is no `{text}`; there is skip, which leaves out the columns that the \
             format has no place for because they are nested"
        ))),
    }
}

/// Says what becomes of texts beyond ASCII.
fn take_ascii(query: &mut Query) -> Result<Ascii, Refusal> {
    match query.take(&[ASCII]).map_err(Refusal::bad_parameter)? {
        None => Ok(Ascii::Refused),
        Some(text) if text == "replace" => Ok(Ascii::Replaced),
        Some(text) => Err(Refusal::bad_parameter(format!(
            "{ASCII}: there is no `{text}`; there is replace, which puts ? in the place of characters \
             that the format has no place for because they are not printable ASCII"
        ))),
    }
}

/// Says whether a byte order mark is wanted.
fn take_mark(query: &mut Query, format: Format) -> Result<bool, Refusal> {
    match query
        .take(&[BOM])
        .map_err(Refusal::bad_parameter)?
        .as_deref()
    {
        None | Some("0") => Ok(false),
        Some("1") if format == Format::Csv => Ok(true),
        Some("1") => Err(Refusal::bad_parameter(format!(
            "{BOM}: the format {format} has no byte order mark; csv may have one"
        ))),
        Some(text) => Err(Refusal::bad_parameter(format!(
            "{BOM}: there is no `{text}`; there are 1, for a byte order mark, and 0"
        ))),
    }
}

/// Tables of more columns are not looked through for those that a format holds: their `select` would be
/// longer than a message.
const LOOKED_THROUGH_MAX: usize = 2_000;

/// Returns the `select` of the columns that a format holds but for `without`, as an end of a sentence;
/// empty if there is none that helps, or it would be too long.
fn other_columns(format: Format, schema: &Schema, without: Option<&str>) -> String {
    if schema.fields().len() > LOOKED_THROUGH_MAX {
        return String::new();
    }
    let held = format.columns_held(schema);
    let held: Vec<_> = held
        .into_iter()
        .filter(|place| without != Some(schema.field(*place).name()))
        .collect();
    let together = schema.project(&held).map(Arc::new);
    let is_held = together.is_ok_and(|schema| format.check(&schema).is_ok());
    if !is_held || held.len() == schema.fields().len() {
        return String::new();
    }
    let select = select_of(
        held.iter()
            .map(|place| schema.field(*place).name().as_str()),
    );
    match select.len() <= SELECT_BYTES_MAX {
        true => format!("; it holds {select}"),
        false => String::new(),
    }
}

/// Returns the formats that hold these columns, as far as is known without their values.
pub(crate) fn formats_of(schema: &Schema) -> Vec<Format> {
    let as_texts = Arc::new(uuid::schema_of_texts(schema));
    let as_they_are = Arc::new(schema.clone());
    let mut formats = Format::ALL.to_vec();
    if schema.fields().len() <= LOOKED_THROUGH_MAX {
        formats.retain(|format| {
            let schema = match format.has_uuids() {
                true => &as_they_are,
                false => &as_texts,
            };
            format.check(schema).is_ok()
        });
    }
    formats
}

/// So many columns are named in a message and in the log, and so many bytes has a `select` there:
/// tables have up to 65,536 columns.
const NAMED_MAX: usize = 100;
const SELECT_BYTES_MAX: usize = 1000;

/// Names the columns that a format has no place for, and what a request can do about them.
fn nested_refused(format: Format, schema: &Schema, beyond: &[usize], has_select: bool) -> String {
    let columns = described(schema, beyond);
    let (noun, they) = match beyond {
        [_] => ("column", "it is"),
        _ => ("columns", "they are"),
    };
    let refused =
        format!("the format {format} has no place for the {noun} {columns}: {they} nested");
    if beyond.len() == schema.fields().len() {
        return format!("{refused}, and there are no others");
    }
    let others = match schema.fields().len() <= LOOKED_THROUGH_MAX {
        true => format.columns_held(schema),
        false => Vec::new(),
    };
    let has_select = has_select && !others.is_empty();
    let select = select_of(
        others
            .iter()
            .map(|place| schema.field(*place).name().as_str()),
    );
    match has_select && select.len() <= SELECT_BYTES_MAX {
        true => format!("{refused}; nested=skip leaves out what is nested, and so does {select}"),
        false => format!("{refused}; nested=skip leaves out what is nested"),
    }
}

/// Names columns with their types.
fn described(schema: &Schema, places: &[usize]) -> String {
    let named = places.iter().take(NAMED_MAX).map(|place| {
        let field = schema.field(*place);
        format!("{:?} ({})", field.name(), type_name(field.data_type()))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match places.len().checked_sub(NAMED_MAX) {
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

/// The parameter that selects columns of a table, as in a URL.
fn select_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted = names.map(|name| {
        let name = quoted_in_list(name);
        form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>()
    });
    format!("select={}", quoted.collect::<Vec<_>>().join(","))
}

/// Sets a part of a `select` or an `order` in quotes where it has characters that mean something there.
fn quoted_in_list(part: &str) -> Cow<'_, str> {
    match part.contains([',', '"', '\\']) {
        true => {
            let escaped = part.replace('\\', r"\\").replace('"', "\\\"");
            Cow::Owned(format!("\"{escaped}\""))
        }
        false => Cow::Borrowed(part),
    }
}

/// Names all formats, for the message to a client that asked for another one.
pub(crate) fn format_names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

/// Takes the number of rows that are wanted at most. Of a limit and MAXREC the smaller one holds:
/// MAXREC is a limit on the answer, whatever the query asks for (DALI 1.1, 3.4.4).
pub(crate) fn take_limit(query: &mut Query) -> Result<Option<u64>, Refusal> {
    let mut least: Option<u64> = None;
    for name in LIMITS {
        let Some(text) = query.take(&[name]).map_err(Refusal::bad_parameter)? else {
            continue;
        };
        let rows = text.parse().map_err(|_| {
            Refusal::bad_parameter(format!("{name}: `{text}` is no number of rows"))
        })?;
        least = Some(least.map_or(rows, |least| least.min(rows)));
    }
    Ok(least)
}

/// Waits for the engine, on the source's thread. Gives up when the stream is stopped.
fn wait_for<T>(
    place: &StreamWriter,
    planned: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, Refusal> {
    let stop = place.stop_token();
    let planned = block_on(async {
        tokio::select! {
            planned = planned => planned.map_err(engine_refusal),
            _ = stop.stopped() => {
                let text = "the stream was stopped while its rows were planned";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    });
    planned.unwrap_or_else(|text| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(Refusal::new(status, SOURCE_FAILED).caused_by(text))
    })
}

/// Waits for the engine, on a thread that may block.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    Ok(runtime.block_on(future))
}
