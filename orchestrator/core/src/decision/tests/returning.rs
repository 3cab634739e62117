//! A zone is back: what is demoted, resynced or resumed there, and when the group goes home.

use super::*;

#[test]
fn hard_case_16_stale_primaries_are_demoted_and_resynced_after_a_failover_of_ours() {
    for (on_return, asks) in [
        (OnReturn::Stay, false),
        (OnReturn::Return, false),
        (OnReturn::Ask, true),
    ] {
        let mut w = World::after_failover(2);
        w.policy().on_return = on_return;
        if asks {
            assert!(matches!(
                asked(&w),
                Ask::Approve {
                    kind: PlanKind::Reprotect,
                    ..
                }
            ));
            w.approve(Approved::Reprotect, 2);
        }
        let plan = begun(&w);
        assert_eq!(plan.kind, PlanKind::Reprotect);
        let names: Vec<_> = plan.steps.iter().map(|s| s.step.name()).collect();
        assert_eq!(
            names,
            [
                "demote",
                "stop_application",
                "resync",
                "await_replay",
                "mark_protected"
            ]
        );
    }
}

#[test]
fn hard_case_17_a_split_brain_that_is_not_ours_is_never_resynced_by_itself() {
    let mut w = World::after_failover(2);
    w.policy().on_return = OnReturn::Stay;
    w.view().state.last_failover = None;
    assert_eq!(
        asked(&w),
        Ask::SplitBrain {
            volumes: vec![volume(0), volume(1)]
        }
    );
    assert!(matches!(
        plan_for(&w.snapshot, &group(), &Request::Reprotect, plan_id()),
        Err(Refusal::Ask(Ask::SplitBrain { .. }))
    ));
    // The sidecar of the zone that is not recorded demotes one: it has diverged all the same.
    let copies = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    copies[0].role = Role::Secondary;
    copies[0].status = VolumeStatus::ErrorSplitBrain;
    assert_eq!(
        asked(&w),
        Ask::SplitBrain {
            volumes: vec![volume(0), volume(1)]
        }
    );
}

#[test]
fn hard_case_14_images_demoted_by_hand_are_named_not_promoted() {
    let mut w = World::healthy(2);
    w.each_copy("zone-a", |v| v.role = Role::Secondary);
    assert!(matches!(asked(&w), Ask::NoPrimaryImages { volumes, .. } if volumes.len() == 2));
    let plan = plan_for(&w.snapshot, &group(), &Request::Resume, plan_id()).unwrap();
    assert_eq!(plan.kind, PlanKind::Resume);
}

#[test]
fn a_zone_back_from_isolation_goes_on() {
    let mut w = World::healthy(2);
    w.each_copy("zone-a", |v| v.role = Role::Secondary);
    w.lease_view(
        "zone-a",
        LeaseView::Isolated {
            generation: Generation(1),
        },
    );
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(3),
    };
    let plan = begun(&w);
    assert_eq!(plan.kind, PlanKind::Resume);
    let names: Vec<_> = plan.steps.iter().map(|s| s.step.name()).collect();
    assert_eq!(names, ["take_lease", "promote", "start_application"]);
}

#[test]
fn hard_case_56_unprotected_is_said_until_it_is_over() {
    let mut w = World::after_failover(1);
    w.each_copy("zone-a", |v| {
        v.role = Role::Secondary;
        v.status = VolumeStatus::PendingFirstSync;
        v.complete_copy = Known::No;
    });
    assert!(matches!(held(&w), Hold::Syncing { behind: 1 }));
    w.each_copy("zone-a", |v| {
        v.status = VolumeStatus::ActiveSecondary;
        v.complete_copy = Known::Yes;
    });
    assert_eq!(decided(&w), Decision::MarkProtection { unprotected: None });
}

/// For some seconds it says that it starts, and then that the copies have diverged.
#[test]
fn hard_case_16_a_daemon_that_starts_has_not_said_yet_that_a_copy_follows() {
    let mut w = World::after_failover(2);
    w.policy().on_return = OnReturn::Stay;
    let starting = |v: &mut VolumeReport| {
        v.role = Role::Secondary;
        v.status = VolumeStatus::ActiveUpdating;
        v.complete_copy = Known::Yes;
        v.lag = Lag::Unknown;
    };
    w.each_copy("zone-a", starting);
    assert!(matches!(held(&w), Hold::Syncing { behind: 2 }));
    let in_step = |w: &mut World| {
        let copies = &w.view().volumes[&zone("zone-a")];
        copies.iter().all(VolumeReport::is_in_step)
    };
    assert!(!in_step(&mut w));
    // Nor is a plan made while one is so and the other has said it.
    w.view().volumes.get_mut(&zone("zone-a")).unwrap()[0].status = VolumeStatus::ErrorSplitBrain;
    assert!(matches!(held(&w), Hold::Syncing { .. }));
    // They turn out to have diverged, and it is still known by what.
    w.each_copy("zone-a", |v| v.status = VolumeStatus::ErrorSplitBrain);
    assert_eq!(begun(&w).kind, PlanKind::Reprotect);
    // A journal or a mirror snapshot that is being replayed is told with its lag: nothing more is waited for.
    for lag in [
        Lag::Entries { behind: 200_000 },
        Lag::Time {
            behind: Span::secs(3600),
        },
    ] {
        w.each_copy("zone-a", |v| {
            v.status = VolumeStatus::ActiveUpdating;
            v.lag = lag;
        });
        assert!(in_step(&mut w));
        assert_eq!(decided(&w), Decision::MarkProtection { unprotected: None });
    }
    // On a working day a daemon that is started anew takes nothing away.
    w.view().state.unprotected = None;
    w.each_copy("zone-a", starting);
    assert_eq!(held(&w), Hold::AllWell);
}

