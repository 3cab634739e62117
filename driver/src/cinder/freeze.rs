//! Freeze and thaw of a backend, and what a freeze means for a failover.
//!
//! Cinder freezes a service; we freeze the zone that the service's backend is in at that time. A failover in between moves the backend to
//! the other zone, and Cinder's thaw comes there: it takes off the freeze that the same Cinder has left in the zone behind it too, or the way
//! home would stay shut. What somebody else froze stays frozen: the freeze says whose it is.

use super::{Cinder, sides::Side};
use rekindle_common::{ApiError, ErrorCode};
use std::time::Duration;
use tokio::time::Instant;

/// For the question whether a zone is frozen.
const ASK: Duration = Duration::from_secs(5);

impl Cinder {
    /// Refuses every action in a backend's zone.
    ///
    /// # Errors
    /// [`ApiError`]: no such backend, or its sidecar does not answer.
    pub async fn freeze(&self, backend: Option<&str>, reason: &str) -> Result<(), ApiError> {
        let reason = format!("{reason}{}", self.mark());
        self.side(backend)?.freeze(&reason).await
    }

    /// Takes actions again: in the backend's zone whoever froze it, in the other zone where this Cinder did.
    ///
    /// # Errors
    /// As [`Self::freeze`], and where it is certain that the freeze in the other zone stays.
    pub async fn thaw(&self, backend: Option<&str>) -> Result<(), ApiError> {
        let side = self.side(backend)?;
        side.thaw().await?;
        let Some(other) = self.inner.other_than(side) else {
            return Ok(());
        };
        match other.frozen(Instant::now() + ASK).await {
            Ok(Some(reason)) if reason.ends_with(&self.mark()) => other.thaw().await,
            Ok(Some(_) | None) | Err(_) => Ok(()),
        }
    }

    /// Before anything is demoted: a zone that is frozen would refuse each promotion, and the volumes would be primary nowhere. So would one
    /// that does not say whether it is.
    pub(super) async fn refuse_into_frozen(&self, to: &Side) -> Result<(), ApiError> {
        let Some(reason) = to.frozen(Instant::now() + ASK).await? else {
            return Ok(());
        };
        let zone = to.zone();
        Err(ApiError::new(
            ErrorCode::Frozen,
            format!(
                "{zone} is frozen ({reason}) and would take over nothing; no volume was touched. `cinder thaw-host` first, or `rekindle thaw {zone}` where that was not Cinder's"
            ),
        ))
    }

    /// The end of each reason of ours: which zone's Cinder froze it.
    fn mark(&self) -> String {
        format!(", by the Cinder of {}", self.inner.own.zone())
    }
}
