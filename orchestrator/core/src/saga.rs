//! Where a plan stands, replayed from its journal, and what comes next.
//!
//! ```text
//!   Fresh -- Begun --> Between(0) -- StepBegun --> Running(0) -- StepDone --> Between(1) ... Between(n) -- Ended --> Ended
//!                                                     |
//!                                                  StepFailed
//!                                                     +-- its unwind list is not empty, nothing promoted --> Unwinding(i, 0) ... --> Ended(unwound)
//!                                                     +-- nothing has been changed yet --------------------> Ended(abandoned)
//!                                                     +-- else --> Stuck(i) -- Retried --> Between(i)
//!                                                                           -- Ended(given up, overtaken) --> Ended
//! ```
//!
//! The executor journals the intent, acts, and journals the result. After a crash the journal is replayed through
//! [`Saga::apply`]; an event that is illegal for its state means that the journal is corrupted: stop and say so.

mod hooks;
mod pause;
mod record;

pub use hooks::{FailedHook, HooksFailed};
pub use record::{Event, FailedServer, FailedVolume, Left, Record, StepOutcome, VolumeGivenUp};
pub use rekindle_common::plan::End;

use crate::plan::{Plan, Step};
use rekindle_common::ServerKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a plan stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nothing in the journal.
    Fresh,
    /// This step is next; the plan's length when all are done.
    Between {
        /// Its number.
        next: usize,
    },
    /// This step has begun, and its end is not known: it is run again, for it looks before it acts.
    Running {
        /// Its number.
        step: usize,
    },
    /// This step failed, and this entry of its unwind list is next.
    Unwinding {
        /// The step that failed.
        failed: usize,
        /// The entry.
        next: usize,
    },
    /// That entry has begun.
    RunningUnwind {
        /// The step that failed.
        failed: usize,
        /// The entry.
        undo: usize,
    },
    /// It can go neither on nor back by itself. Safe to leave overnight (hard case 59).
    Stuck {
        /// The step, or the step whose unwinding failed.
        step: usize,
        /// The unwind entry, where it was that which failed.
        undo: Option<usize>,
        /// Why.
        error: String,
    },
    /// It has ended.
    Ended {
        /// How.
        end: End,
    },
}

/// What the executor is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Journal [`Event::Begun`].
    Begin,
    /// Journal the intent, unless it stands there already, and run the step.
    Run {
        /// Its number.
        step: usize,
        /// Whether its intent is journalled.
        journalled: bool,
    },
    /// The same for an entry of an unwind list.
    Unwind {
        /// The step that failed.
        failed: usize,
        /// The entry.
        undo: usize,
        /// Whether its intent is journalled.
        journalled: bool,
    },
    /// Journal the end.
    Finish {
        /// How.
        end: End,
    },
    /// Wait for a person.
    Wait,
    /// Nothing is left to do.
    Over,
}

/// A journal that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {at}: {event} is illegal after {state}: the journal is corrupted, nothing was done on it"
)]
pub struct Corrupted {
    /// Which record, from 0.
    pub at: usize,
    /// The event.
    pub event: String,
    /// The state that it met.
    pub state: String,
}

/// A plan with what its journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga<'a> {
    plan: &'a Plan,
    state: State,
    records: usize,
    failed: Vec<FailedVolume>,
    failed_servers: Vec<FailedServer>,
    failed_hooks: Vec<FailedHook>,
    /// A step that changed something was done, or may have been.
    touched: bool,
    /// A promotion has succeeded for at least one volume: only forward from here.
    promoted: bool,
}

