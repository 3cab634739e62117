//! What crosses the orchestrator's API. The bodies of `admin`'s routes and of [`crate::client::OrchestratorClient`].
//!
//! | request | answered by | body -> answer |
//! |---|---|---|
//! | `GET /v1/leader` | any site | -> [`LeaderAnswer`] |
//! | `GET /v1/status` | any site | -> [`Status`]; whole only from the leader |
//! | `GET /v1/groups` | leader | -> `[`[`GroupStatus`]`]` |
//! | `GET /v1/groups/{group}` | leader | -> [`GroupStatus`] |
//! | `PUT /v1/groups/{group}` | leader | `GroupSpec` -> [`GroupPut`] (201 created, 200 changed) |
//! | `DELETE /v1/groups/{group}` | leader | -> 204 |
//! | `PUT /v1/groups/{group}/servers/{server}/record` | leader | a server's record (docs/schemas) -> [`RecordPut`] |
//! | `POST /v1/groups/{group}/plans` | leader | [`PlanRequest`] -> [`PlanAnswer`] (202 begun, 200 only shown) |
//! | `POST /v1/groups/{group}/approve` | leader | [`ApproveRequest`] -> core's `Approval` |
//! | `POST /v1/groups/{group}/acknowledge` | leader | [`AcknowledgeRequest`] -> core's `FailoverMemory` |
//! | `PUT`, `DELETE /v1/maintenance` | leader | [`Maintenance`] -> 204 |
//! | `GET /v1/catalogue` | leader | -> [`CatalogueStatus`]; `unsupported` where no catalogue is kept |
//! | `GET /v1/servers` | leader | -> [`ServersStatus`]; `unsupported` where none are followed |
//! | `GET /v1/plans?group=&limit=` | any site | -> `[`[`PlanSummary`]`]`, newest first |
//! | `GET /v1/plans/{plan}` | any site | -> [`PlanDetail`] |
//! | `POST /v1/plans/{plan}/retry` | leader | -> [`PlanSummary`] |
//! | `POST /v1/plans/{plan}/give-up` | leader | -> [`PlanSummary`] |
//! | `POST /v1/plans/{plan}/approve` | leader | [`PauseRequest`] -> [`PauseApproval`]; `held` where it does not pause before that level |
//! | `GET /v1/plans/{plan}/watch` | any site | -> [`WatchLine`]s, one JSON object a line, until the plan ends or waits for a person |
//! | `POST /v1/failsafe` | any site | `FailsafeQuestion` -> `FailsafeAnswer` |
//!
//! A site that does not lead answers the leader's requests with `not_leader` (421). Every refusal is an
//! [`rekindle_common::ApiError`].

pub use crate::preflight::KeptPreflight;
// What sidecars read too.
pub use crate::steps::pause::PauseApproval;
pub use rekindle_common::plan::{
    FailedServerView, FailedVolumeView, Leader, LeaderAnswer, PlanRequest, Problem, Run,
};

use jiff::Timestamp;
use rekindle_common::{
    ErrorCode, GroupName, PlanId, ServerKey, SiteName, ZoneName, duration::Span,
    lease::PrimaryRecord, policy::GroupSpec, runbook::StandbyPolicy, status::VolumeStatus,
    volume::VolumeReport, zone::ZoneReport,
};
use rekindle_core::{
    catalogue::{Finding, Shown},
    decision::Decision,
    detector::Diagnosis,
    observation::SiteObservations,
    plan::{LeftOut, Plan, PlanKind},
    saga,
    snapshot::{Approval, Approved, FailoverMemory, LeaseSight, Unprotected},
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

/// The body of `PUT /v1/maintenance`, and the value in etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// In the operator's words.
    pub reason: String,
}

/// The answer to `PUT /v1/groups/{group}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPut {
    /// Whether it is new.
    pub effect: GroupEffect,
    /// Who is primary: of a new group, its home with generation 1.
    pub primary: PrimaryRecord,
}

/// What a `PUT` of a group did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupEffect {
    /// It is new.
    Created,
    /// Its policy was changed.
    Changed,
}

/// The answer to `PUT /v1/groups/{group}/servers/{server}/record`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPut {
    /// What became of it.
    pub effect: RecordEffect,
    /// What changed, in words; nothing that is secret by its name.
    pub changes: Vec<String>,
}

/// What a `PUT` of a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordEffect {
    /// None was kept.
    New,
    /// Another was kept.
    Changed,
    /// The same was kept.
    Unchanged,
}

/// The answer: the plan, and whether it was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// As asked.
    pub run: Run,
    /// The plan.
    pub plan: Plan,
}

