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

/// Zone B took over without volume 2: no complete copy of it was there.
fn left_one_behind() -> World {
    let mut w = World::after_failover(3);
    w.policy().on_return = OnReturn::Stay;
    let v = &mut w.view().volumes.get_mut(&zone("zone-b")).unwrap()[2];
    (v.role, v.status) = (Role::Secondary, VolumeStatus::PendingFirstSync);
    v.complete_copy = Known::No;
    w
}

fn asks_for_the_one(w: &World) {
    assert_eq!(
        asked(w),
        Ask::NoPrimaryImages {
            zone: zone("zone-b"),
            volumes: vec![volume(2)]
        }
    );
}

#[test]
fn hard_case_20_what_a_failover_left_behind_keeps_no_other_from_being_protected() {
    let mut w = left_one_behind();
    // Its whole data is on the other side: nothing of it is discarded there.
    let plan = begun(&w);
    assert_eq!(plan.kind, PlanKind::Reprotect);
    let of = |wanted: &str| {
        plan.steps.iter().find_map(|s| match &s.step {
            Step::Demote { volumes, .. }
            | Step::Resync { volumes, .. }
            | Step::AwaitReplay { volumes, .. }
                if s.step.name() == wanted =>
            {
                Some(volumes.clone())
            }
            _ => None,
        })
    };
    for name in ["demote", "resync", "await_replay"] {
        assert_eq!(of(name), Some(vec![volume(0), volume(1)]), "{name}");
    }
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].volume, volume(2));
    assert_eq!(plan.left_out[0].why, "is not primary in zone-b");
    // What else waits for a person is said as ever.
    w.policy().on_return = OnReturn::Ask;
    let kind = PlanKind::Reprotect;
    assert!(matches!(asked(&w), Ask::Approve { kind: k, .. } if k == kind));
    w.view().state.last_failover = None;
    let diverged = vec![volume(0), volume(1)];
    assert_eq!(asked(&w), Ask::SplitBrain { volumes: diverged });
}

/// The mark says that the failover was ours. Were it taken off, what is left could be mended by nobody.
#[test]
fn hard_case_56_a_group_is_not_protected_while_one_of_it_is_left_behind() {
    let mut w = left_one_behind();
    let follow = |v: &mut VolumeReport| {
        (v.role, v.status) = (Role::Secondary, VolumeStatus::ActiveSecondary);
    };
    w.each_copy("zone-a", follow);
    let stale = |w: &mut World| {
        let v = &mut w.view().volumes.get_mut(&zone("zone-a")).unwrap()[2];
        (v.role, v.status) = (Role::Primary, VolumeStatus::ActivePrimary);
    };
    stale(&mut w);
    asks_for_the_one(&w);
    w.approve(Approved::Reprotect, 2);
    assert!(!outlived(&w.snapshot, &group()));
    // Nor where the others still catch up, or the other zone is away.
    w.each_copy("zone-a", |v| v.status = VolumeStatus::ErrorMirrorDown);
    asks_for_the_one(&w);
    w.each_copy("zone-a", follow);
    w.view().state.unprotected = None;
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Down, Signal::Down, 3600);
    }
    let marks = matches!(
        decided(&w),
        Decision::MarkProtection {
            unprotected: Some(_)
        }
    );
    assert!(marks, "{:?}", decided(&w));
    // And it does not go home, nor is anybody asked for a yes to that.
    for on_return in [OnReturn::Return, OnReturn::Ask] {
        let mut w = left_one_behind();
        w.policy().on_return = on_return;
        w.each_copy("zone-a", follow);
        stale(&mut w);
        w.view().state.unprotected = None;
        asks_for_the_one(&w);
        w.approve(Approved::Failback, 2);
        asks_for_the_one(&w);
    }
}

#[test]
fn a_move_names_a_volume_that_is_not_primary_once() {
    for role in [Role::Secondary, Role::Primary] {
        let mut w = left_one_behind();
        w.each_copy("zone-a", |v| {
            (v.role, v.status) = (Role::Secondary, VolumeStatus::ActiveSecondary);
        });
        w.view().volumes.get_mut(&zone("zone-a")).unwrap()[2].role = role;
        let refused = plan_for(&w.snapshot, &group(), &Request::Failback, plan_id());
        let why = vec![format!("{} is not primary in zone-b", volume(2))];
        assert_eq!(refused, Err(Refusal::NotInStep(why)));
    }
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
