mod cinders;
mod groups;
mod hard_cases;
mod properties;

use super::*;
use crate::backend::view::{
    DaemonState, ImageView, Lineage, MirrorSnapshot, MirrorView, Mirrored, Replay, SiteStatus,
    SnapshotState, SnapshotSummary,
};
use jiff::Timestamp;
use proptest::prelude::*;
use rekindle_common::{
    DemotionToken, Generation, ResyncToken,
    action::{Effect, FromCinder, Promotion, SafetyCopy, VolumeAction},
    deletion::{After, Deletion, OnDelete},
    duration::Span,
    error::ErrorCode,
    facts::CinderFacts,
    metadata::{self, VolumePolicy},
    mode::{MirrorImageMode, ReplicationMode},
    schedule::Schedule,
    status::VolumeStatus,
    volume::{Known, Lag, Role},
};
use std::sync::Arc;

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

fn site(state: DaemonState, description: &str) -> SiteStatus {
    SiteStatus {
        up: true,
        state,
        description: description.to_owned(),
        replay: Replay::None,
        last_update: Some(at(1000)),
    }
}

fn journal(behind: u64) -> SiteStatus {
    SiteStatus {
        replay: Replay::Journal {
            entries_behind: Some(behind),
            bytes_per_second: None,
        },
        ..site(DaemonState::Replaying, "replaying")
    }
}

fn primary_says() -> SiteStatus {
    site(DaemonState::Stopped, "local image is primary")
}

fn view(mode: MirrorImageMode, primary: bool) -> ImageView {
    let policy = VolumePolicy {
        mode: match mode {
            MirrorImageMode::Journal => ReplicationMode::Instant,
            MirrorImageMode::Snapshot => ReplicationMode::Once,
        },
        group: Some("db".parse().unwrap()),
    };
    ImageView {
        spec: "volumes/volume-1".parse().unwrap(),
        id: "abc".to_owned(),
        size: 1 << 30,
        metadata: Arc::new(
            policy
                .to_metadata()
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect(),
        ),
        mirror: MirrorView::On(Mirrored {
            mode,
            primary,
            snapshots: SnapshotSummary::default(),
        }),
        lineage: Some(Lineage::default()),
        local: None,
        peer: None,
    }
}

fn with_snapshot(mut v: ImageView, state: SnapshotState, complete: bool) -> ImageView {
    if let MirrorView::On(m) = &mut v.mirror {
        let s = MirrorSnapshot {
            at: at(900),
            state,
            complete,
        };
        m.snapshots = SnapshotSummary {
            newest_complete: complete.then(|| s.clone()),
            newest: Some(s),
            count: 1,
            held: 0,
            torn: Vec::new(),
        };
    }
    v
}

/// One view for every status, as Ceph shows it.
fn view_of(status: VolumeStatus) -> ImageView {
    use MirrorImageMode::{Journal, Snapshot};
    use VolumeStatus as S;
    let copy = |local, peer| ImageView {
        local,
        peer,
        ..view(Journal, false)
    };
    match status {
        S::ActivePrimary => ImageView {
            local: Some(primary_says()),
            peer: Some(journal(0)),
            ..view(Journal, true)
        },
        S::ActiveSecondary => copy(Some(journal(0)), Some(primary_says())),
        S::ActiveUpdating => copy(Some(journal(7)), Some(primary_says())),
        S::PendingFirstSync => copy(
            Some(site(DaemonState::Syncing, "bootstrapping, IMAGE_SYNC")),
            Some(primary_says()),
        ),
        S::PendingPromotion => copy(
            Some(site(DaemonState::Unknown, "remote image demoted")),
            Some(site(DaemonState::Unknown, "remote image is not primary")),
        ),
        S::PendingDemotion => copy(
            Some(journal(3)),
            Some(site(DaemonState::Unknown, "remote image is not primary")),
        ),
        S::PendingResync => copy(Some(journal(0)), Some(primary_says())),
        S::ErrorSplitBrain => copy(
            Some(site(DaemonState::Error, "split-brain detected")),
            Some(primary_says()),
        ),
        S::ErrorNotMirrored => ImageView {
            mirror: MirrorView::Off,
            ..view(Journal, false)
        },
        S::ErrorMirrorDown => ImageView {
            local: Some(SiteStatus {
                up: false,
                ..site(DaemonState::Replaying, "replaying")
            }),
            ..with_snapshot(view(Snapshot, false), SnapshotState::NonPrimary, true)
        },
        S::ErrorMirroring => copy(
            Some(site(DaemonState::Error, "failed to open remote image")),
            Some(primary_says()),
        ),
        S::ErrorOrphan => copy(
            Some(site(DaemonState::Error, "remote image no longer exists")),
            None,
        ),
        S::ErrorUnknown => unreachable!("no view leads to it: the cluster did not answer"),
    }
}

