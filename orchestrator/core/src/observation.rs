//! What a site sees of a zone.

use jiff::Timestamp;
use rekindle_common::{SiteName, ZoneName, duration::Span};
use serde::{Deserialize, Serialize};

/// A kind of evidence. Different kinds fail for different reasons, which is why a diagnosis asks for more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// A monitor of the zone's Ceph answers on its port with Ceph's greeting. Seen directly.
    CephMon,
    /// The zone's sidecar answers over TLS. Seen directly.
    Sidecar,
    /// The zone's cluster takes a small write, says its sidecar.
    CephWrite,
    /// The zone's mirror daemon runs, says its sidecar.
    MirrorDaemon,
}

impl SignalKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::CephMon,
        Self::Sidecar,
        Self::CephWrite,
        Self::MirrorDaemon,
    ];

    /// Whether the site saw it with its own eyes. What a sidecar reports is gone with the sidecar, so it can never
    /// be a second witness to the zone's loss.
    #[must_use]
    pub fn is_direct(self) -> bool {
        match self {
            Self::CephMon | Self::Sidecar => true,
            Self::CephWrite | Self::MirrorDaemon => false,
        }
    }
    /// Its name in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CephMon => "Ceph monitors",
            Self::Sidecar => "sidecar",
            Self::CephWrite => "Ceph writes",
            Self::MirrorDaemon => "mirror daemon",
        }
    }
}

/// A three-valued answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// It works.
    Up,
    /// It was asked and did not answer, or answered that it does not work.
    Down,
    /// It was not, or could not be, asked.
    Unknown,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Of which zone.
    pub zone: ZoneName,
    /// Which kind.
    pub kind: SignalKind,
    /// What was seen.
    pub signal: Signal,
    /// For how long it has been so without a break, by the observer's own monotonic clock.
    pub held_for: Span,
    /// What the probe said, for a person.
    pub detail: String,
}

/// All that one site sees. Published in etcd under a lease, so that a dead site's view disappears by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteObservations {
    /// Who saw it.
    pub site: SiteName,
    /// The observer's wall clock when it was published.
    pub at: Timestamp,
    /// What it saw.
    pub observations: Vec<Observation>,
}
