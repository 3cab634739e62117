//! How a volume is, and what is about to be done to it: for the gateway, which lets nothing begin that a failover would run into.
//!
//! | what is known | from where |
//! |---|---|
//! | the zone is frozen | this process |
//! | a `cinder failover-host` moves the volume | this process, where cinder-volume asks this sidecar |
//! | a plan is at work on its group | etcd, asked now: it says so from the plan's beginning on, whatever step it is at |
//! | a stand-by is being built on it | this process |

use super::Volumes;
use rekindle_common::{
    ApiError, ImageSpec,
    plan::PlanInSight,
    volume::{Outlook, UnderWay},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// etcd answers within that, or is not asked any more: somebody waits.
const ETCD: Duration = Duration::from_millis(500);

/// Which volumes a failover-host moves, and how many do.
#[derive(Debug, Clone, Default)]
pub(super) struct FailingOver(Arc<Mutex<BTreeMap<ImageSpec, u32>>>);

impl FailingOver {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ImageSpec, u32>> {
        // Each change under it is one count's.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failover-host at work; dropping it ends it.
#[derive(Debug)]
pub(crate) struct FailsOver {
    images: Vec<ImageSpec>,
    among: FailingOver,
}

impl Drop for FailsOver {
    fn drop(&mut self) {
        let mut all = self.among.all();
        for image in &self.images {
            if let Some(n) = all.get_mut(image) {
                *n = n.saturating_sub(1);
            }
        }
        all.retain(|_, n| *n > 0);
    }
}

impl Volumes {
    /// Until the guard is dropped, a failover-host moves them.
    pub(crate) fn fails_over(&self, images: Vec<ImageSpec>) -> FailsOver {
        let among = self.inner.failing_over.clone();
        let mut all = among.all();
        for image in &images {
            *all.entry(image.clone()).or_default() += 1;
        }
        drop(all);
        FailsOver { images, among }
    }

    /// One volume, and what is under way around it.
    ///
    /// # Errors
    /// As [`Self::volume`]'s.
    pub async fn outlook(&self, spec: &ImageSpec) -> Result<Outlook, ApiError> {
        let inner = &self.inner;
        let report = self.volume(spec).await?;
        let mut under_way = Vec::new();
        // Behind the look: what begins after that has not been told of either.
        if let Some(group) = &report.group {
            let plan = inner.leases.plan(group, Instant::now() + ETCD).await;
            under_way.extend(match plan {
                PlanInSight::None => None,
                PlanInSight::AtWork(plan) => Some(UnderWay::Plan(plan)),
                PlanInSight::Unknown => Some(UnderWay::PlanUnknown),
            });
        }
        if inner.failing_over.all().contains_key(spec) {
            under_way.push(UnderWay::FailoverHost);
        }
        under_way.extend(inner.frozen().map(UnderWay::Frozen));
        if self.may_stand_by(spec) {
            under_way.push(UnderWay::StandBy);
        }
        Ok(Outlook { report, under_way })
    }
}
