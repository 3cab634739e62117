//! What the rest of the sidecar sees of the leases: views without I/O, and orders.

use super::{
    clock::LeaseClock,
    keys::Keys,
    slot::{Order, Slots},
};
use crate::leases::Leases;
use futures::future::BoxFuture;
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ZoneName,
    duration::Span,
    lease::{LeaseTiming, LeaseView},
    plan::PlanInSight,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Orders that wait for the runner.
pub(super) const ORDERS: usize = 256;

/// What the lease keeper is told before it starts.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    /// Whose leases.
    pub zone: ZoneName,
    /// This sidecar among the zone's, the same after a restart: [`LeaseConfig::host_name`] where there is one a machine.
    pub name: String,
    /// New with each start.
    pub instance: String,
    /// For groups whose policy is not known: a start without etcd.
    pub timing: LeaseTiming,
    /// How often the images are looked at.
    pub look_every: Span,
    /// Which clock.
    pub clock: LeaseClock,
}

impl LeaseConfig {
    /// With the default times, on the machine's clock, under the host's name.
    #[must_use]
    pub fn new(zone: ZoneName, instance: impl Into<String>) -> Self {
        Self {
            zone,
            name: Self::host_name(),
            instance: instance.into(),
            timing: LeaseTiming::default(),
            look_every: Span::secs(5),
            clock: LeaseClock::Machine,
        }
    }

    /// The machine's name, as its kernel has it.
    #[must_use]
    pub fn host_name() -> String {
        // The name stands before a slash in the record.
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .replace('/', "-")
    }
}

/// The leases, as the sidecar's actions use them. Shared by clones.
#[derive(Clone)]
pub struct LeaseHandle {
    pub(super) shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    keys: Arc<Keys>,
}

pub(super) struct Shared {
    slots: Mutex<Slots>,
    clock: LeaseClock,
    beats: AtomicU64,
}

impl Shared {
    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        // Each change under it is one event's, applied whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseHandle").finish_non_exhaustive()
    }
}

impl LeaseHandle {
    pub(super) fn new(clock: LeaseClock, keys: Arc<Keys>) -> (Self, mpsc::Receiver<Order>) {
        let (orders, received) = mpsc::channel(ORDERS);
        let shared = Arc::new(Shared {
            slots: Mutex::default(),
            clock,
            beats: AtomicU64::new(0),
        });
        let handle = Self {
            shared,
            orders,
            keys,
        };
        (handle, received)
    }

    /// Grows at least once a second while the keeper does its work. A supervisor that sees it stand still must restart the
    /// process: while it stands, nobody demotes.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.shared.beats.load(Ordering::Relaxed)
    }

    async fn order(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<LeaseView, ApiError>>) -> Order,
    ) -> Result<LeaseView, ApiError> {
        let stopped = || ApiError::new(ErrorCode::Unavailable, "the lease keeper does not run");
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(make(reply)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ApiError::new(
                ErrorCode::TooManyRequests,
                format!("{ORDERS} orders wait for the lease keeper"),
            ),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Leases for LeaseHandle {
    fn view(&self, group: &GroupName) -> LeaseView {
        let now = self.shared.clock.now();
        match self.shared.slots().get(group) {
            Some(slot) => slot.keeper.view(now),
            None => LeaseView::NotHeld,
        }
    }

    fn recorded_elsewhere(&self, group: &GroupName) -> Option<ZoneName> {
        self.shared.slots().get(group)?.elsewhere()
    }

    fn held(&self) -> Vec<GroupName> {
        let now = self.shared.clock.now();
        let slots = self.shared.slots();
        let held = slots
            .iter()
            .filter(|(_, slot)| match slot.keeper.view(now) {
                LeaseView::Held { .. } | LeaseView::KeptByFailsafe { .. } => true,
                LeaseView::Isolated { .. } | LeaseView::NotHeld => false,
            });
        held.map(|(group, _)| group.clone()).collect()
    }

    fn take<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        let group = group.clone();
        Box::pin(self.order(move |reply| Order::Take {
            group,
            generation,
            reply,
        }))
    }

    fn give_up<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        let group = group.clone();
        Box::pin(self.order(move |reply| Order::GiveUp {
            group,
            generation,
            reply,
        }))
    }

    /// Asked of etcd itself: what the keeper read last is some seconds old, and a plan may be through with a group in less.
    fn plan<'a>(&'a self, group: &'a GroupName, deadline: Instant) -> BoxFuture<'a, PlanInSight> {
        Box::pin(async move {
            match timeout_at(deadline, self.keys.plan(group)).await {
                Ok(Ok(plan)) => plan,
                Ok(Err(error)) => {
                    tracing::warn!(%group, %error, "etcd does not say whether a plan is at work on the group");
                    PlanInSight::Unknown
                }
                Err(_) => PlanInSight::Unknown,
            }
        })
    }
}
