//! Volumes that stand in one zone alone: no failover helps them, and none may forget them.
//!
//! What the primary holds is known as long as it answers. When it is dead, and another leads than the one that saw it last, the list
//! must still be there: it stands in etcd as [`SeenVolumes`], written by the leader whenever it changes.

use crate::detector::{Diagnosis, diagnose};
use crate::plan::LeftOut;
use crate::snapshot::{GroupView, Snapshot};
use rekindle_common::{Generation, GroupName, ImageSpec, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// So many are named; of more only the number is kept. A value in etcd has its limit.
pub const MAX_SEEN: usize = 5_000;

/// The volumes that the primary's zone listed when it was last seen well. JSON at [`rekindle_common::keys::group_volumes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenVolumes {
    /// Which zone was primary.
    pub zone: ZoneName,
    /// Under which generation.
    pub generation: Generation,
    /// In order of name, at most [`MAX_SEEN`].
    pub volumes: Vec<ImageSpec>,
    /// How many more there were.
    pub omitted: usize,
}

/// What is to be written down of the primary's volumes; `None` where its word is not to be had now.
#[must_use]
pub fn listed_now(snapshot: &Snapshot, group: &GroupName) -> Option<SeenVolumes> {
    let view = snapshot.groups.get(group)?;
    let primary = view.primary.as_ref()?;
    if diagnose(snapshot, &primary.zone, view.spec.policy.hold_off) != Diagnosis::Healthy {
        return None;
    }
    let listed = view.volumes_in(&primary.zone)?;
    let mut volumes: Vec<ImageSpec> = listed.iter().map(|v| v.volume.clone()).collect();
    volumes.sort();
    let omitted = volumes.len().saturating_sub(MAX_SEEN);
    volumes.truncate(MAX_SEEN);
    Some(SeenVolumes {
        zone: primary.zone.clone(),
        generation: primary.generation,
        volumes,
        omitted,
    })
}

/// The primary's volumes that have no image in the other zone. Empty where the other zone does not say what it holds.
#[must_use]
pub fn left_behind(view: &GroupView) -> Vec<LeftOut> {
    let Some((primary, other, copies)) = sides(view) else {
        return Vec::new();
    };
    let copies: BTreeSet<&ImageSpec> = copies.into_iter().collect();
    originals(view)
        .into_iter()
        .filter(|v| !copies.contains(v))
        .map(|v| LeftOut {
            volume: v.clone(),
            why: format!("has no image in {other}: what it holds is in {primary} alone"),
        })
        .collect()
}

/// Every volume of the group that stands in one zone alone: the primary's, and those that a failover left behind in the other.
#[must_use]
pub fn alone(view: &GroupView) -> Vec<LeftOut> {
    let mut all = left_behind(view);
    if let Some((primary, other, copies)) = sides(view)
        && let Some(listed) = view.volumes_in(primary)
    {
        let listed: BTreeSet<&ImageSpec> = listed.iter().map(|v| &v.volume).collect();
        let strays = copies.into_iter().filter(|v| !listed.contains(v));
        all.extend(strays.map(|v| LeftOut {
            volume: v.clone(),
            why: format!("has no image in {primary}, which is primary: it is in {other} alone"),
        }));
    }
    all
}

/// The primary's zone, the other one, and what that one lists.
fn sides(view: &GroupView) -> Option<(&ZoneName, &ZoneName, Vec<&ImageSpec>)> {
    let primary = &view.primary.as_ref()?.zone;
    let other = view.spec.other(primary)?;
    let copies = view.volumes_in(other)?;
    Some((primary, other, copies.iter().map(|v| &v.volume).collect()))
}

/// What the primary lists; where it does not answer, what it listed last under its generation.
fn originals(view: &GroupView) -> Vec<&ImageSpec> {
    let Some(primary) = &view.primary else {
        return Vec::new();
    };
    if let Some(listed) = view.volumes_in(&primary.zone) {
        return listed.iter().map(|v| &v.volume).collect();
    }
    let seen = view
        .seen
        .as_ref()
        .filter(|s| s.zone == primary.zone && s.generation == primary.generation);
    seen.map_or_else(Vec::new, |s| s.volumes.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Ask, Decision, Hold, Refusal, Request, decide, plan_for};
    use crate::fixture::{World, group, original, plan_id, volume, zone};
    use rekindle_common::policy::OnReturn;

    /// Two volumes with a copy each, and a third that the primary alone has.
    fn one_without_a_copy() -> World {
        let mut w = World::healthy(2);
        let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
        originals.push(original("zone-a", 2));
        w
    }
    fn names(left: &[LeftOut]) -> Vec<ImageSpec> {
        left.iter().map(|l| l.volume.clone()).collect()
    }

    #[test]
    fn the_primarys_list_is_taken_only_from_a_primary_that_is_well() {
        let mut w = one_without_a_copy();
        let seen = listed_now(&w.snapshot, &group()).unwrap();
        assert_eq!((seen.volumes.len(), seen.omitted), (3, 0));
        w.kill_a(600, 600);
        assert_eq!(listed_now(&w.snapshot, &group()), None);
    }

    #[test]
    fn a_list_has_its_bound_and_says_how_many_it_leaves_out() {
        let w = World::healthy(MAX_SEEN + 7);
        let seen = listed_now(&w.snapshot, &group()).unwrap();
        assert_eq!((seen.volumes.len(), seen.omitted), (MAX_SEEN, 7));
    }

    #[test]
    fn hard_case_33_a_failover_names_what_it_leaves_behind_though_the_primary_is_dead() {
        let mut w = one_without_a_copy();
        let seen = listed_now(&w.snapshot, &group());
        w.view().seen = seen;
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
        let seen = listed_now(&w.snapshot, &group());
        w.view().seen = seen;
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
}
