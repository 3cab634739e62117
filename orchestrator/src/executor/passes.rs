//! Passes over one step, until it is done, has failed, or is waited for in vain.

use super::{Executor, NEVER};
use crate::steps::{self, Context, Pass, StepError, Tally, told};
use crate::wire::Progress;
use backon::{BackoffBuilder, ExponentialBuilder};
use rekindle_common::{ImageSpec, ServerKey, duration::Span};
use rekindle_core::{
    overtaken,
    plan::{HookTime, Plan, Step},
    saga::{Left, Saga, StepOutcome},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// What a step owes before it counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// Every volume: what it does can be put back, or puts something back.
    All,
    /// Every volume that is still there: of one that is gone nothing can be put back, and it is named in its outcome.
    AllThere,
    /// At least one: the others are named in its outcome.
    Some,
    /// None: it waits at a plan's end, or is about servers; those that it could not help are named in its outcome.
    None,
}

/// What earlier steps could not help.
#[derive(Debug, Default)]
pub(super) struct Before {
    volumes: BTreeSet<ImageSpec>,
    servers: BTreeMap<ServerKey, String>,
}

impl Owes {
    /// Whether the step cannot become what it owes any more.
    fn is_missed(self, tally: &Tally) -> bool {
        match self {
            Self::All => tally.has_failed(),
            Self::AllThere => tally.has_failed_beside_the_gone(),
            Self::Some | Self::None => false,
        }
    }
}

impl Before {
    pub(super) fn of(saga: &Saga<'_>) -> Self {
        let servers = saga.failed_servers().iter();
        Self {
            volumes: saga.failed().iter().map(|f| f.volume.clone()).collect(),
            servers: servers.map(|f| (f.server.clone(), f.why.clone())).collect(),
        }
    }
}

/// A step did not get there.
pub(super) enum Stop {
    Lost,
    Failed { why: String, left: Left },
}

