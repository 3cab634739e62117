use super::*;
use crate::fixture::{World, copy, group, lease, now, plan_id, volume, zone};
use crate::observation::Signal;
use crate::plan::{PlanKind, Proof, Step};
use crate::skew::Skew;
use crate::snapshot::{Approved, LossAccepted, Vouch};
use proptest::prelude::*;
use rekindle_common::{
    action::Promotion,
    duration::Span,
    policy::{IsolationResponse, OnReturn},
    status::VolumeStatus,
    volume::{Known, LastSync, Role},
};

fn decided(w: &World) -> Decision {
    decide(&w.snapshot, &group(), plan_id()).unwrap()
}
fn begun(w: &World) -> Plan {
    match decided(w) {
        Decision::Begin { plan } => *plan,
        other => panic!("not begun: {other:?}"),
    }
}
fn held(w: &World) -> Hold {
    match decided(w) {
        Decision::Hold { why } => why,
        other => panic!("not held: {other:?}"),
    }
}
fn asked(w: &World) -> Ask {
    match decided(w) {
        Decision::AskOperator { why } => why,
        other => panic!("not asked: {other:?}"),
    }
}
const VOUCHED: Approved = Approved::Failover {
    vouch: Vouch::CannotWrite,
    loss: LossAccepted::WithinLimit,
};
const ACCEPTED: Approved = Approved::Failover {
    vouch: Vouch::No,
    loss: LossAccepted::Any,
};

#[test]
fn a_healthy_group_is_left_alone() {
    assert_eq!(held(&World::healthy(3)), Hold::AllWell);
}

/// Of two sidecars one takes orders, and the other may hold the lease.
#[test]
fn a_zone_holds_its_lease_where_etcd_says_so_and_its_sidecar_stands_by() {
    let mut w = World::healthy(3);
    w.lease_view("zone-a", LeaseView::NotHeld);
    assert_eq!(held(&w), Hold::AllWell);
    let unclear = Hold::PrimaryUnclear {
        zone: zone("zone-a"),
    };
    for other in [
        lease("zone-a", 7, IsolationResponse::Demote),
        lease("zone-b", 1, IsolationResponse::Demote),
    ] {
        w.view().lease = LeaseSight::Held(other);
        assert_eq!(held(&w), unclear);
    }
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(0),
    };
    assert_eq!(held(&w), unclear);
}

#[test]
fn a_lost_zone_is_failed_over_once_the_lease_and_the_margin_are_over() {
    let mut w = World::healthy(3);
    w.kill_a(60, 5);
    assert_eq!(
        held(&w),
        Hold::MarginRunning {
            left: Span::secs(15)
        }
    );
    w.kill_a(60, 20);
    let plan = begun(&w);
    assert_eq!(plan.kind, PlanKind::Failover);
    assert_eq!(
        plan.proof,
        Some(Proof::LeaseExpired {
            margin: Span::secs(20)
        })
    );
    let names: Vec<_> = plan.steps.iter().map(|s| s.step.name()).collect();
    let expect = [
        "await_lease_end",
        "record_primary",
        "take_lease",
        "mark_unprotected",
        "promote",
        "start_application",
    ];
    assert_eq!(names, expect);
}

#[test]
fn a_lease_that_is_still_renewed_forbids_everything() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
    w.approve(VOUCHED, 1);
    assert!(matches!(held(&w), Hold::LeaseStillHeld { .. }));
}

mod lost_ceph;
mod old_words;

#[test]
fn hard_case_31_without_proof_a_person_is_asked() {
    for response in [IsolationResponse::Freeze, IsolationResponse::Keep] {
        let mut w = World::healthy(1);
        w.kill_a(3600, 3600);
        w.view()
            .state
            .last_lease
            .as_mut()
            .unwrap()
            .isolation_response = response;
        assert!(matches!(asked(&w), Ask::NoProof { .. }), "{response:?}");
        w.approve(VOUCHED, 1);
        assert!(matches!(begun(&w).proof, Some(Proof::Vouched { .. })));
    }
}

#[test]
fn a_policy_that_no_longer_demotes_is_no_proof_though_the_lease_says_so() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.policy().isolation_response = IsolationResponse::Keep;
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
}

#[test]
fn a_lease_of_another_generation_proves_nothing() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.view().state.last_lease.as_mut().unwrap().generation = Generation(0);
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
    w.view().state.last_lease = None;
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
}