fn hints_of(status: VolumeStatus) -> Hints {
    Hints {
        resync_id: (status == VolumeStatus::PendingResync).then(|| "abc".to_owned()),
        complete_id: Some("abc".to_owned())
            .filter(|_| !matches!(status, VolumeStatus::PendingFirstSync)),
        ..Hints::default()
    }
}

fn look_of(status: VolumeStatus) -> Look {
    let mut hints = hints_of(status);
    if status == VolumeStatus::PendingFirstSync {
        hints.complete_id = None;
    }
    Look::derive(view_of(status), &hints, at(1010))
}

fn forced() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "zone lost".to_owned(),
            accept_torn: false,
        },
    }
}
const PLAIN: VolumeAction = VolumeAction::Promote {
    promotion: Promotion::Plain,
};
fn resync(token: &str) -> VolumeAction {
    VolumeAction::Resync {
        token: ResyncToken::new(token).unwrap(),
        safety: SafetyCopy::Keep,
    }
}
fn replicate(mode: ReplicationMode) -> VolumeAction {
    VolumeAction::Replicate {
        mode,
        group: Some("db".parse().unwrap()),
        leave_group: false,
        anew: false,
        cinder: None,
    }
}
fn facts(size_gib: u64) -> CinderFacts {
    CinderFacts::from_metadata(&format!(
        r#"{{"zone":"zone-a","id":"1","project_id":"p","size_gib":{size_gib}}}"#
    ))
    .unwrap()
}
fn described(size_gib: u64) -> VolumeAction {
    VolumeAction::Describe {
        facts: Box::new(facts(size_gib)),
    }
}
fn generation(n: u64) -> Context {
    Context {
        generation: Some(Generation(n)),
        promoted_here: Some(Generation(1)),
        last_resync: None,
        own_history: None,
        now: at(1010),
    }
}

fn all_but_unknown() -> impl Iterator<Item = VolumeStatus> {
    VolumeStatus::ALL
        .into_iter()
        .filter(|s| *s != VolumeStatus::ErrorUnknown)
}

#[test]
fn every_status_is_derived_from_what_ceph_shows() {
    for status in all_but_unknown() {
        assert_eq!(look_of(status).status, status, "{:?}", look_of(status));
    }
}

/// One word for a verdict.
fn verdict(result: &Result<Step, Refusal>) -> String {
    match result {
        Ok(Step::AlreadySo) => "already".to_owned(),
        Ok(Step::Enable { .. }) => "enable".to_owned(),
        Ok(Step::SetPolicy { snapshot, .. }) => if *snapshot {
            "policy+snapshot"
        } else {
            "policy"
        }
        .to_owned(),
        Ok(Step::Disable { .. }) => "disable".to_owned(),
        Ok(Step::Promote(Promote::Plain)) => "plain".to_owned(),
        Ok(Step::Promote(Promote::PlainElseForce { .. })) => "plain-else-force".to_owned(),
        Ok(Step::Promote(Promote::Force { .. })) => "force".to_owned(),
        Ok(Step::Promote(Promote::After { .. })) => "after".to_owned(),
        Ok(Step::Demote { .. }) => "demote".to_owned(),
        Ok(Step::Resync { .. }) => "resync".to_owned(),
        Err(r) => ReplicationError::from(r.clone()).code().to_string(),
    }
}

