//! What the actions ask of the primary leases. `lease/` is the real thing; this is the seam between the two.

use futures::future::BoxFuture;
use rekindle_common::{
    ApiError, Generation, GroupName, ZoneName, lease::LeaseView, plan::PlanInSight,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// The zone's primary leases, as this sidecar holds them.
pub trait Leases: Send + Sync + fmt::Debug {
    /// This sidecar's view of one lease, by its own monotonic clock; no I/O.
    fn view(&self, group: &GroupName) -> LeaseView;
    /// The groups of which this sidecar holds the lease; no I/O.
    fn held(&self) -> Vec<GroupName>;
    /// The zone that the record names, where that is known to be another one: what is primary here is demoted. No I/O.
    fn recorded_elsewhere(&self, group: &GroupName) -> Option<ZoneName>;
    /// Takes the group's lease under that generation, and keeps renewing it.
    ///
    /// Errors: `lease_not_held` where the primary record names another zone or generation, `store_unavailable`.
    fn take<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>>;
    /// Gives it back. The caller has demoted the group's volumes before.
    ///
    /// Errors: `store_unavailable`: it then ends by itself.
    fn give_up<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>>;
    /// Whether a plan is at work on the group. Where that is asked of etcd, it takes no longer than to `deadline`.
    fn plan<'a>(&'a self, group: &'a GroupName, deadline: Instant) -> BoxFuture<'a, PlanInSight>;
}

/// Whether a view allows a promotion under `generation`.
#[must_use]
pub fn holds(view: &LeaseView, generation: Generation) -> bool {
    match view {
        LeaseView::Held {
            generation: g,
            left,
        }
        | LeaseView::KeptByFailsafe {
            generation: g,
            left,
        } => *g == generation && !left.get().is_zero(),
        LeaseView::Isolated { .. } | LeaseView::NotHeld => false,
    }
}

/// Leases that are held because somebody said so: for tests of everything but leases.
#[derive(Debug, Default)]
pub struct FixedLeases {
    held: Mutex<BTreeMap<GroupName, Generation>>,
    plans: Mutex<BTreeMap<GroupName, PlanInSight>>,
    elsewhere: Mutex<BTreeMap<GroupName, ZoneName>>,
}

impl FixedLeases {
    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<GroupName, Generation>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// As if that were known of the group's plans; before it is said, none is at work.
    pub fn set_plan(&self, group: &GroupName, plan: PlanInSight) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(group.clone(), plan);
    }
    /// As if the record named that zone, which is another one.
    pub fn set_elsewhere(&self, group: &GroupName, zone: ZoneName) {
        let elsewhere = self.elsewhere.lock();
        let mut elsewhere = elsewhere.unwrap_or_else(PoisonError::into_inner);
        elsewhere.insert(group.clone(), zone);
    }
    /// As if it were lost.
    pub fn lose(&self, group: &GroupName) {
        self.map().remove(group);
    }
}

impl Leases for FixedLeases {
    fn recorded_elsewhere(&self, group: &GroupName) -> Option<ZoneName> {
        let elsewhere = self.elsewhere.lock();
        let elsewhere = elsewhere.unwrap_or_else(PoisonError::into_inner);
        elsewhere.get(group).cloned()
    }
    fn held(&self) -> Vec<GroupName> {
        self.map().keys().cloned().collect()
    }
    fn view(&self, group: &GroupName) -> LeaseView {
        match self.map().get(group) {
            Some(g) => LeaseView::Held {
                generation: *g,
                left: rekindle_common::duration::Span::secs(3600),
            },
            None => LeaseView::NotHeld,
        }
    }
    fn take<'a>(
        &'a self,
        group: &'a GroupName,
        generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        self.map().insert(group.clone(), generation);
        Box::pin(async move { Ok(self.view(group)) })
    }
    fn give_up<'a>(
        &'a self,
        group: &'a GroupName,
        _generation: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        self.map().remove(group);
        Box::pin(async move { Ok(LeaseView::NotHeld) })
    }
    fn plan<'a>(&'a self, group: &'a GroupName, _: Instant) -> BoxFuture<'a, PlanInSight> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.get(group).cloned().unwrap_or(PlanInSight::None);
        Box::pin(async move { plan })
    }
}

/// How long a view still allows writing; zero where it does not.
#[must_use]
pub fn left(view: &LeaseView) -> std::time::Duration {
    match view {
        LeaseView::Held { left, .. } | LeaseView::KeptByFailsafe { left, .. } => left.get(),
        LeaseView::Isolated { .. } | LeaseView::NotHeld => std::time::Duration::ZERO,
    }
}

/// A sidecar without etcd: it holds nothing, so nothing in a group is promoted here.
#[derive(Debug, Default)]
pub struct NoLeases;

impl NoLeases {
    fn refuse<'a>() -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        Box::pin(async {
            Err(ApiError::new(
                rekindle_common::ErrorCode::StoreUnavailable,
                "this sidecar was configured without etcd: it takes no leases",
            ))
        })
    }
}

impl Leases for NoLeases {
    fn recorded_elsewhere(&self, _: &GroupName) -> Option<ZoneName> {
        None
    }
    fn held(&self) -> Vec<GroupName> {
        Vec::new()
    }
    fn view(&self, _: &GroupName) -> LeaseView {
        LeaseView::NotHeld
    }
    fn take<'a>(
        &'a self,
        _: &'a GroupName,
        _: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        Self::refuse()
    }
    fn give_up<'a>(
        &'a self,
        _: &'a GroupName,
        _: Generation,
    ) -> BoxFuture<'a, Result<LeaseView, ApiError>> {
        Self::refuse()
    }
    fn plan<'a>(&'a self, _: &'a GroupName, _: Instant) -> BoxFuture<'a, PlanInSight> {
        Box::pin(async { PlanInSight::Unknown })
    }
}