#[test]
fn a_fence_agent_is_the_proof_where_the_lease_is_none() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.view().state.last_lease = None;
    w.policy().fence_agent = Some("power".to_owned());
    let plan = begun(&w);
    assert!(matches!(&plan.steps[0].step, Step::Fence { agent, .. } if agent == "power"));
}

#[test]
fn hard_case_21_a_demoted_and_replayed_volume_is_promoted_plainly() {
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    w.each_copy("zone-b", |v| v.status = VolumeStatus::PendingPromotion);
    let plan = begun(&w);
    assert!(matches!(plan.proof, Some(Proof::LeaseExpired { .. })));
    let promotes = plan.steps.iter().find_map(|s| match &s.step {
        Step::Promote { volumes, .. } => Some(volumes),
        _ => None,
    });
    assert!(
        promotes
            .unwrap()
            .iter()
            .all(|v| v.promotion == Promotion::Plain)
    );
}

/// The sidecar alone died, and its lease with it: nobody demoted, and the zone's writers go on.
#[test]
fn hard_case_01_a_lease_that_was_gone_before_its_zone_is_no_proof() {
    let mut w = World::healthy(2);
    w.kill_a(60, 61);
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
    w.policy().fence_agent = Some("power".to_owned());
    assert!(matches!(begun(&w).proof, Some(Proof::FenceAgent { .. })));
    // Nor by hand, while the zone's storage answers; a person's word for the fence goes on.
    let mut w = World::healthy(2);
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Down, 3600);
    }
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(3000),
    };
    let by_hand = |w: &World| plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
    assert!(
        matches!(by_hand(&w), Err(Refusal::Ask(Ask::NoProof { .. }))),
        "{:?}",
        by_hand(&w)
    );
    w.approve(VOUCHED, 1);
    assert!(by_hand(&w).is_ok());
}

/// Copies that were demoted in a move home and have not begun to follow say the same as copies that a demotion has reached.
#[test]
fn hard_case_57_copies_that_look_demoted_do_not_shorten_the_margin() {
    let mut w = World::healthy(2);
    w.kill_a(3600, 1);
    w.each_copy("zone-b", |v| v.status = VolumeStatus::PendingPromotion);
    assert!(matches!(held(&w), Hold::MarginRunning { .. }));
}

#[test]
fn hard_case_20_force_is_decided_volume_by_volume() {
    let mut w = World::healthy(4);
    w.kill_a(3600, 3600);
    let copies = w.view().volumes.get_mut(&zone("zone-b")).unwrap();
    copies[1].status = VolumeStatus::PendingPromotion;
    copies[2].complete_copy = Known::No;
    copies[3].role = Role::NotMirrored;
    let plan = begun(&w);
    let promotes = plan.steps.iter().find_map(|s| match &s.step {
        Step::Promote { volumes, .. } => Some(volumes.clone()),
        _ => None,
    });
    let promotes = promotes.unwrap();
    assert_eq!(promotes.len(), 2);
    assert!(matches!(promotes[0].promotion, Promotion::Forced { .. }));
    assert_eq!(promotes[1].promotion, Promotion::Plain);
    assert_eq!(plan.left_out.len(), 2, "hard case 24: {:?}", plan.left_out);
}

#[test]
fn hard_case_24_a_group_without_any_complete_copy_is_not_promoted() {
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    w.each_copy("zone-b", |v| v.complete_copy = Known::No);
    assert!(matches!(asked(&w), Ask::NothingToPromote { why } if why.len() == 2));
    // Nor one whose copies are being made anew, whatever their sidecar can still tell of the old ones.
    w.each_copy("zone-b", |v| {
        v.complete_copy = Known::Unknown;
        v.status = VolumeStatus::PendingResync;
    });
    assert!(matches!(asked(&w), Ask::NothingToPromote { why } if why.len() == 2));
}

#[test]
fn hard_case_25_a_loss_beyond_the_limit_is_asked_with_its_figure() {
    let mut w = World::healthy(2);
    w.kill_a(60, 50);
    w.policy().rpo_limit = Some(Span::secs(300));
    w.each_copy("zone-b", |v| {
        v.mode = Some(rekindle_common::mode::ReplicationMode::Periodic(
            rekindle_common::schedule::Schedule {
                start: now(),
                interval: Span::secs(900),
            },
        ));
        v.last_sync = now()
            .checked_sub(jiff::SignedDuration::from_secs(60 + 600))
            .ok()
            .map(|at| LastSync {
                at,
                took: None,
                bytes: None,
            });
    });
    let ask = Ask::BeyondRpo {
        volume: volume(1),
        loss: Some(Span::secs(600)),
        limit: Span::secs(300),
    };
    assert_eq!(asked(&w), ask);
    w.approve(ACCEPTED, 1);
    assert_eq!(begun(&w).expected_loss[0].up_to, Some(Span::secs(600)));
    // An unknown loss is beyond any limit.
    w.view().approval = None;
    w.each_copy("zone-b", |v| v.last_sync = None);
    assert!(matches!(asked(&w), Ask::BeyondRpo { loss: None, .. }));
}

