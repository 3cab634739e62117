//! Whether a zone's cluster is dead, as Cinder's failover needs to know it: a `failover-host` decides for force only where
//! the zone that is left cannot take writes any more, and one call that got no answer does not show that.
//!
//! ```text
//!   answers -> Writes          fails, twice or more, for DEAD_AFTER -> Dead          anything else, or nothing lately -> Unknown
//! ```

use crate::{
    actions::Volumes,
    backend::{BackendError, BackendErrorKind},
};
use rekindle_common::volume::Known;
use rekindle_net::SidecarClient;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For so long nothing may have got through before the cluster counts as dead. A monitor's election takes less.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);
/// An older look is no word of now.
const STALE: Duration = Duration::from_secs(15);

/// What is known of a zone's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It takes writes.
    Writes,
    /// Nothing has got through for so long.
    Dead {
        /// For how long.
        silent: Duration,
    },
    /// Neither is known.
    Unknown,
}

impl Health {
    /// As a three-valued answer.
    #[must_use]
    pub fn reachable(self) -> Known {
        match self {
            Self::Writes => Known::Yes,
            Self::Dead { .. } => Known::No,
            Self::Unknown => Known::Unknown,
        }
    }
}

/// What one look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Wrote,
    Silent,
    /// What says neither: an answer such as full or denied, or that nothing was asked.
    Unclear,
}

/// The looks so far. Pure: time is an input.
#[derive(Debug, Default)]
struct Pulse {
    last: Option<(Look, Instant)>,
    silent_since: Option<Instant>,
    silent_looks: u32,
}

impl Pulse {
    /// A look that was begun at `begun` and ended now.
    fn note(&mut self, look: Look, begun: Instant, now: Instant) {
        self.last = Some((look, now));
        match look {
            Look::Silent => {
                self.silent_since.get_or_insert(begun);
                self.silent_looks += 1;
            }
            Look::Wrote | Look::Unclear => {
                self.silent_since = None;
                self.silent_looks = 0;
            }
        }
    }

    fn health(&self, now: Instant) -> Health {
        match (self.last, self.silent_since) {
            (Some((_, at)), _) if now.saturating_duration_since(at) > STALE => Health::Unknown,
            (Some((Look::Wrote, _)), _) => Health::Writes,
            (Some((Look::Silent, _)), Some(since)) => {
                let silent = now.saturating_duration_since(since);
                if self.silent_looks >= 2 && silent >= DEAD_AFTER {
                    Health::Dead { silent }
                } else {
                    Health::Unknown
                }
            }
            (Some((Look::Silent | Look::Unclear, _)) | None, _) => Health::Unknown,
        }
    }
}

/// A zone's cluster, looked at again and again; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ZoneHealth {
    pulse: Arc<Mutex<Pulse>>,
}

impl ZoneHealth {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    #[must_use]
    pub fn get(&self) -> Health {
        self.pulse().health(Instant::now())
    }

    /// Looks once at this zone's own cluster.
    pub async fn look_here(&self, volumes: &Volumes) {
        let begun = Instant::now();
        let deadline = begun + volumes.limits().probe.get();
        let look = match volumes.backend().probe(deadline).await {
            Ok(()) => Look::Wrote,
            Err(e) => of_error(&e),
        };
        self.pulse().note(look, begun, Instant::now());
    }

    /// Asks the other zone's sidecar once. One that does not answer says nothing of its cluster.
    pub async fn look_there(&self, sidecar: &SidecarClient) {
        let begun = Instant::now();
        let look = match sidecar.ceph().await.map(|ceph| ceph.writable) {
            Ok(Known::Yes) => Look::Wrote,
            Ok(Known::No) => Look::Silent,
            Ok(Known::Unknown) | Err(_) => Look::Unclear,
        };
        self.pulse().note(look, begun, Instant::now());
    }
}

fn of_error(e: &BackendError) -> Look {
    match e.kind {
        BackendErrorKind::Deadline | BackendErrorKind::Unreachable => Look::Silent,
        // What this process lacks is no silence of the cluster's: force must not follow from it.
        BackendErrorKind::NotBegun
        | BackendErrorKind::Full
        | BackendErrorKind::Blocklisted
        | BackendErrorKind::NotFound
        | BackendErrorKind::NotMirrored
        | BackendErrorKind::PeerPrimaryOrDemotionPending
        | BackendErrorKind::PoolNotMirrored
        | BackendErrorKind::InUse
        | BackendErrorKind::Exists
        | BackendErrorKind::Changed
        | BackendErrorKind::ReadOnly
        | BackendErrorKind::Denied
        | BackendErrorKind::Unsupported
        | BackendErrorKind::Corrupt
        | BackendErrorKind::Torn
        | BackendErrorKind::Other => Look::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(looks: &[(Look, u64, u64)], now: u64) -> Health {
        let zero = Instant::now();
        let at = |s| zero + Duration::from_secs(s);
        let mut pulse = Pulse::default();
        for (look, begun, ended) in looks {
            pulse.note(*look, at(*begun), at(*ended));
        }
        pulse.health(at(now))
    }

    #[test]
    fn one_silent_look_is_no_death() {
        use Look::{Silent, Unclear, Wrote};
        assert_eq!(seen(&[], 1), Health::Unknown);
        assert_eq!(seen(&[(Wrote, 0, 0)], 1), Health::Writes);
        assert_eq!(seen(&[(Wrote, 0, 0), (Silent, 1, 8)], 9), Health::Unknown);
        let two = [(Wrote, 0, 0), (Silent, 1, 4), (Silent, 5, 8)];
        assert_eq!(
            seen(&two, 8),
            Health::Dead {
                silent: Duration::from_secs(7)
            }
        );
        assert_eq!(seen(&two[..2], 4), Health::Unknown);
        let back = [two[0], two[1], two[2], (Wrote, 9, 9)];
        assert_eq!(seen(&back, 9), Health::Writes);
        let full = [two[0], two[1], two[2], (Unclear, 9, 9)];
        assert_eq!(seen(&full, 9), Health::Unknown);
    }

    #[test]
    fn what_was_not_begun_is_no_silence() {
        use crate::backend::Op;
        let of = |kind| of_error(&BackendError::new(Op::Probe, None, kind, ""));
        assert_eq!(of(BackendErrorKind::NotBegun), Look::Unclear);
        assert_eq!(of(BackendErrorKind::Deadline), Look::Silent);
        assert_eq!(of(BackendErrorKind::Unreachable), Look::Silent);
        let short = [(Look::Silent, 1, 4), (Look::Unclear, 5, 8)];
        assert_eq!(seen(&short, 8), Health::Unknown);
    }

    #[test]
    fn an_old_look_says_nothing_of_now() {
        assert_eq!(seen(&[(Look::Wrote, 0, 0)], 16), Health::Unknown);
        let dead = [(Look::Silent, 0, 3), (Look::Silent, 4, 7)];
        assert_eq!(seen(&dead, 23), Health::Unknown);
    }
}
