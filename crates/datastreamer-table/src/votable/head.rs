//! The XML before the rows: resource, status, systems, table, fields. And its escapes.

use arrow::datatypes::{Field, Schema};

use super::{
    Serialization, Version, VotableOptions,
    field::{Size, VotableField},
};
use crate::{meta, names::with_names};

/// Appends everything before the rows.
pub(super) fn append(
    out: &mut Vec<u8>,
    schema: &Schema,
    fields: &[VotableField],
    options: &VotableOptions,
) {
    append_table(out, &with_names(schema), fields, options.version);
    out.extend_from_slice(match options.serialization {
        Serialization::Tabledata => b"<DATA>\n<TABLEDATA>\n".as_slice(),
        Serialization::Binary => b"<DATA>\n<BINARY><STREAM encoding=\"base64\">\n",
        Serialization::Binary2 => b"<DATA>\n<BINARY2><STREAM encoding=\"base64\">\n",
    });
}

/// Appends the document up to the last field.
pub(super) fn append_table(
    out: &mut Vec<u8>,
    schema: &Schema,
    fields: &[VotableField],
    version: Version,
) {
    let version = match version {
        Version::V1_4 => "1.4",
        Version::V1_5 => "1.5",
    };
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VOTABLE");
    append_attribute(out, "version", Some(version));
    // One namespace for 1.3 and all that followed.
    append_attribute(out, "xmlns", Some("http://www.ivoa.net/xml/VOTable/v1.3"));
    out.extend_from_slice(b">\n<RESOURCE type=\"results\">\n");
    out.extend_from_slice(b"<INFO name=\"QUERY_STATUS\" value=\"OK\"/>\n");
    let systems = Systems::of(schema);
    systems.append(out);
    out.extend_from_slice(b"<TABLE");
    append_attribute(out, "name", meta::of_table(schema, meta::NAME));
    out.extend_from_slice(b">\n");
    append_description(out, meta::of_table(schema, meta::DESCRIPTION));
    for (column, field) in schema.fields().iter().zip(fields) {
        append_field(out, column, field, systems.reference(column));
    }
}

fn append_field(out: &mut Vec<u8>, column: &Field, field: &VotableField, system: Option<String>) {
    let arraysize = match field.size {
        Size::One => None,
        Size::Fixed(length) => {
            let elements = length / field.width.unwrap_or(1);
            let axes = meta::axes(column, elements).unwrap_or_else(|| vec![elements]);
            let axes = field.width.into_iter().chain(axes);
            let axes: Vec<_> = axes.map(|axis| axis.to_string()).collect();
            Some(axes.join("x"))
        }
        Size::UpTo(most) => Some(format!("{most}*")),
        Size::Variable => Some(match field.width {
            Some(width) => format!("{width}x*"),
            None => "*".to_owned(),
        }),
    };
    out.extend_from_slice(b"<FIELD");
    append_attribute(out, "name", Some(column.name()));
    append_attribute(out, "datatype", Some(field.primitive.name()));
    append_attribute(out, "arraysize", arraysize.as_deref());
    append_attribute(
        out,
        "xtype",
        meta::of_column(column, meta::XTYPE).or(field.xtype),
    );
    append_attribute(out, "unit", meta::of_column(column, meta::UNIT));
    append_attribute(out, "ucd", meta::of_column(column, meta::UCD));
    append_attribute(out, "utype", meta::of_column(column, meta::UTYPE));
    append_attribute(out, "ref", system.as_deref());
    out.extend_from_slice(b">");
    append_description(out, meta::of_column(column, meta::DESCRIPTION));
    if let Some(null) = field.null {
        out.extend_from_slice(b"<VALUES");
        append_attribute(out, "null", Some(&null.to_string()));
        out.extend_from_slice(b"/>");
    }
    out.extend_from_slice(b"</FIELD>\n");
}

fn append_description(out: &mut Vec<u8>, text: Option<&str>) {
    if let Some(text) = text {
        out.extend_from_slice(b"<DESCRIPTION>");
        append_escaped(out, text);
        out.extend_from_slice(b"</DESCRIPTION>");
    }
}

fn append_attribute(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        append_escaped(out, value);
        out.push(b'"');
    }
}

/// The coordinate and time systems that columns refer to, each once.
struct Systems<'a>(Vec<System<'a>>);

#[derive(PartialEq, Eq)]
enum System<'a> {
    Space {
        system: &'a str,
        equinox: Option<&'a str>,
        epoch: Option<&'a str>,
    },
    Time {
        timescale: &'a str,
        refposition: &'a str,
        timeorigin: Option<&'a str>,
    },
}

impl<'a> System<'a> {
    fn of(column: &'a Field) -> Option<Self> {
        let get = |key| meta::of_column(column, key);
        if let Some(system) = get(meta::COOSYS) {
            return Some(Self::Space {
                system,
                equinox: get(meta::EQUINOX),
                epoch: get(meta::EPOCH),
            });
        }
        get(meta::TIMESCALE).map(|timescale| Self::Time {
            timescale,
            refposition: get(meta::REFPOSITION).unwrap_or("UNKNOWN"),
            timeorigin: get(meta::TIMEORIGIN),
        })
    }
}

impl<'a> Systems<'a> {
    fn of(schema: &'a Schema) -> Self {
        let mut systems = Vec::new();
        for system in schema
            .fields()
            .iter()
            .filter_map(|column| System::of(column))
        {
            if !systems.contains(&system) {
                systems.push(system);
            }
        }
        Self(systems)
    }

    fn reference(&self, column: &Field) -> Option<String> {
        let own = System::of(column)?;
        let place = self.0.iter().position(|system| *system == own)?;
        Some(id(place))
    }

    fn append(&self, out: &mut Vec<u8>) {
        for (place, system) in self.0.iter().enumerate() {
            match system {
                System::Space {
                    system,
                    equinox,
                    epoch,
                } => {
                    out.extend_from_slice(b"<COOSYS");
                    append_attribute(out, "ID", Some(&id(place)));
                    append_attribute(out, "system", Some(system));
                    append_attribute(out, "equinox", *equinox);
                    append_attribute(out, "epoch", *epoch);
                }
                System::Time {
                    timescale,
                    refposition,
                    timeorigin,
                } => {
                    out.extend_from_slice(b"<TIMESYS");
                    append_attribute(out, "ID", Some(&id(place)));
                    append_attribute(out, "timescale", Some(timescale));
                    append_attribute(out, "refposition", Some(refposition));
                    append_attribute(out, "timeorigin", *timeorigin);
                }
            }
            out.extend_from_slice(b"/>\n");
        }
    }
}

fn id(place: usize) -> String {
    format!("system_{place}")
}

/// Appends a text for an element or an attribute: what XML takes for markup is escaped, and line
/// breaks of attributes with it, which a reader would fold. What XML 1.0 has no place for becomes
/// U+FFFD (XML 1.0, 2.2).
pub(super) fn append_escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\t' => out.extend_from_slice(b"&#9;"),
            '\n' => out.extend_from_slice(b"&#10;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
            _ => {
                let mut utf8 = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
}
