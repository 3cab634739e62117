//! Removing a volume that was deleted in Cinder, once its time has come. The one place where an image with a copy is deleted.

use super::{Inner, Volumes};
use crate::{
    backend::{Access, BackendErrorKind, Deadlines, ImageView},
    replication::{Look, Refusal},
};
use jiff::{SignedDuration, Timestamp};
use rekindle_common::{ApiError, ErrorCode, ImageSpec, status::VolumeStatus, volume::Role};

/// How old a live daemon's word may be: it is written every 30 s.
const WORDS_AGE: SignedDuration = SignedDuration::from_mins(5);

impl Volumes {
    /// Removes it, where its mark says that it is due. Not due, not marked, not primary, gone: nothing happens, and that is no
    /// error. The other zone's daemon removes the copy.
    ///
    /// # Errors
    /// [`ApiError`]: it is due and cannot go now: frozen, an action in flight, open elsewhere, with snapshots, both zones primary.
    pub(crate) async fn remove_due(&self, spec: &ImageSpec) -> Result<(), ApiError> {
        let inner = &self.inner;
        if inner.tasks.is_closed() {
            return Err(Refusal::Draining.into());
        }
        inner.refuse_unless_open().await?;
        let guard = inner.registry.begin(spec, "remove")?;
        let task = {
            let (inner, spec) = (inner.clone(), spec.clone());
            inner.tasks.clone().spawn(async move {
                let result = inner.remove_if_due(&spec).await;
                inner.action_ended();
                drop(guard);
                result
            })
        };
        task.await.unwrap_or_else(|e| {
            let text = format!("the removal's task ended abnormally: {e}");
            Err(ApiError::new(ErrorCode::Internal, text))
        })
    }
}

impl Inner {
    async fn remove_if_due(&self, spec: &ImageSpec) -> Result<(), ApiError> {
        let d = Deadlines {
            answer: self.in_(self.limits.action),
            abandon: self.in_(self.limits.abandon),
        };
        let session = match self.backend.open(spec, Access::Read, d.answer).await {
            Ok(session) => session,
            Err(e) if e.kind == BackendErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let look = self.understand(session.look(d.answer).await?);
        let now = self.clock.now();
        let Some(due) = due(&look).filter(|due| *due <= now) else {
            return Ok(());
        };
        if !cluster_agrees(&look.view, due) {
            let text = format!(
                "it is to go at {due}, and by the cluster's own clock, which its mirror daemons' words show, it is not known to be so late: look at this host's clock ({now}), and whether a mirror daemon lives"
            );
            return Err(ApiError::new(ErrorCode::Held, text));
        }
        if look.status == VolumeStatus::ErrorSplitBrain {
            return Err(Refusal::SplitBrain.into());
        }
        drop(session);
        match self.backend.remove(spec, d).await {
            Ok(()) => {}
            // Another sidecar of the zone was quicker.
            Err(e) if e.kind == BackendErrorKind::NotFound => return Ok(()),
            // librbd looks first, and knows the mirror daemons' watches from a client's: the other zone's daemon has one on each
            // primary in snapshot mode.
            Err(e) if e.kind == BackendErrorKind::InUse => {
                let text =
                    "somebody has it open, or it has snapshots: it is not removed while that is so";
                return Err(ApiError::new(ErrorCode::Busy, text));
            }
            Err(e) => return Err(e.into()),
        }
        tracing::warn!(zone = %self.zone, volume.id = %spec, "removed: it was deleted in Cinder, and its time to be taken back has passed");
        Ok(())
    }
}

/// When a primary goes, by its mark.
fn due(look: &Look) -> Option<Timestamp> {
    let due = look.deletion.as_ref().and_then(|d| d.due());
    due.filter(|_| look.role == Role::Primary)
}

/// Whether it is that late by the cluster's own clock too, give or take [`WORDS_AGE`]: one host's clock that is ahead must not delete
/// everything that is marked. The OSDs stamp the daemons' words on an image, and a live daemon says them again and again. No word
/// agrees to nothing.
fn cluster_agrees(view: &ImageView, due: Timestamp) -> bool {
    let words = [&view.local, &view.peer];
    let newest = words
        .into_iter()
        .flatten()
        .filter_map(|s| s.last_update)
        .max();
    newest
        .and_then(|at| at.checked_add(WORDS_AGE).ok())
        .is_some_and(|at| due <= at)
}
