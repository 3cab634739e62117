//! From rbd-rs' types and errors to the backend's. No decision is made here.

use crate::backend::{
    error::{BackendError, BackendErrorKind, Op, errno},
    view::{DaemonState, MirrorSnapshot, Replay, SiteStatus, SnapshotState, SnapshotSummary},
};
use jiff::Timestamp;
use rbd_rs as rbd;
use rekindle_common::{
    ImageSpec,
    given_up::{Bound, Written},
    mode::MirrorImageMode,
};
use std::time::Duration;

/// Why a call into the library has no result.
pub(super) fn call_error(op: Op, image: Option<&ImageSpec>, e: &rbd::CallError) -> BackendError {
    let new = |kind, text: String| BackendError::new(op, image, kind, text);
    match e {
        rbd::CallError::Failed(e) => error(op, image, e),
        rbd::CallError::TimedOut {
            stage: rbd::TimedOutStage::Running,
            ..
        } => BackendError::deadline(op, image),
        // A want of this process: the cluster may be as well as ever, and nothing was asked of it.
        rbd::CallError::TimedOut {
            stage: rbd::TimedOutStage::Queued,
            ..
        }
        | rbd::CallError::QueueFull { .. }
        | rbd::CallError::Exhausted { .. }
        | rbd::CallError::NoThread { .. } => new(BackendErrorKind::NotBegun, e.to_string()),
        rbd::CallError::Panicked { .. } => new(BackendErrorKind::Other, e.to_string()),
    }
}

/// What was written since the split.
pub(super) fn written(w: rbd::Written) -> Written {
    match w {
        rbd::Written::Measured {
            bytes,
            extents,
            bound,
        } => Written::Measured {
            bytes,
            extents,
            bound: match bound {
                rbd::Bound::Exact => Bound::Exact,
                rbd::Bound::AtMost => Bound::AtMost,
                rbd::Bound::AtLeast => Bound::AtLeast,
            },
        },
        rbd::Written::Unknown { why } => Written::unknown(why),
    }
}

/// What the library answered instead of success.
pub(super) fn error(op: Op, image: Option<&ImageSpec>, e: &rbd::Error) -> BackendError {
    use BackendErrorKind as K;
    use rbd::{BusyReason, Error as E, MirrorScope};
    let kind = match e {
        E::NotFound(_) => K::NotFound,
        E::Exists(_) => K::Exists,
        E::Busy { reason, .. } => match reason {
            BusyReason::PeerPrimaryOrDemotionPending => K::PeerPrimaryOrDemotionPending,
            BusyReason::DaemonHoldsImage | BusyReason::InUse => K::InUse,
        },
        E::NotMirrored { scope, .. } => match scope {
            MirrorScope::Pool => K::PoolNotMirrored,
            MirrorScope::Image => K::NotMirrored,
        },
        E::ReadOnly(_) => K::ReadOnly,
        E::Permission(_) => K::Denied,
        E::TimedOut(_) => K::Deadline,
        E::Blocklisted(_) => K::Blocklisted,
        E::Unreachable(_) => K::Unreachable,
        E::Full(_) => K::Full,
        E::Unsupported(_) | E::MissingFunction { .. } => K::Unsupported,
        E::Reply { .. } => K::Corrupt,
        // What has no name here keeps its errno and its words.
        E::WrongRole { .. }
        | E::Range(_)
        | E::Invalid(_)
        | E::Other(_)
        | E::Text { .. }
        | E::Library { .. } => K::Other,
    };
    BackendError {
        op,
        image: image.cloned(),
        errno: e.errno().map_or(0, i32::saturating_abs),
        kind,
        detail: e.to_string(),
    }
}

/// Not an answer of the library's.
pub(super) fn unreadable(
    op: Op,
    image: Option<&ImageSpec>,
    what: impl Into<String>,
) -> BackendError {
    BackendError::new(op, image, BackendErrorKind::Corrupt, what)
}