/// Every (state, action), to be read by an operator.
#[test]
fn the_table_of_every_state_and_action() {
    let table = "
status                     replicate        unreplicate     promote          promote-forced         demote          resync           describe       mark-deleted   undelete
active - primary           already          disable         already          already                demote          is_primary       policy         policy         already
active - secondary         not_primary      not_primary     plain            force                  already         resync           not_primary    not_primary    not_primary
active - updating          not_primary      not_primary     plain            force                  already         resync           not_primary    not_primary    not_primary
pending - first sync       not_primary      not_primary     no_complete_copy no_complete_copy       already         resync           not_primary    not_primary    not_primary
pending - promotion        not_primary      not_primary     plain            plain-else-force       already         peer_not_primary not_primary    not_primary    not_primary
pending - demotion         not_primary      not_primary     plain            demotion_not_replayed  already         peer_not_primary not_primary    not_primary    not_primary
pending - resync           not_primary      not_primary     no_complete_copy no_complete_copy       already         already          not_primary    not_primary    not_primary
error - split brain        not_primary      not_primary     split_brain      split_brain            already         resync           not_primary    not_primary    not_primary
error - not mirrored       enable           disable         not_replicated   not_replicated         not_replicated  not_replicated   not_replicated not_replicated not_replicated
error - mirror daemon down not_primary      not_primary     plain            force                  already         peer_not_primary not_primary    not_primary    not_primary
error - mirroring          not_primary      not_primary     plain            force                  already         resync           not_primary    not_primary    not_primary
error - orphan             not_primary      not_primary     plain            force                  already         peer_not_primary not_primary    not_primary    not_primary
";
    let mut rows = table.trim().lines();
    rows.next();
    let mut seen = 0;
    for row in rows {
        let (status, rest) = row.split_at(27);
        let status: VolumeStatus = status.trim().parse().unwrap();
        let look = look_of(status);
        let actions = [
            replicate(ReplicationMode::Instant),
            VolumeAction::Unreplicate,
            PLAIN,
            forced(),
            VolumeAction::Demote { token: None },
            resync("t1"),
            described(3),
            VolumeAction::MarkDeleted {
                then: After::Delete {
                    after: Span::secs(60),
                },
            },
            VolumeAction::Undelete,
        ];
        for (action, expected) in actions.iter().zip(rest.split_whitespace()) {
            let got = verdict(&next(&look, action, &generation(2)));
            assert_eq!(got, expected, "{status}: {}", action.name());
            seen += 1;
        }
    }
    assert_eq!(seen, 12 * 9);
}

#[test]
fn replicate_changes_what_can_change_in_place_and_says_why_not_otherwise() {
    let schedule = |secs| {
        ReplicationMode::Periodic(Schedule {
            start: at(0),
            interval: Span::secs(secs),
        })
    };
    let journal = look_of(VolumeStatus::ActivePrimary);
    let snapshot = Look::derive(
        view(MirrorImageMode::Snapshot, true),
        &Hints::default(),
        at(1010),
    );
    for (look, mode, expected) in [
        (&journal, ReplicationMode::Instant, "already"),
        (&journal, ReplicationMode::Once, "invalid_field"),
        (&journal, schedule(60), "invalid_field"),
        (&snapshot, ReplicationMode::Instant, "invalid_field"),
        (&snapshot, ReplicationMode::Once, "policy+snapshot"),
        (&snapshot, schedule(60), "policy+snapshot"),
        (&snapshot, schedule(0), "invalid_field"),
        (&snapshot, schedule(366 * 86_400), "invalid_field"),
    ] {
        let got = next(look, &replicate(mode), &generation(1));
        assert_eq!(verdict(&got), expected, "{mode}");
    }
    let bad = next(&snapshot, &replicate(schedule(0)), &generation(1)).unwrap_err();
    let api: rekindle_common::ApiError = bad.into();
    assert_eq!(api.field.as_deref(), Some("action.interval"));
    // To a smaller policy: keys that are no longer used go.
    let mut v = view(MirrorImageMode::Snapshot, true);
    Arc::make_mut(&mut v.metadata).insert(metadata::START.to_owned(), at(0).to_string());
    let look = Look::derive(v, &Hints::default(), at(1010));
    let Ok(Step::SetPolicy { remove, .. }) =
        next(&look, &replicate(ReplicationMode::Once), &generation(1))
    else {
        panic!("no policy step")
    };
    assert_eq!(remove, [metadata::START]);
}

