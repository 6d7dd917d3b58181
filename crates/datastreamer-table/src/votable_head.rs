//! What a VOTable without data states of a table and its columns, as Parquet files carry one in
//! their footer (VOParquet 1.0: the key `IVOA.VOTable-Parquet.content`).
//!
//! [`VotableHead`] owns that document's fields. It refuses to own the rows: they are elsewhere.

use std::{collections::HashMap, error::Error, fmt};

use crate::meta;
use arrow::datatypes::{Field, Schema};
use roxmltree::{Document, Node, ParsingOptions};

use crate::Metadata;

/// A document of 1000 columns with long descriptions has about 1 MB.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Elements, attributes and texts: about 100 for each of 10 000 columns.
const NODES_MAX: u32 = 1_000_000;

/// Metadata of a table and its columns, under the keys of [`crate::meta`].
///
/// Of the first TABLE: its name and description, and of each FIELD unit, ucd, utype, xtype, the axes
/// of its arraysize, its DESCRIPTION, the null of its VALUES, and the COOSYS or TIMESYS that it
/// refers to (VOTable 1.5, 3.1, 3.2, 4.1). Documents with a DTD are refused, so nothing is ever
/// fetched or expanded.
///
/// ```
/// use arrow::datatypes::{DataType, Field, Schema};
/// use datastreamer_table::meta;
/// use datastreamer_table::votable_head::VotableHead;
///
/// let head = VotableHead::parse(r#"
///     <VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
///       <FIELD name="ra" datatype="double" unit="deg"/>
///     </TABLE></RESOURCE></VOTABLE>"#)?;
/// let schema = Schema::new(vec![Field::new("ra", DataType::Float64, false)]);
/// let schema = head.apply(&schema);
/// assert_eq!(meta::of_column(schema.field(0), meta::UNIT), Some("deg"));
/// # Ok::<(), datastreamer_table::votable_head::VotableHeadError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VotableHead {
    table: Metadata,
    columns: HashMap<String, Metadata>,
}

/// Why a document cannot be used: its table can still be read, without this metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotableHeadError(String);

impl fmt::Display for VotableHeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the VOTable of the metadata: {}", self.0)
    }
}

impl Error for VotableHeadError {}

impl VotableHead {
    /// Reads a document.
    ///
    /// # Errors
    /// What is not XML, with line and column; a DTD; no TABLE; more than 16 MiB.
    pub fn parse(document: &str) -> Result<Self, VotableHeadError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            let bytes = document.len();
            return Err(VotableHeadError(format!(
                "{bytes} bytes: {DOCUMENT_BYTES_MAX} are the most"
            )));
        }
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: NODES_MAX,
            entity_resolver: None,
        };
        let document = Document::parse_with_options(document, options)
            .map_err(|error| VotableHeadError(error.to_string()))?;
        let mut elements = document.descendants();
        let table = elements.find(|node| is(node, "TABLE"));
        let table = table.ok_or_else(|| VotableHeadError("it has no TABLE".to_owned()))?;
        let systems = systems(&document);
        let fields = table.children().filter(|node| is(node, "FIELD"));
        let mut columns = HashMap::new();
        for field in fields {
            let Some(name) = field.attribute("name") else {
                continue;
            };
            columns
                .entry(name.to_owned())
                .or_insert_with(|| of_field(field, &systems));
        }
        Ok(Self {
            table: gathered([
                (meta::NAME, attribute(table, "name")),
                (meta::DESCRIPTION, description(table)),
            ]),
            columns,
        })
    }

    /// What is known of the table.
    pub fn table(&self) -> &HashMap<String, String> {
        &self.table
    }

    /// What is known of a column; `None` if the document does not name it.
    pub fn column(&self, name: &str) -> Option<&HashMap<String, String>> {
        self.columns.get(name)
    }

    /// Adds what is known to a schema; under one key the document counts, not what was there.
    pub fn apply(&self, schema: &Schema) -> Schema {
        let fields = schema.fields().iter().map(|field| {
            let field = Field::clone(field);
            match self.columns.get(field.name()) {
                Some(known) => {
                    let all = joined(field.metadata(), known);
                    field.with_metadata(all)
                }
                None => field,
            }
        });
        let fields: Vec<Field> = fields.collect();
        Schema::new_with_metadata(fields, joined(schema.metadata(), &self.table))
    }
}

