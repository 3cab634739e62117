//! Where the schedules get their volumes from, and take their snapshots with.

use super::Periodic;
use crate::{
    actions::Volumes,
    backend::{
        Access, BackendErrorKind, ImageView,
        view::{DaemonState, MirrorView, Replay, SnapshotState},
    },
    replication::SAFETY_INFIX,
};
use jiff::Timestamp;
use rekindle_common::{
    ApiError, ImageSpec,
    metadata::VolumePolicy,
    mode::{MirrorImageMode, ReplicationMode},
    volume::Known,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};
use tokio::time::Instant;

/// The zone's periodic volumes.
pub trait SnapshotSource: Send + Sync + 'static {
    /// All periodic volumes that are primary here, and those that may be.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer.
    fn list(&self, deadline: Instant) -> impl Future<Output = Result<Listed, ApiError>> + Send;

    /// One volume, read now; `None` where it is gone, not periodic, or not primary here.
    ///
    /// # Errors
    /// [`ApiError`]: the cluster does not answer.
    fn look(
        &self,
        volume: &ImageSpec,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Periodic>, ApiError>> + Send;

    /// Takes a mirror snapshot.
    ///
    /// # Errors
    /// [`ApiError`]: it was not taken, or it is not known whether it was.
    fn take(
        &self,
        volume: &ImageSpec,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// What a list of the zone's volumes tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The periodic volumes that are primary here.
    pub periodic: BTreeMap<ImageSpec, Periodic>,
    /// Volumes that could not be read, and may be primary here.
    pub unread: BTreeSet<ImageSpec>,
}

/// What an image's view says of its schedule; `None` where it has none to run here.
pub(super) fn periodic(view: &ImageView) -> Option<Periodic> {
    let MirrorView::On(mirrored) = &view.mirror else {
        return None;
    };
    // Metadata that is no policy is a concern in the volume's report; here it is no schedule.
    let policy = VolumePolicy::from_metadata(&view.metadata).ok().flatten()?;
    let ReplicationMode::Periodic(schedule) = policy.mode else {
        return None;
    };
    let runs = mirrored.primary
        && mirrored.mode == MirrorImageMode::Snapshot
        && schedule.check().is_ok()
        && !view.spec.image().contains(SAFETY_INFIX);
    // The newest one that was taken here as primary, and not the copy of one from before a failover.
    let last = mirrored
        .snapshots
        .newest
        .as_ref()
        .filter(|s| match s.state {
            SnapshotState::Primary => true,
            SnapshotState::PrimaryDemoted
            | SnapshotState::NonPrimary
            | SnapshotState::NonPrimaryDemoted => false,
        })
        .map(|s| s.at);
    runs.then(|| Periodic {
        schedule,
        last,
        arrived: arrived(view, last, mirrored.snapshots.held),
    })
}

/// Whether the other zone has the newest snapshot. Its daemon says so in words, in whole seconds and every half minute, and shows it at
/// once: it lets go of an older snapshot when it has the whole of a newer one, and of no snapshot before.
///
/// That none is held is a sign only of a copy that once was whole, for a first copy has none to let go of. The words tell.
fn arrived(view: &ImageView, last: Option<Timestamp>, held: u32) -> Known {
    let (Some(last), Some(peer)) = (last, view.peer.as_ref().filter(|p| p.up)) else {
        return Known::Unknown;
    };
    match peer.replay {
        Replay::Snapshot { local: Some(_), .. }
            if held == 0 && peer.state == DaemonState::Replaying =>
        {
            Known::Yes
        }
        Replay::Snapshot {
            local: Some(local), ..
        } if local.as_second() >= last.as_second() => Known::Yes,
        Replay::Snapshot { syncing: true, .. } => Known::No,
        Replay::Snapshot {
            remote: Some(remote),
            ..
        } if remote.as_second() >= last.as_second() => Known::No,
        // It has not seen the newest one yet: its words come every half minute where nothing moves.
        Replay::Snapshot { .. } | Replay::Journal { .. } | Replay::None => Known::Unknown,
    }
}

impl SnapshotSource for Volumes {
    async fn list(&self, deadline: Instant) -> Result<Listed, ApiError> {
        self.calm().await;
        let views = self.backend().list(deadline).await?;
        let unread = |v: &&ImageView| match &v.mirror {
            MirrorView::Unread(u) => u.primary != Known::No,
            MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling => false,
        };
        Ok(Listed {
            periodic: views
                .iter()
                .filter_map(|v| Some((v.spec.clone(), periodic(v)?)))
                .collect(),
            unread: views
                .iter()
                .filter(unread)
                .map(|v| v.spec.clone())
                .collect(),
        })
    }

    async fn look(
        &self,
        volume: &ImageSpec,
        deadline: Instant,
    ) -> Result<Option<Periodic>, ApiError> {
        let session = match self.backend().open(volume, Access::Read, deadline).await {
            Ok(session) => session,
            Err(e) if e.kind == BackendErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        Ok(periodic(&session.look(deadline).await?))
    }

    async fn take(&self, volume: &ImageSpec, deadline: Instant) -> Result<(), ApiError> {
        let session = self.backend().open(volume, Access::Write, deadline).await?;
        Ok(session.mirror_snapshot(deadline).await?)
    }
}

#[cfg(test)]
mod tests;
