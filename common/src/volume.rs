//! What a zone's sidecar says of one volume.

use crate::{
    deletion::{Deletion, OnDelete},
    duration::Span,
    facts::CinderFacts,
    ids::{DemotionToken, GroupName, ImageSpec, ZoneName},
    mode::{MirrorImageMode, ReplicationMode},
    plan::PlanAtWork,
    status::VolumeStatus,
    zone::Freeze,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What this zone's image is, as librbd says (`rbd_mirror_image_info_t`), without the mirror daemon's opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `primary` is set: writes are taken here.
    Primary,
    /// Mirrored and not primary: a copy, or a demoted original.
    Secondary,
    /// Not mirrored at all.
    NotMirrored,
    /// The cluster did not answer.
    Unknown,
}

/// A three-valued answer: no sidecar or orchestrator ever guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Asked, and it is so.
    Yes,
    /// Asked, and it is not so.
    No,
    /// Not answered in time, or never asked.
    Unknown,
}

/// The last time a complete copy reached this zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSync {
    /// The moment that the copy shows: the primary's clock when its snapshot was taken, or the commit time of the
    /// newest replayed journal entry where it is known.
    pub at: Timestamp,
    /// How long the transfer took.
    pub took: Option<Span>,
    /// How many bytes it moved.
    pub bytes: Option<u64>,
}

/// How far the copy is behind its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Lag {
    /// In step as of the last look.
    None,
    /// Snapshot mode: the primary's newest snapshot is this much newer than ours.
    Time {
        /// Age difference.
        behind: Span,
    },
    /// Journal mode: entries written there and not yet replayed here.
    Entries {
        /// How many.
        behind: u64,
    },
    /// The mirror daemon does not say.
    Unknown,
}

/// The mirror daemon's state of an image on one site (`rbd_mirror_image_site_status_t`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    /// The daemon's word, as `rbd mirror image status` prints it: `up+replaying`, `down+unknown`.
    pub state: String,
    /// The description without its trailing JSON.
    pub description: String,
    /// When the daemon last wrote it; a stale one is no evidence.
    pub last_update: Option<Timestamp>,
}

/// A promotion by force, as the volume's metadata notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// When, by the clock of the zone that was promoted.
    pub at: Timestamp,
    /// The reason that the order gave.
    pub reason: String,
}

/// One volume in one zone. The answer to `GET /v1/volumes/{pool}/{image}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Pool and image.
    pub volume: ImageSpec,
    /// The zone that says so.
    pub zone: ZoneName,
    /// The group it belongs to, from its metadata.
    pub group: Option<GroupName>,
    /// What a user is shown.
    pub status: VolumeStatus,
    /// What librbd says.
    pub role: Role,
    /// The mode that policy asks for, from its metadata; `None` where it is not replicated by us or not readable.
    pub mode: Option<ReplicationMode>,
    /// The mode that librbd has.
    pub mirror_mode: Option<MirrorImageMode>,
    /// Bytes.
    pub size: Option<u64>,
    /// When a complete copy last arrived (on a secondary), or was last made (on a primary).
    pub last_sync: Option<LastSync>,
    /// How far behind.
    pub lag: Lag,
    /// Whether a complete copy exists in this zone (hard case 24). On a primary: `Yes`.
    pub complete_copy: Known,
    /// What this zone's daemon says.
    pub local: Option<SiteView>,
    /// What the other zone's daemon says.
    pub peer: Option<SiteView>,
    /// Whether the other zone's image is primary, as far as this zone can tell.
    pub peer_primary: Known,
    /// The name of the last demotion that this image knows of, its own or one that has arrived. `None`: it had no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demotion: Option<DemotionToken>,
    /// The forced promotion that this image's present history began with. `None`: it began with none, or with one that was
    /// made good since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
    /// What Cinder says of it. `None`: nobody said anything yet, or it cannot be read, and then a concern says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cinder: Option<CinderFacts>,
    /// What becomes of it when it is deleted in Cinder; `None` where that is not known, or it is not replicated by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
    /// It was deleted in Cinder, and what follows is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// What is not as it should be, in words; empty is healthy.
    pub concerns: Vec<String>,
    /// The action in flight on it, if any.
    pub in_flight: Option<String>,
}

/// Something that is under way around a volume, beside an action on it itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum UnderWay {
    /// Its zone refuses actions.
    Frozen(Freeze),
    /// A `cinder failover-host` moves the volume among others: its turn comes, or was.
    FailoverHost,
    /// A plan is at work on its group, whether or not it has come to this volume.
    Plan(PlanAtWork),
    /// Whether one is cannot be said: etcd does not answer, or the sidecar has none.
    PlanUnknown,
    /// A stand-by server is being built: the volume may be attached although it is a copy.
    StandBy,
}

/// How a volume is, and what is about to be done to it: what is to be known before a change that would not go with that. The answer to
/// `GET /v1/volumes/{pool}/{image}/outlook`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// How it is.
    pub report: VolumeReport,
    /// What is under way; each at most once.
    pub under_way: Vec<UnderWay>,
}

impl VolumeReport {
    /// What the image's metadata says of its policy cannot be read, although the image can. Its zone refuses to promote it.
    #[must_use]
    pub fn policy_is_unreadable(&self) -> bool {
        let seen = match self.role {
            Role::Primary | Role::Secondary => true,
            // What does not answer has no role.
            Role::NotMirrored | Role::Unknown => false,
        };
        seen && self.status == VolumeStatus::ErrorUnknown
    }

    /// A copy that could take over: complete, and following, also where it is behind: a busy journal always is.
    ///
    /// One that is being updated follows once its daemon has said how far behind it is. Before that the daemon has only started, and may
    /// find that the copy has diverged.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        let follows = match self.status {
            VolumeStatus::ActiveSecondary => true,
            VolumeStatus::ActiveUpdating => self.lag != Lag::Unknown,
            VolumeStatus::ActivePrimary
            | VolumeStatus::PendingFirstSync
            | VolumeStatus::PendingPromotion
            | VolumeStatus::PendingDemotion
            | VolumeStatus::PendingResync
            | VolumeStatus::ErrorSplitBrain
            | VolumeStatus::ErrorNotMirrored
            | VolumeStatus::ErrorMirrorDown
            | VolumeStatus::ErrorMirroring
            | VolumeStatus::ErrorOrphan
            | VolumeStatus::ErrorUnknown => false,
        };
        self.role == Role::Secondary && self.complete_copy == Known::Yes && follows
    }
}
