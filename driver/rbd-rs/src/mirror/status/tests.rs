//! The descriptions are those that Ceph 16.2.15 gave.

use super::*;

fn site(state: u32, description: &str) -> SiteStatus {
    SiteStatus {
        site: Site::Local,
        daemon: DaemonPresence::Up,
        state: ReplayState::from_c(state),
        detail: ReplayDetail::parse(description),
        description: description.to_owned(),
        updated: 0,
    }
}

#[test]
fn a_journal_replay_is_read() {
    let status = site(
        4,
        r#"replaying, {"bytes_per_second":17.5,"entries_behind_primary":3,"entries_per_second":0.2,"non_primary_position":{"entry_tid":3,"object_number":3,"tag_tid":1},"primary_position":{"entry_tid":6,"object_number":2,"tag_tid":1},"seconds_until_synced":15}"#,
    );
    assert_eq!(status.word(), "up+replaying");
    let ReplayDetail::Journal(journal) = &status.detail else {
        panic!("{:?}", status.detail);
    };
    assert_eq!(journal.entries_behind_primary, Some(3));
    assert_eq!(journal.bytes_per_second, Some(17.5));
    assert_eq!(journal.seconds_until_synced, Some(15));
    let at = journal.primary_position.unwrap();
    assert_eq!((at.tag_tid, at.entry_tid, at.object_number), (1, 6, 2));
}

#[test]
fn a_journal_replay_that_knows_no_positions_yet_is_read() {
    let detail = ReplayDetail::parse(
        r#"replaying, {"bytes_per_second":0,"entries_behind_primary":0,"entries_per_second":0,"non_primary_position":{},"primary_position":{}}"#,
    );
    let ReplayDetail::Journal(journal) = detail else {
        panic!("{detail:?}")
    };
    assert_eq!(journal.entries_behind_primary, Some(0));
    assert_eq!(
        (journal.primary_position, journal.non_primary_position),
        (None, None)
    );
}

#[test]
fn an_idle_snapshot_replay_is_read() {
    let detail = ReplayDetail::parse(
        r#"replaying, {"bytes_per_second":0.0,"bytes_per_snapshot":0.0,"last_snapshot_bytes":0,"last_snapshot_sync_seconds":0,"local_snapshot_timestamp":1795467086,"remote_snapshot_timestamp":1795467086,"replay_state":"idle"}"#,
    );
    let ReplayDetail::Snapshot(snapshot) = detail else {
        panic!("{detail:?}")
    };
    assert_eq!(snapshot.replay_state, SnapshotActivity::Idle);
    assert_eq!(snapshot.local_snapshot_timestamp, Some(1_795_467_086));
    assert_eq!(snapshot.remote_snapshot_timestamp, Some(1_795_467_086));
    assert_eq!(snapshot.last_snapshot_bytes, Some(0));
    assert_eq!(snapshot.syncing_percent, None);
}

#[test]
fn a_syncing_snapshot_replay_is_read() {
    let detail = ReplayDetail::parse(
        r#"replaying, {"bytes_per_second":8388608.0,"bytes_per_snapshot":0.0,"remote_snapshot_timestamp":1795467090,"replay_state":"syncing","syncing_percent":45,"syncing_snapshot_timestamp":1795467090,"seconds_until_synced":2}"#,
    );
    let ReplayDetail::Snapshot(snapshot) = detail else {
        panic!("{detail:?}")
    };
    assert_eq!(snapshot.replay_state, SnapshotActivity::Syncing);
    assert_eq!(snapshot.syncing_percent, Some(45.0));
    // Nothing is whole here yet: no promotion (hard case 24).
    assert_eq!(snapshot.local_snapshot_timestamp, None);
}

#[test]
fn a_new_word_for_the_activity_is_kept() {
    let detail = ReplayDetail::parse(r#"replaying, {"replay_state":"pondering"}"#);
    let ReplayDetail::Snapshot(snapshot) = detail else {
        panic!("{detail:?}")
    };
    assert_eq!(
        snapshot.replay_state,
        SnapshotActivity::Unrecognised("pondering".to_owned())
    );
}

#[test]
fn words_without_figures_have_no_detail() {
    assert_eq!(site(6, "local image is primary").detail, ReplayDetail::None);
    assert_eq!(site(6, "").detail, ReplayDetail::None);
}

#[test]
fn what_cannot_be_read_says_so_and_is_not_idle() {
    for text in [
        r#"replaying, {"replay_state":"#,
        r#"replaying, {"entries_behind_primary":-4}"#,
        r#"replaying, {"entries_behind_primary":"many"}"#,
        r#"replaying, {"something":1}"#,
        "replaying, {}",
    ] {
        let detail = ReplayDetail::parse(text);
        assert!(
            matches!(detail, ReplayDetail::Unreadable(_)),
            "{text}: {detail:?}"
        );
    }
}

#[test]
fn a_state_of_a_later_ceph_is_kept() {
    let status = site(42, "");
    assert_eq!(status.state, ReplayState::Unrecognised(42));
    assert_eq!(status.word(), "up+state_42");
}

#[test]
fn hard_case_16_a_split_brain_is_told_from_other_errors() {
    assert!(site(1, "split-brain").is_split_brain());
    assert!(site(1, "split-brain detected").is_split_brain());
    assert!(!site(1, "failed to open image").is_split_brain());
    assert!(!site(4, "split-brain").is_split_brain());
}
