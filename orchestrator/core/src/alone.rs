//! Volumes that stand in one zone alone: no failover helps them, and none may forget them. And those that the primary's zone has taken out of
//! the group while the other zone's copy still names it: no failover may take them, for nobody demotes what they are copies of.
//!
//! What the primary holds is known as long as it answers. When it is dead, and another leads than the one that saw it last, the list
//! must still be there: it stands in etcd as [`SeenVolumes`], written by the leader whenever it changes.

use crate::detector::{Diagnosis, diagnose};
use crate::plan::LeftOut;
use crate::snapshot::{GroupView, Snapshot};
use rekindle_common::{Generation, GroupName, ImageSpec, ZoneName, volume::Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// So many are named; of more only the number is kept. A value in etcd has its limit.
pub const MAX_SEEN: usize = 5_000;

/// So many that left are remembered, at the most.
pub const MAX_LEFT: usize = 1_000;

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
    /// Those that were in the group under this generation and then left it there, or are not mirrored there any more; at most [`MAX_LEFT`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left: BTreeSet<ImageSpec>,
}

/// One list of the primary's volumes, before it is put beside what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    zone: ZoneName,
    generation: Generation,
    /// Those that it takes part in the mirroring with, or whose part is not known now.
    mirrored: BTreeSet<ImageSpec>,
    /// Those that it does not mirror: nobody demotes them.
    off: BTreeSet<ImageSpec>,
    /// Whether what is not in it is not in the group. An image that cannot be read may be, and not name it.
    complete: bool,
    /// What the other zone lists, where it does.
    copies: Option<BTreeSet<ImageSpec>>,
}

/// What the primary's zone lists now; `None` where its word is not to be had.
///
/// A zone that the other does not see is there all the same, and that is when a copy does not hear that its volume left.
#[must_use]
pub fn listed_now(snapshot: &Snapshot, group: &GroupName) -> Option<Listing> {
    let view = snapshot.groups.get(group)?;
    let primary = view.primary.as_ref()?;
    match diagnose(snapshot, &primary.zone, view.spec.policy.hold_off) {
        Diagnosis::Healthy | Diagnosis::LinkCut { .. } => {}
        Diagnosis::StorageIll { .. }
        | Diagnosis::StorageLost { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::Lost { .. }
        | Diagnosis::Unknown { .. } => return None,
    }
    let names = |zone: &ZoneName, off: bool| -> Option<BTreeSet<ImageSpec>> {
        let listed = view.volumes_in(zone)?.iter();
        let part = listed.filter(|v| (v.role == Role::NotMirrored) == off);
        Some(part.map(|v| v.volume.clone()).collect())
    };
    let report = snapshot.zones.get(&primary.zone)?;
    // One that the report does not name has not been read since the sidecar's start.
    let unread = report.groups.iter().find(|g| g.group == *group);
    let copies = view.spec.other(&primary.zone);
    Some(Listing {
        zone: primary.zone.clone(),
        generation: primary.generation,
        mirrored: names(&primary.zone, false)?,
        off: names(&primary.zone, true)?,
        complete: unread.is_some_and(|g| g.unread == 0),
        copies: copies.and_then(|zone| names(zone, false)),
    })
}

impl Listing {
    /// What is to be written down, after what stood there.
    #[must_use]
    pub fn after(&self, before: Option<&SeenVolumes>) -> SeenVolumes {
        let same = |s: &&SeenVolumes| s.zone == self.zone && s.generation == self.generation;
        let before = before.filter(same);
        let known = before.iter().flat_map(|s| &s.volumes);
        let mut all: BTreeSet<ImageSpec> = self.mirrored.union(&self.off).cloned().collect();
        let mut left: BTreeSet<ImageSpec> = self.off.clone();
        left.extend(before.iter().flat_map(|s| &s.left).cloned());
        if self.complete {
            left.extend(known.filter(|v| !all.contains(*v)).cloned());
        } else {
            // They may be there and not be readable, and are looked for again in the next list.
            let silent: Vec<ImageSpec> = known.filter(|v| !left.contains(*v)).cloned().collect();
            all.extend(silent);
        }
        left.retain(|v| !self.mirrored.contains(v));
        if left.len() > MAX_LEFT
            && let Some(copies) = &self.copies
        {
            left.retain(|v| copies.contains(v));
        }
        SeenVolumes {
            zone: self.zone.clone(),
            generation: self.generation,
            omitted: all.len().saturating_sub(MAX_SEEN),
            volumes: all.into_iter().take(MAX_SEEN).collect(),
            left: left.into_iter().take(MAX_LEFT).collect(),
        }
    }
}

/// Why a failover leaves a copy alone that names the group, or `None`.
#[must_use]
pub fn left_the_group(view: &GroupView, volume: &ImageSpec) -> Option<String> {
    let primary = view.primary.as_ref()?;
    let seen = last_seen(view)?;
    seen.left.contains(volume).then(|| {
        format!(
            "left the group in {0}, or is replicated there no more: {0} demotes it for nobody",
            primary.zone
        )
    })
}

/// What the primary listed last under its generation.
fn last_seen(view: &GroupView) -> Option<&SeenVolumes> {
    let primary = view.primary.as_ref()?;
    view.seen
        .as_ref()
        .filter(|s| s.zone == primary.zone && s.generation == primary.generation)
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
    last_seen(view).map_or_else(Vec::new, |s| s.volumes.iter().collect())
}

#[cfg(test)]
mod tests;
