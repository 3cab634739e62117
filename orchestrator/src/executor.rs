//! Carries a plan out: journal the intent, act, journal the result.
//!
//! ```text
//!   read plan and journal -> Saga::next() -> Begin | Run | Unwind | Finish : do it, append, again
//!                                         -> Wait | Over                   : stop
//! ```
//!
//! It knows no step: [`crate::steps::attempt`] makes one pass, and `passes` makes them until the step is done, has failed, is waited for
//! in vain, or its deadline is over. A lost lease is [`Over::Lost`] wherever it shows, and nothing is done after it.

mod passes;
mod slots;

pub use slots::Slots;

use crate::{
    coordination::Lead,
    journal::{self, JournalError},
    metrics::Metrics,
    steps::Tools,
    wire::{Problem, Progress},
    world::{Assembler, LeaseClock},
};
use passes::{Before, Owes, Stop, owes_in_unwinding, told_only, unwind_deadline};
use rekindle_common::{PlanId, SiteName, keys};
use rekindle_core::{
    overtaken,
    plan::{Plan, PlanKind, Step},
    saga::{self, End, Event, FailedServer, FailedVolume, HooksFailed, Next, Record, Saga},
};
use rekindle_store::Op;
use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// How the executor's work on a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The plan has ended.
    Ended {
        /// How.
        end: End,
    },
    /// It waits for a person.
    Waiting {
        /// Where it stands.
        state: saga::State,
        /// It: whether it still waits with reason is asked at every look.
        plan: Box<Plan>,
    },
    /// This orchestrator leads no more: the next leader goes on.
    Lost,
    /// The plan or its journal is corrupted: nothing was done on it, and nothing will be until a person has looked.
    Corrupted {
        /// What is wrong.
        problem: Problem,
    },
    /// etcd did not take a record: the plan is taken up again later.
    Halted {
        /// What is wrong.
        problem: Problem,
    },
}

/// Longer than any call.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// The times of waiting within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// Between two looks at what is on its way.
    pub poll: Duration,
    /// After an error that may pass: from `poll` up to this.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            longest: Duration::from_secs(5),
        }
    }
}

/// What an executor works with.
#[derive(Debug)]
pub struct Executor<'a> {
    /// Authority.
    pub lead: &'a Lead,
    /// This site, for the journal.
    pub site: &'a SiteName,
    /// How long each lease has been gone.
    pub leases: &'a LeaseClock,
    /// What the steps need.
    pub tools: &'a Tools,
    /// Says how the zones are, for a step that waits.
    pub assembler: &'a Assembler,
    /// Waiting.
    pub pauses: Pauses,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// What is at work at once, of all plans.
    pub slots: &'a Slots,
    /// Where progress is shown.
    pub progress: &'a watch::Sender<Option<Progress>>,
    /// A failpoint: called after each record with its number; `Break` is a crash there.
    #[cfg(feature = "embedded")]
    pub after_record: Option<RecordHook>,
}

/// See [`Executor::after_record`].
#[cfg(feature = "embedded")]
#[derive(Clone)]
pub struct RecordHook(pub std::sync::Arc<dyn Fn(usize) -> std::ops::ControlFlow<()> + Send + Sync>);

#[cfg(feature = "embedded")]
impl std::fmt::Debug for RecordHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordHook")
    }
}

