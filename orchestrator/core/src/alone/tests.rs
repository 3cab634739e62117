use super::*;
use crate::decision::{Ask, Decision, Hold, Refusal, Request, decide, plan_for};
use crate::fixture::{World, group, original, plan_id, volume, zone};
use crate::observation::Signal;
use crate::plan::Step;
use rekindle_common::policy::OnReturn;
use std::collections::BTreeSet;

/// Two volumes with a copy each, and a third that the primary alone has.
fn one_without_a_copy() -> World {
    let mut w = World::healthy(2);
    let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    originals.push(original("zone-a", 2));
    w
}
/// As the leader does in each look.
fn note(w: &mut World) {
    let before = w.view().seen.clone();
    if let Some(listing) = listed_now(&w.snapshot, &group()) {
        w.view().seen = Some(listing.after(before.as_ref()));
    }
}
fn names(left: &[LeftOut]) -> Vec<ImageSpec> {
    left.iter().map(|l| l.volume.clone()).collect()
}

#[test]
fn the_primarys_list_is_taken_only_from_a_primary_that_is_well() {
    let mut w = one_without_a_copy();
    let seen = listed_now(&w.snapshot, &group()).unwrap().after(None);
    assert_eq!((seen.volumes.len(), seen.omitted), (3, 0));
    w.kill_a(600, 600);
    assert_eq!(listed_now(&w.snapshot, &group()), None);
}

#[test]
fn a_list_has_its_bound_and_says_how_many_it_leaves_out() {
    let w = World::healthy(MAX_SEEN + 7);
    let seen = listed_now(&w.snapshot, &group()).unwrap().after(None);
    assert_eq!((seen.volumes.len(), seen.omitted), (MAX_SEEN, 7));
}

#[test]
fn hard_case_33_a_failover_names_what_it_leaves_behind_though_the_primary_is_dead() {
    let mut w = one_without_a_copy();
    note(&mut w);
    w.kill_a(3600, 3600);
    let left = |w: &World| match decide(&w.snapshot, &group(), plan_id()).unwrap() {
        Decision::Begin { plan } => names(&plan.left_out),
        other => panic!("{other:?}"),
    };
    assert_eq!(left(&w), [volume(2)]);
    // Of another generation it says nothing.
    w.view().seen.as_mut().unwrap().generation = Generation(7);
    assert_eq!(left(&w), Vec::<ImageSpec>::new());
}

