//! A body that keeps a value for as long as it exists: a request counts as open until its response has
//! been sent or dropped. Knows nothing about streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

/// A body, and a value that is dropped with it.
///
/// ```
/// use datastreamer_http::{DownloadBody, HoldingBody};
/// use http_body::Body;
///
/// let permit = std::sync::Arc::new(());
/// let body = HoldingBody::new(DownloadBody::from("a page".to_owned()), permit.clone());
/// assert_eq!(body.size_hint().exact(), Some(6));
/// assert_eq!(std::sync::Arc::strong_count(&permit), 2);
/// drop(body);
/// assert_eq!(std::sync::Arc::strong_count(&permit), 1);
/// ```
#[derive(Debug)]
pub struct HoldingBody<B, T> {
    body: B,
    _held: T,
}

impl<B, T> HoldingBody<B, T> {
    /// Makes a body that keeps a value.
    pub fn new(body: B, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<B: Body + Unpin, T: Unpin> Body for HoldingBody<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
