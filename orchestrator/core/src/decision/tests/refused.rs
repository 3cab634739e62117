//! What is refused before a plan is made.

use super::*;

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

fn spoilt(v: &mut VolumeReport) {
    v.status = VolumeStatus::ErrorUnknown;
    v.mode = None;
    v.concerns = vec!["image metadata rekindle.mode: is missing".to_owned()];
}

/// A plan that took no notice of it would leave it in the old zone, whose sidecar then demotes it: it would be primary nowhere.
#[test]
fn hard_case_36_a_move_is_refused_while_a_volumes_policy_cannot_be_read_in_either_zone() {
    let to_b = Request::Move { to: zone("zone-b") };
    for z in ["zone-a", "zone-b"] {
        let mut w = World::healthy(3);
        spoilt(&mut w.view().volumes.get_mut(&zone(z)).unwrap()[1]);
        let Err(Refusal::NotInStep(why)) = plan_for(&w.snapshot, &group(), &to_b, plan_id()) else {
            panic!("not refused: {z}");
        };
        assert_eq!(why.len(), 1, "{why:?}");
        assert!(
            why[0].contains(volume(1).image()) && why[0].contains(z),
            "{why:?}"
        );
        assert!(why[0].contains("rekindle.mode"), "{why:?}");
        assert_eq!(held(&w), Hold::Syncing { behind: 1 });
    }
}

#[test]
fn hard_case_20_a_move_is_refused_while_an_image_of_the_primary_does_not_answer() {
    let mut w = World::healthy(3);
    let v = &mut w.view().volumes.get_mut(&zone("zone-a")).unwrap()[1];
    (v.role, v.status) = (Role::Unknown, VolumeStatus::ErrorUnknown);
    let to_b = Request::Move { to: zone("zone-b") };
    let refused = plan_for(&w.snapshot, &group(), &to_b, plan_id());
    assert!(matches!(refused, Err(Refusal::NotInStep(why)) if why.len() == 1));
}

#[test]
fn hard_case_20_a_failover_goes_on_without_a_volume_whose_policy_cannot_be_read_and_names_it() {
    let mut w = World::healthy(3);
    w.policy().rpo_limit = Some(Span::secs(900));
    w.kill_a(60, 50);
    let v = &mut w.view().volumes.get_mut(&zone("zone-b")).unwrap()[1];
    spoilt(v);
    // No schedule of it is followed: what it lost is no reason to keep the others.
    v.last_sync = None;
    let plan = begun(&w);
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].volume, volume(1));
    assert!(
        plan.left_out[0].why.contains("cannot be read"),
        "{:?}",
        plan.left_out
    );
    let promoted = plan.steps.iter().find_map(|s| match &s.step {
        Step::Promote { volumes, .. } => Some(volumes.len()),
        _ => None,
    });
    assert_eq!(promoted, Some(2));
    w.each_copy("zone-b", spoilt);
    assert!(matches!(asked(&w), Ask::NothingToPromote { why } if why.len() == 3));
}
