//! A zone's freeze: actions are refused, all but demotion.
//!
//! It is the zone's and not one sidecar's: it stands in the zone's cluster, and each sidecar reads it there, every few seconds and right
//! before it takes a lease or destroys anything. What could not be written there is this sidecar's alone until it is.
//!
//! Beside it a sidecar freezes itself while a lease is not renewed whose isolation response is `freeze`. That is its own, and never in
//! the record: the zone's other sidecar may hold that very lease.

use super::{Inner, Volumes};
use crate::{
    backend::{BackendError, BackendErrorKind, Op},
    replication::Refusal,
};
use jiff::Timestamp;
use rekindle_common::{ApiError, GroupName, zone::Freeze};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::time::Instant;

/// What this sidecar knows of it.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    /// The zone's.
    zone: Option<Freeze>,
    /// Since when the record should say so, where it could not be written yet.
    owed: Option<Timestamp>,
    /// This sidecar's own, for each group that is isolated.
    isolated: BTreeMap<GroupName, Freeze>,
}

/// How a freeze that is owed to the record meets what it finds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// Somebody asks for it now: it goes over whatever is there.
    Now,
    /// It was asked for before: a freeze or thaw that is newer stays.
    Late,
}

impl Volumes {
    /// Refuses actions (all but demotion) in the zone until [`Self::thaw`]; also after a restart and by its other sidecars, where the
    /// cluster could note it.
    pub async fn freeze(&self, reason: String) -> Freeze {
        let freeze = Freeze {
            reason,
            since: self.inner.clock.now(),
        };
        self.set_freeze(Some(freeze.clone())).await;
        freeze
    }

    /// Why it refuses actions, while it does, as far as this sidecar has heard.
    #[must_use]
    pub fn frozen(&self) -> Option<Freeze> {
        self.inner.frozen()
    }

    /// Takes actions again.
    pub async fn thaw(&self) {
        // Whoever thaws means all of it.
        self.inner.freeze_mut().isolated.clear();
        self.set_freeze(None).await;
    }

    /// Freezes this sidecar for a group that is isolated, or ends that.
    pub(crate) async fn set_isolated(&self, group: &GroupName, frozen: bool, reason: String) {
        let since = self.inner.clock.now();
        let noted_before = {
            let mut known = self.inner.freeze_mut();
            if frozen {
                let freeze = Freeze {
                    reason: reason.clone(),
                    since,
                };
                known.isolated.entry(group.clone()).or_insert(freeze);
            } else {
                known.isolated.remove(group);
            }
            known.zone.as_ref().is_some_and(|f| f.reason == reason)
        };
        // Older sidecars put it into the record.
        if !frozen && noted_before {
            self.set_freeze(None).await;
        }
    }

    async fn set_freeze(&self, freeze: Option<Freeze>) {
        let inner = &self.inner;
        {
            let mut known = inner.freeze_mut();
            known.zone = freeze;
            known.owed = Some(inner.clock.now());
        }
        let deadline = inner.in_(inner.limits.probe);
        if let Err(e) = inner.settle_freeze(Write::Now, deadline).await {
            tracing::warn!(zone = %inner.zone, error = %e, "a freeze or thaw holds for this sidecar alone until it can be noted in the cluster");
        }
    }
}

impl Inner {
    fn freeze_ref(&self) -> RwLockReadGuard<'_, Frozen> {
        self.freeze.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn freeze_mut(&self) -> RwLockWriteGuard<'_, Frozen> {
        self.freeze.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn frozen(&self) -> Option<Freeze> {
        let known = self.freeze_ref();
        known
            .zone
            .as_ref()
            .or_else(|| known.isolated.values().next())
            .cloned()
    }

    /// By what this sidecar has heard: at most as old as its last look.
    pub(super) fn refuse_while_frozen(&self) -> Result<(), Refusal> {
        match self.frozen() {
            None => Ok(()),
            Some(f) => Err(Refusal::Frozen { reason: f.reason }),
        }
    }

    /// By what the zone's record says now. Where it cannot be read that is not known, and what would be destroyed is left alone.
    pub(super) async fn refuse_unless_open(&self) -> Result<(), ApiError> {
        self.look_at_freeze().await?;
        Ok(self.refuse_while_frozen()?)
    }

    /// Takes up what the zone's record says, or writes there what is owed to it.
    pub(super) async fn look_at_freeze(&self) -> Result<(), BackendError> {
        let deadline = self.in_(self.limits.probe);
        self.settle_freeze(Write::Late, deadline).await
    }

    async fn settle_freeze(&self, write: Write, deadline: Instant) -> Result<(), BackendError> {
        let asked = Instant::now();
        // One at a time, so that no reading is taken up that is older than a change.
        let Ok(mut last) = tokio::time::timeout_at(deadline, self.freezing.lock()).await else {
            return Err(BackendError::new(
                Op::ReadObject,
                None,
                BackendErrorKind::Deadline,
                "the zone's freeze is being read or written, and the cluster does not answer",
            ));
        };
        if write == Write::Late && last.is_some_and(|begun| begun > asked) {
            return Ok(());
        }
        let begun = Instant::now();
        let there = match self.records.freeze(deadline).await {
            Ok(there) => there,
            // A freeze or thaw mends it.
            Err(e) if write == Write::Now && e.kind == BackendErrorKind::Corrupt => None,
            Err(e) => return Err(e),
        };
        let thawed = match write {
            Write::Late if self.freeze_ref().owed.is_some() => {
                self.records.thawed(deadline).await?
            }
            // What is asked for now is the newest.
            Write::Late | Write::Now => None,
        };
        let Some((owed, at)) = self.take_up(there, thawed, write) else {
            *last = Some(begun);
            return Ok(());
        };
        self.records.set_freeze(owed.as_ref(), at, deadline).await?;
        let mut known = self.freeze_mut();
        // Else another was asked for meanwhile, and waits.
        if known.zone == owed {
            known.owed = None;
        }
        *last = Some(begun);
        Ok(())
    }

    /// What is to be written and since when, where something is owed; else what is there counts.
    fn take_up(
        &self,
        there: Option<Freeze>,
        thawed: Option<Timestamp>,
        write: Write,
    ) -> Option<(Option<Freeze>, Timestamp)> {
        let mut known = self.freeze_mut();
        let last = there.as_ref().map(|f| f.since).max(thawed);
        match known.owed {
            Some(at) if write == Write::Now || last.is_none_or(|last| last <= at) => {
                Some((known.zone.clone(), at))
            }
            Some(_) | None => {
                known.owed = None;
                if known.zone != there {
                    tracing::info!(zone = %self.zone, freeze = ?there, "the zone's freeze is not what it was: taken up");
                    known.zone = there;
                }
                None
            }
        }
    }
}
