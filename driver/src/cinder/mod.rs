//! Cinder's replication hooks: what the shim inside cinder-volume asks for, each in one call.
//!
//! ```text
//!   shim -- unix socket --> routes -> Cinder -> specs (what a type asks for)      -> sides: this zone in process,
//!                                            -> failover -> rules (each volume)      the other through its sidecar
//!                                            -> groups (by the orchestrator's plan)
//!                                            -> unsure (a zone that does not say how it is), back (the way home)
//!                                            -> guard, replicate, delete
//! ```
//!
//! Cinder's service has one active backend: its own zone, or after a failover the other one. Each call says which, and the
//! sidecar beside cinder-volume passes on what is the other zone's.

mod back;
mod delete;
mod failover;
mod freeze;
mod groups;
mod guard;
pub mod health;
mod replicate;
pub mod routes;
mod rules;
mod sides;
mod specs;
mod unsure;
pub mod wire;

pub use sides::Side;
pub use specs::wanted;

use failover::Reports;
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, ImageSpec, action::MAX_BATCH, duration::Span,
};
use rekindle_net::{Orchestrators, carried};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{BackendReport, CinderVolume};

/// Cinder's word for the zone that cinder-volume stands in.
pub const DEFAULT: &str = "default";

/// Between two looks at a cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Up to so many volumes are looked at one by one; more are listed with all the others.
const SINGLE_LOOKS: usize = 8;

/// How long Cinder's calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CinderLimits {
    /// A failover of all of a backend's volumes. What has no end by then is `deadline_exceeded`, and goes on.
    pub failover_time: Span,
    /// How long the way back may still need to get in step before the call is refused with the figure.
    pub back_wait: Span,
    /// Everything else.
    pub call_time: Span,
}

impl Default for CinderLimits {
    fn default() -> Self {
        Self {
            failover_time: Span::secs(55),
            // A mirror daemon writes down how far a copy is every 30 s: one that has just got in step is told of within that.
            back_wait: Span::secs(35),
            call_time: Span::secs(35),
        }
    }
}

/// What Cinder's calls are answered with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cinder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    own: Side,
    /// Cinder's backend id for the other zone, and the zone.
    peer: Option<(String, Side)>,
    /// Whom to ask for a group's plan.
    orchestrators: Orchestrators,
    limits: CinderLimits,
    /// Set while a failover is at work.
    moving: AtomicBool,
    tasks: TaskTracker,
}

/// A failover at work; dropping it ends it.
#[derive(Debug)]
struct Moving<'a>(&'a AtomicBool);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Inner {
    /// Begins a failover; `None` while another is at work.
    fn begin_moving(&self) -> Option<Moving<'_>> {
        let was = self.moving.swap(true, Ordering::AcqRel);
        (!was).then_some(Moving(&self.moving))
    }

    fn is_moving(&self) -> bool {
        self.moving.load(Ordering::Acquire)
    }

    fn other_than(&self, side: &Side) -> Option<&Side> {
        match &self.peer {
            Some((_, peer)) if peer.zone() != side.zone() => Some(peer),
            Some(_) => Some(&self.own),
            None => None,
        }
    }
}

