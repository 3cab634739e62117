//! What proves that a lost zone writes no more, and when a lease's end is no such proof.

use super::*;
use proptest::prelude::*;

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
