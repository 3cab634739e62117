//! Cinder: a bounded number of connections, kept between requests, and a deadline on each thing that may hang.
//!
//! ```text
//!   request ── a place (wait_time) ── a kept connection ── sent ── head of the answer (first_byte_time) ── body
//!                                 └─ a new one (connect_time)  └─ nothing of it was sent: another connection
//! ```
//!
//! A request whose body is still to come has a place among those first: they are half of all, so that slow clients leave the other half.
//!
//! A request is sent again only where nothing of it was: whether Cinder has carried out what it read a byte of, nobody knows.

mod answer;
mod connect;
mod link;
mod pool;

use crate::{
    body::{Progress, RequestBody},
    metrics::Metrics,
};
pub(crate) use answer::CinderBody;
use connect::Target;
pub(crate) use connect::UpstreamUrl;
use hyper::{Request, Response, header::HeaderValue};
use pool::{Lease, Pool};
use rekindle_common::duration::Span;
use rekindle_net::{TlsError, TrustedServers};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

/// What Cinder may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpstreamTimes {
    /// For one of the connections to be free.
    pub(crate) wait: Duration,
    /// To connect, with the TLS handshake.
    pub(crate) connect: Duration,
    /// From the last byte of a request that was sent, to the head of the answer.
    pub(crate) first_byte: Duration,
    /// Between two pieces of an answer.
    pub(crate) idle: Duration,
    /// A connection that was not used for so long is not used again.
    pub(crate) keep_alive: Duration,
}

/// Why there is no answer of Cinder's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// All connections are taken.
    #[error("all {connections} connections to Cinder were busy for {after}")]
    Busy { connections: usize, after: Span },
    /// All connections are taken that bodies may have which are still to come.
    #[error(
        "all {places} connections to Cinder for bodies that are still to come were busy for {after}"
    )]
    Uploads { places: usize, after: Span },
    /// There is nobody.
    #[error("Cinder cannot be connected")]
    Connect(#[source] io::Error),
    /// There is no answer to the connection.
    #[error("Cinder was not connected within {0}")]
    ConnectTime(Span),
    /// It was sent, or begun to be, and there is no answer.
    #[error("Cinder did not answer within {0}; the request may still take effect")]
    FirstByte(Span),
    /// The connection broke.
    #[error("the connection to Cinder broke before its answer; the request may still take effect")]
    Broken(#[source] hyper::Error),
}

/// Cinder, as one gateway sees it.
pub(crate) struct Upstream {
    target: Target,
    pool: Pool,
    /// Places for requests whose body is still to come.
    uploads: Arc<Semaphore>,
    times: UpstreamTimes,
    metrics: Metrics,
}

/// So many of all connections wait for clients at most.
fn uploads(connections: usize) -> usize {
    (connections / 2).max(1)
}

impl Upstream {
    /// Nobody is contacted yet.
    pub(crate) fn new(
        url: &UpstreamUrl,
        ca: Option<&Path>,
        connections: usize,
        times: UpstreamTimes,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        let trusted = ca.map(TrustedServers::load).transpose()?;
        Ok(Self {
            target: Target::new(url, trusted),
            pool: Pool::new(connections, times.keep_alive),
            uploads: Arc::new(Semaphore::new(uploads(connections))),
            times,
            metrics: metrics.clone(),
        })
    }

    /// For a request whose client named no host.
    pub(crate) fn authority(&self) -> &HeaderValue {
        self.target.authority()
    }

    /// Between two pieces of an answer.
    pub(crate) fn idle(&self) -> Duration {
        self.times.idle
    }

    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<CinderBody>, UpstreamError> {
        let progress = request.body().progress();
        if request.body().is_to_come() {
            let share = self.upload().await?;
            request.body_mut().holds(share);
        }
        loop {
            let (mut lease, kept) = self.lease().await?;
            let answer = tokio::select! {
                // Most often the answer is what there is.
                biased;
                answer = lease.link.ask(request) => answer,
                () = self.too_late(&progress) => {
                    return Err(UpstreamError::FirstByte(Span(self.times.first_byte)));
                }
            };
            match answer {
                Ok(answer) => {
                    if !progress.is_over() {
                        lease.link.apart();
                    }
                    let pool = &self.pool;
                    return Ok(answer.map(|body| CinderBody::new(body, lease, pool)));
                }
                Err(mut e) => match e.take_message() {
                    // Each time round one that was kept is gone; in the end there is a new one.
                    Some(unsent) if kept => {
                        self.metrics.sent_again();
                        request = unsent;
                    }
                    Some(_) | None => return Err(UpstreamError::Broken(e.into_error())),
                },
            }
        }
    }

    /// A place for a body that is still to come.
    async fn upload(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let place = Arc::clone(&self.uploads).acquire_owned();
        let place = timeout(self.times.wait, place).await;
        place
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| UpstreamError::Uploads {
                places: uploads(self.pool.size()),
                after: Span(self.times.wait),
            })
    }

    /// Ends when Cinder has had all that was sent for too long.
    async fn too_late(&self, progress: &Progress) {
        let begun = Instant::now();
        loop {
            let until = progress.last().max(begun) + self.times.first_byte;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// A connection of its own, and whether it was used before.
    async fn lease(&self) -> Result<(Lease, bool), UpstreamError> {
        let place = timeout(self.times.wait, self.pool.place());
        let place = place.await.ok().flatten().ok_or(UpstreamError::Busy {
            connections: self.pool.size(),
            after: Span(self.times.wait),
        })?;
        let open = loop {
            if let Some(lease) = self.pool.kept(&place) {
                return Ok((lease.holding(place), true));
            }
            if let Some(open) = self.pool.opens(self.metrics.upstream()) {
                break open;
            }
            // Who has a place and none of the connections finds one that is kept, but for the moment in which one is let go.
            if let Some(lease) = self.pool.kept_by_others(&place) {
                return Ok((lease.holding(place), true));
            }
            tokio::task::yield_now().await;
        };
        let link = timeout(self.times.connect, self.target.connect())
            .await
            .map_err(|_| UpstreamError::ConnectTime(Span(self.times.connect)))?
            .map_err(UpstreamError::Connect)?;
        Ok((Lease::new(link, open).holding(place), false))
    }
}

/// An error with its causes.
pub(crate) fn in_full(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(": ");
        text.push_str(&c.to_string());
        cause = c.source();
    }
    text
}

#[cfg(test)]
mod tests;
