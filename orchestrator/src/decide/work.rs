//! What this term knows of the plans at work.

use crate::wire::{Problem, Progress};
use rekindle_core::{overtaken::overtaken, plan::Plan, saga::State, snapshot::Snapshot};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// A plan at work.
#[derive(Debug, Clone)]
pub struct Work {
    /// How it stands.
    pub state: WorkState,
    /// How far the step at work has come.
    pub progress: watch::Receiver<Option<Progress>>,
    /// Ends its executor where it stands.
    pub stop: CancellationToken,
}

/// How an executor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkState {
    /// It is at work.
    Running,
    /// It ended: the plan waits for a person, unless a zone's loss or isolation overtakes it.
    Waiting {
        /// It.
        plan: Box<Plan>,
        /// Where it stands.
        state: State,
    },
    /// It ended: nothing is done on a corrupted plan.
    Corrupted {
        /// What is wrong.
        problem: Problem,
    },
    /// It ended: etcd did not take a record. It gets another executor then.
    Halted {
        /// What is wrong.
        problem: Problem,
        /// When.
        retry_at: Instant,
    },
}

impl WorkState {
    /// Whether the plan should have an executor and has none.
    #[must_use]
    pub fn wants_executor(&self, now: Instant, snapshot: &Snapshot) -> bool {
        match self {
            Self::Running | Self::Corrupted { .. } => false,
            // The executor looks once more, and ends it.
            Self::Waiting { plan, state } => overtaken(snapshot, plan, state).is_some(),
            Self::Halted { retry_at, .. } => now >= *retry_at,
        }
    }
    /// What a person must look at.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Running | Self::Waiting { .. } => None,
            Self::Corrupted { problem } | Self::Halted { problem, .. } => Some(problem),
        }
    }
}
