//! The bodies of the fuzz targets, with texts of which most have something to be escaped.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod escaping;

use proptest::prelude::*;

use escaping::Texts;

/// Pieces that encoders and parsers stumble over.
const PIECES: [&str; 24] = [
    "",
    "a",
    "&",
    "<",
    ">",
    "\"",
    "'",
    "''",
    ",",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\n",
    "]]>",
    "&amp;",
    "\0",
    "\u{1f}",
    "\u{7f}",
    "\u{feff}",
    "\u{fffe}\u{ffff}",
    "\u{1f680}",
    " ",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "[ -~]{0,80}",
        1 => "\\PC{0,3}",
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn texts() -> impl Strategy<Value = Texts> {
    proptest::collection::vec(proptest::option::weighted(0.9, text()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tabledata_is_what_an_xml_parser_reads(texts in texts()) {
        escaping::tabledata(&texts);
    }

    #[test]
    fn a_votables_head_is_what_an_xml_parser_reads(text in text()) {
        escaping::votable_head(&text);
    }

    #[test]
    fn csv_is_what_the_crate_csv_reads(name in text(), texts in texts()) {
        escaping::csv(&name, &texts);
    }

    #[test]
    fn tsv_is_what_the_crate_csv_reads_without_quotes(name in text(), texts in texts()) {
        escaping::tsv(&name, &texts);
    }

    #[test]
    fn json_is_what_serde_json_reads(name in text(), texts in texts()) {
        escaping::json(&name, &texts);
    }

    #[test]
    fn html_is_what_html5ever_reads(said in text(), texts in texts()) {
        escaping::html(&said, &texts);
    }

    #[test]
    fn binary_is_what_the_crate_base64_reads(texts in texts()) {
        escaping::binary(&texts);
    }

    #[test]
    fn a_fits_header_is_what_fitskit_reads(text in text()) {
        escaping::fits_header(&text);
    }
}
