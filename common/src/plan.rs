//! What a sidecar asks an orchestrator about plans, and what it takes from the answers.
//!
//! The answers are larger (`orchestrator/src/wire.rs`): a plan with its steps, a journal. Who only waits for a plan's end reads of
//! them what stands here, and nothing more. A test in the orchestrator holds the two against each other.

use crate::{
    error::ErrorCode,
    ids::{ImageSpec, PlanId, ServerKey, SiteName, ZoneName},
    lease::PrimaryRecord,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an operator asks for by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Move the primary to that zone, losing nothing.
    Move {
        /// Where to.
        to: ZoneName,
    },
    /// Move it home.
    Failback,
    /// Promote the recorded primary's images again after they were demoted by hand or by isolation.
    Resume,
    /// Make the other zone a copy again.
    Reprotect,
    /// Fail over now, as far as proof and policy allow: does not wait for the hold-off's end, never for less than proof.
    Failover,
}

/// Whether a plan is only to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It is begun.
    #[default]
    Begin,
    /// It is shown, and nothing is done (`--dry-run`).
    DryRun,
}

/// The body of `POST /v1/groups/{group}/plans`: `{"request": {"request": "move", "to": "zone-b"}, "run": "dry_run"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What is asked for.
    pub request: Request,
    /// For show or in earnest.
    #[serde(default)]
    pub run: Run,
}

/// How a plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All steps, all volumes, all servers.
    Succeeded,
    /// All steps; some volumes or servers need a person (hard case 41).
    Partial,
    /// A step failed before anything was changed.
    Abandoned,
    /// A step failed, and what had been done was put back.
    Unwound,
    /// It was stuck, and a person gave it up: what it had done stands, and the next decision looks at things as they are.
    GivenUp,
    /// It was stuck, and the loss of a zone made it pointless: it ended by itself, as if given up.
    Overtaken,
}

impl End {
    /// As people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Abandoned => "abandoned",
            Self::Unwound => "put back",
            Self::GivenUp => "given up",
            Self::Overtaken => "overtaken by a zone's loss",
        }
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    /// The primary zone is lost: the other takes over.
    Failover,
    /// Both zones are well: the primary moves, and nothing is lost.
    Move,
    /// A planned move home.
    Failback,
    /// The loser is demoted and made a copy again.
    Reprotect,
    /// The primary zone had demoted itself while isolated, and is back before anybody took over: it goes on.
    Resume,
}

impl fmt::Display for PlanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failover => "failover",
            Self::Move => "move",
            Self::Failback => "failback",
            Self::Reprotect => "reprotect",
            Self::Resume => "resume",
        })
    }
}

/// Of a plan as it stands in etcd ([`crate::keys::plan`]): what it is for, and between which zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAtWork {
    /// Its id.
    pub id: PlanId,
    /// What for.
    pub kind: PlanKind,
    /// Where the primary is when it begins.
    pub from: ZoneName,
    /// Where it is when it ends.
    pub to: ZoneName,
}

/// Whether a plan is at work on a group, as a sidecar knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanInSight {
    /// None is.
    None,
    /// This one.
    AtWork(PlanAtWork),
    /// etcd does not say, or this sidecar has none.
    Unknown,
}

/// Who leads, and where its API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its site.
    pub site: SiteName,
    /// New with each start of it.
    pub instance: String,
    /// Where its API is reached; `None` where the answering site's configuration has no address for it.
    pub url: Option<String>,
}

/// The answer to `GET /v1/leader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderAnswer {
    /// Who answers.
    pub site: SiteName,
    /// Who leads, as far as it knows; `None` while nobody does, or etcd does not say.
    pub leader: Option<Leader>,
}

/// A thing that a person must look at: a record in etcd that cannot be read, a site that is silent, a skewed clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which kind.
    pub code: ErrorCode,
    /// What it is about: an etcd key, a zone, a plan.
    pub about: String,
    /// In words.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.about, self.message, self.code)
    }
}

/// A volume that a plan did not help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedVolumeView {
    /// Which.
    pub volume: ImageSpec,
    /// Why.
    pub why: String,
}

/// A server that a plan did not help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedServerView {
    /// Which.
    pub server: ServerKey,
    /// Why.
    pub why: String,
}

/// Of the answer to `POST /v1/groups/{group}/plans`: which plan it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlanBegun {
    /// It.
    pub plan: PlanName,
}

/// A plan by its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlanName {
    /// That.
    pub id: PlanId,
}

/// Of the answer to `GET /v1/groups/{group}`: who is primary, and which plan is at work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupGlance {
    /// The record, where there is one.
    pub primary: Option<PrimaryRecord>,
    /// The plan, while there is one.
    pub active_plan: Option<PlanName>,
}

/// Of a line of `GET /v1/plans/{plan}/watch`: what one needs who waits for the plan's end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum PlanLine {
    /// A record of the journal.
    Record {
        /// It.
        record: RecordGlance,
    },
    /// How far the step at work has come.
    Progress {},
    /// The last line: the plan has ended.
    Ended {
        /// How.
        end: End,
        /// Volumes that need a person.
        not_helped: Vec<FailedVolumeView>,
    },
    /// The last line: the plan waits for a person.
    Waiting {
        /// Where it stands.
        state: StuckGlance,
    },
    /// The last line: the watch cannot go on.
    Broken {
        /// Why.
        problem: Problem,
    },
}

/// A journal's record, if it tells of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordGlance {
    /// What happened.
    pub event: EventGlance,
}

/// What happened, if it is a failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventGlance {
    /// Why a step failed, or its putting back.
    #[serde(default)]
    pub error: Option<String>,
}

/// Why a plan waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StuckGlance {
    /// Of the step that failed.
    pub error: String,
}