impl Cinder {
    /// Of this zone's volumes, and the other zone under Cinder's backend id for it.
    #[must_use]
    pub fn new(
        own: Side,
        peer: Option<(String, Side)>,
        orchestrators: Orchestrators,
        limits: CinderLimits,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                own,
                peer,
                orchestrators,
                limits,
                moving: AtomicBool::new(false),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Keeps an eye on both clusters, on what comes back stale and on what was deleted, until `stop`; then waits for what it
    /// began.
    pub async fn watch(&self, stop: CancellationToken) {
        let looks = async |side: &Side| {
            loop {
                side.look().await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(LOOK_EVERY) => {}
                }
            }
        };
        let peer = async {
            if let Some((_, peer)) = &self.inner.peer {
                looks(peer).await;
            }
        };
        tokio::join!(
            looks(&self.inner.own),
            peer,
            self.demote_stale(&stop),
            self.end_deletions(&stop),
        );
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Whether that backend is the other zone.
    fn is_peer(&self, backend: Option<&str>) -> Result<bool, ApiError> {
        match (backend, &self.inner.peer) {
            (None | Some("" | DEFAULT), _) => Ok(false),
            (Some(b), Some((id, _))) if b == id => Ok(true),
            (Some(b), _) => Err(ApiError::new(
                ErrorCode::InvalidField,
                format!(
                    "this sidecar knows no backend {:?}: compare [peer] here with replication_device in cinder.conf",
                    b.chars().take(64).collect::<String>()
                ),
            )
            .at("backend")),
        }
    }

    /// The zone of a backend.
    fn side(&self, backend: Option<&str>) -> Result<&Side, ApiError> {
        let away = self.is_peer(backend)?;
        let peer = self.inner.peer.as_ref().filter(|_| away);
        Ok(peer.map_or(&self.inner.own, |(_, side)| side))
    }

    /// From what is known, at once, also of a dead zone.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field`: no such backend.
    pub async fn backend(&self, backend: Option<&str>) -> Result<BackendReport, ApiError> {
        let side = self.side(backend)?;
        let by = Instant::now() + Duration::from_secs(1);
        Ok(BackendReport {
            zone: side.zone().clone(),
            reachable: side.health().reachable(),
            frozen: side.frozen(by).await.ok().flatten(),
            targets: self.inner.peer.iter().map(|(id, _)| id.clone()).collect(),
        })
    }

    /// Runs it to its end, whether or not the caller waits.
    async fn in_background<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.inner
            .tasks
            .spawn(carried(work))
            .await
            .unwrap_or_else(|e| {
                Err(ApiError::new(
                    ErrorCode::Internal,
                    format!("the call's task ended abnormally: {e}"),
                ))
            })
    }
}

/// A batch's bounds.
fn bounded(volumes: &[CinderVolume]) -> Result<(), ApiError> {
    let bad =
        |text: String, field: String| Err(ApiError::new(ErrorCode::InvalidField, text).at(field));
    if volumes.len() > MAX_BATCH {
        return bad(
            format!(
                "{} volumes; at most {MAX_BATCH} go in one call",
                volumes.len()
            ),
            "volumes".into(),
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    match volumes.iter().position(|v| !seen.insert(&v.image)) {
        None => Ok(()),
        Some(i) => bad(
            format!("{} stands here twice", volumes[i].image),
            format!("volumes[{i}].image"),
        ),
    }
}

/// A name for a call's demotions and resyncs. Later ones of the same start sort after earlier ones.
fn token(start: &str) -> Result<DemotionToken, ApiError> {
    DemotionToken::new(format!("{start}{}", uuid::Uuid::now_v7()))
        .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))
}

/// What a zone says of these volumes. One that it has no image of is absent.
async fn look_at(side: &Side, specs: &[ImageSpec], by: Instant) -> Result<Reports, ApiError> {
    let mut found = Reports::new();
    if specs.len() > SINGLE_LOOKS {
        let mut all = side.list(by).await?;
        found.extend(specs.iter().filter_map(|s| all.remove_entry(s)));
    }
    // What no list has may be younger than the list, or not replicated.
    let missing: Vec<&ImageSpec> = specs.iter().filter(|s| !found.contains_key(*s)).collect();
    for some in missing.chunks(SINGLE_LOOKS) {
        let looks = some
            .iter()
            .map(|spec| (*spec).clone())
            .map(|spec| async move {
                match side.volume(&spec, by).await {
                    Ok(report) => Ok(Some((spec, report))),
                    Err(e) if e.code == ErrorCode::UnknownVolume => Ok(None),
                    Err(e) => Err(e),
                }
            });
        let looked = futures::future::try_join_all(looks).await?;
        found.extend(looked.into_iter().flatten());
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
