//! A person's word is about the trouble that it was given in, and about no later one.

use super::*;
use crate::snapshot::Unprotected;
use jiff::SignedDuration;
use rekindle_common::lease::LeaseView;

fn word_of(w: &mut World, what: Approved, seconds_ago: i64) {
    w.approve(what, 1);
    let at = now() - SignedDuration::from_secs(seconds_ago);
    w.view().approval.as_mut().unwrap().at = at;
}
/// Zone A's sidecar is down for that long, and its lease gone for that long; its Ceph greets, and what runs there writes.
fn sidecar_down(down: u64, gone: u64) -> World {
    let mut w = World::healthy(2);
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Up, Signal::Down, down);
    }
    w.snapshot.zones.remove(&zone("zone-a"));
    w.view().volumes.remove(&zone("zone-a"));
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(gone),
    };
    w
}

#[test]
fn hard_case_31_a_word_of_an_outage_that_passed_fails_no_living_zone_over() {
    let mut w = sidecar_down(31, 1);
    word_of(&mut w, VOUCHED, 30 * 86_400);
    let hold = held(&w);
    assert!(
        matches!(
            &hold,
            Hold::NotLost {
                vouched_before: Some(_),
                ..
            }
        ),
        "{hold:?}"
    );
    assert!(hold.to_string().contains("from before this"), "{hold}");
    let by_hand = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
    assert!(
        matches!(&by_hand, Err(Refusal::Ask(Ask::NoProof { evidence })) if evidence.contains("from before this")),
        "{by_hand:?}"
    );
    // Given in this one, it is what it was.
    word_of(&mut w, VOUCHED, 42);
    assert!(matches!(held(&w), Hold::NotLost { .. }));
    // Also where whoever gave it was quicker than the probes.
    word_of(&mut w, VOUCHED, 41);
    assert!(matches!(begun(&w).proof, Some(Proof::Vouched { .. })));
    // So it is once the lease was gone, whoever has only just begun to look.
    let mut w = sidecar_down(3, 600);
    word_of(&mut w, VOUCHED, 600);
    begun(&w);
    word_of(&mut w, VOUCHED, 611);
    assert!(matches!(held(&w), Hold::NotLost { .. }));
}

/// The clock of the orchestrator that took it was ahead, or this one's was set back: it would count in every trouble until then.
#[test]
fn hard_case_12_a_word_from_the_future_is_of_no_trouble_that_is_there() {
    let mut w = sidecar_down(31, 1);
    for ahead in [6, 3600, 30 * 86_400] {
        word_of(&mut w, VOUCHED, -ahead);
        let hold = held(&w);
        assert!(
            matches!(
                &hold,
                Hold::NotLost {
                    vouched_before: Some(_),
                    ..
                }
            ),
            "{hold:?}"
        );
        assert!(
            hold.to_string().contains("a clock that was ahead"),
            "{hold}"
        );
    }
    // It was given after the look began, or taken by another orchestrator.
    word_of(&mut w, VOUCHED, -5);
    assert!(matches!(begun(&w).proof, Some(Proof::Vouched { .. })));
    // Nor is it an approval, or a loss that is accepted.
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    w.policy().failover = FailoverMode::Approved;
    word_of(&mut w, ACCEPTED, -6);
    assert!(
        matches!(asked(&w), Ask::Approve { why, .. } if why.contains("a clock that was ahead"))
    );
    word_of(&mut w, ACCEPTED, -5);
    begun(&w);
}

/// One site's bad sight of a zone, which may be years old, is not the trouble that a word is about.
#[test]
fn a_word_is_as_old_as_what_a_majority_sees() {
    let mut w = sidecar_down(31, 1);
    w.sees("witness", "zone-a", Signal::Down, Signal::Down, 86_400);
    word_of(&mut w, VOUCHED, 3600);
    assert!(matches!(held(&w), Hold::NotLost { .. }));
    // What began as its Ceph's trouble and became its loss is one trouble.
    let mut w = World::healthy(2);
    w.kill_a(60, 20);
    w.view().state.last_lease = None;
    for s in ["zone-b", "witness"] {
        let seen = w
            .snapshot
            .observations
            .get_mut(&crate::fixture::site(s))
            .unwrap();
        for o in &mut seen.observations {
            if o.zone == zone("zone-a") && o.kind == crate::observation::SignalKind::CephMon {
                o.held_for = Span::secs(600);
            }
        }
    }
    word_of(&mut w, VOUCHED, 600);
    begun(&w);
    word_of(&mut w, VOUCHED, 611);
    let ask = asked(&w);
    assert!(
        matches!(&ask, Ask::NoProof { evidence } if evidence.contains("from before this")),
        "{ask:?}"
    );
}

