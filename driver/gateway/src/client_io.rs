//! One client's connection, between the socket and the HTTP server.
//!
//! ```text
//!   socket ── held ── Framing ── whole heads, and bodies as they come ── hyper
//!                 └─ refused: hyper sees the connection end; what the client is told is written here, last
//! ```
//!
//! Here stand the times too: for a head, between two pieces of a body, between two requests, and for a client that does not read.

use crate::{
    fault::{self, Fault},
    framing::{Framing, HeadLimits, Refused},
};
use bytes::{Buf, Bytes, BytesMut};
use futures::task::AtomicWaker;
use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// Read at once.
const PIECE: usize = 8 * 1024;
/// Of what a client goes on sending after the last answer, so much is thrown away, for closing with something unread would take the
/// answer away from it.
const UNREAD: usize = 256 * 1024;
/// And for so long.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientTimes {
    /// From a head's first byte to its last; of a connection's first request, from the connection on.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) keep_alive: Duration,
    /// Without a byte of a body, or without reading a byte of an answer.
    pub(crate) idle: Duration,
    /// A body is waited for so long in all, and longer with each byte of it: see `body_rate`.
    pub(crate) body: Duration,
    /// So many bytes of a body give its client a second more. It is the least rate at which a large one comes.
    pub(crate) body_rate: u64,
}

/// How a body comes. Only the time in which its client is waited for is its client's: not what Cinder takes to take it.
#[derive(Debug, Clone, Copy, Default)]
struct Coming {
    bytes: u64,
    /// Before the last byte that came.
    waited: Duration,
    /// Since when it is waited for again.
    since: Option<Instant>,
}

impl Coming {
    fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing came. Until when something has to.
    fn until(&mut self, times: &ClientTimes) -> Instant {
        let since = *self.since.get_or_insert_with(Instant::now);
        let earned = self.bytes.saturating_mul(1000) / times.body_rate.max(1);
        let allowed = times.body.saturating_add(Duration::from_millis(earned));
        since + times.idle.min(allowed.saturating_sub(self.waited))
    }
}

/// What a connection and its requests know of each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Requests whose answers the server does not have in full yet.
    in_flight: AtomicUsize,
    /// The connection, where it waits for the last answer to be written.
    connection: AtomicWaker,
    refused: Mutex<Option<(Refused, String)>>,
}

impl Shared {
    /// A request is taken up; until the guard is dropped, no time runs against its client.
    #[must_use]
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    fn idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// What the connection ended with, and the id that its client was told.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<(Refused, String)> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.clone()
    }
}

/// A request that is not answered in full.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        // From now on time runs for the next request, and what was refused after this one is told.
        self.0.connection.wake();
    }
}

/// What the client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
    /// The next request.
    Request,
    /// Nothing: it is our turn.
    Nothing,
}

enum Ending {
    /// Not yet.
    Open,
    /// The refusal is being written.
    Telling(Bytes),
    /// The writing side is being closed.
    Closing,
    /// What the client still sends is thrown away.
    Lingering {
        until: Pin<Box<Sleep>>,
        left: usize,
    },
    Closed,
}

/// A client's stream, with its framing and its times.
pub(crate) struct ClientIo<S> {
    stream: S,
    framing: Framing,
    times: ClientTimes,
    shared: Arc<Shared>,
    held: BytesMut,
    /// So many of the held bytes may go on.
    cleared: usize,
    /// When what is awaited began to be.
    awaited: (Awaited, Instant),
    coming: Coming,
    first: bool,
    ended: bool,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    ending: Ending,
}

