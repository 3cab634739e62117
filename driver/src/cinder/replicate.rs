//! Putting volumes under replication and taking them off, and what Cinder is told of how they are.

use super::{
    Cinder, bounded,
    failover::{Ended, end_of, order},
    look_at,
    rules::is_theirs,
    sides::Ends,
    wire::{
        Cause, CinderVolume, ReplicateRequest, ReplicationStatus, VolumesAnswer, VolumesRequest,
        Wanted,
    },
};
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec,
    action::{Effect, FromCinder, VolumeAction},
    status::VolumeStatus,
    volume::VolumeReport,
};
use tokio::time::Instant;

impl Cinder {
    /// Replicates volumes as their type asks, or changes how they are: the mode, the schedule or the group, in place.
    ///
    /// Between journal and snapshot mirroring there is no way in place in librbd. The type was changed on purpose, so the
    /// copy is given up and made anew; until its first sync has ended the volume has none, and its status says so. Where no type was
    /// changed ([`Cause::Again`]), neither is a volume that is replicated already.
    ///
    /// # Errors
    /// [`ApiError`]: the whole call is refused.
    pub async fn replicate(&self, request: ReplicateRequest) -> Result<VolumesAnswer, ApiError> {
        bounded(&request.volumes)?;
        let wanted = super::wanted(&request.specs)?;
        let Wanted {
            replicated: true,
            mode: Some(mode),
            group,
            on_delete,
        } = wanted
        else {
            return Err(ApiError::new(
                ErrorCode::InvalidField,
                "this type asks for no replication",
            )
            .at("specs"));
        };
        let this = self.clone();
        self.in_background(async move {
            let side = this.side(request.backend.as_deref())?;
            let by = Instant::now() + this.inner.limits.call_time.get();
            let specs: Vec<ImageSpec> = request.volumes.iter().map(|v| v.image.clone()).collect();
            let now = look_at(side, &specs, by).await?;
            // Cinder's ids are those of the zone that it stands in, wherever its volumes are served from.
            let home = this.inner.own.zone();
            let wanted = |v: &CinderVolume| {
                let report = now.get(&v.image);
                let facts = v.facts_in(home, report.and_then(|r| r.cinder.as_ref()));
                let is = match request.cause {
                    Cause::Type => None,
                    Cause::Again => report.and_then(|r| r.mode),
                };
                let action = match is {
                    // A person may have put it into a group, or into another mode, past its type.
                    Some(is) => VolumeAction::Replicate {
                        mode: is,
                        group: None,
                        leave_group: false,
                        anew: false,
                        cinder: Some(Box::new(FromCinder {
                            facts,
                            on_delete: None,
                        })),
                    },
                    None => VolumeAction::Replicate {
                        mode,
                        group: group.clone(),
                        // The type says all of it: one that names no group asks for a volume that is in none.
                        leave_group: group.is_none(),
                        // Nor was it changed but on purpose.
                        anew: request.cause == Cause::Type,
                        cinder: Some(Box::new(FromCinder { facts, on_delete })),
                    },
                };
                order(&v.image, action)
            };
            let orders = request.volumes.iter().map(wanted).collect();
            let ends = side.batch(orders, by).await;
            Ok(answer(&request.volumes, &ends, ReplicationStatus::Enabled))
        })
        .await
    }

    /// Takes replication off.
    ///
    /// # Errors
    /// As [`Self::replicate`].
    pub async fn unreplicate(&self, request: VolumesRequest) -> Result<VolumesAnswer, ApiError> {
        bounded(&request.volumes)?;
        let this = self.clone();
        self.in_background(async move {
            let side = this.side(request.backend.as_deref())?;
            let by = Instant::now() + this.inner.limits.call_time.get();
            let orders = request
                .volumes
                .iter()
                .map(|v| order(&v.image, VolumeAction::Unreplicate))
                .collect();
            let ends = side.batch(orders, by).await;
            Ok(answer(&request.volumes, &ends, ReplicationStatus::Disabled))
        })
        .await
    }

    /// How volumes are now, in Cinder's words and in ours.
    ///
    /// # Errors
    /// [`ApiError`]: the whole call is refused, or the zone does not answer.
    pub async fn status(&self, request: &VolumesRequest) -> Result<VolumesAnswer, ApiError> {
        bounded(&request.volumes)?;
        let side = self.side(request.backend.as_deref())?;
        let away = self.is_peer(request.backend.as_deref())?;
        let home = self.inner.own.zone();
        let by = Instant::now() + self.inner.limits.call_time.get();
        let specs: Vec<ImageSpec> = request.volumes.iter().map(|v| v.image.clone()).collect();
        let now = look_at(side, &specs, by).await?;
        let volumes = request
            .volumes
            .iter()
            .map(|v| {
                let report = now.get(&v.image);
                let said = report.and_then(|r| r.cinder.as_ref());
                end_of(
                    v,
                    in_cinders_words(report, away && !is_theirs(v, said, home)),
                )
            })
            .collect();
        Ok(VolumesAnswer { volumes })
    }
}

fn answer(volumes: &[CinderVolume], ends: &Ends, good: ReplicationStatus) -> VolumesAnswer {
    let volumes = volumes
        .iter()
        .map(|v| {
            let ended: Ended = match ends.get(&v.image) {
                Some(Ok(outcome)) => (good, Some(outcome.report.status), Ok(outcome.effect)),
                Some(Err(e)) => (ReplicationStatus::Error, None, Err(e.clone())),
                None => (
                    ReplicationStatus::Error,
                    None,
                    Err(ApiError::new(ErrorCode::Internal, "it has no end")),
                ),
            };
            end_of(v, ended)
        })
        .collect();
    VolumesAnswer { volumes }
}

/// `away`: the backend is the other zone, after a failover, and the volume not that zone's own.
fn in_cinders_words(report: Option<&VolumeReport>, away: bool) -> Ended {
    let Some(r) = report else {
        return (ReplicationStatus::Disabled, None, Ok(Effect::AlreadySo));
    };
    let well = if away {
        ReplicationStatus::FailedOver
    } else {
        ReplicationStatus::Enabled
    };
    let word = match r.status {
        VolumeStatus::ActivePrimary => well,
        VolumeStatus::ErrorNotMirrored if r.mode.is_none() => ReplicationStatus::Disabled,
        // The active backend's own image is a copy, or ill: whatever Cinder believes, it is not served from here.
        VolumeStatus::ActiveSecondary
        | VolumeStatus::ActiveUpdating
        | VolumeStatus::PendingFirstSync
        | VolumeStatus::PendingPromotion
        | VolumeStatus::PendingDemotion
        | VolumeStatus::PendingResync
        | VolumeStatus::ErrorSplitBrain
        | VolumeStatus::ErrorNotMirrored
        | VolumeStatus::ErrorMirrorDown
        | VolumeStatus::ErrorMirroring
        | VolumeStatus::ErrorOrphan
        | VolumeStatus::ErrorUnknown => ReplicationStatus::Error,
    };
    (word, Some(r.status), Ok(Effect::AlreadySo))
}