#[test]
fn hard_case_12_a_loss_within_the_limit_only_by_a_skewed_clock_is_asked() {
    let seconds = jiff::SignedDuration::from_secs;
    let mut w = World::healthy(1);
    w.kill_a(60, 50);
    w.policy().rpo_limit = Some(Span::secs(300));
    // Its copy is of 100 s before the loss.
    w.each_copy("zone-b", |v| {
        v.last_sync = Some(LastSync {
            at: now() - seconds(160),
            took: None,
            bytes: None,
        });
    });
    let clock = |w: &mut World, z: &str, ahead: i64| {
        let skew = Skew::measured(now() + seconds(ahead), now(), now());
        w.snapshot.clocks.insert(zone(z), skew);
    };
    let ask = |z: &str, ahead: Option<u64>| Ask::ClockSkew {
        volume: volume(0),
        loss: Span::secs(100),
        limit: Span::secs(300),
        zone: zone(z),
        ahead: ahead.map(Span::secs),
    };
    // A clock that is behind makes the figure too large: nothing is hidden.
    for ahead in [0, 200, -5000] {
        clock(&mut w, "zone-a", ahead);
        begun(&w);
    }
    clock(&mut w, "zone-a", 201);
    assert_eq!(asked(&w), ask("zone-a", Some(201)));
    assert!(asked(&w).to_string().contains("may be 3m 21s ahead"));
    clock(&mut w, "zone-a", 0);
    clock(&mut w, "zone-b", 201);
    assert_eq!(asked(&w), ask("zone-b", Some(201)));
    clock(&mut w, "zone-b", 0);
    // A clock that was never seen proves nothing.
    w.snapshot.clocks.remove(&zone("zone-a"));
    assert_eq!(asked(&w), ask("zone-a", None));
    // A person may accept it, and without a limit nobody has asked for the figure.
    w.approve(ACCEPTED, 1);
    begun(&w);
    w.view().approval = None;
    w.policy().rpo_limit = None;
    begun(&w);
}

#[test]
fn hard_case_07_a_second_failover_within_the_blocking_period_is_asked() {
    let mut w = World::after_failover(1);
    // Zone A became primary again meanwhile, then was lost.
    w.view().primary.as_mut().unwrap().zone = zone("zone-a");
    w.view()
        .volumes
        .insert(zone("zone-b"), vec![copy("zone-b", 0)]);
    w.kill_a(3600, 3600);
    w.view().state.last_lease = Some(crate::snapshot::LastLease {
        zone: zone("zone-a"),
        generation: Generation(2),
        isolation_response: IsolationResponse::Demote,
    });
    assert!(matches!(asked(&w), Ask::Blocked { .. }));
    w.view().state.last_failover.as_mut().unwrap().acknowledged = true;
    assert_eq!(begun(&w).kind, PlanKind::Failover);
}

#[test]
fn hard_case_08_one_plan_at_a_time_and_none_in_maintenance() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.snapshot.maintenance = Some("new switches".to_owned());
    assert!(matches!(held(&w), Hold::Maintenance { .. }));
    w.view().active_plan = Some(plan_id());
    assert!(matches!(held(&w), Hold::PlanActive { .. }));
}

#[test]
fn approved_mode_waits_for_an_approval_of_this_generation() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.policy().failover = FailoverMode::Approved;
    assert!(matches!(
        asked(&w),
        Ask::Approve {
            kind: PlanKind::Failover,
            ..
        }
    ));
    w.approve(ACCEPTED, 7);
    assert!(
        matches!(asked(&w), Ask::Approve { .. }),
        "an approval for another generation was used"
    );
    w.approve(ACCEPTED, 1);
    assert_eq!(begun(&w).kind, PlanKind::Failover);
}

#[test]
fn a_promise_to_an_isolated_zone_is_kept() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    w.snapshot.promised_for = Some(Span::secs(3));
    assert_eq!(
        held(&w),
        Hold::Promised {
            left: Span::secs(3)
        }
    );
}

