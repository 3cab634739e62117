//! The winner of a failover is lost before its loser was made anew: what the loser holds is its own.

use super::*;
use crate::snapshot::LastLease;
use jiff::{SignedDuration, Timestamp};

const HOUR: u64 = 3600;

fn ago(secs: u64) -> Timestamp {
    now() - SignedDuration::from_secs(secs.cast_signed())
}

/// Zone A was lost six hours ago, zone B took over and served for five; zone A came back and demoted its two images two minutes before B was lost.
fn winner_lost_too() -> World {
    let mut w = World::after_failover(2);
    let state = &mut w.view().state;
    state.last_failover.as_mut().unwrap().at = ago(6 * HOUR);
    state.unprotected.as_mut().unwrap().since = ago(6 * HOUR);
    state.last_lease = Some(LastLease {
        zone: zone("zone-b"),
        generation: Generation(2),
        isolation_response: IsolationResponse::Demote,
    });
    w.policy().rpo_limit = Some(Span::secs(HOUR));
    w.each_copy("zone-a", |v| {
        v.role = Role::Secondary;
        v.status = VolumeStatus::PendingPromotion;
        v.last_sync = Some(LastSync {
            at: ago(HOUR + 120),
            took: None,
            bytes: None,
        });
    });
    w.kill("zone-b", "zone-a", HOUR, HOUR);
    w
}

#[test]
fn hard_case_25_a_losers_own_demotion_is_no_copy_of_what_the_winner_wrote() {
    let five_hours = Span::secs(5 * HOUR);
    for (role, status) in [
        (Role::Secondary, VolumeStatus::PendingPromotion),
        (Role::Secondary, VolumeStatus::ErrorSplitBrain),
        (Role::Secondary, VolumeStatus::ErrorMirroring),
        (Role::Primary, VolumeStatus::ActivePrimary),
    ] {
        for limit in [Some(Span::secs(HOUR)), Some(Span::secs(100 * HOUR)), None] {
            let mut w = winner_lost_too();
            w.policy().rpo_limit = limit;
            w.each_copy("zone-a", |v| (v.role, v.status) = (role, status));
            let ask = Ask::NotInStepSince {
                zone: zone("zone-a"),
                plan: plan_id(),
                at: ago(6 * HOUR),
                loss: five_hours,
            };
            assert_eq!(asked(&w), ask);
            let by_hand = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
            assert_eq!(by_hand, Err(Refusal::Ask(ask)));
            // A yes to a failover is none to this loss.
            w.approve(VOUCHED, 2);
            assert!(matches!(asked(&w), Ask::NotInStepSince { .. }));
            w.approve(ACCEPTED, 2);
            let losses: Vec<_> = begun(&w).expected_loss.iter().map(|l| l.up_to).collect();
            assert_eq!(losses, [Some(five_hours); 2], "{status}");
        }
    }
}

#[test]
fn hard_case_25_a_copy_that_was_in_step_since_is_a_copy() {
    // Protected until now; or the loser was away once more after it had been made anew.
    for lost_again in [false, true] {
        let mut w = winner_lost_too();
        let mut mark = w.view().state.unprotected.take();
        if lost_again {
            mark.as_mut().unwrap().since = ago(3 * HOUR);
            w.view().state.unprotected = mark;
        }
        let losses: Vec<_> = begun(&w).expected_loss.iter().map(|l| l.up_to).collect();
        assert_eq!(losses, [Some(Span::secs(120)); 2]);
    }
}

#[test]
fn hard_case_25_a_failover_of_an_earlier_generation_says_nothing_of_these_copies() {
    let mut w = winner_lost_too();
    let v = w.view();
    v.primary.as_mut().unwrap().generation = Generation(4);
    v.state.last_lease.as_mut().unwrap().generation = Generation(4);
    begun(&w);
}
