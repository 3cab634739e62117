//! Looking and waiting: the zones' states as they change, a plan's steps as they are done.

use super::{Story, in_step, in_zone};
use crate::demo::world::{DemoError, World, chain};
use rekindle_common::{Generation, PlanId, Timestamp, status::VolumeStatus, volume::VolumeReport};
use rekindle_core::{
    plan::PlanKind,
    saga::{End, Event, Record},
};
use rekindle_orchestrator::wire::{GroupStatus, PlanDetail, WatchLine};
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

impl<W: World> Story<'_, W> {
    /// What the orchestrators see of the group, shown as it changes.
    pub(super) async fn look(&self) -> Result<GroupStatus, DemoError> {
        let status = self
            .world
            .orchestrator()
            .group(&self.group)
            .await
            .map_err(DemoError::api("asking for the group's status"))?;
        for zone in [&self.home, &self.away] {
            let seen = status.volumes.iter().find(|z| z.zone == *zone);
            let text = seen.map_or("does not answer".to_owned(), |z| counts(&z.volumes));
            self.stage.set(zone.as_str(), &text);
        }
        Ok(status)
    }

    /// Waits until every copy is complete and in step. `since`: and the group says so itself.
    pub(super) async fn wait_protected(
        &self,
        what: &str,
        since: Option<Timestamp>,
    ) -> Result<GroupStatus, DemoError> {
        let n = self.volumes.len();
        self.until(what, || async {
            let status = match self.look().await {
                Ok(status) => status,
                Err(e) => return Ok(Err(e.to_string())),
            };
            let Some(primary) = status.primary.clone() else {
                return Ok(Err("no primary".to_owned()));
            };
            let Some(copy) = status.spec.other(&primary.zone).cloned() else {
                return Ok(Err("a foreign primary".to_owned()));
            };
            let ready = in_zone(&status, &copy)
                .iter()
                .filter(|v| in_step(v))
                .count();
            self.stage
                .doing(&format!("{what}: {ready}/{n} copies in step"));
            if ready == n && (since.is_none() || status.unprotected.is_none()) {
                return Ok(Ok(status));
            }
            let why = status
                .unprotected
                .as_ref()
                .map_or(String::new(), |u| format!("; {}", u.why));
            Ok(Err(format!("{ready} of {n} copies in step{why}")))
        })
        .await
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
                Err(e) => chain(e),
            };
            self.stage.set("decision", &without_countdown(&text));
            let plans = self.world.orchestrator().plans(Some(&self.group), 10).await;
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
        let deadline = Instant::now() + self.world.tempo().patience * 3;
        let client = self.world.orchestrator();
        let mut shown = 0;
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
                let mut ticker = tokio::time::interval(self.world.tempo().look_every);
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
                                self.show_record(&detail, &record);
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
                        Ok(Some(WatchLine::Ended { end, not_helped })) => {
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
                    after: self.world.tempo().patience * 3,
                    last: format!("{shown} journal records"),
                });
            }
            sleep(self.world.tempo().look_every).await;
        }
    }

    pub(super) async fn ended(
        &self,
        plan: &PlanId,
        end: End,
        first: Option<String>,
    ) -> Result<PlanDetail, DemoError> {
        match end {
            End::Succeeded => self
                .world
                .orchestrator()
                .plan(plan)
                .await
                .map_err(DemoError::api("reading the plan")),
            End::Partial | End::Abandoned | End::Unwound => {
                let detail = self.world.orchestrator().plan(plan).await.ok();
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

    fn show_record(&self, detail: &PlanDetail, record: &Record) {
        let step = |n: &usize| {
            detail
                .plan
                .steps
                .get(*n)
                .map_or(String::new(), |s| s.step.to_string())
        };
        match &record.event {
            Event::StepBegun { step: n } => {
                self.stage.doing(&step(n));
            }
            Event::StepDone { step: n, outcome } => {
                let failed = match outcome.failed.len() {
                    0 => String::new(),
                    k => format!("; {k} FAILED"),
                };
                self.stage.say(format!(
                    "  {:2}. {}: {}{failed}",
                    n + 1,
                    step(n),
                    outcome.note
                ));
            }
            Event::StepFailed { step: n, error, .. } => {
                self.stage
                    .say(format!("  {:2}. {}: FAILED, {error}", n + 1, step(n)));
            }
            Event::UnwindBegun { undo } => {
                self.stage.say(format!("      putting back ({})", undo + 1))
            }
            Event::UnwindFailed { error, .. } => self
                .stage
                .say(format!("      putting back FAILED: {error}")),
            Event::Begun | Event::UnwindDone { .. } | Event::Retried | Event::Ended { .. } => {}
        }
    }

    /// Waits until each volume has so many acknowledged records of a generation.
    pub(super) async fn until_written(
        &self,
        what: &str,
        generation: Generation,
        records: usize,
    ) -> Result<(), DemoError> {
        let n = self.volumes.len();
        self.until(what, || async {
            let mut ready = 0;
            for v in &self.volumes {
                let acks = self.acks(&v.spec)?;
                let count = acks
                    .iter()
                    .filter(|a| a.record.generation == generation.0)
                    .count();
                ready += usize::from(count >= records);
            }
            self.stage.doing(&format!("{what}: {ready}/{n}"));
            Ok(if ready == n {
                Ok(())
            } else {
                Err(format!("{ready} of {n} volumes"))
            })
        })
        .await
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
        let tempo = self.world.tempo();
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

/// A decision's text without what only counts down, so that off a terminal a line is not printed for each second.
fn without_countdown(text: &str) -> String {
    let words = text
        .split(' ')
        .filter(|w| !w.starts_with(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}