pub(super) fn mode(
    op: Op,
    image: Option<&ImageSpec>,
    m: rbd::MirrorMode,
) -> Result<MirrorImageMode, BackendError> {
    match m {
        rbd::MirrorMode::Journal => Ok(MirrorImageMode::Journal),
        rbd::MirrorMode::Snapshot => Ok(MirrorImageMode::Snapshot),
        rbd::MirrorMode::Unrecognised(n) => Err(BackendError::from_errno(
            op,
            image,
            errno::EOPNOTSUPP,
            format!("the image is mirrored in a mode ({n}) that this version does not know"),
        )),
    }
}

pub(super) fn to_mode(m: MirrorImageMode) -> rbd::MirrorMode {
    match m {
        MirrorImageMode::Journal => rbd::MirrorMode::Journal,
        MirrorImageMode::Snapshot => rbd::MirrorMode::Snapshot,
    }
}

fn seconds(s: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(s).ok()?).ok()
}

fn taken(d: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(d)
        .ok()
        .and_then(|d| Timestamp::UNIX_EPOCH.checked_add(d).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The mirror snapshots, oldest first. One in a state that this version does not know counts as not complete, and as held.
pub(super) fn snapshots(all: &[rbd::MirrorSnapshot]) -> SnapshotSummary {
    let known: Vec<MirrorSnapshot> = all
        .iter()
        .filter_map(|s| {
            let (state, own) = match s.state {
                rbd::MirrorSnapshotState::Primary => (SnapshotState::Primary, true),
                rbd::MirrorSnapshotState::PrimaryDemoted => (SnapshotState::PrimaryDemoted, true),
                rbd::MirrorSnapshotState::NonPrimary => (SnapshotState::NonPrimary, false),
                rbd::MirrorSnapshotState::NonPrimaryDemoted => {
                    (SnapshotState::NonPrimaryDemoted, false)
                }
                rbd::MirrorSnapshotState::Unrecognised(_) => return None,
            };
            Some(MirrorSnapshot {
                at: taken(s.snapshot.taken),
                state,
                complete: own || s.complete,
            })
        })
        .collect();
    SnapshotSummary {
        newest: known.last().cloned(),
        newest_complete: known.iter().rev().find(|s| s.complete).cloned(),
        count: u32::try_from(all.len()).unwrap_or(u32::MAX),
        held: held(all),
        torn: Vec::new(),
    }
}

/// The older ones of ours with a peer that still needs them.
fn held(all: &[rbd::MirrorSnapshot]) -> u32 {
    let older = all.split_last().map_or(all, |(_, older)| older);
    let held = older.iter().filter(|s| match s.state {
        rbd::MirrorSnapshotState::Primary
        | rbd::MirrorSnapshotState::PrimaryDemoted
        | rbd::MirrorSnapshotState::Unrecognised(_) => !s.peer_uuids.is_empty(),
        rbd::MirrorSnapshotState::NonPrimary | rbd::MirrorSnapshotState::NonPrimaryDemoted => false,
    });
    u32::try_from(held.count()).unwrap_or(u32::MAX)
}

/// A daemon's account; `None` where it has never given one.
pub(super) fn site(s: &rbd::SiteStatus) -> Option<SiteStatus> {
    let state = match s.state {
        rbd::ReplayState::Unknown => DaemonState::Unknown,
        rbd::ReplayState::Error => DaemonState::Error,
        rbd::ReplayState::Syncing => DaemonState::Syncing,
        rbd::ReplayState::StartingReplay => DaemonState::StartingReplay,
        rbd::ReplayState::Replaying => DaemonState::Replaying,
        rbd::ReplayState::StoppingReplay => DaemonState::StoppingReplay,
        rbd::ReplayState::Stopped => DaemonState::Stopped,
        rbd::ReplayState::Unrecognised(_) => DaemonState::Unknown,
    };
    let last_update = Timestamp::from_second(s.updated)
        .ok()
        .filter(|_| s.updated > 0);
    // librbd's own words, not a daemon's: nothing was ever said.
    if last_update.is_none() || s.description == "status not found" {
        return None;
    }
    Some(SiteStatus {
        up: s.daemon == rbd::DaemonPresence::Up,
        state,
        description: words_alone(&s.description).to_owned(),
        replay: replay(&s.detail),
        last_update,
    })
}

/// The description without the JSON at its end.
fn words_alone(description: &str) -> &str {
    match description.find('{') {
        Some(at) => description[..at].trim_end_matches([',', ' ']),
        None => description.trim_end(),
    }
}

fn replay(detail: &rbd::ReplayDetail) -> Replay {
    match detail {
        rbd::ReplayDetail::Journal(j) => Replay::Journal {
            entries_behind: j.entries_behind_primary,
            bytes_per_second: j.bytes_per_second,
        },
        rbd::ReplayDetail::Snapshot(s) => Replay::Snapshot {
            local: s.local_snapshot_timestamp.and_then(seconds),
            remote: s.remote_snapshot_timestamp.and_then(seconds),
            syncing: s.replay_state == rbd::SnapshotActivity::Syncing,
            percent: s.syncing_percent.and_then(percent),
            last_took: s
                .last_snapshot_sync_seconds
                .and_then(|s| Duration::try_from_secs_f64(s).ok()),
            last_bytes: s.last_snapshot_bytes,
        },
        rbd::ReplayDetail::None | rbd::ReplayDetail::Unreadable(_) => Replay::None,
    }
}

/// Whole percent; nothing outside 0 to 100.
fn percent(p: f64) -> Option<u8> {
    (0..=100_u8)
        .rev()
        .find(|n| p >= f64::from(*n))
        .filter(|_| p <= 100.0)
}

/// This site's account and the other's.
pub(super) fn sites(s: &rbd::ImageStatus) -> (Option<SiteStatus>, Option<SiteStatus>) {
    let local = s.local().and_then(site);
    let peer = s.remotes().filter_map(site).max_by_key(|s| s.last_update);
    (local, peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_was_in_the_library_says_anything_of_the_cluster() {
        use BackendErrorKind::{Deadline, NotBegun, Other};
        let label = || "probe".to_owned();
        let timed_out = |stage| rbd::CallError::TimedOut {
            label: label(),
            deadline: Duration::from_secs(3),
            stage,
        };
        for (error, kind) in [
            (timed_out(rbd::TimedOutStage::Running), Deadline),
            (timed_out(rbd::TimedOutStage::Queued), NotBegun),
            (
                rbd::CallError::QueueFull {
                    label: label(),
                    queued: 1024,
                },
                NotBegun,
            ),
            (
                rbd::CallError::Exhausted {
                    label: label(),
                    lost: 64,
                },
                NotBegun,
            ),
            (
                rbd::CallError::NoThread {
                    label: label(),
                    source: std::io::Error::from_raw_os_error(errno::EAGAIN),
                },
                NotBegun,
            ),
            (
                rbd::CallError::Panicked {
                    label: label(),
                    message: String::new(),
                },
                Other,
            ),
        ] {
            assert_eq!(call_error(Op::Probe, None, &error).kind, kind, "{error}");
        }
    }

    #[test]
    fn the_words_end_where_the_json_begins() {
        assert_eq!(words_alone("replaying, {\"a\":1}"), "replaying");
        assert_eq!(
            words_alone("local image is primary"),
            "local image is primary"
        );
        assert_eq!(words_alone(""), "");
    }

    #[test]
    fn percent_is_whole_and_within_bounds() {
        assert_eq!(percent(0.0), Some(0));
        assert_eq!(percent(41.9), Some(41));
        assert_eq!(percent(100.0), Some(100));
        assert_eq!(percent(101.0), None);
        assert_eq!(percent(-1.0), None);
        assert_eq!(percent(f64::NAN), None);
    }
}
