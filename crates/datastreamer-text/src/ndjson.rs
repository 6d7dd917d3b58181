//! Tables of NDJSON files: their columns, and their rows as record batches. Each line is an object.
//!
//! A column of values of several types is text: strings as they are, and all else as its JSON.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, ListArray, NullBufferBuilder, RecordBatchOptions, StructArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use crate::{
    COLUMNS_MAX,
    batch::{BATCH_BYTES_MAX, Values},
    input::Input,
    json::{Json, Kind},
    options::{DecimalMark, TextOptions},
    seen::Seen,
};

/// Infers the types of the columns that have none in the options from all rows, and counts these; reads
/// no row if all names of columns are given, each with a type.
///
/// # Errors
/// The file cannot be read; a line is no JSON object, or has a name twice or one that is not given.
pub(crate) fn infer(input: Input, options: &TextOptions) -> io::Result<(Schema, Option<u64>)> {
    let declared = |name: &str| {
        let data_type = options.types.get(name);
        data_type.map(|data_type| Field::new(name, data_type.clone(), true))
    };
    let mut columns = Members::default();
    let mut left = COLUMNS_MAX;
    let names = options.names.as_deref().unwrap_or_default();
    for name in names {
        let place = columns.place(usize::MAX, name, &mut left);
        place.map_err(io::Error::other)?;
    }
    if options.names.is_some() {
        columns.is_closed = true;
    }
    if options.has_types_of(names) {
        let fields = names.iter().filter_map(|name| declared(name));
        return Ok((Schema::new(fields.collect::<Vec<_>>()), None));
    }
    let mut count = 0;
    let mut lines = Lines::new(input);
    while let Some((line, text)) = lines.next()? {
        let mut json = Json::new(text);
        let read = columns.add(&mut json, &mut left);
        let read = read.and_then(|()| json.end());
        read.map_err(|text| at_line(line, &text))?;
        count += 1;
    }
    let fields = columns.fields().into_iter();
    let fields = fields.map(|field| declared(field.name()).unwrap_or(field));
    Ok((Schema::new(fields.collect::<Vec<_>>()), Some(count)))
}

/// What a line says that has a member which no column is.
fn unknown_member(name: &str) -> String {
    format!("{name:?} is not among names")
}

/// The lines of a file that are not blank.
struct Lines {
    input: Input,
    line: u64,
}

impl Lines {
    fn new(input: Input) -> Self {
        Self { input, line: 0 }
    }

    /// Returns the next line and its number.
    fn next(&mut self) -> io::Result<Option<(u64, &str)>> {
        loop {
            let length = memchr::memchr(b'\n', self.input.rest());
            let bytes = match length {
                Some(length) => length + 1,
                None if !self.input.is_at_end() => {
                    self.input.read_more()?;
                    continue;
                }
                None if self.input.rest().is_empty() => return Ok(None),
                None => self.input.rest().len(),
            };
            self.input.consume(bytes);
            self.line += 1;
            if !self.input.consumed(bytes).trim_ascii().is_empty() {
                return Ok(Some((self.line, self.input.text(bytes, self.line)?)));
            }
        }
    }
}

fn at_line(line: u64, text: &str) -> io::Error {
    io::Error::other(format!("line {line}: {text}"))
}

/// The values at one place in all rows.
#[derive(Default)]
struct SeenJson {
    /// Numbers and booleans.
    plain: Seen,
    has_texts: bool,
    list: Option<Box<SeenJson>>,
    object: Option<Box<Members>>,
}

impl SeenJson {
    /// Adds a value; `left` counts the members that there may still be.
    fn add(&mut self, json: &mut Json<'_>, left: &mut usize) -> Result<(), String> {
        let kind = json.kind()?;
        match kind {
            Kind::Null => json.word(kind),
            Kind::Boolean(_) => {
                self.plain.add_boolean();
                json.word(kind)
            }
            Kind::Number => {
                let number = json.number()?;
                if !self.plain.is_text() {
                    self.plain.add(number, DecimalMark::Point);
                }
                Ok(())
            }
            Kind::Text => {
                self.has_texts = true;
                json.text().map(drop)
            }
            Kind::List => {
                let elements = self.list.get_or_insert_default();
                json.list(|json| elements.add(json, left))
            }
            Kind::Object => self.object.get_or_insert_default().add(json, left),
        }
    }

    fn field(&self, name: &str) -> Field {
        let text = || Field::new(name, DataType::Utf8, true);
        match (&self.list, &self.object) {
            (None, None) if self.has_texts => text(),
            (None, None) => self.plain.field(name),
            _ if self.has_texts || !self.plain.is_empty() => text(),
            (Some(elements), None) => {
                let elements = elements.field(Field::LIST_FIELD_DEFAULT_NAME);
                Field::new(name, DataType::List(Arc::new(elements)), true)
            }
            (None, Some(members)) if !members.list.is_empty() => {
                Field::new(name, DataType::Struct(members.fields().into()), true)
            }
            _ => text(),
        }
    }
}