#[test]
fn hard_case_29_a_copy_that_follows_nothing_protects_nothing() {
    for status in [
        VolumeStatus::PendingPromotion,
        VolumeStatus::ErrorMirrorDown,
        VolumeStatus::ErrorMirroring,
        VolumeStatus::ErrorUnknown,
    ] {
        let mut w = World::after_failover(2);
        w.each_copy("zone-a", |v| {
            v.role = Role::Secondary;
            v.status = status;
            v.complete_copy = Known::Yes;
        });
        assert!(matches!(held(&w), Hold::Syncing { behind: 2 }), "{status}");
    }
}

#[test]
fn hard_case_16_a_reprotect_waits_until_every_copy_has_said_what_it_is() {
    let mut w = World::after_failover(2);
    w.policy().on_return = OnReturn::Stay;
    let mut states = |first: (Role, VolumeStatus), second: (Role, VolumeStatus)| {
        for (v, (role, status)) in w
            .view()
            .volumes
            .get_mut(&zone("zone-a"))
            .unwrap()
            .iter_mut()
            .zip([first, second])
        {
            (v.role, v.status, v.complete_copy) = (role, status, Known::Yes);
        }
        decided(&w)
    };
    let split = (Role::Secondary, VolumeStatus::ErrorSplitBrain);
    let unseen = (Role::Secondary, VolumeStatus::ErrorMirrorDown);
    let demoted = (Role::Secondary, VolumeStatus::PendingPromotion);
    let stale = (Role::Primary, VolumeStatus::ErrorSplitBrain);
    for (first, second) in [(split, unseen), (stale, demoted), (unseen, split)] {
        let decision = states(first, second);
        let waits = matches!(
            decision,
            Decision::Hold {
                why: Hold::Syncing { .. }
            }
        );
        assert!(waits, "{first:?} {second:?}: {decision:?}");
    }
    for (first, second) in [(split, split), (stale, split), (stale, stale)] {
        let Decision::Begin { plan } = states(first, second) else {
            panic!("{first:?} {second:?}")
        };
        let resynced = plan.steps.iter().find_map(|s| match &s.step {
            Step::Resync { volumes, .. } => Some(volumes.len()),
            _ => None,
        });
        assert_eq!(resynced, Some(2));
    }
}

/// The others are made anew without it. Which sides it is of does not matter, but that two zones say primary is never passed over for it.
#[test]
fn hard_case_20_a_reprotect_goes_on_without_a_volume_whose_policy_cannot_be_read() {
    let spoilt = VolumeStatus::ErrorUnknown;
    for (z, role, resynced) in [
        ("zone-a", Role::Secondary, 2),
        ("zone-b", Role::Primary, 2),
        ("zone-a", Role::Primary, 3),
    ] {
        let mut w = World::after_failover(3);
        w.policy().on_return = OnReturn::Stay;
        w.each_copy("zone-a", |v| {
            (v.role, v.status) = (Role::Secondary, VolumeStatus::ErrorSplitBrain);
        });
        let v = &mut w.view().volumes.get_mut(&zone(z)).unwrap()[1];
        (v.role, v.status) = (role, spoilt);
        let plan = begun(&w);
        let anew = plan.steps.iter().find_map(|s| match &s.step {
            Step::Resync { volumes, .. } => Some(volumes.len()),
            _ => None,
        });
        assert_eq!(anew, Some(resynced), "{z} {role:?}");
        assert_eq!(plan.left_out.len(), 3 - resynced, "{z} {role:?}");
    }
}

#[test]
fn return_brings_it_home_only_when_protected() {
    let mut w = World::after_failover(1);
    w.policy().on_return = OnReturn::Return;
    w.view()
        .volumes
        .insert(zone("zone-a"), vec![copy("zone-a", 0)]);
    w.view().state.unprotected = None;
    let plan = begun(&w);
    assert_eq!(
        (plan.kind, plan.to.clone()),
        (PlanKind::Failback, zone("zone-a"))
    );
    w.policy().on_return = OnReturn::Stay;
    assert_eq!(held(&w), Hold::AllWell);
}
