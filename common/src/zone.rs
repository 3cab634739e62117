//! What a sidecar says of its zone.

use crate::{
    duration::Span,
    ids::{Generation, GroupName, SiteName, ZoneName},
    lease::LeaseView,
    status::VolumeStatus,
    volume::Known,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The zone's own cluster, as its sidecar sees it from within.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CephReport {
    /// Whether a small object could be written and read back within the deadline: mons up is not enough (hard case 60).
    pub writable: Known,
    /// `HEALTH_OK`, `HEALTH_WARN`, `HEALTH_ERR`; `None` where the mons do not answer.
    pub health: Option<String>,
    /// OSDs up, of all.
    pub osds_up: Option<u32>,
    /// OSDs in all.
    pub osds: Option<u32>,
    /// The cluster's id.
    pub fsid: Option<String>,
}

/// The zone's mirror daemons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorReport {
    /// Whether one runs and reports (hard case 29).
    pub daemon_up: Known,
    /// The other site's name as the pool's peer list has it; `None` without a peer.
    pub peer_site: Option<String>,
}

/// Why and since when a sidecar refuses actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// In the operator's words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// One group in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Which.
    pub group: GroupName,
    /// The highest generation that this zone has seen, from the RADOS object; `None` where none was or it cannot be read.
    pub generation: Option<Generation>,
    /// This sidecar's view of the lease.
    pub lease: LeaseView,
    /// How many volumes are in which status.
    pub volumes: BTreeMap<VolumeStatus, u32>,
    /// How many images that may be primary here, and of this group, could not be read: were the zone cut off, they would not be demoted.
    #[serde(default)]
    pub unread: u32,
}

/// The answer to `GET /v1/zone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneReport {
    /// Which zone.
    pub zone: ZoneName,
    /// The sidecar's instance id: new with each start.
    pub sidecar: String,
    /// Its version.
    pub version: String,
    /// Its wall clock, to find skew with (hard case 12).
    pub now: Timestamp,
    /// Its cluster.
    pub ceph: CephReport,
    /// Its mirror daemons.
    pub mirror: MirrorReport,
    /// Whether it is frozen.
    pub frozen: Option<Freeze>,
    /// Its groups.
    pub groups: Vec<GroupReport>,
}

/// The question a sidecar without etcd asks every other site: `POST /v1/failsafe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailsafeQuestion {
    /// The group.
    pub group: GroupName,
    /// The zone that asks.
    pub zone: ZoneName,
    /// The generation that it held.
    pub generation: Generation,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum FailsafeAnswer {
    /// This site has no etcd majority either. It promises to record no other primary for the lease's `ttl + margin` from now:
    /// as long as it would wait after a renewal at this moment.
    StillYours {
        /// Who answers.
        site: SiteName,
        /// How long it is bound, by the lease's times as it last read them: those that the asker goes by may be longer. `None` is of an
        /// orchestrator of before; beside one no group is changed (`docs/installing.md`, *Upgrading*).
        #[serde(default)]
        lasts: Option<Span>,
    },
    /// This site reaches an etcd majority: what etcd says counts, and the asker must act as isolated.
    EtcdIsWell {
        /// Who answers.
        site: SiteName,
    },
    /// This site knows a newer generation or another primary.
    NotYours {
        /// Who answers.
        site: SiteName,
        /// What it knows.
        generation: Generation,
    },
}