/// The members of objects at one place in all rows, in the order in which they came first.
#[derive(Default)]
struct Members {
    list: Vec<Member>,
    places: HashMap<String, usize>,
    objects: u64,
    /// There are no others.
    is_closed: bool,
}

struct Member {
    name: String,
    seen: SeenJson,
    /// The last object that had it, counted from 1.
    object: u64,
}

impl Members {
    fn add(&mut self, json: &mut Json<'_>, left: &mut usize) -> Result<(), String> {
        self.objects += 1;
        let mut next = 0;
        json.object(|json, name| {
            let place = self.place(next, name, left)?;
            next = place + 1;
            let member = &mut self.list[place];
            if mem::replace(&mut member.object, self.objects) == self.objects {
                return Err(format!("{name:?} is there twice in an object"));
            }
            member.seen.add(json, left)
        })
    }

    /// Finds a member, which is most often the next one.
    ///
    /// # Errors
    /// It is new, and no more are allowed.
    fn place(&mut self, next: usize, name: &str, left: &mut usize) -> Result<usize, String> {
        if self
            .list
            .get(next)
            .is_some_and(|member| member.name == name)
        {
            return Ok(next);
        }
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        if self.is_closed {
            return Err(unknown_member(name));
        }
        let fewer = left.checked_sub(1);
        *left = fewer.ok_or_else(|| format!("the objects have over {COLUMNS_MAX} names in all"))?;
        let place = self.list.len();
        self.places.insert(name.to_owned(), place);
        self.list.push(Member {
            name: name.to_owned(),
            seen: SeenJson::default(),
            object: 0,
        });
        Ok(place)
    }

    fn fields(&self) -> Vec<Field> {
        let members = self.list.iter();
        members
            .map(|member| member.seen.field(&member.name))
            .collect()
    }
}

/// Reads rows as record batches.
pub(crate) struct NdjsonReader {
    lines: Lines,
    schema: SchemaRef,
    /// Of all members that there may be; `None`: of any name.
    names: Option<Arc<HashSet<String>>>,
    rows_max: usize,
}

impl NdjsonReader {
    /// Reads the columns of `schema`, in batches of up to `rows_max` rows.
    pub(crate) fn new(
        input: Input,
        options: &TextOptions,
        schema: SchemaRef,
        rows_max: usize,
    ) -> Self {
        let names = options.names.as_ref();
        Self {
            lines: Lines::new(input),
            schema,
            names: names.map(|names| Arc::new(names.iter().cloned().collect())),
            rows_max,
        }
    }

    /// Reads the next batch.
    ///
    /// # Errors
    /// The file cannot be read, or a value is not of its column's type.
    pub(crate) fn read(&mut self) -> io::Result<Option<RecordBatch>> {
        let mut columns = Structs::new(self.schema.fields(), self.rows_max)?;
        columns.names.clone_from(&self.names);
        let mut bytes = 0;
        while columns.count < self.rows_max && bytes < BATCH_BYTES_MAX {
            let Some((line, text)) = self.lines.next()? else {
                break;
            };
            bytes += text.len();
            let mut json = Json::new(text);
            let read = columns.append(&mut json).and_then(|()| json.end());
            read.map_err(|text| at_line(line, &text))?;
        }
        let count = columns.count;
        if count == 0 {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let columns = columns.finish()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        batch.map(Some).map_err(io::Error::other)
    }
}

/// The values at one place.
enum JsonValues {
    Plain(Values),
    List {
        element: FieldRef,
        values: Box<JsonValues>,
        ends: Vec<i32>,
        nulls: NullBufferBuilder,
    },
    Struct {
        fields: Fields,
        members: Structs,
        nulls: NullBufferBuilder,
    },
}

impl JsonValues {
    fn new(data_type: &DataType, rows: usize) -> io::Result<Self> {
        Ok(match data_type {
            DataType::List(element) => Self::List {
                element: Arc::clone(element),
                values: Box::new(Self::new(element.data_type(), rows)?),
                ends: vec![0],
                nulls: NullBufferBuilder::new(rows),
            },
            DataType::Struct(fields) => Self::Struct {
                fields: fields.clone(),
                members: Structs::new(fields, rows)?,
                nulls: NullBufferBuilder::new(rows),
            },
            data_type => Self::Plain(Values::new(data_type, rows, DecimalMark::Point)?),
        })
    }

