//! Plans, and how they go on.

use super::{FailedServerView, FailedVolumeView, Problem, Progress};
use jiff::Timestamp;
use rekindle_common::{GroupName, PlanId, ZoneName};
use rekindle_core::{
    plan::{Plan, PlanKind},
    saga,
};
use serde::{Deserialize, Serialize};

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
