//! The primary's Ceph is lost, and its sidecar lives: it renews the lease.

use super::*;
use crate::plan::OldLease;
use crate::saga::{Next, Saga};
use jiff::SignedDuration;

/// So it has been for an hour.
fn lost() -> World {
    let mut w = World::healthy(2);
    w.lose_ceph_of_a(3600);
    w
}
/// A person's word, given so long ago.
fn vouched(w: &mut World, seconds_ago: i64) {
    w.approve(VOUCHED, 1);
    let at = now() - SignedDuration::from_secs(seconds_ago);
    w.view().approval.as_mut().unwrap().at = at;
}
fn record(plan: &Plan) -> &OldLease {
    let lease = plan.steps.iter().find_map(|s| match &s.step {
        Step::RecordPrimary { lease, .. } => Some(lease),
        _ => None,
    });
    lease.unwrap()
}
fn revoked() -> OldLease {
    OldLease::Revoked {
        from: zone("zone-a"),
    }
}

#[test]
fn hard_case_60_with_a_fence_agent_its_lease_is_taken_from_it() {
    let mut w = lost();
    w.policy().fence_agent = Some("power".to_owned());
    let plan = begun(&w);
    let names: Vec<_> = plan.steps.iter().map(|s| s.step.name()).collect();
    let expect = [
        "fence",
        "record_primary",
        "take_lease",
        "mark_unprotected",
        "promote",
        "start_application",
    ];
    assert_eq!(names, expect);
    assert_eq!(*record(&plan), revoked());
    assert!(matches!(&plan.proof, Some(Proof::FenceAgent { agent }) if agent == "power"));
    let text = plan.to_string();
    assert!(text.contains("zone-a is without its Ceph for 1h"), "{text}");
    assert!(
        text.contains("take the lease of generation 1 from zone-a"),
        "{text}"
    );
    // Nothing is done before the proof.
    let saga = Saga::replay(&plan, &[]).unwrap();
    assert_eq!(saga.next(), Next::Begin);
    assert!(matches!(plan.steps[0].step, Step::Fence { .. }));
}

#[test]
fn without_an_agent_a_person_is_asked_and_told_what_to_do() {
    let mut w = lost();
    let ask = asked(&w);
    assert!(
        matches!(
            &ask,
            Ask::LeaseOfALostCeph {
                vouched_before: None,
                ..
            }
        ),
        "{ask:?}"
    );
    let text = ask.to_string();
    for words in [
        "zone-a-sidecar in zone-a",
        "hypervisors",
        "--vouch-cannot-write",
    ] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
    // That it may be done is no word on the fence.
    w.approve(ACCEPTED, 1);
    assert!(matches!(asked(&w), Ask::LeaseOfALostCeph { .. }));
    vouched(&mut w, 60);
    let plan = begun(&w);
    assert!(matches!(&plan.proof, Some(Proof::Vouched { by }) if by == "the operator on duty"));
    assert_eq!(plan.steps[0].step.name(), "record_primary");
    assert_eq!(*record(&plan), revoked());
}

/// Somebody vouched in an outage that passed: the servers run again.
#[test]
fn a_word_that_was_given_before_this_loss_is_about_another() {
    let mut w = lost();
    vouched(&mut w, 3601);
    let ask = asked(&w);
    assert!(
        matches!(
            &ask,
            Ask::LeaseOfALostCeph {
                vouched_before: Some(_),
                ..
            }
        ),
        "{ask:?}"
    );
    assert!(ask.to_string().contains("from before this loss"), "{ask}");
    vouched(&mut w, 3600);
    begun(&w);
    // Nor one for another generation.
    w.view().approval.as_mut().unwrap().generation = Generation(7);
    assert!(matches!(
        asked(&w),
        Ask::LeaseOfALostCeph {
            vouched_before: None,
            ..
        }
    ));
}

