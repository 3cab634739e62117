//! What is waited for of a group: its lease, its primary, its protection, its plans.

use super::{Group, decision, zone};
use crate::scenario::wait::{Look, until};
use anyhow::ensure;
use rekindle_common::{
    Generation, ImageSpec, Timestamp,
    given_up::GivenUp,
    status::VolumeStatus,
    volume::{Role, VolumeReport},
};
use rekindle_core::{
    plan::{PlanKind, Step},
    saga::{End, Event, State},
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{GroupStatus, PlanDetail};
use std::{collections::BTreeMap, time::Duration};

/// For a copy to be made, or to be made anew.
pub(super) const PROTECT: Duration = Duration::from_secs(120);
/// For a plan to be begun and carried out.
const PLAN: Duration = Duration::from_secs(120);

impl Group<'_> {
    /// Waits until the lease is seen in etcd as that zone's, under that generation.
    ///
    /// # Errors
    /// It is not, in half a minute.
    pub async fn wait_lease(&self, site: Site, generation: Generation) -> anyhow::Result<()> {
        use rekindle_core::snapshot::LeaseSight;
        let what = format!("{site} to hold the lease of generation {generation}");
        let zone = zone(site)?;
        until(&what, Duration::from_secs(30), async || {
            match self.status().await?.lease {
                LeaseSight::Held(l) if l.zone == zone && l.generation == generation => Ok(()),
                other @ (LeaseSight::Held(_) | LeaseSight::Gone { .. }) => {
                    Err(format!("{other:?}"))
                }
            }
        })
        .await
    }

    /// Waits until every volume is primary in that zone under that generation, and no plan is at work.
    ///
    /// # Errors
    /// They are not, in two minutes.
    pub async fn wait_primary(&self, site: Site, generation: Generation) -> anyhow::Result<()> {
        let what = format!("all volumes primary in {site} under generation {generation}");
        let zone = zone(site)?;
        until(&what, PLAN, async || {
            let status = self.status().await?;
            let record = status.primary.as_ref();
            if !record.is_some_and(|p| p.zone == zone && p.generation == generation) {
                return Err(format!("record {record:?}; {}", decision(&status)));
            }
            if let Some(plan) = &status.active_plan {
                return Err(format!("plan {} is at work: {}", plan.id, plan.text));
            }
            let seen = self.volumes_in(site).await?;
            let roles: Vec<Role> = seen.iter().map(|v| v.role).collect();
            if roles.len() == self.volumes.len() && roles.iter().all(|r| *r == Role::Primary) {
                Ok(())
            } else {
                Err(format!("{roles:?}"))
            }
        })
        .await
    }

    /// Waits until every copy is complete and in step, and the group is not called unprotected.
    ///
    /// # Errors
    /// They are not, in two minutes.
    pub async fn wait_protected(&self) -> anyhow::Result<GroupStatus> {
        until("the group to be protected", PROTECT, async || {
            let status = self.status().await?;
            let primary = status.primary.as_ref().ok_or("no primary")?;
            let copy = status.spec.other(&primary.zone).ok_or("foreign primary")?;
            let seen = status.volumes.iter().find(|z| z.zone == *copy);
            let seen = seen.map_or(&[][..], |z| z.volumes.as_slice());
            let ready = seen.iter().filter(|v| v.is_in_step()).count();
            if ready < self.volumes.len() || status.unprotected.is_some() {
                let texts: Vec<String> = seen
                    .iter()
                    .map(|v| format!("{} {} {:?}", v.volume, v.status, v.concerns))
                    .collect();
                let unprotected = &status.unprotected;
                return Err(format!("{unprotected:?}; {texts:?}; {}", decision(&status)));
            }
            match &status.active_plan {
                Some(plan) => Err(format!("plan {} is at work: {}", plan.id, plan.text)),
                None => Ok(status),
            }
        })
        .await
    }

    /// Waits until a volume has that status in a zone's own words.
    ///
    /// # Errors
    /// It has not, in that time.
    pub async fn wait_status(
        &self,
        site: Site,
        volume: &ImageSpec,
        wanted: VolumeStatus,
        within: Duration,
    ) -> anyhow::Result<VolumeReport> {
        let what = format!("{volume} to be `{wanted}` in {site}");
        until(&what, within, async || {
            let report = self.report(site, volume).await?;
            if report.status == wanted {
                Ok(report)
            } else {
                Err(format!("{} {:?}", report.status, report.concerns))
            }
        })
        .await
    }

    /// Waits until a plan of that kind, made since then, has succeeded. A plan of another end fails the wait at once.
    ///
    /// # Errors
    /// There is none in two minutes, or it ended otherwise, or waits for a person.
    pub async fn wait_plan(&self, kind: PlanKind, since: Timestamp) -> anyhow::Result<PlanDetail> {
        self.wait_plan_within(kind, since, PLAN).await
    }

    /// The same for a plan that takes longer: one that boots guests.
    ///
    /// # Errors
    /// As [`Self::wait_plan`], after that time.
    pub async fn wait_plan_within(
        &self,
        kind: PlanKind,
        since: Timestamp,
        within: Duration,
    ) -> anyhow::Result<PlanDetail> {
        let (end, detail) = self.wait_end(kind, since, within).await?;
        ensure!(
            end == Some(End::Succeeded),
            "{} ended as {end:?}: {:#?}",
            detail.plan,
            detail.journal
        );
        Ok(detail)
    }

    /// Waits for the end of a plan of that kind, made since then, whatever it is; `None`: it waits for a person.
    ///
    /// # Errors
    /// There is no such plan, or it has no end, after that time.
    pub async fn wait_end(
        &self,
        kind: PlanKind,
        since: Timestamp,
        within: Duration,
    ) -> anyhow::Result<(Option<End>, PlanDetail)> {
        let what = format!("a {kind} plan to end");
        until(&what, within, async || {
            let client = self.cloud.orchestrators();
            let plans = client.plans(Some(&self.name), 20).await;
            let plans = plans.map_err(|e| e.to_string())?;
            let Some(plan) = plans.iter().find(|p| p.kind == kind && p.at >= since) else {
                let status = self.status().await?;
                return Err(format!("no such plan; {}", decision(&status)));
            };
            let detail = client.plan(&plan.id).await.map_err(|e| e.to_string())?;
            match &detail.state {
                Some(State::Ended { end }) => Ok((Some(*end), detail)),
                // It would wait for a person for ever.
                Some(State::Stuck { .. }) => Ok((None, detail)),
                state @ (Some(
                    State::Fresh
                    | State::Between { .. }
                    | State::Running { .. }
                    | State::Unwinding { .. }
                    | State::RunningUnwind { .. },
                )
                | None) => Err(format!("{}: {state:?}", detail.plan.id)),
            }
        })
        .await
    }

    /// Waits until a plan of that kind, made since then, has such a step under way.
    ///
    /// # Errors
    /// It has not, in two minutes.
    pub async fn wait_step(
        &self,
        kind: PlanKind,
        since: Timestamp,
        which: fn(&Step) -> bool,
    ) -> anyhow::Result<PlanDetail> {
        let what = format!("a step of a {kind} plan to be under way");
        until(&what, PLAN, async || {
            let client = self.cloud.orchestrators();
            let plans = client.plans(Some(&self.name), 20).await;
            let plans = plans.map_err(|e| e.to_string())?;
            let plan = plans.iter().find(|p| p.kind == kind && p.at >= since);
            let Some(plan) = plan else {
                let status = self.status().await?;
                return Err(format!("no such plan; {}", decision(&status)));
            };
            let detail = client.plan(&plan.id).await.map_err(|e| e.to_string())?;
            match &detail.state {
                Some(State::Running { step }) if which(&detail.plan.steps[*step].step) => {
                    Ok(detail)
                }
                state => Err(format!("{state:?}")),
            }
        })
        .await
    }

    /// What the resyncs of its plans gave up, by volume: of several, the first.
    ///
    /// # Errors
    /// The orchestrators do not answer.
    pub async fn given_up(&self) -> Look<BTreeMap<ImageSpec, GivenUp>> {
        let client = self.cloud.orchestrators();
        let plans = client.plans(Some(&self.name), 20).await;
        let mut all = BTreeMap::new();
        for plan in plans.map_err(|e| e.to_string())? {
            let detail = client.plan(&plan.id).await.map_err(|e| e.to_string())?;
            for record in detail.journal {
                if let Event::StepDone { outcome, .. } = record.event {
                    all.extend(outcome.given_up.into_iter().map(|g| (g.volume, g.given_up)));
                }
            }
        }
        Ok(all)
    }

    /// All plans of it, newest first, by kind.
    ///
    /// # Errors
    /// The orchestrators do not answer.
    pub async fn plans(&self) -> Look<Vec<PlanKind>> {
        let plans = self.cloud.orchestrators().plans(Some(&self.name), 20).await;
        let plans = plans.map_err(|e| e.to_string())?;
        Ok(plans.into_iter().map(|p| p.kind).collect())
    }
}
