//! Whether a lease may still be taken from a zone: asked once more, right before it is.
//!
//! A plan may have waited between its proof and its record: for etcd, for a new leader, for a promise to end. Meanwhile the zone's Ceph
//! may have come back, and a person who sees the zone well and still recorded may have let its clients in again. The lease, which
//! keeps a zone that is well from being taken over in every other plan, is no guard in this one; that the zone is seen without its
//! Ceph now takes its place.

use crate::detector::{Diagnosis, diagnose};
use crate::snapshot::Snapshot;
use rekindle_common::{GroupName, ZoneName};

/// What a look says of taking a lease away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// What it was decided on is so now.
    Stands,
    /// It is not clear now: look again.
    NotNow(String),
    /// The zone has its Ceph again: it is not taken over by this plan.
    Over(String),
}

/// What is seen now of the zone whose lease is to be taken.
#[must_use]
pub fn revocation(snapshot: &Snapshot, group: &GroupName, from: &ZoneName) -> Revocation {
    let Some(view) = snapshot.groups.get(group) else {
        return Revocation::NotNow(format!("group {group} cannot be read"));
    };
    let diagnosis = diagnose(snapshot, from, view.spec.policy.hold_off);
    match diagnosis {
        // Its sidecar may have died in between: whatever is left of its lease is nobody's.
        Diagnosis::StorageLost { .. } | Diagnosis::Lost { .. } => Revocation::Stands,
        Diagnosis::Healthy | Diagnosis::SidecarDown { .. } => Revocation::Over(format!(
            "{from} is {diagnosis}: its Ceph answers, and its lease is not taken from it"
        )),
        Diagnosis::StorageIll { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => Revocation::NotNow(format!(
            "{from} is {diagnosis}: its lease is taken only while its Ceph is seen to be lost"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, group, zone};
    use crate::observation::Signal;

    fn seen(w: &World) -> Revocation {
        revocation(&w.snapshot, &group(), &zone("zone-a"))
    }

    #[test]
    fn it_stands_only_while_the_ceph_is_seen_to_be_lost() {
        let mut w = World::healthy(1);
        assert!(matches!(seen(&w), Revocation::Over(why) if why.contains("healthy")));
        w.lose_ceph_of_a(29);
        assert!(matches!(seen(&w), Revocation::NotNow(_)), "before its time");
        w.lose_ceph_of_a(30);
        assert_eq!(seen(&w), Revocation::Stands);
        // One site sees a monitor again.
        w.sees("witness", "zone-a", Signal::Up, Signal::Up, 1);
        assert!(matches!(seen(&w), Revocation::NotNow(_)));
        w.kill_a(30, 0);
        assert_eq!(seen(&w), Revocation::Stands);
        w.snapshot.groups.clear();
        assert!(matches!(seen(&w), Revocation::NotNow(_)));
    }
}
