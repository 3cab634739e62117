//! The connections: as many are open at once as there are places, busy and kept ones together.

use super::link::Link;
use crate::metrics::Counted;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
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
    pub(super) link: Link,
    counted: Counted,
    place: Option<Place>,
}

impl Lease {
    pub(super) fn new(link: Link, counted: Counted) -> Self {
        Self {
            link,
            counted,
            place: None,
        }
    }

    pub(super) fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

#[derive(Debug)]
struct Kept {
    link: Link,
    counted: Counted,
    since: Instant,
}

#[derive(Debug, Default)]
struct Idle {
    /// The youngest is the last.
    kept: Vec<Kept>,
    /// Somebody lets those go that are too old.
    swept: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    size: usize,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Idle>>,
    keep_alive: Duration,
}

impl Pool {
    pub(super) fn new(size: usize, keep_alive: Duration) -> Self {
        Self {
            size,
            places: Arc::new(Semaphore::new(size)),
            idle: Arc::default(),
            keep_alive,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, in the order of asking.
    pub(super) async fn place(&self) -> Option<Place> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.ok().map(|permit| Place { _permit: permit })
    }

    /// The connection that was used last and is still good. Those that are not are dropped by the way.
    pub(super) fn kept(&self, _: &Place) -> Option<Lease> {
        loop {
            let mut last = self.idle().kept.pop()?;
            // The last one is the youngest: where it is too old, all are.
            if last.since.elapsed() >= self.keep_alive {
                let old = std::mem::take(&mut self.idle().kept);
                drop(old);
                return None;
            }
            if last.link.is_good() {
                return Some(Lease::new(last.link, last.counted));
            }
        }
    }

    /// Takes a connection back whose answer was read to its end. Where the request was not sent to its own, that comes first.
    pub(super) fn returns(&self, mut lease: Lease) {
        if lease.link.is_ready() {
            return self.keeps(lease);
        }
        if lease.link.is_over() {
            return;
        }
        let pool = self.clone();
        // At the end of the process there is nothing to keep it for.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if lease.link.ready().await {
                    pool.keeps(lease);
                }
            });
        }
    }

    pub(super) fn keeps(&self, lease: Lease) {
        let Lease {
            link,
            counted,
            place,
        } = lease;
        let mut idle = self.idle();
        idle.kept.push(Kept {
            link,
            counted,
            since: Instant::now(),
        });
        if !idle.swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.swept = true;
            runtime.spawn(self.clone().sweep());
        }
        drop(idle);
        // It is kept first, and its place is free after that.
        drop(place);
    }

    /// Lets those go that nobody took up in time, until none is left: Cinder has closed them or is about to, and nobody would see it.
    async fn sweep(self) {
        loop {
            sleep(self.keep_alive).await;
            let mut idle = self.idle();
            let all = std::mem::take(&mut idle.kept);
            let (young, old): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|kept| kept.since.elapsed() < self.keep_alive);
            idle.kept = young;
            idle.swept = !idle.kept.is_empty();
            let over = !idle.swept;
            drop(idle);
            drop(old);
            if over {
                return;
            }
        }
    }
}
