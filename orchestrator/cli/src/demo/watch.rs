//! Looking and waiting: the zones' states as they change, a plan's steps as they are done.

use super::{
    show::Stage,
    verdict::seconds,
    world::{DemoError, Tempo, chain},
};
use rekindle_common::{
    GroupName, PlanId, Timestamp, ZoneName,
    status::VolumeStatus,
    volume::{Role, VolumeReport},
};
use rekindle_core::{
    decision::{Decision, Hold},
    plan::{PlanKind, Step},
    saga::{End, Event, Record},
};
use rekindle_orchestrator::{
    client::OrchestratorClient,
    wire::{GroupStatus, PlanDetail, WatchLine},
};
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

/// Who watches what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) client: &'a OrchestratorClient,
    pub(super) stage: &'a Stage<'a>,
    pub(super) group: &'a GroupName,
    /// Both zones.
    pub(super) zones: [&'a ZoneName; 2],
    /// How many volumes the group has.
    pub(super) volumes: usize,
    pub(super) tempo: Tempo,
}

impl Watch<'_> {
    /// What the orchestrators see of the group, shown as it changes.
    pub(super) async fn look(&self) -> Result<GroupStatus, DemoError> {
        let status = self
            .client
            .group(self.group)
            .await
            .map_err(DemoError::api("asking for the group's status"))?;
        for zone in self.zones {
            let seen = status.volumes.iter().find(|z| z.zone == *zone);
            let text = seen.map_or("does not answer".to_owned(), |z| counts(&z.volumes));
            self.stage.set(zone.as_str(), &text);
        }
        Ok(status)
    }

    /// Waits until every copy is complete and in step, and the orchestrators find nothing left to do about the group.
    pub(super) async fn wait_protected(&self, what: &str) -> Result<GroupStatus, DemoError> {
        let n = self.volumes;
        self.until(what, || async {
            let status = match self.look().await {
                Ok(status) => status,
                Err(e) => return Ok(Err(chain(&e))),
            };
            let primary = status.primary.as_ref();
            let Some(copy) = primary.and_then(|p| status.spec.other(&p.zone)).cloned() else {
                return Ok(Err("no primary".to_owned()));
            };
            let ready = in_zone(&status, &copy)
                .iter()
                .filter(|v| v.is_in_step())
                .count();
            let well = Decision::Hold { why: Hold::AllWell };
            let decision = status.decision.as_ref();
            let text = decision.map_or("no decision yet".to_owned(), |d| d.text.clone());
            self.stage
                .doing(&format!("{what}: {ready}/{n} copies in step; {text}"));
            if ready == n
                && status.unprotected.is_none()
                && decision.is_some_and(|d| d.decision == well)
            {
                return Ok(Ok(status));
            }
            Ok(Err(format!("{ready} of {n} copies in step; {text}")))
        })
        .await
    }

    /// How many volumes are primary in a zone; waits for all, for a while.
    pub(super) async fn primaries(&self, zone: &ZoneName) -> Result<usize, DemoError> {
        let n = self.volumes;
        let deadline = Instant::now() + self.tempo.patience;
        loop {
            // What the leader shows is as of its last look.
            let status = self.look().await;
            let primary = |v: &&VolumeReport| v.role == Role::Primary;
            let count = |s: &GroupStatus| in_zone(s, zone).iter().filter(primary).count();
            let count = status.as_ref().map_or(0, count);
            if count == n || Instant::now() >= deadline {
                return Ok(count);
            }
            sleep(self.tempo.look_every).await;
        }
    }

    /// Waits until such a plan was made, and shows meanwhile what holds the decision back.
    pub(super) async fn wait_plan(
        &self,
        kind: PlanKind,
        since: Timestamp,
    ) -> Result<PlanId, DemoError> {
        self.until(&format!("a {kind} plan"), || async {
            let status = self.look().await;
            let text = match &status {
                Ok(status) => status
                    .decision
                    .as_ref()
                    .map_or("none yet".to_owned(), |d| d.text.clone()),
                Err(e) => format!("no leader answers: {}", chain(e)),
            };
            self.stage.set("decision", &text);
            let plans = self.client.plans(Some(self.group), 10).await;
            let found = plans
                .unwrap_or_default()
                .into_iter()
                .find(|p| p.kind == kind && p.at >= since);
            Ok(found.map(|p| p.id).ok_or(text))
        })
        .await
        .inspect(|_| self.stage.clear("decision"))
    }

    /// Follows a plan to its end, and shows its steps.
    pub(super) async fn follow(&self, plan: &PlanId) -> Result<PlanDetail, DemoError> {
        let deadline = Instant::now() + self.tempo.patience * 3;
        let client = self.client;
        let mut shown = 0;
        let mut begun = None;
        let detail = client
            .plan(plan)
            .await
            .map_err(DemoError::api("reading the plan"))?;
        self.stage.say(format!(
            "plan {}: {}, because {}",
            plan, detail.plan.kind, detail.plan.why
        ));
        loop {
            // The leader that it was watched from may be gone: watch anew, from the first record.
            if let Ok(mut watch) = client.watch(plan).await {
                let mut ticker = tokio::time::interval(self.tempo.look_every);
                loop {
                    let line = tokio::select! {
                        line = watch.next() => line,
                        _ = ticker.tick() => {
                            // A look that fails is one that is missed: the zones may be on their way.
                            drop(self.look().await);
                            if Instant::now() >= deadline { break }
                            continue;
                        }
                    };
                    match line {
                        Ok(Some(WatchLine::Record { seq, record })) => {
                            if seq >= shown {
                                self.show_record(&detail, &record, &mut begun);
                                shown = seq + 1;
                            }
                        }
                        Ok(Some(WatchLine::Progress { progress })) => {
                            let of = if progress.of > 0 {
                                format!(" {}/{}", progress.done, progress.of)
                            } else {
                                String::new()
                            };
                            self.stage
                                .doing(&format!("{}{of} {}", progress.name, progress.note));
                        }
                        Ok(Some(WatchLine::Ended {
                            end, not_helped, ..
                        })) => {
                            drop(self.look().await);
                            return self
                                .ended(
                                    plan,
                                    end,
                                    not_helped
                                        .first()
                                        .map(|f| format!("{}: {}", f.volume, f.why)),
                                )
                                .await;
                        }
                        Ok(Some(WatchLine::Waiting { state })) => {
                            return Err(DemoError::Plan(format!(
                                "plan {plan} waits for a person: {state:?}"
                            )));
                        }
                        Ok(Some(WatchLine::Broken { problem })) => {
                            return Err(DemoError::Plan(format!(
                                "plan {plan} cannot be watched: {problem}"
                            )));
                        }
                        Ok(None) | Err(_) => break,
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(DemoError::TooLate {
                    what: format!("the end of plan {plan}"),
                    after: self.tempo.patience * 3,
                    last: format!("{shown} journal records"),
                });
            }
            sleep(self.tempo.look_every).await;
        }
    }

    async fn ended(
        &self,
        plan: &PlanId,
        end: End,
        first: Option<String>,
    ) -> Result<PlanDetail, DemoError> {
        match end {
            End::Succeeded => self
                .client
                .plan(plan)
                .await
                .map_err(DemoError::api("reading the plan")),
            End::Partial | End::Abandoned | End::Unwound | End::GivenUp | End::Overtaken => {
                let detail = self.client.plan(plan).await.ok();
                let failed =
                    detail
                        .into_iter()
                        .flat_map(|d| d.journal)
                        .find_map(|r| match r.event {
                            Event::StepFailed { error, .. } => Some(error),
                            Event::Begun
                            | Event::StepBegun { .. }
                            | Event::StepDone { .. }
                            | Event::UnwindBegun { .. }
                            | Event::UnwindDone { .. }
                            | Event::UnwindFailed { .. }
                            | Event::Retried
                            | Event::Ended { .. } => None,
                        });
                let why = failed.or(first).unwrap_or_default();
                Err(DemoError::Plan(format!(
                    "plan {plan} ended as {end:?}: {why}"
                )))
            }
        }
    }

    /// Shows one record. `begun` is when the step at work was begun.
    fn show_record(&self, detail: &PlanDetail, record: &Record, begun: &mut Option<Timestamp>) {
        let step = |n: usize| detail.plan.steps.get(n).map(|s| &s.step);
        let text = |n: usize| step(n).map_or(String::new(), ToString::to_string);
        let took = |since: Option<Timestamp>| {
            since.map_or(String::new(), |b| {
                format!(" ({:.1} s)", seconds(b, record.at))
            })
        };
        match &record.event {
            Event::StepBegun { step: n } => {
                *begun = Some(record.at);
                self.stage.doing(&text(*n));
            }
            Event::StepDone { step: n, outcome } => {
                let note = match step(*n) {
                    Some(step) if counts_volumes(step) => format!(": {}", outcome.note),
                    Some(_) | None => String::new(),
                };
                let failed = match outcome.volumes_failed() {
                    0 => String::new(),
                    k => format!("; {k} FAILED"),
                };
                let (n, text, took) = (n + 1, text(*n), took(begun.take()));
                self.stage
                    .say(format!("  {n:2}. {text}{note}{failed}{took}"));
            }
            Event::StepFailed { step: n, error, .. } => {
                let (n, text, took) = (n + 1, text(*n), took(begun.take()));
                self.stage
                    .say(format!("  {n:2}. {text}: FAILED, {error}{took}"));
            }
            Event::UnwindBegun { undo } => {
                self.stage.say(format!("      putting back ({})", undo + 1))
            }
            Event::UnwindFailed { error, .. } => {
                self.stage
                    .say(format!("      putting back FAILED: {error}"));
            }
            Event::Begun | Event::UnwindDone { .. } | Event::Retried | Event::Ended { .. } => {}
        }
    }

    /// Looks again and again until `probe` says `Ok(Ok(_))`; its `Ok(Err(_))` is what was seen instead.
    pub(super) async fn until<T, F>(
        &self,
        what: &str,
        mut probe: impl FnMut() -> F,
    ) -> Result<T, DemoError>
    where
        F: Future<Output = Result<Result<T, String>, DemoError>>,
    {
        let tempo = self.tempo;
        let deadline = Instant::now() + tempo.patience;
        loop {
            let last = match probe().await? {
                Ok(found) => return Ok(found),
                Err(last) => last,
            };
            if Instant::now() >= deadline {
                let what = what.to_owned();
                return Err(DemoError::TooLate {
                    what,
                    after: tempo.patience,
                    last,
                });
            }
            sleep(tempo.look_every).await;
        }
    }
}

/// A zone's volumes, where it was seen.
pub(super) fn in_zone<'s>(status: &'s GroupStatus, zone: &ZoneName) -> &'s [VolumeReport] {
    status
        .volumes
        .iter()
        .find(|z| z.zone == *zone)
        .map_or(&[], |z| z.volumes.as_slice())
}

