//! Which pause a plan is at.

use super::State;
use crate::plan::{Plan, Step};

impl State {
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
