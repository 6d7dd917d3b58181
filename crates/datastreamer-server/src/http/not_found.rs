//! The page that a browser gets at an address where there is nothing, with the way to the files.
//! Programs get the problem itself (RFC 9457).
//!
//! Called by `respond.rs` around all requests.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, StatusCode},
    middleware::Next,
};
use datastreamer_http::Problem;
use maud::html;

use super::{page, receipts::prefers_html};

const TITLE: &str = "There is nothing here";

/// Makes a page of the problem of a wrong address, for clients that prefer one.
pub(super) async fn show(request: Request, next: Next) -> Response<Body> {
    if !prefers_html(request.headers()) {
        return next.run(request).await;
    }
    let index = index_from(request.uri().path());
    let mut response = next.run(request).await;
    let problem = response.extensions().get::<Problem>();
    if let Some(problem) = problem.filter(|problem| problem.status == StatusCode::NOT_FOUND) {
        let main = html! {
            h1 { (TITLE) }
            p role="alert" { (problem.detail) }
            p { a href=(index) { "all files" } }
        };
        let page = page::frame(TITLE, html! {}, main);
        let headers = page::headers();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        page::replace(&mut response, page, headers);
    }
    response
}

/// Returns the way from a path to the index. It is relative: a proxy may have put all of this server
/// below a path.
fn index_from(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        folders => "../".repeat(folders - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_index_is_relative() {
        for (path, way) in [
            ("/nothing.csv", "./"),
            ("/", "./"),
            ("/photos/", "../"),
            ("/photos/2026/one.jpg", "../../"),
        ] {
            assert_eq!(index_from(path), way, "{path}");
        }
    }
}
