use super::*;
use crate::backend::view::{MirrorSnapshot, Mirrored, SiteStatus, SnapshotSummary};
use rekindle_common::{duration::Span, schedule::Schedule};
use std::sync::Arc;

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

fn words(local: Option<i64>, remote: Option<i64>, syncing: bool) -> SiteStatus {
    SiteStatus {
        up: true,
        state: DaemonState::Replaying,
        description: "replaying".to_owned(),
        replay: Replay::Snapshot {
            local: local.map(at),
            remote: remote.map(at),
            syncing,
            percent: None,
            last_took: None,
            last_bytes: None,
        },
        last_update: Some(at(100)),
    }
}

/// A primary whose newest snapshot is of second 120.
fn view(held: u32, peer: Option<SiteStatus>) -> ImageView {
    let newest = MirrorSnapshot {
        at: at(120),
        state: SnapshotState::Primary,
        complete: true,
    };
    let policy = VolumePolicy {
        mode: ReplicationMode::Periodic(Schedule {
            start: at(0),
            interval: Span::secs(60),
        }),
        group: None,
    };
    ImageView {
        spec: ImageSpec::new("volumes", "v").unwrap(),
        id: "1".to_owned(),
        size: 1,
        metadata: Arc::new(
            policy
                .to_metadata()
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect(),
        ),
        mirror: MirrorView::On(Mirrored {
            mode: MirrorImageMode::Snapshot,
            primary: true,
            snapshots: SnapshotSummary {
                newest: Some(newest.clone()),
                newest_complete: Some(newest),
                count: held + 1,
                held,
                torn: Vec::new(),
            },
        }),
        lineage: None,
        local: None,
        peer,
    }
}

fn arrived_in(v: &ImageView) -> Known {
    periodic(v).unwrap().arrived
}

#[test]
fn a_copy_that_let_go_of_the_one_before_has_the_newest_whatever_its_old_words_say() {
    for old in [
        words(Some(60), Some(60), false),
        words(Some(60), Some(120), true),
    ] {
        assert_eq!(
            arrived_in(&view(0, Some(old.clone()))),
            Known::Yes,
            "{old:?}"
        );
        assert_ne!(
            arrived_in(&view(1, Some(old.clone()))),
            Known::Yes,
            "{old:?}"
        );
    }
    assert_eq!(
        arrived_in(&view(1, Some(words(Some(60), Some(120), true)))),
        Known::No
    );
    // In words too, and whatever it holds.
    assert_eq!(
        arrived_in(&view(1, Some(words(Some(120), Some(120), false)))),
        Known::Yes
    );
}

#[test]
fn hard_case_24_a_first_copy_has_nothing_to_let_go_of() {
    let syncing = SiteStatus {
        state: DaemonState::Syncing,
        replay: Replay::None,
        ..words(None, None, false)
    };
    // Made anew: what its daemon said of the copy before it stands until it says something else.
    let starting = SiteStatus {
        state: DaemonState::StartingReplay,
        ..words(Some(60), Some(60), false)
    };
    let dead = SiteStatus {
        up: false,
        ..words(Some(60), Some(60), false)
    };
    for peer in [
        None,
        Some(syncing),
        Some(starting),
        Some(dead),
        Some(words(None, None, false)),
    ] {
        let v = view(0, peer);
        assert_eq!(arrived_in(&v), Known::Unknown, "{:?}", v.peer);
    }
}
