//! Grants: for a while a copy may be attached, so that a stand-by server can be built on it.
//!
//! Cinder refuses to attach a copy, for who does so means to write to it. The orchestrator that builds a stand-by says beforehand that it is
//! meant. RBD lets nobody write to a copy whatever was granted, so that a grant that is misused harms no data; and it is held in memory
//! alone, so that it never outlives what gave it by more than [`LONGEST`].

use super::{Volumes, records::Seen};
use crate::replication::Refusal;
use rekindle_common::{ApiError, ErrorCode, ImageSpec, duration::Span, volume::Role};
use rekindle_net::{GrantRequest, Granted};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// The longest.
pub const LONGEST: Span = Span::secs(15 * 60);
const SHORTEST: Span = Span::secs(1);
/// The most at once. An orchestrator builds a few servers at a time.
const MOST: usize = 10_000;

/// Until when which image may be attached.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<BTreeMap<ImageSpec, Instant>>);

impl Grants {
    fn give(&self, image: &ImageSpec, until: Instant) -> Result<(), ApiError> {
        let now = Instant::now();
        // Each change under this lock is one entry's.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, until| *until > now);
        if all.len() >= MOST && !all.contains_key(image) {
            let text = format!("{MOST} grants are open: try again when some have ended");
            return Err(ApiError::new(ErrorCode::Busy, text));
        }
        all.insert(image.clone(), until);
        Ok(())
    }

    fn has(&self, image: &ImageSpec) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(image).is_some_and(|until| *until > Instant::now())
    }
}

impl Volumes {
    /// Lets Cinder attach the image for a while also as long as it is a copy.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field`, `unknown_volume`, `not_replicated`, `generation_required`, `stale_generation`, `frozen`,
    /// `cluster_unreachable`.
    pub async fn grant_standby(
        &self,
        image: &ImageSpec,
        request: &GrantRequest,
    ) -> Result<Granted, ApiError> {
        if request.within < SHORTEST || request.within > LONGEST {
            let text = format!("{} is outside {SHORTEST} to {LONGEST}", request.within);
            return Err(ApiError::new(ErrorCode::InvalidField, text).at("within"));
        }
        let inner = &self.inner;
        inner.refuse_while_frozen()?;
        let report = self.volume(image).await?;
        match report.role {
            // A primary needs none, and may be a copy again before the server is built.
            Role::Primary | Role::Secondary => {}
            Role::NotMirrored => return Err(Refusal::NotReplicated.into()),
            Role::Unknown => {
                let text = format!("{}'s cluster does not answer", inner.zone);
                return Err(ApiError::new(ErrorCode::ClusterUnreachable, text));
            }
        }
        if let Some(group) = &report.group {
            let Some(generation) = request.generation else {
                return Err(Refusal::GenerationRequired {
                    group: group.to_string(),
                }
                .into());
            };
            let deadline = inner.in_(inner.limits.look);
            let check = inner
                .records
                .check(group, generation, Seen::Order, deadline);
            check.await?;
        }
        inner.grants.give(image, inner.in_(request.within))?;
        tracing::info!(zone = %inner.zone, volume.id = %image, within = %request.within, "a copy may be attached for a stand-by");
        Ok(Granted {
            until: inner.clock.now() + request.within.get(),
        })
    }

    /// Whether it may be attached as a copy now.
    pub(crate) fn may_stand_by(&self, image: &ImageSpec) -> bool {
        self.inner.grants.has(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn image(n: usize) -> ImageSpec {
        ImageSpec::new("volumes", format!("volume-{n}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_ends_by_itself_and_is_for_one_image() {
        let grants = Grants::default();
        let until = Instant::now() + Duration::from_secs(60);
        grants.give(&image(1), until).unwrap();
        assert!(grants.has(&image(1)) && !grants.has(&image(2)));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!grants.has(&image(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_so_many() {
        let grants = Grants::default();
        let until = Instant::now() + Duration::from_secs(60);
        for n in 0..MOST {
            grants.give(&image(n), until).unwrap();
        }
        let e = grants.give(&image(MOST), until).unwrap_err();
        assert_eq!(e.code, ErrorCode::Busy);
        // One that is open is prolonged all the same, and those that ended make room.
        grants.give(&image(0), until).unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        let until = Instant::now() + Duration::from_secs(60);
        grants.give(&image(MOST), until).unwrap();
    }
}
