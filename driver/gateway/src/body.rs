//! Bodies on their way through: never whole in memory, with a bound, and each knowing when it last moved.

use crate::{exchange::Exchange, upstream::CinderBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};

/// What is wrong with a client's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It is larger than so many bytes.
    TooLarge(u64),
    /// It broke off, or its chunks are none, or its client sends no more.
    Cut,
}

/// What is known of a body while it is sent.
#[derive(Debug, Clone, Copy)]
struct Moved {
    at: Instant,
    /// The client is asked for more, and has not sent it.
    awaited: bool,
    /// Nobody sends it any more: it is sent, or given up.
    over: bool,
    fault: Option<BodyFault>,
}

/// Looks at a body that somebody else sends.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<Moved>>);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Moved {
            at: Instant::now(),
            awaited: false,
            over: false,
            fault: None,
        })))
    }

    fn get(&self) -> Moved {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, fault: Option<BodyFault>) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moved.at = Instant::now();
        moved.awaited = false;
        moved.fault = moved.fault.or(fault);
    }

    fn awaits(&self) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moved.awaited = true;
    }

    /// When the last of it went. While more is to come of the client, it is the client's time that runs and no other's: now.
    pub(crate) fn last(&self) -> Instant {
        let moved = self.get();
        if moved.awaited {
            Instant::now()
        } else {
            moved.at
        }
    }

    /// Whether nothing of it is to be sent any more.
    pub(crate) fn is_over(&self) -> bool {
        self.get().over
    }

    fn ends(&self) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moved.over = true;
    }

    /// What became wrong with it.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.get().fault
    }
}

/// Something in the way of a body. Who sees it ends the connection: there is no other way to say that a message is not whole.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A client's body on its way to Cinder.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// What was read ahead, and goes first.
    first: Option<Bytes>,
    /// `None` is a request of the gateway's own, without a body.
    inner: Option<Incoming>,
    limit: u64,
    left: u64,
    /// All of it was read ahead.
    whole: bool,
    /// Its part of what bodies that are still to come may take. It is free when the body is sent, or given up.
    share: Option<OwnedSemaphorePermit>,
    /// Its place among the requests that their clients are waited for. It is free when all of the body has come.
    place: Option<OwnedSemaphorePermit>,
    progress: Progress,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, limit: u64, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            first: None,
            inner: Some(inner),
            limit,
            left: limit,
            whole: false,
            share: None,
            place,
            progress: Progress::new(),
        }
    }

    /// Of a request that has none.
    pub(crate) fn none() -> Self {
        Self {
            first: None,
            inner: None,
            limit: 0,
            left: 0,
            whole: true,
            share: None,
            place: None,
            progress: Progress::new(),
        }
    }

    /// Reads a body that has no more than `most` bytes; `None` where it has more. Either way all of it still goes on.
    pub(crate) async fn ahead(&mut self, most: usize) -> Result<Option<Bytes>, BodyFault> {
        if self.size_hint().lower() > most as u64 {
            return Ok(None);
        }
        let mut read = BytesMut::new();
        let whole = loop {
            // Where its length was told there is no need to wait for its end.
            if self.is_end_stream() {
                break true;
            }
            match self.frame().await {
                None => break true,
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        read.extend_from_slice(data);
                    }
                    if read.len() > most {
                        break false;
                    }
                }
                Some(Err(_)) => return Err(self.progress.fault().unwrap_or(BodyFault::Cut)),
            }
        };
        let read = read.freeze();
        self.whole = whole;
        if whole {
            self.place = None;
        }
        self.first = Some(read.clone()).filter(|r| !r.is_empty());
        Ok(whole.then_some(read))
    }

    /// Whether more of it is to come of its client.
    pub(crate) fn is_to_come(&self) -> bool {
        !self.whole && self.inner.as_ref().is_some_and(|i| !i.is_end_stream())
    }

    /// Reads one ahead that is to come, and says that it has no more than `most` bytes.
    pub(crate) async fn ahead_if_small(&mut self, most: usize) -> Result<(), BodyFault> {
        let length = self.size_hint().exact();
        if self.is_to_come() && length.is_some_and(|length| length <= most as u64) {
            self.ahead(most).await?;
        }
        Ok(())
    }

    /// It has a place among those that are still to come.
    pub(crate) fn holds(&mut self, share: OwnedSemaphorePermit) {
        self.share = Some(share);
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(first) = self.first.take() {
            self.progress.moved(None);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        loop {
            let Some(inner) = &mut self.inner else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(&mut *inner).poll_frame(cx) else {
                self.progress.awaits();
                return Poll::Pending;
            };
            // Whose length was told may not be asked for its end.
            if frame.is_none() || inner.is_end_stream() {
                self.place = None;
            }
            let Some(frame) = frame else {
                self.progress.moved(None);
                return Poll::Ready(None);
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(e) => {
                    self.progress.moved(Some(BodyFault::Cut));
                    return Poll::Ready(Some(Err(e.into())));
                }
            };
            // Fields after a body are of one connection, as far as anybody here knows.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    let limit = self.limit;
                    self.progress.moved(Some(BodyFault::TooLarge(limit)));
                    let why = format!("the body is larger than {limit} bytes");
                    return Poll::Ready(Some(Err(why.into())));
                }
            }
            self.progress.moved(None);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        let inner = inner.map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        behind(self.first.as_ref(), &inner)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.progress.ends();
    }
}

