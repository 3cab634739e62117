//! The world as it is read once: etcd's records, then both zones, put together into core's `Snapshot`.
//!
//! ```text
//!   records (etcd)  ──┐
//!   zones (sidecars) ─┼──> World { snapshot, revisions to compare, problems }
//!   lease clock ──────┘
//! ```
//!
//! A record that cannot be read is a named problem, never a default: its group is left out of the snapshot, so that nothing is
//! decided about it.

mod lease_clock;
mod records;
mod zones;

pub use lease_clock::LeaseClock;
pub use records::{GroupRecords, Records, Stored, read};
pub(crate) use records::{list, problem};
pub use zones::ZoneLooks;

use crate::{
    clock::Clock, coordination::failsafe::Failsafe, observe::Probe, wire::Problem, zone::Zone,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use rekindle_common::{
    ErrorCode, GroupName, SiteName, ZoneName, duration::Span, keys, lease::PrimaryRecord,
};
use rekindle_core::{
    alone::SeenVolumes,
    skew::Skew,
    snapshot::{GroupView, Snapshot},
};
use rekindle_store::{Store, StoreError};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// So many groups' lists are read at once.
const LISTS_AT_ONCE: usize = 16;

/// Of the primaries that do not answer.
type Seen = BTreeMap<GroupName, SeenVolumes>;

/// One look at everything.
#[derive(Debug, Clone)]
pub struct World {
    /// When the records were asked for: what was written before shows in them.
    pub asked: Instant,
    /// What decisions look at.
    pub snapshot: Snapshot,
    /// The records as they were read, with the revisions that a transaction compares.
    pub groups: BTreeMap<GroupName, GroupRecords>,
    /// Why a zone has no report.
    pub silent: BTreeMap<ZoneName, String>,
    /// What a person must look at.
    pub problems: Vec<Problem>,
}

/// Puts the world together.
#[derive(Debug)]
pub struct Assembler {
    /// This site.
    pub site: SiteName,
    /// All sites that have a vote.
    pub sites: Vec<SiteName>,
    /// All zones.
    pub zones: Vec<Arc<Zone>>,
    /// This site's store.
    pub store: Store,
    /// This site's promises.
    pub failsafe: Arc<Failsafe>,
    /// The wall clock.
    pub clock: Clock,
    /// What this site looks with: it has seen the zones' clocks.
    pub probes: Vec<Arc<dyn Probe>>,
    /// A zone's clock that is further from this site's is a problem.
    pub max_skew: Span,
    /// For each question to a zone.
    pub zone_deadline: Duration,
}

impl Assembler {
    /// Reads everything. `leases` belongs to the caller's term of leadership.
    ///
    /// # Errors
    /// [`StoreError`] where etcd does not answer: without it there is nothing to decide on.
    pub async fn assemble(&self, leases: &LeaseClock) -> Result<World, StoreError> {
        let asked = Instant::now();
        let records = read(&self.store).await?;
        let answered = Instant::now();
        self.learn(&records);
        let looks = zones::look(&self.zones, &records.groups, self.zone_deadline).await;
        let seen = self.seen(&records, &looks).await?;
        Ok(self.put_together(records, (asked, answered), looks, seen, leases))
    }

    /// Reads the records alone: what a site that does not lead needs to answer for its promises.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_records(&self) -> Result<Records, StoreError> {
        let records = read(&self.store).await?;
        self.learn(&records);
        Ok(records)
    }

    /// What the sites see now and how the group is recorded, without asking a zone: for a plan at work, which asks whether what it
    /// waits for can still come. Says nothing of the lease's time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outlook(&self, group: &GroupName) -> Result<Snapshot, StoreError> {
        let asked = Instant::now();
        let records = records::read_one(&self.store, group).await?;
        let read = (asked, Instant::now());
        Ok(self.as_seen(records, read, ZoneLooks::default()))
    }

    /// The same, and what the recorded primary says of itself where etcd has no lease of it: it may be isolated. Asked only then, for it may be dead.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outlook_on_primary(&self, group: &GroupName) -> Result<Snapshot, StoreError> {
        let asked = Instant::now();
        let records = records::read_one(&self.store, group).await?;
        let read = (asked, Instant::now());
        let unserved = records.groups.get(group).filter(|g| g.lease.is_none());
        let primary = unserved.and_then(|g| g.primary.as_ref());
        let zone = primary.and_then(|p| self.zones.iter().find(|z| *z.name() == p.value.zone));
        let looks = match zone {
            Some(zone) => zones::report(zone, self.zone_deadline).await,
            None => ZoneLooks::default(),
        };
        Ok(self.as_seen(records, read, looks))
    }

    fn as_seen(&self, records: Records, read: (Instant, Instant), looks: ZoneLooks) -> Snapshot {
        let nobody = LeaseClock::default();
        self.put_together(records, read, looks, Seen::new(), &nobody)
            .snapshot
    }

    /// What the primaries that do not answer listed when they did. A list that cannot be read says nothing, and bars nothing.
    async fn seen(&self, records: &Records, looks: &ZoneLooks) -> Result<Seen, StoreError> {
        let mut questions = Vec::new();
        for (name, g) in &records.groups {
            let listed = looks.volumes.get(name);
            let silent =
                |p: &Stored<PrimaryRecord>| !listed.is_some_and(|v| v.contains_key(&p.value.zone));
            if g.primary.as_ref().is_some_and(silent) {
                questions.push(self.seen_of(name).boxed());
            }
        }
        // A dead zone is every group's that is primary there: asked side by side, for the decision waits for it.
        let answers = stream::iter(questions).buffer_unordered(LISTS_AT_ONCE);
        let all: Vec<Option<(GroupName, SeenVolumes)>> = answers.try_collect().await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn seen_of(
        &self,
        name: &GroupName,
    ) -> Result<Option<(GroupName, SeenVolumes)>, StoreError> {
        let Some(kv) = self.store.get(&keys::group_volumes(name)).await? else {
            return Ok(None);
        };
        match kv.json() {
            Ok(volumes) => Ok(Some((name.clone(), volumes))),
            Err(e) => {
                tracing::warn!(group = %name, error = %e, "what its primary held is not known");
                Ok(None)
            }
        }
    }

    fn learn(&self, records: &Records) {
        for (name, g) in &records.groups {
            let primary = g.primary.as_ref().map(|p| &p.value);
            self.failsafe
                .learn(name, primary, g.spec.policy.lease.promise());
        }
    }

    /// How far the zones' clocks are from this site's.
    fn clocks(&self) -> BTreeMap<ZoneName, Skew> {
        let seen = self.probes.iter();
        seen.filter_map(|p| Some((p.zone().clone(), p.clock()?)))
            .collect()
    }

    /// Hard case 12: said as long as it is so, whether a group's limit depends on it or not.
    fn skewed(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let concern = |(zone, skew): (&ZoneName, &Skew)| {
            Some(Problem {
                code: ErrorCode::ClockSkew,
                about: zone.to_string(),
                message: skew.concern(zone, &self.site, self.max_skew)?,
            })
        };
        snapshot.clocks.iter().filter_map(concern).collect()
    }

    fn put_together(
        &self,
        records: Records,
        read: (Instant, Instant),
        looks: ZoneLooks,
        mut seen: Seen,
        leases: &LeaseClock,
    ) -> World {
        let mut volumes = looks.volumes;
        let ttls = records
            .groups
            .iter()
            .map(|(name, g)| (name, g.spec.policy.lease.promise()));
        let promised_for = self.failsafe.bound_for(ttls);
        let groups = records
            .groups
            .iter()
            .map(|(name, g)| {
                let view = GroupView {
                    spec: g.spec.clone(),
                    primary: g.primary.as_ref().map(|p| p.value.clone()),
                    lease: leases.see(name, g.lease.as_ref(), g.spec.policy.lease.ttl, read),
                    state: g
                        .state
                        .as_ref()
                        .map(|s| s.value.clone())
                        .unwrap_or_default(),
                    active_plan: g.active_plan.clone(),
                    approval: g.approval.as_ref().map(|a| a.value.clone()),
                    seen: seen.remove(name),
                    volumes: volumes.remove(name).unwrap_or_default(),
                };
                (name.clone(), view)
            })
            .collect();
        let snapshot = Snapshot {
            reference_time: self.clock.now(),
            sites: self.sites.clone(),
            observations: records.observations,
            zones: looks.reports,
            clocks: self.clocks(),
            groups,
            maintenance: records.maintenance.map(|m| m.reason),
            promised_for,
        };
        let mut problems = records.problems;
        problems.extend(looks.problems);
        problems.extend(self.skewed(&snapshot));
        World {
            asked: read.0,
            snapshot,
            groups: records.groups,
            silent: looks.silent,
            problems,
        }
    }
}