#[test]
fn a_policy_that_cannot_be_read_is_a_concern_and_no_guess() {
    let mut v = view_of(VolumeStatus::ActivePrimary);
    Arc::make_mut(&mut v.metadata).insert(metadata::MODE.to_owned(), "hourly".to_owned());
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert_eq!(look.policy, None);
    assert!(look.concerns[0].contains("hourly"));
}

#[test]
fn hard_case_27_lag_and_last_sync_come_from_what_the_daemon_says() {
    let mut v = with_snapshot(
        view(MirrorImageMode::Snapshot, false),
        SnapshotState::NonPrimary,
        true,
    );
    v.peer = Some(primary_says());
    v.local = Some(SiteStatus {
        replay: Replay::Snapshot {
            local: Some(at(800)),
            remote: Some(at(860)),
            syncing: true,
            percent: Some(10),
            last_took: Some(std::time::Duration::from_secs(2)),
            last_bytes: Some(4096),
        },
        ..site(DaemonState::Replaying, "replaying")
    });
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert_eq!(look.status, VolumeStatus::ActiveUpdating);
    assert_eq!(
        look.lag,
        Lag::Time {
            behind: Span::secs(60)
        }
    );
    let sync = look.last_sync.unwrap();
    assert_eq!((sync.at, sync.bytes), (at(800), Some(4096)));
    assert_eq!(sync.took, Some(Span::secs(2)));
}

/// Seen on real Ceph: 2 s of records were missing that the copy's own snapshot time promised.
#[test]
fn hard_case_25_the_time_of_a_copied_snapshot_is_not_the_time_that_it_shows() {
    let shows = |state| {
        let mut v = with_snapshot(view(MirrorImageMode::Snapshot, false), state, true);
        v.local = Some(site(DaemonState::Replaying, "replaying"));
        let look = Look::derive(v, &Hints::default(), at(1010));
        assert_eq!(look.complete_copy, Known::Yes);
        look.last_sync.map(|s| s.at)
    };
    assert_eq!(shows(SnapshotState::NonPrimary), None);
    assert_eq!(shows(SnapshotState::NonPrimaryDemoted), None);
    // What was taken here shows what was here.
    assert_eq!(shows(SnapshotState::PrimaryDemoted), Some(at(900)));
}

/// Its daemon's word, that it replays and nothing is missing, may be of before the other zone's promotion.
#[test]
fn a_zone_that_demoted_is_in_step_once_a_snapshot_of_the_others_is_here() {
    let says = |state| {
        let mut v = with_snapshot(view(MirrorImageMode::Snapshot, false), state, true);
        v.peer = Some(primary_says());
        v.local = Some(SiteStatus {
            replay: Replay::Snapshot {
                local: Some(at(900)),
                remote: Some(at(900)),
                syncing: false,
                percent: None,
                last_took: None,
                last_bytes: None,
            },
            ..site(DaemonState::Replaying, "replaying")
        });
        Look::derive(v, &Hints::default(), at(1010)).status
    };
    let (before, behind) = (VolumeStatus::ActiveUpdating, VolumeStatus::ActiveSecondary);
    assert_eq!(says(SnapshotState::PrimaryDemoted), before);
    assert_eq!(says(SnapshotState::NonPrimaryDemoted), before);
    assert_eq!(says(SnapshotState::NonPrimary), behind);
}

#[test]
fn every_refusal_has_a_code_and_a_message_and_none_is_a_fault_of_ours_by_accident() {
    for status in all_but_unknown() {
        let look = look_of(status);
        for action in [
            PLAIN,
            forced(),
            VolumeAction::Demote { token: None },
            resync("t"),
            VolumeAction::Unreplicate,
        ] {
            if let Err(r) = next(&look, &action, &generation(2)) {
                let api: rekindle_common::ApiError = r.into();
                assert_ne!(api.code, ErrorCode::Internal, "{status} {}", action.name());
                assert!(!api.message.is_empty());
            }
        }
    }
}

#[test]
fn a_step_that_the_image_does_not_show_is_not_confirmed() {
    let look = look_of(VolumeStatus::ActiveSecondary);
    assert_eq!(
        confirm(&Step::Demote { token: None }, "demote", &look),
        Ok(Effect::Done)
    );
    assert!(confirm(&Step::Promote(Promote::Plain), "promote", &look).is_err());
}
