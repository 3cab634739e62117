//! What stands in a plan's journal.

use super::End;
use jiff::Timestamp;
use rekindle_common::{ImageSpec, ServerKey, given_up::GivenUp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One record of a plan's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// When it was written.
    pub at: Timestamp,
    /// By which site's orchestrator.
    pub by: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The plan was taken up.
    Begun,
    /// A step is about to act. Its number counts from 0.
    StepBegun {
        /// Which.
        step: usize,
    },
    /// A step ended well, for all or for some of its volumes.
    StepDone {
        /// Which.
        step: usize,
        /// How.
        outcome: StepOutcome,
    },
    /// A step failed for good.
    StepFailed {
        /// Which.
        step: usize,
        /// Why.
        error: String,
        /// Whether it may have changed something before it failed.
        left: Left,
    },
    /// A step of the failed step's unwind list is about to act.
    UnwindBegun {
        /// Its place in that list.
        undo: usize,
    },
    /// It is done.
    UnwindDone {
        /// Its place in that list.
        undo: usize,
        /// Servers for which it failed, with the reason: the others serve again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        servers: Vec<FailedServer>,
        /// Volumes that are gone, and so were not put back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<FailedVolume>,
    },
    /// It failed for good.
    UnwindFailed {
        /// Its place in that list.
        undo: usize,
        /// Why.
        error: String,
    },
    /// An operator had a stuck plan tried again.
    Retried,
    /// The plan has ended.
    Ended {
        /// How.
        end: End,
    },
}

/// What a failed step left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It looked, and knows that it changed nothing.
    Nothing,
    /// It changed something, or cannot tell.
    MaybeSomething,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct StepOutcome {
    /// In words.
    pub note: String,
    /// Volumes for which it failed, with the reason; the others go on without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedVolume>,
    /// Servers for which it failed, with the reason; the others go on without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<FailedServer>,
    /// Why a hook `after` failed: nothing hangs on it, and a person has to hear of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Of a resync: what each volume's zone wrote after the split, and whether it is kept. Its sidecar measured it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<VolumeGivenUp>,
    /// Further volumes for which it failed, and whose reasons would not fit into a record: their places in the step's list, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_more: Vec<usize>,
    /// So many volumes more are resynced of which the note alone tells what is given up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up_more: usize,
}

impl StepOutcome {
    /// For how many volumes it failed.
    #[must_use]
    pub fn volumes_failed(&self) -> usize {
        self.failed.len() + self.failed_more.len()
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What a resync gives up of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeGivenUp {
    /// Which.
    pub volume: ImageSpec,
    /// How much was written, and where it is kept.
    pub given_up: GivenUp,
}

impl VolumeGivenUp {
    /// As a record has them.
    #[must_use]
    pub fn all(given_up: &BTreeMap<ImageSpec, GivenUp>) -> Vec<Self> {
        let one = |(volume, given_up): (&ImageSpec, &GivenUp)| Self {
            volume: volume.clone(),
            given_up: given_up.clone(),
        };
        given_up.iter().map(one).collect()
    }
}

/// A volume that a step could not help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedVolume {
    /// Which.
    pub volume: ImageSpec,
    /// Why.
    pub why: String,
}

/// A server that a step could not help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedServer {
    /// Which.
    pub server: ServerKey,
    /// Why.
    pub why: String,
}
