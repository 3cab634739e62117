//! What this site promises to a zone that cannot reach etcd.
//!
//! ```text
//!   sidecar of A: cannot renew, asks every other site     this site: etcd answers me          -> EtcdIsWell: act as isolated
//!                                                                    I know a newer primary   -> NotYours
//!                                                                    else                     -> StillYours, and records no other primary for a ttl + margin
//! ```
//!
//! The promise counts from before the answer is sent, the asker counts from after it is received. It stands in memory: a process
//! that has just started may have forgotten one, so it is bound for as long as if it had given one. And it may have forgotten
//! what it recorded itself: until it has read a group's record once since its start, or while it is changing that record, it
//! does not vouch for anybody.

use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, SiteName,
    duration::Span,
    keys,
    lease::PrimaryRecord,
    zone::{FailsafeAnswer, FailsafeQuestion},
};
use rekindle_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// A site's promises.
#[derive(Debug)]
pub struct Failsafe {
    site: SiteName,
    store: Store,
    started: Instant,
    /// How long etcd is given to show that it is well.
    deadline: Duration,
    groups: Mutex<BTreeMap<GroupName, Group>>,
}

#[derive(Debug, Clone)]
struct Group {
    /// The record as it was last read.
    primary: Option<PrimaryRecord>,
    lasts: Duration,
    promised_until: Option<Instant>,
    change: Change,
}

/// A change of the record by this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    UnderWay,
    /// It was sent then at the latest, and its outcome is not known.
    Unsettled(Instant),
}

/// After that long etcd has applied a transaction or never will: its own bound on a request is 5 s and an election.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// A change of the primary record is being tried: no promise is given meanwhile. Dropped without [`Self::settled`] its outcome is
/// not known, and none is given until a read well after it has shown the record.
#[derive(Debug)]
#[must_use]
pub struct Recording<'a> {
    failsafe: &'a Failsafe,
    group: GroupName,
}

impl Failsafe {
    /// A site that has just started.
    #[must_use]
    pub fn new(site: SiteName, store: Store, deadline: Duration) -> Self {
        Self {
            site,
            store,
            started: Instant::now(),
            deadline,
            groups: Mutex::default(),
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupName, Group>> {
        // Each change under this lock is one assignment.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read of a group, and how long a promise for it lasts ([`rekindle_common::lease::LeaseTiming::promise`]).
    pub fn learn(&self, group: &GroupName, primary: Option<&PrimaryRecord>, lasts: Span) {
        let mut groups = self.groups();
        let entry = groups.entry(group.clone()).or_insert_with(|| Group {
            primary: None,
            lasts: lasts.get(),
            promised_until: None,
            change: Change::None,
        });
        entry.lasts = lasts.get();
        if matches!(entry.change, Change::Unsettled(since) if since.elapsed() > SETTLED_AFTER) {
            entry.change = Change::None;
        }
        // A read that began before a change of ours ended may be older than it.
        let newer = |p: &PrimaryRecord| {
            entry
                .primary
                .as_ref()
                .is_none_or(|known| p.generation >= known.generation)
        };
        if primary.is_some_and(newer) {
            entry.primary = primary.cloned();
        }
    }

    /// Answers an isolated zone.
    ///
    /// # Errors
    /// `unavailable` where this site cannot say: it has not read the group's record since its start, or is changing it.
    pub async fn answer(&self, question: &FailsafeQuestion) -> Result<FailsafeAnswer, ApiError> {
        let site = self.site.clone();
        let key = keys::group_primary(&question.group);
        if let Ok(Ok(_)) = timeout(self.deadline, self.store.get(&key)).await {
            tracing::info!(group = %question.group, zone = %question.zone, "failsafe: etcd is well");
            return Ok(FailsafeAnswer::EtcdIsWell { site });
        }
        let mut groups = self.groups();
        let unknown = |why: &str| {
            ApiError::new(
                ErrorCode::Unavailable,
                format!("{} cannot vouch for {}: {why}", self.site, question.group),
            )
        };
        let Some(group) = groups.get_mut(&question.group) else {
            return Err(unknown("it has not read its record since it started"));
        };
        if group.change != Change::None {
            return Err(unknown("a change of its primary is under way"));
        }
        let Some(primary) = &group.primary else {
            return Err(unknown("it knows no primary of it"));
        };
        if primary.zone != question.zone || primary.generation != question.generation {
            let generation: Generation = primary.generation;
            tracing::info!(group = %question.group, zone = %question.zone, generation = %generation, "failsafe: not yours");
            return Ok(FailsafeAnswer::NotYours { site, generation });
        }
        let until = Instant::now() + group.lasts;
        group.promised_until = group.promised_until.max(Some(until));
        tracing::warn!(group = %question.group, zone = %question.zone, "failsafe: etcd is lost here too; promised to record no other primary");
        let lasts = Some(Span(group.lasts));
        Ok(FailsafeAnswer::StillYours { site, lasts })
    }

    /// Until when this site may record no other primary for the group; `None`: it is free.
    #[must_use]
    pub fn bound_until(&self, group: &GroupName, lasts: Span) -> Option<Instant> {
        let promised = self.groups().get(group).and_then(|g| g.promised_until);
        promised
            .max(Some(self.started + lasts.get()))
            .filter(|until| *until > Instant::now())
    }

    /// For how long it is bound for any of these groups.
    #[must_use]
    pub fn bound_for<'a>(
        &self,
        groups: impl Iterator<Item = (&'a GroupName, Span)>,
    ) -> Option<Span> {
        let until = groups
            .filter_map(|(g, lasts)| self.bound_until(g, lasts))
            .max()?;
        Some(Span(until.saturating_duration_since(Instant::now())))
    }

    /// For how long it is bound for any group that it knows: for a status without etcd.
    #[must_use]
    pub fn bound(&self) -> Option<Span> {
        let known: Vec<(GroupName, Span)> = self
            .groups()
            .iter()
            .map(|(name, g)| (name.clone(), Span(g.lasts)))
            .collect();
        self.bound_for(known.iter().map(|(name, lasts)| (name, *lasts)))
    }

    /// Begins to change a group's primary record.
    ///
    /// # Errors
    /// What is left of a promise that forbids it.
    pub fn begin_recording(&self, group: &GroupName, lasts: Span) -> Result<Recording<'_>, Span> {
        if let Some(until) = self.bound_until(group, lasts) {
            return Err(Span(until.saturating_duration_since(Instant::now())));
        }
        let mut groups = self.groups();
        let entry = groups.entry(group.clone()).or_insert_with(|| Group {
            primary: None,
            lasts: lasts.get(),
            promised_until: None,
            change: Change::None,
        });
        // A promise may have been given since: both are under this lock.
        if let Some(until) = entry.promised_until.filter(|u| *u > Instant::now()) {
            return Err(Span(until.saturating_duration_since(Instant::now())));
        }
        entry.change = Change::UnderWay;
        Ok(Recording {
            failsafe: self,
            group: group.clone(),
        })
    }
}

impl Recording<'_> {
    /// The outcome is known: this is the record now.
    pub fn settled(self, primary: &PrimaryRecord) {
        if let Some(g) = self.failsafe.groups().get_mut(&self.group) {
            g.change = Change::None;
            g.primary = Some(primary.clone());
        }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if let Some(g) = self.failsafe.groups().get_mut(&self.group)
            && g.change == Change::UnderWay
        {
            g.change = Change::Unsettled(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
