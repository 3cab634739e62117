mod cinders;

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
        metadata: policy
            .to_metadata()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
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
fn hard_case_16_both_primary_is_split_brain_and_neither_is_touched_by_policy() {
    let v = ImageView {
        local: Some(primary_says()),
        peer: Some(primary_says()),
        ..view(MirrorImageMode::Journal, true)
    };
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert_eq!(look.status, VolumeStatus::ErrorSplitBrain);
    let say = |a: &VolumeAction| verdict(&next(&look, a, &generation(2)));
    assert_eq!(say(&replicate(ReplicationMode::Instant)), "split_brain");
    assert_eq!(say(&VolumeAction::Unreplicate), "split_brain");
    assert_eq!(say(&VolumeAction::Demote { token: None }), "demote");
    assert_eq!(say(&resync("t")), "is_primary");
}

#[test]
fn hard_case_17_the_peers_old_word_right_after_our_promotion_is_no_split_brain() {
    let v = ImageView {
        peer: Some(primary_says()),
        ..view(MirrorImageMode::Journal, true)
    };
    let with = |promoted: i64| {
        let hints = Hints {
            promoted_at: Some(at(promoted)),
            ..Hints::default()
        };
        Look::derive(v.clone(), &hints, at(1010)).status
    };
    // Said at 1000. Promoted at 999: within the margin, so it may be the old word.
    assert_eq!(with(999), VolumeStatus::ActivePrimary);
    assert_eq!(with(1010), VolumeStatus::ActivePrimary);
    // Promoted long before: the peer says it now.
    assert_eq!(with(900), VolumeStatus::ErrorSplitBrain);
}

#[test]
fn hard_case_18_a_resync_needs_a_peer_that_says_primary_now() {
    let secondary = |peer| ImageView {
        peer,
        ..view_of(VolumeStatus::ErrorSplitBrain)
    };
    for (peer, expected) in [
        (Some(primary_says()), "resync"),
        (None, "peer_not_primary"),
        (
            Some(SiteStatus {
                up: false,
                ..primary_says()
            }),
            "peer_not_primary",
        ),
        (
            Some(site(DaemonState::Unknown, "remote image demoted")),
            "peer_not_primary",
        ),
        (Some(journal(0)), "peer_not_primary"),
        // Its word is not of now.
        (
            Some(SiteStatus {
                last_update: Some(at(800)),
                ..primary_says()
            }),
            "peer_not_primary",
        ),
    ] {
        let look = Look::derive(secondary(peer.clone()), &Hints::default(), at(1010));
        let got = verdict(&next(&look, &resync("t"), &generation(2)));
        assert_eq!(got, expected, "{peer:?}");
    }
}

#[test]
fn hard_case_17_a_resync_discards_only_what_an_older_generation_wrote() {
    let look = look_of(VolumeStatus::ErrorSplitBrain);
    for (promoted, ordered, expected) in [
        (Some(1), Some(2), "resync"),
        (Some(2), Some(2), "stale_generation"),
        (Some(3), Some(2), "stale_generation"),
        (None, Some(2), "resync"),
        // A volume in no group has no generation: by hand.
        (Some(3), None, "resync"),
    ] {
        let context = Context {
            generation: ordered.map(Generation),
            promoted_here: promoted.map(Generation),
            last_resync: None,
            now: at(1010),
        };
        let got = verdict(&next(&look, &resync("t"), &context));
        assert_eq!(got, expected, "{promoted:?} {ordered:?}");
    }
}

#[test]
fn hard_case_19_one_token_discards_one_incarnation_once() {
    let look = look_of(VolumeStatus::ActiveSecondary);
    let with = |token: &str, id: &str| {
        let context = Context {
            last_resync: Some(LastResync {
                token: ResyncToken::new("t1").unwrap(),
                image_id: id.to_owned(),
            }),
            ..generation(2)
        };
        verdict(&next(&look, &resync(token), &context))
    };
    // Made anew since: asking again must not wipe the fresh image.
    assert_eq!(with("t1", "older"), "already");
    // Recorded, and the image is still the same one: it crashed in between, so it is begun again.
    assert_eq!(with("t1", "abc"), "resync");
    // Another plan's.
    assert_eq!(with("t2", "older"), "resync");
}

