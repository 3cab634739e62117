//! The connections: as many are open at once as there are places, busy and kept ones together.

use super::link::Link;
use crate::{metrics::Counted, workers};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

/// A place among the busy connections.
///
/// So those that are busy are never more than the places; those that are open are counted by themselves ([`Open`]), for each thread keeps
/// its own.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// One of the connections that are open.
#[derive(Debug)]
pub(super) struct Open {
    _counted: Counted,
    all: Arc<AtomicUsize>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that one request has to itself.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) link: Link,
    /// The thread that it was made on: another one is woken for it through that.
    home: usize,
    // Before the place: who gets that is to find the connection gone.
    open: Open,
    place: Option<Place>,
}

impl Lease {
    pub(super) fn new(link: Link, open: Open) -> Self {
        Self {
            link,
            home: workers::current(),
            open,
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
    open: Open,
    since: Instant,
}

#[derive(Debug, Default)]
struct Idle {
    /// The youngest is the last.
    kept: Vec<Kept>,
    /// Somebody lets those go that are too old.
    swept: bool,
}

#[derive(Debug)]
struct Inner {
    size: usize,
    open: Arc<AtomicUsize>,
    /// By the thread that they were made on.
    idle: Vec<Mutex<Idle>>,
    keep_alive: Duration,
}

impl Inner {
    fn idle(&self, of: usize) -> Option<MutexGuard<'_, Idle>> {
        let idle = self.idle.get(of % self.idle.len().max(1))?;
        Some(idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    places: Arc<Semaphore>,
    inner: Arc<Inner>,
}

impl Pool {
    pub(super) fn new(size: usize, keep_alive: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(size)),
            inner: Arc::new(Inner {
                size,
                open: Arc::default(),
                idle: (0..workers::count()).map(|_| Mutex::default()).collect(),
                keep_alive,
            }),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.inner.size
    }

    /// Waits for a place, in the order of asking.
    pub(super) async fn place(&self) -> Option<Place> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.ok().map(|permit| Place { _permit: permit })
    }

    /// One more may be made, unless as many are open as may be.
    pub(super) fn opens(&self, counted: Counted) -> Option<Open> {
        let inner = &self.inner;
        let one_more = |n| (n < inner.size).then_some(n + 1);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let opened = inner.open.fetch_update(order.0, order.1, one_more);
        opened.ok().map(|_| Open {
            _counted: counted,
            all: Arc::clone(&inner.open),
        })
    }

    /// The connection of this thread's that was used last and is still good. Those that are not are dropped by the way.
    pub(super) fn kept(&self, _: &Place) -> Option<Lease> {
        self.kept_by(workers::current())
    }

    /// One of another thread's: better than none.
    pub(super) fn kept_by_others(&self, _: &Place) -> Option<Lease> {
        (0..self.inner.idle.len()).find_map(|of| self.kept_by(of))
    }

    fn kept_by(&self, home: usize) -> Option<Lease> {
        loop {
            let mut last = self.inner.idle(home)?.kept.pop()?;
            // The last one is the youngest: where it is too old, all are.
            if last.since.elapsed() >= self.inner.keep_alive {
                let old = std::mem::take(&mut self.inner.idle(home)?.kept);
                drop(old);
                return None;
            }
            if last.link.is_good() {
                return Some(Lease {
                    link: last.link,
                    home,
                    open: last.open,
                    place: None,
                });
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
            home,
            open,
            place,
        } = lease;
        let Some(mut idle) = self.inner.idle(home) else {
            return;
        };
        idle.kept.push(Kept {
            link,
            open,
            since: Instant::now(),
        });
        if !idle.swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.swept = true;
            runtime.spawn(self.clone().sweep(home));
        }
        drop(idle);
        // It is kept first, and its place is free after that.
        drop(place);
    }

    /// Lets those go that nobody took up in time, until none is left: Cinder has closed them or is about to, and nobody would see it.
    async fn sweep(self, home: usize) {
        loop {
            sleep(self.inner.keep_alive).await;
            let Some(mut idle) = self.inner.idle(home) else {
                return;
            };
            let all = std::mem::take(&mut idle.kept);
            let (young, old): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|kept| kept.since.elapsed() < self.inner.keep_alive);
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
