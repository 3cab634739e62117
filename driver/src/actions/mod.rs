//! The zone's actions on its volumes. The flow of one:
//!
//! ```text
//!   Order -> frozen? draining? -> in flight? (409) -> open -> look
//!         -> generation (RADOS object) -> lease (promote) -> replication::next
//!         -> the step, on the backend -> look again -> confirm -> ActionOutcome
//! ```
//!
//! An action runs in a task of its own. A caller that goes away does not cancel it, and a call that outlives its deadline
//! is reported (`deadline_exceeded`) while the task stays with it until it ends: a promotion that lands late is checked
//! against the lease again, and undone where that is gone.

mod batch;
mod copies;
mod freezing;
mod grants;
mod group;
mod outlook;
mod perform;
mod pulse;
mod records;
mod registry;
mod remove;
mod reports;
mod resync;
mod run;
mod watch;

pub use batch::BatchStream;
pub use grants::LONGEST as LONGEST_GRANT;
pub use group::DemoteAll;
pub(crate) use outlook::FailsOver;
pub use records::GroupRecord;
pub use reports::{MAX_PAGE, VolumeQuery, ZoneParts, ZoneQuery};
pub use watch::watch;

use crate::{
    backend::{Backend, BackendError, ImageView},
    clock::Clock,
    lease::{Board, BoardChange},
    leases::Leases,
    replication::{Hints, Look},
};
use copies::Copies;
use grants::Grants;
use outlook::FailingOver;
use pulse::Pulse;
use records::Records;
use registry::Registry;
use rekindle_common::{ImageSpec, ZoneName, duration::Span};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::Instant,
};
use tokio_util::task::TaskTracker;

/// Deadlines and bounds of the actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// One action, from taking it up to its answer.
    pub action: Span,
    /// One look at a volume, and one list.
    pub look: Span,
    /// The writable probe and the cluster's health.
    pub probe: Span,
    /// After which a call that overran its action is given up on: its outcome is then never known.
    pub abandon: Span,
    /// How long it is measured what a resync gives up. No resync is refused for it, or waits any longer.
    pub measure: Span,
    /// How long a plain promotion waits for the other zone's demotion to arrive.
    pub replay_wait: Span,
    /// How many actions of batches run at once.
    pub parallel: usize,
    /// How many safety copies are made at once, 1 to 8: each has a thread of its own until it ends, and reads and writes as fast as
    /// the cluster lets it.
    pub copies: usize,
    /// How old a list may be that is given to the next asker.
    pub list_age: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            action: Span::secs(30),
            look: Span::secs(10),
            probe: Span::secs(3),
            abandon: Span::secs(1800),
            measure: Span::secs(5),
            replay_wait: Span::secs(3),
            // A forced promotion of a snapshot image waits 1.3 s for the mirror daemon to leave it, whatever the machine; each
            // image open costs 0.5 MB meanwhile.
            parallel: 20,
            copies: 3,
            list_age: Span::millis(500),
        }
    }
}

/// After so many actions the holes that their images left in the heap are given back to the system.
const TIDY_EVERY: u64 = 4;

/// What the actions are built of.
#[derive(Debug)]
pub struct Parts {
    /// Which zone.
    pub zone: ZoneName,
    /// Its cluster.
    pub backend: Backend,
    /// The pool that holds the zone's records.
    pub state_pool: String,
    /// The leases.
    pub leases: Arc<dyn Leases>,
    /// The wall clock.
    pub clock: Clock,
    /// The limits.
    pub limits: Limits,
}