/// A daemon that died before it said anything of a new copy leaves no word that could be `down`.
#[test]
fn hard_case_29_a_copy_that_no_daemon_speaks_of_is_not_updating_for_ever() {
    let mut hints = Hints::default();
    let mut look_at = |second: i64, local: Option<SiteStatus>| {
        let mut v = view_of(VolumeStatus::ActiveSecondary);
        v.local = local;
        let look = Look::derive(v, &hints, at(second));
        look.remember(&mut hints, at(second));
        look.status
    };
    let said = view_of(VolumeStatus::ActiveSecondary).local;
    assert_ne!(look_at(1000, None), VolumeStatus::ErrorMirrorDown);
    assert_ne!(look_at(1059, None), VolumeStatus::ErrorMirrorDown);
    assert_eq!(look_at(1060, None), VolumeStatus::ErrorMirrorDown);
    assert_eq!(look_at(1061, said), VolumeStatus::ActiveSecondary);
    assert_ne!(look_at(1062, None), VolumeStatus::ErrorMirrorDown);
}

#[test]
fn hard_case_57_a_demotion_goes_by_its_name() {
    let token = |s: &str| DemotionToken::new(s).unwrap();
    let named = |status, name: Option<&str>| {
        let mut v = view_of(status);
        v.metadata
            .extend(name.map(|n| (metadata::DEMOTION_TOKEN.to_owned(), n.to_owned())));
        Look::derive(v, &Hints::default(), at(1010))
    };
    let demote = |name: Option<&str>, token: Option<DemotionToken>| {
        let look = named(VolumeStatus::PendingPromotion, name);
        verdict(&next(
            &look,
            &VolumeAction::Demote { token },
            &generation(2),
        ))
    };
    assert_eq!(demote(Some("p1"), Some(token("p1"))), "already");
    assert_eq!(demote(Some("p1"), Some(token("p2"))), "demoted_otherwise");
    assert_eq!(demote(None, Some(token("p2"))), "demoted_otherwise");
    assert_eq!(demote(Some("p1"), None), "already");
    let primary = named(VolumeStatus::ActivePrimary, Some("p1"));
    let action = VolumeAction::Demote {
        token: Some(token("p2")),
    };
    assert_eq!(
        next(&primary, &action, &generation(2)),
        Ok(Step::Demote {
            token: Some(token("p2"))
        })
    );
    // A name is asked for as a plain promotion is, and what forbids that one forbids this.
    for status in all_but_unknown() {
        let say = |promotion: Promotion| {
            let action = VolumeAction::Promote { promotion };
            verdict(&next(&look_of(status), &action, &generation(2)))
        };
        let plain = say(Promotion::Plain).replace("plain", "after");
        assert_eq!(
            say(Promotion::After { token: token("p1") }),
            plain,
            "{status}"
        );
    }
    // Not ours: it equals no name.
    assert_eq!(
        named(VolumeStatus::PendingPromotion, Some("a b")).demotion,
        None
    );
}

#[test]
fn hard_case_21_a_demotion_on_its_way_is_waited_for_and_never_forced() {
    let look = look_of(VolumeStatus::PendingDemotion);
    assert_eq!(plain_refused(&look), Refusal::DemotionNotReplayed);
    assert_eq!(
        next(&look, &forced(), &generation(2)),
        Err(Refusal::DemotionNotReplayed)
    );
    assert!(ReplicationError::from(Refusal::DemotionNotReplayed).retryable());
    // The other zone's daemon is gone: what has not arrived will not, and force may be ordered.
    let mut v = view_of(VolumeStatus::PendingDemotion);
    v.peer = v.peer.map(|p| SiteStatus { up: false, ..p });
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert_eq!(verdict(&next(&look, &forced(), &generation(2))), "force");
}

