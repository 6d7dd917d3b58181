//! Async sources: polled by the reader, in the consumer's context, without a thread and without a
//! queue.
//!
//! Small items are gathered into chunks and large items are split. Gathered bytes are delivered as
//! soon as the source is pending. Record, pause, stop, length and failures work as for every other
//! stream.

use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use crate::{
    error::{Error, ErrorKind},
    queue::End,
    stream_core::StreamCore,
};

type Items = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

pub(crate) struct Pulled {
    /// `None` once the source has ended.
    items: Option<Items>,
    /// Small items, gathered; less than one chunk.
    gathered: BytesMut,
    /// The rest of a large item.
    large: Bytes,
    written: u64,
}

impl Pulled {
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, reason = "the span is the core's")
    )]
    pub(crate) fn new<S, E>(core: &StreamCore, source: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        Self {
            items: Some(Box::pin(OwnErrors {
                source: Box::pin(source),
                #[cfg(feature = "tracing")]
                span: core.span(),
            })),
            gathered: BytesMut::new(),
            large: Bytes::new(),
            written: 0,
        }
    }

    pub(crate) fn poll_chunk(
        &mut self,
        core: &Arc<StreamCore>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        // The queue stays empty. It only reports pause, stop and the end, and keeps the waker.
        if let Poll::Ready(end) = core.queue.poll_pop(cx) {
            if self.items.is_some() {
                // The stream was stopped: end the source now, not when the reader is dropped.
                self.dismiss(core);
            }
            return Poll::Ready(end);
        }
        if core.queue.is_paused() || !core.source_has_started() {
            return Poll::Pending;
        }
        match ready!(self.poll_gather(core.settings.chunk.base, cx)) {
            Ok(Some(chunk)) => match self.check_length(core, chunk.len()) {
                Ok(()) => {
                    core.queue.count_direct(chunk.len());
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Err(error) => self.end(core, Err(error)),
            },
            Ok(None) => {
                let verdict = core.check_length(self.written);
                self.end(core, verdict);
            }
            Err(error) => self.end(core, Err(error)),
        }
        core.queue.poll_pop(cx)
    }

    /// Gathers up to one chunk; an error follows the bytes gathered before it.
    fn poll_gather(
        &mut self,
        chunk_bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if self.gathered.len() >= chunk_bytes {
                return Poll::Ready(Ok(Some(self.gathered.split_to(chunk_bytes).freeze())));
            }
            if !self.large.is_empty() {
                let bytes = self.large.len().min(chunk_bytes);
                return Poll::Ready(Ok(Some(self.large.split_to(bytes))));
            }
            let Some(items) = &mut self.items else {
                return Poll::Ready(Ok(self.take_gathered()));
            };
            let polled = catch_unwind(AssertUnwindSafe(|| items.as_mut().poll_next(cx)))
                .unwrap_or_else(|payload| {
                    Poll::Ready(Some(Err(Error::source_panicked(payload.as_ref()))))
                });
            match polled {
                Poll::Ready(Some(Ok(item))) if item.len() < chunk_bytes / 4 => {
                    self.gathered.extend_from_slice(&item);
                }
                Poll::Ready(Some(Ok(item))) => {
                    self.large = item;
                    if let Some(before) = self.take_gathered() {
                        return Poll::Ready(Ok(Some(before)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let before = self.take_gathered();
                    self.items = before.is_some().then(|| fails_with(error.clone()));
                    return Poll::Ready(before.map_or(Err(error), |bytes| Ok(Some(bytes))));
                }
                Poll::Ready(None) => self.items = None,
                Poll::Pending => {
                    return match self.take_gathered() {
                        Some(bytes) => Poll::Ready(Ok(Some(bytes))),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }

    fn take_gathered(&mut self) -> Option<Bytes> {
        (!self.gathered.is_empty()).then(|| self.gathered.split().freeze())
    }

    fn check_length(&mut self, core: &StreamCore, bytes: usize) -> Result<(), Error> {
        self.written += bytes as u64;
        match core.length() {
            Some(length) if self.written > length => Err(Error::new(
                ErrorKind::LengthMismatch,
                format!("more than the promised {length} bytes"),
            )),
            _ => Ok(()),
        }
    }

    fn end(&mut self, core: &StreamCore, verdict: Result<(), Error>) {
        self.items = None;
        core.end_source(match verdict {
            Ok(()) => End::Finish,
            Err(error) => End::Abort(error),
        });
    }

    /// Drops the source and ends the source's side of the stream.
    pub(crate) fn dismiss(&mut self, core: &StreamCore) {
        self.end(core, Err(Error::of_kind(ErrorKind::HangUp)));
    }
}

fn fails_with(error: Error) -> Items {
    Box::pin(Failed(Some(error)))
}

/// Yields one error.
struct Failed(Option<Error>);

impl Stream for Failed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

/// Converts the source's errors into [`Error`] and polls the source in the stream's span.
struct OwnErrors<S> {
    source: Pin<Box<S>>,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl<S, E> Stream for OwnErrors<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        #[cfg(feature = "tracing")]
        let _entered = this.span.enter();
        this.source
            .as_mut()
            .poll_next(cx)
            .map(|item| item.map(|result| result.map_err(Error::source_failed)))
    }
}