#[test]
fn a_lease_that_is_not_the_records_is_nobodys_to_take() {
    for lease in [
        lease("zone-a", 7, IsolationResponse::Demote),
        lease("zone-b", 1, IsolationResponse::Demote),
    ] {
        let mut w = lost();
        w.policy().fence_agent = Some("power".to_owned());
        w.view().lease = LeaseSight::Held(lease);
        assert!(matches!(held(&w), Hold::LeaseStillHeld { .. }));
    }
}

/// Everything short of a Ceph that is lost beyond doubt: the lease is not touched, whoever vouches and whatever can be fenced.
#[test]
fn a_lease_of_a_zone_whose_ceph_may_live_is_not_taken() {
    let worlds: [fn(&mut World); 4] = [
        |w| w.lose_ceph_of_a(29),
        |w| w.sees("witness", "zone-a", Signal::Up, Signal::Up, 3600),
        |w| w.sees_write("zone-b", "zone-a", Signal::Unknown),
        |w| {
            w.kill_a(3600, 0);
            w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
        },
    ];
    for change in worlds {
        let mut w = lost();
        w.policy().fence_agent = Some("power".to_owned());
        vouched(&mut w, 20);
        change(&mut w);
        assert!(
            matches!(held(&w), Hold::LeaseStillHeld { .. }),
            "{:?}",
            decided(&w)
        );
        let by_hand = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
        assert!(
            matches!(by_hand, Err(Refusal::Hold(Hold::LeaseStillHeld { .. }))),
            "{by_hand:?}"
        );
    }
    // And of one that is well: to move is the way.
    let mut w = World::healthy(2);
    w.policy().fence_agent = Some("power".to_owned());
    w.approve(VOUCHED, 1);
    assert!(
        matches!(decided(&w), Decision::Hold { .. }),
        "{:?}",
        decided(&w)
    );
    let by_hand = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
    assert!(
        matches!(by_hand, Err(Refusal::NothingToDo(_))),
        "{by_hand:?}"
    );
}

/// As `cinder failover-host` asks for a group.
#[test]
fn asked_for_by_hand_it_is_the_same_plan_and_the_same_question() {
    let by_hand = |w: &World| plan_for(&w.snapshot, &group(), &Request::Failover, plan_id());
    let mut w = lost();
    w.policy().failover = FailoverMode::Approved;
    assert!(
        matches!(by_hand(&w), Err(Refusal::Ask(Ask::LeaseOfALostCeph { .. }))),
        "{:?}",
        by_hand(&w)
    );
    w.policy().fence_agent = Some("power".to_owned());
    let plan = by_hand(&w).unwrap();
    assert_eq!(*record(&plan), revoked());
    // By itself it waits for the yes that policy wants.
    assert!(matches!(
        asked(&w),
        Ask::Approve {
            kind: PlanKind::Failover,
            ..
        }
    ));
}

#[test]
fn what_it_loses_is_counted_from_the_loss_of_its_ceph() {
    let mut w = lost();
    w.policy().fence_agent = Some("power".to_owned());
    w.policy().rpo_limit = Some(Span::secs(300));
    let before = |seconds: i64| {
        Some(LastSync {
            at: now() - SignedDuration::from_secs(3600 + seconds),
            took: None,
            bytes: None,
        })
    };
    w.each_copy("zone-b", |v| v.last_sync = before(10));
    assert_eq!(begun(&w).expected_loss[0].up_to, Some(Span::secs(10)));
    w.each_copy("zone-b", |v| v.last_sync = before(301));
    assert!(matches!(asked(&w), Ask::BeyondRpo { .. }));
}

