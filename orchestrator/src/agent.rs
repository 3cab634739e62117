//! Commands of the operator's that a plan calls: to stop or start an application, to fence a zone, hooks, and what is waited for.
//!
//! An [`Agent`] is named in the orchestrator's own configuration; a group's policy and a plan only carry the name, so nobody who
//! can define a group can have a command run. The command gets one JSON object on its standard input, [`AgentOrder`]:
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | it is done, or was so already; for a fence: proof |
//! | 75 (`EX_TEMPFAIL` in sysexits.h) | not now: asked again within the step's deadline |
//! | any other | it failed |
//!
//! A fence that is confirmed has to hold until a person lifts it: clients of a dead cluster hang, and go on when it is back. It may be
//! called any number of times for one plan. At its timeout it is killed with all that it started. So may hooks: what they do, they do by the plan's id.
//! Nothing of what a command prints is read but for people.

mod command;

pub use command::CommandAgent;

use futures::future::BoxFuture;
use rekindle_common::{Generation, GroupName, ImageSpec, PlanId, ServerKey, ZoneName};
use rekindle_core::plan::PlanKind;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a command is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentAction {
    /// Start the application.
    Start,
    /// Stop it.
    Stop,
    /// Cut the zone's clients off from its storage.
    Fence,
    /// A hook: the plan is about to begin. Whatever does not end with 0 ends the plan.
    Before,
    /// A hook: the plan's servers were started.
    After,
    /// Say whether a server serves: 0 is yes, all else is not yet.
    Ready,
}

/// What a command reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentOrder {
    /// What to do.
    pub action: AgentAction,
    /// For which group.
    pub group: GroupName,
    /// In which zone.
    pub zone: ZoneName,
    /// Under which generation.
    pub generation: Generation,
    /// The volumes that it is about; empty for a fence.
    pub volumes: Vec<ImageSpec>,
    /// On behalf of which plan.
    pub plan: PlanId,
    /// What the plan does, for a hook or a wait of its runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookOrder>,
}

/// What a hook or a wait is told of its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookOrder {
    /// What for.
    pub kind: PlanKind,
    /// Where the primary was.
    pub from: ZoneName,
    /// Where it is to be.
    pub to: ZoneName,
    /// Why.
    pub why: String,
    /// The server that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerKey>,
    /// Servers that are not helped so far.
    #[serde(default)]
    pub failed_servers: Vec<ServerKey>,
}

/// Why a command did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It may do it when it is asked again.
    #[error("{0}")]
    NotNow(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// An agent in this process: for the embedded demonstration and tests.
pub trait InProcessAgent: Send + Sync + fmt::Debug {
    /// Does it.
    fn run(&self, order: AgentOrder) -> BoxFuture<'_, Result<(), AgentError>>;
}

/// Something that can be told to stop, start or fence.
#[derive(Debug, Clone)]
pub enum Agent {
    /// A command.
    Command(CommandAgent),
    /// In this process.
    InProcess(Arc<dyn InProcessAgent>),
}

impl Agent {
    /// Has it done.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn run(&self, order: AgentOrder) -> Result<(), AgentError> {
        match self {
            Self::Command(c) => c.run(&order).await,
            Self::InProcess(a) => a.run(order).await,
        }
    }
}

/// All agents of an orchestrator, by name.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    /// What policies name as `application`.
    pub applications: BTreeMap<String, Agent>,
    /// What policies name as `fence_agent`.
    pub fences: BTreeMap<String, Agent>,
    /// What runbooks name as hooks, and as commands to wait for.
    pub hooks: BTreeMap<String, Agent>,
}
