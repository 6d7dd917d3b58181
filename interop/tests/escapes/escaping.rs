//! What each encoder escapes, read back by a parser that nobody here wrote: the bodies of the fuzz
//! targets in `fuzz/`, which the tests in `escapes.rs` run as well. They panic where what was read
//! is not what was written.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BinaryArray, Int32Array, StringArray},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use base64::Engine as _;
use datastreamer_table::{
    TableEnd, TableWriter,
    csv::{CsvWriter, Delimiter},
    fits::{FitsShape, FitsWriter},
    html::HtmlWriter,
    json::{Framing, JsonWriter},
    meta,
    votable::{Serialization, VotableOptions, VotableWriter},
};
use roxmltree::{Document, Node};

/// Texts, of which some are null.
pub(crate) type Texts = Vec<Option<String>>;

/// TABLEDATA's texts, as roxmltree reads them.
pub(crate) fn tabledata(texts: &Texts) {
    let file = votable(&with_numbers("text", texts), Serialization::Tabledata);
    let file = String::from_utf8(file).unwrap();
    let document = Document::parse(&file).unwrap();
    let rows: Vec<_> = elements(&document, "TR").collect();
    assert_eq!(rows.len(), texts.len());
    let mut replaced = 0;
    for (place, (row, text)) in rows.iter().zip(texts).enumerate() {
        let cells: Vec<_> = row.children().map(all_text).collect();
        let written = text.as_deref().unwrap_or_default();
        assert_eq!(cells, [in_xml(written), place.to_string()]);
        replaced += written.chars().filter(|it| !is_of_xml(*it)).count();
    }
    let warning = elements(&document, "INFO").find(|it| it.attribute("name") == Some("warning"));
    let told = warning.map(|it| it.attribute("value").unwrap().to_owned());
    let count = told.map(|told| told.split(' ').next().unwrap().parse().unwrap());
    assert_eq!(count.unwrap_or(0), replaced);
}

/// The texts of a VOTable's head, as roxmltree reads them: table and column have each of them in
/// each place.
pub(crate) fn votable_head(text: &str) {
    let attributes = [
        ("unit", meta::UNIT),
        ("ucd", meta::UCD),
        ("utype", meta::UTYPE),
        ("xtype", meta::XTYPE),
    ];
    let in_field = attributes.iter().map(|(_, key)| (*key).to_owned());
    let in_field = in_field
        .chain([meta::DESCRIPTION.to_owned(), meta::COOSYS.to_owned()])
        .map(|key| (key, text.to_owned()));
    let field =
        Field::new(text, DataType::Int32, false).with_metadata(in_field.collect::<HashMap<_, _>>());
    let in_table = [meta::NAME, meta::DESCRIPTION].map(|key| (key.to_owned(), text.to_owned()));
    let schema = Schema::new_with_metadata(vec![field], HashMap::from(in_table));
    let file = votable(
        &RecordBatch::new_empty(Arc::new(schema)),
        Serialization::Binary2,
    );
    let file = String::from_utf8(file).unwrap();
    let document = Document::parse(&file).unwrap();
    let (table, field) = (first(&document, "TABLE"), first(&document, "FIELD"));
    let (expected, name) = (in_xml(text), in_xml(&name_of_first_column(text)));
    assert_eq!(field.attribute("name"), Some(name.as_str()));
    if text.is_empty() {
        return;
    }
    assert_eq!(table.attribute("name"), Some(expected.as_str()));
    assert_eq!(
        first(&document, "COOSYS").attribute("system"),
        Some(expected.as_str())
    );
    for (attribute, _) in attributes {
        assert_eq!(field.attribute(attribute), Some(expected.as_str()));
    }
    let descriptions: Vec<_> = elements(&document, "DESCRIPTION").map(all_text).collect();
    assert_eq!(descriptions, [expected.as_str(), expected.as_str()]);
}