#[test]
fn hard_case_33_without_any_copy_a_person_is_told_each_volume() {
    let mut w = World::healthy(2);
    note(&mut w);
    w.kill_a(3600, 3600);
    w.view().volumes.insert(zone("zone-b"), Vec::new());
    match decide(&w.snapshot, &group(), plan_id()).unwrap() {
        Decision::AskOperator {
            why: Ask::NothingToPromote { why },
        } => assert_eq!(why.len(), 2, "{why:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hard_case_56_a_volume_without_a_copy_is_listed_and_holds_a_move_back() {
    let mut w = one_without_a_copy();
    assert_eq!(names(&alone(&w.snapshot.groups[&group()])), [volume(2)]);
    let to_b = Request::Move { to: zone("zone-b") };
    let refused = plan_for(&w.snapshot, &group(), &to_b, plan_id()).unwrap_err();
    assert!(matches!(refused, Refusal::NotInStep(v) if v.len() == 1));
    // And a move home by itself.
    w.view().spec.home = zone("zone-b");
    w.view().spec.away = zone("zone-a");
    w.policy().on_return = OnReturn::Return;
    let hold = Hold::Syncing { behind: 1 };
    let decided = decide(&w.snapshot, &group(), plan_id()).unwrap();
    assert_eq!(decided, Decision::Hold { why: hold });
}

#[test]
fn what_a_failover_left_behind_is_listed_when_its_zone_is_back() {
    let mut w = World::after_failover(2);
    let stale = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    stale.push(original("zone-a", 2));
    let alone = alone(&w.snapshot.groups[&group()]);
    assert_eq!(names(&alone), [volume(2)]);
    assert!(alone[0].why.contains("in zone-a alone"), "{alone:?}");
}

/// The volumes that a failover takes, and those that it leaves out.
fn failed_over(w: &World) -> (Vec<ImageSpec>, Vec<LeftOut>) {
    match decide(&w.snapshot, &group(), plan_id()).unwrap() {
        Decision::Begin { plan } => {
            let promoted = plan.steps.iter().find_map(|s| match &s.step {
                Step::Promote { volumes, .. } => {
                    Some(volumes.iter().map(|v| v.volume.clone()).collect())
                }
                _ => None,
            });
            (promoted.unwrap(), plan.left_out)
        }
        other => panic!("{other:?}"),
    }
}

/// Volume 1 is not in zone A's list of the group any more, or not mirrored there; zone B's copy still names the group.
fn one_left(how: Option<Role>) -> World {
    let mut w = World::healthy(2);
    note(&mut w);
    let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    match how {
        None => originals.truncate(1),
        Some(role) => originals[1].role = role,
    }
    w
}

#[test]
fn hard_case_31_a_copy_whose_volume_left_the_group_is_not_promoted_beside_it() {
    for how in [None, Some(Role::NotMirrored)] {
        for cut in [false, true] {
            let mut w = one_left(how);
            if cut {
                w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 600);
            }
            note(&mut w);
            note(&mut w);
            w.kill_a(3600, 3600);
            let (promoted, left) = failed_over(&w);
            assert_eq!(promoted, [volume(0)], "{how:?} {cut}");
            assert_eq!(names(&left), [volume(1)]);
            assert!(left[0].why.contains("left the group in zone-a"), "{left:?}");
            // What was so under another generation is not so under this one.
            w.view().seen.as_mut().unwrap().generation = Generation(7);
            assert_eq!(failed_over(&w).0, [volume(0), volume(1)]);
        }
    }
}

#[test]
fn a_list_that_may_not_be_all_says_of_no_volume_that_it_left() {
    // An image cannot be read, or nobody has read the images since the sidecar's start, or they are known and nobody can look.
    for trouble in 0..3 {
        let mut w = one_left(None);
        match trouble {
            0 => w.snapshot.zones.get_mut(&zone("zone-a")).unwrap().groups[0].unread = 1,
            1 => w
                .snapshot
                .zones
                .get_mut(&zone("zone-a"))
                .unwrap()
                .groups
                .clear(),
            _ => {
                w = World::healthy(2);
                note(&mut w);
                w.each_copy("zone-a", |v| v.role = Role::Unknown);
            }
        }
        note(&mut w);
        let seen = w.view().seen.clone().unwrap();
        assert_eq!((seen.volumes.len(), seen.left.len()), (2, 0), "{trouble}");
        w.kill_a(3600, 3600);
        assert_eq!(failed_over(&w).0, [volume(0), volume(1)]);
    }
    // It is looked for again: the next list that is all tells.
    let mut w = one_left(None);
    let report = w.snapshot.zones.get_mut(&zone("zone-a")).unwrap();
    report.groups[0].unread = 1;
    note(&mut w);
    w.snapshot.zones.get_mut(&zone("zone-a")).unwrap().groups[0].unread = 0;
    note(&mut w);
    assert_eq!(w.view().seen.as_ref().unwrap().left.len(), 1);
}

#[test]
fn a_volume_that_comes_back_into_its_group_is_of_it() {
    let mut w = one_left(None);
    note(&mut w);
    let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    originals.push(original("zone-a", 1));
    note(&mut w);
    w.kill_a(3600, 3600);
    assert_eq!(failed_over(&w).0, [volume(0), volume(1)]);
}

#[test]
fn of_those_that_left_so_many_are_remembered_and_first_those_whose_copy_is_there() {
    let mut w = World::healthy(MAX_LEFT + 50);
    note(&mut w);
    let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    originals.clear();
    note(&mut w);
    assert_eq!(w.view().seen.as_ref().unwrap().left.len(), MAX_LEFT);
    // Their copies went with them, but for two.
    let all: BTreeSet<_> = (0..MAX_LEFT + 50).map(volume).collect();
    let seen = w.view().seen.as_mut().unwrap();
    seen.left.clear();
    seen.volumes = all.into_iter().collect();
    let copies = w.view().volumes.get_mut(&zone("zone-b")).unwrap();
    copies.retain(|v| v.volume == volume(3) || v.volume == volume(MAX_LEFT + 40));
    note(&mut w);
    let left: Vec<_> = w.view().seen.clone().unwrap().left.into_iter().collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&volume(3)) && left.contains(&volume(MAX_LEFT + 40)));
}
