//! The status of a volume, exactly as a user sees it.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A volume's replication status in one zone.
///
/// Its text is the contract: `active - primary`, `active - secondary`, `active - updating`, and for all else a
/// text that starts with `pending - ` (it will pass by itself, or with the next action) or `error - ` (it will not).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VolumeStatus {
    /// Writable here, and replicated from here.
    ActivePrimary,
    /// A copy that is in step with the primary (for `once` and `periodic`: holds the newest mirror snapshot).
    ActiveSecondary,
    /// A copy that is catching up: a snapshot under way, or journal entries behind.
    ActiveUpdating,
    /// Enabled, and no complete copy has been made yet: must not be promoted (hard case 24).
    PendingFirstSync,
    /// Demoted here, or seen demoted by the copy: no zone is primary, and a plain promotion can follow.
    PendingPromotion,
    /// The primary was demoted and this copy has not replayed that yet: wait, never force (hard case 21).
    PendingDemotion,
    /// The copy was given up and is being made anew.
    PendingResync,
    /// Both zones say primary: one side has to be named the loser (hard case 16).
    ErrorSplitBrain,
    /// Policy says that it is replicated, and its image is not mirrored (hard case 36).
    ErrorNotMirrored,
    /// No mirror daemon reports on it here: the copy does not move (hard case 29).
    ErrorMirrorDown,
    /// The mirror daemon reports an error for it.
    ErrorMirroring,
    /// A secondary whose primary is gone or was never announced (hard case 33).
    ErrorOrphan,
    /// The zone's cluster did not answer: nothing is known. Beside a known role: its group is known, and its policy cannot be read.
    ErrorUnknown,
}

impl VolumeStatus {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 13] = [
        Self::ActivePrimary,
        Self::ActiveSecondary,
        Self::ActiveUpdating,
        Self::PendingFirstSync,
        Self::PendingPromotion,
        Self::PendingDemotion,
        Self::PendingResync,
        Self::ErrorSplitBrain,
        Self::ErrorNotMirrored,
        Self::ErrorMirrorDown,
        Self::ErrorMirroring,
        Self::ErrorOrphan,
        Self::ErrorUnknown,
    ];

    /// The text that users, scripts and Cinder see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActivePrimary => "active - primary",
            Self::ActiveSecondary => "active - secondary",
            Self::ActiveUpdating => "active - updating",
            Self::PendingFirstSync => "pending - first sync",
            Self::PendingPromotion => "pending - promotion",
            Self::PendingDemotion => "pending - demotion",
            Self::PendingResync => "pending - resync",
            Self::ErrorSplitBrain => "error - split brain",
            Self::ErrorNotMirrored => "error - not mirrored",
            Self::ErrorMirrorDown => "error - mirror daemon down",
            Self::ErrorMirroring => "error - mirroring",
            Self::ErrorOrphan => "error - orphan",
            Self::ErrorUnknown => "error - unknown",
        }
    }
}
impl fmt::Display for VolumeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
/// A text that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a volume status")]
pub struct InvalidStatus(String);
impl FromStr for VolumeStatus {
    type Err = InvalidStatus;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|st| st.as_str() == s)
            .ok_or_else(|| InvalidStatus(s.chars().take(64).collect()))
    }
}
impl TryFrom<String> for VolumeStatus {
    type Error = InvalidStatus;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}
impl From<VolumeStatus> for String {
    fn from(s: VolumeStatus) -> String {
        s.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_round_trips_and_keeps_to_the_three_prefixes() {
        for s in VolumeStatus::ALL {
            assert_eq!(s.as_str().parse::<VolumeStatus>(), Ok(s));
            assert!(
                ["active - ", "pending - ", "error - "]
                    .iter()
                    .any(|p| s.as_str().starts_with(p)),
                "{s}"
            );
        }
        assert!("active".parse::<VolumeStatus>().is_err());
    }
}