/// The zone's volumes and all that can be done to them; cheap to clone. In process this *is* the sidecar's client.
#[derive(Debug, Clone)]
pub struct Volumes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    zone: ZoneName,
    instance: String,
    backend: Backend,
    records: Records,
    leases: Arc<dyn Leases>,
    clock: Clock,
    limits: Limits,
    registry: Registry,
    grants: Grants,
    failing_over: FailingOver,
    hints: Mutex<HashMap<ImageSpec, Hints>>,
    freeze: RwLock<freezing::Frozen>,
    /// When the zone's freeze was last read or written; held for as long as that lasts.
    freezing: AsyncMutex<Option<Instant>>,
    /// Which groups' leases were ordered to be taken, and when.
    takes: Mutex<batch::Takes>,
    /// Bounds what batches and demotions of whole groups do at once.
    slots: Semaphore,
    copies: Copies,
    tasks: TaskTracker,
    list: AsyncMutex<Option<Listed>>,
    /// How many actions have ended: a list from before the last one is not given out again.
    ended: AtomicU64,
    /// The last list that succeeded, however old: what is known to exist while the cluster does not answer.
    last_known: Mutex<Option<Arc<Vec<ImageView>>>>,
    /// Whether the last list that came to its end failed.
    list_fails: AtomicBool,
    metrics: crate::metrics::Metrics,
    pulse: Arc<Pulse>,
}

/// A list that may be given to the next asker too.
#[derive(Debug)]
struct Listed {
    begun: Instant,
    /// How many actions had ended when it was begun.
    ended: u64,
    views: Arc<Vec<ImageView>>,
}

impl Volumes {
    /// Builds the zone's actions. Reads nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self::of_instance(uuid::Uuid::new_v4().to_string(), parts)
    }

    /// As [`Self::new`], under an instance id that the lease keeper uses too.
    #[must_use]
    pub fn of_instance(instance: String, parts: Parts) -> Self {
        let Parts {
            zone,
            backend,
            state_pool,
            leases,
            clock,
            limits,
        } = parts;
        Self {
            inner: Arc::new(Inner {
                records: Records::new(backend.clone(), state_pool),
                metrics: crate::metrics::Metrics::new(&zone),
                zone,
                instance,
                backend,
                leases,
                clock,
                registry: Registry::default(),
                grants: Grants::default(),
                failing_over: FailingOver::default(),
                hints: Mutex::default(),
                freeze: RwLock::default(),
                freezing: AsyncMutex::default(),
                takes: Mutex::default(),
                slots: Semaphore::new(limits.parallel.max(1)),
                copies: Copies::new(limits.copies),
                limits,
                tasks: TaskTracker::new(),
                list: AsyncMutex::default(),
                ended: AtomicU64::new(0),
                last_known: Mutex::default(),
                list_fails: AtomicBool::default(),
                pulse: Arc::default(),
            }),
        }
    }

    /// Which zone.
    #[must_use]
    pub fn zone_name(&self) -> &ZoneName {
        &self.inner.zone
    }
    /// This sidecar's instance id: new with each start.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }
    /// The zone's cluster.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }
    /// The wall clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }
    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }
    /// The leases.
    #[must_use]
    pub fn leases(&self) -> &Arc<dyn Leases> {
        &self.inner.leases
    }
    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &crate::metrics::Metrics {
        &self.inner.metrics
    }
    /// What the zone's sidecars tell each other.
    pub(crate) async fn change_board(
        &self,
        change: &BoardChange,
        deadline: Instant,
    ) -> Result<Board, BackendError> {
        self.inner.records.board(change, deadline).await
    }
    /// How many actions are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.registry.len()
    }

    /// Begins no new action, and waits for those in flight.
    pub async fn drain(&self, deadline: Instant) {
        self.inner.tasks.close();
        let _ = tokio::time::timeout_at(deadline, self.inner.tasks.wait()).await;
    }
}

impl Inner {
    fn hints(&self) -> MutexGuard<'_, HashMap<ImageSpec, Hints>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Derives a look with what is remembered, and remembers what it shows.
    fn understand(&self, view: ImageView) -> Look {
        let mut all = self.hints();
        let hints = all.entry(view.spec.clone()).or_default();
        let now = self.clock.now();
        let look = Look::derive(view, hints, now);
        look.remember(hints, now);
        look
    }

    /// An action ended: whoever asks from now on is to see what came of it.
    fn action_ended(&self) {
        let before = self.ended.fetch_add(1, Ordering::AcqRel);
        if before % TIDY_EVERY == TIDY_EVERY - 1 {
            tokio::task::spawn_blocking(rbd_rs::return_free_memory);
        }
    }

    fn in_(&self, d: Span) -> Instant {
        Instant::now() + d.get().min(Duration::from_secs(86_400))
    }
}

#[cfg(test)]
mod tests;
