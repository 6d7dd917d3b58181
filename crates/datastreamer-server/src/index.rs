//! The index page: what there is, and how to get it.

use std::fmt::Write;

use indicatif::HumanBytes;

use crate::{
    routes::{Route, RouteTable, suffixes},
    sources::ShownColumn,
};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6572;--line:#d9dee5;--card:#fff;--page:#f5f7f9;--mark:#0b66c3}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa5b1;--line:#30363d;--card:#161b22;--page:#0d1117;--mark:#6cb6ff}}\
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:52rem;margin:0 auto;padding:2.5rem 1.25rem}h1{font-size:1.6rem;margin:0}\
p{margin:.35rem 0 1.5rem;color:var(--soft)}ul{list-style:none;margin:0;padding:0}\
li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem;margin:0 0 1rem}\
a{color:var(--mark);text-decoration:none}a:hover{text-decoration:underline}li>a{font-size:1.15rem;font-weight:600}\
.hint{color:var(--soft);margin:.15rem 0 .6rem}code{display:block;overflow-x:auto;white-space:pre;\
background:var(--page);border-radius:6px;padding:.5rem .75rem;font:.85rem/1.5 ui-monospace,monospace}\
details{margin-top:.6rem;overflow-x:auto}summary{color:var(--soft);cursor:pointer}\
table{border-collapse:collapse;font-size:.9rem;margin-top:.4rem}\
th,td{text-align:left;padding:.15rem .9rem .15rem 0;border-bottom:1px solid var(--line)}\
footer{color:var(--soft);font-size:.9rem;margin-top:2rem}";

/// Makes the page; `host` is how the client names this server, `last_bytes` what a file had when
/// it was last sent.
pub(crate) fn page(
    routes: &RouteTable,
    host: &str,
    last_bytes: impl Fn(&str) -> Option<u64>,
) -> String {
    let host = escape(host);
    let mut items = String::new();
    for (file_name, route) in routes.iter() {
        push_item(&mut items, file_name, route, &host, last_bytes(file_name));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>datastreamer</title><style>{STYLE}</style></head>\n<body><main>\
         <h1>Files, made as you ask</h1>\
         <p>Each is produced while you download it. A download that ends without an error is \
         whole.</p>\n<ul>\n{items}</ul>\n\
         <footer><a href=\"/transfers\">transfers</a> · <a href=\"/healthz\">health</a> · \
         datastreamer {}</footer></main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn push_item(
    items: &mut String,
    file_name: &str,
    route: &Route,
    host: &str,
    last_bytes: Option<u64>,
) {
    let name = escape(file_name);
    let link = escape(&format!(
        "{}{}",
        encode(file_name),
        route.source.example_query()
    ));
    let hint = match &route.description {
        Some(description) => format!("{} · ", escape(description)),
        None => String::new(),
    };
    let size = match last_bytes.filter(|_| !route.source.is_as_long_as_asked()) {
        Some(bytes) => format!("{} the last time", HumanBytes(bytes)),
        None => route.source.size_hint().to_owned(),
    };
    let kind = match route.gives_rows() {
        true => format!("as {}", forms(route)),
        false => escape(route.media_type()),
    };
    let columns = columns(&route.source.columns());
    // Writing to a String cannot fail.
    let _ = writeln!(
        items,
        "<li><a href=\"/{link}\">{name}</a><div class=\"hint\">{hint}{size} · {kind}</div>\
         <code>curl -fOJ 'http://{host}/{link}'</code>{columns}</li>",
    );
}

/// Links to a table in each format.
fn forms(route: &Route) -> String {
    let query = escape(&route.source.example_query());
    let name = escape(&encode(route.name()));
    let link = |suffix| format!("<a href=\"/{name}.{suffix}{query}\">{suffix}</a>");
    suffixes().map(link).collect::<Vec<_>>().join(" ")
}

/// What a table's columns are.
fn columns(columns: &[ShownColumn]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for column in columns {
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&column.name),
            escape(&column.data_type),
            escape(&column.unit),
            escape(&column.description),
        );
    }
    format!(
        "<details><summary>{} columns</summary><table><thead><tr><th>name</th><th>type</th>\
         <th>unit</th><th>description</th></tr></thead><tbody>{rows}</tbody></table></details>",
        columns.len()
    )
}

/// Percent-encodes what a path segment cannot hold, quotes included, for the shell's sake.
pub(crate) fn encode(file_name: &str) -> String {
    const SEGMENT: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(file_name, &SEGMENT).to_string()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
