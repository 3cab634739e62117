//! A group of volumes under replication, and what is seen of it.

use super::{
    cloud::Cloud,
    config,
    wait::{Look, until},
};
use anyhow::{Context, bail, ensure};
use rekindle_cli::demo::{ledger::Ack, rbd, volumes::Kind};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec, Timestamp, ZoneName,
    action::{ActionOutcome, Order, Promotion, SafetyCopy, VolumeAction},
    duration::Span,
    lease::LeaseView,
    mode::ReplicationMode,
    policy::{GroupPolicy, GroupSpec},
    runbook::Runbook,
    schedule::Schedule,
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};
use rekindle_core::{
    plan::{PlanKind, Step},
    saga::{End, Event, State},
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{GroupStatus, PlanDetail};
use std::time::Duration;

/// For a copy to be made, or to be made anew.
const PROTECT: Duration = Duration::from_secs(120);
/// For a plan to be begun and carried out.
const PLAN: Duration = Duration::from_secs(120);
/// A periodic volume's interval.
const INTERVAL: Span = Span::secs(10);

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its image, of the same name in both zones.
    pub spec: ImageSpec,
    /// How it is replicated.
    pub kind: Kind,
}

/// A group of them, at home in zone-a.
#[derive(Debug)]
pub struct Group<'c> {
    cloud: &'c Cloud,
    /// Its name.
    pub name: GroupName,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// A zone's name.
///
/// # Errors
/// The witness is none.
pub(super) fn zone(site: Site) -> anyhow::Result<ZoneName> {
    ensure!(site.has_ceph(), "{site} is no zone");
    Ok(ZoneName::new(site.name())?)
}

impl Cloud {
    /// A group with a volume of each of these kinds, defined and with its images made in zone-a, which holds its lease.
    ///
    /// # Errors
    /// The orchestrators or zone-a refuse.
    pub async fn group(&self, kinds: &[Kind]) -> anyhow::Result<Group<'_>> {
        self.group_with(kinds, config::policy()).await
    }

    /// The same, with a policy of the scenario's.
    ///
    /// # Errors
    /// As [`Self::group`].
    pub async fn group_with(
        &self,
        kinds: &[Kind],
        policy: GroupPolicy,
    ) -> anyhow::Result<Group<'_>> {
        let pool = self.lab.zone(Site::ZoneA)?.pool;
        let mut volumes = Vec::new();
        for kind in kinds {
            let image = format!("volume-{}-{}-{kind}", self.name(), self.next());
            let spec = ImageSpec::new(pool, image)?;
            volumes.push(Volume { spec, kind: *kind });
        }
        let group = Group {
            cloud: self,
            name: GroupName::new(format!("{}-{}", self.name(), self.next()))?,
            volumes,
        };
        let spec = GroupSpec {
            name: group.name.clone(),
            home: zone(Site::ZoneA)?,
            away: zone(Site::ZoneB)?,
            policy,
            runbook: Runbook::default(),
        };
        retried("the group's definition", async || {
            self.orchestrators().put_group(&spec).await
        })
        .await?;
        let specs = group.specs().cloned().collect();
        self.create_images(Site::ZoneA, specs).await?;
        group.wait_lease(Site::ZoneA, Generation(1)).await?;
        Ok(group)
    }
}

impl Cloud {
    /// A volume without a group, so that no orchestrator acts on it: replicated from zone-a, with a complete copy in zone-b.
    ///
    /// # Errors
    /// The sidecar refuses, or no complete copy comes.
    pub async fn lone_volume(&self, mode: ReplicationMode) -> anyhow::Result<ImageSpec> {
        let pool = self.lab.zone(Site::ZoneA)?.pool;
        let image = format!("volume-{}-{}-alone", self.name(), self.next());
        let spec = ImageSpec::new(pool, image)?;
        self.create_images(Site::ZoneA, vec![spec.clone()]).await?;
        let order = Order {
            action: VolumeAction::Replicate {
                mode,
                group: None,
                cinder: None,
            },
            generation: None,
        };
        self.sidecar_of(Site::ZoneA)
            .act(&spec, &order)
            .await
            .context("replicating a volume without a group")?;
        until("a complete copy", PROTECT, async || {
            let copy = self.sidecar_of(Site::ZoneB).volume(&spec).await;
            let copy = copy.map_err(|e| e.to_string())?;
            if in_step(&copy) {
                Ok(())
            } else {
                Err(format!("{} {:?}", copy.status, copy.concerns))
            }
        })
        .await?;
        Ok(spec)
    }

