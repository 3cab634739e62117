//! Passes over one step, until it is done, has failed, or is waited for in vain.

use super::{Executor, NEVER};
use crate::steps::{self, Context, Pass, StepError, Tally};
use crate::wire::Progress;
use backon::{BackoffBuilder, ExponentialBuilder};
use rekindle_common::{ImageSpec, duration::Span};
use rekindle_core::{
    overtaken,
    plan::{Plan, Step},
    saga::{FailedVolume, Left, StepOutcome},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// What a step owes before it counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// Every volume: what it does can be put back, or puts something back.
    All,
    /// At least one: the others are named in its outcome.
    Some,
    /// None: it only waits, at a plan's end, and those that did not come are named in its outcome.
    None,
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
        failed_before: &BTreeSet<ImageSpec>,
    ) -> Result<StepOutcome, Stop> {
        let ctx = Context {
            lead: self.lead,
            plan,
            failed_before,
            leases: self.leases,
            assembler: self.assembler,
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
pub(super) fn unwind_deadline(step: &Step) -> Span {
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
