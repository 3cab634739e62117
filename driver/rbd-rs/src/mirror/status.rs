//! What rbd-mirror reports of an image, read from its words into types.
//!
//! The daemon writes a state (a number), a description that may end in JSON, and a time; librbd
//! adds whether the daemon that wrote it is still there. Nothing here is guessed: what cannot be
//! read is kept as it is and says so.

use std::fmt;

use serde::Deserialize;

use crate::sys::types::{
    MIRROR_IMAGE_STATUS_STATE_ERROR, MIRROR_IMAGE_STATUS_STATE_REPLAYING,
    MIRROR_IMAGE_STATUS_STATE_STARTING_REPLAY, MIRROR_IMAGE_STATUS_STATE_STOPPED,
    MIRROR_IMAGE_STATUS_STATE_STOPPING_REPLAY, MIRROR_IMAGE_STATUS_STATE_SYNCING,
    MIRROR_IMAGE_STATUS_STATE_UNKNOWN, RBD_MIRROR_IMAGE_DISABLED, RBD_MIRROR_IMAGE_DISABLING,
    RBD_MIRROR_IMAGE_ENABLED,
};

/// Whether the daemon that reported is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DaemonPresence {
    /// It still watches the pool's status object.
    Up,
    /// It is gone, or never was; what it last said is old.
    Down,
}

/// What the daemon does with the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// No daemon has said anything.
    Unknown,
    /// It gave up; the description says why (a split brain is told here).
    Error,
    /// It copies the whole image for the first time, or again after a resync.
    Syncing,
    /// It is about to replay.
    StartingReplay,
    /// It follows the primary.
    Replaying,
    /// It is about to stop.
    StoppingReplay,
    /// It does nothing: the image is primary here, or nobody is primary.
    Stopped,
    /// A number that this crate has no name for.
    Unrecognised(u32),
}

impl ReplayState {
    pub(crate) fn from_c(state: u32) -> Self {
        match state {
            MIRROR_IMAGE_STATUS_STATE_UNKNOWN => Self::Unknown,
            MIRROR_IMAGE_STATUS_STATE_ERROR => Self::Error,
            MIRROR_IMAGE_STATUS_STATE_SYNCING => Self::Syncing,
            MIRROR_IMAGE_STATUS_STATE_STARTING_REPLAY => Self::StartingReplay,
            MIRROR_IMAGE_STATUS_STATE_REPLAYING => Self::Replaying,
            MIRROR_IMAGE_STATUS_STATE_STOPPING_REPLAY => Self::StoppingReplay,
            MIRROR_IMAGE_STATUS_STATE_STOPPED => Self::Stopped,
            other => Self::Unrecognised(other),
        }
    }
}

impl fmt::Display for ReplayState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unknown => "unknown",
            Self::Error => "error",
            Self::Syncing => "syncing",
            Self::StartingReplay => "starting_replay",
            Self::Replaying => "replaying",
            Self::StoppingReplay => "stopping_replay",
            Self::Stopped => "stopped",
            Self::Unrecognised(number) => return write!(out, "state_{number}"),
        })
    }
}

/// Whether mirroring is enabled for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorState {
    /// It is being taken off.
    Disabling,
    /// It is on.
    Enabled,
    /// It is off.
    Disabled,
    /// The daemon is making the copy. The header has no name for it; the object class has.
    Creating,
    /// A number that this crate has no name for.
    Unrecognised(u32),
}

/// `MIRROR_IMAGE_STATE_CREATING` of Ceph's object class: librbd passes it on unnamed (seen with
/// 16.2.15 while a copy was made anew).
const MIRROR_IMAGE_STATE_CREATING: u32 = 3;

impl MirrorState {
    pub(crate) fn from_c(state: u32) -> Self {
        match state {
            RBD_MIRROR_IMAGE_DISABLING => Self::Disabling,
            RBD_MIRROR_IMAGE_ENABLED => Self::Enabled,
            RBD_MIRROR_IMAGE_DISABLED => Self::Disabled,
            MIRROR_IMAGE_STATE_CREATING => Self::Creating,
            other => Self::Unrecognised(other),
        }
    }
}

/// Whose report it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// This cluster's daemon.
    Local,
    /// The daemon of the peer with this mirror UUID
    /// ([`MirrorPeer::mirror_uuid`](crate::MirrorPeer::mirror_uuid) names it).
    Remote(String),
}

/// Where a journal is: how far it is written, or replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct JournalPosition {
    /// Which epoch of ownership of the journal; each promotion starts a new one.
    pub tag_tid: u64,
    /// Which entry of the epoch.
    pub entry_tid: u64,
    /// In which object.
    pub object_number: u64,
}

/// How a journal replay stands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct JournalReplay {
    /// How many entries are still to be replayed. On a busy image it may never reach 0.
    pub entries_behind_primary: Option<u64>,
    /// Entries replayed a second, of late.
    pub entries_per_second: Option<f64>,
    /// Bytes replayed a second, of late.
    pub bytes_per_second: Option<f64>,
    /// The daemon's guess how long it will take, in seconds.
    pub seconds_until_synced: Option<u64>,
    /// How far the primary has written, as the daemon last saw it.
    #[serde(default, deserialize_with = "position")]
    pub primary_position: Option<JournalPosition>,
    /// How far this side has replayed.
    #[serde(default, deserialize_with = "position")]
    pub non_primary_position: Option<JournalPosition>,
}

