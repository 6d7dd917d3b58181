//! Metadata of columns from VOTables without data.

use std::collections::HashMap;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int32Array},
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use datastreamer_rows::stars::Stars;
use datastreamer_table::votable_head::VotableHead;
use datastreamer_table::{
    TableEnd, TableWriter, meta,
    votable::{VotableOptions, VotableWriter},
};

const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
 <RESOURCE type="results">
  <DESCRIPTION>of the resource</DESCRIPTION>
  <COOSYS ID="sys" system="ICRS" epoch="J2016.0"/>
  <TIMESYS ID="time" timescale="TCB" refposition="BARYCENTER" timeorigin="MJD-origin"/>
  <TABLE name="main">
   <DESCRIPTION>A &lt;table&gt;
     over lines</DESCRIPTION>
   <FIELD name="ra" datatype="double" unit="deg" ucd="pos.eq.ra" utype="a:b" xtype="x" ref="sys">
    <DESCRIPTION><![CDATA[R & A]]></DESCRIPTION>
   </FIELD>
   <FIELD name="t" datatype="double" unit="d" ref="time" ucd=""/>
   <FIELD name="matrix" datatype="int" arraysize="3x2"/>
   <FIELD name="names" datatype="char" arraysize="8x2"/>
   <FIELD name="n" datatype="int"><VALUES null="-1"/></FIELD>
   <FIELD name="n" datatype="int" unit="m"/>
   <FIELD ID="nameless" datatype="int" unit="m"/>
   <DATA><PARQUET/></DATA>
  </TABLE>
  <TABLE name="second"><FIELD name="ra" unit="rad"/></TABLE>
 </RESOURCE>
</VOTABLE>"#;

#[test]
fn everything_that_a_field_says_reaches_its_column() {
    let column = |name| Field::new(name, DataType::Float64, true);
    let kept = column("t").with_metadata(HashMap::from(
        [(meta::UCD, "time"), (meta::UNIT, "h")]
            .map(|(key, text)| (key.to_owned(), text.to_owned())),
    ));
    let schema = Schema::new(vec![
        column("n"),
        kept,
        column("ra"),
        column("other"),
        column("matrix"),
        column("names"),
    ]);
    let head = VotableHead::parse(DOCUMENT).unwrap();
    let schema = head.apply(&schema);
    let get = |name: &str, key| {
        let field = schema.field_with_name(name).unwrap();
        meta::of_column(field, key)
    };
    for (key, text) in [
        (meta::UNIT, "deg"),
        (meta::UCD, "pos.eq.ra"),
        (meta::UTYPE, "a:b"),
        (meta::XTYPE, "x"),
        (meta::DESCRIPTION, "R & A"),
        (meta::COOSYS, "ICRS"),
        (meta::EPOCH, "J2016.0"),
    ] {
        assert_eq!(get("ra", key), Some(text));
    }
    assert_eq!(get("t", meta::TIMESCALE), Some("TCB"));
    assert_eq!(get("t", meta::REFPOSITION), Some("BARYCENTER"));
    assert_eq!(get("t", meta::TIMEORIGIN), Some("2400000.5"));
    assert_eq!(get("t", meta::UNIT), Some("d"), "the document counts");
    assert_eq!(get("t", meta::UCD), Some("time"), "it says nothing there");
    assert_eq!(get("matrix", meta::SHAPE), Some("(3,2)"));
    assert_eq!(get("names", meta::SHAPE), None, "the first is of letters");
    assert_eq!(get("n", meta::NULL), Some("-1"));
    assert_eq!(get("n", meta::UNIT), None, "the first of a name counts");
    assert!(schema.field(3).metadata().is_empty());
    assert_eq!(meta::of_table(&schema, meta::NAME), Some("main"));
    assert_eq!(
        meta::of_table(&schema, meta::DESCRIPTION),
        Some("A <table> over lines")
    );
}

#[test]
fn what_our_own_votables_say_comes_back() {
    let stars = Stars::new(0);
    let schema = arrow::record_batch::RecordBatchReader::schema(&stars);
    let mut file = Vec::new();
    let writer = VotableWriter::new(&mut file, Arc::clone(&schema), VotableOptions::default());
    Box::new(writer.unwrap())
        .finish(TableEnd::Complete)
        .unwrap();
    let head = VotableHead::parse(std::str::from_utf8(&file).unwrap()).unwrap();
    let bare: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
        .collect();
    let found = head.apply(&Schema::new(bare));
    for (found, own) in found.fields().iter().zip(schema.fields()) {
        let mut own = own.metadata().clone();
        // Said by the datatype, and added by the type.
        own.remove(meta::CHARSET);
        let mut found = found.metadata().clone();
        found.remove(meta::XTYPE);
        assert_eq!(found, own);
    }
    assert_eq!(found.metadata(), schema.metadata());
}

#[test]
fn an_equinox_stays_with_its_system_through_a_votable() {
    let known = [
        (meta::UCD, "pos.eq.ra"),
        (meta::COOSYS, "FK5"),
        (meta::EQUINOX, "J1975.0"),
    ];
    let known: HashMap<_, _> = known
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .into();
    let column = Field::new("ra", DataType::Float64, true);
    let dressed = Schema::new(vec![column.clone().with_metadata(known)]);
    let mut file = Vec::new();
    let writer = VotableWriter::new(&mut file, Arc::new(dressed.clone()), Default::default());
    Box::new(writer.unwrap())
        .finish(TableEnd::Complete)
        .unwrap();
    let head = VotableHead::parse(std::str::from_utf8(&file).unwrap()).unwrap();
    assert_eq!(head.apply(&Schema::new(vec![column])), dressed);
}

#[test]
fn what_is_no_votable_is_an_error_that_says_where() {
    let refused = |text: &str| VotableHead::parse(text).unwrap_err().to_string();
    let unclosed = refused("<VOTABLE>\n  <TABLE>\n</VOTABLE>");
    assert!(unclosed.contains("3:1"), "{unclosed}");
    assert_eq!(
        refused("<VOTABLE/>"),
        "the VOTable of the metadata: it has no TABLE"
    );
    let dtd = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><TABLE name='&x;'/>";
    assert!(refused(dtd).contains("DTD"), "{}", refused(dtd));
    assert!(!refused("").is_empty());
    assert!(refused(&" ".repeat((16 << 20) + 1)).contains("are the most"));
    let many = format!("<TABLE>{}</TABLE>", "<A/>".repeat(1_000_001));
    assert!(refused(&many).contains("limit"), "{}", refused(&many));
}

#[test]
fn a_document_nested_deeply_does_not_overflow_the_stack() {
    let depth = 400_000;
    let deep = format!(
        "<TABLE>{}{}</TABLE>",
        "<A>".repeat(depth),
        "</A>".repeat(depth)
    );
    assert!(VotableHead::parse(&deep).is_ok());
    let described = format!(
        "<TABLE><DESCRIPTION>{}x{}</DESCRIPTION></TABLE>",
        "<A>".repeat(depth),
        "</A>".repeat(depth)
    );
    let head = VotableHead::parse(&described).unwrap();
    assert_eq!(head.table().get(meta::DESCRIPTION).unwrap(), "x");
}

#[test]
fn applied_metadata_leaves_the_values_as_they_are() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ra", Arc::new(Float64Array::from(vec![1.5]))),
        ("n", Arc::new(Int32Array::from(vec![7]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema = VotableHead::parse(DOCUMENT).unwrap().apply(&batch.schema());
    assert!(batch.with_schema(Arc::new(schema)).is_ok());
}
