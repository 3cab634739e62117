//! The cases that hurt real systems.

use super::*;

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
            own_history: Some(7),
            now: at(1010),
        };
        let got = verdict(&next(&look, &resync("t"), &context));
        assert_eq!(got, expected, "{promoted:?} {ordered:?}");
    }
}

#[test]
fn hard_case_16_a_safety_copy_is_of_one_incarnation_and_one_split() {
    let look = look_of(VolumeStatus::ErrorSplitBrain);
    let kept_as = |ordered: Option<u64>, own_history| {
        let context = Context {
            generation: ordered.map(Generation),
            own_history,
            ..generation(2)
        };
        match next(&look, &resync("t"), &context) {
            Ok(Step::Resync { keep_as, .. }) => keep_as.map(|s| s.image().to_owned()),
            other => panic!("{other:?}"),
        }
    };
    let name = |split: &str| Some(format!("volume-1.rekindle-safety-{split}-abc"));
    assert_eq!(kept_as(Some(2), None), name("2"));
    assert_eq!(kept_as(None, Some(17)), name("0.17"));
    assert_eq!(kept_as(None, Some(19)), name("0.19"));
    // Not looked at: no name, and so no copy that could be an older one.
    let context = Context {
        generation: None,
        ..generation(2)
    };
    let refused = next(&look, &resync("t"), &context);
    assert!(matches!(refused, Err(Refusal::Internal { .. })));
    // What is discarded needs none.
    let discard = VolumeAction::Resync {
        token: ResyncToken::new("t").unwrap(),
        safety: SafetyCopy::Discard,
    };
    assert_eq!(verdict(&next(&look, &discard, &context)), "resync");
}

#[test]
fn hard_case_19_one_token_discards_one_incarnation_once() {
    let look = look_of(VolumeStatus::ActiveSecondary);
    let with = |token: &str, id: &str| {
        let context = Context {
            last_resync: Some(LastResync {
                given_up: None,
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
        Arc::make_mut(&mut v.metadata)
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
    Arc::make_mut(&mut v.metadata).insert(metadata::MODE.to_owned(), "once".to_owned());
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
        // Nor is a copy given up for a mode that would refuse it then.
        let mirrored = ImageView {
            lineage: v.lineage.clone(),
            ..view_of(VolumeStatus::ActivePrimary)
        };
        for (v, mode) in [
            (v, ReplicationMode::Instant),
            (mirrored, ReplicationMode::Once),
        ] {
            let look = Look::derive(v, &Hints::default(), at(1010));
            let got = next(&look, &replicate(mode), &generation(1));
            assert!(matches!(got, Err(Refusal::HasClones { .. })), "{got:?}");
        }
    }
}

#[test]
fn hard_case_23_a_snapshot_that_was_set_aside_is_a_concern_of_its_volume() {
    let mut v = view(MirrorImageMode::Snapshot, true);
    let concerns = |v: &ImageView| {
        let look = Look::derive(v.clone(), &Hints::default(), at(1010));
        look.concerns
            .into_iter()
            .filter(|c| c.contains("set aside"))
            .collect::<Vec<_>>()
    };
    assert!(concerns(&v).is_empty());
    if let MirrorView::On(m) = &mut v.mirror {
        m.snapshots.torn = vec!["snapshot-1.rekindle-torn-7".to_owned()];
    }
    let told = concerns(&v);
    assert!(
        told[0].contains("promotion: snapshot-1.rekindle-torn-7."),
        "{told:?}"
    );
}