/// CSV's texts, as the crate csv reads them. The first is a column's name.
pub(crate) fn csv(name: &str, texts: &Texts) {
    let file = separated(&with_numbers(name, texts), Delimiter::Comma);
    let mut reader = csv::ReaderBuilder::new().from_reader(file.as_slice());
    assert_eq!(&reader.headers().unwrap()[0], name);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), texts.len());
    for (place, (record, text)) in records.iter().zip(texts).enumerate() {
        let written = text.as_deref().unwrap_or_default();
        assert_eq!(record, &vec![written.to_owned(), place.to_string()]);
    }
}

/// TSV's texts, as the crate csv reads fields without quotes, unescaped.
pub(crate) fn tsv(name: &str, texts: &Texts) {
    if name.starts_with('\u{feff}') {
        let schema = with_numbers(name, texts).schema();
        let refused = CsvWriter::new(Vec::new(), schema, Delimiter::Tab);
        assert!(refused.is_err(), "read as a byte order mark");
        return;
    }
    let file = separated(&with_numbers(name, texts), Delimiter::Tab);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .quoting(false)
        .from_reader(file.as_slice());
    assert_eq!(unescaped(&reader.headers().unwrap()[0]), name);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), texts.len());
    for (place, (record, text)) in records.iter().zip(texts).enumerate() {
        let written = text.as_deref().unwrap_or_default();
        assert_eq!(unescaped(&record[0]), written);
        assert_eq!(record[1], place.to_string());
    }
}

/// JSON's strings, as serde_json reads them, in both framings. The first is a column's name.
pub(crate) fn json(name: &str, texts: &Texts) {
    let batch = with_numbers(name, texts);
    if name == "n" {
        let refused = JsonWriter::new(Vec::new(), batch.schema(), Framing::Lines);
        assert!(refused.is_err(), "two columns of one name");
        return;
    }
    let records = |framing| {
        let mut file = Vec::new();
        let mut writer = Box::new(JsonWriter::new(&mut file, batch.schema(), framing).unwrap());
        writer.write(&batch).unwrap();
        writer.finish(TableEnd::Complete).unwrap();
        String::from_utf8(file).unwrap()
    };
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let expected: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(place, text)| serde_json::json!({ name: text, "n": place }))
        .collect();
    let lines = records(Framing::Lines);
    assert_eq!(lines.lines().map(read).collect::<Vec<_>>(), expected);
    let array = read(&records(Framing::Array));
    assert_eq!(array, serde_json::Value::Array(expected));
}

/// The page's texts, as html5ever reads them. The first is what is said of table and column.
pub(crate) fn html(said: &str, texts: &Texts) {
    let batch = with_numbers(said, texts);
    let field = batch.schema().field(0).clone();
    let metadata = [meta::DESCRIPTION, meta::UNIT].map(|key| (key.to_owned(), said.to_owned()));
    let number = batch.schema().field(1).clone();
    let fields = vec![field.with_metadata(HashMap::from(metadata)), number];
    let metadata = [meta::NAME, meta::DESCRIPTION].map(|key| (key.to_owned(), said.to_owned()));
    let schema = Arc::new(Schema::new_with_metadata(fields, HashMap::from(metadata)));
    let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap();
    let mut file = Vec::new();
    let mut writer = Box::new(HtmlWriter::new(&mut file, schema, u64::MAX).unwrap());
    writer.write(&batch).unwrap();
    writer.finish(TableEnd::Complete).unwrap();
    let page = scraper::Html::parse_document(std::str::from_utf8(&file).unwrap());
    let all = |selector: &str| {
        let selector = scraper::Selector::parse(selector).unwrap();
        let elements: Vec<_> = page.select(&selector).collect();
        elements
    };
    let text_of = |element: &scraper::ElementRef<'_>| element.text().collect::<String>();
    // Nothing that was said is markup.
    assert_eq!(all("body > *").len(), if said.is_empty() { 3 } else { 4 });
    assert_eq!(all("script, img, a").len(), 0);
    let (rows, columns) = (all("tbody > tr"), all("th"));
    assert_eq!((rows.len(), columns.len()), (texts.len(), 2));
    if !said.is_empty() {
        assert_eq!(text_of(&all("h1")[0]), in_html(said));
        assert_eq!(columns[0].attr("title"), Some(in_html(said).as_str()));
        assert_eq!(text_of(&columns[0]), in_html(said).repeat(2));
    }
    let cells: Vec<_> = all("tbody > tr > td").iter().map(text_of).collect();
    let expected = texts.iter().enumerate().flat_map(|(place, text)| {
        let text = text.as_deref().unwrap_or_default();
        [in_html(text), place.to_string()]
    });
    assert_eq!(cells, expected.collect::<Vec<_>>());
}

