//! One image as a backend sees it, before any rule is applied.

use super::words::Says;
use jiff::Timestamp;
use rekindle_common::{
    GroupName, ImageSpec, metadata,
    mode::MirrorImageMode,
    volume::{Known, SiteView},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// One image, read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageView {
    /// Pool and name.
    pub spec: ImageSpec,
    /// librbd's image id. A resync deletes and re-creates the image, so the id tells one incarnation from the next.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// All metadata. Shared: several lists of hundreds of images are kept at a time, and what is the same in all of them is kept once.
    pub metadata: Arc<BTreeMap<String, String>>,
    /// Mirroring of this image.
    pub mirror: MirrorView,
    /// Parent, children and snapshots; `None` where they were not asked for (lists, images that are mirrored).
    pub lineage: Option<Lineage>,
    /// What this zone's mirror daemon says of it; `None`: nothing.
    pub local: Option<SiteStatus>,
    /// What the other zone's daemon wrote here about its own image; `None`: nothing.
    pub peer: Option<SiteStatus>,
}

impl ImageView {
    /// Whether writes are taken here. Nobody takes over from an image that is not mirrored.
    #[must_use]
    pub fn primary(&self) -> Known {
        match &self.mirror {
            MirrorView::On(m) if m.primary => Known::Yes,
            MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling => Known::No,
            MirrorView::Unread(u) => u.primary,
        }
    }

    /// The group that its metadata names, whatever else stands there: what the lease's keeper goes by.
    #[must_use]
    pub fn group(&self) -> Option<GroupName> {
        self.metadata.get(metadata::GROUP)?.parse().ok()
    }

    /// The group that it is told as a member of. What is mirrored is one by its name alone, also where its mode cannot be read: its keeper
    /// demotes it with the others, and a plan that does not know of it would leave it behind so. What is not mirrored, only by a policy.
    #[must_use]
    pub fn member_of(&self) -> Option<GroupName> {
        let may_be_demoted = match &self.mirror {
            MirrorView::On(_) | MirrorView::Unread(_) => true,
            MirrorView::Off | MirrorView::Disabling => false,
        };
        self.group()
            .filter(|_| may_be_demoted || self.metadata.contains_key(metadata::MODE))
    }

    /// That it may be primary here and of any group: it cannot be read, and never could be.
    #[must_use]
    pub fn may_be_any_groups(&self) -> Option<&Unread> {
        match &self.mirror {
            MirrorView::Unread(u) => Some(u).filter(|u| !u.known && u.primary != Known::No),
            MirrorView::On(_) | MirrorView::Off | MirrorView::Disabling => None,
        }
    }
}

/// Clones and snapshots around an image (hard cases 34, 37).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// What it was cloned from.
    pub parent: Option<String>,
    /// How many images were cloned from it.
    pub children: u32,
    /// How many snapshots it has, mirroring's own apart.
    pub snapshots: u32,
}

/// Mirroring of one image (`rbd_mirror_image_info_t`, `rbd_mirror_image_mode_t`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorView {
    /// Not mirrored.
    Off,
    /// On its way to not being mirrored (`RBD_MIRROR_IMAGE_DISABLING`).
    Disabling,
    /// Mirrored.
    On(Mirrored),
    /// Mirrored, and the image itself cannot be read. Only lists have it.
    Unread(Unread),
}

/// A mirrored image that a list could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Whether it is primary here, where the pool's own list tells.
    pub primary: Known,
    /// Whether the view's size and metadata are as they were last read; else they were never read, and stand empty.
    pub known: bool,
    /// Why, in words.
    pub why: String,
}

/// A mirrored image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// Journal or snapshot.
    pub mode: MirrorImageMode,
    /// librbd's `primary` flag.
    pub primary: bool,
    /// Its mirror snapshots; empty in journal mode.
    pub snapshots: SnapshotSummary,
}

/// What the list of an image's mirror snapshots tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotSummary {
    /// The newest one, complete or not.
    pub newest: Option<MirrorSnapshot>,
    /// The newest complete one. On a copy: what it would be rolled back to by a forced promotion.
    pub newest_complete: Option<MirrorSnapshot>,
    /// How many there are.
    pub count: u32,
    /// How many older ones that were taken here the other zone has not let go of. It lets go of one as soon as it has the whole
    /// of a newer one.
    pub held: u32,
    /// User snapshots that a forced promotion set aside: the copy that they came with was interrupted. By the names that they have now.
    pub torn: Vec<String>,
}