    async fn create_images(&self, site: Site, specs: Vec<ImageSpec>) -> anyhow::Result<()> {
        let zone = self.lab.zone(site)?;
        tokio::task::spawn_blocking(move || {
            let cluster = rbd::connect(&zone.ceph_conf, zone.client_id)?;
            rbd::create(&cluster, &specs)
        })
        .await?
        .context("making the images")
    }

    /// Gives one order for a volume to a zone's sidecar.
    ///
    /// # Errors
    /// Its refusal.
    pub async fn order(
        &self,
        site: Site,
        volume: &ImageSpec,
        action: VolumeAction,
        generation: Option<Generation>,
    ) -> Result<ActionOutcome, ApiError> {
        let order = Order { action, generation };
        self.sidecar_of(site).act(volume, &order).await
    }

    /// The refusal of an order that must be refused.
    ///
    /// # Errors
    /// It was not refused.
    pub async fn refused(
        &self,
        site: Site,
        volume: &ImageSpec,
        action: VolumeAction,
        generation: Option<Generation>,
    ) -> anyhow::Result<ApiError> {
        let name = action.name();
        match self.order(site, volume, action, generation).await {
            Err(e) => Ok(e),
            Ok(done) => bail!("{name} of {volume} in {site} was not refused: {done:?}"),
        }
    }
}

/// Asks until it is not refused for a passing reason.
pub(super) async fn retried<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, ApiError>,
) -> anyhow::Result<T> {
    let end = until(what, Duration::from_secs(30), async || match ask().await {
        Ok(done) => Ok(Ok(done)),
        // The lease is taken within a second of the group's definition.
        Err(e) if e.retryable() || e.code == ErrorCode::LeaseNotHeld => Err(e.to_string()),
        Err(e) => Ok(Err(e)),
    })
    .await?;
    end.with_context(|| what.to_owned())
}

