//! What crosses the socket between the shim and the sidecar. `openapi.yaml` describes it too.

use rekindle_common::{
    ApiError, GroupName, ImageSpec, Timestamp, ZoneName,
    action::Effect,
    deletion::OnDelete,
    facts::{CinderFacts, SnapshotFacts},
    mode::ReplicationMode,
    status::VolumeStatus,
    volume::Known,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume type's extra specs, all of them; only ours are looked at.
pub type Specs = BTreeMap<String, String>;

/// A volume as Cinder knows it, and the image under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CinderVolume {
    /// Cinder's id. It comes back in the answer. An image that is named by it was made for this record.
    pub id: String,
    /// Pool and image.
    pub image: ImageSpec,
    /// What Cinder says of it; kept with the image when it is replicated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<VolumeFacts>,
    /// Whether Cinder's record was made for an image of the other zone's, as the catalogue makes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_in: bool,
}

/// What cinder-volume knows of a volume. Whose Cinder that is the sidecar knows; the volume's id stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeFacts {
    /// Its project's id.
    pub project_id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its description.
    #[serde(default)]
    pub description: Option<String>,
    /// Its type's name.
    #[serde(default)]
    pub volume_type: Option<String>,
    /// Its size as Cinder counts it.
    pub size_gib: u64,
    /// Whether a server may boot from it.
    #[serde(default)]
    pub bootable: bool,
    /// What Glance said of its image.
    #[serde(default)]
    pub image_metadata: BTreeMap<String, String>,
    /// Its key's id.
    #[serde(default)]
    pub encryption_key_id: Option<String>,
    /// Its snapshots; `None` leaves those that are known.
    #[serde(default)]
    pub snapshots: Option<Vec<SnapshotFacts>>,
}

impl CinderVolume {
    /// As they are kept with the image. `known`: what stands there now.
    #[must_use]
    pub fn facts_in(&self, zone: &ZoneName, known: Option<&CinderFacts>) -> Option<CinderFacts> {
        let f = self.facts.clone()?;
        let known = known.filter(|k| k.zone == *zone && k.id == self.id);
        Some(CinderFacts {
            zone: zone.clone(),
            id: self.id.clone(),
            project_id: f.project_id,
            name: f.name,
            description: f.description,
            volume_type: f.volume_type,
            size_gib: f.size_gib,
            bootable: f.bootable,
            image_metadata: f.image_metadata,
            encryption_key_id: f.encryption_key_id,
            snapshots: f
                .snapshots
                .or_else(|| known.map(|k| k.snapshots.clone()))
                .unwrap_or_default(),
            left_out: Vec::new(),
        })
    }
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
    /// What becomes of a volume of it that is deleted; `None` where that is its group's policy, or it is not replicated.
    pub on_delete: Option<OnDelete>,
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
    /// Why it is asked for.
    #[serde(default)]
    pub cause: Cause,
}

/// Why a volume is to be replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is new, or was given this type: what the type says holds.
    #[default]
    Type,
    /// Something else was done to it, and its type is what it was. One that is replicated stays in its mode, its group and with its policy,
    /// which may be others than its type's; only one that is not is replicated as its type says.
    Again,
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

/// `POST /v1/cinder/delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// As in [`ReplicateRequest`].
    #[serde(default)]
    pub backend: Option<String>,
    /// Which.
    pub volume: CinderVolume,
    /// What of it is due.
    #[serde(default)]
    pub step: DeleteStep,
}

/// What of a deletion is due. With `--purge` Cinder deletes a volume's snapshots one by one, and only then the volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteStep {
    /// The volume's own.
    #[default]
    Volume,
    /// That of a snapshot of it, which is deleted only because the volume is to follow: whether it would. Nothing is changed.
    SnapshotsFirst,
}

/// What became of a deletion, and so what Cinder is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// Nothing yet: Cinder's own driver removes the image.
    Proceed,
    /// It is marked; the sidecar removes it later. Cinder forgets it.
    Scheduled,
    /// The other zone has it as a plain volume, and this zone's image goes by itself. Cinder forgets it.
    RemovedByUs,
    /// It is a copy: Cinder forgets it, and its image stays.
    RecordAlone,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    /// What Cinder is to do.
    pub outcome: Deleted,
    /// For the log.
    pub message: String,
    /// When a scheduled one goes.
    pub due: Option<Timestamp>,
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
    /// Delete its image and make another in its place, replicated as its type says: what a reimage is in Cinder 21.
    Remake,
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
    /// The extra specs of its type, where those say how it is replicated afterwards ([`Operation::Remake`]).
    #[serde(default, skip_serializing_if = "Specs::is_empty")]
    pub specs: Specs,
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
