//! One connection to Cinder, and who moves it.
//!
//! ```text
//!   asked ── moved by the request that has it ── answered ── moved by who reads the answer's body ── kept: moved by nobody
//!                                             └─ before the request was sent to its end: by a task of its own from then on
//! ```
//!
//! A connection of hyper's goes on only while somebody polls it. A task of its own for each would wake, and be woken by, the task that has the
//! client's for every piece; a request and its answer move it themselves. What Cinder does to a connection that is kept is seen when
//! it is taken up again.

use crate::body::RequestBody;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

/// The connection itself, whatever it runs over.
pub(super) type Wire = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

enum Moved {
    /// By who has it.
    Here(Wire),
    /// By a task.
    Apart,
    /// It has ended.
    Over,
}

impl Moved {
    fn turn(&mut self, cx: &mut Context<'_>) {
        if let Self::Here(wire) = self
            && let Poll::Ready(ended) = wire.as_mut().poll(cx)
        {
            *self = Self::Over;
            told(ended);
        }
    }
}

/// A connection.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    moved: Moved,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(sender: SendRequest<RequestBody>, wire: Wire) -> Self {
        Self {
            sender,
            moved: Moved::Here(wire),
        }
    }

    /// One that a test moves.
    #[cfg(test)]
    pub(super) fn moved_elsewhere(sender: SendRequest<RequestBody>) -> Self {
        Self {
            sender,
            moved: Moved::Apart,
        }
    }

    /// Lets it write and read what it can, and see that it has ended.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) {
        self.moved.turn(cx);
    }

    /// From now on a task moves it: what it still has to write is not to wait for somebody who reads.
    pub(super) fn apart(&mut self) {
        match std::mem::replace(&mut self.moved, Moved::Apart) {
            Moved::Here(wire) => {
                tokio::spawn(async move { told(wire.await) });
            }
            Moved::Apart => {}
            Moved::Over => self.moved = Moved::Over,
        }
    }

    /// Whether it takes a request. What happened to it since it was last moved is seen by this.
    pub(super) fn is_good(&mut self) -> bool {
        self.turn(&mut Context::from_waker(Waker::noop()));
        self.is_ready()
    }

    pub(super) fn is_ready(&self) -> bool {
        match self.moved {
            Moved::Here(_) | Moved::Apart => self.sender.is_ready(),
            Moved::Over => false,
        }
    }

    /// Whether it has ended, as far as was seen by who moved it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.moved, Moved::Over)
    }

    /// Waits until it takes the next request; `false` where it ends before.
    pub(super) async fn ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.turn(cx);
            let ready = ready!(self.sender.poll_ready(cx)).is_ok();
            Poll::Ready(ready && !self.is_over())
        })
        .await
    }

    /// Sends a request, and moves it until the head of the answer is there.
    pub(super) async fn ask(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let mut sending = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.moved.turn(cx);
            sending.as_mut().poll(cx)
        })
        .await
    }
}

/// Errors come out at the sender too.
fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to Cinder ended badly");
    }
}
