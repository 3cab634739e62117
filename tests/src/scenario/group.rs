//! A group of volumes under replication, and what is seen of it.

mod killed;
mod waits;

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
    volume::VolumeReport,
};
use rekindle_core::{plan::Step, saga::Event};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{GroupStatus, PlanDetail};
use std::time::Duration;
use waits::PROTECT;

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
                leave_group: false,
                anew: false,
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
            if copy.is_in_step() {
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
                    leave_group: false,
                    anew: false,
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
        let all = sidecar.all_volumes(Some(&self.name), 10_000).await;
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
            accept_torn: false,
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

/// What the leader makes of a group, in words.
#[must_use]
pub fn decision(status: &GroupStatus) -> String {
    let decided = status.decision.as_ref();
    decided.map_or("no decision yet".to_owned(), |d| d.text.clone())
}
