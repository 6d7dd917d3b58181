//! Which field of a head stands first on HTTP/1.1: the one that says where the body ends.
//!
//! curl 7.88, wget 1.21.3, Python's urllib and Chromium 156 take a head that a FIN cuts for a complete
//! one. Without `Content-Length` or `Transfer-Encoding` the body ends with the connection (RFC 9112,
//! 6.3), so they save an empty file as a complete one. Behind such a field, a cut is a failure for all of
//! them but Chromium.
//! hyper writes its own fields behind all others. `connection.rs` asks here for each response.

use std::mem;

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Response, StatusCode, Version, header},
};

/// Puts the field that frames the body before all others, and adds it if hyper would. Changes nothing of
/// what has no body, nor of other versions.
pub(crate) fn first(
    mut response: Response<Body>,
    version: Version,
    method: &Method,
) -> Response<Body> {
    let status = response.status();
    let has_no_body = method == Method::HEAD
        || method == Method::CONNECT
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if version != Version::HTTP_11 || has_no_body {
        return response;
    }
    let exact = response.body().size_hint().exact();
    let headers = response.headers_mut();
    let length = headers.remove(header::CONTENT_LENGTH);
    let (name, value) = match length.or_else(|| exact.map(HeaderValue::from)) {
        Some(length) => (header::CONTENT_LENGTH, length),
        None => (
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        ),
    };
    let others = mem::take(headers);
    headers.insert(name, value);
    let mut last = None;
    for (name, value) in others {
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name, value);
        }
    }
    response
}