    fn append_null(&mut self) {
        match self {
            Self::Plain(values) => values.append_null(),
            Self::List { ends, nulls, .. } => {
                ends.extend(ends.last().copied());
                nulls.append_null();
            }
            Self::Struct { members, nulls, .. } => {
                members.append_null();
                nulls.append_null();
            }
        }
    }

    fn append(&mut self, json: &mut Json<'_>) -> Result<(), String> {
        let kind = json.kind()?;
        if kind == Kind::Null {
            self.append_null();
            return json.word(kind);
        }
        match (self, kind) {
            (Self::Plain(values), Kind::Text) => values.append(&json.text()?),
            (Self::Plain(values), Kind::Number) => values.append(json.number()?),
            (Self::Plain(values), Kind::Boolean(value)) if !values.are_texts() => {
                json.word(kind)?;
                values.append(if value { "true" } else { "false" })
            }
            (Self::Plain(values), _) if values.are_texts() => values.append(json.skip()?),
            (
                Self::List {
                    values,
                    ends,
                    nulls,
                    ..
                },
                Kind::List,
            ) => {
                let mut end = ends.last().copied().unwrap_or(0);
                json.list(|json| {
                    end = end
                        .checked_add(1)
                        .ok_or("more than 2^31 elements in a batch")?;
                    values.append(json)
                })?;
                ends.push(end);
                nulls.append_non_null();
                Ok(())
            }
            (Self::Struct { members, nulls, .. }, Kind::Object) => {
                members.append(json)?;
                nulls.append_non_null();
                Ok(())
            }
            (Self::Plain(values), _) => {
                let data_type = values.type_name();
                Err(format!(
                    "{} is not of the column's type, {data_type}",
                    json.skip()?
                ))
            }
            _ => Err(format!("{} is not of the column's type", json.skip()?)),
        }
    }

    fn finish(self) -> io::Result<ArrayRef> {
        Ok(match self {
            Self::Plain(values) => values.finish()?,
            Self::List {
                element,
                values,
                ends,
                mut nulls,
            } => {
                let (ends, values) = (OffsetBuffer::new(ends.into()), values.finish()?);
                let list = ListArray::try_new(element, ends, values, nulls.finish());
                Arc::new(list.map_err(io::Error::other)?)
            }
            Self::Struct {
                fields,
                members,
                mut nulls,
            } => {
                let values = StructArray::try_new(fields, members.finish()?, nulls.finish());
                Arc::new(values.map_err(io::Error::other)?)
            }
        })
    }
}

/// The members of objects at one place: all columns, or those of a struct.
struct Structs {
    columns: Vec<(String, JsonValues, usize)>,
    places: HashMap<String, usize>,
    /// Of all members that there may be; `None`: of any name.
    names: Option<Arc<HashSet<String>>>,
    /// The objects so far. A column with fewer values lacks the last one.
    count: usize,
}

impl Structs {
    fn new(fields: &Fields, rows: usize) -> io::Result<Self> {
        let columns = fields.iter().map(|field| {
            let values = JsonValues::new(field.data_type(), rows)?;
            Ok((field.name().clone(), values, 0))
        });
        let names = fields.iter().enumerate();
        Ok(Self {
            columns: columns.collect::<io::Result<_>>()?,
            places: names
                .map(|(place, field)| (field.name().clone(), place))
                .collect(),
            names: None,
            count: 0,
        })
    }

    fn append(&mut self, json: &mut Json<'_>) -> Result<(), String> {
        self.count += 1;
        let mut next = 0;
        json.object(|json, name| {
            let is_next = |column: &(String, _, _)| column.0 == name;
            let place = match self.columns.get(next).is_some_and(is_next) {
                true => next,
                false => match self.places.get(name) {
                    Some(place) => *place,
                    None if self
                        .names
                        .as_ref()
                        .is_some_and(|names| !names.contains(name)) =>
                    {
                        return Err(unknown_member(name));
                    }
                    None => return json.skip().map(drop),
                },
            };
            next = place + 1;
            let (_, values, count) = &mut self.columns[place];
            if mem::replace(count, self.count) == self.count {
                return Err(format!("{name:?} is there twice in an object"));
            }
            let appended = values.append(json);
            appended.map_err(|text| format!("column {name:?}: {text}"))
        })?;
        self.fill();
        Ok(())
    }

    fn append_null(&mut self) {
        self.count += 1;
        self.fill();
    }

    /// Appends a null to each column that the last object lacks.
    fn fill(&mut self) {
        for (_, values, count) in &mut self.columns {
            if mem::replace(count, self.count) < self.count {
                values.append_null();
            }
        }
    }

    fn finish(self) -> io::Result<Vec<ArrayRef>> {
        let columns = self.columns.into_iter();
        columns.map(|(_, values, _)| values.finish()).collect()
    }
}