fn joined(own: &Metadata, more: &Metadata) -> Metadata {
    let mut all = own.clone();
    all.extend(more.iter().map(|(key, text)| (key.clone(), text.clone())));
    all
}

fn of_field(field: Node<'_, '_>, systems: &HashMap<&str, Metadata>) -> Metadata {
    let values = field.children().filter(|node| is(node, "VALUES"));
    let null = values.filter_map(|node| attribute(node, "null")).next();
    let known = gathered([
        (meta::UNIT, attribute(field, "unit")),
        (meta::UCD, attribute(field, "ucd")),
        (meta::UTYPE, attribute(field, "utype")),
        (meta::XTYPE, attribute(field, "xtype")),
        (meta::SHAPE, shape(field)),
        (meta::WIDTH, width(field)),
        (meta::NULL, null),
        (meta::DESCRIPTION, description(field)),
    ]);
    match field.attribute("ref").and_then(|id| systems.get(id)) {
        Some(system) => joined(&known, system),
        None => known,
    }
}

/// The axes of arrays, of which there are several and none varies. In VOTable a text is one, too: of
/// arrays of texts the first axis is the [`width`].
fn shape(field: Node<'_, '_>) -> Option<String> {
    let size = attribute(field, "arraysize")?;
    let size = match is_text(field) {
        true => size.split_once('x')?.1,
        false => size.as_str(),
    };
    let has_axes = size.contains('x') && !size.ends_with('*');
    has_axes.then(|| format!("({})", size.replace('x', ",")))
}

/// The width of the texts of an array.
fn width(field: Node<'_, '_>) -> Option<String> {
    let size = attribute(field, "arraysize").filter(|_| is_text(field))?;
    let (width, _) = size.split_once('x')?;
    Some(width.to_owned())
}

fn is_text(field: Node<'_, '_>) -> bool {
    matches!(field.attribute("datatype"), Some("char" | "unicodeChar"))
}

/// The systems of coordinates and times, by their IDs.
fn systems<'a>(document: &'a Document<'_>) -> HashMap<&'a str, Metadata> {
    let elements = document.descendants();
    let systems = elements.filter_map(|node| {
        let get = |name| attribute(node, name);
        let known = if is(&node, "COOSYS") {
            gathered([
                (meta::COOSYS, get("system")),
                (meta::EQUINOX, get("equinox")),
                (meta::EPOCH, get("epoch")),
            ])
        } else if is(&node, "TIMESYS") {
            gathered([
                (meta::TIMESCALE, get("timescale")),
                (meta::REFPOSITION, get("refposition")),
                (meta::TIMEORIGIN, get("timeorigin").map(julian_date)),
            ])
        } else {
            return None;
        };
        Some((node.attribute("ID")?, known))
    });
    systems.collect()
}

/// The two origins that have names (VOTable 1.5, 3.2).
fn julian_date(origin: String) -> String {
    match origin.as_str() {
        "JD-origin" => "0".to_owned(),
        "MJD-origin" => "2400000.5".to_owned(),
        _ => origin,
    }
}

/// Says whether a node is this element, in whatever namespace: each version had one.
fn is(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

fn attribute(node: Node<'_, '_>, name: &str) -> Option<String> {
    let text = node.attribute(name)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text of the DESCRIPTION, each run of blanks and line breaks as one blank.
fn description(node: Node<'_, '_>) -> Option<String> {
    let mut children = node.children();
    let description = children.find(|node| is(node, "DESCRIPTION"))?;
    let texts = description
        .descendants()
        .filter_map(|node| match node.is_text() {
            true => node.text(),
            false => None,
        });
    let all: String = texts.collect();
    let words: Vec<&str> = all.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn gathered<const N: usize>(known: [(&str, Option<String>); N]) -> Metadata {
    let known = known.into_iter();
    known
        .filter_map(|(key, text)| Some((key.to_owned(), text?)))
        .collect()
}
