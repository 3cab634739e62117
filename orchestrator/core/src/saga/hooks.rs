//! Hooks that failed after a plan had done its work: what is remembered of them when the plan has ended.

use crate::plan::{Plan, PlanKind};
use jiff::Timestamp;
use rekindle_common::PlanId;
use serde::{Deserialize, Serialize};

/// The most characters that are remembered of a reason: the journal has it whole.
const SHORT_WHY: usize = 300;

/// A hook that failed, and that nothing hung on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedHook {
    /// Its name.
    pub hook: String,
    /// Why.
    pub why: String,
}

/// Those of a group's last plan. JSON at [`rekindle_common::keys::group_hooks`], written with the plan's end: its end says that it succeeded, and
/// somebody who opens tickets or changes addresses by such a hook has to hear that it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HooksFailed {
    /// The plan.
    pub plan: PlanId,
    /// What it was for.
    pub kind: PlanKind,
    /// When it ended.
    pub at: Timestamp,
    /// They, in their order.
    pub hooks: Vec<FailedHook>,
}

impl HooksFailed {
    /// What is to be remembered; `None` where all ended well.
    #[must_use]
    pub fn of(plan: &Plan, failed: &[FailedHook], at: Timestamp) -> Option<Self> {
        let short = |f: &FailedHook| FailedHook {
            hook: f.hook.clone(),
            why: f.why.chars().take(SHORT_WHY).collect(),
        };
        (!failed.is_empty()).then(|| Self {
            plan: plan.id.clone(),
            kind: plan.kind,
            at,
            hooks: failed.iter().map(short).collect(),
        })
    }
}
