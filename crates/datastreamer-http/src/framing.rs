//! Which field of a head stands first on HTTP/1.1: the one that says where the body ends.
//!
//! The last step before hyper, which writes its own fields behind all others. `serve.rs` applies it to
//! each response; a server with a loop of its own calls it.

use std::mem;

use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::Body;

/// Puts the field that frames the body before all others of the head.
///
/// curl 7.88, wget 1.21.3, Python's urllib and Chromium 156 take a head that a FIN cuts for a complete
/// one. Without `Content-Length` or `Transfer-Encoding` the body ends with the connection (RFC 9112,
/// 6.3), so they save an empty file and report success. Behind such a field the cut is a failure for all
/// of them but Chromium.
///
/// `version` and `method` are those of the request. hyper adds the field at the end of a head that has
/// none; so it is added here: the exact length of the body if it is known, otherwise `chunked`. A
/// response without a body (to HEAD, 204, 304) and one of another version stay as they are.
/// [`Serve`](crate::Serve) (feature `axum`) applies it to each response.
///
/// ```
/// use http::{Method, Response, Version};
/// use http_body_util::Full;
///
/// let response = Response::builder()
///     .header("content-type", "text/csv")
///     .body(Full::new(bytes::Bytes::from_static(b"ra,dec\n")))
///     .unwrap();
/// let response = datastreamer_http::framing_first(response, Version::HTTP_11, &Method::GET);
/// let fields: Vec<_> = response.headers().keys().collect();
/// assert_eq!(fields, ["content-length", "content-type"]);
/// ```
pub fn framing_first<B: Body>(
    mut response: Response<B>,
    version: Version,
    method: &Method,
) -> Response<B> {
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