/// BINARY's and BINARY2's base64, as the crate base64 reads it: lengths, masks, bytes and UTF-16.
pub(crate) fn binary(texts: &Texts) {
    let bytes = texts.iter().map(|text| text.as_deref().map(str::as_bytes));
    let batch = batch(vec![
        ("text", Arc::new(StringArray::from_iter(texts))),
        ("bytes", Arc::new(BinaryArray::from_iter(bytes))),
    ]);
    for serialization in [Serialization::Binary, Serialization::Binary2] {
        let file = String::from_utf8(votable(&batch, serialization)).unwrap();
        let document = Document::parse(&file).unwrap();
        let stream = all_text(first(&document, "STREAM"));
        let lines: Vec<_> = stream.trim_start().lines().collect();
        for line in lines.iter().rev().skip(1) {
            assert_eq!(line.len(), 76);
        }
        assert!(lines.last().is_none_or(|line| line.len() <= 76));
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(lines.concat())
            .unwrap();
        let mut rest = decoded.as_slice();
        for text in texts {
            if serialization == Serialization::Binary2 {
                let mask = if text.is_none() { 0b1100_0000 } else { 0 };
                assert_eq!(taken(&mut rest, 1), [mask]);
            }
            let written = text.as_deref().unwrap_or_default();
            let units = taken_length(&mut rest);
            let utf16 = taken(&mut rest, 2 * units).chunks_exact(2);
            let utf16: Vec<_> = utf16.map(|it| u16::from_be_bytes([it[0], it[1]])).collect();
            assert_eq!(String::from_utf16(&utf16).unwrap(), written);
            let length = taken_length(&mut rest);
            assert_eq!(taken(&mut rest, length), written.as_bytes());
        }
        assert_eq!(rest, [0; 0]);
    }
}

/// The texts of a FITS header, as fitskit reads cards. It (0.3) does not put together those that go
/// on for several, so that is done here.
pub(crate) fn fits_header(text: &str) {
    let printable: String = text.chars().map(in_fits).collect();
    // A column's name must be printable ASCII and fit a card even if all of it are quotes, or the
    // column is refused.
    let name: String = printable.chars().take(34).collect();
    let keys = [meta::UNIT, meta::UCD, meta::DESCRIPTION];
    let metadata = keys.map(|key| (key.to_owned(), text.to_owned()));
    let field = Field::new(&name, DataType::Int32, false);
    let schema = Arc::new(Schema::new(vec![
        field.with_metadata(HashMap::from(metadata)),
    ]));
    let shape = FitsShape::of_schema(Arc::clone(&schema), 0, &[])
        .unwrap()
        .unwrap();
    let mut file = Vec::new();
    let writer = Box::new(FitsWriter::new(&mut file, schema, shape).unwrap());
    writer.finish(TableEnd::Complete).unwrap();
    assert_eq!(file.len() % 2880, 0);

    let mut found: Vec<(String, String)> = Vec::new();
    let mut goes_on = false;
    for card in file.as_chunks::<80>().0 {
        // A text that goes on has no value indicator, without which fitskit reads no value.
        let mut card = *card;
        let is_more = card.starts_with(b"CONTINUE  ");
        if is_more {
            card[8] = b'=';
        }
        let keyword = fitskit::Keyword::parse(&card).unwrap();
        let Some(value) = keyword.value.as_ref().and_then(|value| value.as_str()) else {
            continue;
        };
        // It takes every `&` at the end for a mark that the text goes on.
        let raw = std::str::from_utf8(&card).unwrap().trim_end();
        let marked = raw.strip_suffix('\'').unwrap().trim_end().ends_with('&');
        match (is_more, found.last_mut()) {
            (true, Some((_, text))) if goes_on => text.push_str(value),
            (true, _) => panic!("nothing goes on: {raw}"),
            (false, Some((_, text))) if goes_on => {
                text.push('&');
                found.push((keyword.name, value.to_owned()));
            }
            (false, _) => found.push((keyword.name, value.to_owned())),
        }
        goes_on = marked;
    }
    if let (true, Some((_, text))) = (goes_on, found.last_mut()) {
        text.push('&');
    }
    let found: HashMap<_, _> = found.into_iter().collect();
    for (key, expected) in [
        ("TTYPE1", &name_of_first_column(&name)),
        ("TUNIT1", &printable),
        ("TUCD1", &printable),
        ("TCOMM1", &printable),
    ] {
        if !text.is_empty() {
            let read = found[key].trim_end_matches(' ');
            assert_eq!(read, expected.trim_end_matches(' '), "{key}");
        }
    }
}