#[test]
fn the_zone_that_takes_over_must_be_well() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    for s in ["zone-b", "witness"] {
        w.sees(s, "zone-b", Signal::Down, Signal::Up, 3600);
    }
    assert!(matches!(asked(&w), Ask::TargetNotReady { .. }));
}

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

#[test]
fn hard_case_57_a_move_is_refused_while_a_copy_is_incomplete() {
    let mut w = World::healthy(2);
    let to_b = Request::Move { to: zone("zone-b") };
    assert!(plan_for(&w.snapshot, &group(), &to_b, plan_id()).is_ok());
    w.view().volumes.get_mut(&zone("zone-b")).unwrap()[1].complete_copy = Known::No;
    assert!(
        matches!(plan_for(&w.snapshot, &group(), &to_b, plan_id()), Err(Refusal::NotInStep(v)) if v.len() == 1)
    );
    w.view().volumes.get_mut(&zone("zone-b")).unwrap().pop();
    assert!(matches!(
        plan_for(&w.snapshot, &group(), &to_b, plan_id()),
        Err(Refusal::NotInStep(_))
    ));
}

#[test]
fn hard_case_15_a_planned_action_needs_both_zones() {
    let mut w = World::healthy(1);
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-b", Signal::Down, Signal::Up, 10);
    }
    let to_b = Request::Move { to: zone("zone-b") };
    assert!(matches!(
        plan_for(&w.snapshot, &group(), &to_b, plan_id()),
        Err(Refusal::ZoneNotWell { .. })
    ));
    let home = plan_for(&w.snapshot, &group(), &Request::Failback, plan_id());
    assert_eq!(home, Err(Refusal::AlreadyThere(zone("zone-a"))));
}

proptest! {
    /// Whatever the sites see and the lease does: nothing is begun that promotes elsewhere while the lease is there, before
    /// the margin, or without a majority.
    #[test]
    fn a_failover_always_has_its_proof(
        lost in 0u64..120, gone in prop::option::of(0u64..60), witness_sees in any::<bool>(), response in 0u8..3, vouched in any::<bool>(),
    ) {
        let mut w = World::healthy(2);
        w.kill_a(lost, gone.unwrap_or(0));
        if gone.is_none() {
            w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
        }
        if witness_sees {
            w.sees("witness", "zone-a", Signal::Up, Signal::Up, 100);
        }
        let response = [IsolationResponse::Demote, IsolationResponse::Freeze, IsolationResponse::Keep][usize::from(response)];
        w.view().state.last_lease.as_mut().unwrap().isolation_response = response;
        if vouched {
            w.approve(VOUCHED, 1);
        }
        if let Decision::Begin { plan } = decided(&w) {
            prop_assert_eq!(plan.kind, PlanKind::Failover);
            prop_assert!(gone.is_some());
            match plan.proof.unwrap() {
                Proof::LeaseExpired { .. } => {
                    prop_assert!(gone.unwrap() >= 20 && response == IsolationResponse::Demote);
                    prop_assert!(lost >= 30 && !witness_sees);
                    prop_assert!(gone.unwrap() <= lost, "the lease was gone before the zone was");
                }
                Proof::Vouched { .. } => prop_assert!(vouched),
                Proof::FenceAgent { .. } => prop_assert!(false, "no such proof here"),
            }
        }
    }
}

/// A sidecar that died alone: its zone is there, its lease is not, and nobody demoted.
fn ended_alone(gone: u64) -> World {
    let mut w = World::healthy(2);
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Down, 600);
    }
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(gone),
    };
    w
}

fn forgotten(w: &World) -> bool {
    forget_lease(&w.snapshot, &group())
}

#[test]
fn a_lease_that_ended_while_its_zone_is_there_is_forgotten() {
    let mut w = ended_alone(3600);
    assert!(forgotten(&w));
    // What is lost takes its lease with it, and is seen to be lost by a majority. One that alone does not reach it is no such sign: were
    // the other links cut after this, a later leader would take the lease's end for a demotion.
    w.sees("witness", "zone-a", Signal::Down, Signal::Down, 600);
    assert!(forgotten(&w));
    w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 600);
    assert!(
        !forgotten(&w),
        "what its own site says is the last that it said"
    );
    let mut w = World::healthy(2);
    assert!(!forgotten(&w), "it is held");
    w.kill_a(3600, 3600);
    assert!(!forgotten(&w), "it is proof");
    // What was forgotten is no proof, whenever the zone is lost and whoever counts from when.
    w.view().state.last_lease = None;
    w.kill_a(3600, 60);
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
    // One that comes back is remembered.
    let mut w = World::healthy(2);
    w.view().state.last_lease = None;
    let again = remember_lease(&w.snapshot, &group()).unwrap();
    assert_eq!(again.isolation_response, IsolationResponse::Demote);
}

