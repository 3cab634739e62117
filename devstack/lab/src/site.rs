//! The three sites of a lab.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// A place that can be lost as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// First zone: Ceph, rbd-mirror, an etcd member.
    ZoneA,
    /// Second zone: the same.
    ZoneB,
    /// Third vote: an etcd member and nothing else.
    Witness,
}

impl Site {
    /// Every site, in a fixed order.
    pub const ALL: [Self; 3] = [Self::ZoneA, Self::ZoneB, Self::Witness];
    /// The sites that have a Ceph cluster.
    pub const ZONES: [Self; 2] = [Self::ZoneA, Self::ZoneB];

    /// The name used everywhere: `zone-a`, `zone-b`, `witness`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZoneA => "zone-a",
            Self::ZoneB => "zone-b",
            Self::Witness => "witness",
        }
    }

    /// Whether the site has a Ceph cluster.
    #[must_use]
    pub const fn has_ceph(self) -> bool {
        match self {
            Self::ZoneA | Self::ZoneB => true,
            Self::Witness => false,
        }
    }

    /// The other zone; `None` for the witness.
    #[must_use]
    pub const fn peer(self) -> Option<Self> {
        match self {
            Self::ZoneA => Some(Self::ZoneB),
            Self::ZoneB => Some(Self::ZoneA),
            Self::Witness => None,
        }
    }

    /// Position in [`Site::ALL`]; addresses and ports are derived from it.
    pub(crate) const fn index(self) -> u8 {
        match self {
            Self::ZoneA => 0,
            Self::ZoneB => 1,
            Self::Witness => 2,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Site {
    type Err = LabError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|site| site.name() == s)
            .ok_or_else(|| {
                LabError::BadInput(format!(
                    "unknown site `{s}`: it is one of zone-a, zone-b, witness"
                ))
            })
    }
}
