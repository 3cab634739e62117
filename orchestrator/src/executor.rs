//! Carries a plan out: journal the intent, act, journal the result.
//!
//! ```text
//!   read plan and journal -> Saga::next() -> Begin | Run | Unwind | Finish : do it, append, again
//!                                         -> Wait | Over                   : stop
//! ```
//!
//! It knows no step: [`crate::steps::attempt`] makes one pass, and this file makes passes until the step is done, has failed, or
//! its deadline is over. A lost lease is [`Over::Lost`] wherever it shows, and nothing is done after it.

use crate::{
    coordination::Lead,
    journal::{self, JournalError},
    metrics::Metrics,
    steps::{self, Context, Pass, StepError, Tally, Tools},
    wire::{Problem, Progress},
    world::{Assembler, LeaseClock},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use rekindle_common::{ImageSpec, PlanId, SiteName, duration::Span, keys};
use rekindle_core::{
    overtaken,
    plan::{Plan, Step},
    saga::{self, End, Event, FailedVolume, Left, Next, Record, Saga, StepOutcome},
};
use rekindle_store::Op;
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};

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

/// What a step owes before it counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owes {
    /// Every volume: what it does can be put back, or puts something back.
    All,
    /// At least one: the others are named in its outcome.
    Some,
    /// None: it only waits, at a plan's end, and those that did not come are named in its outcome.
    None,
}