/// The body of `POST /v1/groups/{group}/approve`:
/// `{"what": {"what": "failover", "vouch": "no", "loss": "within_limit"}, "by": "ann"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// What may be done.
    pub what: Approved,
    /// Who says so.
    pub by: String,
    /// The generation that the approval is for; another one than the group's is refused. `None`: the group's now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<rekindle_common::Generation>,
}

/// The body of `POST /v1/plans/{plan}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// The level that may start, from 0: the one that the plan pauses before.
    pub level: usize,
    /// Who says so.
    pub by: String,
}

/// The body of `POST /v1/groups/{group}/acknowledge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// Who acknowledges the last failover; goes to the log.
    pub by: String,
}

/// A plan in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// Its id.
    pub id: PlanId,
    /// For which group.
    pub group: GroupName,
    /// What for.
    pub kind: PlanKind,
    /// Where the primary was.
    pub from: ZoneName,
    /// Where it is to be.
    pub to: ZoneName,
    /// When it was made.
    pub at: Timestamp,
    /// When its last record was written.
    pub updated: Option<Timestamp>,
    /// Where it stands; `None` where its journal is corrupted.
    pub state: Option<saga::State>,
    /// Volumes and servers that it could not help: left out from the start, or failed on the way.
    pub not_helped: usize,
    /// Why its journal cannot be read.
    pub problem: Option<Problem>,
}

/// A plan with its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDetail {
    /// The plan.
    pub plan: Plan,
    /// Where it stands; `None` where its journal is corrupted.
    pub state: Option<saga::State>,
    /// Its records, in order.
    pub journal: Vec<saga::Record>,
    /// Volumes that steps failed for.
    pub failed: Vec<saga::FailedVolume>,
    /// Servers that steps failed for.
    #[serde(default)]
    pub failed_servers: Vec<saga::FailedServer>,
    /// Why its journal cannot be read.
    pub problem: Option<Problem>,
}

/// One line of `GET /v1/plans/{plan}/watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum WatchLine {
    /// A record of the journal, from the first on.
    Record {
        /// Its number, from 0.
        seq: u32,
        /// It.
        record: saga::Record,
    },
    /// How far the step at work has come. Only from the leader, only on a change.
    Progress {
        /// How far.
        progress: Progress,
    },
    /// The last line: the plan has ended.
    Ended {
        /// How.
        end: saga::End,
        /// Volumes that need a person.
        not_helped: Vec<FailedVolumeView>,
        /// Servers that need a person.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        servers: Vec<FailedServerView>,
    },
    /// The last line: the plan waits for a person.
    Waiting {
        /// Where it stands.
        state: saga::State,
    },
    /// The last line: the watch cannot go on.
    Broken {
        /// Why.
        problem: Problem,
    },
}

/// The answer to `GET /v1/catalogue`: each zone's volumes as volumes of the other zone's Cinder, as of the leader's last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueStatus {
    /// Who answers.
    pub site: SiteName,
    /// When the last round began to write.
    pub at: Timestamp,
    /// When both zones were last seen whole and nothing failed, in this leader's term.
    pub last_good: Option<Timestamp>,
    /// What was seen of each zone.
    pub zones: Vec<CatalogueZone>,
    /// Replicated volumes with both their records.
    pub volumes: Vec<Shown>,
    /// So many more there are.
    pub more_volumes: usize,
    /// What a person must look at, those of one cause together.
    pub findings: Vec<FoundView>,
    /// So many more there are.
    pub more_findings: usize,
    /// What the last round wrote.
    pub written: usize,
    /// Volumes for which something failed that is tried again.
    pub waiting: usize,
}

/// What was seen of one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueZone {
    /// Which.
    pub zone: ZoneName,
    /// Its images, by its sidecar.
    pub images: Sight,
    /// Its Cinder's records on our backends.
    pub records: Sight,
}

/// Whether something was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Sight {
    /// All of it.
    Seen {
        /// How many.
        count: usize,
    },
    /// Not, or not all: what is not listed is not known to be gone.
    Missing {
        /// How many were seen all the same.
        count: usize,
        /// Why.
        why: String,
    },
}