impl<'c> Group<'c> {
    pub(super) fn cloud(&self) -> &'c Cloud {
        self.cloud
    }
    /// Its images.
    pub fn specs(&self) -> impl Iterator<Item = &ImageSpec> {
        self.volumes.iter().map(|v| &v.spec)
    }
    /// The first volume of a kind.
    ///
    /// # Errors
    /// The group has none.
    pub fn volume(&self, kind: Kind) -> anyhow::Result<&ImageSpec> {
        let found = self.volumes.iter().find(|v| v.kind == kind);
        Ok(&found.with_context(|| format!("no {kind} volume"))?.spec)
    }

    /// Puts every volume under replication, and waits until the group is protected.
    ///
    /// # Errors
    /// The sidecar refuses, or no complete copy comes.
    pub async fn replicate(&self, generation: Generation) -> anyhow::Result<()> {
        let sidecar = self.cloud.sidecar_of(Site::ZoneA);
        let start = Timestamp::now();
        for v in &self.volumes {
            let mode = match v.kind {
                Kind::Instant => ReplicationMode::Instant,
                Kind::Once => ReplicationMode::Once,
                Kind::Periodic => ReplicationMode::Periodic(Schedule {
                    start,
                    interval: INTERVAL,
                }),
            };
            let order = Order {
                action: VolumeAction::Replicate {
                    mode,
                    group: Some(self.name.clone()),
                    cinder: None,
                },
                generation: Some(generation),
            };
            retried(&format!("{} replicated", v.spec), async || {
                sidecar.act(&v.spec, &order).await
            })
            .await?;
        }
        self.wait_protected().await?;
        Ok(())
    }

    /// What the orchestrators see of it.
    ///
    /// # Errors
    /// As a look: no leader answers.
    pub async fn status(&self) -> Look<GroupStatus> {
        let status = self.cloud.orchestrators().group(&self.name).await;
        status.map_err(|e| e.to_string())
    }

    /// A zone's volumes of it, as its own sidecar sees them now.
    ///
    /// # Errors
    /// As a look: it does not answer.
    pub async fn volumes_in(&self, site: Site) -> Look<Vec<VolumeReport>> {
        let sidecar = self.cloud.sidecar_of(site);
        let all = sidecar.all_volumes(Some(&self.name), 100).await;
        all.map_err(|e| e.to_string())
    }

    /// One volume, as a zone's own sidecar sees it now.
    ///
    /// # Errors
    /// As a look: it does not answer.
    pub async fn report(&self, site: Site, volume: &ImageSpec) -> Look<VolumeReport> {
        let report = self.cloud.sidecar_of(site).volume(volume).await;
        report.map_err(|e| e.to_string())
    }

    /// The lease as a zone's own sidecar sees it, where it knows the group.
    ///
    /// # Errors
    /// As a look: it does not answer, or does not know the group.
    pub async fn lease_in(&self, site: Site) -> Look<LeaseView> {
        let sidecar = self.cloud.sidecar_of(site);
        let zone = sidecar.zone().await.map_err(|e| e.to_string())?;
        let found = zone.groups.iter().find(|g| g.group == self.name);
        found
            .map(|g| g.lease)
            .ok_or_else(|| "the group is not in the zone's report".to_owned())
    }

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
            let ready = seen.iter().filter(|v| in_step(v)).count();
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

    /// All plans of it, newest first, by kind.
    ///
    /// # Errors
    /// The orchestrators do not answer.
    pub async fn plans(&self) -> Look<Vec<PlanKind>> {
        let plans = self.cloud.orchestrators().plans(Some(&self.name), 20).await;
        let plans = plans.map_err(|e| e.to_string())?;
        Ok(plans.into_iter().map(|p| p.kind).collect())
    }

    /// Everything that was ever acknowledged on a volume.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn acks(&self, volume: &ImageSpec) -> anyhow::Result<Vec<Ack>> {
        Ok(self.cloud.ledger().read(volume)?)
    }
}

/// When a plan's step began to act.
///
/// # Errors
/// It has no such step, or that never began.
pub fn step_begun(detail: &PlanDetail, which: fn(&Step) -> bool) -> anyhow::Result<Timestamp> {
    let number = detail.plan.steps.iter().position(|s| which(&s.step));
    let number = number.context("the plan has no such step")?;
    let begun = detail
        .journal
        .iter()
        .find(|r| r.event == Event::StepBegun { step: number });
    Ok(begun
        .with_context(|| format!("step {number} never began"))?
        .at)
}

/// A forced promotion, with a reason.
#[must_use]
pub fn by_force() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "a scenario asks for it".to_owned(),
        },
    }
}

/// A plain promotion.
#[must_use]
pub fn plainly() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Plain,
    }
}

/// A resync that keeps nothing.
///
/// # Errors
/// The token is none.
pub fn resync(token: &str) -> anyhow::Result<VolumeAction> {
    Ok(VolumeAction::Resync {
        token: token.parse()?,
        safety: SafetyCopy::Discard,
    })
}

/// A copy that could take over: complete, and following.
fn in_step(v: &VolumeReport) -> bool {
    v.role == Role::Secondary
        && v.complete_copy == Known::Yes
        && matches!(
            v.status,
            VolumeStatus::ActiveSecondary | VolumeStatus::ActiveUpdating
        )
}

/// What the leader makes of a group, in words.
#[must_use]
pub fn decision(status: &GroupStatus) -> String {
    let decided = status.decision.as_ref();
    decided.map_or("no decision yet".to_owned(), |d| d.text.clone())
}
