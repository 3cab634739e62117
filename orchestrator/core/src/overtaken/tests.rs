use super::*;
use crate::decision::{Request, plan_for};
use crate::fixture::{World, group, plan_id, zone};
use crate::observation::Signal;
use crate::snapshot::LossAccepted;
use rekindle_common::{Generation, runbook::Level};

fn a_move() -> (World, Plan) {
    let w = World::healthy(2);
    let to = zone("zone-b");
    let plan = plan_for(&w.snapshot, &group(), &Request::Move { to }, plan_id()).unwrap();
    (w, plan)
}
fn a_reprotect() -> (World, Plan) {
    let w = World::after_failover(2);
    let plan = plan_for(&w.snapshot, &group(), &Request::Reprotect, plan_id()).unwrap();
    (w, plan)
}
fn kill(w: &mut World, z: &str, held: u64) {
    w.snapshot.observations.remove(&crate::fixture::site(z));
    for s in ["zone-a", "zone-b", "witness"] {
        if s != z {
            w.sees(s, z, Signal::Down, Signal::Down, held);
        }
    }
}
fn stuck(step: usize) -> State {
    State::Stuck {
        step,
        undo: None,
        error: String::new(),
    }
}
/// Why it ends, stuck in its first step.
fn ended(w: &World, plan: &Plan) -> Option<String> {
    overtaken(&w.snapshot, plan, &stuck(0))
}
/// The names of the steps that would be waited for in vain.
fn vain(w: &World, plan: &Plan) -> Vec<&'static str> {
    let steps = plan.steps.iter().map(|s| &s.step);
    steps
        .filter(|s| in_vain(&w.snapshot, plan, s).is_some())
        .map(Step::name)
        .collect()
}

#[test]
fn nothing_is_in_vain_while_both_zones_are_there() {
    for (w, plan) in [a_move(), a_reprotect()] {
        assert_eq!(vain(&w, &plan), Vec::<&str>::new());
        assert_eq!(ended(&w, &plan), None);
    }
}

#[test]
fn hard_case_10_a_move_waits_for_no_lost_zone() {
    let (mut w, plan) = a_move();
    kill(&mut w, "zone-a", 600);
    let of_a = [
        "stop_application",
        "demote",
        "await_demotion_replayed",
        "release_lease",
        "await_replay",
    ];
    assert_eq!(vain(&w, &plan), of_a);
    assert!(ended(&w, &plan).unwrap().contains("zone-a is lost"));

    // The copies' zone: the move is put back, and the primary's zone, which is well, is no reason to end a plan.
    let (mut w, plan) = a_move();
    kill(&mut w, "zone-b", 600);
    let of_b = [
        "await_demotion_replayed",
        "take_lease",
        "promote",
        "start_application",
        "await_replay",
    ];
    assert_eq!(vain(&w, &plan), of_b);
    assert_eq!(ended(&w, &plan), None);
    let back = &plan.steps[2].unwind;
    assert!(
        back.iter()
            .all(|s| in_vain(&w.snapshot, &plan, s).is_none())
    );
}

fn one_server() -> Level {
    serde_json::from_value(serde_json::json!({ "servers": [{ "key": "web-1" }] })).unwrap()
}

/// A server that cannot be held in the zone that a move goes to must not bar what the primary's zone needs.
#[test]
fn hard_case_10_the_hold_that_a_move_begins_with_waits_for_no_lost_primary() {
    let mut w = World::healthy(2);
    w.view().spec.runbook.levels = vec![one_server()];
    let to = zone("zone-b");
    let plan = plan_for(&w.snapshot, &group(), &Request::Move { to }, plan_id()).unwrap();
    assert!(!vain(&w, &plan).contains(&"hold_servers"));
    for lost in ["zone-a", "zone-b"] {
        let mut w = w.clone();
        kill(&mut w, lost, 600);
        assert!(vain(&w, &plan).contains(&"hold_servers"), "{lost}");
    }
    // Nor one that was isolated, and waits for its resume.
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: rekindle_common::duration::Span::secs(60),
    };
    let report = w.snapshot.zones.get_mut(&zone("zone-a")).unwrap();
    report.groups[0].lease = LeaseView::Isolated {
        generation: Generation(1),
    };
    assert!(vain(&w, &plan).contains(&"hold_servers"));
    // Whoever asks has to ask the primary's zone for that.
    let hold = &plan.steps[at(&plan, "hold_servers")].step;
    assert!(needs_a_primary(&plan, hold));
    // A reprotect holds what the primary's zone does not need.
    let mut w = World::after_failover(2);
    w.view().spec.runbook.levels = vec![one_server()];
    let plan = plan_for(&w.snapshot, &group(), &Request::Reprotect, plan_id()).unwrap();
    let to = plan.to.to_string();
    kill(&mut w, &to, 600);
    assert!(!vain(&w, &plan).contains(&"hold_servers"));
    let hold = &plan.steps[at(&plan, "hold_servers")].step;
    assert!(!needs_a_primary(&plan, hold));
}

#[test]
fn short_of_lost_a_step_goes_on_waiting() {
    let (mut w, plan) = a_move();
    kill(&mut w, "zone-a", 1);
    assert_eq!(vain(&w, &plan), Vec::<&str>::new());
    assert_eq!(ended(&w, &plan), None);
    // Somebody still sees it.
    w.sees("witness", "zone-a", Signal::Up, Signal::Up, 600);
    w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 600);
    assert_eq!(vain(&w, &plan), Vec::<&str>::new());
}