impl Executor<'_> {
    /// Passes until the step is done, has failed, or its deadline is over.
    pub(super) async fn passes(
        &self,
        plan: &Plan,
        n: usize,
        step: &Step,
        deadline: Span,
        owes: Owes,
        before: &Before,
    ) -> Result<StepOutcome, Stop> {
        let ctx = Context {
            lead: self.lead,
            plan,
            failed_before: &before.volumes,
            failed_servers: &before.servers,
            leases: self.leases,
            assembler: self.assembler,
            tools: self.tools,
            progress: self.progress,
            metrics: self.metrics,
        };
        let mut tally = Tally::new(steps::volumes_of(step), &before.volumes)
            .with_servers(steps::servers_of(plan, step));
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
        // Whether etcd has left open what became of a change.
        let mut unsure = false;
        loop {
            if self.lead.check().is_err() {
                return Err(Stop::Lost);
            }
            // Held for this pass alone, and not counted: the step has all of its time once it is its turn.
            let asked = Instant::now();
            let slot = tokio::select! {
                slot = self.slot(plan, step) => slot?,
                // A zone may die while its plan waits for its turn, and what takes that plan's place is not to wait for it.
                why = self.hangs_in_vain(plan, step) => {
                    return give_up(tally, &why, &last, owes, left_by(step, unsure));
                }
            };
            until += asked.elapsed();
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
                    return give_up(tally, &why, &last, owes, Left::MaybeSomething);
                }
            };
            drop(slot);
            let pause = match pass {
                Ok(Ok(Pass::Done { note })) => return settle(tally, note, owes),
                Ok(Ok(Pass::NotYet { note })) => {
                    last = note;
                    waits = self.backoff();
                    self.pauses.poll
                }
                Ok(Ok(Pass::Moves { note })) => {
                    last = note;
                    until = until.max(Instant::now() + deadline.get());
                    waits.next().unwrap_or(self.pauses.longest)
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
                    unsure = true;
                    until = until.max(Instant::now() + self.pauses.longest * 2);
                    waits.next().unwrap_or(self.pauses.longest)
                }
                Ok(Err(StepError::Failed { why, left })) => return Err(Stop::Failed { why, left }),
                Err(_) => {
                    // Cut off in the middle of a pass.
                    tally.touch();
                    return give_up(
                        tally,
                        &not_within(deadline),
                        &last,
                        owes,
                        Left::MaybeSomething,
                    );
                }
            };
            if owes.is_missed(&tally) {
                return settle(tally, last, owes);
            }
            self.progress.send_modify(|p| {
                if let Some(p) = p {
                    (p.done, p.of) = tally.progress();
                    p.note.clone_from(&last);
                }
            });
            if let Some(why) = self.in_vain(plan, step).await {
                return give_up(tally, &why, &last, owes, left_by(step, unsure));
            }
            let next = Instant::now() + pause;
            if next >= until {
                return give_up(
                    tally,
                    &not_within(deadline),
                    &last,
                    owes,
                    left_by(step, unsure),
                );
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

    /// Why a step that was not done in its last pass will not be done.
    async fn in_vain(&self, plan: &Plan, step: &Step) -> Option<String> {
        let outlook = if overtaken::needs_a_primary(plan, step) {
            self.assembler.outlook_on_primary(&plan.group).await.ok()?
        } else {
            self.assembler.outlook(&plan.group).await.ok()?
        };
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
}

fn not_within(deadline: Span) -> String {
    format!("not within {deadline}")
}

/// What a step leaves behind that is given up between two passes. Of a record it is known, unless etcd left it open: a pass that did not make it changed
/// nothing.
fn left_by(step: &Step, unsure: bool) -> Left {
    if matches!(step, Step::RecordPrimary { .. }) && !unsure {
        Left::Nothing
    } else {
        Left::MaybeSomething
    }
}

fn give_up(
    mut tally: Tally,
    why: &str,
    last: &str,
    owes: Owes,
    left: Left,
) -> Result<StepOutcome, Stop> {
    if tally.progress().1 == 0 {
        return Err(Stop::Failed {
            why: format!("{why}: {last}"),
            left,
        });
    }
    tally.give_up(why);
    settle(tally, why.to_owned(), owes)
}

/// What the tally amounts to.
fn settle(tally: Tally, note: String, owes: Owes) -> Result<StepOutcome, Stop> {
    let (done, _) = tally.progress();
    let enough = match owes {
        Owes::All | Owes::AllThere => !owes.is_missed(&tally) && tally.is_over(),
        Owes::Some => done > 0 || !tally.has_failed(),
        Owes::None => true,
    };
    if enough {
        let (failed, failed_more) = told::failed(&tally);
        let (given_up, given_up_more) = told::given_up(&tally);
        return Ok(StepOutcome {
            note: told::note(&note, failed_more.len()),
            failed,
            servers: tally.told_servers(),
            hook: None,
            given_up,
            failed_more,
            given_up_more,
        });
    }
    Err(Stop::Failed {
        why: told::error(&tally.failure().unwrap_or(note)),
        left: if tally.changed() {
            Left::MaybeSomething
        } else {
            Left::Nothing
        },
    })
}

/// A hook that runs after the last server is told about, and nothing hangs on it.
pub(super) fn told_only(
    step: &Step,
    ended: Result<StepOutcome, Stop>,
) -> Result<StepOutcome, Stop> {
    let after = matches!(
        step,
        Step::RunHook {
            when: HookTime::After,
            ..
        }
    );
    match ended {
        Err(Stop::Failed { why, .. }) if after => {
            tracing::error!("{step}: {why}");
            Ok(StepOutcome {
                note: format!("FAILED, and nothing hangs on it: {why}"),
                hook: Some(why),
                ..StepOutcome::default()
            })
        }
        other @ (Ok(_) | Err(Stop::Lost | Stop::Failed { .. })) => other,
    }
}

/// What is put back is put back whole. Only of servers those that cannot be started are named: one must not keep the others down; and of volumes those
/// that are gone, which would keep the others down for ever.
pub(super) fn owes_in_unwinding(step: &Step) -> Owes {
    match step {
        Step::StartServers { .. } => Owes::None,
        Step::Promote { .. } => Owes::AllThere,
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
        | Step::AwaitReplay { .. }
        | Step::MarkProtected
        | Step::RunHook { .. }
        | Step::Pause { .. }
        | Step::StopServers { .. }
        | Step::HoldServers { .. } => Owes::All,
    }
}

/// What puts things back gets as long as what it undoes may take.
pub(super) fn unwind_deadline(plan: &Plan, step: &Step) -> Span {
    match step {
        Step::StartServers { level, .. } | Step::StopServers { level, .. } => {
            plan.level_deadline(*level)
        }
        Step::HoldServers { .. } => Span::secs(600),
        Step::RunHook { within, .. } => *within,
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
        | Step::Pause { .. }
        | Step::MarkProtected => Span::secs(60),
    }
}

#[cfg(test)]
mod tests;