impl Executor<'_> {
    /// Works on a plan from where its journal stands.
    pub async fn run(&self, id: &PlanId) -> Over {
        let over = match self.drive(id).await {
            Ok(over) => over,
            Err(JournalError::Lost) => Over::Lost,
            Err(e @ (JournalError::Corrupted { .. } | JournalError::Unknown(_))) => {
                let problem = e.problem(id);
                tracing::error!(plan.id = %id, about = problem.about, "{}", problem.message);
                Over::Corrupted { problem }
            }
            Err(e @ (JournalError::Overtaken { .. } | JournalError::Store(_))) => {
                let problem = e.problem(id);
                tracing::warn!(plan.id = %id, about = problem.about, "the plan halts: {}", problem.message);
                Over::Halted { problem }
            }
        };
        self.progress.send_replace(None);
        over
    }

    async fn drive(&self, id: &PlanId) -> Result<Over, JournalError> {
        let store = self.lead.store();
        let plan = journal::read_plan(store, id).await?;
        let records = journal::read_records(store, id).await?;
        let mut saga = journal::replay(&plan, &records)?;
        if !records.is_empty() {
            tracing::info!(plan.id = %id, state = ?saga.state(), "the plan is taken up where its journal ends");
        }
        loop {
            self.lead.check().map_err(|_| JournalError::Lost)?;
            match saga.next() {
                Next::Begin => {
                    tracing::info!(plan.id = %id, group = %plan.group, kind = %plan.kind, "plan begun: {}", plan.why);
                    self.append(&plan, &mut saga, Event::Begun, vec![]).await?;
                }
                Next::Run { step, journalled } => {
                    self.step(&plan, &mut saga, step, journalled).await?;
                }
                Next::Unwind {
                    failed,
                    undo,
                    journalled,
                } => {
                    self.unwind(&plan, &mut saga, failed, undo, journalled)
                        .await?;
                }
                Next::Finish { end } => {
                    self.end(&plan, &mut saga, end).await?;
                }
                Next::Wait => {
                    if let Some(why) = self.overtaken(&plan, saga.state()).await {
                        tracing::error!(plan.id = %id, group = %plan.group, "the plan makes way: {why}");
                        self.end(&plan, &mut saga, End::Overtaken).await?;
                        continue;
                    }
                    let state = saga.state().clone();
                    tracing::error!(plan.id = %id, group = %plan.group, state = ?state, "the plan waits for a person");
                    let plan = Box::new(plan);
                    return Ok(Over::Waiting { state, plan });
                }
                Next::Over => {
                    return Ok(match saga.state() {
                        saga::State::Ended { end } => Over::Ended { end: *end },
                        state @ (saga::State::Fresh
                        | saga::State::Between { .. }
                        | saga::State::Running { .. }
                        | saga::State::Unwinding { .. }
                        | saga::State::RunningUnwind { .. }
                        | saga::State::Stuck { .. }) => Over::Waiting {
                            state: state.clone(),
                            plan: Box::new(plan.clone()),
                        },
                    });
                }
            }
        }
    }

    /// Journals the end. With it the plan's claim on the group goes, and what is to be known of its hooks is remembered.
    async fn end(&self, plan: &Plan, saga: &mut Saga<'_>, end: End) -> Result<(), JournalError> {
        let mut with = vec![Op::Delete {
            key: keys::group_active_plan(&plan.group),
        }];
        with.extend(self.hooks(plan, saga, end)?);
        self.append(plan, saga, Event::Ended { end }, with).await?;
        self.metrics.plan_ended(plan.kind, end);
        tracing::info!(plan.id = %plan.id, group = %plan.group, kind = %plan.kind, end = ?end, "plan ended");
        Ok(())
    }

    /// What the plan's end says of hooks. One that did not come to them, or has none by its nature, says nothing of another's.
    fn hooks(&self, plan: &Plan, saga: &Saga<'_>, end: End) -> Result<Option<Op>, JournalError> {
        let came_so_far = match end {
            End::Succeeded | End::Partial => true,
            End::Abandoned | End::Unwound | End::GivenUp | End::Overtaken => false,
        };
        let has_some = match plan.kind {
            PlanKind::Failover | PlanKind::Move | PlanKind::Failback | PlanKind::Resume => true,
            PlanKind::Reprotect => false,
        };
        if !(came_so_far && has_some) {
            return Ok(None);
        }
        let key = keys::group_hooks(&plan.group);
        let now = self.tools.clock.now();
        let op = match HooksFailed::of(plan, saga.failed_hooks(), now) {
            Some(failed) => Op::put_json(key, &failed, None).map_err(JournalError::Store)?,
            None => Op::Delete { key },
        };
        Ok(Some(op))
    }

    /// Why a stuck plan is to make way. What cannot be read now is no reason.
    async fn overtaken(&self, plan: &Plan, state: &saga::State) -> Option<String> {
        let outlook = self.assembler.outlook_on_primary(&plan.group).await.ok()?;
        overtaken::overtaken(&outlook, plan, state)
    }

    async fn step(
        &self,
        plan: &Plan,
        saga: &mut Saga<'_>,
        n: usize,
        journalled: bool,
    ) -> Result<(), JournalError> {
        let Some(planned) = plan.steps.get(n) else {
            return Err(no_such_step(plan, n));
        };
        if !journalled {
            self.append(plan, saga, Event::StepBegun { step: n }, vec![])
                .await?;
        }
        tracing::info!(plan.id = %plan.id, step = n, "{}", planned.step);
        let owes = match planned.step {
            Step::Promote { .. } => Owes::Some,
            Step::AwaitReplay { .. } | Step::StartServers { .. } => Owes::None,
            // Its volumes would be promoted under what runs there. Nothing is touched yet.
            Step::HoldServers { .. } if overtaken::begins_a_move(plan, &planned.step) => Owes::All,
            Step::HoldServers { .. } => Owes::None,
            // Where nothing is put back, what could not be stopped is named, and is not started later.
            Step::StopServers { .. } if planned.unwind.is_empty() => Owes::None,
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
            | Step::Resync { .. }
            | Step::MarkProtected
            | Step::RunHook { .. }
            | Step::Pause { .. }
            | Step::StopServers { .. } => {
                if planned.unwind.is_empty() {
                    Owes::Some
                } else {
                    Owes::All
                }
            }
        };
        let begun = Instant::now();
        let ended = self
            .passes(
                plan,
                n,
                &planned.step,
                planned.deadline,
                owes,
                &Before::of(saga),
            )
            .await;
        let ended = told_only(&planned.step, ended);
        self.metrics
            .step_ended(planned.step.name(), begun.elapsed());
        let event = match ended {
            Ok(outcome) => {
                tell_volumes(plan, n, &planned.step, &outcome.failed);
                self.tell_servers(plan, n, &planned.step, &outcome.servers);
                if !outcome.given_up.is_empty() {
                    tracing::info!(plan.id = %plan.id, step = n, "{}: {}", planned.step.name(), outcome.note);
                }
                Event::StepDone { step: n, outcome }
            }
            Err(Stop::Lost) => return Err(JournalError::Lost),
            Err(Stop::Failed { why, left }) => {
                tracing::error!(plan.id = %plan.id, step = n, "{} failed: {why}", planned.step.name());
                Event::StepFailed {
                    step: n,
                    error: why,
                    left,
                }
            }
        };
        self.append(plan, saga, event, vec![]).await
    }

    async fn unwind(
        &self,
        plan: &Plan,
        saga: &mut Saga<'_>,
        failed: usize,
        undo: usize,
        journalled: bool,
    ) -> Result<(), JournalError> {
        let Some(step) = plan.steps.get(failed).and_then(|s| s.unwind.get(undo)) else {
            return Err(no_such_step(plan, failed));
        };
        if !journalled {
            self.append(plan, saga, Event::UnwindBegun { undo }, vec![])
                .await?;
        }
        tracing::warn!(plan.id = %plan.id, step = failed, undo, "putting back: {step}");
        // All is put back whatever failed on the way; only an application is not told to start on what is gone.
        let before = if matches!(step, Step::StartApplication { .. }) {
            Before::of(saga)
        } else {
            Before::default()
        };
        let ended = self
            .passes(
                plan,
                failed,
                step,
                unwind_deadline(plan, step),
                owes_in_unwinding(step),
                &before,
            )
            .await;
        let event = match ended {
            Ok(outcome) => {
                tell_volumes(plan, failed, step, &outcome.failed);
                self.tell_servers(plan, failed, step, &outcome.servers);
                Event::UnwindDone {
                    undo,
                    servers: outcome.servers,
                    failed: outcome.failed,
                }
            }
            Err(Stop::Lost) => return Err(JournalError::Lost),
            Err(Stop::Failed { why, .. }) => {
                tracing::error!(plan.id = %plan.id, step = failed, undo, "putting back failed: {why}");
                Event::UnwindFailed { undo, error: why }
            }
        };
        self.append(plan, saga, event, vec![]).await
    }

    /// Servers that a step could not help: a person must look.
    fn tell_servers(&self, plan: &Plan, n: usize, step: &Step, servers: &[FailedServer]) {
        for f in servers {
            tracing::error!(plan.id = %plan.id, step = n, server = %f.server, "{}: {}", step.name(), f.why);
        }
        self.metrics.servers_failed(step.name(), servers.len());
    }

    /// Writes the event, then takes it.
    async fn append(
        &self,
        plan: &Plan,
        saga: &mut Saga<'_>,
        event: Event,
        with: Vec<Op>,
    ) -> Result<(), JournalError> {
        let seq = saga.records();
        // Taken first on a copy: an event that the journal could not be replayed with is never written.
        let mut next = saga.clone();
        next.apply(&event).map_err(|e| JournalError::Corrupted {
            about: keys::plan_journal(&plan.id),
            message: e.to_string(),
        })?;
        let record = Record {
            at: self.tools.clock.now(),
            by: self.site.to_string(),
            event,
        };
        journal::append(self.lead, &plan.id, seq, &record, with).await?;
        *saga = next;
        #[cfg(feature = "embedded")]
        if let Some(hook) = &self.after_record
            && (hook.0)(seq).is_break()
        {
            return Err(JournalError::Lost);
        }
        Ok(())
    }
}

/// Volumes that a step could not help: a person must look.
fn tell_volumes(plan: &Plan, n: usize, step: &Step, volumes: &[FailedVolume]) {
    for f in volumes {
        tracing::error!(plan.id = %plan.id, step = n, volume.id = %f.volume, "{}: {}", step.name(), f.why);
    }
}

fn no_such_step(plan: &Plan, n: usize) -> JournalError {
    JournalError::Corrupted {
        about: keys::plan(&plan.id),
        message: format!("it has no step {n}"),
    }
}
