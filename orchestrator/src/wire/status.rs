//! What the sites, the zones and the groups are like.

use super::{KeptPreflight, Leader, Maintenance, Problem};
use jiff::Timestamp;
use rekindle_common::{
    PlanId, SiteName, ZoneName, duration::Span, lease::PrimaryRecord, policy::GroupSpec,
    status::VolumeStatus, volume::VolumeReport, zone::ZoneReport,
};
use rekindle_core::{
    decision::Decision,
    detector::Diagnosis,
    observation::SiteObservations,
    plan::{LeftOut, PlanKind},
    saga,
    snapshot::{Approval, FailoverMemory, LeaseSight, Unprotected},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of the world a [`Status`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The leader's: everything, as of its last look.
    Whole,
    /// Another site's: itself, who leads, what the sites see. No groups and no zones' own reports.
    SiteOnly,
}

/// Everything that `rekindle status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Who answers.
    pub site: SiteName,
    /// Its version.
    pub version: String,
    /// When it last looked (UTC).
    pub at: Timestamp,
    /// How much it shows.
    pub view: View,
    /// Who leads, as far as it knows.
    pub leader: Option<Leader>,
    /// The operator's wish that nothing be done automatically.
    pub maintenance: Option<Maintenance>,
    /// For how long this site is bound by a promise to an isolated zone.
    pub promised_for: Option<Span>,
    /// All sites that have a vote.
    pub sites: Vec<SiteStatus>,
    /// All zones.
    pub zones: Vec<ZoneStatus>,
    /// All groups.
    pub groups: Vec<GroupStatus>,
    /// What a person must look at.
    pub problems: Vec<Problem>,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Which.
    pub site: SiteName,
    /// What it sees; `None` where it published nothing lately: its orchestrator is down or cut off.
    pub sees: Option<SiteObservations>,
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Which.
    pub zone: ZoneName,
    /// What is the matter with it, all sites taken together, under the shortest hold-off of its groups.
    pub diagnosis: Diagnosis,
    /// The same in words.
    pub text: String,
    /// What its sidecar says of it; `None` where it does not answer.
    pub report: Option<ZoneReport>,
    /// Why there is no report.
    pub silent: Option<String>,
}

/// A decision about a group, and since when it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionView {
    /// It.
    pub decision: Decision,
    /// The same in words.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
}

/// One zone's volumes of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneVolumes {
    /// Which zone.
    pub zone: ZoneName,
    /// How many are in which status.
    pub counts: BTreeMap<VolumeStatus, u32>,
    /// They themselves.
    pub volumes: Vec<VolumeReport>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its definition.
    pub spec: GroupSpec,
    /// Who is primary.
    pub primary: Option<PrimaryRecord>,
    /// Who holds the lease.
    pub lease: LeaseSight,
    /// Since when and why it has no second copy in step; `None` is protected. To be shown loudly.
    pub unprotected: Option<Unprotected>,
    /// The last failover that was carried out.
    pub last_failover: Option<FailoverMemory>,
    /// Hooks that failed at the end of its last plan, which ended well without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_failed: Option<saga::HooksFailed>,
    /// A person's yes that was not used yet.
    pub approval: Option<Approval>,
    /// What is held to be right to do now, and why; `None` before the first look.
    pub decision: Option<DecisionView>,
    /// The plan at work on it.
    pub active_plan: Option<ActivePlan>,
    /// Its volumes, in each zone that answered.
    pub volumes: Vec<ZoneVolumes>,
    /// Volumes that stand in one zone alone: nothing protects them, and no failover helps them.
    #[serde(default)]
    pub alone: Vec<LeftOut>,
    /// What the last daily check of its servers found; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<KeptPreflight>,
    /// What a person must look at.
    pub problems: Vec<Problem>,
}

/// A plan at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivePlan {
    /// Which.
    pub id: PlanId,
    /// What for; `None` where the plan could not be read.
    pub kind: Option<PlanKind>,
    /// Where it stands.
    pub state: Option<saga::State>,
    /// The same in words: the step at work, or why it waits.
    pub text: String,
    /// How far the step at work has come.
    pub progress: Option<Progress>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Progress {
    /// The step's number, from 0.
    pub step: usize,
    /// Its name.
    pub name: String,
    /// Volumes or servers done, or in the state that is waited for.
    pub done: usize,
    /// Of how many; 0 for a step that is about neither.
    pub of: usize,
    /// What it does or waits for, in words.
    pub note: String,
}

/// The answer to `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Who answers.
    pub site: SiteName,
    /// What is not well; empty is well.
    pub concerns: Vec<String>,
}
