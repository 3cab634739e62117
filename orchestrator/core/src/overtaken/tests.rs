use super::*;
use crate::decision::{Request, plan_for};
use crate::fixture::{World, group, plan_id, zone};
use crate::observation::Signal;
use crate::snapshot::LossAccepted;

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
        assert_eq!(overtaken(&w.snapshot, &plan), None);
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
    assert!(
        overtaken(&w.snapshot, &plan)
            .unwrap()
            .contains("zone-a is lost")
    );

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
    assert_eq!(overtaken(&w.snapshot, &plan), None);
    let back = &plan.steps[2].unwind;
    assert!(
        back.iter()
            .all(|s| in_vain(&w.snapshot, &plan, s).is_none())
    );
}

#[test]
fn short_of_lost_a_step_goes_on_waiting() {
    let (mut w, plan) = a_move();
    kill(&mut w, "zone-a", 1);
    assert_eq!(vain(&w, &plan), Vec::<&str>::new());
    assert_eq!(overtaken(&w.snapshot, &plan), None);
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
    let ends = |w: &World| overtaken(&w.snapshot, &plan).is_some() && !vain(w, &plan).is_empty();
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
    assert_eq!(overtaken(&w.snapshot, &plan), None);
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
        assert!(overtaken(&w.snapshot, &plan).is_some(), "{lost}");
    }
}

#[test]
fn a_failover_makes_way_for_nothing() {
    let mut w = World::healthy(2);
    w.kill_a(600, 600);
    let plan = plan_for(&w.snapshot, &group(), &Request::Failover, plan_id()).unwrap();
    kill(&mut w, "zone-b", 600);
    assert_eq!(vain(&w, &plan), Vec::<&str>::new());
    assert_eq!(overtaken(&w.snapshot, &plan), None);
}