impl<'a> Saga<'a> {
    /// Replays a journal.
    ///
    /// # Errors
    /// [`Corrupted`] names the record.
    pub fn replay(plan: &'a Plan, journal: &[Record]) -> Result<Self, Corrupted> {
        let mut saga = Self {
            plan,
            state: State::Fresh,
            records: 0,
            failed: Vec::new(),
            failed_servers: Vec::new(),
            failed_hooks: Vec::new(),
            touched: false,
            promoted: false,
        };
        for record in journal {
            saga.apply(&record.event)?;
        }
        Ok(saga)
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
    /// How many records it has taken: the next one's number.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }
    /// Volumes that steps have failed for so far.
    #[must_use]
    pub fn failed(&self) -> &[FailedVolume] {
        &self.failed
    }

    /// Servers that the last step about them has failed for: one that is held at the second try, say, is none of them.
    #[must_use]
    pub fn failed_servers(&self) -> &[FailedServer] {
        &self.failed_servers
    }

    /// Hooks `after` that failed: they change nothing of how the plan ends.
    #[must_use]
    pub fn failed_hooks(&self) -> &[FailedHook] {
        &self.failed_hooks
    }

    /// Takes one event.
    ///
    /// # Errors
    /// [`Corrupted`] where the event is illegal in this state; the saga is left as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), Corrupted> {
        let next = self.next_state(event).ok_or_else(|| Corrupted {
            at: self.records,
            event: format!("{event:?}"),
            state: format!("{:?}", self.state),
        })?;
        match event {
            Event::StepDone { step, outcome } => {
                self.failed.extend(outcome.failed.iter().cloned());
                let more = self.at_places(*step, &outcome.failed_more);
                self.failed.extend(more);
                self.note_servers(self.step(*step), &outcome.servers);
                self.note_hook(self.step(*step), outcome.hook.as_ref());
                self.touched |= self.step(*step).is_some_and(changes_something);
                self.promoted |= matches!(self.step(*step), Some(Step::Promote { .. }));
            }
            Event::StepFailed {
                step,
                left: Left::MaybeSomething,
                ..
            } => {
                self.touched |= self.step(*step).is_some_and(changes_something);
            }
            Event::UnwindDone {
                undo,
                servers,
                failed: gone,
            } => {
                let undone = match &self.state {
                    State::RunningUnwind { failed, .. } => self.unwind(*failed).get(*undo),
                    State::Fresh
                    | State::Between { .. }
                    | State::Running { .. }
                    | State::Unwinding { .. }
                    | State::Stuck { .. }
                    | State::Ended { .. } => None,
                };
                self.note_servers(undone, servers);
                self.failed.extend(gone.iter().cloned());
            }
            Event::Begun
            | Event::StepBegun { .. }
            | Event::StepFailed {
                left: Left::Nothing,
                ..
            }
            | Event::UnwindBegun { .. }
            | Event::UnwindFailed { .. }
            | Event::Retried
            | Event::Ended { .. } => {}
        }
        self.state = next;
        self.records += 1;
        Ok(())
    }

    /// What comes next.
    #[must_use]
    pub fn next(&self) -> Next {
        match &self.state {
            State::Fresh => Next::Begin,
            State::Between { next } if *next == self.plan.steps.len() => Next::Finish {
                end: if self.all_were_helped() {
                    End::Succeeded
                } else {
                    End::Partial
                },
            },
            State::Between { next } => Next::Run {
                step: *next,
                journalled: false,
            },
            State::Running { step } => Next::Run {
                step: *step,
                journalled: true,
            },
            State::Unwinding { failed, next } if *next == self.unwind(*failed).len() => {
                Next::Finish {
                    end: if *next == 0 {
                        End::Abandoned
                    } else {
                        End::Unwound
                    },
                }
            }
            State::Unwinding { failed, next } => Next::Unwind {
                failed: *failed,
                undo: *next,
                journalled: false,
            },
            State::RunningUnwind { failed, undo } => Next::Unwind {
                failed: *failed,
                undo: *undo,
                journalled: true,
            },
            State::Stuck { .. } => Next::Wait,
            State::Ended { .. } => Next::Over,
        }
    }

    /// The volumes of a step's list that have those places.
    fn at_places(&self, step: usize, places: &[usize]) -> Vec<FailedVolume> {
        let volumes = self.step(step).map(Step::volumes).unwrap_or_default();
        let at = places.iter().filter_map(|n| volumes.get(*n));
        at.map(|v| FailedVolume {
            volume: (*v).clone(),
            why: "too many failed for its reason to be kept".to_owned(),
        })
        .collect()
    }

    fn all_were_helped(&self) -> bool {
        self.failed.is_empty() && self.failed_servers.is_empty() && self.plan.left_out.is_empty()
    }

    /// What a step says of its servers stands in the place of what was said of them before.
    fn note_servers(&mut self, step: Option<&'a Step>, failed: &[FailedServer]) {
        let about: BTreeSet<&ServerKey> = match step {
            Some(Step::StopServers { level, .. } | Step::StartServers { level, .. }) => {
                self.plan.level(*level).iter().map(|s| &s.key).collect()
            }
            Some(Step::HoldServers { .. }) => self.plan.runbook.servers().map(|s| &s.key).collect(),
            Some(
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
                | Step::AwaitReplay { .. }
                | Step::MarkProtected
                | Step::RunHook { .. }
                | Step::Pause { .. },
            )
            | None => return,
        };
        self.failed_servers.retain(|f| !about.contains(&f.server));
        self.failed_servers.extend_from_slice(failed);
    }

    fn note_hook(&mut self, step: Option<&Step>, why: Option<&String>) {
        if let (Some(Step::RunHook { hook, .. }), Some(why)) = (step, why) {
            self.failed_hooks.push(FailedHook {
                hook: hook.clone(),
                why: why.clone(),
            });
        }
    }

