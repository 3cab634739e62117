//! Each zone's volumes as volumes of the other's Cinder.

use jiff::Timestamp;
use rekindle_common::{SiteName, ZoneName};
use rekindle_core::catalogue::{Finding, Shown};
use serde::{Deserialize, Serialize};

/// The answer to `GET /v1/catalogue`: each zone's volumes as volumes of the other zone's Cinder, as of the leader's last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueStatus {
    /// Who answers.
    pub site: SiteName,
    /// When the last round began to write.
    pub at: Timestamp,
    /// When both zones were last seen whole and nothing failed, in this leader's term.
    pub last_good: Option<Timestamp>,
    /// What was seen of each zone.
    pub zones: Vec<CatalogueZone>,
    /// Replicated volumes with both their records.
    pub volumes: Vec<Shown>,
    /// So many more there are.
    pub more_volumes: usize,
    /// What a person must look at, those of one cause together.
    pub findings: Vec<FoundView>,
    /// So many more there are.
    pub more_findings: usize,
    /// What the last round wrote.
    pub written: usize,
    /// Volumes for which something failed that is tried again.
    pub waiting: usize,
}

/// What was seen of one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueZone {
    /// Which.
    pub zone: ZoneName,
    /// Its images, by its sidecar.
    pub images: Sight,
    /// Its Cinder's records on our backends.
    pub records: Sight,
}

/// Whether something was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Sight {
    /// All of it.
    Seen {
        /// How many.
        count: usize,
    },
    /// Not, or not all: what is not listed is not known to be gone.
    Missing {
        /// How many were seen all the same.
        count: usize,
        /// Why.
        why: String,
    },
}

/// A finding, and since when it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// Since when, as far as this leader has seen.
    pub since: Timestamp,
    /// Whether it has lasted, and is no passing gap.
    pub lasts: bool,
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
}
