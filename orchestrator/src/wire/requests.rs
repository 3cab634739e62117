//! What is asked for, and what came of it.

use super::Run;
use rekindle_common::lease::PrimaryRecord;
use rekindle_core::{plan::Plan, snapshot::Approved};
use serde::{Deserialize, Serialize};

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
