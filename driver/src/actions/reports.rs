//! What the zone says of itself and its volumes. Unknown is an answer: a cluster that is silent makes no volume healthy.

use super::{Inner, Listed, Volumes};
use crate::{
    backend::{Access, BackendError, BackendErrorKind, ImageView, view::MirrorView},
    leases,
    replication::Look,
};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec,
    facts::CinderFacts,
    metadata::{self, VolumePolicy},
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
    zone::{CephReport, GroupReport, MirrorReport, ZoneReport},
};
use rekindle_net::VolumePage;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering},
};
use tokio::time::Instant;

/// The most volumes in one page, and how many without a `limit`.
pub const MAX_PAGE: usize = 1000;

/// What is wrong with a volume of which only its cluster's silence is known.
const SILENT: &str = "the zone's cluster does not answer";

/// Which volumes to list: the query of `GET /v1/volumes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeQuery {
    /// Only those of this group.
    pub group: Option<GroupName>,
    /// At most so many; 1 to [`MAX_PAGE`].
    pub limit: Option<usize>,
    /// Only those after this one: the last page's `next`.
    pub after: Option<ImageSpec>,
}

/// What is wanted of a zone's report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneParts {
    /// All of it.
    #[default]
    All,
    /// The cluster: no volume is looked at, and no group is in it.
    Ceph,
}

/// The query of `GET /v1/zone`. It is read as it always was: what is not known in it is passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneQuery {
    /// What is wanted.
    #[serde(default)]
    pub parts: ZoneParts,
}