#[test]
fn a_plain_promotion_that_librbd_refuses_says_which() {
    let peer = |peer| {
        let v = ImageView {
            peer,
            ..view_of(VolumeStatus::ActiveSecondary)
        };
        plain_refused(&Look::derive(v, &Hints::default(), at(1010)))
    };
    assert_eq!(
        peer(Some(primary_says())),
        Refusal::ForceRequired {
            peer_primary: Known::Yes
        }
    );
    assert_eq!(
        peer(None),
        Refusal::ForceRequired {
            peer_primary: Known::Unknown
        }
    );
}

#[test]
fn hard_case_24_without_a_complete_copy_nothing_is_promoted_by_any_means() {
    for v in [
        view_of(VolumeStatus::PendingFirstSync),
        with_snapshot(
            view(MirrorImageMode::Snapshot, false),
            SnapshotState::NonPrimary,
            false,
        ),
        view(MirrorImageMode::Snapshot, false),
        // Journal mode, and the daemon never said anything.
        view(MirrorImageMode::Journal, false),
    ] {
        let look = Look::derive(v, &Hints::default(), at(1010));
        assert_ne!(look.complete_copy, Known::Yes);
        let got = next(&look, &forced(), &generation(2));
        assert!(
            matches!(got, Err(Refusal::NoCompleteCopy { .. })),
            "{got:?}"
        );
    }
}

#[test]
fn hard_case_24_a_copy_once_seen_complete_stays_so_when_its_daemon_is_silent() {
    let v = view(MirrorImageMode::Journal, false);
    let mut hints = Hints::default();
    let seen = Look::derive(
        ImageView {
            local: Some(journal(0)),
            ..v.clone()
        },
        &hints,
        at(1010),
    );
    seen.remember(&mut hints, at(1010));
    assert_eq!(
        Look::derive(v.clone(), &hints, at(1010)).complete_copy,
        Known::Yes
    );
    // Made anew since: another image.
    let anew = ImageView {
        id: "def".to_owned(),
        ..v
    };
    assert_eq!(
        Look::derive(anew, &hints, at(1010)).complete_copy,
        Known::Unknown
    );
}

#[test]
fn hard_case_36_policy_without_mirroring_is_seen_and_replicate_mends_it() {
    let look = look_of(VolumeStatus::ErrorNotMirrored);
    assert_eq!(look.role, Role::NotMirrored);
    assert!(!look.concerns.is_empty());
    let got = next(&look, &replicate(ReplicationMode::Instant), &generation(1));
    assert_eq!(verdict(&got), "enable");
    // Somebody changed the mode underneath.
    let mut v = view_of(VolumeStatus::ActivePrimary);
    v.metadata
        .insert(metadata::MODE.to_owned(), "once".to_owned());
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert!(
        look.concerns
            .iter()
            .any(|c| c.contains("mirrored by journal"))
    );
}

#[test]
fn hard_case_37_clones_and_their_parents_are_refused() {
    for (parent, children) in [(Some("images/base@snap"), 0), (None, 2)] {
        let v = ImageView {
            lineage: Some(Lineage {
                parent: parent.map(str::to_owned),
                children,
                snapshots: 0,
            }),
            ..view_of(VolumeStatus::ErrorNotMirrored)
        };
        let look = Look::derive(v, &Hints::default(), at(1010));
        let got = next(&look, &replicate(ReplicationMode::Instant), &generation(1));
        assert!(matches!(got, Err(Refusal::HasClones { .. })), "{got:?}");
    }
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
    v.metadata
        .insert(metadata::START.to_owned(), at(0).to_string());
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
    v.metadata
        .insert(metadata::MODE.to_owned(), "hourly".to_owned());
    let look = Look::derive(v, &Hints::default(), at(1010));
    assert_eq!(look.policy, None);
    assert!(look.concerns[0].contains("hourly"));
}