/// A step's begin and its end, from its intent to its result.
pub(super) fn step_times(
    detail: &PlanDetail,
    which: impl Fn(&Step) -> bool,
) -> Option<(Timestamp, Timestamp)> {
    let number = detail.plan.steps.iter().position(|s| which(&s.step))?;
    let begun = detail
        .journal
        .iter()
        .find(|r| r.event == Event::StepBegun { step: number })?
        .at;
    let ended = detail.journal.iter().find(|r| match &r.event {
        Event::StepDone { step, .. } => *step == number,
        Event::Begun
        | Event::StepBegun { .. }
        | Event::StepFailed { .. }
        | Event::UnwindBegun { .. }
        | Event::UnwindDone { .. }
        | Event::UnwindFailed { .. }
        | Event::Retried
        | Event::Ended { .. } => false,
    })?;
    Some((begun, ended.at))
}

/// When the plan was taken up.
pub(super) fn begun(detail: &PlanDetail) -> Option<Timestamp> {
    let first = detail.journal.iter().find(|r| r.event == Event::Begun);
    first.map(|r| r.at)
}

/// `8 active - secondary, 4 active - updating`
fn counts(volumes: &[VolumeReport]) -> String {
    let mut by: BTreeMap<VolumeStatus, usize> = BTreeMap::new();
    for v in volumes {
        *by.entry(v.status).or_default() += 1;
    }
    if by.is_empty() {
        return "no volumes".to_owned();
    }
    by.iter()
        .map(|(status, n)| format!("{n} {status}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether a step's note says how many volumes or servers it helped; the others' notes repeat the step.
fn counts_volumes(step: &Step) -> bool {
    match step {
        Step::Demote { .. }
        | Step::Promote { .. }
        | Step::Resync { .. }
        | Step::AwaitReplay { .. }
        | Step::AwaitDemotionReplayed { .. }
        | Step::StopServers { .. }
        | Step::StartServers { .. }
        | Step::HoldServers { .. } => true,
        Step::Fence { .. }
        | Step::AwaitLeaseEnd { .. }
        | Step::StopApplication { .. }
        | Step::StartApplication { .. }
        | Step::ReleaseLease { .. }
        | Step::RecordPrimary { .. }
        | Step::TakeLease { .. }
        | Step::MarkUnprotected { .. }
        | Step::MarkProtected
        | Step::RunHook { .. }
        | Step::Pause { .. } => false,
    }
}
