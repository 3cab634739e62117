//! What a failover promotes, what it may lose, and what else holds it back once there is a proof.

use super::*;
use crate::skew::Skew;
use rekindle_common::action::Promotion;

#[test]
fn a_healthy_group_is_left_alone() {
    assert_eq!(held(&World::healthy(3)), Hold::AllWell);
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
