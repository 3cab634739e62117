//! The world as it was read once. A decision looks at one snapshot and at nothing else.

use crate::alone::SeenVolumes;
use crate::observation::SiteObservations;
use crate::skew::Skew;
use jiff::Timestamp;
use rekindle_common::{
    Generation, GroupName, PlanId, SiteName, ZoneName,
    duration::Span,
    lease::{LeaseRecord, PrimaryRecord},
    policy::{GroupSpec, IsolationResponse},
    volume::VolumeReport,
    zone::ZoneReport,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a decision may look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was read (UTC).
    pub reference_time: Timestamp,
    /// All sites that have a vote, dead ones too: a majority is counted of these.
    pub sites: Vec<SiteName>,
    /// What each site sees. A site that published nothing fresh is absent.
    pub observations: BTreeMap<SiteName, SiteObservations>,
    /// What each zone's sidecar says, asked by the leader itself. A zone that did not answer is absent.
    pub zones: BTreeMap<ZoneName, ZoneReport>,
    /// How far each zone's clock was from ours when its sidecar last answered this site: known also of a zone that has died since.
    /// A zone that never answered is absent.
    pub clocks: BTreeMap<ZoneName, Skew>,
    /// The groups.
    pub groups: BTreeMap<GroupName, GroupView>,
    /// The operator's reason, while maintenance is on.
    pub maintenance: Option<String>,
    /// For how long this orchestrator is still bound by a promise that it gave to an isolated zone: none may be failed over.
    pub promised_for: Option<Span>,
}

/// One group as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its definition.
    pub spec: GroupSpec,
    /// Who is primary; `None` before the first was recorded.
    pub primary: Option<PrimaryRecord>,
    /// Who holds the lease now.
    pub lease: LeaseSight,
    /// What is remembered of it.
    pub state: GroupState,
    /// The plan at work on it.
    pub active_plan: Option<PlanId>,
    /// A person's yes.
    pub approval: Option<Approval>,
    /// The primary's volumes as they were last seen; read only where it does not answer.
    pub seen: Option<SeenVolumes>,
    /// Its volumes as each zone sees them; a zone that did not answer is absent.
    pub volumes: BTreeMap<ZoneName, Vec<VolumeReport>>,
}

/// What the leader sees of a lease key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lease", rename_all = "snake_case")]
pub enum LeaseSight {
    /// The key is there.
    Held(LeaseRecord),
    /// The key is absent, and this leader has seen it absent for that long without a break, by its own monotonic clock.
    Gone {
        /// Elapsed time.
        seen_gone_for: Span,
    },
}

/// What must be remembered of a group between decisions. JSON at [`rekindle_common::keys::group_state`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct GroupState {
    /// The last lease that was seen: the key itself is gone when it matters.
    #[serde(default)]
    pub last_lease: Option<LastLease>,
    /// The last failover that we ourselves carried out.
    #[serde(default)]
    pub last_failover: Option<FailoverMemory>,
    /// Since when, and why, the group has no second copy in step. `None`: protected.
    #[serde(default)]
    pub unprotected: Option<Unprotected>,
}

/// The last lease seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastLease {
    /// Its zone.
    pub zone: ZoneName,
    /// Its generation.
    pub generation: Generation,
    /// What its holder does when it cannot renew; `keep` also where it would demote and could not: its cluster took no writes, or
    /// an image could not be read.
    pub isolation_response: IsolationResponse,
}

/// A failover that we carried out: the only ground on which a loser's data is ever discarded (hard case 17).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverMemory {
    /// The plan.
    pub plan: PlanId,
    /// The zone that lost the primary role.
    pub from: ZoneName,
    /// The generation that it began.
    pub generation: Generation,
    /// When.
    pub at: Timestamp,
    /// Whether an operator has acknowledged it: ends the blocking period.
    pub acknowledged: bool,
}

/// Nothing protects the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unprotected {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub why: String,
}

/// A person's yes. Valid for one generation only: it cannot be used up by a later event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What may be done.
    pub what: Approved,
    /// The generation of the primary record that it was given for.
    pub generation: Generation,
    /// Who, in their own words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Approved {
    /// A failover.
    Failover {
        /// The person vouches that the old primary cannot write: the last resort where there is no other proof.
        vouch: Vouch,
        /// Whether a loss beyond the RPO limit, or an unknown one, is accepted.
        loss: LossAccepted,
    },
    /// The loser may be demoted and resynced.
    Reprotect,
    /// A planned move home.
    Failback,
}

/// Whether a person vouches for the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vouch {
    /// No: proof must come from elsewhere.
    No,
    /// The old primary is powered off or cut from its clients, and stays so.
    CannotWrite,
}

/// Whether a loss is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossAccepted {
    /// Up to the limit.
    WithinLimit,
    /// Any.
    Any,
}

impl GroupView {
    /// The zone that is not primary; `None` before a primary was recorded.
    #[must_use]
    pub fn copy_zone(&self) -> Option<&ZoneName> {
        self.primary.as_ref().and_then(|p| self.spec.other(&p.zone))
    }
    /// The group's volumes in that zone, where it answered.
    #[must_use]
    pub fn volumes_in(&self, zone: &ZoneName) -> Option<&[VolumeReport]> {
        self.volumes.get(zone).map(Vec::as_slice)
    }
}