/// A column whose name is blank gets one, where the format needs it.
fn name_of_first_column(name: &str) -> String {
    match name.trim() {
        "" => "column1".to_owned(),
        _ => name.to_owned(),
    }
}

/// A table of texts, and each row's number.
fn with_numbers(name: &str, texts: &Texts) -> RecordBatch {
    let numbers = Int32Array::from_iter_values(0..texts.len() as i32);
    batch(vec![
        (name, Arc::new(StringArray::from_iter(texts))),
        ("n", Arc::new(numbers)),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(schema, arrays).unwrap()
}

fn votable(batch: &RecordBatch, serialization: Serialization) -> Vec<u8> {
    let options = VotableOptions {
        serialization,
        ..VotableOptions::default()
    };
    let mut file = Vec::new();
    let mut writer = Box::new(VotableWriter::new(&mut file, batch.schema(), options).unwrap());
    writer.write(batch).unwrap();
    writer.finish(TableEnd::Complete).unwrap();
    file
}

fn separated(batch: &RecordBatch, delimiter: Delimiter) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Box::new(CsvWriter::new(&mut file, batch.schema(), delimiter).unwrap());
    writer.write(batch).unwrap();
    writer.finish(TableEnd::Complete).unwrap();
    file
}

/// XML 1.0, 2.2.
fn is_of_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        || character >= '\u{10000}'
}

fn in_xml(text: &str) -> String {
    let kept = |character| match is_of_xml(character) {
        true => character,
        false => '\u{fffd}',
    };
    text.chars().map(kept).collect()
}

/// Controls are shown as what they are not.
fn in_html(text: &str) -> String {
    let shown = |character: char| match character {
        '\t' | '\n' | '\r' => character,
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    text.chars().map(shown).collect()
}

fn in_fits(character: char) -> char {
    match character {
        ' '..='~' => character,
        _ => '?',
    }
}

fn elements<'a>(
    document: &'a Document<'a>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'a>> + 'a {
    document
        .descendants()
        .filter(move |node| node.tag_name().name() == name)
}

fn first<'a>(document: &'a Document<'a>, name: &'a str) -> Node<'a, 'a> {
    elements(document, name).next().unwrap()
}

fn all_text(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text);
    texts.filter_map(|node| node.text()).collect()
}

fn unescaped(field: &str) -> String {
    let mut out = String::new();
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('\\') => '\\',
                other => panic!("\\ before {other:?}"),
            },
            other => other,
        });
    }
    out
}

fn taken<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (now, later) = rest.split_at(count);
    *rest = later;
    now
}

fn taken_length(rest: &mut &[u8]) -> usize {
    u32::from_be_bytes(*taken(rest, 4).first_chunk().unwrap()) as usize
}