/// What a snapshot replay does just now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotActivity {
    /// It has the newest mirror snapshot that it knows of.
    Idle,
    /// It copies one.
    Syncing,
    /// A word that this crate does not know.
    #[serde(untagged)]
    Unrecognised(String),
}

/// How a snapshot replay stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SnapshotReplay {
    /// What it does.
    pub replay_state: SnapshotActivity,
    /// When the newest mirror snapshot **that the primary has** was taken there, in seconds since
    /// the Unix epoch.
    pub remote_snapshot_timestamp: Option<u64>,
    /// When the newest mirror snapshot **that this side has whole** was taken on the primary, in
    /// seconds since the Unix epoch. Nothing before the first is whole.
    pub local_snapshot_timestamp: Option<u64>,
    /// How long copying the last one took, in seconds.
    pub last_snapshot_sync_seconds: Option<f64>,
    /// How many bytes that were.
    pub last_snapshot_bytes: Option<u64>,
    /// How much of the current one is copied.
    pub syncing_percent: Option<f64>,
    /// The time of the snapshot being copied, in seconds since the Unix epoch.
    pub syncing_snapshot_timestamp: Option<u64>,
    /// Bytes copied a second, of late.
    pub bytes_per_second: Option<f64>,
    /// Bytes a snapshot, of late.
    pub bytes_per_snapshot: Option<f64>,
    /// The daemon's guess how long it will take, in seconds.
    pub seconds_until_synced: Option<u64>,
}

/// What the description's JSON says.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayDetail {
    /// There is none: a primary, an error, a syncing journal image.
    None,
    /// Of journal mode.
    Journal(JournalReplay),
    /// Of snapshot mode.
    Snapshot(SnapshotReplay),
    /// There is some, and it cannot be read.
    Unreadable(String),
}

impl ReplayDetail {
    /// Reads the JSON at the end of a description such as `replaying, {"replay_state":"idle"}`.
    pub fn parse(description: &str) -> Self {
        let Some(start) = description.find('{') else {
            return Self::None;
        };
        let json = description.get(start..).unwrap_or_default().trim_end();
        let keys: serde_json::Value = match serde_json::from_str(json) {
            Ok(value) => value,
            Err(error) => return Self::Unreadable(error.to_string()),
        };
        let read = if keys.get("replay_state").is_some() {
            serde_json::from_value(keys).map(Self::Snapshot)
        } else if keys.get("entries_behind_primary").is_some()
            || keys.get("primary_position").is_some()
        {
            serde_json::from_value(keys).map(Self::Journal)
        } else {
            return Self::Unreadable("neither a journal's nor a snapshot's keys".to_owned());
        };
        read.unwrap_or_else(|error| Self::Unreadable(error.to_string()))
    }
}

/// An empty object or null stands for "not known yet".
fn position<'de, D>(from: D) -> Result<Option<JournalPosition>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    use serde::de::Error as _;
    let value = serde_json::Value::deserialize(from)?;
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    serde_json::from_value(value)
        .map(Some)
        .map_err(D::Error::custom)
}

/// One site's report of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteStatus {
    /// Whose.
    pub site: Site,
    /// Whether that site's daemon is there.
    pub daemon: DaemonPresence,
    /// What it does with the image.
    pub state: ReplayState,
    /// In the daemon's words.
    pub description: String,
    /// What the words hold in figures.
    pub detail: ReplayDetail,
    /// When the daemon wrote it, in seconds since the Unix epoch by its own clock; 0 for never.
    pub updated: i64,
}

impl SiteStatus {
    /// The state as the `rbd` tool words it: `up+replaying`.
    pub fn word(&self) -> String {
        let daemon = match self.daemon {
            DaemonPresence::Up => "up",
            DaemonPresence::Down => "down",
        };
        format!("{daemon}+{}", self.state)
    }

    /// Whether the daemon found that both sides were written to. It has only words for it.
    pub fn is_split_brain(&self) -> bool {
        self.state == ReplayState::Error && self.description.contains("split-brain")
    }

    /// Whether the daemon says that a primary was demoted and that it has all of it: nobody is
    /// primary, and a plain promotion is due.
    ///
    /// It is a hint to try. Only the promotion itself is proof.
    pub fn says_demotion_replayed(&self) -> bool {
        matches!(self.state, ReplayState::Unknown | ReplayState::Stopped)
            && self.description.contains("remote image demoted")
    }
}

/// What every site reports of an image. The image's role is not in it: see
/// [`Image::mirror_info`](crate::Image::mirror_info).
#[derive(Clone, Debug, PartialEq)]
pub struct ImageStatus {
    /// The image's name.
    pub name: String,
    /// Its id in all clusters.
    pub global_id: String,
    /// Whether mirroring is enabled.
    pub state: MirrorState,
    /// The reports: this cluster's first, if there is one.
    pub sites: Vec<SiteStatus>,
}

impl ImageStatus {
    /// This cluster's report.
    pub fn local(&self) -> Option<&SiteStatus> {
        self.sites.iter().find(|status| status.site == Site::Local)
    }

    /// The reports of the others.
    pub fn remotes(&self) -> impl Iterator<Item = &SiteStatus> {
        self.sites
            .iter()
            .filter(|status| status.site != Site::Local)
    }
}

#[cfg(test)]
mod tests;