/// A step did not get there.
enum Stop {
    Lost,
    Failed { why: String, left: Left },
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
                    if let Some(why) = self.overtaken(&plan).await {
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

    /// Journals the end. With it the plan's claim on the group goes.
    async fn end(&self, plan: &Plan, saga: &mut Saga<'_>, end: End) -> Result<(), JournalError> {
        let free = Op::Delete {
            key: keys::group_active_plan(&plan.group),
        };
        self.append(plan, saga, Event::Ended { end }, vec![free])
            .await?;
        self.metrics.plan_ended(plan.kind, end);
        tracing::info!(plan.id = %plan.id, group = %plan.group, kind = %plan.kind, end = ?end, "plan ended");
        Ok(())
    }

    /// Why a stuck plan is to make way. What cannot be read now is no reason.
    async fn overtaken(&self, plan: &Plan) -> Option<String> {
        let outlook = self.assembler.outlook(&plan.group).await.ok()?;
        overtaken::overtaken(&outlook, plan)
    }

    /// Why a step that was not done in its last pass will not be done.
    async fn in_vain(&self, plan: &Plan, step: &Step) -> Option<String> {
        let outlook = self.assembler.outlook(&plan.group).await.ok()?;
        overtaken::in_vain(&outlook, plan, step)
    }

    /// The same for one that is in the middle of a pass: after a while, for what is under way may still come back.
    async fn hangs_in_vain(&self, plan: &Plan, step: &Step) -> String {
        loop {
            sleep(self.pauses.longest).await;
            if self.in_vain(plan, step).await.is_some() {
                sleep(self.pauses.longest).await;
                if let Some(why) = self.in_vain(plan, step).await {
                    return why;
                }
            }
        }
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
            Step::AwaitReplay { .. } => Owes::None,
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
            | Step::MarkProtected => {
                if planned.unwind.is_empty() {
                    Owes::Some
                } else {
                    Owes::All
                }
            }
        };
        let begun = Instant::now();
        let failed_before = saga.failed().iter().map(|f| f.volume.clone()).collect();
        let ended = self
            .passes(
                plan,
                n,
                &planned.step,
                planned.deadline,
                owes,
                &failed_before,
            )
            .await;
        self.metrics
            .step_ended(planned.step.name(), begun.elapsed());
        let event = match ended {
            Ok(outcome) => {
                for f in &outcome.failed {
                    tracing::error!(plan.id = %plan.id, step = n, volume.id = %f.volume, "{}: {}", planned.step.name(), f.why);
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
        let ended = self
            .passes(
                plan,
                failed,
                step,
                unwind_deadline(step),
                Owes::All,
                &BTreeSet::new(),
            )
            .await;
        let event = match ended {
            Ok(_) => Event::UnwindDone { undo },
            Err(Stop::Lost) => return Err(JournalError::Lost),
            Err(Stop::Failed { why, .. }) => {
                tracing::error!(plan.id = %plan.id, step = failed, undo, "putting back failed: {why}");
                Event::UnwindFailed { undo, error: why }
            }
        };
        self.append(plan, saga, event, vec![]).await
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

    /// Passes until the step is done, has failed, or its deadline is over.
    async fn passes(
        &self,
        plan: &Plan,
        n: usize,
        step: &Step,
        deadline: Span,
        owes: Owes,
        failed_before: &BTreeSet<ImageSpec>,
    ) -> Result<StepOutcome, Stop> {
        let ctx = Context {
            lead: self.lead,
            plan,
            failed_before,
            leases: self.leases,
            tools: self.tools,
            progress: self.progress,
        };
        let mut tally = Tally::new(steps::volumes_of(step), failed_before);
        self.progress.send_replace(Some(Progress {
            step: n,
            name: step.name().to_owned(),
            done: 0,
            of: tally.progress().1,
            note: String::new(),
        }));
        let mut until = Instant::now() + deadline.get();
        let mut waits = self.backoff();
        let mut last = "it was not done".to_owned();
        loop {
            if self.lead.check().is_err() {
                return Err(Stop::Lost);
            }
            // Never cut off while its transaction is under way: its calls have deadlines of their own.
            let cut_at = if matches!(step, Step::RecordPrimary { .. }) {
                Instant::now() + NEVER
            } else {
                until
            };
            let pass = tokio::select! {
                pass = timeout_at(cut_at, steps::attempt(&ctx, step, &mut tally)) => pass,
                () = self.lead.ended() => return Err(Stop::Lost),
                why = self.hangs_in_vain(plan, step) => {
                    tally.touch();
                    return give_up(tally, &why, &last, owes);
                }
            };
            let pause = match pass {
                Ok(Ok(Pass::Done { note })) => return settle(tally, note, owes),
                Ok(Ok(Pass::NotYet { note })) => {
                    last = note;
                    waits = self.backoff();
                    self.pauses.poll
                }
                Ok(Ok(Pass::Bound { left })) => {
                    last = format!("bound for {left} by a promise to an isolated zone");
                    until = until.max(Instant::now() + left.get() + deadline.get());
                    left.get().min(self.pauses.longest).max(self.pauses.poll)
                }
                Ok(Err(StepError::Lost)) => return Err(Stop::Lost),
                Ok(Err(StepError::NotNow(why))) => {
                    last = why;
                    waits.next().unwrap_or(self.pauses.longest)
                }
                Ok(Err(StepError::StoreAway(why))) => {
                    last = why;
                    until = until.max(Instant::now() + self.pauses.longest * 2);
                    waits.next().unwrap_or(self.pauses.longest)
                }
                Ok(Err(StepError::Failed { why, left })) => return Err(Stop::Failed { why, left }),
                Err(_) => {
                    // Cut off in the middle of a pass.
                    tally.touch();
                    return give_up(tally, &not_within(deadline), &last, owes);
                }
            };
            if owes == Owes::All && !tally.failed().is_empty() {
                return settle(tally, last, owes);
            }
            self.progress.send_modify(|p| {
                if let Some(p) = p {
                    (p.done, p.of) = tally.progress();
                    p.note.clone_from(&last);
                }
            });
            if let Some(why) = self.in_vain(plan, step).await {
                return give_up(tally, &why, &last, owes);
            }
            let next = Instant::now() + pause;
            if next >= until {
                return give_up(tally, &not_within(deadline), &last, owes);
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.lead.ended() => return Err(Stop::Lost),
            }
        }
    }

    fn backoff(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.pauses.poll)
            .with_max_delay(self.pauses.longest)
            .without_max_times()
            .build()
    }
}

fn not_within(deadline: Span) -> String {
    format!("not within {deadline}")
}

fn give_up(mut tally: Tally, why: &str, last: &str, owes: Owes) -> Result<StepOutcome, Stop> {
    if tally.progress().1 == 0 {
        return Err(Stop::Failed {
            why: format!("{why}: {last}"),
            left: Left::MaybeSomething,
        });
    }
    tally.give_up(why);
    settle(tally, why.to_owned(), owes)
}

/// What the tally amounts to.
fn settle(tally: Tally, note: String, owes: Owes) -> Result<StepOutcome, Stop> {
    let (done, of) = tally.progress();
    let enough = match owes {
        Owes::All => tally.failed().is_empty() && tally.is_over(),
        Owes::Some => done > 0 || tally.failed().is_empty(),
        Owes::None => true,
    };
    if enough {
        let failed = tally
            .failed()
            .iter()
            .map(|(volume, why)| FailedVolume {
                volume: volume.clone(),
                why: why.clone(),
            })
            .collect();
        return Ok(StepOutcome { note, failed });
    }
    let first = tally
        .failed()
        .iter()
        .next()
        .map(|(v, why)| format!("{v}: {why}"))
        .unwrap_or_default();
    Err(Stop::Failed {
        why: format!("{} of {of} volumes failed; {first}", tally.failed().len()),
        left: if tally.changed() {
            Left::MaybeSomething
        } else {
            Left::Nothing
        },
    })
}

/// What puts things back gets as long as what it undoes may take.
fn unwind_deadline(step: &Step) -> Span {
    match step {
        Step::Promote { .. } | Step::Demote { .. } | Step::Resync { .. } => Span::secs(600),
        Step::StartApplication { .. } | Step::StopApplication { .. } | Step::Fence { .. } => {
            Span::secs(300)
        }
        Step::AwaitDemotionReplayed { .. } | Step::AwaitReplay { .. } => Span::secs(3600),
        // A lease that was just given back may have to end by itself first.
        Step::AwaitLeaseEnd { .. }
        | Step::ReleaseLease { .. }
        | Step::RecordPrimary { .. }
        | Step::TakeLease { .. }
        | Step::MarkUnprotected { .. }
        | Step::MarkProtected => Span::secs(60),
    }
}

fn no_such_step(plan: &Plan, n: usize) -> JournalError {
    JournalError::Corrupted {
        about: keys::plan(&plan.id),
        message: format!("it has no step {n}"),
    }
}
