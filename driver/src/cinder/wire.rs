//! What crosses the socket between the shim and the sidecar. `openapi.yaml` describes it too.

use rekindle_common::{
    ApiError, GroupName, ImageSpec, ZoneName, action::Effect, mode::ReplicationMode,
    status::VolumeStatus, volume::Known,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume type's extra specs, all of them; only ours are looked at.
pub type Specs = BTreeMap<String, String>;

/// A volume as Cinder knows it, and the image under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CinderVolume {
    /// Cinder's id. It comes back in the answer, and is not looked at.
    pub id: String,
    /// Pool and image.
    pub image: ImageSpec,
}

/// `POST /v1/cinder/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The type's.
    pub specs: Specs,
}

/// What a type asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether it asks for replication.
    pub replicated: bool,
    /// How.
    pub mode: Option<ReplicationMode>,
    /// In which group.
    pub group: Option<GroupName>,
}

/// `POST /v1/cinder/replicate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicateRequest {
    /// Cinder's active backend id: none, empty or `default` is the zone that cinder-volume stands in.
    #[serde(default)]
    pub backend: Option<String>,
    /// The type's.
    pub specs: Specs,
    /// Which; at most [`rekindle_common::action::MAX_BATCH`].
    pub volumes: Vec<CinderVolume>,
}

/// `POST /v1/cinder/unreplicate` and `POST /v1/cinder/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumesRequest {
    /// As in [`ReplicateRequest`].
    #[serde(default)]
    pub backend: Option<String>,
    /// Which.
    pub volumes: Vec<CinderVolume>,
}

/// `POST /v1/cinder/failover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverRequest {
    /// The backend that is active now.
    #[serde(default)]
    pub backend: Option<String>,
    /// Where to: a backend id, `default` for the way back, none for the only other one.
    #[serde(default)]
    pub target: Option<String>,
    /// Which.
    pub volumes: Vec<CinderVolume>,
}

/// What Cinder is about to do to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make it.
    Create,
    /// Delete it.
    Delete,
    /// Grow it.
    Extend,
    /// Take a snapshot of it.
    SnapshotCreate,
    /// Delete a snapshot of it.
    SnapshotDelete,
    /// Roll it back to a snapshot.
    Revert,
    /// Change its type.
    Retype,
    /// Move it to another backend.
    Migrate,
    /// Take an image in as a volume.
    Manage,
    /// Forget it, and leave its image.
    Unmanage,
    /// Hand out a connection to it.
    Attach,
    /// Make another volume of it.
    Clone,
    /// Copy it to the backup store.
    Backup,
}

/// `POST /v1/cinder/guard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardRequest {
    /// As in [`ReplicateRequest`].
    #[serde(default)]
    pub backend: Option<String>,
    /// What is about to be done.
    pub operation: Operation,
    /// To which image.
    pub image: ImageSpec,
}

/// `POST /v1/cinder/freeze`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// As in [`ReplicateRequest`].
    #[serde(default)]
    pub backend: Option<String>,
    /// In the operator's words.
    pub reason: String,
}

/// `POST /v1/cinder/thaw`, and the query of `GET /v1/cinder/backend`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendRequest {
    /// As in [`ReplicateRequest`].
    #[serde(default)]
    pub backend: Option<String>,
}

/// `GET /v1/cinder/backend`: from what is known, at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendReport {
    /// Which zone that backend is.
    pub zone: ZoneName,
    /// Whether its cluster takes writes.
    pub reachable: Known,
    /// Why it is frozen, while it is.
    pub frozen: Option<String>,
    /// The backend ids that a failover may go to.
    pub targets: Vec<String>,
}

/// Cinder's words for a volume's replication (`cinder/objects/fields.py`, `ReplicationStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicationStatus {
    /// It is replicated, and served from where it belongs.
    Enabled,
    /// It is served from the other zone.
    FailedOver,
    /// A failover could not help it.
    FailoverError,
    /// It is not replicated.
    Disabled,
    /// Its replication is not well.
    Error,
}

/// What became of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEnd {
    /// Cinder's id.
    pub id: String,
    /// Its image.
    pub image: ImageSpec,
    /// Cinder's word for where it stands now.
    pub replication_status: ReplicationStatus,
    /// Our word, where it was looked at.
    pub status: Option<VolumeStatus>,
    /// What happened.
    #[serde(flatten)]
    pub end: End,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum End {
    /// As asked for.
    Ok {
        /// Whether there was anything to do.
        effect: Effect,
    },
    /// It was refused, or failed.
    Failed {
        /// Why.
        error: ApiError,
    },
}

/// One for each volume that was asked for, in the order asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesAnswer {
    /// They.
    pub volumes: Vec<VolumeEnd>,
}

/// The answer to a failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverAnswer {
    /// The backend that is active from now on: a backend id, or `default`.
    pub target: String,
    /// One for each volume, in the order asked.
    pub volumes: Vec<VolumeEnd>,
}