/// Nor does an old one stand for policy's approval, for a loss beyond the limit, or against the blocking period.
#[test]
fn an_old_word_permits_nothing() {
    let lost = || {
        let mut w = World::healthy(1);
        w.kill_a(60, 40);
        w
    };
    let mut w = lost();
    w.policy().failover = FailoverMode::Approved;
    word_of(&mut w, ACCEPTED, 71);
    let ask = asked(&w);
    assert!(
        matches!(&ask, Ask::Approve { why, .. } if why.contains("from before this")),
        "{ask:?}"
    );
    word_of(&mut w, ACCEPTED, 60);
    begun(&w);

    let mut w = lost();
    w.policy().rpo_limit = Some(Span::secs(5));
    w.each_copy("zone-b", |v| v.last_sync = None);
    word_of(&mut w, ACCEPTED, 71);
    assert!(matches!(asked(&w), Ask::BeyondRpo { .. }));
    word_of(&mut w, ACCEPTED, 60);
    begun(&w);

    let mut w = lost();
    w.view().state.last_failover = World::after_failover(1).view().state.last_failover.clone();
    for what in [ACCEPTED, Approved::Failback] {
        word_of(&mut w, what, 71);
        assert!(matches!(asked(&w), Ask::Blocked { .. }), "{what:?}");
    }
    word_of(&mut w, ACCEPTED, 60);
    begun(&w);
}

#[test]
fn a_word_on_a_failover_is_over_when_the_zone_serves_on() {
    let over = |w: &World| outlived(&w.snapshot, &group());
    let mut w = World::healthy(2);
    assert!(!over(&w), "there is none");
    for what in [VOUCHED, ACCEPTED] {
        w.approve(what, 1);
        assert!(over(&w), "{what:?}");
    }
    // Its copies have no part in it.
    w.each_copy("zone-b", |v| v.status = VolumeStatus::ErrorMirrorDown);
    assert!(over(&w));
    // Nor has which of two sidecars holds the lease.
    w.lease_view("zone-a", LeaseView::NotHeld);
    assert!(over(&w));
    let changes: [fn(&mut World); 8] = [
        // The trouble is there, or not fully seen.
        |w| w.sees_write("witness", "zone-a", Signal::Down),
        |w| w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 1),
        |w| {
            w.view().lease = LeaseSight::Gone {
                seen_gone_for: Span::secs(0),
            }
        },
        |w| w.view().lease = LeaseSight::Held(lease("zone-a", 7, IsolationResponse::Demote)),
        |w| {
            let generation = Generation(1);
            w.lease_view("zone-a", LeaseView::Isolated { generation });
        },
        // Its images are demoted: any yes lets the group go on there.
        |w| w.each_copy("zone-a", |v| v.role = Role::Secondary),
        |w| drop(w.view().volumes.remove(&zone("zone-a"))),
        // A plan that waits may be what it is about.
        |w| w.view().active_plan = Some(plan_id()),
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut w = World::healthy(2);
        w.approve(VOUCHED, 1);
        change(&mut w);
        assert!(!over(&w), "change {n}");
    }
}

#[test]
fn hard_case_17_a_word_on_a_reprotect_is_over_when_the_copies_are_in_step() {
    let mut w = World::healthy(2);
    w.approve(Approved::Reprotect, 1);
    assert!(outlived(&w.snapshot, &group()));
    let statuses = [
        VolumeStatus::ErrorSplitBrain,
        VolumeStatus::ErrorUnknown,
        VolumeStatus::PendingDemotion,
        VolumeStatus::PendingFirstSync,
    ];
    for status in statuses {
        let mut w = World::healthy(2);
        w.approve(Approved::Reprotect, 1);
        w.each_copy("zone-b", |v| {
            v.status = status;
            if status == VolumeStatus::PendingFirstSync {
                v.complete_copy = Known::No;
            }
        });
        assert!(!outlived(&w.snapshot, &group()), "{status}");
    }
    let changes: [fn(&mut World); 4] = [
        |w| w.each_copy("zone-b", |v| v.role = Role::Primary),
        |w| drop(w.view().volumes.remove(&zone("zone-b"))),
        // What is back from a loss is not looked at before it is seen to be well.
        |w| w.sees_write("witness", "zone-b", Signal::Down),
        |w| {
            w.view().state.unprotected = Some(Unprotected {
                since: now(),
                why: String::new(),
            })
        },
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut w = World::healthy(2);
        w.approve(Approved::Reprotect, 1);
        change(&mut w);
        assert!(!outlived(&w.snapshot, &group()), "change {n}");
    }
    // A yes to the way home is for a day on which all is well.
    let mut w = World::healthy(2);
    w.approve(Approved::Failback, 1);
    assert!(!outlived(&w.snapshot, &group()));
}

#[test]
fn a_word_for_a_generation_that_was_left_behind_is_over_whatever_it_was_for() {
    for what in [VOUCHED, Approved::Reprotect, Approved::Failback] {
        let mut w = World::after_failover(2);
        w.approve(what, 1);
        assert!(outlived(&w.snapshot, &group()), "{what:?}");
    }
}