/// One mirror snapshot (`rbd_snap_mirror_namespace_t`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSnapshot {
    /// When it was taken, where it is; on a copy this is when the copying began here.
    pub at: Timestamp,
    /// In which role.
    pub state: SnapshotState,
    /// Whether all of its data is here. Always so on the side that took it.
    pub complete: bool,
}

/// `rbd_snap_mirror_state_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotState {
    /// Taken by the primary.
    Primary,
    /// Taken by a demotion.
    PrimaryDemoted,
    /// Copied from the primary.
    NonPrimary,
    /// Copied from a demotion: the demotion was replayed here.
    NonPrimaryDemoted,
}

/// `rbd_mirror_image_status_state_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DaemonState {
    /// `unknown`.
    Unknown,
    /// `error`.
    Error,
    /// `syncing`: the first copy.
    Syncing,
    /// `starting_replay`.
    StartingReplay,
    /// `replaying`.
    Replaying,
    /// `stopping_replay`.
    StoppingReplay,
    /// `stopped`: the normal state beside a primary.
    Stopped,
}

impl DaemonState {
    /// As `rbd mirror image status` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Error => "error",
            Self::Syncing => "syncing",
            Self::StartingReplay => "starting_replay",
            Self::Replaying => "replaying",
            Self::StoppingReplay => "stopping_replay",
            Self::Stopped => "stopped",
        }
    }
}

/// A mirror daemon's account of one image (`rbd_mirror_image_site_status_t`).
#[derive(Debug, Clone, PartialEq)]
pub struct SiteStatus {
    /// Whether the daemon that wrote it is alive.
    pub up: bool,
    /// Its state.
    pub state: DaemonState,
    /// The description without the JSON at its end.
    pub description: String,
    /// That JSON, typed.
    pub replay: Replay,
    /// When it was written, by the clock of the cluster that it was written to.
    pub last_update: Option<Timestamp>,
}

impl SiteStatus {
    /// The state as people know it: `up+replaying`.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}+{}",
            if self.up { "up" } else { "down" },
            self.state.as_str()
        )
    }
    /// What its description means.
    #[must_use]
    pub fn says(&self) -> Says {
        Says::read(&self.description)
    }
    /// As it goes over the wire.
    #[must_use]
    pub fn to_view(&self) -> SiteView {
        SiteView {
            state: self.text(),
            description: self.description.clone(),
            last_update: self.last_update,
        }
    }
}

/// How replay stands, from the description's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Replay {
    /// Nothing was said.
    #[default]
    None,
    /// Journal mode.
    Journal {
        /// Entries written there and not yet replayed here. May never reach 0 on a busy image.
        entries_behind: Option<u64>,
        /// Replay speed.
        bytes_per_second: Option<f64>,
    },
    /// Snapshot mode.
    Snapshot {
        /// The primary's clock at the newest snapshot that is complete here.
        local: Option<Timestamp>,
        /// The primary's clock at its newest snapshot.
        remote: Option<Timestamp>,
        /// Whether one is being copied now.
        syncing: bool,
        /// How far, in percent.
        percent: Option<u8>,
        /// How long the last one took.
        last_took: Option<Duration>,
        /// How many bytes the last one moved.
        last_bytes: Option<u64>,
    },
}

/// A client that has an image open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watcher {
    /// Its address with nonce, as the blocklist takes it.
    pub address: String,
}

/// The mirror daemons and the peer of the zone's pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorInfo {
    /// Whether a daemon of this zone reports.
    pub daemon_up: bool,
    /// The peer's site name; `None` without a peer.
    pub peer_site: Option<String>,
}

/// The cluster's own account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterHealth {
    /// `HEALTH_OK`, `HEALTH_WARN`, `HEALTH_ERR`.
    pub health: Option<String>,
    /// OSDs up.
    pub osds_up: Option<u32>,
    /// OSDs in all.
    pub osds: Option<u32>,
    /// The cluster's id.
    pub fsid: Option<String>,
}
