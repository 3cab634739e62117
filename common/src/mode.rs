//! How a volume is replicated.

use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A volume's replication mode.
///
/// On the wire: `{"mode": "instant"}`, `{"mode": "once"}`, `{"mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReplicationMode {
    /// RBD journal mirroring: every write, in order, seconds behind.
    Instant,
    /// One mirror snapshot: the volume as it was when it was asked for.
    Once,
    /// Mirror snapshots at `start + n * interval`.
    Periodic(Schedule),
}

/// librbd's mirror image mode, which a [`ReplicationMode`] stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorImageMode {
    /// `RBD_MIRROR_IMAGE_MODE_JOURNAL`.
    Journal,
    /// `RBD_MIRROR_IMAGE_MODE_SNAPSHOT`.
    Snapshot,
}

impl ReplicationMode {
    /// The librbd mode that carries it.
    #[must_use]
    pub fn mirror_image_mode(&self) -> MirrorImageMode {
        match self {
            Self::Instant => MirrorImageMode::Journal,
            Self::Once | Self::Periodic(_) => MirrorImageMode::Snapshot,
        }
    }
    /// Its name alone: `instant`, `once`, `periodic`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Once => "once",
            Self::Periodic(_) => "periodic",
        }
    }
}
impl fmt::Display for ReplicationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant | Self::Once => f.write_str(self.name()),
            Self::Periodic(s) => write!(f, "periodic, every {} from {}", s.interval, s.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_one_json_form() {
        let m: ReplicationMode = serde_json::from_str(
            r#"{"mode":"periodic","start":"2026-01-01T00:00:00Z","interval":"15m"}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&m).unwrap(),
            r#"{"mode":"periodic","start":"2026-01-01T00:00:00Z","interval":"15m"}"#
        );
        for bad in [
            r#"{"mode":"sometimes"}"#,
            r#"{"mode":"periodic","interval":"15m"}"#,
            r#"{"mode":"periodic","start":"noon","interval":"15m"}"#,
            r#"{"mode":"periodic","start":"2026-01-01T00:00:00Z","interval":"soon"}"#,
        ] {
            assert!(
                serde_json::from_str::<ReplicationMode>(bad).is_err(),
                "{bad} was taken"
            );
        }
    }
}
