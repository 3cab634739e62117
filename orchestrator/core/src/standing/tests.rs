use super::*;
use crate::decision::{Decision, decide};
use crate::fixture::{World, group, lease, now, plan_id, zone};
use crate::observation::Signal;
use crate::snapshot::{Approved, LossAccepted, Vouch};
use std::time::Duration;

const WORD: Approved = Approved::Failover {
    vouch: Vouch::CannotWrite,
    loss: LossAccepted::Any,
};

fn begun(w: &World) -> Plan {
    match decide(&w.snapshot, &group(), plan_id()) {
        Some(Decision::Begin { plan }) => *plan,
        other => panic!("not begun: {other:?}"),
    }
}

/// What is seen so long after the plan was made.
fn later(w: &mut World, seconds: u64) {
    w.snapshot.reference_time = now() + Duration::from_secs(seconds);
}

fn seen(w: &World, plan: &Plan) -> Standing {
    standing(&w.snapshot, plan, &OldLease::Gone)
}

fn is_over(w: &World, plan: &Plan) -> bool {
    matches!(seen(w, plan), Standing::Over(_))
}

#[test]
fn hard_case_31_a_lease_that_ended_is_no_proof_any_more_once_its_zone_was_back() {
    let mut w = World::healthy(1);
    w.kill_a(60, 30);
    let plan = begun(&w);
    assert!(matches!(plan.proof, Some(Proof::LeaseExpired { .. })));
    assert_eq!(seen(&w, &plan), Standing::Stands);
    // It has taken its lease again.
    later(&mut w, 3600);
    let gone = w.view().lease.clone();
    w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
    assert!(is_over(&w, &plan));
    // Its sidecar died alone since: the sites see its Ceph.
    w.view().lease = gone;
    for s in ["zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Down, 300);
    }
    assert!(is_over(&w, &plan));
    // And then it was lost as a whole, later than that lease was gone.
    w.kill_a(60, 300);
    assert!(is_over(&w, &plan));
    // The leader knows of no lease that ended with its zone.
    w.kill_a(300, 60);
    assert_eq!(seen(&w, &plan), Standing::Stands);
    w.view().state.last_lease = None;
    assert!(is_over(&w, &plan));
}

#[test]
fn a_later_leader_waits_for_the_margin_and_a_site_that_was_started_anew_ends_nothing() {
    let mut w = World::healthy(1);
    w.kill_a(60, 30);
    let plan = begun(&w);
    later(&mut w, 100);
    // Counted from its own first look.
    w.kill_a(160, 5);
    assert!(matches!(seen(&w, &plan), Standing::NotNow(why) if why.contains("5s of 20s")));
    // A site was started anew, and sees the loss since then: for a while that is no loss for the whole hold-off.
    w.kill_a(5, 130);
    assert!(matches!(seen(&w, &plan), Standing::NotNow(why) if why.contains("was lost")));
    w.kill_a(40, 130);
    assert_eq!(seen(&w, &plan), Standing::Stands);
    // Whoever made the plan has looked at the lease without a break; a clock that was set back says nothing of that.
    w.kill_a(40, 99);
    assert!(is_over(&w, &plan));
    w.snapshot.reference_time = now() - Duration::from_secs(60);
    assert!(is_over(&w, &plan));
}

#[test]
fn hard_case_31_a_word_counts_while_the_trouble_lasts_that_the_plan_was_made_in() {
    let mut w = World::healthy(1);
    w.policy().isolation_response = IsolationResponse::Keep;
    w.kill_a(60, 30);
    w.approve(WORD, 1);
    let plan = begun(&w);
    assert!(matches!(plan.proof, Some(Proof::Vouched { .. })));
    assert_eq!(seen(&w, &plan), Standing::Stands);
    later(&mut w, 3600);
    w.kill_a(3660, 5);
    assert_eq!(seen(&w, &plan), Standing::Stands);
    // Well for a moment in between, and then in trouble again.
    w.kill_a(300, 300);
    assert!(matches!(seen(&w, &plan), Standing::Over(why) if why.contains("was seen well since")));
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Up, 300);
    }
    assert!(is_over(&w, &plan));
    // Nobody can tell.
    w.snapshot.observations.clear();
    assert!(matches!(seen(&w, &plan), Standing::NotNow(_)));
}

#[test]
fn a_fenced_zone_that_is_well_again_is_not_taken_over() {
    let mut w = World::healthy(1);
    w.policy().fence_agent = Some("ipmi".to_owned());
    w.policy().isolation_response = IsolationResponse::Keep;
    w.kill_a(60, 30);
    let plan = begun(&w);
    assert!(matches!(plan.proof, Some(Proof::FenceAgent { .. })));
    assert_eq!(seen(&w, &plan), Standing::Stands);
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Up, 1);
    }
    assert!(is_over(&w, &plan));
}

#[test]
fn a_held_lease_is_taken_only_while_the_ceph_is_seen_to_be_lost() {
    let revoked = OldLease::Revoked {
        from: zone("zone-a"),
    };
    let mut w = World::healthy(1);
    w.policy().fence_agent = Some("ipmi".to_owned());
    w.lose_ceph_of_a(60);
    let plan = begun(&w);
    let seen = |w: &World| standing(&w.snapshot, &plan, &revoked);
    assert_eq!(seen(&w), Standing::Stands);
    let mut w = World::healthy(1);
    assert!(matches!(seen(&w), Standing::Over(why) if why.contains("healthy")));
    w.lose_ceph_of_a(29);
    assert!(matches!(seen(&w), Standing::NotNow(_)), "before its time");
    w.lose_ceph_of_a(30);
    assert_eq!(seen(&w), Standing::Stands);
    // One site sees a monitor again.
    w.sees("witness", "zone-a", Signal::Up, Signal::Up, 1);
    assert!(matches!(seen(&w), Standing::NotNow(_)));
    w.kill_a(30, 0);
    assert_eq!(seen(&w), Standing::Stands);
    // By a word, only of this loss.
    let by_word = Plan {
        proof: Some(Proof::Vouched {
            by: "the operator on duty".to_owned(),
        }),
        ..plan.clone()
    };
    assert_eq!(standing(&w.snapshot, &by_word, &revoked), Standing::Stands);
    later(&mut w, 3600);
    assert!(matches!(
        standing(&w.snapshot, &by_word, &revoked),
        Standing::Over(_)
    ));
    w.snapshot.groups.clear();
    assert!(matches!(seen(&w), Standing::NotNow(_)));
}
