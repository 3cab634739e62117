//! Looking at both zones from this site, and saying in etcd what was seen.
//!
//! ```text
//!   Probe (one file a kind) -- Sight --> Tracker (damps flaps, counts how long) -- SiteObservations --> etcd, under a short lease
//! ```
//!
//! A new kind of signal is a new file with a [`Probe`], and an entry in the configuration's list of them.

pub mod ceph_mon;
mod publish;
pub mod sidecar;
mod tracker;

pub use publish::{Observer, ObserverTiming};
pub use tracker::Tracker;

use futures::future::BoxFuture;
use rekindle_common::ZoneName;
use rekindle_core::{
    observation::{Signal, SignalKind},
    skew::Skew,
};
use std::fmt;

/// What one look at one thing showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Which thing.
    pub kind: SignalKind,
    /// How it is.
    pub signal: Signal,
    /// What was seen, in words.
    pub detail: String,
}

/// Something that looks at a zone.
pub trait Probe: Send + Sync + fmt::Debug {
    /// Which zone.
    fn zone(&self) -> &ZoneName;
    /// The kinds that it speaks for: where a look itself is cut off, they are down or unknown by [`SignalKind::is_direct`].
    fn kinds(&self) -> &'static [SignalKind];
    /// One look. The caller bounds it in time; a look that overruns counts as unanswered.
    fn look(&self) -> BoxFuture<'_, Vec<Sight>>;
    /// How far the zone's clock was from ours at the last look that showed it; `None` of what shows no clock, or has not yet.
    fn clock(&self) -> Option<Skew> {
        None
    }
}

/// What an unanswered look says: a direct signal is down, what is only reported is unknown.
#[must_use]
pub fn unanswered(kinds: &[SignalKind], detail: &str) -> Vec<Sight> {
    kinds
        .iter()
        .map(|kind| Sight {
            kind: *kind,
            signal: if kind.is_direct() {
                Signal::Down
            } else {
                Signal::Unknown
            },
            detail: detail.to_owned(),
        })
        .collect()
}