#[test]
fn lag_and_last_sync_come_from_what_the_daemon_says() {
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

fn any_site() -> impl Strategy<Value = Option<SiteStatus>> {
    let state = prop_oneof![
        Just(DaemonState::Unknown),
        Just(DaemonState::Error),
        Just(DaemonState::Syncing),
        Just(DaemonState::StartingReplay),
        Just(DaemonState::Replaying),
        Just(DaemonState::StoppingReplay),
        Just(DaemonState::Stopped),
    ];
    let words = prop_oneof![
        Just("local image is primary"),
        Just("remote image demoted"),
        Just("remote image is not primary"),
        Just("split-brain detected"),
        Just("remote image no longer exists"),
        Just("replaying"),
        Just(""),
    ];
    let behind = prop_oneof![Just(None), Just(Some(0)), Just(Some(9))];
    proptest::option::of((state, words, any::<bool>(), behind).prop_map(
        |(state, words, up, entries_behind)| SiteStatus {
            up,
            replay: Replay::Journal {
                entries_behind,
                bytes_per_second: None,
            },
            ..site(state, words)
        },
    ))
}

fn any_view() -> impl Strategy<Value = ImageView> {
    let mode = prop_oneof![
        Just(MirrorImageMode::Journal),
        Just(MirrorImageMode::Snapshot)
    ];
    let snapshot = proptest::option::of((
        prop_oneof![
            Just(SnapshotState::Primary),
            Just(SnapshotState::PrimaryDemoted),
            Just(SnapshotState::NonPrimary),
            Just(SnapshotState::NonPrimaryDemoted),
        ],
        any::<bool>(),
    ));
    (
        mode,
        any::<bool>(),
        any::<bool>(),
        snapshot,
        any_site(),
        any_site(),
    )
        .prop_map(|(mode, on, primary, snapshot, local, peer)| {
            let mut v = view(mode, primary);
            if let Some((state, complete)) = snapshot
                && mode == MirrorImageMode::Snapshot
            {
                v = with_snapshot(v, state, complete);
            }
            if !on {
                v.mirror = MirrorView::Off;
            }
            ImageView { local, peer, ..v }
        })
}

proptest! {
    /// Whatever Ceph shows: no status is made up, and the rules that guard data hold.
    #[test]
    fn whatever_is_seen_the_guards_hold(v in any_view(), remembered in any::<bool>()) {
        let hints = Hints { complete_id: remembered.then(|| "abc".to_owned()), ..Hints::default() };
        let look = Look::derive(v.clone(), &hints, at(1010));
        prop_assert_ne!(look.status, VolumeStatus::ErrorUnknown);
        prop_assert_eq!(look.role == Role::Primary, matches!(&v.mirror, MirrorView::On(m) if m.primary));
        let context = generation(2);
        // Nothing is forced that was not ordered to be.
        if let Ok(Step::Promote(how)) = next(&look, &PLAIN, &context) {
            prop_assert_eq!(how, Promote::Plain);
        }
        // Force needs a complete copy, beyond doubt.
        if let Ok(Step::Promote(_)) = next(&look, &forced(), &context) {
            prop_assert_eq!(look.complete_copy, Known::Yes);
        }
        // A resync needs a copy here and a live primary there.
        if let Ok(Step::Resync { .. }) = next(&look, &resync("t"), &context) {
            prop_assert_eq!(look.role, Role::Secondary);
            let peer = v.peer.clone().unwrap();
            prop_assert!(peer.up && peer.description == "local image is primary");
        }
        // Replication comes off only where it is primary, or where it is off already.
        if let Ok(Step::Disable { mirrored: true }) = next(&look, &VolumeAction::Unreplicate, &context) {
            prop_assert_eq!(look.role, Role::Primary);
        }
        // A primary can always be demoted.
        if look.role == Role::Primary {
            prop_assert_eq!(next(&look, &VolumeAction::Demote { token: None }, &context), Ok(Step::Demote { token: None }));
        }
    }

    /// Looking at it again says the same.
    #[test]
    fn looking_is_repeatable(v in any_view()) {
        let mut hints = Hints::default();
        let first = Look::derive(v.clone(), &hints, at(1010));
        first.remember(&mut hints, at(1010));
        let mut again = Look::derive(v, &hints, at(1010));
        // What is remembered may fill in what was unknown, never change what was known.
        again.last_sync = first.last_sync;
        if first.complete_copy == Known::Unknown { again.complete_copy = Known::Unknown; }
        prop_assert_eq!(first.status, again.status);
        prop_assert_eq!(first.complete_copy, again.complete_copy);
    }
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
