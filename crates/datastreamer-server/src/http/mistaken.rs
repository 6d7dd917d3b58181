//! The page that a browser gets where a table's page is refused: what is wrong, and the form of the
//! filter as it was filled in. Programs get the problem itself (RFC 9457).
//!
//! Called by `respond.rs` around all requests; `sources/rows/form.rs` has the form.

use axum::{
    body::Body,
    extract::Request,
    http::{Response, StatusCode},
    middleware::Next,
};
use datastreamer_http::Problem;
use maud::html;

use super::{page, receipts::prefers_html};
use crate::sources::rows::{
    Format,
    form::{FORM, OPERATORS, form, has_breaks},
    names_format,
};

/// What somebody has typed may be the cause of these.
const MISTAKES: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
/// The suffix of the pages of tables.
const SUFFIX: &str = ".html";

/// Leads out of a refusal for too many rows.
const FIRST_ROWS: &str = "?limit=100";

/// Makes a page of the problem of a table's page, for clients that prefer one.
pub(super) async fn show(request: Request, next: Next) -> Response<Body> {
    if !prefers_html(request.headers()) {
        return next.run(request).await;
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let asked: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if !asks_for_page(uri.path(), &asked) {
        return next.run(request).await;
    }
    let mut response = next.run(request).await;
    let problem = response.extensions().get::<Problem>();
    let Some(problem) = problem.filter(|problem| MISTAKES.contains(&problem.status)) else {
        return response;
    };
    let page = page_of(&problem.detail, &asked);
    page::replace(&mut response, page, page::headers_of_form());
    response
}

/// Returns whether a client that prefers HTML asks for a page, not for a file to keep: the parameter of the
/// format goes before the suffix.
fn asks_for_page(path: &str, asked: &[(String, String)]) -> bool {
    let mut formats = asked.iter().filter(|(name, _)| names_format(name));
    match formats.next() {
        Some((_, format)) => Format::parse(format) == Some(Format::Html),
        None => {
            let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
            name.ends_with(SUFFIX) || !name.contains('.')
        }
    }
}

fn page_of(detail: &str, asked: &[(String, String)]) -> String {
    let is_of_form = |name: &str| FORM.contains(&name);
    let typed = FORM.map(|field| {
        let mut named = asked.iter().filter(|(name, _)| name == field);
        named.next().map_or("", |(_, value)| value.as_str())
    });
    let others: Vec<_> = asked.iter().filter(|(name, _)| !is_of_form(name)).collect();
    // A form would send them as others.
    let is_changed = asked
        .iter()
        .any(|(name, value)| has_breaks(name) || has_breaks(value));
    let has_form = others.len() < asked.len() && !is_changed;
    let mut back = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
    back.extend_pairs(others.iter().map(|(name, value)| (name, value)));
    let [typed_column, typed_operator, typed_value] = typed;
    let column = html! { input type="text" name=(FORM[0]) value=(typed_column) size="16"; };
    let typed = Some((typed_operator, typed_value));
    let main = html! {
        h1 { "This cannot be shown" }
        p role="alert" { (detail) }
        @if has_form {
            (form(others.into_iter(), &column, OPERATORS.iter(), typed))
            p { a href=(back.finish()) rel="nofollow" { "back to the rows" } }
        } @else {
            p {
                @if !asked.is_empty() {
                    a href="?" rel="nofollow" { "all rows" } " · "
                }
                a href=(FIRST_ROWS) rel="nofollow" { "the first 100 rows" } " · "
                a href="./" { "all files" }
            }
        }
    };
    page::frame("This cannot be shown", html! {}, main)
}