    fn step(&self, n: usize) -> Option<&'a Step> {
        self.plan.steps.get(n).map(|s| &s.step)
    }
    fn unwind(&self, n: usize) -> &'a [Step] {
        self.plan.steps.get(n).map_or(&[], |s| s.unwind.as_slice())
    }

    /// The graph. `None` is an illegal event.
    fn next_state(&self, event: &Event) -> Option<State> {
        match (&self.state, event) {
            (State::Fresh, Event::Begun) => Some(State::Between { next: 0 }),
            (State::Between { next }, Event::StepBegun { step })
                if step == next && *step < self.plan.steps.len() =>
            {
                Some(State::Running { step: *step })
            }
            (State::Running { step: running }, Event::StepDone { step, outcome })
                if step == running
                    // One that is not in the list would pass for helped.
                    && self.at_places(*step, &outcome.failed_more).len()
                        == outcome.failed_more.len() =>
            {
                Some(State::Between { next: step + 1 })
            }
            (State::Running { step: running }, Event::StepFailed { step, error, left })
                if step == running =>
            {
                Some(self.after_failure(*step, error, *left))
            }
            (State::Unwinding { failed, next }, Event::UnwindBegun { undo })
                if undo == next && *undo < self.unwind(*failed).len() =>
            {
                Some(State::RunningUnwind {
                    failed: *failed,
                    undo: *undo,
                })
            }
            (
                State::RunningUnwind {
                    failed,
                    undo: running,
                },
                Event::UnwindDone { undo, .. },
            ) if undo == running => Some(State::Unwinding {
                failed: *failed,
                next: undo + 1,
            }),
            (
                State::RunningUnwind {
                    failed,
                    undo: running,
                },
                Event::UnwindFailed { undo, error },
            ) if undo == running => Some(State::Stuck {
                step: *failed,
                undo: Some(*undo),
                error: error.clone(),
            }),
            (
                State::Stuck {
                    step, undo: None, ..
                },
                Event::Retried,
            ) => Some(State::Between { next: *step }),
            (
                State::Stuck {
                    step,
                    undo: Some(undo),
                    ..
                },
                Event::Retried,
            ) => Some(State::Unwinding {
                failed: *step,
                next: *undo,
            }),
            (
                State::Stuck { .. },
                Event::Ended {
                    end: end @ (End::GivenUp | End::Overtaken),
                },
            ) => Some(State::Ended { end: *end }),
            (State::Between { .. } | State::Unwinding { .. }, Event::Ended { end }) => {
                (self.next() == Next::Finish { end: *end }).then_some(State::Ended { end: *end })
            }
            (
                State::Fresh
                | State::Between { .. }
                | State::Running { .. }
                | State::Unwinding { .. }
                | State::RunningUnwind { .. }
                | State::Stuck { .. }
                | State::Ended { .. },
                Event::Begun
                | Event::StepBegun { .. }
                | Event::StepDone { .. }
                | Event::StepFailed { .. }
                | Event::UnwindBegun { .. }
                | Event::UnwindDone { .. }
                | Event::UnwindFailed { .. }
                | Event::Retried
                | Event::Ended { .. },
            ) => None,
        }
    }

    /// Back where it can, nowhere where nothing was done, else a person.
    fn after_failure(&self, step: usize, error: &str, left: Left) -> State {
        let maybe = left == Left::MaybeSomething && self.step(step).is_some_and(changes_something);
        let can_unwind = !self.promoted && !self.unwind(step).is_empty();
        if can_unwind || !(self.touched || maybe) {
            State::Unwinding {
                failed: step,
                next: 0,
            }
        } else {
            State::Stuck {
                step,
                undo: None,
                error: error.to_owned(),
            }
        }
    }
}

/// Whether a step, once done, has changed something that outlives it.
///
/// [`Step::Fence`] counts as nothing: a zone that is fenced stays so until a person undoes it, but nothing of ours has to be put back. So do
/// [`Step::HoldServers`], for what it holds must not run in any case, and hooks, which we know nothing of.
fn changes_something(step: &Step) -> bool {
    match step {
        Step::AwaitLeaseEnd { .. }
        | Step::AwaitDemotionReplayed { .. }
        | Step::AwaitReplay { .. }
        | Step::Fence { .. }
        | Step::HoldServers { .. }
        | Step::RunHook { .. }
        | Step::Pause { .. } => false,
        Step::StopApplication { .. }
        | Step::StartApplication { .. }
        | Step::Demote { .. }
        | Step::ReleaseLease { .. }
        | Step::RecordPrimary { .. }
        | Step::TakeLease { .. }
        | Step::MarkUnprotected { .. }
        | Step::Promote { .. }
        | Step::Resync { .. }
        | Step::MarkProtected
        | Step::StopServers { .. }
        | Step::StartServers { .. } => true,
    }
}

#[cfg(test)]
mod tests;