/// The size of a body with what was read of it in front.
fn behind(first: Option<&Bytes>, rest: &SizeHint) -> SizeHint {
    let first = first.map_or(0, |f| f.len() as u64);
    let mut both = SizeHint::new();
    both.set_lower(rest.lower() + first);
    if let Some(upper) = rest.upper() {
        both.set_upper(upper + first);
    }
    both
}

/// Of what is at hand so much goes at once. The server takes more when it has written most of that: a body that it was given in one piece
/// would be over for everybody but its client, with all its bytes still to be written.
const PIECE: usize = 256 * 1024;

/// The next of what is at hand.
fn piece(of: &mut Bytes) -> Option<Bytes> {
    let length = of.len().min(PIECE);
    (length > 0).then(|| of.split_to(length))
}

enum Source {
    /// Cinder's, as it comes, behind what was read of it already.
    Cinder(Bytes, CinderBody),
    /// The gateway's own.
    Own(Bytes),
}

/// An answer on its way to the client.
pub(crate) struct AnswerBody {
    source: Source,
    /// Cinder may be silent for so long within it.
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    exchange: Exchange,
}

impl AnswerBody {
    pub(crate) fn cinders(
        first: Option<Bytes>,
        inner: CinderBody,
        idle: Duration,
        mut exchange: Exchange,
    ) -> Self {
        let first = exchange.held(first.unwrap_or_default());
        Self {
            source: Source::Cinder(first, inner),
            idle,
            timer: None,
            exchange,
        }
    }

    pub(crate) fn own(bytes: Bytes, mut exchange: Exchange) -> Self {
        Self {
            source: Source::Own(exchange.held(bytes)),
            idle: Duration::ZERO,
            timer: None,
            exchange,
        }
    }

    fn poll_cinder(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let Source::Cinder(first, inner) = &mut self.source else {
            return Poll::Ready(None);
        };
        if let Some(first) = piece(first) {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut *inner).poll_frame(cx) else {
                let idle = self.idle;
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(timer.as_mut().poll(cx));
                return Poll::Ready(Some(Err("Cinder sends no more of its answer".into())));
            };
            self.timer = None;
            match frame {
                None => return Poll::Ready(None),
                Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = match &mut self.source {
            Source::Own(bytes) => piece(bytes).map(Ok),
            Source::Cinder(_, _) => ready!(self.poll_cinder(cx)),
        };
        match &piece {
            Some(Ok(data)) => self.exchange.passes(data.len()),
            Some(Err(error)) => {
                tracing::info!(error, request.id = self.exchange.id, "an answer broke off");
            }
            None => self.exchange.is_whole(),
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Cinder(first, inner) => first.is_empty() && inner.is_end_stream(),
            Source::Own(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Cinder(first, inner) => behind(Some(first), &inner.size_hint()),
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // A body whose length was told is not asked for its end.
        if self.is_end_stream() {
            self.exchange.is_whole();
        }
    }
}
