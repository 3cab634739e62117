//! What holds whatever is seen.

use super::*;

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
