//! Which pause a plan is at, and what it waits in.

use super::State;
use crate::plan::{Plan, Step};

impl State {
    /// The step at work, where it is one that a person may break off: it waits for others, in its plan's last part, and to leave it is what a crash does
    /// to it.
    #[must_use]
    pub fn waits_in(&self, plan: &Plan) -> Option<usize> {
        let at = match self {
            Self::Running { step } => *step,
            Self::Fresh
            | Self::Between { .. }
            | Self::Unwinding { .. }
            | Self::RunningUnwind { .. }
            | Self::Stuck { .. }
            | Self::Ended { .. } => return None,
        };
        match &plan.steps.get(at)?.step {
            Step::AwaitReplay { .. } | Step::Pause { .. } | Step::StartServers { .. } => Some(at),
            Step::Fence { .. }
            | Step::AwaitLeaseEnd { .. }
            | Step::StopApplication { .. }
            | Step::StartApplication { .. }
            | Step::Demote { .. }
            | Step::AwaitDemotionReplayed { .. }
            | Step::ReleaseLease { .. }
            | Step::RecordPrimary { .. }
            | Step::TakeLease { .. }
            | Step::MarkUnprotected { .. }
            | Step::Promote { .. }
            | Step::Resync { .. }
            | Step::MarkProtected
            | Step::RunHook { .. }
            | Step::StopServers { .. }
            | Step::HoldServers { .. } => None,
        }
    }

    /// The level that the plan pauses before in this state, and what is to be looked at. A pause that nobody answered in its time
    /// is one still.
    #[must_use]
    pub fn pauses_before<'a>(&self, plan: &'a Plan) -> Option<(usize, &'a str)> {
        let at = match self {
            Self::Running { step }
            | Self::Stuck {
                step, undo: None, ..
            } => *step,
            Self::Fresh
            | Self::Between { .. }
            | Self::Unwinding { .. }
            | Self::RunningUnwind { .. }
            | Self::Stuck { undo: Some(_), .. }
            | Self::Ended { .. } => return None,
        };
        match plan.steps.get(at).map(|s| &s.step) {
            Some(Step::Pause { level, text }) => Some((*level, text)),
            Some(_) | None => None,
        }
    }
}
