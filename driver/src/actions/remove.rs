//! Removing a volume that was deleted in Cinder, once its time has come. The one place where an image with a copy is deleted.

use super::{Inner, Volumes};
use crate::{
    backend::{Access, BackendErrorKind, Deadlines},
    replication::{Look, Refusal},
};
use jiff::Timestamp;
use rekindle_common::{ApiError, ErrorCode, ImageSpec, status::VolumeStatus, volume::Role};

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
        inner.refuse_while_frozen()?;
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
        if !is_due(&look, self.clock.now()) {
            return Ok(());
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

/// Whether it is a primary whose mark says that it goes by now.
fn is_due(look: &Look, now: Timestamp) -> bool {
    let due = look.deletion.as_ref().and_then(|d| d.due());
    look.role == Role::Primary && due.is_some_and(|due| due <= now)
}