/// A later leader counts from its own first look: had it to be gone for the hold-off first, a zone that was cut off within that would be taken over while it writes.
#[test]
fn hard_case_01_a_lease_that_ended_alone_is_forgotten_at_the_first_look_without_it() {
    assert!(forgotten(&ended_alone(0)), "30s, renewed every 5s");
    // A cut that takes a lease with it is seen 10 s after it at the latest: a short lease may end before that.
    let short = |gone, ttl, renew_every| {
        let mut w = ended_alone(gone);
        w.policy().lease.ttl = Span::secs(ttl);
        w.policy().lease.renew_every = Span::secs(renew_every);
        w
    };
    assert!(forgotten(&short(0, 15, 5)));
    assert!(!forgotten(&short(3, 7, 1)));
    assert!(forgotten(&short(4, 7, 1)));
    // And it never takes longer than the hold-off.
    let mut w = short(2, 7, 1);
    w.policy().hold_off = Span::secs(2);
    assert!(forgotten(&w));
    // Whatever else is seen of a zone that is there.
    for signals in [(Signal::Up, Signal::Up), (Signal::Down, Signal::Up)] {
        let mut w = ended_alone(0);
        for s in ["zone-a", "zone-b", "witness"] {
            w.sees(s, "zone-a", signals.0, signals.1, 600);
        }
        assert!(forgotten(&w), "{signals:?}");
    }
}

/// Were it forgotten, and its key back before anybody sees whether the Ceph takes writes again, it would be taken for that of one who demotes.
#[test]
fn hard_case_31_what_was_wrong_with_a_holder_is_still_known_when_its_lease_ended_alone() {
    for response in [IsolationResponse::Keep, IsolationResponse::Freeze] {
        let mut w = ended_alone(3600);
        let last = w.view().state.last_lease.as_mut().unwrap();
        last.isolation_response = response;
        assert!(!forgotten(&w), "{response:?}");
    }
    let mut w = ended_alone(3600);
    let last = w.view().state.last_lease.as_mut().unwrap();
    last.isolation_response = IsolationResponse::Keep;
    w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
    assert_eq!(remember_lease(&w.snapshot, &group()), None);
}

/// A frozen sidecar refuses every order. That is said before anything is recorded, and what to do about it.
#[test]
fn a_frozen_zone_is_named_before_a_plan_is_made() {
    let freeze = |w: &mut World, z: &str| {
        let report = w.snapshot.zones.get_mut(&zone(z)).unwrap();
        report.frozen = Some(rekindle_common::zone::Freeze {
            reason: "new disks".to_owned(),
            since: now(),
        });
    };
    let says = |e: &Refusal, z: &str| {
        let text = e.to_string();
        matches!(e, Refusal::Ask(Ask::Frozen { .. }))
            && text.contains("new disks")
            && text.contains(&format!("rekindle thaw {z}"))
    };
    // A failover, by itself and by hand, with its proof.
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    begun(&w);
    freeze(&mut w, "zone-b");
    assert!(matches!(asked(&w), Ask::Frozen { .. }));
    let refused = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
    assert!(says(&refused.unwrap_err(), "zone-b"));
    // A move, to or from it.
    for z in ["zone-a", "zone-b"] {
        let mut w = World::healthy(2);
        freeze(&mut w, z);
        let to = zone("zone-b");
        let refused = plan_for(&w.snapshot, &group(), &Request::Move { to }, plan_id());
        assert!(says(&refused.unwrap_err(), z), "{z}");
    }
    // A failback by itself: not silently put off.
    let mut w = World::after_failover(1);
    w.policy().on_return = OnReturn::Return;
    let back = vec![copy("zone-a", 0)];
    w.view().volumes.insert(zone("zone-a"), back);
    w.view().state.unprotected = None;
    begun(&w);
    freeze(&mut w, "zone-a");
    assert!(matches!(asked(&w), Ask::Frozen { .. }));
    // A reprotect.
    let mut w = World::after_failover(1);
    w.policy().on_return = OnReturn::Stay;
    begun(&w);
    freeze(&mut w, "zone-a");
    assert!(matches!(asked(&w), Ask::Frozen { .. }));
}