/// A finding, and since when it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// Since when, as far as this leader has seen.
    pub since: Timestamp,
    /// Whether it has lasted, and is no passing gap.
    pub lasts: bool,
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The answer to `GET /v1/servers`: the groups' servers, as of the leader's last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersStatus {
    /// Who answers.
    pub site: SiteName,
    /// When the last round ended.
    pub at: Timestamp,
    /// They.
    pub servers: Vec<ServerView>,
    /// So many more there are.
    pub more: usize,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Of which group.
    pub group: GroupName,
    /// Its name there.
    pub key: ServerKey,
    /// What is to stand by for it.
    pub standby: StandbyPolicy,
    /// What its stand-by does.
    #[serde(default)]
    pub standby_state: StandbyState,
    /// Where it serves; none: it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ZoneName>,
    /// What it does there: `running`, `shut_off`, `not there`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// What its stand-by does, in Nova's words; `-`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_by: Option<String>,
    /// How old its record is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// Which server it is in each zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<ZoneName, String>,
    /// What is in the way, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a stand-by does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum StandbyState {
    /// Nobody has looked: a plan is at work, say.
    #[default]
    NotLookedAt,
    /// It cannot be told now.
    Unknown,
    /// It is certain that there is none.
    Absent,
    /// It is off, as it should be.
    Resting,
    /// It runs.
    Running,
    /// Something is at work on it.
    Changing,
    /// Nova says that it failed.
    Failed,
}

impl ServersStatus {
    /// What of it a person must look at.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let troubled = self.servers.iter().filter_map(|s| {
            Some(Problem {
                code: ErrorCode::ServerGap,
                about: format!("server {} of {}", s.key, s.group),
                message: s.trouble.clone()?,
            })
        });
        troubled.collect()
    }
}

/// The answer to `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Who answers.
    pub site: SiteName,
    /// What is not well; empty is well.
    pub concerns: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::plan::{GroupGlance, PlanLine};
    use serde_json::{Value, json};

    fn as_sidecars_read(line: &WatchLine) -> PlanLine {
        let text = serde_json::to_string(line).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn record(event: saga::Event) -> WatchLine {
        WatchLine::Record {
            seq: 3,
            record: saga::Record {
                at: Timestamp::UNIX_EPOCH,
                by: "witness".to_owned(),
                event,
            },
        }
    }

    #[test]
    fn sidecars_read_a_plans_course_out_of_the_same_lines() {
        let failed = saga::Event::StepFailed {
            step: 1,
            error: "no room".to_owned(),
            left: saga::Left::Nothing,
        };
        let told = |line| {
            let PlanLine::Record { record } = as_sidecars_read(&line) else {
                panic!("{line:?}")
            };
            record.event.error
        };
        assert_eq!(told(record(failed)).as_deref(), Some("no room"));
        assert_eq!(told(record(saga::Event::Begun)), None);
        let progress = Progress::default();
        let read = as_sidecars_read(&WatchLine::Progress { progress });
        assert_eq!(read, PlanLine::Progress {});
        let not_helped = vec![FailedVolumeView {
            volume: "volumes/x".parse().unwrap(),
            why: "full".to_owned(),
        }];
        let end = saga::End::Partial;
        let read = as_sidecars_read(&WatchLine::Ended {
            end,
            not_helped: not_helped.clone(),
            servers: vec![FailedServerView {
                server: "db".parse().unwrap(),
                why: "no flavor".to_owned(),
            }],
        });
        assert_eq!(read, PlanLine::Ended { end, not_helped });
        let stuck = saga::State::Stuck {
            step: 2,
            undo: None,
            error: "frozen".to_owned(),
        };
        let line = WatchLine::Waiting { state: stuck };
        let PlanLine::Waiting { state } = as_sidecars_read(&line) else {
            panic!("{line:?}")
        };
        assert_eq!(state.error, "frozen");
    }

    /// What a sidecar reads of a group is there under the same names.
    #[test]
    fn sidecars_read_a_group_out_of_its_status() {
        let spec = json!({"name": "db", "home": "zone-a", "away": "zone-b", "policy": {}});
        let status = |active: Value| -> Value {
            json!({
                "spec": spec, "primary": {"zone": "zone-b", "generation": 2, "since": "2026-01-01T00:00:00Z", "plan": "p1"},
                "lease": {"lease": "gone", "seen_gone_for": "1s"}, "active_plan": active, "volumes": [], "problems": [],
            })
        };
        let active =
            json!({"id": "p2", "kind": "move", "state": null, "text": "", "progress": null});
        for (active, id) in [(active, Some("p2")), (Value::Null, None)] {
            let whole: GroupStatus = serde_json::from_value(status(active)).unwrap();
            let text = serde_json::to_string(&whole).unwrap();
            let glance: GroupGlance = serde_json::from_str(&text).unwrap();
            assert_eq!(glance.primary, whole.primary);
            let read = glance.active_plan.map(|p| p.id.to_string());
            assert_eq!(read.as_deref(), id);
        }
    }
}
