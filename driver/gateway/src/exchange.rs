//! One request and its answer, from the first's head to the second's last byte: what is counted and logged of them.

use crate::{
    client_io::InFlight,
    fault::{Fault, REQUEST_ID},
    metrics::{Counted, Metrics},
    routes::Route,
};
use bytes::Bytes;
use hyper::Method;
use rekindle_net::{RequestId, RequestIds};
use std::net::SocketAddr;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its last piece was handed over.
    Whole,
    /// Cinder's answer broke off, or its client left.
    Cut,
}

/// One request. It is logged when it is dropped, and its client's place among the requests in flight is free then.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: String,
    /// What its client calls it, where it says so: Nova, say, which was asked by somebody else. Cinder logs it too.
    global: Option<RequestId>,
    pub(crate) method: Method,
    /// Without the query: names of volumes are nobody's business, but a path is needed to know what was asked.
    pub(crate) path: String,
    pub(crate) route: Route,
    peer: SocketAddr,
    began: Instant,
    status: Option<u16>,
    /// Cinder's own id of it.
    cinder: Option<String>,
    fault: Option<&'static str>,
    bytes: u64,
    end: End,
    metrics: Metrics,
    _counted: Counted,
    _in_flight: InFlight,
    _place: Option<OwnedSemaphorePermit>,
    /// Its part of what all bodies that are held may take, until that goes with the body's bytes.
    held: Option<OwnedSemaphorePermit>,
}

/// A body that is held whole. Pieces of it are the same memory: its part is free when the last of them is.
struct Held {
    bytes: Bytes,
    _part: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// So much of what all bodies may take has one of so many bytes.
pub(crate) fn kib(bytes: usize) -> usize {
    bytes / 1024 + 1
}

impl Exchange {
    pub(crate) fn begin(
        request: &hyper::http::request::Parts,
        route: Route,
        peer: SocketAddr,
        metrics: &Metrics,
        in_flight: InFlight,
    ) -> Self {
        let path = request.uri.path();
        Self {
            id: crate::fault::new_id(),
            global: request
                .headers
                .get(REQUEST_ID)
                .and_then(|id| RequestId::checked(id.to_str().ok()?)),
            method: request.method.clone(),
            path: path.to_owned(),
            route,
            peer,
            began: Instant::now(),
            status: None,
            cinder: None,
            fault: None,
            bytes: 0,
            end: End::Cut,
            _counted: metrics.in_flight(),
            metrics: metrics.clone(),
            _in_flight: in_flight,
            _place: None,
            held: None,
        }
    }

    /// Its names, for whom is called on its behalf. Where its client gave none, Cinder takes ours for the global one; so do all others.
    pub(crate) fn ids(&self) -> RequestIds {
        let own = RequestId(self.id.as_str().into());
        let global = self.global.clone().unwrap_or_else(|| own.clone());
        RequestIds {
            own,
            global: Some(global),
        }
    }

    /// It has a place among the requests in flight.
    pub(crate) fn takes(&mut self, place: OwnedSemaphorePermit) {
        self._place = Some(place);
    }

    /// Its answer's body is held whole, until its last byte is written.
    pub(crate) fn holds(&mut self, part: OwnedSemaphorePermit) {
        self.held = Some(part);
    }

    /// The bytes of its answer that are held. Its part goes with them: the last pieces stand in the server when the exchange is over. What it
    /// was made of is gone, and so is the part of that: an answer that is small keeps nobody else's out, however slowly it is read.
    pub(crate) fn held(&mut self, bytes: Bytes) -> Bytes {
        let Some(mut part) = self.held.take() else {
            return bytes;
        };
        // Where the answer is larger than its part, which is so by the fields alone, it has all of that.
        let part = part.split(kib(bytes.len())).unwrap_or(part);
        Bytes::from_owner(Held { bytes, _part: part })
    }

    /// Cinder answers.
    pub(crate) fn answers(&mut self, status: u16, cinder: Option<&str>) {
        self.status = Some(status);
        // An id that is a text of its own size is no id.
        self.cinder = cinder.filter(|id| id.len() <= 64).map(str::to_owned);
    }

    /// The gateway itself answers.
    pub(crate) fn fails(&mut self, fault: &Fault) {
        self.status = Some(fault.status.as_u16());
        self.fault = Some(fault.name);
        self.metrics.fault(fault.name);
    }

    pub(crate) fn passes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn is_whole(&mut self) {
        self.end = End::Whole;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        // 499 is nobody's answer: the client left before there was one.
        let status = self.status.unwrap_or(499);
        self.metrics.answered(self.route, status, took);
        let whole = self.end == End::Whole;
        tracing::info!(
            target: "access",
            method = %self.method,
            path = self.path,
            status,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            bytes = self.bytes,
            whole,
            peer = %self.peer,
            request.id = self.id,
            request.global_id = self.global.as_ref().map(|id| &*id.0),
            cinder.request.id = self.cinder,
            fault = self.fault,
        );
    }
}