#[test]
fn hard_case_10_a_failover_that_a_person_vouches_for_overtakes_a_move_from_an_ill_zone() {
    let vouched = |vouch| Approved::Failover {
        vouch,
        loss: LossAccepted::Any,
    };
    let (mut w, plan) = a_move();
    for s in ["zone-a", "zone-b", "witness"] {
        w.sees(s, "zone-a", Signal::Down, Signal::Up, 600);
    }
    let ends = |w: &World| ended(w, &plan).is_some() && !vain(w, &plan).is_empty();
    assert!(!ends(&w), "storage that is ill may get well");
    w.approve(vouched(Vouch::No), 1);
    assert!(!ends(&w), "nobody vouched");
    w.approve(vouched(Vouch::CannotWrite), 2);
    assert!(!ends(&w), "of another generation");
    w.approve(vouched(Vouch::CannotWrite), 1);
    assert!(ends(&w));
    // Its zone was well when the move was made: what was said before that is about another trouble.
    let before = plan.at - jiff::SignedDuration::from_secs(1);
    w.view().approval.as_mut().unwrap().at = before;
    assert!(!ends(&w), "from before the move");
    // A zone that is well is not failed away from.
    let (mut w, plan) = a_move();
    w.approve(vouched(Vouch::CannotWrite), 1);
    assert_eq!(ended(&w, &plan), None);
}

#[test]
fn hard_case_59_a_reprotect_makes_way_whichever_zone_is_lost() {
    for (lost, steps) in [
        // The loser, again: it is seen anew when it is back.
        (
            "zone-a",
            vec!["demote", "stop_application", "resync", "await_replay"],
        ),
        // The primary: what the loser can do alone it does, and then there is nobody to follow.
        ("zone-b", vec!["resync", "await_replay"]),
    ] {
        let (mut w, plan) = a_reprotect();
        kill(&mut w, lost, 600);
        assert_eq!(vain(&w, &plan), steps, "{lost}");
        assert!(ended(&w, &plan).is_some(), "{lost}");
    }
}

#[test]
fn a_failover_makes_way_for_nothing() {
    let mut w = World::healthy(2);
    w.kill_a(600, 600);
    let plan = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id()).unwrap();
    kill(&mut w, "zone-b", 600);
    assert_eq!(vain(&w, &plan), Vec::<&str>::new());
    assert_eq!(ended(&w, &plan), None);
}

/// Zone-b, recorded under generation 2, had no etcd for a moment: it has demoted itself, and is well again.
fn isolate_b(w: &mut World) {
    let generation = Generation(2);
    w.lease_view("zone-b", LeaseView::Isolated { generation });
    w.view().lease = LeaseSight::Gone {
        seen_gone_for: Default::default(),
    };
}
fn at(plan: &Plan, name: &str) -> usize {
    let mut steps = plan.steps.iter();
    steps.position(|s| s.step.name() == name).unwrap()
}

#[test]
fn hard_case_10_copies_are_not_waited_for_whose_primary_was_isolated() {
    let (mut w, plan) = a_reprotect();
    isolate_b(&mut w);
    assert_eq!(vain(&w, &plan), ["resync", "await_replay"]);
    assert!(ended(&w, &plan).unwrap().contains("zone-b was isolated"));
    // Of another generation; or its other sidecar serves, and etcd has the lease; or it is not well, and no resume would follow.
    let changes: [fn(&mut World); 4] = [
        |w| {
            let generation = Generation(1);
            w.lease_view("zone-b", LeaseView::Isolated { generation });
        },
        |w| w.view().lease = World::after_failover(1).view().lease.clone(),
        |w| w.sees("witness", "zone-b", Signal::Up, Signal::Down, 600),
        |w| w.lease_view("zone-b", LeaseView::NotHeld),
    ];
    for (n, change) in changes.iter().enumerate() {
        let (mut w, plan) = a_reprotect();
        isolate_b(&mut w);
        change(&mut w);
        assert_eq!(vain(&w, &plan), Vec::<&str>::new(), "change {n}");
        assert_eq!(ended(&w, &plan), None, "change {n}");
    }
}

/// A failover too makes way, once it has promoted: what is left of it a resume does.
#[test]
fn hard_case_10_a_pause_is_not_waited_for_whose_primary_was_isolated() {
    let mut w = World::healthy(2);
    w.view().spec.runbook.levels = vec![Level {
        pause: Some("look".to_owned()),
        servers: Vec::new(),
    }];
    w.kill_a(600, 600);
    let plan = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id()).unwrap();
    w.view().primary = World::after_failover(1).view().primary.clone();
    isolate_b(&mut w);
    assert_eq!(vain(&w, &plan), ["pause", "start_application"]);
    let ends = |name| overtaken(&w.snapshot, &plan, &stuck(at(&plan, name))).is_some();
    assert!(ends("pause") && ends("start_application"));
    for name in ["record_primary", "take_lease", "promote"] {
        assert!(!ends(name), "only this plan knows how: {name}");
    }
    // Nor one that is not stuck, or that was putting something back.
    let pause = at(&plan, "pause");
    let undo = State::Stuck {
        step: pause,
        undo: Some(0),
        error: String::new(),
    };
    for state in [State::Running { step: pause }, undo] {
        assert_eq!(overtaken(&w.snapshot, &plan, &state), None);
    }
}

/// It begins in that very state, and mends it; what stands behind its promotion does not begin in it.
#[test]
fn a_resume_is_not_overtaken_by_what_it_is_for() {
    let mut w = World::after_failover(2);
    isolate_b(&mut w);
    w.each_copy("zone-b", |v| {
        v.role = rekindle_common::volume::Role::Secondary
    });
    let plan = plan_for(&w.snapshot, &group(), &Request::Resume, plan_id()).unwrap();
    assert_eq!(vain(&w, &plan), ["start_application"]);
    // Where it is stuck and the zone isolated, the next one begins anew.
    assert!(ended(&w, &plan).is_some());
}
