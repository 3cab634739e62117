//! The body of an answer of Cinder's. Who reads it moves the connection that it comes over; when it has ended, that is kept for the next request.

use super::pool::{Lease, Pool};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A body as it comes.
#[derive(Debug)]
pub(crate) struct CinderBody {
    inner: Incoming,
    /// `None`: it has ended, and the connection serves others. A body that is dropped before takes its connection with it.
    lease: Option<Lease>,
    pool: Pool,
}

impl CinderBody {
    pub(super) fn new(inner: Incoming, lease: Lease, pool: &Pool) -> Self {
        let mut body = Self {
            inner,
            lease: Some(lease),
            pool: pool.clone(),
        };
        body.settle();
        body
    }

    /// Gives the connection back once nothing of this body is to come.
    fn settle(&mut self) {
        if self.inner.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            self.pool.returns(lease);
        }
    }
}

impl Body for CinderBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.inner).poll_frame(cx);
        if frame.is_pending()
            && let Some(lease) = &mut this.lease
        {
            lease.link.turn(cx);
            frame = Pin::new(&mut this.inner).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    this.pool.returns(lease);
                }
            }
            Poll::Ready(Some(_)) => this.settle(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
