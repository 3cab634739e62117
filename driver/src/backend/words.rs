//! The mirror daemon's own words. Ceph has no field for what matters most, only text: it is read here and nowhere else.
//!
//! Source: `tools/rbd_mirror/ImageReplayer.cc` and `image_replayer/*/Replayer.cc` of Ceph 16 to 20.

/// What a daemon writes beside a primary.
pub const LOCAL_PRIMARY: &str = "local image is primary";
/// The other side was demoted, and this side has replayed that.
pub const REMOTE_DEMOTED: &str = "remote image demoted";
/// The other side is not primary.
pub const REMOTE_NOT_PRIMARY: &str = "remote image is not primary";
/// Both sides have a history that the other lacks.
pub const SPLIT_BRAIN: &str = "split-brain";
/// The first sync.
pub const BOOTSTRAPPING: &str = "bootstrapping";
/// Normal.
pub const REPLAYING: &str = "replaying";

/// What a description means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Says {
    /// Its own image is primary.
    LocalPrimary,
    /// The other image was demoted.
    RemoteDemoted,
    /// The other image is not primary.
    RemoteNotPrimary,
    /// The other image is gone.
    RemoteGone,
    /// Split brain.
    SplitBrain,
    /// It was asked for a resync, and has deleted its image or is about to.
    ResyncRequested,
    /// Anything else: the state alone counts.
    Other,
}

impl Says {
    /// Reads a description.
    #[must_use]
    pub fn read(description: &str) -> Self {
        let d = description;
        if d.contains("split-brain") || d.contains("split brain") {
            Self::SplitBrain
        } else if d.starts_with(LOCAL_PRIMARY) {
            Self::LocalPrimary
        } else if d.contains("demoted") {
            Self::RemoteDemoted
        } else if d.contains("not primary") || d.contains("non-primary") {
            Self::RemoteNotPrimary
        } else if d.contains("resync requested") {
            Self::ResyncRequested
        } else if d.contains("no longer exists") || d.contains("does not exist") {
            Self::RemoteGone
        } else {
            Self::Other
        }
    }
}