impl Volumes {
    /// One volume.
    ///
    /// # Errors
    /// [`ApiError`] `unknown_volume`. A cluster that does not answer is no error: the report says `error - unknown`.
    pub async fn volume(&self, spec: &ImageSpec) -> Result<VolumeReport, ApiError> {
        let inner = &self.inner;
        let deadline = inner.in_(inner.limits.look);
        let seen = async {
            let session = inner.backend.open(spec, Access::Read, deadline).await?;
            session.look(deadline).await
        }
        .await;
        match seen {
            Ok(view) => Ok(self.report(&inner.understand(view))),
            Err(e) if silent(&e) => {
                let known = inner.known();
                let view = known
                    .iter()
                    .flat_map(|k| k.iter())
                    .find(|v| v.spec == *spec);
                Ok(inner.unknown(spec, view, SILENT))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// A page of volumes.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field`, or the cluster does not answer and nothing was ever known of it.
    pub async fn volumes(&self, query: &VolumeQuery) -> Result<VolumePage, ApiError> {
        let limit = query.limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            let text = format!("{limit} is outside 1 to {MAX_PAGE}");
            return Err(ApiError::new(ErrorCode::InvalidField, text).at("limit"));
        }
        let mut all: Vec<VolumeReport> = self.all_reports().await?;
        if let Some(group) = &query.group {
            all.retain(|r| r.group.as_ref() == Some(group));
        }
        if let Some(after) = &query.after {
            all.retain(|r| r.volume > *after);
        }
        let more = all.len() > limit;
        all.truncate(limit);
        let next = more.then(|| all.last().map(|r| r.volume.clone())).flatten();
        Ok(VolumePage { volumes: all, next })
    }

    /// Every volume. While the cluster is silent: those that were known, as unknown.
    async fn all_reports(&self) -> Result<Vec<VolumeReport>, ApiError> {
        let inner = &self.inner;
        let mut all: Vec<VolumeReport> = match inner.recent_list().await {
            Ok(views) => views.iter().map(|v| self.of_a_list(v)).collect(),
            Err(e) => {
                let Some(known) = inner.known().filter(|_| silent(&e)) else {
                    return Err(e.into());
                };
                let now = inner.clock.now();
                let unknown = |v: &ImageView| inner.unknown(&v.spec, Some(v), SILENT);
                let shown = known.iter().map(unknown);
                shown
                    .inspect(|report| inner.metrics.volume(report, now))
                    .collect()
            }
        };
        all.sort_by(|a, b| a.volume.cmp(&b.volume));
        Ok(all)
    }

    /// One of a list. An image that could not be read is this volume's trouble alone.
    fn of_a_list(&self, view: &ImageView) -> VolumeReport {
        let inner = &self.inner;
        match &view.mirror {
            MirrorView::Unread(unread) => {
                let why = format!("its image cannot be read: {}", unread.why);
                let report = inner.unknown(&view.spec, Some(view), &why);
                inner.metrics.volume(&report, inner.clock.now());
                report
            }
            MirrorView::Off | MirrorView::Disabling | MirrorView::On(_) => {
                self.report(&inner.understand(view.clone()))
            }
        }
    }

    fn report(&self, look: &Look) -> VolumeReport {
        let in_flight = self.inner.registry.in_flight(&look.view.spec);
        let report = look.report(&self.inner.zone, in_flight);
        self.inner.metrics.volume(&report, self.inner.clock.now());
        report
    }

    /// The zone. Each part is asked for at once, and what does not answer in time is unknown.
    pub async fn zone(&self) -> ZoneReport {
        self.zone_parts(ZoneParts::All).await
    }

    /// So much of it. What is not wanted is unknown.
    pub async fn zone_parts(&self, parts: ZoneParts) -> ZoneReport {
        let inner = &self.inner;
        let deadline = inner.in_(inner.pulse.patience(inner.limits.probe));
        let of_volumes = async {
            match parts {
                // What the list and the daemon cost is the cluster's, and whoever asks for this does so every second.
                ZoneParts::Ceph => (None, Vec::new()),
                ZoneParts::All => {
                    let mirror = inner.backend.mirror_info(deadline);
                    let (mirror, groups) = tokio::join!(mirror, self.groups(deadline));
                    (mirror.ok(), groups)
                }
            }
        };
        let (writable, health, (mirror, groups)) = tokio::join!(
            inner.pulse.writable(&inner.backend, inner.limits.probe),
            inner.backend.health(deadline),
            of_volumes,
        );
        let health = health.unwrap_or_default();
        ZoneReport {
            zone: inner.zone.clone(),
            sidecar: inner.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: inner.clock.now(),
            ceph: CephReport {
                writable,
                health: health.health,
                osds_up: health.osds_up,
                osds: health.osds,
                fsid: health.fsid,
            },
            mirror: match mirror {
                Some(m) => MirrorReport {
                    daemon_up: if m.daemon_up { Known::Yes } else { Known::No },
                    peer_site: m.peer_site,
                },
                None => MirrorReport {
                    daemon_up: Known::Unknown,
                    peer_site: None,
                },
            },
            frozen: inner.frozen(),
            groups,
        }
    }

    /// All volumes, listed now. They are what is known from then on, should the cluster fall silent.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer.
    pub(crate) async fn listed(&self, deadline: Instant) -> Result<Arc<Vec<ImageView>>, ApiError> {
        Ok(self.inner.list_now(deadline).await?)
    }

    pub(super) async fn groups(&self, deadline: Instant) -> Vec<GroupReport> {
        let inner = &self.inner;
        let reports = tokio::time::timeout_at(deadline, self.all_reports()).await;
        let reports = match reports {
            Ok(Ok(reports)) => reports,
            Ok(Err(_)) | Err(_) => inner
                .known()
                .map(|k| {
                    let unknown = |v: &ImageView| inner.unknown(&v.spec, Some(v), SILENT);
                    k.iter().map(unknown).collect()
                })
                .unwrap_or_default(),
        };
        let mut counts: BTreeMap<GroupName, BTreeMap<VolumeStatus, u32>> = BTreeMap::new();
        for r in reports {
            if let Some(group) = r.group {
                *counts
                    .entry(group)
                    .or_default()
                    .entry(r.status)
                    .or_default() += 1;
            }
        }
        // Also one of which nothing could be read since the start.
        for group in inner.leases.held() {
            counts.entry(group).or_default();
        }
        let reports = counts.into_iter().map(|(group, volumes)| async move {
            GroupReport {
                generation: inner.generation(&group, deadline).await,
                lease: inner.leases.view(&group),
                unread: inner.unread(&group),
                group,
                volumes,
            }
        });
        futures::future::join_all(reports).await
    }

    /// Takes up what a former run left: a freeze, and which copies were seen complete.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer.
    pub async fn restore(&self) -> Result<(), ApiError> {
        self.restore_copies().await?;
        let inner = &self.inner;
        Ok(inner.look_at_freeze().await?)
    }

    /// Lease views and volumes for `/metrics`, as of a recent list.
    ///
    /// # Errors
    /// [`ApiError`]: nothing is known of the volumes.
    pub async fn refresh_metrics(&self) -> Result<(), ApiError> {
        let inner = &self.inner;
        let (busy, lost) = inner.backend.call_threads();
        inner.metrics.call_threads(busy, lost);
        let reports = self.all_reports().await?;
        let groups: std::collections::BTreeSet<_> =
            reports.iter().filter_map(|r| r.group.clone()).collect();
        for group in groups {
            let view = self.inner.leases.view(&group);
            self.inner.metrics.lease(&group, leases::left(&view));
        }
        self.inner
            .metrics
            .keep_only(reports.iter().map(|r| &r.volume));
        Ok(())
    }
}

/// Whether an error means that nothing was heard of the cluster.
fn silent(e: &BackendError) -> bool {
    match e.kind {
        BackendErrorKind::Deadline
        | BackendErrorKind::Unreachable
        | BackendErrorKind::NotBegun
        | BackendErrorKind::Blocklisted => true,
        BackendErrorKind::NotFound
        | BackendErrorKind::NotMirrored
        | BackendErrorKind::PeerPrimaryOrDemotionPending
        | BackendErrorKind::PoolNotMirrored
        | BackendErrorKind::InUse
        | BackendErrorKind::Exists
        | BackendErrorKind::Changed
        | BackendErrorKind::ReadOnly
        | BackendErrorKind::Denied
        | BackendErrorKind::Full
        | BackendErrorKind::Unsupported
        | BackendErrorKind::Corrupt
        | BackendErrorKind::Torn
        | BackendErrorKind::Other => false,
    }
}

impl Inner {
    /// The highest generation seen of a group; `None` also where it cannot be read.
    pub(super) async fn generation(
        &self,
        group: &GroupName,
        deadline: Instant,
    ) -> Option<Generation> {
        // On a dead cluster even a read that has no time left costs a thread.
        if deadline <= Instant::now() {
            return None;
        }
        let record = self.records.group(group, deadline).await;
        record.ok().flatten().map(|r| r.generation)
    }

    pub(super) fn known(&self) -> Option<Arc<Vec<ImageView>>> {
        self.last_known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A list that is no older than the limit, nor than the last action's end. Askers at the same time share one.
    async fn recent_list(&self) -> Result<Arc<Vec<ImageView>>, BackendError> {
        let ended = self.ended.load(Ordering::Acquire);
        let mut slot = self.list.lock().await;
        if let Some(l) = slot.as_ref()
            && l.begun.elapsed() < self.limits.list_age.get()
            && l.ended >= ended
        {
            return Ok(l.views.clone());
        }
        self.list_into(&mut slot).await
    }

    /// A list made now: what decisions stand on.
    pub(super) async fn fresh_list(&self) -> Result<Arc<Vec<ImageView>>, BackendError> {
        let mut slot = self.list.lock().await;
        self.list_into(&mut slot).await
    }

    async fn list_into(
        &self,
        slot: &mut Option<Listed>,
    ) -> Result<Arc<Vec<ImageView>>, BackendError> {
        let (begun, ended) = (Instant::now(), self.ended.load(Ordering::Acquire));
        let views = self.list_now(self.in_(self.limits.look)).await?;
        *slot = Some(Listed {
            begun,
            ended,
            views: views.clone(),
        });
        Ok(views)
    }

    async fn list_now(&self, deadline: Instant) -> Result<Arc<Vec<ImageView>>, BackendError> {
        let listed = self.backend.list(deadline).await;
        self.list_fails.store(listed.is_err(), Ordering::Release);
        let mut views = listed?;
        // A safety copy is no member of its group.
        views.retain(|v| !v.spec.image().contains(crate::replication::SAFETY_INFIX));
        let views = Arc::new(views);
        *self
            .last_known
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(views.clone());
        Ok(views)
    }

    /// A volume of a silent cluster, or one whose image is silent: its policy and whose it is, as they were last known, and nothing else.
    fn unknown(&self, spec: &ImageSpec, view: Option<&ImageView>, why: &str) -> VolumeReport {
        let policy = view.and_then(|v| VolumePolicy::from_metadata(&v.metadata).ok().flatten());
        let facts = view.and_then(|v| v.metadata.get(metadata::CINDER));
        VolumeReport {
            volume: spec.clone(),
            zone: self.zone.clone(),
            group: view.and_then(ImageView::member_of),
            status: VolumeStatus::ErrorUnknown,
            role: Role::Unknown,
            mode: policy.map(|p| p.mode),
            mirror_mode: None,
            size: None,
            last_sync: None,
            lag: Lag::Unknown,
            complete_copy: Known::Unknown,
            local: None,
            peer: None,
            peer_primary: Known::Unknown,
            demotion: None,
            forced: None,
            cinder: facts.and_then(|t| CinderFacts::from_metadata(t).ok()),
            on_delete: None,
            deletion: None,
            concerns: vec![why.to_owned()],
            in_flight: self.registry.in_flight(spec),
        }
    }
}
