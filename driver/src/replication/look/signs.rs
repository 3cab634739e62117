//! What one sign of a pair says by itself: the peer's word, a mirror snapshot, the daemon's replay.

use super::{CLAIM_MARGIN, Hints};
use crate::backend::view::{DaemonState, ImageView, Mirrored, Replay, SiteStatus, SnapshotState};
use crate::backend::words::Says;
use jiff::{SignedDuration, Timestamp};
use rekindle_common::{
    duration::Span,
    mode::MirrorImageMode,
    volume::{Known, Lag, LastSync},
};
use std::time::Duration;

/// Of a time alone.
pub(super) fn plain_sync(at: Timestamp) -> LastSync {
    LastSync {
        at,
        took: None,
        bytes: None,
    }
}

/// Whether this side's own newest mirror snapshot says that no zone is primary (snapshot mode only: journal mode has no
/// such evidence outside the daemon's word).
pub(super) fn demotion_here(m: &Mirrored) -> bool {
    m.snapshots.newest.as_ref().is_some_and(|s| match s.state {
        SnapshotState::PrimaryDemoted => true,
        SnapshotState::NonPrimaryDemoted => s.complete,
        SnapshotState::Primary | SnapshotState::NonPrimary => false,
    })
}

/// Whether the other side is primary, by its own daemon's word.
pub(super) fn peer_primary(view: &ImageView, m: &Mirrored, hints: &Hints) -> Known {
    let Some(peer) = view.peer.as_ref().filter(|p| p.up) else {
        return Known::Unknown;
    };
    match (peer.says(), peer.state) {
        (Says::LocalPrimary, _) => {
            // Right after our own promotion the peer's last word is still its old one (hard case 17: a split brain that
            // is none must not be announced).
            let stale = m.primary
                && match (hints.promoted_at, peer.last_update) {
                    (Some(promoted), Some(said)) => said < after(promoted, CLAIM_MARGIN),
                    (Some(_), None) => true,
                    (None, _) => false,
                };
            if stale { Known::Unknown } else { Known::Yes }
        }
        (
            Says::RemoteDemoted | Says::RemoteNotPrimary | Says::SplitBrain | Says::ResyncRequested,
            _,
        ) => Known::No,
        (
            Says::Other,
            DaemonState::Replaying | DaemonState::Syncing | DaemonState::StartingReplay,
        ) => Known::No,
        (
            Says::Other | Says::RemoteGone,
            DaemonState::Unknown
            | DaemonState::Error
            | DaemonState::StoppingReplay
            | DaemonState::Stopped
            | DaemonState::Replaying
            | DaemonState::Syncing
            | DaemonState::StartingReplay,
        ) => Known::Unknown,
    }
}

/// That much later.
pub(super) fn after(t: Timestamp, d: Duration) -> Timestamp {
    let step = SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
    t.saturating_add(step).unwrap_or(t)
}

/// Whether a promotion would find a whole image here.
pub(super) fn complete_copy(view: &ImageView, m: &Mirrored, hints: &Hints) -> Known {
    match m.mode {
        MirrorImageMode::Snapshot => {
            if m.snapshots.newest_complete.is_some() {
                Known::Yes
            } else {
                Known::No
            }
        }
        MirrorImageMode::Journal => {
            if hints.complete_id.as_ref() == Some(&view.id) {
                return Known::Yes;
            }
            let Some(local) = &view.local else {
                return Known::Unknown;
            };
            match (local.says(), local.state) {
                // It was primary itself, or has replayed up to the end, or has a history of its own.
                (Says::LocalPrimary | Says::RemoteDemoted | Says::SplitBrain, _) => Known::Yes,
                (_, DaemonState::Replaying | DaemonState::StoppingReplay) => Known::Yes,
                (_, DaemonState::Syncing) => Known::No,
                (
                    _,
                    DaemonState::Unknown
                    | DaemonState::Error
                    | DaemonState::StartingReplay
                    | DaemonState::Stopped,
                ) => Known::Unknown,
            }
        }
    }
}

/// A copied snapshot carries the time at which its copying began here; what it shows is older, by as long as the daemon was
/// late. Until the daemon tells the primary's time it is not known.
fn tells_what_it_shows(state: SnapshotState) -> bool {
    match state {
        SnapshotState::Primary | SnapshotState::PrimaryDemoted => true,
        SnapshotState::NonPrimary | SnapshotState::NonPrimaryDemoted => false,
    }
}

/// How far behind the copy is that this daemon makes.
pub(super) fn lag(s: &SiteStatus) -> Lag {
    match s.replay {
        Replay::None => Lag::Unknown,
        Replay::Journal {
            entries_behind: Some(0),
            ..
        } => Lag::None,
        Replay::Journal {
            entries_behind: Some(behind),
            ..
        } => Lag::Entries { behind },
        Replay::Journal {
            entries_behind: None,
            ..
        } => Lag::Unknown,
        Replay::Snapshot { local, remote, .. } => match (local, remote) {
            (Some(l), Some(r)) if l >= r => Lag::None,
            (Some(l), Some(r)) => Lag::Time {
                behind: Span(r.duration_since(l).unsigned_abs()),
            },
            (None, _) | (_, None) => Lag::Unknown,
        },
    }
}

/// How old the newest state is that this copy has.
pub(super) fn copy_sync(
    m: &Mirrored,
    local: Option<&SiteStatus>,
    hints: &Hints,
) -> Option<LastSync> {
    match m.mode {
        MirrorImageMode::Snapshot => match local.map(|l| l.replay) {
            Some(Replay::Snapshot {
                local: Some(at),
                last_took,
                last_bytes,
                ..
            }) => Some(LastSync {
                at,
                took: last_took.map(Span),
                bytes: last_bytes,
            }),
            Some(Replay::Snapshot { local: None, .. } | Replay::Journal { .. } | Replay::None)
            | None => m
                .snapshots
                .newest_complete
                .as_ref()
                .filter(|s| tells_what_it_shows(s.state))
                .map(|s| plain_sync(s.at)),
        },
        MirrorImageMode::Journal => {
            let now = local
                .filter(|l| l.up && lag(l) == Lag::None)
                .and_then(|l| l.last_update);
            now.max(hints.in_step_at).map(plain_sync)
        }
    }
}