/// What cannot be opened is not demoted, while its client may write on; the rest of the group's end of the lease is no proof for it.
#[test]
fn hard_case_60_a_lease_that_ended_while_an_image_could_not_be_read_proves_nothing() {
    let unread = |w: &mut World, group: usize, images| {
        let report = w.snapshot.zones.get_mut(&zone("zone-a")).unwrap();
        report.groups[group].unread = images;
    };
    let mut w = World::healthy(2);
    assert_eq!(remember_lease(&w.snapshot, &group()), None, "so already");
    unread(&mut w, 0, 1);
    let remembered = remember_lease(&w.snapshot, &group()).unwrap();
    assert_eq!(remembered.isolation_response, IsolationResponse::Keep);
    w.view().state.last_lease = Some(remembered.clone());
    // The leader alone does not reach it for a moment: what was wrong with it is still known.
    let mut unreached = w.clone();
    unreached.snapshot.zones.remove(&zone("zone-a"));
    assert_eq!(remember_lease(&unreached.snapshot, &group()), None);
    // Nor has its sidecar read anything since it was started anew.
    let mut anew = w.clone();
    let report = anew.snapshot.zones.get_mut(&zone("zone-a")).unwrap();
    report.groups.clear();
    assert_eq!(remember_lease(&anew.snapshot, &group()), None);
    // Cut off in that state.
    let mut cut = w.clone();
    cut.kill_a(3600, 3000);
    let ask = asked(&cut);
    assert!(
        matches!(&ask, Ask::NoProof { evidence } if evidence.contains("an image could not be read")),
        "{ask:?}"
    );
    // It can be read again before.
    unread(&mut w, 0, 0);
    let again = remember_lease(&w.snapshot, &group()).unwrap();
    assert_eq!(again.isolation_response, IsolationResponse::Demote);
    w.view().state.last_lease = Some(again);
    w.kill_a(3600, 3000);
    begun(&w);
    // Another group's is no matter of this one.
    let mut w = World::healthy(2);
    let mut others = w.snapshot.zones[&zone("zone-a")].groups[0].clone();
    others.group = "web".parse().unwrap();
    let report = w.snapshot.zones.get_mut(&zone("zone-a")).unwrap();
    report.groups.push(others);
    unread(&mut w, 1, 1);
    assert_eq!(remember_lease(&w.snapshot, &group()), None);
}

/// The sidecar gave up, or was stopped: that its lease ended says nothing of a demotion, for there was no cluster to demote on.
#[test]
fn hard_case_31_a_lease_that_ended_while_its_ceph_was_dead_proves_nothing() {
    let mut w = lost();
    let remembered = remember_lease(&w.snapshot, &group()).unwrap();
    assert_eq!(remembered.isolation_response, IsolationResponse::Keep);
    w.view().state.last_lease = Some(remembered.clone());
    assert_eq!(remember_lease(&w.snapshot, &group()), None, "so already");
    // The whole zone is cut off then: while its lease lasts, nobody can say that it is well again.
    w.kill_a(3600, 3000);
    let gone = w.view().lease.clone();
    w.view().lease = LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote));
    assert_eq!(remember_lease(&w.snapshot, &group()), None, "forgotten");
    // And its lease ends after that.
    w.view().lease = gone;
    let ask = asked(&w);
    assert!(
        matches!(&ask, Ask::NoProof { evidence } if evidence.contains("its Ceph took no writes")),
        "{ask:?}"
    );
    // Its Ceph was back before: the next look remembers a holder that demotes.
    let mut w = World::healthy(2);
    w.view().state.last_lease = Some(remembered);
    let again = remember_lease(&w.snapshot, &group()).unwrap();
    assert_eq!(again.isolation_response, IsolationResponse::Demote);
    // One site's word is enough.
    w.view().state.last_lease = Some(again);
    w.sees_write("witness", "zone-a", Signal::Down);
    assert!(remember_lease(&w.snapshot, &group()).is_some());
    // While the sidecar is there and its lease is not, there is no proof by it either, whatever is remembered.
    let mut w = lost();
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Span::secs(3000),
    };
    assert!(matches!(asked(&w), Ask::NoProof { .. }));
    assert!(forget_lease(&w.snapshot, &group()));
}

#[test]
fn a_plan_that_was_written_before_leases_were_taken_reads_as_ever() {
    let mut w = World::healthy(1);
    w.kill_a(3600, 3600);
    let plan = begun(&w);
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("\"was\""), "{text}");
    assert_eq!(
        *record(&serde_json::from_str::<Plan>(&text).unwrap()),
        OldLease::Gone
    );
    let mut w = lost();
    w.policy().fence_agent = Some("power".to_owned());
    let plan = begun(&w);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}