impl<S> ClientIo<S> {
    pub(crate) fn new(
        stream: S,
        limits: HeadLimits,
        times: ClientTimes,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            stream,
            framing: Framing::new(limits),
            times,
            shared,
            held: BytesMut::new(),
            cleared: 0,
            awaited: (Awaited::Head, Instant::now()),
            coming: Coming::default(),
            first: true,
            ended: false,
            read_timer: None,
            write_timer: None,
            ending: Ending::Open,
        }
    }

    /// Bytes came; how many.
    fn came(&mut self, bytes: usize) {
        if self.note_awaited() == Awaited::Body {
            self.coming.came(bytes);
        }
    }

    /// Whether the client has all that it asked for. A request is over for who answers it with the last piece of its answer; the server has
    /// more of that still to write as long as the stream takes no more.
    fn is_answered(&self) -> bool {
        self.shared.idle() && self.write_timer.is_none()
    }

    /// What is waited for now; the time of it runs from when it began to be.
    fn note_awaited(&mut self) -> Awaited {
        let now_awaited = if self.framing.in_body() {
            Awaited::Body
        } else if !self.held.is_empty() || self.first {
            Awaited::Head
        } else if self.is_answered() {
            Awaited::Request
        } else {
            Awaited::Nothing
        };
        if self.awaited.0 != now_awaited {
            self.awaited = (now_awaited, Instant::now());
            self.coming = Coming::default();
        }
        now_awaited
    }

    /// Until when the client has time, where nothing came.
    fn until(&mut self) -> Option<Instant> {
        let awaited = self.note_awaited();
        let (_, since) = self.awaited;
        match awaited {
            Awaited::Head => Some(since + self.times.head),
            Awaited::Body => Some(self.coming.until(&self.times)),
            Awaited::Request => Some(since + self.times.keep_alive),
            Awaited::Nothing => None,
        }
    }

    /// Whether the client's time is over.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(until) = self.until() else {
            self.shared.connection.register(cx.waker());
            return false;
        };
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + Unpin> ClientIo<S> {
    /// Reads on, and says how many bytes there were; 0 at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [MaybeUninit::<u8>::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
            Poll::Ready(Ok(())) => {
                let read = piece.filled();
                self.held.extend_from_slice(read);
                let n = read.len();
                self.came(n);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.cleared > 0 {
                let n = self.cleared.min(buf.remaining());
                buf.put_slice(self.held.get(..n).unwrap_or_default());
                self.held.advance(n);
                self.cleared -= n;
                if self.held.is_empty() {
                    // Thousands of connections wait for their next request: they hold no memory here.
                    self.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = self.framing.refused() {
                return self.poll_refused(cx, why);
            }
            if self.ended {
                // A head that was cut off is no request; a body that was is seen to be by who reads it.
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx) {
                Poll::Ready(n) => self.ended = n? == 0,
                Poll::Pending if !self.is_late(cx) => return Poll::Pending,
                Poll::Pending => match self.awaited.0 {
                    // Who says nothing at all is told nothing.
                    Awaited::Head if self.held.is_empty() => self.ended = true,
                    Awaited::Head => self.framing.refuse(Refused::TooSlow),
                    Awaited::Body => {
                        let why = "the client does not send its body in time";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                    }
                    Awaited::Request | Awaited::Nothing => self.ended = true,
                },
            }
            self.cleared = self.framing.clear(&self.held);
            if self.cleared > 0 {
                self.first = false;
            }
        }
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>, why: Refused) -> Poll<io::Result<()>> {
        if self.framing.in_body() {
            // Its request is under way, and who serves that answers.
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        if !self.is_answered() {
            // The answers to those before it come first.
            self.shared.connection.register(cx.waker());
            return Poll::Pending;
        }
        self.shared
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| (why, fault::new_id()));
        // To the server it is a connection that has ended between two requests.
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_bytes(cx, buf)
    }
}

impl<S> ClientIo<S> {
    /// Watches that a client reads what it is sent.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            if self.write_timer.take().is_some() {
                // What waits for the answer to be written is looked at again.
                self.shared.connection.wake();
            }
            return done;
        }
        let idle = self.times.idle;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        ready!(timer.as_mut().poll(cx));
        let why = "the client does not read its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    /// How the connection ends: what is refused is told, the writing side is closed, and the client has time to read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.ending {
                Ending::Open => {
                    self.ending = match self.shared.refused() {
                        Some((why, id)) => Ending::Telling(Fault::of(why).in_bytes(&id)),
                        None => Ending::Closing,
                    };
                }
                Ending::Telling(text) if text.is_empty() => self.ending = Ending::Closing,
                Ending::Telling(text) => {
                    let mut text = std::mem::take(text);
                    let wrote = Pin::new(&mut self.stream).poll_write(cx, &text);
                    let wrote = self.written(cx, wrote);
                    if let Poll::Ready(Ok(n)) = &wrote {
                        text.advance((*n).min(text.len()));
                    }
                    self.ending = Ending::Telling(text);
                    if ready!(wrote)? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                }
                Ending::Closing => {
                    let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
                    ready!(self.written(cx, closed))?;
                    let unread = self.framing.refused().is_some() || self.framing.in_body();
                    self.ending = if unread && !self.ended {
                        Ending::Lingering {
                            until: Box::pin(tokio::time::sleep(LINGER)),
                            left: UNREAD,
                        }
                    } else {
                        Ending::Closed
                    };
                }
                Ending::Lingering { until, left } => {
                    if until.as_mut().poll(cx).is_ready() {
                        self.ending = Ending::Closed;
                        continue;
                    }
                    let mut sink = [MaybeUninit::<u8>::uninit(); PIECE];
                    let mut sink = ReadBuf::uninit(&mut sink);
                    let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut sink));
                    let n = sink.filled().len();
                    match left.checked_sub(n) {
                        Some(less) if n > 0 && read.is_ok() => *left = less,
                        Some(_) | None => self.ending = Ending::Closed,
                    }
                }
                Ending::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
