//! The connections: as many are open at once as there are places, busy and kept ones together.

use crate::{body::RequestBody, metrics::Counted};
use hyper::client::conn::http1::SendRequest;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// A place among the busy connections.
///
/// A new connection is made only by who has a place and finds no kept one. So those that are busy and those that are kept are
/// together never more than the places: a connection that comes back is kept first, and its place is free after that.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A connection that one request has to itself.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) sender: SendRequest<RequestBody>,
    counted: Counted,
    place: Option<Place>,
}

impl Lease {
    pub(super) fn new(sender: SendRequest<RequestBody>, counted: Counted) -> Self {
        Self {
            sender,
            counted,
            place: None,
        }
    }

    pub(super) fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

struct Kept {
    sender: SendRequest<RequestBody>,
    counted: Counted,
    since: Instant,
}

pub(super) struct Pool {
    size: usize,
    places: Arc<Semaphore>,
    kept: Arc<Mutex<Vec<Kept>>>,
    keep_alive: Duration,
}

impl Pool {
    pub(super) fn new(size: usize, keep_alive: Duration) -> Self {
        Self {
            size,
            places: Arc::new(Semaphore::new(size)),
            kept: Arc::default(),
            keep_alive,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Waits for a place, in the order of asking.
    pub(super) async fn place(&self) -> Option<Place> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.ok().map(|permit| Place { _permit: permit })
    }

    /// The connection that was used last and is still good. Those that are not are dropped by the way.
    pub(super) fn kept(&self, _: &Place) -> Option<Lease> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one is the youngest: where it is too old, all are.
        while let Some(last) = kept.pop() {
            if last.since.elapsed() >= self.keep_alive {
                kept.clear();
                return None;
            }
            if last.sender.is_ready() {
                return Some(Lease::new(last.sender, last.counted));
            }
        }
        None
    }

    /// Keeps a connection once its answer was read to the end. Where it was not, the connection ends and its place is free.
    pub(super) fn returns(&self, lease: Lease) {
        let kept = Arc::clone(&self.kept);
        // It is over with the answer: that has its own deadlines.
        tokio::spawn(async move {
            let Lease {
                mut sender,
                counted,
                place,
            } = lease;
            if sender.ready().await.is_ok() {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(Kept {
                    sender,
                    counted,
                    since: Instant::now(),
                });
            }
            drop(place);
        });
    }

    /// Keeps a connection as if it had served a request.
    #[cfg(test)]
    pub(super) fn keeps(&self, lease: Lease) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept {
            sender: lease.sender,
            counted: lease.counted,
            since: Instant::now(),
        });
    }
}
